//! Sessions of nodes with a replica that serves over loopback.

mod rig;
mod served;

use std::collections::BTreeSet;
use std::time::Duration;

use catchment_proto::cluster::v1::command::Command as Body;
use catchment_proto::cluster::v1::{
    Goodbye, Heartbeat, Learned, ScopeKey, SequenceRanges, SequenceReport, SequenceSpace, SequenceUnit,
    StateRevision, Wanted, WantedTemplates, control_request, control_response, sync_state_request,
    sync_state_response,
};
use coordinator::config_store::NewConfig;
use coordinator::kv::{Kv, Memory};
use coordinator::session::{Ask, SessionOptions};
use prost::Message as _;
use rig::{key, scope, until};
use served::{Node, Served, Sync, hello, timely};
use tonic::Code;

fn memory() -> Kv {
    Kv::Memory(Memory::new())
}

async fn join(replica: &Served, node: &str, incarnation: u64) -> Node {
    Node::join(replica.channel().await, hello(node, incarnation)).await.expect("a session")
}

/// Takes messages until the snapshot is complete; gives how many scopes it has, and its moment.
async fn snapshot(sync: &mut Sync) -> (usize, Option<StateRevision>) {
    let mut scopes = BTreeSet::new();
    loop {
        match sync.next().await.expect("a snapshot") {
            sync_state_response::Message::Snapshot(chunk) => {
                assert!(chunk.encoded_len() <= 1 << 20, "{} octets", chunk.encoded_len());
                scopes.extend(chunk.scopes.iter().map(|scope| format!("{:?}", scope.key)));
                if chunk.last {
                    return (scopes.len(), chunk.revision);
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_hello_that_is_wrong_is_refused_and_told_both_values() {
    let replica = Served::start(&memory(), "a").await;
    let refused = async |hello| {
        let status = Node::join(replica.channel().await, hello).await.err().expect("refused");
        (status.code(), status.message().to_owned())
    };
    let (code, message) =
        refused(catchment_proto::cluster::v1::Hello { cluster: "lab".into(), ..hello("n1", 1) }).await;
    assert_eq!(code, Code::FailedPrecondition);
    assert!(message.contains("`lab`") && message.contains("`test`") && message.contains("n1"), "{message}");
    let (code, message) =
        refused(catchment_proto::cluster::v1::Hello { contract: 7, ..hello("n1", 1) }).await;
    assert_eq!(code, Code::FailedPrecondition);
    assert!(message.contains("version 7") && message.contains("version 1"), "{message}");
    let (code, message) = refused(hello("", 1)).await;
    assert_eq!(code, Code::InvalidArgument, "{message}");

    let _later = join(&replica, "n1", 200).await;
    let (code, message) = refused(hello("n1", 100)).await;
    assert_eq!(code, Code::AlreadyExists);
    assert!(message.contains("100") && message.contains("200"), "{message}");
    assert_eq!(replica.services.sessions().counts().refused, 4);
    replica.services.sessions().stop();
    let (code, _) = refused(hello("n2", 1)).await;
    assert_eq!(code, Code::Unavailable);
}

#[tokio::test]
async fn a_caller_that_says_something_else_or_nothing_gets_no_session() {
    let replica = Served::start(&memory(), "a").await;
    let mut client =
        catchment_proto::cluster::v1::node_session_client::NodeSessionClient::new(replica.channel().await);
    let (_open, requests) = tokio::sync::mpsc::channel(1);
    let silent = client.control(tokio_stream::wrappers::ReceiverStream::new(requests)).await;
    assert_eq!(silent.err().map(|status| status.code()), Some(Code::DeadlineExceeded));
    let beat = control_request::Message::Heartbeat(Heartbeat::default());
    let beat = catchment_proto::cluster::v1::ControlRequest { message: Some(beat) };
    let rude = client.control(tokio_stream::once(beat)).await;
    assert_eq!(rude.err().map(|status| status.code()), Some(Code::InvalidArgument));
    assert!(replica.services.sessions().is_empty());
}

#[tokio::test]
async fn of_two_with_one_id_the_later_stays() {
    let kv = memory();
    let (first, second) = (Served::start(&kv, "a").await, Served::start(&kv, "b").await);
    let mut older = join(&first, "n1", 100).await;
    until("the registration is known", || second.store.mirror().collector("n1").is_some()).await;
    let mut later = join(&second, "n1", 200).await;
    let told = older.next().await.expect_err("told to end");
    assert_eq!(told.code(), Code::AlreadyExists, "{told}");
    until("the older is gone", || first.services.sessions().is_empty()).await;
    // The same start of a node may come again: its connection broke.
    let _again = join(&second, "n1", 200).await;
    assert_eq!(later.next().await.expect_err("told to end").code(), Code::AlreadyExists);
    assert_eq!(second.services.sessions().len(), 1);
    let collector = || second.store.mirror().collector("n1");
    until("the store has the later", || collector().is_some_and(|at| at.coordinator_id == "b")).await;
}

#[tokio::test]
async fn commands_go_there_and_answers_come_back() {
    let replica = Served::start(&memory(), "a").await;
    let mut node = join(&replica, "n1", 1).await;
    let session = replica.services.sessions().of_node("n1").expect("a session");
    let config = |yaml: &str| catchment_proto::cluster::v1::ClusterConfig { revision: 9, yaml: yaml.into() };
    for error in ["", "flow.pending: unknown key"] {
        let asked = session.ask(Ask::CheckConfig(config("flow: {}")), Duration::from_secs(10));
        let answers = async {
            let command = node.command().await;
            assert_eq!(command.command, Some(Body::CheckConfig(config("flow: {}"))));
            node.answer(command.id, error).await;
        };
        let (answer, ()) = tokio::join!(asked, answers);
        assert_eq!(answer.err().unwrap_or_default(), error);
    }
    let unanswered = session.ask(Ask::CheckConfig(config("")), Duration::from_millis(50)).await;
    assert!(unanswered.is_err_and(|error| error.contains("did not answer")));
    let counts = replica.services.sessions().counts();
    assert_eq!((counts.commands, counts.commands_refused), (3, 1));
}

#[tokio::test]
async fn what_people_want_is_pushed_whichever_replica_they_ask() {
    let kv = memory();
    let (first, second) = (Served::start(&kv, "a").await, Served::start(&kv, "b").await);
    let mut node = join(&first, "n1", 1).await;
    assert_eq!(node.welcome.desired.clone().unwrap_or_default().revision, 0);
    second
        .store
        .change_desired("n1", |desired| desired.paused_sources = vec!["flow".into()])
        .await
        .expect("changed");
    let Some(Body::SetDesired(desired)) = node.command().await.command else { panic!("no desired state") };
    assert_eq!((desired.revision, desired.paused_sources), (1, vec!["flow".to_owned()]));
    let new = NewConfig { yaml: "flow: {}\n".into(), ..NewConfig::default() };
    second.store.set_config(new).await.expect("stored");
    let command = node.command().await;
    assert!(matches!(&command.command, Some(Body::SetConfig(config)) if config.revision == 1), "{command:?}");
    node.answer(command.id, "flow: not now").await;
    let described = || first.services.sessions().of_node("n1").map(|session| session.describe("a"));
    until("the refusal is known", || described().is_some_and(|node| node.config_error == "flow: not now"))
        .await;

    // Another session gets it with its welcome, and no command.
    let mut again = join(&second, "n1", 1).await;
    assert_eq!(again.welcome.desired.clone().unwrap_or_default().paused_sources, ["flow"]);
    assert_eq!(again.welcome.config.clone().unwrap_or_default().revision, 1);
    again.say(control_request::Message::Goodbye(Goodbye { reason: "test".into() })).await;
    assert!(again.next().await.is_err());
}

#[tokio::test]
async fn a_drain_is_meant_for_one_start() {
    let replica = Served::start(&memory(), "a").await;
    let drain = |incarnation| {
        move |desired: &mut catchment_proto::cluster::v1::DesiredState| {
            desired.drain = true;
            desired.drain_incarnation = incarnation;
        }
    };
    replica.store.change_desired("n1", drain(100)).await.expect("changed");
    let same = join(&replica, "n1", 100).await;
    assert!(same.welcome.desired.is_some_and(|desired| desired.drain));
    let later = join(&replica, "n1", 101).await;
    let desired = later.welcome.desired.expect("a desired state");
    assert_eq!((desired.drain, desired.revision), (false, 2));
}

#[tokio::test]
async fn silence_ends_a_session_and_heartbeats_keep_it() {
    let options = SessionOptions { ttl: Duration::from_millis(600), ..served::quick() };
    let replica = Served::start_with(&memory(), "a", "test", options).await;
    let mut silent = join(&replica, "silent", 1).await;
    let beating = join(&replica, "beating", 1).await;
    let beats = async {
        loop {
            beating.say(control_request::Message::Heartbeat(Heartbeat::default())).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ended = tokio::select! {
        () = beats => None,
        ended = silent.next() => ended.err(),
    };
    assert_eq!(ended.map(|status| status.code()), Some(Code::DeadlineExceeded));
    let sessions = replica.services.sessions();
    assert!(sessions.of_node("beating").is_some());
    until("it is off the registry", || {
        let collectors = replica.store.mirror().collectors();
        sessions.of_node("silent").is_none() && collectors.len() == 1
    })
    .await;
    assert_eq!(sessions.counts().ended_silent, 1);
}

#[tokio::test]
async fn a_goodbye_gives_up_the_place_at_once() {
    let replica = Served::start(&memory(), "a").await;
    let mut node = join(&replica, "n1", 1).await;
    until("it is registered", || replica.store.mirror().collector("n1").is_some()).await;
    node.say(control_request::Message::Goodbye(Goodbye { reason: "done".into() })).await;
    assert!(node.next().await.is_err());
    until("it is off the registry", || replica.store.mirror().collector("n1").is_none()).await;
    assert_eq!(replica.services.sessions().counts().ended_goodbye, 1);
}

#[tokio::test]
async fn a_session_goes_to_another_replica_when_its_own_stops() {
    let kv = memory();
    let (first, second) = (Served::start(&kv, "a").await, Served::start(&kv, "b").await);
    let addresses = vec![first.address, second.address];
    let _node = served::Willing::start(addresses, hello("n1", 1), served::Temper::default());
    until("it is with the first", || first.services.sessions().of_node("n1").is_some()).await;
    first.stop().await;
    until("it is with the second", || second.services.sessions().of_node("n1").is_some()).await;
    let registered = || second.store.mirror().collector("n1");
    until("the registry says so", || registered().is_some_and(|at| at.coordinator_id == "b")).await;
}

#[tokio::test]
async fn state_is_exchanged_by_snapshot_delta_and_resume() {
    let replica = Served::start(&memory(), "a").await;
    let (mut first, mut second) = (join(&replica, "n1", 1).await, join(&replica, "n2", 1).await);
    let wrong = Node::join(replica.channel().await, hello("n3", 1)).await.expect("a session");
    let mut wrong = Node {
        welcome: catchment_proto::cluster::v1::Welcome { session_id: "x".into(), ..wrong.welcome },
        ..wrong
    };
    assert_eq!(wrong.sync(None).await.err().map(|status| status.code()), Some(Code::NotFound));

    let (mut one, mut two) = (first.sync(None).await.unwrap(), second.sync(None).await.unwrap());
    assert_eq!(snapshot(&mut one).await.0, 0);
    let (scopes, moment) = snapshot(&mut two).await;
    assert_eq!(scopes, 0);
    let mut bad = scope(2, 256, 3, 1);
    bad.definitions[0].id = 3;
    let scopes = vec![scope(1, 256, 3, 1000), bad.clone()];
    one.say(sync_state_request::Message::Learned(Learned { scopes, allow_listed: false })).await;
    let sync_state_response::Message::Refused(refused) = one.next().await.unwrap() else {
        panic!("no refusal")
    };
    assert_eq!((refused.refusals.len(), &refused.refusals[0].key), (1, &bad.key));
    let got = next_scopes(&mut two).await;
    assert_eq!(got, [Some(key(1))]);
    // What it asks for and nobody here knows the others are asked for, but not the asker.
    let wanted = Wanted { scopes: vec![WantedTemplates { key: Some(key(9)), ids: vec![300] }] };
    two.say(sync_state_request::Message::Wanted(wanted.clone())).await;
    loop {
        match one.next().await.unwrap() {
            sync_state_response::Message::Wanted(told) => break assert_eq!(told.scopes[0].key, Some(key(9))),
            sync_state_response::Message::Delta(_) => {}
            other => panic!("{other:?}"),
        }
    }
    one.say(sync_state_request::Message::Learned(Learned {
        scopes: vec![scope(9, 300, 2, 5)],
        allow_listed: true,
    }))
    .await;
    assert_eq!(next_scopes(&mut two).await, [Some(key(9))]);

    // Another stream of the same session takes the place of the first, from where the snapshot was.
    let mut resumed = second.sync(moment).await.unwrap();
    let mut got = Vec::new();
    while got.len() < 2 {
        got.extend(next_scopes(&mut resumed).await);
    }
    assert!(got.contains(&Some(key(1))) && got.contains(&Some(key(9))), "{got:?}");
    let ended = async { while two.next().await.is_ok() {} };
    timely(ended).await;
    // And a session's end ends it.
    second.say(control_request::Message::Goodbye(Goodbye::default())).await;
    let ended = async { while resumed.next().await.is_ok() {} };
    timely(ended).await;
}

#[tokio::test]
async fn a_large_snapshot_comes_in_chunks_while_heartbeats_are_answered() {
    let replica = Served::start(&memory(), "a").await;
    let mut exchange = replica.store.exchange();
    for number in 0..8000 {
        if number % 4000 == 0 {
            // What one session may bring is limited.
            exchange = replica.store.exchange();
        }
        exchange.learned(&[scope(number, 256, 200, 1000)], coordinator::limits::Standing::AllowListed);
    }
    assert_eq!(replica.store.size().scopes, 8000);
    assert!(replica.store.size().bytes > 8 << 20, "{:?}", replica.store.size());
    let mut node = join(&replica, "n1", 1).await;
    let mut sync = node.sync(None).await.unwrap();
    // The node does not read its snapshot, and is heard nevertheless.
    for time_ns in 1..=20 {
        node.say(control_request::Message::Heartbeat(Heartbeat { time_ns, ..Heartbeat::default() })).await;
        let ack = timely(node.down.message()).await.unwrap().and_then(|message| message.message);
        let Some(control_response::Message::HeartbeatAck(ack)) = ack else { panic!("{ack:?}") };
        assert_eq!(ack.time_ns, time_ns);
    }
    let sent = replica.services.sessions().counts().sync_bytes;
    // The client's window is 2 MiB, and a chunk or two are under way.
    assert!(sent <= 5 << 20, "{sent} octets were made for a node that does not read");
    assert_eq!(snapshot(&mut sync).await.0, 8000);
}

/// The keys of the next delta that has scopes.
async fn next_scopes(sync: &mut Sync) -> Vec<Option<ScopeKey>> {
    loop {
        match sync.next().await.expect("a delta") {
            sync_state_response::Message::Delta(delta) if delta.scopes.is_empty() => {}
            sync_state_response::Message::Delta(delta) => {
                return delta.scopes.into_iter().map(|scope| scope.key).collect();
            }
            other => panic!("{other:?}"),
        }
    }
}

fn sequences(number: u64, ranges: Vec<i64>) -> control_request::Message {
    let space = SequenceSpace {
        exporter: vec![192, 0, 2, 1],
        port: 2055,
        version: 9,
        unit: SequenceUnit::Datagrams.into(),
        ..SequenceSpace::default()
    };
    let spaces = vec![SequenceRanges { space: Some(space), ranges, ..SequenceRanges::default() }];
    let report = SequenceReport { number, from_ns: 0, to_ns: 1_000_000, spaces, ..SequenceReport::default() };
    control_request::Message::Sequences(report)
}

#[tokio::test]
async fn reports_of_sequences_come_together_at_the_leader() {
    let kv = memory();
    let first = Served::start(&kv, "a").await;
    first.leads().await;
    let second = Served::start(&kv, "b").await;
    let (mut one, mut two) = (join(&first, "n1", 1).await, join(&second, "n2", 1).await);
    until("the leader accounts", || first.services.sequences().leads()).await;
    // 0..10 without 4 and 7 at one, 7 and 10 at the other.
    one.say(sequences(1, vec![0, 4, 1, 2, 1, 2])).await;
    two.say(sequences(1, vec![7, 1, 2, 1])).await;
    for node in [&mut one, &mut two] {
        let acked = node.next().await.unwrap();
        assert!(matches!(acked, control_response::Message::SequenceAck(ack) if ack.number == 1), "{acked:?}");
    }
    for number in 2.. {
        one.say(sequences(number, vec![])).await;
        two.say(sequences(number, vec![])).await;
        one.next().await.unwrap();
        two.next().await.unwrap();
        let counts = first.services.sequences().counts();
        if counts.totals.lost != [0; 3] {
            break;
        }
        assert!(number < 300, "{counts:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let counts = first.services.sequences().counts();
    assert_eq!((counts.totals.received, counts.totals.lost.iter().sum::<u64>()), (10, 1));
    assert_eq!(second.services.sequences().counts().spaces, 0);
    assert!(second.services.sequences().counts().forwarded >= 2);
}
