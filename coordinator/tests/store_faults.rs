//! Replicas whose etcd is killed, compacted, wiped, restored, slow, or holds what nobody can read.

#![allow(clippy::unwrap_used)]

mod rig;

use std::time::{Duration, Instant};

use coordinator::config_store::NewConfig;
use coordinator::keys::{Key, Keys};
use coordinator::kv::{Change, Expect, Kv, Memory};
use coordinator::validate;
use rig::{Node, begin, etcd, hello, options, replica, replica_with, scope, until, until_stored};

fn config(yaml: &str) -> NewConfig {
    NewConfig { yaml: yaml.into(), author: "test".into(), ..NewConfig::default() }
}

#[tokio::test]
async fn what_is_learnt_while_etcd_is_down_is_shared_and_written_later() {
    let Some(mut member) = etcd::Member::start().await else { return };
    let kv = member.kv();
    let (first, second) = (replica(&kv, "a").await, replica(&member.kv(), "b").await);
    let registration = first.register(hello("n1", 1)).await.unwrap();
    until("n1 is registered", || second.mirror().collector("n1").is_some()).await;
    let learner = Node::join(&first, None).await;
    let mut beside = Node::join(&first, None).await;
    let mut elsewhere = Node::join(&second, None).await;

    member.kill();
    until("it is noticed", || !first.connection().borrow().reachable).await;
    let learned: Vec<_> = (0..50).map(|number| scope(number, 256, 20, 1000)).collect();
    for scope in &learned {
        learner.learned(scope);
        beside.has(scope).await;
    }
    let late = first.register(hello("n2", 1)).await.unwrap();
    member.up().await;
    for scope in &learned {
        elsewhere.has(scope).await;
        until_stored(&kv, scope).await;
    }
    for node in ["n1", "n2"] {
        until("both are registered", || second.mirror().collector(node).is_some()).await;
    }
    drop((registration, late));
    until("both are gone", || second.mirror().collectors().is_empty()).await;
}

#[tokio::test]
async fn a_replica_that_was_cut_off_over_a_compaction_reads_all_again() {
    let Some(member) = etcd::Member::start().await else { return };
    let kv = member.kv();
    let way = etcd::Way::to(member.address()).await;
    let (near, far) = (replica(&kv, "a").await, replica(&way.kv(), "b").await);
    let learner = Node::join(&near, None).await;
    let mut node = Node::join(&far, None).await;
    let before = scope(1, 256, 20, 1000);
    learner.learned(&before);
    node.has(&before).await;

    way.cut();
    let learned: Vec<_> = (0..100).map(|number| scope(number, 256, 5, 2000)).collect();
    for scope in &learned {
        learner.learned(scope);
    }
    let gone = scope(500, 256, 5, 1);
    learner.learned(&gone);
    until_stored(&kv, &gone).await;
    for scope in &learned {
        until_stored(&kv, scope).await;
    }
    until("it is noticed", || !far.connection().borrow().reachable).await;
    let revision = kv.get("/").await.unwrap().1.revision;
    member.client().await.compact(revision, None).await.unwrap();
    way.mend();
    for scope in &learned {
        node.has(scope).await;
    }
    assert_eq!(node.snapshots, 1, "the session had to begin anew");
    assert!(far.counted().compactions >= 1, "the history was there");
}

#[tokio::test]
async fn a_wiped_store_gets_everything_back() {
    let Some(mut member) = etcd::Member::start().await else { return };
    let kv = member.kv();
    let stores =
        [replica(&kv, "a").await, replica(&member.kv(), "b").await, replica(&member.kv(), "c").await];
    let learner = Node::join(&stores[0], None).await;
    let learned: Vec<_> = (0..500).map(|number| scope(number, 256, 20, 1000)).collect();
    for scope in &learned {
        learner.learned(scope);
    }
    stores[1].set_config(config("one")).await.unwrap();
    stores[1].set_config(config("two")).await.unwrap();
    stores[2].change_desired("n1", |desired| desired.log_level = "debug".into()).await.unwrap();
    let _registration = stores[0].register(hello("n1", 1)).await.unwrap();
    for store in &stores {
        until("all know all", || {
            store.size().scopes == 500
                && store.mirror().config_history(9).len() == 2
                && store.mirror().desired("n1").is_some()
                && store.mirror().collector("n1").is_some()
        })
        .await;
    }
    for scope in &learned {
        until_stored(&kv, scope).await;
    }
    let before = stores[0].size().store;

    member.kill();
    member.wipe();
    member.up().await;
    for scope in &learned {
        until_stored(&kv, scope).await;
    }
    let keys = Keys::new("test");
    for key in [
        Key::Config,
        Key::ConfigHistory(1),
        Key::ConfigHistory(2),
        Key::Desired("n1".into()),
        Key::Collector("n1".into()),
    ] {
        let key = keys.write(&key);
        let began = Instant::now();
        while kv.get(&key).await.unwrap().0.is_none() {
            assert!(began.elapsed() < rig::DEADLINE, "{key} did not come back");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    for store in &stores {
        until("the store is another one", || store.size().store != before).await;
        assert_eq!((store.size().scopes, store.counted().store_changes), (500, 1));
        until("it knows the configuration", || store.mirror().config().is_some()).await;
    }
    until("they agree on the store", || {
        stores.iter().all(|store| store.size().store == stores[0].size().store)
    })
    .await;
    until("there is a leader", || stores.iter().any(coordinator::Store::is_leader)).await;
}

#[tokio::test]
async fn a_store_that_was_restored_from_a_backup_gets_what_is_newer() {
    let Some(mut member) = etcd::Member::start().await else { return };
    let kv = member.kv();
    let first = replica(&kv, "a").await;
    let learner = Node::join(&first, None).await;
    let old: Vec<_> = (0..20).map(|number| scope(number, 256, 20, 1000)).collect();
    for scope in &old {
        learner.learned(scope);
        until_stored(&kv, scope).await;
    }
    first.set_config(config("one")).await.unwrap();
    member.kill();
    member.backup("before");
    member.up().await;

    let mut node = Node::join(&first, None).await;
    let newer = scope(3, 256, 7, 2000);
    let added = scope(100, 300, 7, 2000);
    for scope in [&newer, &added] {
        learner.learned(scope);
        node.has(scope).await;
        until_stored(&kv, scope).await;
    }
    let began = Instant::now();
    while first.set_config(config("two")).await.is_err() {
        assert!(began.elapsed() < rig::DEADLINE);
    }
    let resume = {
        until("the revision is told", || first.size().revision > node.revision.as_ref().unwrap().revision)
            .await;
        node.revision.clone().unwrap()
    };

    member.kill();
    member.restore("before");
    member.up().await;
    until_stored(&kv, &newer).await;
    until_stored(&kv, &added).await;
    until("it is found to be another state", || first.counted().store_changes == 1).await;
    let began = Instant::now();
    loop {
        let config = rig::stored(&kv, &Key::Config).await.unwrap();
        if String::from_utf8_lossy(&config).contains("two") {
            break;
        }
        assert!(began.elapsed() < rig::DEADLINE, "the newer configuration did not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        first.view().scope(&validate::scope_id(newer.key.as_ref().unwrap()).unwrap()).unwrap().to_message(),
        newer
    );
    // Revisions of the time before mean nothing now.
    let fresh = first.exchange();
    let _feed = fresh.feed(Some(&resume));
    assert_eq!(first.counted().resumes, 0);
}

#[tokio::test]
async fn a_slow_store_delays_no_session() {
    let Some(member) = etcd::Member::start().await else { return };
    let way = etcd::Way::to(member.address()).await;
    let store = replica(&way.kv(), "a").await;
    let learner = Node::join(&store, None).await;
    let mut node = Node::join(&store, None).await;
    way.delay(Duration::from_millis(400));
    for number in 0..200 {
        let learned = scope(number, 256, 20, 1000);
        let began = Instant::now();
        learner.learned(&learned);
        node.has(&learned).await;
        assert!(began.elapsed() < Duration::from_millis(300), "it took {:?}", began.elapsed());
    }
    let kv = member.kv();
    for number in 0..200 {
        until_stored(&kv, &scope(number, 256, 20, 1000)).await;
    }
    assert!(store.counted().template_transactions <= 40, "written one by one");
}

async fn racing(kvs: [Kv; 3]) {
    let [a, b, c] = kvs;
    let eager = |id| {
        let mut options = options(id);
        options.limits.exporter.burst = 1000;
        options
    };
    let stores = [
        replica_with(&a, eager("a")).await,
        replica_with(&b, eager("b")).await,
        replica_with(&c, eager("c")).await,
    ];
    let mut nodes = Vec::new();
    for store in &stores {
        nodes.push(Node::join(store, None).await);
    }
    // Each hears other templates of one scope, all at once, and one of them differently.
    for round in 0..20u32 {
        for (number, node) in (0u32..).zip(&nodes) {
            node.learned(&scope(1, 300 + round, 5, 1000));
            node.learned(&scope(1, 400 + 3 * round + number, 5, 1000));
            node.learned(&scope(1, 256, 3 + number, u64::from(1000 + 3 * round + number)));
        }
    }
    let id = validate::scope_id(&rig::key(1)).unwrap();
    until("all know all", || {
        stores
            .iter()
            .all(|store| store.view().scope(&id).is_some_and(|scope| scope.template_ids() == 20 + 60 + 1))
    })
    .await;
    let merged = stores[0].view().scope(&id).unwrap().to_message();
    assert_eq!(merged.definitions[0].order.unwrap().time_ms, 1000 + 3 * 19 + 2);
    until_stored(&a, &merged).await;
    for (store, node) in stores.iter().zip(&mut nodes) {
        assert_eq!(store.view().scope(&id).unwrap().to_message(), merged);
        node.has(&merged).await;
    }
}

/// Three replicas over one store, whose exporters may say more than usual.
#[tokio::test]
async fn three_replicas_race_on_one_key() {
    let kv = Kv::Memory(Memory::new());
    racing([kv.clone(), kv.clone(), kv]).await;
    let Some(member) = etcd::Member::start().await else { return };
    racing([member.kv(), member.kv(), member.kv()]).await;
}

async fn poisoned(kv: Kv) {
    let keys = Keys::new("test");
    let good = scope(1, 256, 5, 1000);
    let put = async |key: &str, value: &[u8]| {
        kv.change_each(vec![Change::put(key.into(), Expect::Any, value.to_vec())]).await.unwrap();
    };
    let template = |number| keys.templates(&validate::scope_id(&rig::key(number)).unwrap());
    let value = validate::scope(&good).unwrap().encode_stored();
    put(&template(1), &value).await;
    // Another's value, damage, no message at all, no key, and each kind of small value.
    put(&template(2), &value).await;
    put(&template(3), &value[..value.len() - 1]).await;
    put(&template(4), b"\xff\xff\xff\xff").await;
    put(&format!("{}templates/what/ever", keys.prefix()), &value).await;
    for key in [
        Key::Collector("n".into()),
        Key::Coordinator("c".into()),
        Key::Desired("n".into()),
        Key::Config,
        Key::ConfigHistory(1),
        Key::Leader,
        Key::Wanted("c".into()),
    ] {
        put(&keys.write(&key), b"\xff\xff").await;
    }
    let store = replica(&kv, "a").await;
    // The list of what was wanted is not looked at when it is old.
    let listed = 4 + 6;
    assert_eq!((store.size().scopes, store.counted().invalid_values), (1, listed));
    let mut node = Node::join(&store, None).await;
    node.has(&good).await;

    put(&template(1), b"\x0a\xff").await;
    put(&template(5), b"").await;
    put(&keys.write(&Key::Wanted("c".into())), b"\xff").await;
    until("they are counted", || store.counted().invalid_values >= listed + 3).await;
    // The good one stays, and what is learnt takes the place of what is in its way.
    assert_eq!(store.size().scopes, 1);
    for number in [1, 2, 3, 4, 5] {
        let learned = scope(number, 256, 6, 2000);
        node.learned(&learned);
        until_stored(&kv, &learned).await;
    }
    assert_eq!(node.scopes.len(), 1, "something that is not valid was sent to a node");
}

#[tokio::test]
async fn what_cannot_be_read_is_skipped_and_counted() {
    poisoned(Kv::Memory(Memory::new())).await;
    let Some(member) = etcd::Member::start().await else { return };
    poisoned(member.kv()).await;
}

#[tokio::test]
async fn a_replica_starts_without_its_store() {
    let Some(mut member) = etcd::Member::start().await else { return };
    let kv = member.kv();
    let learned = scope(1, 256, 20, 1000);
    {
        let first = replica(&kv, "a").await;
        Node::join(&first, None).await.learned(&learned);
        until_stored(&kv, &learned).await;
        first.stop(Duration::from_secs(5)).await;
    }
    member.kill();
    let second = begin(&kv, options("b"));
    let early = scope(2, 256, 20, 1000);
    let mut node = Node::join(&second, None).await;
    node.learned(&early);
    assert!(!second.connection().borrow().loaded);
    member.up().await;
    tokio::time::timeout(rig::DEADLINE, second.loaded()).await.unwrap();
    node.has(&learned).await;
    until_stored(&kv, &early).await;
}
