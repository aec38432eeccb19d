//! Floods of spoofed templates beside good exporters, refreshes, retention.

#![allow(clippy::unwrap_used)]

mod rig;

use std::time::{Duration, Instant};

use catchment_proto::cluster::v1::ScopeState;
use coordinator::kv::{Kv, Memory};
use coordinator::limits::{Rate, Standing};
use rig::{Node, etcd, options, replica, replica_with, scope, until, until_stored};

async fn refreshed(kv: Kv) {
    let store = replica(&kv, "a").await;
    let node = Node::join(&store, None).await;
    let exporters: Vec<ScopeState> = (0..1000).map(|number| scope(number, 256, 20, 1000)).collect();
    let began = Instant::now();
    for exporter in &exporters {
        node.learned(exporter);
    }
    until("a cluster's exporters are stored", || store.counted().template_puts == 1000).await;
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    until("their echo is here", || kv_revision_is_read(&store)).await;
    let before = (store.counted(), kv.get("/").await.unwrap().1.revision);
    for _ in 0..10 {
        assert_eq!(node.exchange.learned(&exporters, Standing::Open), []);
        let keys: Vec<_> = exporters.iter().filter_map(|scope| scope.key.clone()).collect();
        node.exchange.seen(&keys);
    }
    // Something that is written shows that the writer had its turn.
    let last = scope(2000, 256, 20, 1000);
    node.learned(&last);
    until_stored(&kv, &last).await;
    let after = store.counted();
    assert_eq!(after.template_puts, before.0.template_puts + 1, "refreshes were written");
    assert_eq!(after.learned_known, before.0.learned_known + 10 * 1000);
}

fn kv_revision_is_read(store: &coordinator::Store) -> bool {
    store.size().revision > 0
}

#[tokio::test]
async fn a_refresh_is_not_written() {
    refreshed(Kv::Memory(Memory::new())).await;
    let Some(member) = etcd::Member::start().await else { return };
    refreshed(member.kv()).await;
}

#[tokio::test]
async fn a_flood_costs_little_and_good_exporters_get_through() {
    let kv = match etcd::Member::start().await {
        Some(member) => {
            let kv = member.kv();
            flood(&kv).await;
            return;
        }
        None => Kv::Memory(Memory::new()),
    };
    flood(&kv).await;
}

async fn flood(kv: &Kv) {
    let mut options = options("a");
    options.limits.node = Rate { burst: 500, per_second: 50 };
    options.limits.new_scopes = Rate { burst: 1000, per_second: 100 };
    let store = replica_with(kv, options).await;
    let good = Node::join(&store, None).await;
    let mut elsewhere = Node::join(&store, None).await;
    let known: Vec<ScopeState> = (0..100).map(|number| scope(number, 256, 20, 1000)).collect();
    for exporter in &known {
        good.learned(exporter);
        until_stored(kv, exporter).await;
    }
    let attackers: Vec<_> = (0..3).map(|_| store.exchange()).collect();
    let began = Instant::now();
    let transactions = store.counted().template_transactions;
    let mut spoofed = 1_000_000;
    let mut changed = 0;
    while began.elapsed() < Duration::from_secs(4) {
        for attacker in &attackers {
            let scopes: Vec<ScopeState> =
                (0..200).map(|number| scope(spoofed + number, 256, 3, u64::from(number))).collect();
            spoofed += 200;
            attacker.learned(&scopes, Standing::Open);
            tokio::task::yield_now().await;
        }
        // A known exporter changes, one on the allow-list is new: each is told at once.
        if changed < 20 {
            let told = Instant::now();
            let change = scope(changed, 256, 4, 2000);
            good.learned(&change);
            let new = scope(5000 + changed, 256, 4, 2000);
            assert_eq!(good.exchange.learned(std::slice::from_ref(&new), Standing::AllowListed), []);
            elsewhere.has(&change).await;
            elsewhere.has(&new).await;
            until_stored(kv, &change).await;
            until_stored(kv, &new).await;
            assert!(told.elapsed() < Duration::from_secs(2), "it took {:?}", told.elapsed());
            changed += 1;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let counted = store.counted();
    let written = counted.template_transactions - transactions;
    let rate = written as f64 / seconds;
    println!(
        "flood: {} spoofed scopes in {seconds:.1} s, {written} transactions ({rate:.1}/s), {} scopes kept, {} refused",
        spoofed - 1_000_000,
        store.size().scopes,
        counted.refused_rate
    );
    assert_eq!(changed, 20, "good exporters did not get through");
    // The first ten are the burst.
    assert!(written as f64 <= 10.0 * seconds + 11.0, "{rate} transactions a second");
    let bound = 100 + 20 + 1000 + (100.0 * seconds) as u64 + 10;
    assert!(store.size().scopes <= bound, "{} scopes were kept", store.size().scopes);
}

#[tokio::test]
async fn the_limit_is_the_clusters() {
    let kv = Kv::Memory(Memory::new());
    let stores = [replica(&kv, "a").await, replica(&kv, "b").await, replica(&kv, "c").await];
    until("they know of one another", || stores.iter().all(|store| store.mirror().replicas().len() == 3))
        .await;
    let attackers: Vec<_> = stores.iter().map(coordinator::Store::exchange).collect();
    let written = || stores.iter().map(|store| store.counted().template_transactions).sum::<u64>();
    let (began, before) = (Instant::now(), written());
    let mut spoofed = 1_000_000;
    while began.elapsed() < Duration::from_secs(3) {
        for attacker in &attackers {
            attacker.learned(&[scope(spoofed, 256, 3, 1)], Standing::Open);
            spoofed += 1;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let written = written() - before;
    // The first ten, or the four that each had before it knew of the others, are the burst.
    assert!(written as f64 <= 10.0 * began.elapsed().as_secs_f64() + 13.0, "{written} transactions");
}

#[tokio::test]
async fn one_exporter_cannot_take_the_turn_of_the_others() {
    let store = replica(&Kv::Memory(Memory::new()), "a").await;
    let node = Node::join(&store, None).await;
    let mut refused = 0;
    for number in 0..1000 {
        let change = scope(1, 256, 1 + number % 100, u64::from(number));
        refused += node.exchange.learned(&[change], Standing::AllowListed).len();
    }
    // All but the burst, and a few that the rate let through meanwhile.
    assert!((650..=744).contains(&refused), "{refused} refused");
    node.learned(&scope(2, 256, 5, 1));
}

#[tokio::test]
async fn as_many_scopes_as_may_be() {
    let mut options = options("a");
    options.limits.max_scopes = 10;
    let store = replica_with(&Kv::Memory(Memory::new()), options).await;
    let node = Node::join(&store, None).await;
    for number in 0..10 {
        node.learned(&scope(number, 256, 5, 1));
    }
    let refused = node.exchange.learned(&[scope(10, 256, 5, 1)], Standing::AllowListed);
    assert!(refused[0].reason.contains("max_domains"), "{refused:?}");
    assert_eq!(store.counted().refused_full, 1);
    node.learned(&scope(3, 256, 6, 2));
}

#[tokio::test]
async fn as_many_octets_as_may_be() {
    let mut options = options("a");
    options.limits.max_bytes = 1000;
    let store = replica_with(&Kv::Memory(Memory::new()), options).await;
    let node = Node::join(&store, None).await;
    let mut known = 0;
    let refused = loop {
        let refused = node.exchange.learned(&[scope(known, 256, 5, 1)], Standing::AllowListed);
        if !refused.is_empty() {
            break refused;
        }
        known += 1;
        assert!(known < 1000, "{:?}", store.size());
    };
    assert!(refused[0].reason.contains("max_bytes") && known > 5, "{refused:?}");
    assert_eq!(store.counted().refused_full, 1);
    node.learned(&scope(0, 256, 6, 2));
}

#[tokio::test]
async fn what_nobody_has_seen_for_too_long_is_given_up() {
    let kv = Kv::Memory(Memory::new());
    let replica = async |id| {
        let mut options = options(id);
        options.retention = Duration::from_secs(3);
        replica_with(&kv, options).await
    };
    let (first, second) = (replica("a").await, replica("b").await);
    let node = Node::join(&first, None).await;
    let mut elsewhere = Node::join(&second, None).await;
    let (kept, left) = (scope(1, 256, 5, 1), scope(2, 256, 5, 1));
    node.learned(&kept);
    node.learned(&left);
    elsewhere.has(&left).await;
    elsewhere.has(&kept).await;
    let name = rig::name(left.key.as_ref().unwrap());
    let began = Instant::now();
    while elsewhere.scopes.contains_key(&name) {
        node.exchange.seen(&[kept.key.clone().unwrap()]);
        assert!(began.elapsed() < rig::DEADLINE, "it was never given up");
        let _ = tokio::time::timeout(Duration::from_millis(100), elsewhere.step()).await;
    }
    assert!(began.elapsed() > Duration::from_secs(2), "it was given up too early");
    assert!(
        elsewhere.scopes.contains_key(&rig::name(kept.key.as_ref().unwrap())),
        "what is seen was given up"
    );
    until("both forget it", || first.size().scopes == 1 && second.size().scopes == 1).await;
    let deleted = first.counted().retention_deletes + second.counted().retention_deletes;
    assert!(deleted >= 1, "nobody deleted it");
    assert_eq!(rig::stored_scope(&kv, &left).await, None);
    // Heard again, it is there again.
    node.learned(&left);
    until_stored(&kv, &left).await;
}
