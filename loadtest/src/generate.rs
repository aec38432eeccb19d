//! `loadtest run`: simulated exporters send what a [`Workload`] says, paced, and report what left.
//!
//! One thread serves the exporters in turn. A turn is a train of datagrams of one exporter, templates first, which costs
//! one system call; at a rate turns are as short as two milliseconds of it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use socket2::Socket;

use crate::duration::parse_duration;
use crate::encode;
use crate::pacer::Pacer;
use crate::process_time;
use crate::train::{MAX_RUN_BYTES, Train};
use crate::transmit::{SendMode, Transmitter, allow_many_sockets, socket_at};
use crate::workload::{Exporter, Workload, WorkloadArgs};

/// Datagrams in a turn: more would not make a system call cheaper and would make the traffic lumpier.
const MAX_TURN_DATAGRAMS: u64 = 47;
/// Bytes in a turn, templates left aside.
const MAX_TURN_BYTES: usize = MAX_RUN_BYTES - 4_096;

/// Options of `loadtest run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// What is sent; `verify` takes the same options.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// Where to; with several targets exporters take them in turn
    #[arg(long, default_value = "127.0.0.1:2055")]
    pub target: Vec<SocketAddr>,
    /// End after this time (`30s`, `5m`), unless --records ends it before
    #[arg(long, value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Records per second of all exporters together; 0: as fast as possible
    #[arg(long, default_value_t = 0)]
    pub rate: u64,
    /// How datagrams leave
    #[arg(long, value_enum, default_value = "gso")]
    pub send: SendMode,
}

/// What a run did; printed as one JSON line.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RunReport {
    /// Datagrams that the kernel took, templates among them.
    pub datagrams: u64,
    /// Flow records, also those of refused datagrams.
    pub records: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Wall clock.
    pub seconds: f64,
    /// Datagrams that the kernel refused.
    pub send_errors: u64,
    /// CPU time of this process, user and system.
    pub cpu_seconds: f64,
}

/// One exporter and how far it is.
struct Stream {
    exporter: Exporter,
    socket: Socket,
    target: SocketAddr,
    datagram: u64,
    sent: u64,
    records: u64,
}

/// Sends until the workload, the duration, or `stop` ends it. In each round every exporter catches up with one goal,
/// counted in records; a run that is ended before its records are all sent still brings the exporters level, so that
/// its total divided by the exporters is what each of them sent.
pub fn run(args: &RunArgs, stop: &dyn Fn() -> bool) -> anyhow::Result<RunReport> {
    let workload = Workload::try_from(&args.workload)?;
    anyhow::ensure!(
        workload.records().is_some() || args.duration.is_some(),
        "one of --records and --duration must say when to end"
    );
    allow_many_sockets();
    let mut streams = workload
        .exporters()
        .zip(args.target.iter().cycle())
        .map(|(exporter, target)| Stream::open(exporter, *target, workload.records_of(exporter.index)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let cpu = process_time::of_this_process();
    let mut pacer = Pacer::new(args.rate);
    let mut transmitter = Transmitter::new(args.send);
    let mut train = Train::default();
    let step = round_step(&streams, pacer.burst());
    let mut goal = 0;
    while streams.iter().any(Stream::has_more) {
        let is_over = args.duration.is_some_and(|duration| pacer.elapsed() >= duration) || stop();
        if is_over {
            level(&mut streams);
        }
        goal += step;
        for stream in &mut streams {
            while stream.has_more() && stream.sent < goal {
                train.clear();
                let records = stream.fill(goal, &mut train);
                transmitter.send(&stream.socket, stream.target, &train)?;
                pacer.sent(records);
            }
        }
    }
    let sent = transmitter.sent();
    Ok(RunReport {
        datagrams: sent.datagrams,
        records: streams.iter().map(|stream| stream.sent).sum(),
        bytes: sent.bytes,
        seconds: pacer.elapsed().as_secs_f64(),
        send_errors: sent.errors,
        cpu_seconds: (process_time::of_this_process() - cpu).as_secs_f64(),
    })
}

/// Records by which the goal grows in a round: one full train of the protocol that packs least, or less at a low rate.
fn round_step(streams: &[Stream], burst: u64) -> u64 {
    let train = streams.iter().map(|stream| MAX_TURN_DATAGRAMS * stream.exporter.records_per_datagram).min();
    train.unwrap_or(1).min(burst / streams.len() as u64).max(1)
}

/// Ends all streams where the furthest of them is.
fn level(streams: &mut [Stream]) {
    let furthest = streams.iter().map(|stream| stream.sent).max().unwrap_or(0);
    for stream in streams {
        stream.records = stream.records.min(furthest);
    }
}

impl Stream {
    fn open(exporter: Exporter, target: SocketAddr, records: u64) -> anyhow::Result<Self> {
        let socket = socket_at(exporter.address).with_context(|| format!("exporter {}", exporter.index))?;
        Ok(Self { exporter, socket, target, datagram: 0, sent: 0, records })
    }

    fn has_more(&self) -> bool {
        self.sent < self.records
    }

    /// Puts the next datagrams up to `goal` into `train`, as far as they fit a turn; says how many records.
    fn fill(&mut self, goal: u64, train: &mut Train) -> u64 {
        let before = self.sent;
        for _ in 0..MAX_TURN_DATAGRAMS {
            if self.sent >= goal || !self.has_more() || train.byte_count() > MAX_TURN_BYTES {
                break;
            }
            let records = self.exporter.records_per_datagram.min(self.records - self.sent);
            encode::append(&self.exporter, self.datagram, records, train);
            self.datagram += 1;
            self.sent += records;
        }
        self.sent - before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: RunArgs,
    }

    /// Runs into a socket that nobody reads: what does not fit its buffer is dropped by the kernel, unseen.
    fn ran(options: &str, stop: &dyn Fn() -> bool) -> RunReport {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = receiver.local_addr().unwrap().to_string();
        let line = ["test", "--target", &target].into_iter().chain(options.split_whitespace());
        run(&Line::parse_from(line).args, stop).unwrap()
    }

    #[test]
    fn exactly_the_asked_records_are_sent() {
        let report = ran("--protocol v5,v9,ipfix,sflow --exporters 5 --records 10007", &|| false);
        assert_eq!((report.records, report.send_errors), (10_007, 0));
    }

    #[test]
    fn an_interrupted_run_leaves_the_exporters_level() {
        let report = ran("--protocol v9,sflow --exporters 6 --duration 60s --rate 1000", &|| true);
        assert_eq!(report.records % 6, 0);
        assert!(report.records < 1_000);
    }

    #[test]
    fn a_rate_is_kept() {
        let report = ran("--records 4000 --rate 20000 --exporters 3", &|| false);
        assert!(report.seconds >= 0.19, "{report:?}");
    }
}
