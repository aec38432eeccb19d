//! `loadtest replay`: sends the UDP payloads of captures again, in order.
//!
//! Each exporter of the captures becomes a loopback address, each of its source ports a socket of its own, so that a
//! collector keeps apart what was apart. Ports themselves are not kept: any free one is used.

mod capture;
mod strip;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use socket2::Socket;

pub use capture::{Capture, CaptureError, Frame};
pub use strip::{Skipped, Stripped, strip};

use crate::pacer::{Pacer, pause};
use crate::targets::{Picker, Spread};
use crate::transmit::{allow_many_sockets, socket_at};
use crate::workload::address_after;

/// A pause is cut into pieces of this length, so that a signal is heeded.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Options of `loadtest replay`.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// Captures, pcap or pcapng, sent one after the other
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Where to; several, comma-separated, as --spread says
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:2055")]
    pub target: Vec<SocketAddr>,
    /// How datagrams are shared among several targets
    #[arg(long, value_enum, default_value = "exporter")]
    pub spread: Spread,
    /// Seed of the choice among targets
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Address of the first exporter; each further exporter of the captures gets the next
    #[arg(long, default_value = "127.2.0.1")]
    pub source_base: IpAddr,
    /// Datagrams per second; 0: as fast as possible
    #[arg(long, default_value_t = 0, conflicts_with = "speed")]
    pub rate: u64,
    /// Keep the captures' own times, so many times as fast
    #[arg(long)]
    pub speed: Option<f64>,
    /// How often all files are sent; 0: until stopped
    #[arg(long = "loop", default_value_t = 1)]
    pub rounds: u64,
}

/// What a replay did; printed as one JSON line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct ReplayReport {
    /// Datagrams that the kernel took.
    pub datagrams: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Datagrams that the kernel refused.
    pub send_errors: u64,
    /// Frames without UDP.
    pub not_udp: u64,
    /// Fragments, which are not sent.
    pub fragments: u64,
    /// Frames that were captured in part.
    pub short: u64,
    /// Exporters of the captures, each at an address of its own.
    pub exporters: u64,
    /// Wall clock.
    pub seconds: f64,
}

/// Sends all files as often as asked, or until `stop`.
pub fn run(args: &ReplayArgs, stop: &dyn Fn() -> bool) -> anyhow::Result<ReplayReport> {
    anyhow::ensure!(args.speed.is_none_or(|speed| speed > 0.0), "--speed must be above 0");
    allow_many_sockets();
    anyhow::ensure!(!args.target.is_empty(), "--target names no target");
    let mut replay = Replay::new(args.target.clone(), args.source_base).spread(args.spread, args.seed);
    let mut clock = Clock::new(args.rate, args.speed);
    let mut round = 0;
    while (args.rounds == 0 || round < args.rounds) && !stop() {
        let sent_before = replay.report.datagrams + replay.report.send_errors;
        for file in &args.files {
            clock.start_file();
            for frame in Capture::open(file)? {
                let frame = frame?;
                clock.wait(frame.time, stop);
                if stop() {
                    break;
                }
                replay.send(&frame)?;
            }
        }
        anyhow::ensure!(
            replay.report.datagrams + replay.report.send_errors > sent_before || stop(),
            "the captures hold no UDP datagram"
        );
        round += 1;
    }
    Ok(ReplayReport { seconds: clock.started.elapsed().as_secs_f64(), ..replay.report })
}

/// Sends captured frames from a socket for each source.
#[derive(Debug)]
pub struct Replay {
    targets: Vec<SocketAddr>,
    spread: Spread,
    seed: u64,
    source_base: IpAddr,
    addresses: HashMap<IpAddr, Exporter>,
    ports: HashMap<SocketAddr, Port>,
    renames_agents: bool,
    /// Memory for a datagram that is changed.
    changed: Vec<u8>,
    report: ReplayReport,
}

/// An exporter of the captures: its number, and the address that stands for its own.
#[derive(Debug, Clone, Copy)]
struct Exporter {
    number: u64,
    address: IpAddr,
}

/// A source port of an exporter.
#[derive(Debug)]
struct Port {
    socket: Socket,
    picker: Picker,
}

impl Replay {
    /// Sends to `targets`, of which there is one at least, from addresses that begin at `source_base`. Exporters take the
    /// targets in turn.
    pub fn new(targets: Vec<SocketAddr>, source_base: IpAddr) -> Self {
        Self {
            targets,
            spread: Spread::Exporter,
            seed: 0,
            source_base,
            addresses: HashMap::new(),
            ports: HashMap::new(),
            renames_agents: false,
            changed: Vec::new(),
            report: ReplayReport::default(),
        }
    }

    /// Has sFlow agents (IPv4) say the address that stands for their exporter's: else those of two replays are one agent, whose
    /// counters go back and forth.
    pub fn rename_agents(self) -> Self {
        Self { renames_agents: true, ..self }
    }

    /// Shares datagrams among the targets in this way.
    pub fn spread(self, spread: Spread, seed: u64) -> Self {
        Self { spread, seed, ..self }
    }

    /// What was sent so far.
    pub fn report(&self) -> ReplayReport {
        self.report
    }

    /// Sends the datagram of `frame`, or counts why it holds none.
    pub fn send(&mut self, frame: &Frame) -> anyhow::Result<()> {
        let datagram = match strip(frame.link, &frame.data) {
            Ok(datagram) => datagram,
            Err(skipped) => {
                match skipped {
                    Skipped::NotUdp => self.report.not_udp += 1,
                    Skipped::Fragment => self.report.fragments += 1,
                    Skipped::Short => self.report.short += 1,
                }
                return Ok(());
            }
        };
        let picked = self.port_of(datagram.source)?.picker.pick();
        let target = self.targets[picked].into();
        let exporter = self.addresses.get(&datagram.source.ip()).map(|exporter| exporter.address);
        let mut payload = datagram.payload;
        if self.renames_agents
            && let (Some(IpAddr::V4(address)), [0, 0, 0, 5, 0, 0, 0, 1, _, _, _, _, ..]) = (exporter, payload)
        {
            self.changed.clear();
            self.changed.extend_from_slice(payload);
            self.changed[8..12].copy_from_slice(&address.octets());
            payload = &self.changed;
        }
        // Opened above.
        let Some(port) = self.ports.get(&datagram.source) else { return Ok(()) };
        match port.socket.send_to(payload, &target) {
            Ok(bytes) => {
                self.report.datagrams += 1;
                self.report.bytes += bytes as u64;
            }
            Err(_) => self.report.send_errors += 1,
        }
        Ok(())
    }

    /// What stands for an exporter's address and port, opened at its first datagram.
    fn port_of(&mut self, captured: SocketAddr) -> anyhow::Result<&mut Port> {
        match self.ports.entry(captured) {
            Entry::Occupied(port) => Ok(port.into_mut()),
            Entry::Vacant(place) => {
                let known = self.addresses.len() as u32;
                let address =
                    address_after(self.source_base, known).context("--source-base leaves no room")?;
                let next = Exporter { number: known.into(), address };
                let exporter = *self.addresses.entry(captured.ip()).or_insert(next);
                self.report.exporters = self.addresses.len() as u64;
                let socket = socket_at(exporter.address)
                    .with_context(|| format!("standing in for exporter {captured}"))?;
                let source = socket.local_addr()?.as_socket().context("a UDP socket has an address")?;
                let count = self.targets.len();
                let picker = Picker::for_exporter(self.spread, count, self.seed, exporter.number, source);
                Ok(place.insert(Port { socket, picker }))
            }
        }
    }
}

/// When each datagram is due.
struct Clock {
    started: Instant,
    pacer: Pacer,
    speed: Option<f64>,
    /// The first frame's time of capture in this file, and when it was sent.
    file: Option<(Duration, Instant)>,
}

impl Clock {
    fn new(rate: u64, speed: Option<f64>) -> Self {
        Self { started: Instant::now(), pacer: Pacer::new(rate), speed, file: None }
    }

    fn start_file(&mut self) {
        self.file = None;
    }

    fn wait(&mut self, captured: Duration, stop: &dyn Fn() -> bool) {
        let Some(speed) = self.speed else {
            self.pacer.sent(1);
            return;
        };
        let (first, sent) = *self.file.get_or_insert((captured, Instant::now()));
        let due = captured.saturating_sub(first).div_f64(speed);
        while !stop() {
            let rest = due.saturating_sub(sent.elapsed());
            if rest.is_zero() {
                return;
            }
            pause(rest.min(LONGEST_PAUSE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::DataLink;
    use std::net::UdpSocket;

    /// An IPv4 packet of exporter 192.0.2.`host`, source port `port`.
    fn frame(host: u8, port: u8, payload: u8) -> Frame {
        let mut data = vec![0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, host, 192, 0, 2, 254];
        data.extend([0, port, 8, 7, 0, 9, 0, 0, payload]);
        Frame { link: DataLink::RAW, time: Duration::ZERO, data }
    }

    #[test]
    fn exporters_and_their_ports_are_kept_apart_and_in_order() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut replay = Replay::new(vec![receiver.local_addr().unwrap()], "127.2.0.1".parse().unwrap());
        let frames = [frame(1, 1, 10), frame(2, 1, 11), frame(1, 2, 12), frame(1, 1, 13)];
        let mut sources = Vec::new();
        for frame in &frames {
            replay.send(frame).unwrap();
            let mut buffer = [0; 16];
            let (length, source) = receiver.recv_from(&mut buffer).unwrap();
            assert_eq!(buffer[..length], frame.data[28..]);
            sources.push(source);
        }
        let addresses: Vec<_> = sources.iter().map(|source| source.ip().to_string()).collect();
        assert_eq!(addresses, ["127.2.0.1", "127.2.0.2", "127.2.0.1", "127.2.0.1"]);
        assert_eq!(sources[0], sources[3]);
        assert_ne!(sources[0].port(), sources[2].port());
        assert_eq!((replay.report().datagrams, replay.report().exporters), (4, 2));
    }

    #[test]
    fn frames_without_a_datagram_are_counted() {
        let mut replay = Replay::new(vec!["127.0.0.1:9".parse().unwrap()], "127.2.0.1".parse().unwrap());
        replay.send(&Frame { link: DataLink::PPP, time: Duration::ZERO, data: vec![] }).unwrap();
        replay.send(&Frame { link: DataLink::RAW, time: Duration::ZERO, data: vec![0x45] }).unwrap();
        let report = replay.report();
        assert_eq!((report.not_udp, report.short, report.datagrams), (1, 1, 0));
    }
}
