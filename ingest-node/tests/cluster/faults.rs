//! What a node does when a coordinator is slow, silent, wrong or gone.

use std::time::{Duration, Instant};

use catchment_proto::cluster::v1::{
    Delta, DesiredState, StateRevision, Wanted, WantedTemplates, command, sync_state_response,
};
use ingest_node::source::SourceState;
use tonic::Status;

use crate::fake::{Fake, Script, shared_template};
use crate::rig::{TestNode, data, exporter, template, until};

fn degraded(node: &TestNode) -> String {
    node.node.status().health.degraded.join("; ")
}

fn paused(revision: u64, source: &str) -> DesiredState {
    DesiredState { revision, paused_sources: vec![source.to_owned()], ..DesiredState::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_knows_the_snapshot_before_its_first_datagram() {
    let script = Script { snapshot: vec![shared_template(1), shared_template(2)], ..Script::default() };
    let fake = Fake::start("c-1", script).await;
    let node = TestNode::start("n-1", &[fake.address], &[]).await;
    assert!(node.knew && node.prepared.known.store.templates() == 2);
    node.send(&exporter(), &data(2));
    until("the data is decoded", || node.decoded() == 1).await;
    node.connected().await;
    assert_eq!(degraded(&node), "");
    let hello = fake.heard().hellos[0].clone();
    assert_eq!((hello.cluster.as_str(), hello.node_id.as_str(), hello.contract), ("test", "n-1", 1));
    assert_eq!((hello.grpc_address.as_str(), hello.incarnation), ("127.0.0.1:7401", node.node.incarnation()));
    assert_eq!(fake.heard().learned, [], "the cluster knows all that");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_snapshot_does_not_come_opens_anyway() {
    let fake = Fake::start("c-1", Script { endless_snapshot: true, ..Script::default() }).await;
    let began = Instant::now();
    let node = TestNode::start("n-1", &[fake.address], &["coordinator.startup_timeout=300ms"]).await;
    assert!(!node.knew && began.elapsed() >= Duration::from_millis(300));
    assert_eq!(node.node.status().sources[0].health.state, SourceState::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_node_goes_on_and_says_why() {
    let text = "node `n-1` belongs to cluster `test`, coordinator `c-1` to cluster `prod`";
    let script = Script { refuse: Some(Status::failed_precondition(text)), ..Script::default() };
    let fake = Fake::start("c-1", script).await;
    let node = TestNode::start("n-1", &[fake.address], &["coordinator.startup_timeout=0ms"]).await;
    until("health says why", || degraded(&node).contains(text)).await;
    assert!(degraded(&node).starts_with("coordinator: refused by http://"), "{}", degraded(&node));
    let exporter = exporter();
    node.send(&exporter, &template(1));
    node.send(&exporter, &data(1));
    until("the data is decoded", || node.decoded() == 1).await;
    fake.change(|script| script.refuse = None);
    until("what it learnt goes up", || fake.heard().learned.len() == 1).await;
    until("all is well", || degraded(&node).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_falls_silent_is_left_for_another() {
    let silent = Fake::start("silent", Script { silent: true, lease_ms: 500, ..Script::default() }).await;
    let other =
        Fake::start("other", Script { refuse: Some(Status::unavailable("not yet")), ..Script::default() })
            .await;
    let node = TestNode::start("n-1", &[silent.address, other.address], &[]).await;
    assert!(node.knew);
    other.change(|script| script.refuse = None);
    until("the other one has it", || other.heard().heartbeats > 3).await;
    let heartbeats = silent.heard().heartbeats;
    assert!(heartbeats >= 2, "{heartbeats}");
    assert_eq!(node.node.health_message().coordinator, "other");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_surely_stored_is_told_to_the_next_coordinator() {
    let [one, two] =
        [Fake::start("c-1", Script::default()).await, Fake::start("c-2", Script::default()).await];
    let node = TestNode::start("n-1", &[one.address, two.address], &[]).await;
    node.connected().await;
    let exporter = exporter();
    node.send(&exporter, &template(1));
    node.send(&exporter, &data(1));
    let told = |fake: &Fake| fake.heard().learned.clone();
    until("it goes up", || told(&one).len() + told(&two).len() == 1).await;
    let (first, second) = if told(&one).is_empty() { (two, one) } else { (one, two) };
    let learnt = told(&first);
    let definition = &learnt[0].definitions[0];
    assert_eq!((definition.id, learnt[0].layouts[0].fields.len()), (256, 2));
    assert_eq!(definition.port, u32::from(exporter.local_addr().unwrap().port()));
    first.kill();
    until("the next one hears of it", || told(&second) == learnt).await;
    let resume = second.heard().starts[0].resume.clone();
    assert_eq!(resume, Some(StateRevision { store: "store".to_owned(), revision: 7 }));
    assert_eq!(node.prepared.cluster.counts().sessions, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_coordinators_are_gone_goes_on_and_catches_up() {
    let fake = Fake::start("c-1", Script { snapshot: vec![shared_template(1)], ..Script::default() }).await;
    let node = TestNode::start("n-1", &[fake.address], &[]).await;
    fake.change(|script| script.refuse = Some(Status::unavailable("no store")));
    fake.cut();
    until("health says so", || degraded(&node).starts_with("coordinator: ")).await;
    let exporter = exporter();
    node.send(&exporter, &data(1));
    node.send(&exporter, &template(2));
    node.send(&exporter, &data(2));
    until("known and new exporters are decoded", || node.decoded() == 2).await;
    assert!(node.node.status().health.is_ready(), "degraded is ready");
    fake.change(|script| script.refuse = None);
    until("it catches up", || {
        fake.heard().learned.iter().any(|scope| scope.key.as_ref().unwrap().domain == 2)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_left_out_and_the_rest_is_used() {
    let mut poison = [shared_template(1), shared_template(2), shared_template(3)];
    poison[0].definitions[0].layout = 99;
    poison[1].key = None;
    let fake = Fake::start("c-1", Script { snapshot: poison.to_vec(), ..Script::default() }).await;
    let node = TestNode::start("n-1", &[fake.address], &[]).await;
    node.send(&exporter(), &data(3));
    until("the rest is used", || node.decoded() == 1).await;
    assert_eq!((node.prepared.cluster.counts().parts_refused, node.prepared.known.store.templates()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_waits_is_decoded_when_a_delta_brings_its_template() {
    let fake = Fake::start("c-1", Script::default()).await;
    let node = TestNode::start("n-1", &[fake.address], &[]).await;
    node.send(&exporter(), &data(1));
    until("it is looked for, more than once", || fake.heard().wanted.len() > 1).await;
    assert_eq!(fake.heard().wanted[..2], [256, 256]);
    let scopes = vec![shared_template(1)];
    fake.share(sync_state_response::Message::Delta(Delta { scopes, ..Delta::default() }));
    until("the data is decoded", || node.decoded() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_look_for_goes_up_although_no_data_has_proven_it() {
    let fake = Fake::start("c-1", Script::default()).await;
    let node = TestNode::start("n-1", &[fake.address], &[]).await;
    node.send(&exporter(), &template(1));
    until("it is known", || node.prepared.known.store.templates() == 1).await;
    assert_eq!(fake.heard().learned, []);
    let scopes = vec![WantedTemplates { key: shared_template(1).key, ids: vec![256] }];
    fake.share(sync_state_response::Message::Wanted(Wanted { scopes }));
    until("it goes up", || fake.heard().learned.len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_desired_holds_before_the_first_datagram_and_changes_by_command() {
    let fake = Fake::start("c-1", Script { desired: paused(3, "flow"), ..Script::default() }).await;
    let node = TestNode::start("n-1", &[fake.address], &[]).await;
    let state = || node.node.status().sources[0].health.state;
    assert_eq!(state(), SourceState::Paused);
    fake.command(1, command::Command::SetDesired(paused(4, "fluw")));
    fake.command(2, command::Command::SetDesired(DesiredState { revision: 5, ..DesiredState::default() }));
    until("both are answered", || fake.heard().results.len() == 2).await;
    let results = fake.heard().results.clone();
    assert!(results[0].error.contains("did you mean `flow`"), "{results:?}");
    assert_eq!((results[1].id, results[1].error.as_str()), (2, ""));
    until("it reads", || state() == SourceState::Running).await;
    let level = DesiredState { revision: 6, log_level: "loud".to_owned(), ..DesiredState::default() };
    fake.command(3, command::Command::SetDesired(level));
    until("it is answered", || fake.heard().results.len() == 3).await;
    assert!(fake.heard().results[2].error.contains("loud"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_is_for_one_start_of_the_node() {
    let fake = Fake::start("c-1", Script::default()).await;
    let node = TestNode::start("n-1", &[fake.address], &[]).await;
    let drain = |revision, drain_incarnation| {
        let desired = DesiredState { revision, drain: true, drain_incarnation, ..DesiredState::default() };
        command::Command::SetDesired(desired)
    };
    fake.command(1, drain(1, node.node.incarnation() - 1));
    until("it is answered", || fake.heard().results.len() == 1).await;
    assert!(node.node.draining().is_none());
    fake.command(2, drain(2, node.node.incarnation()));
    until("it drains", || node.node.draining().is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_says_so() {
    let fake = Fake::start("c-1", Script::default()).await;
    let node = TestNode::start("n-1", &[fake.address], &[]).await;
    node.connected().await;
    node.cluster.leave("SIGTERM").await;
    until("the goodbye", || fake.heard().goodbyes == ["SIGTERM"]).await;
}
