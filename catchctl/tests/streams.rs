//! `tail` and `top` against nodes and a coordinator in this process.

mod peers;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use catchment_proto::node::v1::TailResponse;
use peers::node::record;
use peers::{Coordinator, Node, Peer, ask, ask_node, catchctl, sample};

fn answer(ports: std::ops::Range<u32>, lost: u64) -> TailResponse {
    TailResponse { records: ports.map(record).collect(), lost, unseen: lost * 2 }
}

/// A coordinator that knows these nodes, and the nodes.
fn cluster(nodes: Vec<Node>) -> (Peer, Vec<Peer>) {
    let registered = sample::nodes();
    let (mut listed, mut peers) = (Vec::new(), Vec::new());
    for (node, registered) in nodes.into_iter().zip(registered) {
        let peer = Peer::node(node);
        listed.push(catchment_proto::cluster::v1::Node {
            grpc_address: peer.address.to_string(),
            ..registered
        });
        peers.push(peer);
    }
    (Peer::coordinator(Coordinator { nodes: listed, ..Default::default() }), peers)
}

fn started(arguments: &[&str]) -> Child {
    let mut command: Command = peers::command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

fn interrupt(child: &Child) {
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(killed.success());
}

fn wait(mut child: Child) -> Option<i32> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status.code();
        }
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

#[test]
fn records_of_all_nodes_come_as_json_lines_until_ctrl_c() {
    let first = Node { records: vec![answer(1..3, 0)], ..Default::default() };
    let second = Node { records: vec![answer(3..5, 0), answer(5..6, 7)], ..Default::default() };
    let (coordinator, nodes) = cluster(vec![first, second]);
    let mut child = started(&[
        "tail",
        "--endpoint",
        &coordinator.url(),
        "--port",
        "443",
        "--protocol",
        "tcp",
        "--exporter",
        "192.0.2.1",
    ]);
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut ports: Vec<u64> = Vec::new();
    for line in lines.by_ref().take(5) {
        let record: serde_json::Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        assert_eq!((&record["src_addr"], &record["proto"]), (&"198.51.100.7".into(), &"TCP".into()));
        ports.push(record["src_port"].as_u64().expect("a port"));
    }
    ports.sort_unstable();
    assert_eq!(ports, [1, 2, 3, 4, 5]);
    interrupt(&child);
    let mut err = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut err).expect("text");
    assert_eq!(wait(child), Some(0), "{err}");
    assert!(
        err.contains("node-2: lost 7 records") && err.contains("node-2: did not look at 14 records"),
        "{err}"
    );
    for node in &nodes {
        let asked = node.asked().concat();
        assert!(
            asked.contains("exporter: \"192.0.2.1\"") && asked.contains("port: 443, protocol: Some(6)"),
            "{asked}"
        );
    }
}

#[test]
fn a_limit_holds_for_all_nodes_together() {
    let node = || Node { records: vec![answer(0..100, 0)], ends: true, ..Default::default() };
    let (coordinator, nodes) = cluster(vec![node(), node()]);
    let ended = ask(&coordinator, &["tail", "--limit", "120"]);
    assert_eq!((ended.code, ended.out.lines().count()), (Some(0), 120));
    assert!(nodes[0].asked().concat().contains("limit: 120"));
    let table = ask(&coordinator, &["tail", "--limit", "2", "-o", "table", "--node", "node-2"]);
    assert!(table.out.starts_with("TIME (UTC)  EXPORTER "), "{}", table.out);
    assert_eq!(table.out.lines().count(), 3);
    assert_eq!(nodes[0].asked().len(), 1, "the other node was not asked again");
    let yaml = ask(&coordinator, &["tail", "--limit", "1", "-o", "yaml"]);
    assert!(yaml.out.starts_with("---\ntype: NETFLOW_V9\nsrc_addr: \"198.51.100.7\"\n"), "{}", yaml.out);
}

#[test]
fn a_node_alone_is_tailed_without_a_coordinator() {
    let node = Peer::node(Node { records: vec![answer(0..3, 0)], ends: true, ..Default::default() });
    let ended = ask_node(&node, &["tail", "--limit", "3"]);
    assert_eq!((ended.code, ended.out.lines().count()), (Some(0), 3), "{}", ended.err);
}

#[test]
fn a_reader_that_has_enough_ends_it_without_an_error() {
    let node =
        Peer::node(Node { records: (0..1000).map(|_| answer(0..100, 0)).collect(), ..Default::default() });
    let mut child = started(&["tail", "--node-endpoint", &node.url()]);
    let mut first = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut first).expect("a line");
    assert!(first.starts_with('{'));
    let mut err = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut err).expect("text");
    assert_eq!((wait(child), err.as_str()), (Some(0), ""));
}

#[test]
fn a_node_that_is_not_there_does_not_keep_the_others_from_being_read() {
    let node = Node { records: vec![answer(0..3, 0)], ends: true, ..Default::default() };
    let (_, nodes) = cluster(vec![node]);
    let mut listed = sample::nodes();
    listed[0].grpc_address = nodes[0].address.to_string();
    listed[1].grpc_address = peers::nobody().replace("http://", "");
    let coordinator = Peer::coordinator(Coordinator { nodes: listed.clone(), ..Default::default() });
    let ended = ask(&coordinator, &["tail", "--limit", "3"]);
    assert_eq!((ended.code, ended.out.lines().count()), (Some(0), 3));
    let nobody = ask(&coordinator, &["tail", "--node", "node-2"]);
    assert_eq!(nobody.code, Some(3), "{}", nobody.err);
    assert!(nobody.err.contains("node-2: http://127.0.0.1:"), "{}", nobody.err);
    assert_eq!(nobody.err.lines().count(), 1, "{}", nobody.err);
    let away = ask(&coordinator, &["tail", "--node", "node-3"]);
    assert_eq!(away.code, Some(3), "{}", away.err);
    assert!(away.err.contains("no coordinator has a session with it"), "{}", away.err);
}

#[test]
fn top_without_a_terminal_is_a_line_each_look() {
    let coordinator = Peer::coordinator(Coordinator::default());
    let mut child = started(&["top", "--interval", "100ms", "--endpoint", &coordinator.url()]);
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    for line in lines.by_ref().take(3) {
        let line = line.expect("a line");
        assert!(line.contains("2 of 3 nodes  degraded") && line.contains("100 before here"), "{line}");
    }
    interrupt(&child);
    assert_eq!(wait(child), Some(0));
}

#[test]
fn top_once_is_one_look_in_every_form() {
    let coordinator = Peer::coordinator(Coordinator::default());
    let table = ask(&coordinator, &["top", "--once"]);
    assert_eq!((table.code, table.err.as_str()), (Some(0), ""));
    assert!(
        table.out.starts_with("cluster       lab\n") && table.out.contains("\nHeaviest exporters\n"),
        "{}",
        table.out
    );
    let json = ask(&coordinator, &["top", "--once", "-o", "json"]).json();
    assert_eq!(json["sequences"]["lost_here"], 12);
    assert_eq!(json["cluster"]["leader"], "coordinator-2");
    assert_eq!(catchctl(&["top", "--once", "--endpoint", &peers::nobody()]).code, Some(3));
    assert_eq!(
        catchctl(&["top", "--endpoint", &peers::nobody()]).code,
        Some(3),
        "the first look must be had"
    );
}
