//! `ClusterAdmin` over replicas that serve over loopback, with nodes that have sessions.

mod rig;
mod served;

use std::time::Duration;

use catchment_proto::cluster::v1::cluster_admin_client::ClusterAdminClient;
use catchment_proto::cluster::v1::{
    DrainRequest, GetClusterRequest, GetConfigRequest, GetHealthRequest, GetNodeRequest,
    GetStatisticsRequest, Heartbeat, Hello, ListConfigRevisionsRequest, ListExportersRequest,
    ListNodesRequest, ListTemplatesRequest, PauseRequest, ResumeRequest, SequenceRanges, SequenceReport,
    SequenceSpace, SequenceUnit, SetConfigRequest, SetConfigResponse, SetLogLevelRequest, control_request,
};
use catchment_proto::node::v1::{
    ExporterFilter, ExporterLoad, Health, HealthStatus, Ledger, Page, Statistics, StreamLedger,
};
use coordinator::kv::{Kv, Memory};
use coordinator::limits::Standing;
use rig::{scope, until};
use served::{Node, Served, Temper, Willing, hello};
use tonic::transport::Channel;
use tonic::{Code, Status};

fn memory() -> Kv {
    Kv::Memory(Memory::new())
}

async fn admin(replica: &Served) -> ClusterAdminClient<Channel> {
    ClusterAdminClient::new(replica.channel().await)
}

async fn willing(replica: &Served, node: &str, temper: Temper) -> Willing {
    let node_id = node.to_owned();
    let node = Willing::start(vec![replica.address], hello(node, 1), temper);
    until("it has a session", || replica.services.sessions().of_node(&node_id).is_some()).await;
    node
}

fn set(yaml: &str) -> SetConfigRequest {
    SetConfigRequest { yaml: yaml.into(), author: "test".into(), ..SetConfigRequest::default() }
}

async fn set_config(
    admin: &mut ClusterAdminClient<Channel>,
    request: SetConfigRequest,
) -> Result<SetConfigResponse, Status> {
    admin.set_config(request).await.map(tonic::Response::into_inner)
}

fn beat(records: u64, health: Health) -> control_request::Message {
    let flow = StreamLedger { stream: "flow".into(), produced: records, ..StreamLedger::default() };
    let ledger = Ledger { streams: vec![flow], balanced: true, ..Ledger::default() };
    let load = ExporterLoad { exporter: vec![10, 0, 0, 1], records, ..ExporterLoad::default() };
    control_request::Message::Heartbeat(Heartbeat {
        time_ns: 1_000_000_000 * records,
        health: Some(health),
        statistics: Some(Statistics { ledger: Some(ledger), ..Statistics::default() }),
        top_exporters: vec![load],
        ..Heartbeat::default()
    })
}

fn well() -> Health {
    Health { status: HealthStatus::Ok.into(), ..Health::default() }
}

#[tokio::test]
async fn any_replica_knows_the_nodes_of_all() {
    let kv = memory();
    let (first, second) = (Served::start(&kv, "a").await, Served::start(&kv, "b").await);
    until("they know each other", || first.store.mirror().replicas().len() == 2).await;
    let one = Node::join(first.channel().await, hello("n1", 1)).await.expect("a session");
    let two = Node::join(second.channel().await, hello("n2", 1)).await.expect("a session");
    for (node, records) in [(&one, 10), (&two, 20), (&one, 20), (&two, 60)] {
        node.say(beat(records, well())).await;
    }
    let mut admin = admin(&first).await;
    let mut nodes = Vec::new();
    for _ in 0..1000 {
        nodes = admin.list_nodes(ListNodesRequest {}).await.unwrap().into_inner().nodes;
        if nodes.iter().filter(|node| node.records_per_second > 0.0).count() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let seen: Vec<_> =
        nodes.iter().map(|n| (n.id.as_str(), n.coordinator.as_str(), n.records_per_second)).collect();
    assert_eq!(seen, [("n1", "a", 1.0), ("n2", "b", 1.0)]);

    let statistics = admin.get_statistics(GetStatisticsRequest::default()).await.unwrap().into_inner();
    let total = statistics.total.and_then(|total| total.ledger).unwrap();
    assert_eq!((total.streams[0].produced, total.balanced, statistics.nodes.len()), (80, true, 2));
    let leads = || first.services.sequences().leads() || second.services.sequences().leads();
    until("one of them accounts for sequences", leads).await;
    until("both know the leader", || first.store.mirror().leader().is_some()).await;
    let load = admin.list_exporters(ListExportersRequest::default()).await.unwrap().into_inner();
    assert_eq!(
        (load.exporters.len(), load.remarks.len()),
        (0, 0),
        "an exporter of which only the load is known"
    );

    let cluster = admin.get_cluster(GetClusterRequest {}).await.unwrap().into_inner();
    assert_eq!(
        (cluster.coordinators, cluster.store.as_str(), cluster.sessions),
        (vec!["a".into(), "b".into()], "memory", 1)
    );
    let unknown = admin.get_node(GetNodeRequest { id: "n12".into() }).await.unwrap_err();
    assert_eq!(
        (unknown.code(), unknown.message()),
        (Code::NotFound, "there is no node `n12`; did you mean `n1`?")
    );
}

#[tokio::test]
async fn health_is_the_worst_of_the_parts_and_names_them() {
    let replica = Served::start(&memory(), "a").await;
    replica.leads().await;
    let mut admin = admin(&replica).await;
    let mut health = async || admin.get_health(GetHealthRequest {}).await.unwrap().into_inner();
    let none = health().await;
    assert_eq!(
        (none.status(), none.reasons),
        (HealthStatus::NotReady, vec!["nodes: none has a session".to_owned()])
    );
    let node = Node::join(replica.channel().await, hello("n1", 1)).await.expect("a session");
    node.say(beat(1, well())).await;
    let session = || replica.services.sessions().of_node("n1").map(|session| session.describe("a"));
    until("it is heard", || session().is_some_and(|node| node.health.is_some())).await;
    assert_eq!(health().await.status(), HealthStatus::Ok);
    let degraded = Health {
        status: HealthStatus::Degraded.into(),
        degraded: vec!["kafka: no broker answers".into()],
        ..Health::default()
    };
    node.say(beat(2, degraded)).await;
    until("it is heard", || {
        session().is_some_and(|node| node.health.is_some_and(|health| !health.degraded.is_empty()))
    })
    .await;
    let now = health().await;
    assert_eq!(
        (now.status(), now.reasons),
        (HealthStatus::Degraded, vec!["node n1: kafka: no broker answers".to_owned()])
    );
    replica.store.change_desired("gone", |desired| desired.log_level = "debug".into()).await.unwrap();
    assert!(health().await.reasons.iter().any(|reason| reason.starts_with("node gone: it has no session")));
}

#[tokio::test]
async fn pause_resume_and_log_level_are_taken_over_before_the_call_ends() {
    let kv = memory();
    let (first, second) = (Served::start(&kv, "a").await, Served::start(&kv, "b").await);
    until("they know each other", || first.store.mirror().replicas().len() == 2).await;
    let (_one, _two) =
        (willing(&first, "n1", Temper::default()).await, willing(&second, "n2", Temper::default()).await);
    let mut admin = admin(&first).await;
    let all = admin.pause(PauseRequest::default()).await.unwrap().into_inner();
    assert_eq!(all.waiting, Vec::<String>::new());
    let paused: Vec<_> = all.nodes.iter().map(|node| node.desired.clone().unwrap().paused_sources).collect();
    assert_eq!(paused, [["flow"], ["flow"]]);
    assert!(all.nodes.iter().all(|node| node.desired_revision == 1), "{:?}", all.nodes);

    let one = ResumeRequest { node: "n2".into(), source: "flow".into() };
    let resumed = admin.resume(one).await.unwrap().into_inner();
    assert_eq!((resumed.nodes.len(), resumed.nodes[0].desired_revision), (1, 2));
    let wrong = PauseRequest { node: "n1".into(), source: "flwo".into() };
    let wrong = admin.pause(wrong).await.unwrap_err();
    assert_eq!(wrong.message(), "node `n1`: there is no source `flwo`; did you mean `flow`?");
    let wrong = PauseRequest { node: "m1".into(), source: String::new() };
    assert_eq!(admin.pause(wrong).await.unwrap_err().message(), "there is no node `m1`; did you mean `n1`?");

    let level = |level: &str| SetLogLevelRequest { node: String::new(), level: level.into() };
    let set = admin.set_log_level(level("debug")).await.unwrap().into_inner();
    assert_eq!((set.nodes.len(), set.waiting.len()), (2, 0));
    let wrong = admin.set_log_level(level("debgu")).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    assert!(wrong.message().contains("did you mean `debug`?"), "{wrong}");

    let drained =
        admin.drain(DrainRequest { node: "n1".into(), reason: "test".into() }).await.unwrap().into_inner();
    let desired = drained.node.and_then(|node| node.desired).unwrap();
    assert_eq!((drained.begun, desired.drain, desired.drain_incarnation), (true, true, 1));
}

#[tokio::test]
async fn a_configuration_is_checked_everywhere_stored_and_pushed() {
    let kv = memory();
    let (first, second) = (Served::start(&kv, "a").await, Served::start(&kv, "b").await);
    until("they know each other", || first.store.mirror().replicas().len() == 2).await;
    let mut admin = admin(&first).await;
    let alone = set_config(&mut admin, set("flow: {}\n")).await.unwrap();
    assert_eq!(alone.remarks, ["no node has a session: nobody has checked it"]);

    let picky = Temper { refuses_check: "bad: unknown key", ..Temper::default() };
    let (_one, _two) = (willing(&first, "n1", Temper::default()).await, willing(&second, "n2", picky).await);
    let refused = set_config(&mut admin, set("bad: 1\n")).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("node n2: bad: unknown key"), "{refused}");
    let check = SetConfigRequest { check_only: true, ..set("bad: 1\n") };
    let checked = set_config(&mut admin, check).await.unwrap();
    let said: Vec<_> = checked.results.iter().map(|one| (one.node.as_str(), one.error.as_str())).collect();
    assert_eq!(said, [("n1", ""), ("n2", "bad: unknown key")]);

    let stale = SetConfigRequest { expected_revision: Some(0), ..set("flow: {a: 1}\n") };
    let stale = set_config(&mut admin, stale).await.unwrap_err();
    assert_eq!(stale.code(), Code::Aborted);
    assert!(stale.message().contains("revision 0") && stale.message().contains("one is 1"), "{stale}");
    let taken = SetConfigRequest { expected_revision: Some(1), ..set("flow: {a: 1}\n") };
    let taken = set_config(&mut admin, taken).await.unwrap();
    assert_eq!(taken.diff, "--- revision 1\n+++ revision 2\n@@ -1 +1 @@\n-flow: {}\n+flow: {a: 1}\n");
    assert_eq!((taken.results.len(), taken.remarks.len()), (2, 0));
    let nodes = admin.list_nodes(ListNodesRequest {}).await.unwrap().into_inner().nodes;
    assert!(nodes.iter().all(|node| node.config_revision == 2), "{nodes:?}");

    let old =
        admin.get_config(GetConfigRequest { revision: 1 }).await.unwrap().into_inner().revision.unwrap();
    assert_eq!(old.config.unwrap().yaml, "flow: {}\n");
    let none = admin.get_config(GetConfigRequest { revision: 9 }).await.unwrap_err();
    assert_eq!((none.code(), none.message()), (Code::NotFound, "there is no revision 9: kept are 1 to 2"));
}

#[tokio::test]
async fn a_configuration_that_a_node_refuses_at_apply_is_rolled_back() {
    let kv = memory();
    let (first, second) = (Served::start(&kv, "a").await, Served::start(&kv, "b").await);
    until("they know each other", || first.store.mirror().replicas().len() == 2).await;
    let late = Temper { refuses_set: "bad: cannot bind", ..Temper::default() };
    let (_one, _two) = (willing(&first, "n1", Temper::default()).await, willing(&second, "n2", late).await);
    let mut admin = admin(&first).await;
    set_config(&mut admin, set("flow: {}\n")).await.unwrap();
    let refused = set_config(&mut admin, set("bad: 1\n")).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("node n2: bad: cannot bind"), "{refused}");
    assert!(refused.message().contains("revision 3 has the content of revision 1 again"), "{refused}");
    let list = admin.list_config_revisions(ListConfigRevisionsRequest::default()).await.unwrap().into_inner();
    let revisions: Vec<_> =
        list.revisions.iter().map(|one| (one.config.clone().unwrap().revision, one.rollback_of)).collect();
    assert_eq!(revisions, [(3, 1), (2, 0), (1, 0)]);
    let nodes = admin.list_nodes(ListNodesRequest {}).await.unwrap().into_inner().nodes;
    assert!(nodes.iter().all(|node| node.config_revision == 3 && node.config_error.is_empty()), "{nodes:?}");
}

#[tokio::test]
async fn a_pause_survives_the_coordinator() {
    let kv = memory();
    survives_restart(&kv).await;
}

async fn survives_restart(kv: &Kv) {
    let before = Served::start(kv, "a").await;
    let node = willing(&before, "n1", Temper::default()).await;
    let pause = PauseRequest { node: "n1".into(), source: "flow".into() };
    admin(&before).await.pause(pause).await.expect("paused");
    drop(node);
    before.stop().await;
    let after = Served::start(kv, "a").await;
    let again = Node::join(after.channel().await, hello("n1", 2)).await.expect("a session");
    assert_eq!(again.welcome.desired.expect("a desired state").paused_sources, ["flow"]);
}

#[tokio::test]
async fn a_pause_survives_the_coordinator_over_etcd() {
    let Some(etcd) = rig::etcd::Member::start().await else { return };
    survives_restart(&etcd.kv()).await;
}

#[tokio::test]
async fn exporters_have_what_is_shared_and_their_sequences_page_by_page() {
    let kv = memory();
    let first = Served::start(&kv, "a").await;
    first.leads().await;
    let second = Served::start(&kv, "b").await;
    until("they know each other", || second.store.mirror().replicas().len() == 2).await;
    until("the leader accounts", || first.services.sequences().leads()).await;
    let exchange = first.store.exchange();
    for number in 1..=5 {
        exchange.learned(&[scope(number, 256, 3, 1000)], Standing::AllowListed);
    }
    until("the other knows them", || second.store.size().scopes == 5).await;
    let node = Node::join(second.channel().await, Hello { ..hello("n1", 1) }).await.expect("a session");
    node.say(beat(7, well())).await;
    let ranges = |exporter: [u8; 4]| SequenceRanges {
        space: Some(SequenceSpace {
            exporter: exporter.to_vec(),
            port: 2055,
            version: 9,
            unit: SequenceUnit::Datagrams.into(),
            ..SequenceSpace::default()
        }),
        ranges: vec![0, 10],
        ..SequenceRanges::default()
    };
    let spaces = vec![ranges([10, 0, 0, 1]), ranges([10, 0, 0, 9])];
    let report = SequenceReport { number: 1, spaces, ..SequenceReport::default() };
    node.say(control_request::Message::Sequences(report)).await;
    until("the leader has it", || first.services.sequences().counts().spaces == 2).await;

    let mut admin = admin(&second).await;
    let mut exporters = Vec::new();
    let mut page = Page { size: 2, token: String::new() };
    let mut pages = 0;
    loop {
        let request = ListExportersRequest { page: Some(page.clone()), filter: None };
        let answer = admin.list_exporters(request).await.unwrap().into_inner();
        assert_eq!(answer.remarks, Vec::<String>::new());
        exporters.extend(answer.exporters);
        pages += 1;
        page.token = answer.next_page_token;
        if page.token.is_empty() {
            break;
        }
    }
    let seen: Vec<_> =
        exporters.iter().map(|one| (one.address[3], one.templates, one.sequences.len())).collect();
    assert_eq!(seen, [(1, 1, 1), (2, 1, 0), (3, 1, 0), (4, 1, 0), (5, 1, 0), (9, 0, 1)]);
    assert_eq!((pages, exporters[0].sequences[0].received), (3, 10));
    assert_eq!(exporters[0].load.as_ref().map(|load| load.records), Some(7));
    let filter = ExporterFilter { prefix: "10.0.0.4/31".into(), ..ExporterFilter::default() };
    let request = ListExportersRequest { filter: Some(filter), page: None };
    let some = admin.list_exporters(request).await.unwrap().into_inner().exporters;
    assert_eq!(some.iter().map(|one| one.address[3]).collect::<Vec<_>>(), [4, 5]);
    let statistics = admin.get_statistics(GetStatisticsRequest::default()).await.unwrap().into_inner();
    let sequences = statistics.sequences.unwrap();
    assert_eq!((sequences.received, sequences.spaces), (20, 2));

    let mut templates = Vec::new();
    let mut request = ListTemplatesRequest { with_fields: true, ..ListTemplatesRequest::default() };
    let mut page = Page { size: 2, token: String::new() };
    loop {
        request.page = Some(page.clone());
        let answer = admin.list_templates(request.clone()).await.unwrap().into_inner();
        assert!(answer.templates.len() <= 2);
        templates.extend(answer.templates);
        page.token = answer.next_page_token;
        if page.token.is_empty() {
            break;
        }
    }
    let seen: Vec<_> = templates
        .iter()
        .map(|one| (one.id, one.field_count, one.min_record_bytes, one.fields.len()))
        .collect();
    assert_eq!(seen, [(256, 3, 12, 3); 5]);
    let wrong = Page { size: 1, token: "x".into() };
    let wrong =
        admin.list_templates(ListTemplatesRequest { page: Some(wrong), ..request }).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
}
