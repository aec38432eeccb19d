//! `NodeControl`: a real client on a real port, a node that decodes real datagrams.

#![allow(clippy::unwrap_used, reason = "a test's way to fail, also where its steps are functions")]

use std::net::UdpSocket;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catchment_proto::node::v1;
use catchment_proto::node::v1::node_control_client::NodeControlClient;
use catchment_serving::logging::Logging;
use ingest_node::config::{Config, Sources};
use ingest_node::control::ControlPort;
use ingest_node::node::{Node, Prepared};
use ingest_node::status::SessionState;
use tonic::transport::Channel;
use tonic::{Code, Status};

const DEADLINE: Duration = Duration::from_secs(20);

/// A node with its port, and a client of it.
struct Bench {
    node: Arc<Node>,
    port: Option<ControlPort>,
    client: NodeControlClient<Channel>,
    exporter: UdpSocket,
}

impl Bench {
    async fn start(set: &[&str]) -> Self {
        Self::with_file(None, &[&["listeners=127.0.0.1:0"], set].concat()).await
    }

    async fn with_file(file: Option<&Path>, set: &[&str]) -> Self {
        let usual = ["node.grpc=127.0.0.1:0", "node.workers=1", "output=discard", "node.id=bench"];
        let set = usual.iter().chain(set).map(|text| (*text).to_owned()).collect();
        let sources = Sources { file: file.map(Into::into), set, ..Sources::default() };
        let loaded = Config::load(&sources).unwrap();
        let server = ControlPort::open(&loaded.config).await.unwrap();
        let logging = Logging::start(&loaded.config.log);
        let prepared = Prepared::nothing(&loaded.config);
        let node = Arc::new(Node::open(loaded, sources, prepared, logging).unwrap());
        let port = ControlPort::serve(server, &node);
        node.start().unwrap();
        let client = NodeControlClient::connect(format!("http://{}", port.address())).await.unwrap();
        let exporter = UdpSocket::bind("127.0.0.1:0").unwrap();
        exporter.connect(node.flow().listeners()[0].address).unwrap();
        Self { node, port: Some(port), client, exporter }
    }

    fn send(&self, datagram: &[u8]) {
        self.exporter.send(datagram).unwrap();
    }

    fn received(&self) -> u64 {
        self.node.status().ledger.datagrams.received
    }

    async fn until(&self, what: &str, done: impl Fn(&Node) -> bool) {
        let began = Instant::now();
        while !done(&self.node) {
            assert!(began.elapsed() < DEADLINE, "{what}: {:?}", self.node.status());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends the node as the program does.
    async fn end(mut self) {
        self.node.begin_drain("the test is over");
        let drain = self.node.drain_begun().await;
        let node = self.node.clone();
        tokio::task::spawn_blocking(move || node.drain(&drain)).await.unwrap();
        self.port.take().unwrap().stop().await;
        assert_eq!(self.node.status().ledger.check(), Ok(()));
    }
}

/// A NetFlow v5 datagram of `records` records from 10.0.0.1 to 10.0.0.2.
fn v5(records: u8) -> Vec<u8> {
    let mut datagram = vec![0, 5, 0, records];
    datagram.resize(24, 0);
    for _ in 0..records {
        let mut record = [0_u8; 48];
        record[..8].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        record[16..24].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 40]);
        record[32..36].copy_from_slice(&[0x9c, 0x40, 0x01, 0xbb]);
        record[38] = 6;
        datagram.extend(record);
    }
    datagram
}

/// A NetFlow v9 datagram: templates `ids` of source address and octets, and a record of the first.
fn v9(domain: u8, ids: &[u16]) -> Vec<u8> {
    let mut datagram = vec![0, 9, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, domain];
    datagram.extend([0, 0]);
    datagram.extend((4 + 12 * ids.len() as u16).to_be_bytes());
    for id in ids {
        datagram.extend(id.to_be_bytes());
        datagram.extend([0, 2, 0, 8, 0, 4, 0, 1, 0, 4]);
    }
    datagram.extend(ids[0].to_be_bytes());
    datagram.extend([0, 12, 192, 0, 2, 77, 0, 0, 0, 9]);
    datagram
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.unwrap_err();
    (status.code(), status.message().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn health_statistics_and_listeners_are_those_of_the_node() {
    let mut bench = Bench::start(&["exporter.allow=127.0.0.0/8"]).await;
    bench.send(&v5(3));
    let decoded = |node: &Node| node.status().ledger.datagrams.decoded;
    bench
        .until("delivered", |node| node.status().ledger.streams[0].delivered == 3 && decoded(node) == 1)
        .await;
    let health = bench.client.get_health(v1::GetHealthRequest {}).await.unwrap().into_inner();
    assert_eq!((health.node_id.as_str(), health.incarnation), ("bench", bench.node.incarnation()));
    let inner = health.health.unwrap();
    assert_eq!((inner.status(), inner.not_ready, inner.degraded), (v1::HealthStatus::Ok, vec![], vec![]));
    assert_eq!(inner.sources[0].state(), v1::SourceState::Running);

    let answer = bench.client.get_statistics(v1::GetStatisticsRequest {}).await.unwrap().into_inner();
    let ledger = answer.statistics.unwrap().ledger.unwrap();
    assert!(ledger.balanced);
    assert_eq!(ledger.datagrams.unwrap().decoded, 1);
    assert_eq!((ledger.streams[0].stream.as_str(), ledger.streams[0].delivered), ("flow", 3));

    let listeners = bench.client.list_listeners(v1::ListListenersRequest {}).await.unwrap().into_inner();
    let [listener] = &listeners.listeners[..] else { panic!("{listeners:?}") };
    assert_eq!(listener.address, bench.node.flow().listeners()[0].address.to_string());
    assert_eq!((listener.source.as_str(), listener.sockets, listener.datagrams), ("flow", 1, 1));
    assert!(listener.receive_buffer_bytes > 0);
    let spool = bench.client.spool_status(v1::SpoolStatusRequest {}).await.unwrap().into_inner();
    assert!(!spool.enabled, "there is none");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_pauses_and_resumes_by_name_and_a_wrong_name_finds_the_nearest() {
    let mut bench = Bench::start(&[]).await;
    let pause = |source: &str| v1::PauseRequest { source: source.to_owned() };
    let (code, said) = refusal(bench.client.pause(pause("flwo")).await);
    assert_eq!(code, Code::NotFound);
    assert_eq!(said, "no source is named `flwo`, did you mean `flow`?; there is: flow");
    let paused = bench.client.pause(pause("flow")).await.unwrap().into_inner();
    assert_eq!(paused.sources[0].state(), v1::SourceState::Paused);
    let health = bench.client.get_health(v1::GetHealthRequest {}).await.unwrap().into_inner().health.unwrap();
    assert_eq!(health.status(), v1::HealthStatus::NotReady);
    assert_eq!(health.not_ready, ["source flow: paused"]);
    let resumed = bench.client.resume(v1::ResumeRequest::default()).await.unwrap().into_inner();
    assert_eq!(resumed.sources[0].state(), v1::SourceState::Running);
    bench.send(&v5(1));
    bench.until("read again", |node| node.status().ledger.datagrams.received == 1).await;
    let (code, said) = refusal(bench.client.resume(v1::ResumeRequest { source: "syslog".into() }).await);
    assert_eq!((code, said.as_str()), (Code::NotFound, "no source is named `syslog`; there is: flow"));
    bench.end().await;
}

/// The buffer of a paused socket overflows; what was sent is in the ledger to the last datagram.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_paused_source_does_not_read_is_counted_exactly() {
    let mut bench = Bench::start(&["udp.gro=off", "udp.receive_buffer=64KiB"]).await;
    bench.send(&v5(1));
    bench.until("the first one", |node| node.status().ledger.datagrams.received == 1).await;
    bench.client.pause(v1::PauseRequest::default()).await.unwrap();
    let (mut sent, mut dropped) = (1, 0);
    let began = Instant::now();
    while dropped < 1000 {
        assert!(began.elapsed() < DEADLINE, "{dropped} of {sent} dropped");
        for _ in 0..100 {
            bench.send(&v5(1));
            sent += 1;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        let statistics = bench.client.get_statistics(v1::GetStatisticsRequest {}).await.unwrap().into_inner();
        dropped = statistics.statistics.unwrap().ledger.unwrap().datagrams.unwrap().kernel_dropped;
    }
    let read_while_paused = bench.received();
    assert!(read_while_paused < 200, "{read_while_paused} were read while it was paused");
    bench.client.resume(v1::ResumeRequest::default()).await.unwrap();
    let sum = |node: &Node| {
        let datagrams = node.status().ledger.datagrams;
        datagrams.received + datagrams.kernel_dropped
    };
    bench.until("all accounted for", |node| sum(node) == sent).await;
    let listeners = bench.client.list_listeners(v1::ListListenersRequest {}).await.unwrap().into_inner();
    assert!(listeners.listeners[0].kernel_dropped >= 1000);
    let node = bench.node.clone();
    bench.end().await;
    assert_eq!(sum(&node), sent, "nothing is counted twice at the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn exporters_are_listed_with_what_they_sent_by_prefix_and_by_page() {
    let mut bench = Bench::start(&[]).await;
    let port = bench.node.flow().listeners()[0].address.port();
    for host in 2..=6 {
        let socket = UdpSocket::bind((std::net::Ipv4Addr::new(127, 0, 0, host), 0)).unwrap();
        let datagram = if host == 2 { v9(1, &[256, 300]) } else { v5(host) };
        socket.send_to(&datagram, ("127.0.0.1", port)).unwrap();
    }
    bench.until("counted", |node| node.top_exporters(10).len() == 5).await;
    let list = |prefix: &str, size, token: &str| v1::ListExportersRequest {
        filter: Some(v1::ExporterFilter { zone: None, prefix: prefix.to_owned() }),
        page: Some(v1::Page { size, token: token.to_owned() }),
    };
    let (mut seen, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = bench.client.list_exporters(list("", 2, &token)).await.unwrap().into_inner();
        seen.extend(page.exporters.into_iter().map(|exporter| (exporter.address.clone(), exporter)));
        pages += 1;
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let addresses: Vec<_> = seen.iter().map(|(address, _)| address.clone()).collect();
    assert_eq!(addresses, (2..=6).map(|host| vec![127, 0, 0, host]).collect::<Vec<_>>());
    assert_eq!(pages, 3);
    let first = &seen[0].1;
    assert_eq!((first.templates, first.scopes[0].version, first.scopes[0].domain), (2, 9, 1));
    assert!(first.last_seen_ns > 0);
    let load = seen[4].1.load.as_ref().unwrap();
    assert_eq!((load.datagrams, load.records), (1, 6));

    let some = bench.client.list_exporters(list("127.0.0.4/31", 0, "")).await.unwrap().into_inner();
    let some: Vec<_> = some.exporters.iter().map(|exporter| exporter.address[3]).collect();
    assert_eq!(some, [4, 5]);
    let top: Vec<_> = bench.node.top_exporters(2).iter().map(|load| load.exporter[3]).collect();
    assert_eq!(top, [6, 5], "those with the most records");

    let (code, said) = refusal(bench.client.list_exporters(list("127.0.0.1/8", 0, "")).await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(said.starts_with("filter.prefix: \"127.0.0.1/8\": has bits set beyond its length"), "{said}");
    let (code, said) = refusal(bench.client.list_exporters(list("everything", 0, "")).await);
    assert!(code == Code::InvalidArgument && said.contains("expected an address or prefix"), "{said}");
    let (code, said) = refusal(bench.client.list_exporters(list("", 0, "7")).await);
    assert!(code == Code::InvalidArgument && said.starts_with("page.token: \"7\" is no token"), "{said}");
    let (code, said) = refusal(bench.client.list_exporters(list("", 10_001, "")).await);
    assert_eq!((code, said.as_str()), (Code::InvalidArgument, "page.size: 10001 is more than 10000"));
    let filter = v1::ExporterFilter { zone: Some("lab".to_owned()), prefix: String::new() };
    let request = v1::ListExportersRequest { filter: Some(filter), page: None };
    let (code, said) = refusal(bench.client.list_exporters(request).await);
    assert_eq!((code, said.as_str()), (Code::NotFound, "no listener has the zone \"lab\"; there is: \"\""));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_are_listed_with_the_names_of_their_fields_by_id_and_by_page() {
    let mut bench = Bench::start(&[]).await;
    for domain in 1..=3 {
        bench.send(&v9(domain, &[256, 300, 301]));
    }
    bench.until("learnt", |node| node.flow().store().templates() == 9).await;
    let request = v1::ListTemplatesRequest { id: 300, with_fields: true, ..Default::default() };
    let listed = bench.client.list_templates(request).await.unwrap().into_inner();
    let domains: Vec<_> = listed.templates.iter().map(|of| of.key.as_ref().unwrap().domain).collect();
    assert_eq!((domains, listed.next_page_token), (vec![1, 2, 3], String::new()));
    let template = &listed.templates[0];
    let names: Vec<_> = template.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["sourceIPv4Address", "octetDeltaCount"]);
    assert_eq!((template.field_count, template.min_record_bytes), (2, 8));
    assert_eq!(template.port, u32::from(bench.exporter.local_addr().unwrap().port()));
    assert_eq!(template.origin(), v1::TemplateOrigin::Wire);

    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let page = Some(v1::Page { size: 4, token: token.clone() });
        let request = v1::ListTemplatesRequest { page, ..Default::default() };
        let listed = bench.client.list_templates(request).await.unwrap().into_inner();
        assert!(listed.templates.iter().all(|of| of.fields.is_empty()), "fields were not asked for");
        seen.extend(listed.templates.iter().map(|of| (of.key.as_ref().unwrap().domain, of.id, of.proven)));
        token = listed.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let expected: Vec<_> =
        (1..=3).flat_map(|domain| [256, 300, 301].map(|id| (domain, id, id == 256))).collect();
    assert_eq!(seen, expected);
    let request = v1::ListTemplatesRequest { id: 12, ..Default::default() };
    let (code, said) = refusal(bench.client.list_templates(request).await);
    assert_eq!(
        (code, said.as_str()),
        (Code::InvalidArgument, "id: 12 is no template id: they are from 256 to 65535")
    );
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_change_while_the_node_runs_or_say_why_not() {
    let mut bench =
        Bench::start(&["kafka.sasl.password=hunter2", "kafka.sasl.username=u", "kafka.sasl.mechanism=PLAIN"])
            .await;
    let set = |yaml: &str, check_only| v1::SetConfigRequest { yaml: yaml.to_owned(), check_only };
    let before = bench.client.get_config(v1::GetConfigRequest {}).await.unwrap().into_inner();
    assert!(before.yaml.contains("  workers: 1\n") && !before.yaml.contains("hunter2"), "{}", before.yaml);
    assert_eq!(before.cluster_revision, 0);

    let stranger = "exporter:\n  allow: [192.0.2.0/24]\n";
    let checked = bench.client.set_config(set(stranger, true)).await.unwrap().into_inner();
    assert!(
        checked.diff.contains("+  allow: [192.0.2.0/24]  # set over grpc, line 2:10"),
        "{}",
        checked.diff
    );
    let unchanged = bench.client.get_config(v1::GetConfigRequest {}).await.unwrap().into_inner();
    assert_eq!(unchanged, before, "it was only checked");

    bench.client.set_config(set(stranger, false)).await.unwrap();
    bench.send(&v5(1));
    bench
        .until("refused", |node| {
            node.status().ledger.datagrams.rejected[flow_decoder::Reason::NotAllowed] == 1
        })
        .await;
    bench.client.set_config(set("exporter: {allow: []}\n", false)).await.unwrap();
    bench.send(&v5(1));
    bench.until("let in", |node| node.status().ledger.datagrams.decoded == 1).await;

    let (code, said) = refusal(bench.client.set_config(set("kafka:\n  topic: x\n", false)).await);
    assert_eq!(code, Code::FailedPrecondition);
    assert!(
        said.starts_with("yaml: set over grpc, line 2:10: kafka.topic: needs a restart of the node"),
        "{said}"
    );
    let (code, said) = refusal(bench.client.set_config(set("log: {levle: info}\n", false)).await);
    assert!(code == Code::InvalidArgument && said.contains("did you mean `log.level`?"), "{said}");

    bench.node.set_cluster_config(9, "metrics: {top_exporters: 2}\n").unwrap();
    let with_cluster = bench.client.get_config(v1::GetConfigRequest {}).await.unwrap().into_inner();
    assert_eq!(with_cluster.cluster_revision, 9);
    assert!(
        with_cluster.yaml.contains("  top_exporters: 2  # cluster revision 9, line 1:26\n"),
        "{}",
        with_cluster.yaml
    );
    bench.node.set_session(SessionState::With { coordinator: "c-1".to_owned() });
    let (code, said) = refusal(bench.client.set_config(set("log: {level: debug}\n", true)).await);
    assert!(code == Code::FailedPrecondition && said.contains("coordinator c-1"), "{said}");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_is_said_at_once_and_refuses_what_makes_no_sense_any_more() {
    let mut bench = Bench::start(&["node.shutdown_timeout=30s"]).await;
    let address = format!("http://{}", bench.port.as_ref().unwrap().address());
    let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let question =
        || tonic_health::pb::HealthCheckRequest { service: "catchment.node.v1.NodeControl".into() };
    let began = Instant::now();
    // The service is not known before the node has said how it is for the first time.
    while health.check(question()).await.map_or(0, |answer| answer.into_inner().status) != 1 {
        assert!(began.elapsed() < DEADLINE, "grpc.health.v1 never said that it serves");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let drained = v1::DrainRequest { reason: "kernel update".to_owned() };
    let deadline = bench.client.drain(drained.clone()).await.unwrap().into_inner().deadline_seconds;
    assert_eq!(bench.client.drain(drained).await.unwrap().into_inner().deadline_seconds, deadline);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((25.0..=30.0).contains(&(deadline - now)), "{deadline} is not 30 s after {now}");
    let inner = bench.client.get_health(v1::GetHealthRequest {}).await.unwrap().into_inner().health.unwrap();
    assert!(inner.not_ready.contains(&"node: stopping".to_owned()), "{inner:?}");
    let began = Instant::now();
    while health.check(question()).await.unwrap().into_inner().status != 2 {
        assert!(began.elapsed() < DEADLINE, "grpc.health.v1 still says that it serves");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let expected = (Code::Unavailable, "the node is stopping: asked over grpc: kernel update".to_owned());
    assert_eq!(refusal(bench.client.pause(v1::PauseRequest::default()).await), expected);
    assert_eq!(refusal(bench.client.set_config(v1::SetConfigRequest::default()).await), expected);
    assert_eq!(refusal(bench.client.tail(v1::TailRequest::default()).await), expected);
    bench.send(&v5(2));
    let node = bench.node.clone();
    bench.end().await;
    assert_eq!(node.status().ledger.streams[0].delivered, 2, "what came while it drained was read");
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_shows_what_passes_and_ends_at_its_limit() {
    let mut bench = Bench::start(&[]).await;
    let request = v1::TailRequest { template: 300, limit: 2, ..Default::default() };
    let mut stream = bench.client.tail(request).await.unwrap().into_inner();
    for _ in 0..4 {
        bench.send(&v5(1));
        bench.send(&v9(1, &[300]));
    }
    let (mut records, mut lost) = (Vec::new(), 0);
    while let Some(response) = tokio::time::timeout(DEADLINE, stream.message()).await.unwrap().unwrap() {
        lost += response.lost;
        records.extend(response.records);
    }
    assert_eq!((records.len(), lost), (2, 0));
    assert!(
        records.iter().all(|record| record.src_addr == [192, 0, 2, 77] && record.bytes == 9),
        "{records:?}"
    );

    let request = v1::TailRequest {
        exporter: "127.0.0.1".to_owned(),
        prefix: "10.0.0.0/24".to_owned(),
        port: 443,
        protocol: Some(6),
        zone: Some(String::new()),
        limit: 3,
        ..Default::default()
    };
    let mut stream = bench.client.tail(request).await.unwrap().into_inner();
    bench.send(&v9(1, &[300]));
    bench.send(&v5(3));
    let mut records = Vec::new();
    while let Some(response) = tokio::time::timeout(DEADLINE, stream.message()).await.unwrap().unwrap() {
        records.extend(response.records);
    }
    assert!(records.len() == 3 && records.iter().all(|record| record.dst_port == 443), "{records:?}");
    bench.until("nobody tails", |node| node.tails().counts().readers == 0).await;

    for (request, expected) in [
        (
            v1::TailRequest { exporter: "router".into(), ..Default::default() },
            "exporter: expected an address",
        ),
        (v1::TailRequest { prefix: "10.0.0.0/99".into(), ..Default::default() }, "prefix: \"10.0.0.0/99\""),
        (v1::TailRequest { port: 70_000, ..Default::default() }, "port: 70000 is more than 65535"),
        (v1::TailRequest { protocol: Some(256), ..Default::default() }, "protocol: 256 is more than 255"),
        (v1::TailRequest { template: 65_536, ..Default::default() }, "template: 65536 is more than 65535"),
    ] {
        let (code, said) = refusal(bench.client.tail(request).await);
        assert!(code == Code::InvalidArgument && said.starts_with(expected), "{code}: {said}");
    }
    bench.end().await;
}

/// A reader that does not read loses with a count, and it is the only one that does.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_loses_with_a_count_and_the_ledger_stays_balanced() {
    const DATAGRAMS: u64 = 20_000;
    let mut bench = Bench::start(&["udp.gro=off"]).await;
    let mut slow = bench.client.tail(v1::TailRequest::default()).await.unwrap().into_inner();
    for number in 1..=DATAGRAMS {
        bench.send(&v5(30));
        if number % 50 == 0 {
            // No faster than the node reads: what the kernel drops is no matter of this test.
            bench.until("read", |node| node.status().ledger.datagrams.received + 1000 >= number).await;
        }
    }
    let account = |node: &Node| node.status().ledger;
    bench.until("all read", |node| account(node).datagrams.arrived == DATAGRAMS).await;
    let flows = account(&bench.node).datagrams.decoded * 30;
    bench.until("delivered", |node| account(node).streams[0].delivered == flows).await;
    assert_eq!(account(&bench.node).datagrams.decoded, DATAGRAMS, "tailing costs no datagram");
    assert_eq!(account(&bench.node).check(), Ok(()));

    let (mut seen, mut lost, mut unseen) = (0, 0, 0);
    while seen + lost + unseen < flows {
        let response = tokio::time::timeout(DEADLINE, slow.message()).await;
        let response = response.unwrap_or_else(|_| panic!("{seen} + {lost} + {unseen} of {flows}"));
        let response = response.unwrap().expect("the stream goes on");
        seen += response.records.len() as u64;
        lost += response.lost;
        unseen += response.unseen;
    }
    assert_eq!(seen + lost + unseen, flows, "each record is seen, lost or unseen, once");
    assert!(lost + unseen > 0, "the reader was slow");
    let counts = bench.node.tails().counts();
    assert_eq!((counts.records, counts.lost, counts.unseen), (seen, lost, unseen));
    drop(slow);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_are_bounded_and_the_node_says_so() {
    let mut bench = Bench::start(&[]).await;
    let mut streams = Vec::new();
    for _ in 0..ingest_node::tail::MOST_READERS {
        streams.push(bench.client.tail(v1::TailRequest::default()).await.unwrap().into_inner());
    }
    let (code, said) = refusal(bench.client.tail(v1::TailRequest::default()).await);
    assert!(code == Code::ResourceExhausted && said.contains("wait until one has ended"), "{said}");
    streams.clear();
    bench.until("they have left", |node| node.tails().counts().readers == 0).await;
    bench.end().await;
}
