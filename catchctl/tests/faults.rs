//! What `catchctl` says and how it ends where it cannot do what it was asked: one line on standard error, nothing on standard
//! output, and the exit status of docs/catchctl.md.

mod peers;

use std::io::Read as _;
use std::process::Stdio;

use catchment_proto::node::v1::HealthStatus;
use peers::{Coordinator, Ended, Node, Peer, ask, ask_node, catchctl, nobody};
use tonic::Status;

#[track_caller]
fn said(ended: &Ended, code: i32) -> &str {
    assert_eq!(ended.code, Some(code), "{}{}", ended.out, ended.err);
    assert_eq!(ended.out, "");
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    ended.err.trim_end().strip_prefix("catchctl: ").expect("says who speaks")
}

#[test]
fn status_1_is_not_healthy_or_refused() {
    let degraded = Peer::coordinator(Coordinator::default());
    let ended = ask(&degraded, &["health"]);
    assert_eq!(ended.code, Some(1), "the output says why already");
    let unanswered =
        "catchctl: coordinator-3: no answer; of its nodes it is only known that they are registered\n";
    assert_eq!(ended.err, unanswered);
    assert_eq!(ask(&degraded, &["health", "-o", "json"]).err, "", "a program finds it in the answer");
    assert!(ended.out.contains("no broker has answered"));
    let well = Peer::coordinator(Coordinator { health: HealthStatus::Ok, ..Default::default() });
    assert_eq!(ask(&well, &["health"]).code, Some(0));
    let refuse_all = Some(Status::failed_precondition("the node drains already"));
    let refusing = Peer::coordinator(Coordinator { refuse_all, ..Default::default() });
    let ended = ask(&refusing, &["drain", "node-1"]);
    assert!(said(&ended, 1).ends_with(": the node drains already"), "{}", ended.err);
}

#[test]
fn status_2_is_a_wrong_command_with_the_nearest_right_one() {
    let coordinator = Peer::coordinator(Coordinator::default());
    for arguments in [
        &["node", "nod-1"][..],
        &["stats", "nod-1"],
        &["pause", "nod-1"],
        &["drain", "nod-1"],
        &["log-level", "nod-1", "info"],
        &["listeners", "nod-1"],
        &["tail", "--node", "nod-1"],
    ] {
        assert_eq!(
            said(&ask(&coordinator, arguments), 2),
            "unknown node `nod-1`: did you mean `node-1`?",
            "{arguments:?}"
        );
    }
    assert_eq!(
        said(&ask(&coordinator, &["node", "router"]), 2),
        "unknown node `router`: there is node-1, node-2, node-3"
    );
    assert_eq!(said(&catchctl(&["exproters"]), 2), "unknown command `exproters`: did you mean `exporters`?");
    assert_eq!(
        said(&ask(&coordinator, &["log-level", "--all", "debgu"]), 2),
        "unknown log level `debgu`: did you mean `debug`?"
    );
    assert!(said(&ask(&coordinator, &["pause"]), 2).contains("--all"));
    assert!(said(&ask(&coordinator, &["config", "get", "--revision", "3"]), 2).contains("kept are 6 and 7"));
    let node = Peer::node(Node::default());
    assert!(said(&ask_node(&node, &["node", "router"]), 2).contains("leave --node-endpoint out"));
    assert!(said(&ask_node(&node, &["stats", "node-2"]), 2).contains("keep one"));
}

#[test]
fn status_2_is_a_wrong_context_file_with_line_and_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("context.yaml");
    let file = file.to_str().expect("UTF-8");
    std::fs::write(file, "contexts:\n  - name: lab\n    endpoints: [http://a:1]\n    tsl: {}\n")
        .expect("written");
    let wrong = catchctl(&["nodes", "--context", file]);
    assert_eq!(
        said(&wrong, 2),
        format!("{file}:4:5: contexts[0].tsl: unknown key; did you mean `contexts[].tls`?")
    );
    let coordinator = Peer::coordinator(Coordinator::default());
    let text = format!("current: lab\ncontexts:\n  - {{name: lab, endpoints: [{}]}}\n", coordinator.url());
    std::fs::write(file, text).expect("written");
    assert_eq!(catchctl(&["nodes", "--context", file]).code, Some(0));
    assert_eq!(catchctl(&["nodes", "--context", file, "--context-name", "lab"]).code, Some(0));
    let unknown = catchctl(&["nodes", "--context", file, "--context-name", "lba"]);
    assert_eq!(said(&unknown, 2), format!("{file}: unknown context `lba`: did you mean `lab`?"));
    assert!(
        said(&catchctl(&["nodes", "--context-name", "lab"]), 2)
            .contains("there is no context file at /nowhere/catchctl/context.yaml")
    );
}

#[test]
fn status_3_is_nobody_answering() {
    let url = nobody();
    let ended = catchctl(&["nodes", "--endpoint", &url]);
    let text = said(&ended, 3);
    assert!(text.starts_with(&format!("{url}: ")) && text.contains("onnection refused"), "{text}");
    assert!(text.ends_with("(is it running there? see --endpoint)"), "{text}");
    let silent = Peer::coordinator(Coordinator { silent: true, ..Default::default() });
    let ended = ask(&silent, &["nodes", "--timeout", "200ms"]);
    assert!(said(&ended, 3).ends_with("no answer in 200ms (see --timeout)"), "{}", ended.err);
    let two = catchctl(&["nodes", "--endpoint", &format!("{url},{url}")]);
    assert_eq!(said(&two, 3).matches(&url).count(), 2, "each attempt is named");
}

#[test]
fn another_endpoint_answers_where_one_does_not() {
    let leaderless = Some(Status::unavailable("no leader"));
    let first = Peer::coordinator(Coordinator { refuse_all: leaderless, ..Default::default() });
    let second = Peer::coordinator(Coordinator::default());
    let all = [nobody(), first.url(), second.url()].join(",");
    let ended = catchctl(&["nodes", "-o", "json", "--endpoint", &all]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(first.asked().len(), 1);
    assert_eq!(second.asked().len(), 1);
}

#[test]
fn status_4_is_not_allowed() {
    let refuse_all = Some(Status::permission_denied("ann may only look"));
    let refusing = Peer::coordinator(Coordinator { refuse_all, ..Default::default() });
    assert!(said(&ask(&refusing, &["pause", "--all"]), 4).ends_with(": ann may only look"));
}

#[test]
fn an_answer_with_control_characters_does_not_reach_the_terminal() {
    let refuse_all = Some(Status::failed_precondition("a\u{1b}[2Jb\nc"));
    let refusing = Peer::coordinator(Coordinator { refuse_all, ..Default::default() });
    assert!(said(&ask(&refusing, &["nodes"]), 1).ends_with("a\\u{1b}[2Jb; c"));
}

#[test]
fn a_broken_pipe_is_no_error() {
    let coordinator = Peer::coordinator(Coordinator::default());
    let url = coordinator.url();
    let mut child = peers::command(&["nodes", "--endpoint", &url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut err).expect("text");
    assert_eq!((child.wait().expect("ended").code(), err.as_str()), (Some(0), ""));
}
