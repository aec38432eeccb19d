//! `loadtest flood`: templates that no exporter has, from sources that are none, as fast as asked.
//!
//! With `--spoof` each datagram comes from any address and port of a prefix, through a raw socket (root); without, from
//! some hundred sockets on addresses of this machine. Good exporters (`loadtest run`) beside it must not suffer.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Serialize;
use socket2::Socket;

use crate::duration::parse_duration;
use crate::encode::spoofed::{self, Data, MOST_FIELDS, Shape, Version};
use crate::network::Network;
use crate::pacer::Pacer;
use crate::process_time;
use crate::random::Random;
use crate::raw::{BATCH, Family, Parcel, RawSender};
use crate::transmit::{allow_many_sockets, socket_at};
use crate::workload::address_after;

/// Datagrams stay below the payload of a 1,500-byte MTU with IPv6.
const MOST_BYTES: usize = 1_452;

/// Options of `loadtest flood`.
#[derive(Debug, Clone, Args)]
pub struct FloodArgs {
    /// Where to; of several, comma-separated, each datagram goes to any
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:2055")]
    pub target: Vec<SocketAddr>,
    /// Templates per second; 0: as fast as possible
    #[arg(long, default_value_t = 1_000_000)]
    pub rate: u64,
    /// End after this time
    #[arg(long, value_parser = parse_duration, default_value = "10s")]
    pub duration: Duration,
    /// Protocol
    #[arg(long, value_enum, default_value = "v9")]
    pub protocol: FloodProtocol,
    /// Templates in a datagram
    #[arg(long, default_value_t = 50)]
    pub templates_per_datagram: usize,
    /// Fields in a template
    #[arg(long, default_value_t = 6)]
    pub fields: usize,
    /// Observation domains of a source
    #[arg(long, default_value_t = 16)]
    pub domains: u32,
    /// A record of each template follows it, so that each layout has decoded data
    #[arg(long)]
    pub data: bool,
    /// Sources are any addresses and ports of this prefix (10.0.0.0/8), through a raw socket; needs root
    #[arg(long)]
    pub spoof: Option<Network>,
    /// Without --spoof: address of the first source; the others follow it
    #[arg(long, default_value = "127.9.0.1")]
    pub source_base: IpAddr,
    /// Without --spoof: number of sources
    #[arg(long, default_value_t = 256)]
    pub sources: u32,
    /// Seed of all that is random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// A protocol that has templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FloodProtocol {
    /// NetFlow version 9.
    V9,
    /// IPFIX.
    Ipfix,
}

/// What a flood did; printed as one JSON line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct FloodReport {
    /// Datagrams that the kernel took.
    pub datagrams: u64,
    /// Templates in them.
    pub templates: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Datagrams that the kernel refused.
    pub send_errors: u64,
    /// Templates per second.
    pub templates_per_second: f64,
    /// Wall clock.
    pub seconds: f64,
    /// CPU time of this process, user and system.
    pub cpu_seconds: f64,
}

/// Where datagrams come from.
enum Origin {
    Spoofed { sender: RawSender, network: Network },
    Bound(Vec<Socket>),
}

/// Floods until the time is over, or until `stop`.
pub fn run(args: &FloodArgs, stop: &dyn Fn() -> bool) -> anyhow::Result<FloodReport> {
    let shape = shape_of(args)?;
    let mut random = Random::new(args.seed);
    let mut origin = Origin::open(args)?;
    let cpu = process_time::of_this_process();
    let mut pacer = Pacer::new(args.rate);
    let mut report = FloodReport::default();
    let batch = (pacer.burst() / shape.templates as u64).clamp(1, BATCH as u64) as usize;
    let mut datagrams = vec![Vec::with_capacity(MOST_BYTES); batch];
    while pacer.elapsed() < args.duration && !stop() {
        for datagram in &mut datagrams {
            datagram.clear();
            spoofed::append(datagram, &shape, &mut random);
        }
        origin.send(&datagrams, &args.target, &mut random, &mut report);
        pacer.sent((batch * shape.templates) as u64);
    }
    report.templates = report.datagrams * shape.templates as u64;
    report.seconds = pacer.elapsed().as_secs_f64();
    report.templates_per_second = report.templates as f64 / report.seconds;
    report.cpu_seconds = (process_time::of_this_process() - cpu).as_secs_f64();
    Ok(report)
}

fn shape_of(args: &FloodArgs) -> anyhow::Result<Shape> {
    anyhow::ensure!(!args.target.is_empty(), "--target names no target");
    anyhow::ensure!(
        (1..=MOST_FIELDS).contains(&args.fields),
        "--fields must be between 1 and {MOST_FIELDS}, not {}",
        args.fields
    );
    anyhow::ensure!(args.domains > 0, "--domains must be at least 1");
    anyhow::ensure!(args.templates_per_datagram > 0, "--templates-per-datagram must be at least 1");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let shape = Shape {
        version: match args.protocol {
            FloodProtocol::V9 => Version::V9,
            FloodProtocol::Ipfix => Version::Ipfix,
        },
        templates: args.templates_per_datagram,
        fields: args.fields,
        domains: args.domains,
        data: if args.data { Data::OneRecordEach } else { Data::None },
        clock: now.as_secs() as u32,
    };
    // A record's length differs with its elements, by less than this leaves out.
    let of_one = 4 + 4 * args.fields + if args.data { 4 + 4 * args.fields } else { 0 };
    anyhow::ensure!(
        24 + of_one * shape.templates <= MOST_BYTES,
        "{} templates of {} fields do not fit a datagram of {MOST_BYTES} bytes",
        shape.templates,
        args.fields
    );
    Ok(shape)
}

impl Origin {
    fn open(args: &FloodArgs) -> anyhow::Result<Self> {
        let base = args.spoof.map_or(args.source_base, |network| network.base());
        for target in &args.target {
            anyhow::ensure!(
                target.is_ipv4() == base.is_ipv4(),
                "{target} is of another family than the source {base}"
            );
        }
        if let Some(network) = args.spoof {
            let sender = RawSender::open(Family::of(SocketAddr::new(base, 0)))?;
            return Ok(Self::Spoofed { sender, network });
        }
        anyhow::ensure!(args.sources > 0, "--sources must be at least 1");
        allow_many_sockets();
        let sockets = (0..args.sources).map(|number| {
            let address = address_after(args.source_base, number).context("--source-base leaves no room")?;
            Ok(socket_at(address)?)
        });
        sockets.collect::<anyhow::Result<_>>().map(Self::Bound)
    }

    fn send(
        &mut self,
        datagrams: &[Vec<u8>],
        targets: &[SocketAddr],
        random: &mut Random,
        report: &mut FloodReport,
    ) {
        let mut count = |index: usize, is_sent: bool| {
            if is_sent {
                report.datagrams += 1;
                report.bytes += datagrams[index].len() as u64;
            } else {
                report.send_errors += 1;
            }
        };
        match self {
            Self::Spoofed { sender, network } => {
                let parcels: Vec<Parcel<'_>> = datagrams
                    .iter()
                    .map(|payload| Parcel {
                        source: SocketAddr::new(network.address(random), 1_024 + random.below(64_512) as u16),
                        target: targets[random.below(targets.len() as u64) as usize],
                        payload,
                    })
                    .collect();
                sender.send(&parcels, |index, result| count(index, result.is_ok()));
            }
            Self::Bound(sockets) => {
                for (index, datagram) in datagrams.iter().enumerate() {
                    let socket = &sockets[random.below(sockets.len() as u64) as usize];
                    let target = targets[random.below(targets.len() as u64) as usize];
                    count(index, socket.send_to(datagram, &target.into()).is_ok());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::tests::opened;
    use clap::Parser;
    use std::collections::HashSet;
    use std::net::UdpSocket;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: FloodArgs,
    }

    fn args(options: &str) -> FloodArgs {
        Line::parse_from(std::iter::once("test").chain(options.split_whitespace())).args
    }

    /// The sources of what a flood of 0.2 s sent to a node that keeps what fits its buffer.
    fn sources(options: &str) -> HashSet<SocketAddr> {
        let node = UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = node.local_addr().unwrap();
        let line = format!("--target {target} --rate 5000 --duration 200ms {options}");
        let report = run(&args(&line), &|| false).unwrap();
        assert_eq!((report.send_errors, report.templates), (0, report.datagrams * 50));
        assert!((500..=1_100).contains(&report.templates), "{report:?}");
        node.set_nonblocking(true).unwrap();
        let mut buffer = [0; 2_048];
        let mut sources = HashSet::new();
        while let Ok((length, source)) = node.recv_from(&mut buffer) {
            assert_eq!((buffer[1], length), (9, 20 + 4 + 50 * 28));
            sources.insert(source);
        }
        sources
    }

    #[test]
    fn sources_are_many_also_without_root() {
        let sources = sources("--sources 8");
        assert!(
            sources.len() > 3 && sources.iter().all(|source| source.ip().to_string().starts_with("127.9.0."))
        );
    }

    #[test]
    fn spoofed_sources_are_any_of_their_prefix() {
        if opened(Family::V4).is_none() {
            return;
        }
        let sources = sources("--spoof 127.64.0.0/10");
        assert!(sources.len() >= 10, "{sources:?}");
        for source in &sources {
            let IpAddr::V4(address) = source.ip() else { panic!("{source}") };
            assert_eq!((address.octets()[0], address.octets()[1] & 0xc0), (127, 0x40));
        }
    }

    #[test]
    fn impossible_options_are_refused() {
        for wrong in [
            "--fields 0",
            "--fields 21",
            "--templates-per-datagram 60",
            "--domains 0",
            "--sources 0",
            "--target [::1]:2055",
        ] {
            assert!(run(&args(&format!("--duration 0s {wrong}")), &|| false).is_err(), "{wrong}");
        }
    }
}
