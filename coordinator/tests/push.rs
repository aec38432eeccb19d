//! What one replica was taught and the store does not have yet, at the other ones.

#![allow(clippy::unwrap_used)]

mod rig;
mod served;

use catchment_proto::cluster::v1::coordinator_peer_client::CoordinatorPeerClient;
use catchment_proto::cluster::v1::{PushScopesRequest, Replica};
use coordinator::keys::Key;
use coordinator::kv::{Kv, Memory};
use coordinator::validate;
use rig::{Node, etcd, scope, stored, until, until_stored};
use served::Served;
use tonic::Code;
use tonic::transport::Channel;

#[tokio::test]
async fn what_a_replica_learns_without_its_store_the_others_get_at_once_and_write() {
    let Some(member) = etcd::Member::start().await else { return };
    let way = etcd::Way::to(member.address()).await;
    let cut_off = Served::start(&way.kv(), "a").await;
    let other = Served::start(&member.kv(), "b").await;
    until("they know of one another", || {
        cut_off.store.mirror().replicas().len() == 2 && other.store.mirror().replicas().len() == 2
    })
    .await;
    let learner = Node::join(&cut_off.store, None).await;
    let mut elsewhere = Node::join(&other.store, None).await;

    way.cut();
    until("it is noticed", || !cut_off.store.connection().borrow().reachable).await;
    let learned: Vec<_> = (0..50).map(|number| scope(number, 256, 20, 1000)).collect();
    for scope in &learned {
        learner.learned(scope);
        elsewhere.has(scope).await;
    }
    for scope in &learned {
        until_stored(&member.kv(), scope).await;
    }
    assert_eq!(cut_off.store.counted().template_puts, 0, "it cannot have written");
    assert!(cut_off.store.counted().pushed_scopes >= 1);

    // Back again, what it knows is what is stored.
    way.mend();
    until("it is there again", || cut_off.store.connection().borrow().reachable).await;
    let newer = scope(7, 256, 3, 2000);
    elsewhere.learned(&newer);
    let mut beside = Node::join(&cut_off.store, None).await;
    beside.has(&newer).await;
    until_stored(&member.kv(), &newer).await;
}

fn peer(channel: Channel) -> CoordinatorPeerClient<Channel> {
    CoordinatorPeerClient::new(channel)
}

fn request(
    from: Replica,
    scopes: impl IntoIterator<Item = catchment_proto::cluster::v1::ScopeState>,
) -> PushScopesRequest {
    PushScopesRequest {
        cluster: "test".into(),
        coordinator: Some(from),
        scopes: scopes.into_iter().collect(),
    }
}

async fn is_stored(kv: &Kv, scope: &catchment_proto::cluster::v1::ScopeState) -> bool {
    let id = validate::scope_id(scope.key.as_ref().unwrap()).unwrap();
    stored(kv, &Key::Templates(id)).await.is_some()
}

#[tokio::test]
async fn who_is_told_writes_only_what_the_teller_will_not() {
    let kv = Kv::Memory(Memory::new());
    let (teller, told) = (Served::start(&kv, "a").await, Served::start(&kv, "b").await);
    let replica = |id: &str| {
        let replicas = told.store.mirror().replicas();
        replicas.iter().find(|replica| replica.id == id).map(|replica| Replica::clone(replica))
    };
    until("the teller is known", || replica("a").is_some()).await;
    let known = replica("a").unwrap();
    let mut client = peer(told.channel().await);
    let mut node = Node::join(&told.store, None).await;

    let pledged = scope(1, 256, 20, 1000);
    client.push_scopes(request(known.clone(), [pledged.clone()])).await.unwrap();
    node.has(&pledged).await;
    // What would have been written goes with the next write.
    let own = scope(2, 256, 20, 1000);
    node.learned(&own);
    until_stored(&kv, &own).await;
    assert!(!is_stored(&kv, &pledged).await, "it was for the teller to write");

    // Of one that is not in the store, or was started anew since, nobody can expect that.
    let stranger = Replica { id: "c".into(), ..known.clone() };
    let earlier = Replica { started_seconds: known.started_seconds - 1.0, ..known };
    for (number, from) in [(3, stranger), (4, earlier)] {
        let abandoned = scope(number, 256, 20, 1000);
        client.push_scopes(request(from, [abandoned.clone()])).await.unwrap();
        until_stored(&kv, &abandoned).await;
    }
    assert!(!is_stored(&kv, &pledged).await);

    // The teller ends, and has not written it.
    teller.stop().await;
    until_stored(&kv, &pledged).await;
}

#[tokio::test]
async fn what_is_not_valid_is_left_out_and_counted() {
    let kv = Kv::Memory(Memory::new());
    let told = Served::start(&kv, "b").await;
    let mut client = peer(told.channel().await);
    let mut node = Node::join(&told.store, None).await;
    let from = || Replica { id: "c".into(), ..Replica::default() };

    let valid = scope(1, 256, 20, 1000);
    let mut invalid = scope(2, 256, 20, 1000);
    invalid.definitions[0].layout = 9;
    client.push_scopes(request(from(), [invalid, valid.clone()])).await.unwrap();
    node.has(&valid).await;
    let counted = told.store.counted();
    assert_eq!((counted.heard_scopes, counted.heard_refused), (2, 1));
    assert_eq!(told.store.size().scopes, 1);

    let mut of_another = request(from(), [valid]);
    of_another.cluster = "another".into();
    let refused = client.push_scopes(of_another).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("`another`"), "{refused}");
    let nameless = PushScopesRequest { coordinator: None, ..request(from(), []) };
    assert_eq!(client.push_scopes(nameless).await.unwrap_err().code(), Code::InvalidArgument);
}
