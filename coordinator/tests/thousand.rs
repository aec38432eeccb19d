//! A thousand sessions with one replica, in one process.

mod rig;
mod served;

use std::sync::Arc;
use std::time::{Duration, Instant};

use catchment_proto::cluster::v1::{
    Heartbeat, Learned, control_request, sync_state_request, sync_state_response,
};
use coordinator::kv::{Kv, Memory};
use coordinator::session::SessionOptions;
use rig::scope;
use served::{Node, Served, Sync, hello, timely};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

const SESSIONS: usize = 1000;
const CHANGES: u64 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_reaches_a_thousand_sessions_within_a_second() {
    let options = SessionOptions { ttl: Duration::from_secs(30), ..SessionOptions::default() };
    let kv = Kv::Memory(Memory::new());
    let replica = Served::start_with(&kv, "a", "test", options).await;
    let began = Instant::now();
    let mut joining = JoinSet::new();
    // As many connections at once as a listener keeps waiting; nodes come back by and by.
    let door = Arc::new(Semaphore::new(100));
    for number in 0..SESSIONS {
        let (address, door) = (replica.address, Arc::clone(&door));
        joining.spawn(async move {
            let _turn = door.acquire().await.expect("open");
            let channel = served::channel(address).await;
            let mut node = Node::join(channel, hello(&format!("n{number}"), 1)).await.expect("a session");
            let sync = node.sync(None).await.expect("an exchange");
            (node, sync)
        });
    }
    let mut sessions: Vec<(Node, Sync)> = timely(joining.join_all()).await;
    println!("{SESSIONS} sessions begun in {:?}", began.elapsed());
    assert_eq!(replica.services.sessions().len(), SESSIONS);

    // Each session tells when it has a change; one of them makes them.
    let (got, mut heard) = mpsc::channel(SESSIONS * 2);
    let (teacher_node, teacher) = sessions.pop().expect("a session");
    let mut tasks = JoinSet::new();
    for (node, sync) in sessions {
        let got = got.clone();
        tasks.spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_secs(1));
            // Whole, with the ends that speak.
            let (mut node, mut sync) = (node, sync);
            loop {
                tokio::select! {
                    _ = beat.tick() => {
                        let message = control_request::Message::Heartbeat(Heartbeat::default());
                        node.say(message).await;
                    }
                    message = node.down.message() => assert!(message.expect("the session lives").is_some()),
                    message = sync.down.message() => {
                        let message = message.expect("the exchange lives").expect("the exchange lives");
                        if let Some(sync_state_response::Message::Delta(delta)) = message.message {
                            for scope in delta.scopes {
                                got.send((scope.definitions[0].order.map(|order| order.time_ms), Instant::now())).await.expect("heard");
                            }
                        }
                    }
                }
            }
        });
    }
    let mut worst = Duration::ZERO;
    for change in 1..=CHANGES {
        let scopes = vec![scope(1, 256, 10 + u32::try_from(change).expect("small"), change)];
        let learned = sync_state_request::Message::Learned(Learned { scopes, allow_listed: true });
        let sent = Instant::now();
        teacher.say(learned).await;
        for _ in 1..SESSIONS {
            let (time, at) = timely(heard.recv()).await.expect("sessions live");
            assert_eq!(time, Some(change));
            worst = worst.max(at - sent);
        }
    }
    println!("a change reached {} sessions within {worst:?}, the slowest of {CHANGES} changes", SESSIONS - 1);
    assert!(worst < Duration::from_secs(1), "{worst:?}");
    let counts = replica.services.sessions().counts();
    assert_eq!(
        (counts.begun, counts.syncs, replica.services.sessions().len()),
        (1000, 1000, SESSIONS),
        "{counts:?}"
    );
    drop((teacher_node, teacher));
    tasks.shutdown().await;
}
