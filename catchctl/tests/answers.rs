//! What `catchctl` shows of the answers it gets, in each form, and what it asks for.

mod peers;

use peers::{Coordinator, Node, Peer, ask, ask_node};
use serde_json::json;

#[test]
fn every_answer_comes_in_every_form() {
    let coordinator = Peer::coordinator(Coordinator::default());
    let node = Peer::node(Node::default());
    let commands: [&[&str]; 8] = [
        &["nodes"],
        &["node", "node-1"],
        &["listeners"],
        &["exporters"],
        &["templates", "--fields"],
        &["stats"],
        &["config", "get"],
        &["config", "history"],
    ];
    for command in commands {
        let json = ask(&coordinator, &[command, &["-o", "json"]].concat());
        assert_eq!(json.code, Some(0), "{command:?}: {}", json.err);
        assert!(json.json().is_object(), "{command:?}");
        let yaml = ask(&coordinator, &[command, &["-o", "yaml"]].concat());
        assert_eq!((yaml.code, yaml.err.as_str()), (Some(0), ""), "{command:?}");
        let table = ask(&coordinator, command);
        assert_eq!((table.code, table.err.as_str()), (Some(0), ""), "{command:?}");
        assert!(!table.out.is_empty() && table.out.ends_with('\n'), "{command:?}");
        let prom = ask(&coordinator, &[command, &["-o", "prom"]].concat());
        assert_eq!(prom.code, Some(2), "{command:?}");
    }
    for command in [&["listeners"][..], &["exporters"], &["templates"], &["stats"], &["config", "get"]] {
        let json = ask_node(&node, &[command, &["-o", "json"]].concat());
        assert_eq!(json.code, Some(0), "{command:?}: {}", json.err);
        assert!(json.json().is_object(), "{command:?}");
        assert_eq!(ask_node(&node, command).code, Some(0), "{command:?}");
    }
}

#[test]
fn json_has_the_names_of_the_contracts_and_numbers_as_numbers() {
    let coordinator = Peer::coordinator(Coordinator::default());
    let nodes = ask(&coordinator, &["nodes", "-o", "json"]).json();
    let ids: Vec<_> =
        nodes["nodes"].as_array().expect("a list").iter().map(|node| node["id"].clone()).collect();
    assert_eq!(ids, ["node-1", "node-2", "node-3"]);
    assert_eq!(nodes["nodes"][1]["health"]["status"], "degraded");
    assert_eq!(nodes["nodes"][0]["statistics"]["ledger"]["datagrams"]["arrived"], json!(1_234_579));
    assert_eq!(nodes["nodes"][2]["statistics"], json!(null));
    let exporters = ask(&coordinator, &["exporters", "-o", "json"]).json();
    assert_eq!(exporters["exporters"][1]["address"], "2001:db8::1");
    assert_eq!(exporters.get("next_page_token"), None, "all pages are there");
    let templates = ask(&coordinator, &["templates", "-o", "json"]).json();
    assert_eq!(templates["templates"][0]["key"]["exporter"], "192.0.2.1");
    assert_eq!(templates["templates"][0]["kind"], "data");
}

#[test]
fn long_lists_are_paged_through() {
    let coordinator = Peer::coordinator(Coordinator { page: 1, ..Default::default() });
    assert_eq!(
        ask(&coordinator, &["exporters", "-o", "json"]).json()["exporters"].as_array().map(Vec::len),
        Some(2)
    );
    assert_eq!(
        ask(&coordinator, &["templates", "-o", "json"]).json()["templates"].as_array().map(Vec::len),
        Some(2)
    );
    let asked = coordinator.asked();
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(asked[1].contains("token: \"1\""), "{}", asked[1]);
}

#[test]
fn filters_are_asked_for() {
    let coordinator = Peer::coordinator(Coordinator::default());
    ask(&coordinator, &["exporters", "--zone", "", "--prefix", "192.0.2.0/24"]);
    ask(&coordinator, &["templates", "--id", "256", "--fields", "--prefix", "2001:db8::1"]);
    let asked = coordinator.asked();
    assert!(asked[0].contains("zone: Some(\"\"), prefix: \"192.0.2.0/24\""), "{}", asked[0]);
    assert!(asked[1].contains("id: 256, with_fields: true"), "{}", asked[1]);
    assert!(asked[1].contains("zone: None, prefix: \"2001:db8::1/128\""), "{}", asked[1]);
}

#[test]
fn a_pipe_gets_whole_lines_however_long() {
    let coordinator = Peer::coordinator(Coordinator::default());
    let shown = ask(&coordinator, &["exporters"]).out;
    assert!(shown.contains("node-3 incarnation 1795260000000 crashed"), "{shown}");
    assert!(!shown.contains('…'));
}

#[test]
fn health_is_prometheus_text_too() {
    let coordinator = Peer::coordinator(Coordinator::default());
    let prom = ask(&coordinator, &["health", "-o", "prom"]);
    assert_eq!(prom.code, Some(1));
    assert!(prom.out.contains("\ncatchctl_cluster_health{status=\"degraded\"} 1\n"), "{}", prom.out);
    let node = Peer::node(Node::default());
    let prom = ask_node(&node, &["health", "-o", "prom"]);
    assert!(
        prom.out.contains("catchctl_node_health{node=\"node-2\",status=\"degraded\"} 1\n"),
        "{}",
        prom.out
    );
}

#[test]
fn what_people_want_of_nodes_is_asked_for() {
    let coordinator = Peer::coordinator(Coordinator::default());
    for arguments in [
        &["pause", "node-1", "--source", "flow"][..],
        &["resume", "--all"],
        &["drain", "node-2", "-m", "new disk"],
        &["log-level", "node-1", "debug"],
        &["log-level", "--all", "default"],
    ] {
        let ended = ask(&coordinator, arguments);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(ended.out.starts_with("NAME "), "{}", ended.out);
    }
    let wanted = [
        "PauseRequest { node: \"node-1\", source: \"flow\" }",
        "ResumeRequest { node: \"\", source: \"\" }",
        "DrainRequest { node: \"node-2\", reason: \"new disk\" }",
        "SetLogLevelRequest { node: \"node-1\", level: \"debug\" }",
        "SetLogLevelRequest { node: \"\", level: \"\" }",
    ];
    assert_eq!(coordinator.asked(), wanted);
    let node = Peer::node(Node::default());
    assert_eq!(ask_node(&node, &["pause"]).out, "flow paused\n");
    assert_eq!(ask_node(&node, &["resume", "-o", "json"]).json()["sources"][0]["state"], "paused");
    assert_eq!(
        ask_node(&node, &["drain"]).out,
        "it drains, and has ended at 2026-11-21 13:52:32 UTC at the latest\n"
    );
}

#[test]
fn versions_of_both_sides() {
    let coordinator = Peer::coordinator(Coordinator::default());
    let shown = ask(&coordinator, &["version", "-o", "json"]).json();
    assert_eq!(shown["server"]["version"], "0.1.0");
    assert_eq!(shown["server"]["who"], "coordinator coordinator-1");
    let alone = peers::catchctl(&["version", "--endpoint", &peers::nobody()]);
    assert_eq!(alone.code, Some(0), "{}", alone.err);
    assert!(alone.out.contains("not asked: http://127.0.0.1:"), "{}", alone.out);
}
