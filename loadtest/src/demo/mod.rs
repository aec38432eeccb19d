//! `loadtest demo`, behind `make run`: the product on embedded defaults, live.
//!
//! ```text
//! testdata/*.pcap -> replay over UDP -> ingest-node (a process) -> Kafka protocol -> mock cluster (in this process)
//!                                                                                         |
//!                                                   view  <-  ledger over HTTP, records <-+
//! ```
//! At the end the replay stops first, then the node, then the consumer, so that every count can be compared.

mod columns;
mod feed;
mod meter;
mod screen;
mod traffic;
mod verdict;
mod view;

use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use rdkafka::Message;
use rdkafka::mocking::MockCluster;

use self::columns::grouped;
use self::feed::Feed;
use self::meter::{Meter, Totals};
use self::screen::{Screen, Wish};
use self::verdict::{Outside, Verdict};
use self::view::Snapshot;
use crate::node_process::{self, Ended, NodeProcess};
use crate::pacer::pause;
use crate::topic::TopicReader;
use crate::verify::Framing;

const TOPIC: &str = "flows";
const PARTITIONS: i32 = 4;
const READY_PATIENCE: Duration = Duration::from_secs(20);
const STOP_PATIENCE: Duration = Duration::from_secs(30);
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(100);
const LEDGER_EVERY: Duration = Duration::from_millis(250);

/// Options of `loadtest demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// The node to run [default: `ingest-node` beside this executable]
    #[arg(long)]
    pub node: Option<PathBuf>,
    /// Folder of the captures to replay
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata"), hide_default_value = true)]
    pub testdata: PathBuf,
    /// End after so many seconds
    #[arg(long, default_value_t = 30)]
    pub seconds: u64,
    /// Datagrams per second
    #[arg(long, default_value_t = 200)]
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
    let executable = node_process::executable(args.node.as_deref())?;
    let captures = traffic::captures_in(&args.testdata)?;
    let cluster = MockCluster::new(1).context("starting the embedded broker")?;
    cluster.create_topic(TOPIC, PARTITIONS, 1)?;
    let brokers = cluster.bootstrap_servers();
    let settings = [
        "node.id=demo".to_owned(),
        "output=kafka".to_owned(),
        format!("kafka.brokers={brokers}"),
        format!("kafka.topic={TOPIC}"),
    ];
    say("starting ingest-node beside an embedded Kafka broker")?;
    let mut node = NodeProcess::start(&executable, &settings)?;
    node.wait_ready(READY_PATIENCE)?;
    let reader = TopicReader::open(&brokers, TOPIC, READY_PATIENCE)?;
    let feed = Feed::new(traffic::sources_of(&captures));
    let (target, http) = (node.listener, node.http);
    let (sent_all, node_ended) = (AtomicBool::new(false), AtomicBool::new(false));
    let started = Instant::now();

    let ended = std::thread::scope(|scope| {
        let nothing_more_comes = RaiseOnDrop(&node_ended);
        let nothing_more_is_sent = RaiseOnDrop(&sent_all);
        let (feed, sent_all, node_ended) = (&feed, &sent_all, &node_ended);
        let sender = scope.spawn(move || {
            let stop = || sent_all.load(Ordering::Relaxed);
            if let Err(error) = traffic::replay(&captures, target, args.rate, feed, &stop) {
                feed.fail(format!("{error:#}"));
            }
        });
        let consumer = scope.spawn(move || {
            if let Err(error) = consume(reader, feed, node_ended) {
                feed.fail(format!("{error:#}"));
            }
        });
        scope.spawn(move || {
            while !node_ended.load(Ordering::Relaxed) {
                if let Some(ledger) = node_process::ledger_at(http) {
                    feed.seen().ledger = Some(ledger);
                }
                pause(LEDGER_EVERY);
            }
        });
        let shown = watch(args, &mut node, feed, started, stop);
        drop(nothing_more_is_sent);
        say("the replay has stopped, the node finishes what it holds")?;
        sender.join().map_err(|_| anyhow::anyhow!("the replay panicked"))?;
        let ended = node.stop(STOP_PATIENCE);
        drop(nothing_more_comes);
        consumer.join().map_err(|_| anyhow::anyhow!("the consumer panicked"))?;
        shown?;
        ended
    })?;
    report(&feed, &ended, started.elapsed())
}

/// Shows what goes on until the time is over, somebody ends it, or something fails.
fn watch(
    args: &DemoArgs,
    node: &mut NodeProcess,
    feed: &Feed,
    started: Instant,
    stop: &dyn Fn() -> bool,
) -> anyhow::Result<()> {
    let length = Duration::from_secs(args.seconds);
    let mut screen = Screen::open(args.lines)?;
    let mut meter = Meter::default();
    let mut flows = VecDeque::new();
    while started.elapsed() < length && !stop() {
        let mut seen = feed.seen().clone();
        if seen.fault.is_some() || node.exit_status()?.is_some() {
            break;
        }
        let elapsed = started.elapsed();
        let is_new_second =
            meter.update(elapsed, Totals { datagrams: seen.datagrams(), records: seen.records });
        // Flows stand still for a second, long enough to be read.
        if is_new_second || flows.is_empty() {
            flows.clone_from(&seen.recent);
        }
        seen.recent.clone_from(&flows);
        let snapshot = Snapshot {
            elapsed,
            length,
            listener: node.listener.to_string(),
            rates: meter.rates(),
            history: meter.history(),
            seen,
        };
        screen.show(&snapshot, is_new_second)?;
        if screen.wait(STEP)? == Wish::End {
            break;
        }
    }
    Ok(())
}

/// Consumes until the node has ended and every message that the broker holds was read.
fn consume(mut reader: TopicReader, feed: &Feed, node_ended: &AtomicBool) -> anyhow::Result<()> {
    let mut deadline = None;
    loop {
        let is_last_call = node_ended.load(Ordering::Relaxed);
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

/// Prints the summary and, last, the verdict.
fn report(feed: &Feed, ended: &Ended, elapsed: Duration) -> anyhow::Result<bool> {
    let seen = feed.seen();
    let outside = Outside { sent: seen.datagrams(), consumed: seen.records };
    let verdict = match &seen.fault {
        Some(fault) => Verdict::Differs(fault.clone()),
        None => Verdict::of(ended, outside),
    };
    let is_balanced = matches!(verdict, Verdict::Balanced(_));
    let mut out = std::io::stdout().lock();
    if !is_balanced && !ended.log.is_empty() {
        writeln!(out, "the node's log ended with:\n{}\n", ended.log)?;
    }
    writeln!(out, "exporter                        datagrams    records")?;
    for source in &seen.sources {
        let (datagrams, records) = (grouped(source.datagrams), grouped(source.records));
        writeln!(out, "{:<30} {datagrams:>10} {records:>10}", source.name)?;
    }
    let (sent, consumed) = (grouped(outside.sent), grouped(outside.consumed));
    writeln!(
        out,
        "{sent} datagrams became {consumed} flow records on Kafka in {:.0} s",
        elapsed.as_secs_f64()
    )?;
    if let Some(cpu) = ended.cpu {
        writeln!(out, "the node used {:.2} s of CPU", cpu.as_secs_f64())?;
    }
    writeln!(out, "{}", verdict.line())?;
    Ok(is_balanced)
}
