//! `loadtest demo`, behind `make run`: a cluster on embedded defaults, live.
//!
//! ```text
//! testdata/*.pcap -> exporters -> virtual address (Spreader) -> any of two ingest-nodes -> Kafka protocol -> mock cluster
//!                                                                    |                                            |
//!                                                               coordinator                                       |
//!                                                                    |                                            |
//!                           view  <-  accounts over HTTP ------------+            records consumed  <-------------+
//! ```
//! The coordinator and the nodes are processes, all else is threads of this one. At the end exporters stop first, then the
//! virtual address, the nodes, the consumer and the coordinator, so that every count can be compared.

mod accounts;
mod columns;
mod feed;
mod meter;
mod parts;
mod report;
mod screen;
mod traffic;
mod verdict;
mod view;
mod way;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use rdkafka::Message;
use rdkafka::mocking::MockCluster;

use self::accounts::{NodeAccount, SequenceAccount};
use self::feed::Feed;
use self::meter::Meter;
use self::parts::{Parts, Programs};
use self::report::Report;
use self::screen::{Screen, Wish};
use self::traffic::Pace;
use self::verdict::Outside;
use self::view::Snapshot;
use self::way::Way;
use crate::http;
use crate::pacer::pause;
use crate::topic::{Positions, TopicReader};
use crate::verify::Framing;

const TOPIC: &str = "flows";
const PARTITIONS: i32 = 4;
const TOPIC_PATIENCE: Duration = Duration::from_secs(20);
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(100);
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Options of `loadtest demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Folder of the `ingest-node` and `coordinator` to run [default: that of this executable]
    #[arg(long)]
    pub programs: Option<PathBuf>,
    /// Folder of the captures to replay
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata"), hide_default_value = true)]
    pub testdata: PathBuf,
    /// End after so many seconds
    #[arg(long, default_value_t = 30)]
    pub seconds: u64,
    /// Datagrams per second
    #[arg(long, default_value_t = 220)]
    pub rate: u64,
    /// A line a second, also in a terminal
    #[arg(long)]
    pub lines: bool,
}

/// Raised when its holder goes away, so that a panic or an error ends the threads too.
struct RaiseOnDrop<'a>(&'a AtomicBool);

impl Drop for RaiseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs the demo; true where everything is accounted for at the end.
pub fn run(args: &DemoArgs, stop: &dyn Fn() -> bool) -> anyhow::Result<bool> {
    let programs = Programs::find(args.programs.as_deref())?;
    let captures = traffic::captures_in(&args.testdata)?;
    let kafka = MockCluster::new(1).context("starting the embedded broker")?;
    kafka.create_topic(TOPIC, PARTITIONS, 1)?;
    let brokers = kafka.bootstrap_servers();
    say("starting a coordinator and two nodes beside an embedded Kafka broker")?;
    let mut parts = Parts::start(&programs, &brokers, TOPIC)?;
    let reader = TopicReader::open(&brokers, TOPIC, &Positions::default(), TOPIC_PATIENCE)?;
    let way = Way::open(parts.listeners())?;
    say(&way.to_string())?;
    say(&format!("look in: catchctl --endpoint http://{} top", parts.coordinator_grpc()))?;
    let names: Vec<_> = parts.nodes().into_iter().map(|(name, _)| name).collect();
    let feed = Feed::new(traffic::sources_of(&captures), &names);
    let (sent_all, nodes_ended) = (AtomicBool::new(false), AtomicBool::new(false));
    let started = Instant::now();

    let (nodes, on_the_way, sequences) = std::thread::scope(|scope| {
        let nothing_more_comes = RaiseOnDrop(&nodes_ended);
        let nothing_more_is_sent = RaiseOnDrop(&sent_all);
        let (feed, sent_all, nodes_ended) = (&feed, &sent_all, &nodes_ended);
        let pace = Pace { targets: way.targets(), rate: args.rate };
        let sender = scope.spawn(move || {
            let stop = || sent_all.load(Ordering::Relaxed);
            traffic::replay(&captures, &pace, feed, &stop)
                .unwrap_or_else(|error| feed.fail(format!("{error:#}")));
        });
        let consumer = scope.spawn(move || {
            consume(reader, feed, nodes_ended).unwrap_or_else(|error| feed.fail(format!("{error:#}")));
        });
        let (nodes, coordinator) = (parts.nodes(), parts.coordinator_http());
        scope.spawn(move || {
            while !nodes_ended.load(Ordering::Relaxed) {
                ask(&nodes, coordinator, feed);
                pause(ASK_EVERY);
            }
        });
        let shown = watch(args, &mut parts, &way, feed, started, stop);
        drop(nothing_more_is_sent);
        say("exporters have stopped, nodes finish what they hold")?;
        sender.join().map_err(|_| anyhow::anyhow!("the replay panicked"))?;
        let on_the_way = way.close()?;
        let nodes = parts.stop_nodes()?;
        drop(nothing_more_comes);
        consumer.join().map_err(|_| anyhow::anyhow!("the consumer panicked"))?;
        shown?;
        Ok::<_, anyhow::Error>((nodes, on_the_way, sequences_at(coordinator).unwrap_or_default()))
    })?;
    let coordinator = parts.stop_coordinator()?;
    let seen = feed.seen();
    let outside = Outside { sent: seen.datagrams(), on_the_way, consumed: seen.records, sequences };
    let report = Report { seen: &seen, nodes: &nodes, coordinator: &coordinator, outside };
    report.print(&mut std::io::stdout().lock(), started.elapsed())
}

/// Shows what goes on until the time is over, somebody ends it, or something fails.
fn watch(
    args: &DemoArgs,
    parts: &mut Parts,
    way: &Way,
    feed: &Feed,
    started: Instant,
    stop: &dyn Fn() -> bool,
) -> anyhow::Result<()> {
    let length = Duration::from_secs(args.seconds);
    let mut screen = Screen::open(args.lines)?;
    let mut meter = Meter::default();
    let mut flows = Vec::new();
    while started.elapsed() < length && !stop() {
        if let Some((name, status)) = parts.missing()? {
            feed.fail(format!("{name} ended by itself ({status})"));
        }
        let seen = feed.seen().clone();
        if seen.fault.is_some() || way.is_broken() {
            break;
        }
        let elapsed = started.elapsed();
        let is_new_second = meter.update(elapsed, &seen);
        // Flows stand still for a second, long enough to be read.
        if is_new_second || flows.is_empty() {
            flows = seen.newest().into_iter().cloned().collect();
        }
        let snapshot = Snapshot {
            elapsed,
            length,
            way: way.to_string(),
            rates: meter.rates().clone(),
            history: meter.history(),
            flows: flows.clone(),
            seen,
        };
        screen.show(&snapshot, is_new_second)?;
        if screen.wait(STEP)? == Wish::End {
            break;
        }
    }
    Ok(())
}

/// Asks the nodes and the coordinator for their accounts. Who does not answer keeps what it said last.
fn ask(nodes: &[(String, SocketAddr)], coordinator: SocketAddr, feed: &Feed) {
    for (at, (_, http)) in nodes.iter().enumerate() {
        let answer = http::get(*http, "/metrics.json").ok();
        if let Some(account) = answer.and_then(|answer| NodeAccount::of_json(&answer.body)) {
            feed.seen().nodes[at].account = account;
        }
    }
    if let Some(sequences) = sequences_at(coordinator) {
        feed.seen().sequences = sequences;
    }
}

fn sequences_at(coordinator: SocketAddr) -> Option<SequenceAccount> {
    SequenceAccount::of_json(&http::get(coordinator, "/metrics.json").ok()?.body)
}

/// Consumes until the nodes have ended and every message that the broker holds was read.
fn consume(mut reader: TopicReader, feed: &Feed, nodes_ended: &AtomicBool) -> anyhow::Result<()> {
    let mut deadline = None;
    loop {
        let is_last_call = nodes_ended.load(Ordering::Relaxed);
        if let Some(message) = reader.next(STEP)? {
            let mut seen = feed.seen();
            Framing::Packed.decode(message.payload().unwrap_or_default(), |record| seen.consume(record))?;
        } else if is_last_call && reader.is_at_end()? {
            return Ok(());
        }
        if is_last_call {
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + DRAIN_PATIENCE);
            anyhow::ensure!(
                Instant::now() < deadline,
                "the topic was not read to its end in {DRAIN_PATIENCE:?}"
            );
        }
    }
}

fn say(what: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{what}")
}
