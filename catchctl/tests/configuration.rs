//! `config set` against a coordinator: what is sent, what is said, and how it ends.

mod peers;

use std::io::Write as _;
use std::process::Stdio;

use peers::{Coordinator, Node, Peer, ask, ask_node, sample};

fn present(coordinator: &Coordinator) -> (u64, String) {
    coordinator.config.lock().expect("whole").clone()
}

#[test]
fn a_key_is_changed_in_the_present_document_from_its_revision() {
    let coordinator = Coordinator::default();
    let peer = Peer::coordinator(coordinator.clone());
    let ended = ask(&peer, &["config", "set", "log.level=debug", "-m", "look closer"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert!(ended.out.contains("+# what the cluster steers"), "the diff: {}", ended.out);
    assert!(
        ended.out.ends_with("node-1: takes it\nnode-2: takes it\nrevision 8 holds now\n"),
        "{}",
        ended.out
    );
    assert_eq!(present(&coordinator), (8, sample::DOCUMENT.replace("info", "debug")));
    let asked = peer.asked().pop().expect("asked");
    assert!(
        asked.contains("expected_revision: Some(7)") && asked.contains("comment: \"look closer\""),
        "{asked}"
    );
    assert!(asked.contains("author: \"ann"), "{asked}");
}

#[test]
fn where_somebody_was_quicker_the_key_is_changed_in_what_holds_then_once() {
    let coordinator = Coordinator::default();
    *coordinator.quicker.lock().expect("whole") = 1;
    let peer = Peer::coordinator(coordinator.clone());
    assert_eq!(ask(&peer, &["config", "set", "log.level=debug"]).code, Some(0));
    let (revision, document) = present(&coordinator);
    assert_eq!(
        (revision, document),
        (9, sample::DOCUMENT.replace("info", "debug") + "added_8: by_another\n")
    );
    *coordinator.quicker.lock().expect("whole") = 2;
    let twice = ask(&peer, &["config", "set", "log.level=warn"]);
    assert_eq!(twice.code, Some(1), "{}", twice.err);
    assert!(twice.err.contains("the present revision is 11"), "{}", twice.err);
}

#[test]
fn an_expected_revision_is_not_given_up() {
    let coordinator = Coordinator::default();
    let peer = Peer::coordinator(coordinator.clone());
    let ended = ask(&peer, &["config", "set", "log.level=debug", "--expect-revision", "6"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("the present revision is 7"), "{}", ended.err);
    assert_eq!(present(&coordinator).0, 7);
}

#[test]
fn a_document_comes_from_a_file_or_standard_input() {
    let coordinator = Coordinator::default();
    let peer = Peer::coordinator(coordinator.clone());
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("cluster.yaml");
    std::fs::write(&file, "log: {level: warn}\n").expect("written");
    assert_eq!(ask(&peer, &["config", "set", file.to_str().expect("UTF-8")]).code, Some(0));
    assert_eq!(present(&coordinator), (8, "log: {level: warn}\n".to_owned()));
    let url = peer.url();
    let mut child = peers::command(&["config", "set", "-", "--endpoint", &url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("piped").write_all(b"log: {level: error}\n").expect("written");
    let ended = peers::ended(child.wait_with_output().expect("ended"));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(present(&coordinator), (9, "log: {level: error}\n".to_owned()));
}

#[test]
fn a_check_changes_nothing_and_no_change_is_none() {
    let coordinator = Coordinator::default();
    let peer = Peer::coordinator(coordinator.clone());
    let checked = ask(&peer, &["config", "set", "log.level=debug", "--check"]);
    assert_eq!(checked.code, Some(0));
    assert!(checked.out.ends_with("it would be taken\n"), "{}", checked.out);
    let same = ask(&peer, &["config", "set", "log.level=info"]);
    assert!(same.out.ends_with("nothing changes: revision 7 holds\n"), "{}", same.out);
    assert_eq!(present(&coordinator).0, 7);
    let json = ask(&peer, &["config", "set", "--unset", "log.level", "--check", "-o", "json"]).json();
    assert_eq!(json["results"][0]["node"], "node-1");
}

#[test]
fn nodes_that_refuse_are_named_with_their_reasons() {
    let refusing = |why: &str| Coordinator { refusal: Some(why.to_owned()), ..Default::default() };
    let peer = Peer::coordinator(refusing("log.level: expected error, warn, info, debug or trace"));
    let ended = ask(&peer, &["config", "set", "log.level=loud"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("nodes refuse:; node-2: log.level: expected error"), "{}", ended.err);
    let checked = ask(&peer, &["config", "set", "log.level=loud", "--check"]);
    assert_eq!(checked.code, Some(1));
    assert!(checked.err.contains("not taken: node-2: log.level: expected"), "{}", checked.err);
    let peer = Peer::coordinator(refusing("log.levle: unknown key; did you mean `log.level`?"));
    for arguments in
        [&["config", "set", "log.levle=info"][..], &["config", "set", "log.levle=info", "--check"]]
    {
        let ended = ask(&peer, arguments);
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        assert!(ended.err.contains("did you mean `log.level`?"), "{}", ended.err);
    }
}

#[test]
fn the_present_document_goes_to_a_file_and_back() {
    let peer = Peer::coordinator(Coordinator::default());
    assert_eq!(ask(&peer, &["config", "get"]).out, sample::DOCUMENT);
    assert_eq!(ask(&peer, &["config", "get", "-o", "json"]).json()["config"]["revision"], 7);
    let yaml = ask(&peer, &["config", "get", "-o", "yaml"]).out;
    assert!(yaml.contains("  yaml: |\n    # what the cluster steers\n    log:\n"), "{yaml}");
}

#[test]
fn a_node_alone_takes_single_keys() {
    let node = Peer::node(Node::default());
    let ended = ask_node(&node, &["config", "set", "log.level=debug"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "-  level: info\n+  level: debug\n"));
    assert!(node.asked()[0].contains("yaml: \"log:\\n  level: debug\\n\""), "{:?}", node.asked());
    let unknown = ask_node(&node, &["config", "set", "log.levle=debug"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.err.contains("did you mean `log.level`?"), "{}", unknown.err);
}
