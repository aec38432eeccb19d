//! The contract of a store, held against both.

#![allow(clippy::unwrap_used)]

mod rig;

use std::time::Duration;

use coordinator::kv::{Change, Event, Events, Expect, Kv, KvError, MAX_CHANGES, Memory, Watch};
use rig::{DEADLINE, etcd};

/// Runs a test over the store in memory and over etcd.
macro_rules! over_both {
    ($($test:ident)+) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $test() {
                super::$test(coordinator::kv::Kv::Memory(coordinator::kv::Memory::new())).await;
            })+
        }
        mod in_etcd {
            $(#[tokio::test]
            async fn $test() {
                if let Some(kv) = crate::rig::etcd::shared() {
                    super::$test(kv).await;
                }
            })+
        }
    };
}

over_both! {
    a_change_happens_only_as_expected
    each_change_stands_for_itself
    all_changes_or_none
    lists_come_in_pages_of_one_moment
    a_watch_tells_everything_from_its_revision_on
    what_hangs_on_a_lease_goes_with_it
    a_lease_that_ended_takes_nothing
}

/// A folder of the store that is this test's own.
fn folder() -> String {
    format!("/catchment/{}/", etcd::cluster_name())
}

fn put(key: &str, expect: Expect, value: &str) -> Change {
    Change::put(key.into(), expect, value.into())
}

async fn value(kv: &Kv, key: &str) -> Option<(String, i64)> {
    let (pair, _) = kv.get(key).await.unwrap();
    pair.map(|pair| (String::from_utf8(pair.value).unwrap(), pair.revision))
}

async fn next(watch: &mut Watch) -> Events {
    tokio::time::timeout(DEADLINE, watch.next()).await.expect("the watch tells").unwrap()
}

/// The events of a watch until there are `count`.
async fn events(watch: &mut Watch, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while events.len() < count {
        events.extend(next(watch).await.events);
    }
    events
}

async fn a_change_happens_only_as_expected(kv: Kv) {
    let key = folder() + "a";
    let change = async |change| kv.change_each(vec![change]).await.unwrap().done[0];
    assert!(!change(put(&key, Expect::Revision(1), "1")).await);
    assert!(change(put(&key, Expect::Absent, "1")).await);
    assert!(!change(put(&key, Expect::Absent, "2")).await);
    let (_, revision) = value(&kv, &key).await.unwrap();
    assert!(change(put(&key, Expect::Revision(revision), "2")).await);
    assert!(!change(put(&key, Expect::Revision(revision), "3")).await);
    assert!(!change(Change::delete(key.clone(), Expect::Revision(revision))).await);
    assert_eq!(value(&kv, &key).await.unwrap().0, "2");
    assert!(change(put(&key, Expect::Any, "4")).await);
    assert!(change(Change::delete(key.clone(), Expect::Any)).await);
    assert_eq!(value(&kv, &key).await, None);
}

async fn each_change_stands_for_itself(kv: Kv) {
    let folder = folder();
    let key = |number: usize| format!("{folder}{number}");
    kv.change_each(vec![put(&key(7), Expect::Any, "there")]).await.unwrap();
    let changes: Vec<Change> =
        (0..MAX_CHANGES).map(|number| put(&key(number), Expect::Absent, "new")).collect();
    let applied = kv.change_each(changes).await.unwrap();
    let failed: Vec<usize> = (0..MAX_CHANGES).filter(|number| !applied.done[*number]).collect();
    assert_eq!(failed, [7]);
    assert_eq!(value(&kv, &key(7)).await.unwrap().0, "there");
    let (text, revision) = value(&kv, &key(99)).await.unwrap();
    assert_eq!((text.as_str(), revision), ("new", applied.moment.revision));
}

async fn all_changes_or_none(kv: Kv) {
    let folder = folder();
    let (one, two) = (folder.clone() + "1", folder + "2");
    let both = |expect| vec![put(&one, Expect::Any, "x"), put(&two, expect, "y")];
    assert!(!kv.change_all(both(Expect::Revision(1))).await.unwrap().0);
    assert_eq!(value(&kv, &one).await, None);
    assert!(kv.change_all(both(Expect::Absent)).await.unwrap().0);
    let (first, second) = (value(&kv, &one).await.unwrap(), value(&kv, &two).await.unwrap());
    assert_eq!((first.0.as_str(), second.0.as_str(), first.1), ("x", "y", second.1));
}

async fn lists_come_in_pages_of_one_moment(kv: Kv) {
    let folder = folder();
    let keys: Vec<String> = (0..95).map(|number| format!("{folder}{number:03}")).collect();
    kv.change_each(keys.iter().map(|key| put(key, Expect::Any, "v")).collect()).await.unwrap();
    let mut listed: Vec<Vec<u8>> = Vec::new();
    let mut revision = 0;
    loop {
        let page = kv.list(&folder, listed.last().map(Vec::as_slice), 10, revision).await.unwrap();
        assert!(page.pairs.len() <= 10);
        if revision == 0 {
            revision = page.moment.revision;
        }
        listed.extend(page.pairs.into_iter().map(|pair| pair.key));
        if !page.more {
            break;
        }
    }
    assert_eq!(listed, keys.iter().map(|key| key.clone().into_bytes()).collect::<Vec<_>>());
}

async fn a_watch_tells_everything_from_its_revision_on(kv: Kv) {
    let folder = folder();
    let (one, two) = (folder.clone() + "1", folder.clone() + "2");
    kv.change_each(vec![put(&one, Expect::Any, "before")]).await.unwrap();
    let applied = kv.change_each(vec![put(&one, Expect::Any, "a")]).await.unwrap();
    let mut watch = kv.watch(&folder, applied.moment.revision).await.unwrap();
    kv.change_each(vec![put(&two, Expect::Any, "b")]).await.unwrap();
    let last = kv.change_each(vec![Change::delete(one.clone(), Expect::Any)]).await.unwrap();
    let events = events(&mut watch, 3).await;
    let told: Vec<(&[u8], &[u8])> = events
        .iter()
        .map(|event| match event {
            Event::Put(pair) => (pair.key.as_slice(), pair.value.as_slice()),
            Event::Delete(key, _) => (key.as_slice(), b"-".as_slice()),
        })
        .collect();
    let expected: [(&[u8], &[u8]); 3] =
        [(one.as_bytes(), b"a"), (two.as_bytes(), b"b"), (one.as_bytes(), b"-")];
    assert_eq!(told, expected);
    // What happens elsewhere moves it on.
    let far = kv.change_each(vec![put(&self::folder(), Expect::Any, "far")]).await.unwrap().moment.revision;
    assert!(far > last.moment.revision);
    while next(&mut watch).await.moment.revision < far {}
}

async fn what_hangs_on_a_lease_goes_with_it(kv: Kv) {
    let folder = folder();
    let (kept, left) = (folder.clone() + "kept", folder.clone() + "left");
    let (long, short) =
        (kv.grant(Duration::from_secs(60)).await.unwrap(), kv.grant(Duration::from_secs(2)).await.unwrap());
    kv.change_each(vec![put(&kept, Expect::Any, "v").under(long), put(&left, Expect::Any, "v").under(short)])
        .await
        .unwrap();
    let at = kv.get(&kept).await.unwrap().1.revision;
    let mut watch = kv.watch(&folder, at + 1).await.unwrap();
    kv.keep_alive(short).await.unwrap();
    let told = events(&mut watch, 1).await;
    assert!(matches!(&told[..], [Event::Delete(key, _)] if key == left.as_bytes()), "{told:?}");
    assert!(matches!(kv.keep_alive(short).await, Err(KvError::LeaseGone)));
    kv.revoke(long).await.unwrap();
    assert_eq!(value(&kv, &kept).await, None);
}

async fn a_lease_that_ended_takes_nothing(kv: Kv) {
    let key = folder() + "a";
    let lease = kv.grant(Duration::from_secs(60)).await.unwrap();
    kv.revoke(lease).await.unwrap();
    let result = kv.change_each(vec![put(&key, Expect::Any, "v").under(lease)]).await;
    assert!(matches!(result, Err(KvError::LeaseGone)), "{result:?}");
}

#[tokio::test]
async fn a_compacted_watch_says_so() {
    let memory = Memory::new();
    let kv = Kv::Memory(memory.clone());
    for _ in 0..3 {
        kv.change_each(vec![put("/catchment/a/b", Expect::Any, "v")]).await.unwrap();
    }
    memory.compact();
    let result = kv.watch("/catchment/a/", 2).await;
    assert!(matches!(result, Err(KvError::Compacted(4))), "{result:?}");

    let Some(member) = etcd::Member::start().await else { return };
    let kv = member.kv();
    let mut revision = 0;
    for _ in 0..3 {
        revision =
            kv.change_each(vec![put("/catchment/a/b", Expect::Any, "v")]).await.unwrap().moment.revision;
    }
    member.client().await.compact(revision, None).await.unwrap();
    let mut watch = kv.watch("/catchment/a/", 2).await.unwrap();
    let result = tokio::time::timeout(DEADLINE, watch.next()).await.expect("it is told");
    assert!(matches!(result, Err(KvError::Compacted(at)) if at == revision), "{result:?}");
    let listed = kv.list("/catchment/a/", None, 10, 2).await;
    assert!(matches!(listed, Err(KvError::Compacted(_))), "{listed:?}");
}

#[tokio::test]
async fn a_store_that_is_away_is_told_in_time() {
    let Some(mut member) = etcd::Member::start().await else { return };
    let kv = member.kv();
    let key = folder() + "a";
    kv.change_each(vec![put(&key, Expect::Any, "v")]).await.unwrap();
    let way = etcd::Way::to(member.address()).await;
    let through = way.kv();
    let mut watch = through.watch("/catchment/", 1).await.unwrap();
    next(&mut watch).await;
    way.cut();
    let began = std::time::Instant::now();
    let (get, told) = tokio::join!(through.get(&key), async {
        loop {
            if let Err(error) = watch.next().await {
                return error;
            }
        }
    });
    assert!(matches!(get, Err(KvError::Unavailable(_))), "{get:?}");
    assert!(matches!(told, KvError::Unavailable(_)), "{told:?}");
    assert!(began.elapsed() < Duration::from_secs(12), "it took {:?}", began.elapsed());
    way.mend();
    assert_eq!(value(&through, &key).await.unwrap().0, "v");

    member.kill();
    assert!(matches!(kv.get(&key).await, Err(KvError::Unavailable(_))));
    member.up().await;
    assert_eq!(value(&kv, &key).await.unwrap().0, "v");
}
