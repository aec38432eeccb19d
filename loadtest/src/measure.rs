//! `loadtest measure`: what a record costs a node, end to end.
//!
//! Runs a node of its own into a Kafka that is there, generates, waits until the node's ledger says that everything is
//! delivered, and divides the records by the CPU time that the node's process used for them. Then the topic is verified:
//! a figure counts only where every record arrived once and as sent.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::daemon::executable;
use crate::generate::{self, RunArgs, RunReport};
use crate::node_ledger::Ledger;
use crate::node_process::NodeProcess;
use crate::pacer::pause;
use crate::targets::Spread;
use crate::transmit::SendMode;
use crate::verify::{self, Framing, SourceArgs, VerifyArgs, VerifyReport};
use crate::workload::WorkloadArgs;

const READY_PATIENCE: Duration = Duration::from_secs(30);
const STOP_PATIENCE: Duration = Duration::from_secs(60);
/// The node is done when its ledger is settled, or has not changed for so long.
const SETTLE_PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);
const VERIFY_IDLE: Duration = Duration::from_secs(15);

/// Options of `loadtest measure`.
#[derive(Debug, Clone, Args)]
pub struct MeasureArgs {
    /// What is sent.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// Records per second; 0: as fast as possible
    #[arg(long, default_value_t = 400_000)]
    pub rate: u64,
    /// How datagrams leave
    #[arg(long, value_enum, default_value = "plain")]
    pub send: SendMode,
    /// The node to run [default: `ingest-node` beside this executable]
    #[arg(long)]
    pub node: Option<PathBuf>,
    /// Kafka brokers, host:port, comma-separated
    #[arg(long)]
    pub brokers: String,
    /// Topic, which must be new [default: a name of this run's own]
    #[arg(long)]
    pub topic: Option<String>,
    /// How records lie in messages
    #[arg(long, value_enum, default_value = "packed")]
    pub framing: Framing,
    /// kafka.compression of the node
    #[arg(long, default_value = "lz4")]
    pub compression: String,
    /// Further settings of the node, key=value; repeatable
    #[arg(long = "set")]
    pub settings: Vec<String>,
    /// Leave the topic unverified
    #[arg(long)]
    pub no_verify: bool,
}

/// What a measurement gave; printed as one JSON line.
#[derive(Debug, Clone, Serialize)]
pub struct MeasureReport {
    /// Records that Kafka acknowledged, per second of the node's CPU time: the figure.
    pub records_per_cpu_second: f64,
    /// CPU time, user and system, of the node's process from the first datagram to the last acknowledgement.
    pub node_cpu_seconds: f64,
    /// Records that Kafka acknowledged.
    pub delivered: u64,
    /// Records per second of wall clock, from the first datagram to the last acknowledgement.
    pub records_per_second: f64,
    /// Datagrams that the kernel dropped before the node could read them.
    pub kernel_dropped: u64,
    /// What was sent.
    pub sent: RunReport,
    /// What was consumed; absent where it was not asked for.
    pub verified: Option<VerifyReport>,
    /// Equations of the node's ledger that do not hold.
    pub imbalances: Vec<String>,
}

impl MeasureReport {
    /// True where the figure is of a run without loss.
    pub fn is_sound(&self) -> bool {
        self.imbalances.is_empty()
            && self.sent.send_errors == 0
            && self.delivered == self.sent.records
            && self.verified.as_ref().is_none_or(VerifyReport::is_exact)
    }
}

/// Measures once.
pub fn run(args: &MeasureArgs, stop: &dyn Fn() -> bool) -> anyhow::Result<MeasureReport> {
    let executable = executable("ingest-node", args.node.as_deref())?;
    let topic = args.topic.clone().unwrap_or_else(|| format!("measure-{}", std::process::id()));
    let framing = args.framing.to_possible_value().context("a framing has a name")?;
    let mut settings = vec![
        "output=kafka".to_owned(),
        format!("kafka.brokers={}", args.brokers),
        format!("kafka.topic={topic}"),
        format!("kafka.framing={}", framing.get_name()),
        format!("kafka.compression={}", args.compression),
    ];
    settings.extend(args.settings.iter().cloned());
    let mut node = NodeProcess::start("the node", &executable, &settings)?;
    node.daemon.wait_ready(READY_PATIENCE)?;
    let no_cpu = "the node's CPU time cannot be read from /proc";
    let cpu_before = node.daemon.cpu().context(no_cpu)?;
    let started = Instant::now();
    let sent = generate::run(
        &RunArgs {
            workload: args.workload.clone(),
            target: vec![node.listener],
            spread: Spread::Exporter,
            duration: None,
            rate: args.rate,
            send: args.send,
        },
        stop,
    )?;
    let settled_at = settle(&mut node, sent.datagrams)?;
    let cpu = node.daemon.cpu().context(no_cpu)? - cpu_before;
    let ended = node.daemon.stop(STOP_PATIENCE)?;
    let ledger = ended.ledger.with_context(|| format!("the node printed no ledger:\n{}", ended.log))?;
    let verified = if args.no_verify { None } else { Some(verify::run(&verification(args, topic), stop)?) };
    let delivered = ledger.flow().delivered;
    Ok(MeasureReport {
        records_per_cpu_second: delivered as f64 / cpu.as_secs_f64(),
        node_cpu_seconds: cpu.as_secs_f64(),
        delivered,
        records_per_second: delivered as f64 / (settled_at - started).as_secs_f64(),
        kernel_dropped: ledger.datagrams.kernel_dropped,
        sent,
        verified,
        imbalances: ledger.imbalances(),
    })
}

fn verification(args: &MeasureArgs, topic: String) -> VerifyArgs {
    VerifyArgs {
        workload: args.workload.clone(),
        source: SourceArgs {
            brokers: args.brokers.clone(),
            topic,
            framing: Some(args.framing),
            idle: VERIFY_IDLE,
            zone: String::new(),
            drop_repeats: false,
            among_others: false,
            node: Vec::new(),
        },
    }
}

/// Waits until every datagram arrived and every record has its end, or nothing changes any more. Returns when the ledger
/// changed last.
fn settle(node: &mut NodeProcess, sent: u64) -> anyhow::Result<Instant> {
    let (mut last, mut changed) = (None, Instant::now());
    loop {
        let ledger = node.ledger();
        if ledger != last {
            (last, changed) = (ledger, Instant::now());
        }
        let is_settled = last.as_ref().is_some_and(|ledger| is_settled(ledger, sent));
        if is_settled || changed.elapsed() > SETTLE_PATIENCE {
            return Ok(changed);
        }
        anyhow::ensure!(node.daemon.exit_status()?.is_none(), "the node ended before it was told to");
        pause(POLL);
    }
}

fn is_settled(ledger: &Ledger, sent: u64) -> bool {
    let flow = ledger.flow();
    let is_read = ledger.datagrams.arrived >= sent && ledger.imbalances().is_empty();
    is_read && flow.in_flight == 0 && flow.delivered > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node_ledger::tests::BALANCED;

    #[test]
    fn a_ledger_is_settled_when_all_arrived_and_nothing_is_in_flight() {
        let mut ledger = Ledger::of_json(BALANCED).unwrap();
        assert!(!is_settled(&ledger, 10));
        let flow = ledger.streams.get_mut("flow").unwrap();
        (flow.in_flight, flow.delivered) = (0, flow.delivered + flow.in_flight);
        assert!(is_settled(&ledger, 10));
        assert!(!is_settled(&ledger, 11));
    }
}
