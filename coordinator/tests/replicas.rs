//! Replicas over one store, and the sessions of nodes with them.

#![allow(clippy::unwrap_used)]

mod rig;

use std::time::Duration;

use catchment_proto::cluster::v1::WantedTemplates;
use coordinator::kv::{Kv, Memory};
use coordinator::limits::Standing;
use rig::{Node, hello, key, replica, scope, until};

#[tokio::test]
async fn what_one_node_learns_the_others_get() {
    let kv = Kv::Memory(Memory::new());
    let (first, second) = (replica(&kv, "a").await, replica(&kv, "b").await);
    let learner = Node::join(&first, None).await;
    let mut beside = Node::join(&first, None).await;
    let mut elsewhere = Node::join(&second, None).await;
    let learned = scope(1, 256, 20, 1000);
    learner.learned(&learned);
    beside.has(&learned).await;
    elsewhere.has(&learned).await;
    let mut late = Node::join(&second, None).await;
    late.has(&learned).await;
    until("the write is counted", || first.counted().template_puts == 1).await;

    learner.learned(&learned);
    late.exchange.learned(std::slice::from_ref(&learned), Standing::Open);
    let older = scope(1, 256, 3, 999);
    late.learned(&older);
    let newer = scope(1, 256, 4, 1001);
    late.learned(&newer);
    beside.has(&newer).await;
    elsewhere.has(&newer).await;
    until("the write is counted", || second.counted().template_puts == 1).await;
    assert_eq!(first.counted().template_puts, 1, "a refresh or an older layout was written");
}

#[tokio::test]
async fn a_session_resumes_where_it_was() {
    let kv = Kv::Memory(Memory::new());
    let (first, second) = (replica(&kv, "a").await, replica(&kv, "b").await);
    let mut node = Node::join(&first, None).await;
    for number in 0..100 {
        first.exchange().learned(&[scope(number, 256, 20, 1000)], Standing::Open);
    }
    while node.scopes.len() < 100 {
        node.step().await;
    }
    until("both know all", || second.size().scopes == 100 && first.size().revision == second.size().revision)
        .await;
    let mut known = Node::join(&second, None).await;
    let at = known.revision.clone().unwrap();
    let newer = scope(7, 256, 4, 2000);
    node.learned(&newer);
    known.has(&newer).await;

    let mut resumed = Node::join(&second, Some(&at)).await;
    resumed.has(&newer).await;
    assert_eq!((resumed.snapshots, resumed.scopes.len()), (0, 1));
    assert_eq!(second.counted().resumes, 1);
}

#[tokio::test]
async fn what_nobody_here_knows_the_others_are_asked() {
    let kv = Kv::Memory(Memory::new());
    let (first, second) = (replica(&kv, "a").await, replica(&kv, "b").await);
    until("they know of one another", || first.mirror().replicas().len() == 2).await;
    let asker = Node::join(&first, None).await;
    let mut beside = Node::join(&first, None).await;
    let mut elsewhere = Node::join(&second, None).await;
    asker.exchange.wanted(&[WantedTemplates { key: Some(key(9)), ids: vec![256] }]);
    while beside.wanted.is_empty() {
        beside.step().await;
    }
    while elsewhere.wanted.is_empty() {
        elsewhere.step().await;
    }
    assert_eq!((beside.wanted, elsewhere.wanted), (vec![key(9)], vec![key(9)]));
}

#[tokio::test]
async fn what_is_known_is_answered_at_once() {
    let kv = Kv::Memory(Memory::new());
    let store = replica(&kv, "a").await;
    let mut asker = Node::join(&store, None).await;
    let known = scope(9, 256, 5, 1);
    store.exchange().learned(std::slice::from_ref(&known), Standing::Open);
    asker.has(&known).await;
    asker.scopes.clear();
    asker.exchange.wanted(&[WantedTemplates { key: Some(key(9)), ids: vec![256] }]);
    asker.has(&known).await;
}

#[tokio::test]
async fn the_later_incarnation_of_a_node_stays() {
    let kv = Kv::Memory(Memory::new());
    let (first, second) = (replica(&kv, "a").await, replica(&kv, "b").await);
    let old = first.register(hello("n1", 1)).await.unwrap();
    until("it is registered", || second.mirror().collector("n1").is_some()).await;
    let new = second.register(hello("n1", 2)).await.unwrap();
    tokio::time::timeout(rig::DEADLINE, old.superseded()).await.expect("the old one has to end");
    drop(old);
    assert!(first.register(hello("n1", 1)).await.is_err(), "an older incarnation took the place");
    let session = new.session_id().to_owned();
    until("the new one is registered", || {
        first.mirror().collector("n1").is_some_and(|collector| collector.session_id == session)
    })
    .await;
    drop(new);
    until("its place is given up", || first.mirror().collectors().is_empty()).await;
}

#[tokio::test]
async fn one_replica_is_the_leader_and_another_follows_it() {
    let kv = Kv::Memory(Memory::new());
    let (first, second) = (replica(&kv, "a").await, replica(&kv, "b").await);
    until("there is a leader", || first.mirror().leader().is_some()).await;
    until("both know it", || first.mirror().leader() == second.mirror().leader()).await;
    let (leader, other) = if first.is_leader() { (first, second) } else { (second, first) };
    leader.stop(Duration::from_secs(5)).await;
    until("the other one is the leader", || other.is_leader()).await;
    until("the one that ended is gone", || other.mirror().replicas().len() == 1).await;
}
