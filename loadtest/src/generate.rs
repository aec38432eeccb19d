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
use crate::exporter::{Exporter, TemplatePort, TemplateRefresh};
use crate::pacer::Pacer;
use crate::process_time;
use crate::targets::{Picker, Spread};
use crate::train::{MAX_RUN_BYTES, Train};
use crate::transmit::{SendMode, TransmitError, Transmitter, allow_many_sockets, socket_at};
use crate::workload::{Workload, WorkloadArgs};

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
    /// Where to; several, comma-separated, as --spread says
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:2055")]
    pub target: Vec<SocketAddr>,
    /// How datagrams are shared among several targets
    #[arg(long, value_enum, default_value = "exporter")]
    pub spread: Spread,
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
    data: Port,
    /// Where templates come from another port.
    templates: Option<Port>,
    /// When templates are due by the clock.
    refresh_at: Option<Duration>,
    datagram: u64,
    sent: u64,
    records: u64,
}

/// A source port of an exporter, and what is to leave from it.
struct Port {
    socket: Socket,
    picker: Picker,
    train: Train,
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
    anyhow::ensure!(!args.target.is_empty(), "--target names no target");
    let count = workload.exporters().count() as u32;
    let mut streams = workload
        .exporters()
        .map(|exporter| Stream::open(exporter, args, workload.records_of(exporter.index), count))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let cpu = process_time::of_this_process();
    let mut pacer = Pacer::new(args.rate);
    let mut transmitter = Transmitter::new(args.send);
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
                let records = stream.fill(goal, pacer.elapsed());
                stream.send(&args.target, &mut transmitter)?;
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
    fn open(exporter: Exporter, args: &RunArgs, records: u64, exporters: u32) -> anyhow::Result<Self> {
        let port = || Port::open(&exporter, args).with_context(|| format!("exporter {}", exporter.index));
        let templates = match exporter.template_port {
            TemplatePort::Same => None,
            TemplatePort::Other => Some(port()?),
        };
        let refresh_at = match exporter.refresh {
            // Not all in one moment: the first share of the interval differs.
            TemplateRefresh::Interval(interval) => {
                Some(interval.mul_f64(f64::from(exporter.index + 1) / f64::from(exporters)))
            }
            TemplateRefresh::Once | TemplateRefresh::Datagrams(_) => None,
        };
        Ok(Self { exporter, data: port()?, templates, refresh_at, datagram: 0, sent: 0, records })
    }

    fn has_more(&self) -> bool {
        self.sent < self.records
    }

    /// Makes the next datagrams up to `goal`, as far as they fit a turn, and the templates that are due at `now` after the
    /// start; says how many records.
    fn fill(&mut self, goal: u64, now: Duration) -> u64 {
        let before = self.sent;
        self.data.train.clear();
        if let Some(templates) = &mut self.templates {
            templates.train.clear();
        }
        if let (Some(at), TemplateRefresh::Interval(interval)) = (self.refresh_at, self.exporter.refresh)
            && now >= at
        {
            self.refresh_at = Some(at.max(now.saturating_sub(interval)) + interval);
            self.announce();
        }
        for _ in 0..MAX_TURN_DATAGRAMS {
            if self.sent >= goal || !self.has_more() || self.data.train.byte_count() > MAX_TURN_BYTES {
                break;
            }
            if self.exporter.life_of(self.datagram).first_datagram == self.datagram {
                self.exporter.announced = 0;
            }
            if self.exporter.refreshes_at(self.datagram) {
                self.announce();
            }
            let records = self.exporter.records_per_datagram.min(self.records - self.sent);
            encode::data(&self.exporter, self.datagram, records, &mut self.data.train);
            self.datagram += 1;
            self.sent += records;
        }
        self.sent - before
    }

    fn announce(&mut self) {
        self.exporter.announced += 1;
        let port = self.templates.as_mut().unwrap_or(&mut self.data);
        encode::announce(&self.exporter, self.datagram, &mut port.train);
    }

    /// Sends what [`Stream::fill`] made, templates first where they have a port of their own.
    fn send(&mut self, targets: &[SocketAddr], transmitter: &mut Transmitter) -> Result<(), TransmitError> {
        for port in self.templates.iter_mut().chain([&mut self.data]) {
            transmitter.spread(&port.socket, targets, &mut port.picker, &port.train)?;
        }
        Ok(())
    }
}

impl Port {
    fn open(exporter: &Exporter, args: &RunArgs) -> anyhow::Result<Self> {
        let socket = socket_at(exporter.address)?;
        let source = socket.local_addr()?.as_socket().context("a UDP socket has an address")?;
        let (seed, index) = (args.workload.seed, exporter.index.into());
        let picker = Picker::for_exporter(args.spread, args.target.len(), seed, index, source);
        Ok(Self { socket, picker, train: Train::default() })
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

    /// Version 9 datagrams that arrive at a socket of the test: source port, sequence, first flow set's id.
    fn v9_heads(receiver: &UdpSocket) -> Vec<(u16, u32, u16)> {
        receiver.set_nonblocking(true).unwrap();
        let (mut buffer, mut heads) = ([0; 2_048], Vec::new());
        while let Ok((_, source)) = receiver.recv_from(&mut buffer) {
            let word = |at: usize| u16::from_be_bytes([buffer[at], buffer[at + 1]]);
            heads.push((source.port(), u32::from(word(12)) << 16 | u32::from(word(14)), word(20)));
        }
        heads
    }

    fn run_into(receivers: &[&UdpSocket], options: &str) -> RunReport {
        let targets: Vec<_> =
            receivers.iter().map(|receiver| receiver.local_addr().unwrap().to_string()).collect();
        let line = format!("test --target {} {options}", targets.join(","));
        run(&Line::parse_from(line.split_whitespace()).args, &|| false).unwrap()
    }

    #[test]
    fn datagrams_of_one_exporter_are_spread_over_all_targets() {
        let receivers = [(); 3].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let options = "--exporters 1 --records 60 --records-per-datagram 1 --spread random --rate 2000";
        let report = run_into(&receivers.each_ref(), options);
        let heads = receivers.each_ref().map(v9_heads);
        assert!(heads.iter().all(|heads| heads.len() > 5), "{heads:?}");
        let mut all = heads.concat();
        all.sort_unstable_by_key(|head| head.1);
        // One sequence of one port, templates first.
        assert_eq!(all.len() as u64, report.datagrams);
        assert!(all.iter().zip(0..).all(|(head, number)| (head.0, head.1) == (all[0].0, number)));
        assert_eq!((all[0].2, all[1].2), (0, 256));
    }

    #[test]
    fn templates_can_come_once_from_a_port_of_their_own() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let options = "--exporters 1 --records 40 --records-per-datagram 1 --templates-every once \
                       --template-port other --restart-after 25";
        run_into(&[&receiver], options);
        let (templates, data): (Vec<_>, Vec<_>) =
            v9_heads(&receiver).into_iter().partition(|head| head.2 == 0);
        assert_eq!(templates.iter().map(|head| head.1).collect::<Vec<_>>(), [0, 0], "one in each life");
        assert!(data.iter().all(|head| head.0 != templates[0].0));
        let sequences: Vec<u32> = data.iter().map(|head| head.1).collect();
        assert_eq!(sequences, (0..25).chain(0..15).collect::<Vec<_>>());
    }

    #[test]
    fn templates_can_be_refreshed_by_the_clock() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let options =
            "--exporters 2 --records 80 --records-per-datagram 1 --templates-every 100ms --rate 200";
        let report = run_into(&[&receiver], options);
        let heads = v9_heads(&receiver);
        let templates = heads.iter().filter(|head| head.2 == 0).count();
        // At the start, and then one of each exporter every 100 ms of at least 400.
        let most = 2 * (report.seconds / 0.1) as usize + 4;
        assert!((6..=most).contains(&templates), "{templates} in {} s", report.seconds);
        for port in [heads[0].0, heads.iter().find(|head| head.0 != heads[0].0).unwrap().0] {
            let sequences = heads.iter().filter(|head| head.0 == port).map(|head| head.1);
            assert!(sequences.zip(0..).all(|(sequence, number)| sequence == number), "{heads:?}");
        }
    }

    #[test]
    fn a_rate_is_kept() {
        let report = ran("--records 4000 --rate 20000 --exporters 3", &|| false);
        assert!(report.seconds >= 0.19, "{report:?}");
    }
}
