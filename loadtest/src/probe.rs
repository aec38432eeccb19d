//! `loadtest probe`: does a cluster that is up do its work? Sends to it, and looks for every record behind it.
//!
//! Unlike `run` and `verify` it is one process, which needs no topic of its own: it reads from where the topic ended
//! before it sent, and leaves records of others aside. Where records do not go to Kafka it asks the nodes' ledgers, which
//! must have delivered that many more.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{ArgGroup, Args};
use serde::Serialize;

use crate::duration::parse_duration;
use crate::generate::{self, RunArgs, RunReport};
use crate::node_process::ledger_at;
use crate::pacer::pause;
use crate::targets::Spread;
use crate::topic;
use crate::transmit::SendMode;
use crate::verify::{self, SourceArgs, VerifyArgs, VerifyReport};
use crate::workload::WorkloadArgs;

const BROKER_PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);

/// Options of `loadtest probe`.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("behind").required(true).args(["brokers", "node"]))]
pub struct ProbeArgs {
    /// What is sent. Another --seed than a probe had before makes other records.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// Where to: a host, or its name, and a port
    #[arg(long)]
    pub target: String,
    /// End after this time (`30s`, `5m`), unless --records or a signal ends it before; what was sent is looked for then
    #[arg(long, value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Records per second of all exporters together; 0: as fast as possible
    #[arg(long, default_value_t = 10_000)]
    pub rate: u64,
    /// Kafka brokers that the records must come out of, host:port, comma-separated
    #[arg(long)]
    pub brokers: Option<String>,
    /// Topic of the flow records
    #[arg(long, default_value = "catchment.flows")]
    pub topic: String,
    /// HTTP addresses of all nodes, host:port, comma-separated; a name stands for all of its addresses
    #[arg(long, value_delimiter = ',')]
    pub node: Vec<String>,
    /// Give up when nothing new came for this long
    #[arg(long, value_parser = parse_duration, default_value = "20s")]
    pub idle: Duration,
}

/// What a probe found; printed as one JSON line.
#[derive(Debug, Clone, Serialize)]
pub struct ProbeReport {
    /// What was sent.
    pub sent: RunReport,
    /// What came out of Kafka, where it was read.
    pub verified: Option<VerifyReport>,
    /// Flow records that the nodes have delivered since, where they were asked.
    pub delivered: Option<u64>,
}

impl ProbeReport {
    /// True where every record was found once and as sent, or as many were delivered.
    pub fn is_exact(&self) -> bool {
        self.sent.send_errors == 0
            && self.verified.as_ref().is_none_or(VerifyReport::is_exact)
            && self.delivered.is_none_or(|delivered| delivered >= self.sent.records)
    }
}

/// Sends until the workload, the duration, or `stop` ends it; then looks for what was sent.
pub fn run(args: &ProbeArgs, stop: &dyn Fn() -> bool) -> anyhow::Result<ProbeReport> {
    let before = match &args.brokers {
        Some(brokers) => Before::Topic(topic::ends(brokers, &args.topic, BROKER_PATIENCE)?),
        None => Before::Ledgers(delivered_by(&args.node)?),
    };
    let sent = generate::run(
        &RunArgs {
            workload: args.workload.clone(),
            target: vec![addresses_of(&args.target)?[0]],
            spread: Spread::Exporter,
            duration: args.duration,
            rate: args.rate,
            send: SendMode::Plain,
        },
        stop,
    )?;
    let mut report = ProbeReport { sent, verified: None, delivered: None };
    match before {
        Before::Topic(ends) => {
            // A signal ended the sending; the search has an end of its own.
            report.verified = Some(verify::from(&ends, &verification(args, sent.records), &|| false)?);
        }
        Before::Ledgers(before) => report.delivered = Some(wait_for(args, before, sent.records)?),
    }
    Ok(report)
}

/// How things stood before anything was sent.
enum Before {
    Topic(topic::Positions),
    Ledgers(u64),
}

fn verification(args: &ProbeArgs, records: u64) -> VerifyArgs {
    VerifyArgs {
        workload: WorkloadArgs { records: Some(records), ..args.workload.clone() },
        source: SourceArgs {
            brokers: args.brokers.clone().unwrap_or_default(),
            topic: args.topic.clone(),
            framing: None,
            idle: args.idle,
            zone: String::new(),
            drop_repeats: false,
            among_others: true,
            node: Vec::new(),
        },
    }
}

/// Asks the nodes until they have delivered so many more records than `before`, or nothing changes any more.
fn wait_for(args: &ProbeArgs, before: u64, records: u64) -> anyhow::Result<u64> {
    let (mut last, mut changed) = (0, Instant::now());
    loop {
        // A node that has left since takes its count along.
        let delivered = delivered_by(&args.node)?.saturating_sub(before);
        if delivered != last {
            (last, changed) = (delivered, Instant::now());
        }
        if delivered >= records || changed.elapsed() > args.idle {
            return Ok(delivered);
        }
        pause(POLL);
    }
}

fn delivered_by(nodes: &[String]) -> anyhow::Result<u64> {
    let mut sum = 0;
    for node in nodes {
        for address in addresses_of(node)? {
            let ledger =
                ledger_at(address).with_context(|| format!("node {node} ({address}) shows no ledger"))?;
            sum += ledger.flow().delivered;
        }
    }
    Ok(sum)
}

/// All addresses of `host:port`, at least one.
fn addresses_of(host: &str) -> anyhow::Result<Vec<SocketAddr>> {
    let found: Vec<_> = host
        .to_socket_addrs()
        .with_context(|| format!("{host:?} is no host:port that can be found"))?
        .collect();
    anyhow::ensure!(!found.is_empty(), "{host} has no address");
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: ProbeArgs,
    }

    fn args(options: &str) -> Result<ProbeArgs, clap::Error> {
        let line = ["test"].into_iter().chain(options.split_whitespace());
        Line::try_parse_from(line).map(|line| line.args)
    }

    /// A node whose ledger grows by `step` delivered records each time it is asked.
    fn node(step: u64) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for (asked, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                // The request comes in one piece.
                assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
                let delivered = 1000 + asked as u64 * step;
                let body = format!(r#"{{"ledger":{{"streams":{{"flow":{{"delivered":{delivered}}}}}}}}}"#);
                write!(stream, "HTTP/1.0 200 OK\r\n\r\n{body}").unwrap();
            }
        });
        address
    }

    fn probed(node: SocketAddr, idle: &str) -> ProbeReport {
        let receiver = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = receiver.local_addr().unwrap();
        let options = format!("--exporters 2 --records 100 --target {target} --node {node} --idle {idle}");
        run(&args(&options).unwrap(), &|| false).unwrap()
    }

    #[test]
    fn what_the_nodes_deliver_from_then_on_counts() {
        let report = probed(node(40), "20s");
        assert_eq!((report.sent.records, report.delivered), (100, Some(120)));
        assert!(report.is_exact());
    }

    #[test]
    fn records_that_nobody_delivers_are_given_up() {
        let report = probed(node(0), "300ms");
        assert_eq!(report.delivered, Some(0));
        assert!(!report.is_exact());
    }

    #[test]
    fn somewhere_to_look_must_be_named() {
        assert!(args("--target 127.0.0.1:1 --records 1").is_err());
        assert!(args("--target 127.0.0.1:1 --records 1 --brokers a:1 --node b:1").is_err());
    }

    #[test]
    fn a_target_that_is_not_there_is_named() {
        let error = addresses_of("nowhere.invalid").unwrap_err().to_string();
        assert!(error.contains("nowhere.invalid"), "{error}");
    }
}
