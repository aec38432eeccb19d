//! The command line: one subcommand each, and what its exit code says.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::demo::{self, DemoArgs};
use crate::flood::{self, FloodArgs};
use crate::generate::{self, RunArgs};
use crate::measure::{self, MeasureArgs};
use crate::probe::{self, ProbeArgs};
use crate::replay::{self, ReplayArgs};
use crate::spread::{self, SpreadArgs};
use crate::verify::{self, VerifyArgs};

/// Exporter simulator, replayer and end-to-end verifier for Catchment.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Simulate exporters: send generated NetFlow, IPFIX and sFlow
    Run(RunArgs),
    /// Send the datagrams of captures (pcap, pcapng) again
    Replay(ReplayArgs),
    /// Send templates that no exporter has, from sources that are none
    Flood(FloodArgs),
    /// Share the datagrams for a virtual address among nodes, keeping their source addresses (needs root)
    Spread(SpreadArgs),
    /// Consume what a run sent from Kafka and account for every record and every value
    Verify(VerifyArgs),
    /// Send to a cluster that is up and look for every record behind it, among those of others
    Probe(ProbeArgs),
    /// Measure what a record costs a node: its records per second of CPU time, end to end
    Measure(MeasureArgs),
    /// Show the product at work: a coordinator, two nodes, an embedded broker, recorded traffic, a live view
    Demo(DemoArgs),
}

impl Cli {
    /// Runs the command; exit code 0 only where nothing was lost or different.
    pub fn execute(self) -> ExitCode {
        match self.command.execute() {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                complain(&error);
                ExitCode::FAILURE
            }
        }
    }
}

impl Command {
    fn execute(self) -> anyhow::Result<bool> {
        let stop = stop_on_signals()?;
        let stopped = || stop.load(Ordering::Relaxed);
        match self {
            Self::Run(args) => {
                let report = generate::run(&args, &stopped)?;
                print_line("run", &report)?;
                Ok(report.send_errors == 0)
            }
            Self::Replay(args) => {
                let report = replay::run(&args, &stopped)?;
                print_line("replay", &report)?;
                Ok(report.send_errors == 0)
            }
            Self::Flood(args) => {
                let report = flood::run(&args, &stopped)?;
                print_line("flood", &report)?;
                Ok(report.send_errors == 0)
            }
            Self::Spread(args) => {
                let ledger = spread::run(&args, &stopped)?;
                print_line("spread", &ledger)?;
                Ok(ledger.is_balanced() && ledger.errors == 0)
            }
            Self::Verify(args) => {
                let report = verify::run(&args, &stopped)?;
                print!("{}", report.account);
                for (node, records) in &report.nodes {
                    println!("  {records} from node {node}");
                }
                print_line("verify", &report)?;
                Ok(report.is_exact())
            }
            Self::Probe(args) => {
                let report = probe::run(&args, &stopped)?;
                if let Some(verified) = &report.verified {
                    print!("{}", verified.account);
                }
                print_line("probe", &report)?;
                Ok(report.is_exact())
            }
            Self::Measure(args) => {
                let report = measure::run(&args, &stopped)?;
                if let Some(verified) = &report.verified {
                    print!("{}", verified.account);
                }
                print_line("measure", &report)?;
                Ok(report.is_sound())
            }
            Self::Demo(args) => demo::run(&args, &stopped),
        }
    }
}

/// A flag that SIGINT and SIGTERM raise; a second one ends the process at once.
fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// One JSON line `{"kind":report}` on standard output.
fn print_line(kind: &str, report: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::json!({ kind: report }));
    Ok(())
}

#[allow(clippy::print_stderr, reason = "a command's complaint goes to standard error")]
fn complain(error: &anyhow::Error) {
    eprintln!("loadtest: {error:#}");
}
