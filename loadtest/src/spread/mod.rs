//! `loadtest spread`: a load balancer's virtual UDP address in the small.
//!
//! ```text
//! exporter 192.0.2.1:50000 -> virtual address -> Spreader -> raw socket: 192.0.2.1:50000 -> one of the targets
//! ```
//! Each datagram goes to any target (`random`), or always to the one that a hash of its source gives (`flow`, as kube-proxy
//! does). What a target sees is the exporter's own source address and port, see [`crate::raw`]; so exporters, spreader
//! and targets may share 127.0.0.0/8 or be in network namespaces of their own. There the spreader's namespace needs a route to
//! each target, and a target that filters by reverse path (rp_filter) a route back to the exporters through the spreader.
//!
//! One thread for each virtual address. A datagram keeps its place among those of its exporter that go to the same target.

mod ledger;

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, ValueEnum};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};
use socket2::{Domain, Protocol, Socket, Type};

pub use ledger::{SpreadLedger, TargetCount};

use crate::kernel_drops;
use crate::pacer::pause;
use crate::raw::{BATCH, Family, Parcel, RawSender};
use crate::targets::{Picker, flow_hash};
use ledger::Counts;

/// Octets of the longest UDP payload, and one more, so that none is cut.
const LONGEST: usize = 65_536;
/// What the system grants of it is what a burst may hold.
const RECEIVE_BUFFER: usize = 32 << 20;
/// How soon a thread that receives nothing heeds its end.
const IDLE: Duration = Duration::from_millis(50);
/// What is in the receive buffer at the end is still forwarded, but for no longer than this.
const LAST_READS: Duration = Duration::from_secs(5);

/// Options of `loadtest spread`.
#[derive(Debug, Clone, Args)]
pub struct SpreadArgs {
    /// The virtual addresses, comma-separated
    #[arg(long, value_delimiter = ',', required = true)]
    pub listen: Vec<SocketAddr>,
    /// The nodes behind them, comma-separated; each virtual address uses those of its own family
    #[arg(long, value_delimiter = ',', required = true)]
    pub to: Vec<SocketAddr>,
    /// Which node a datagram goes to
    #[arg(long, value_enum, default_value = "random")]
    pub mode: SpreadMode,
    /// Seed of the choice
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// How a spreader chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SpreadMode {
    /// Any node for each datagram.
    Random,
    /// One node for all datagrams of a source address and port to a virtual address.
    Flow,
}

/// A spreader with its sockets open: what is sent to the virtual addresses from now on waits for [`Spreader::start`].
#[derive(Debug)]
pub struct Spreader {
    lanes: Vec<Lane>,
    addresses: Vec<SocketAddr>,
    counts: Arc<Counts>,
}

/// A spreader at work. It ends with this.
#[derive(Debug)]
pub struct Spreading {
    addresses: Vec<SocketAddr>,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
}

/// One virtual address, and the way from it.
#[derive(Debug)]
struct Lane {
    socket: Socket,
    sender: RawSender,
    choice: Choice,
    /// The targets of this address's family: their places among all, and their addresses.
    targets: Vec<(usize, SocketAddr)>,
    counts: Arc<Counts>,
}

#[derive(Debug)]
enum Choice {
    Random(Picker),
    Flow { seed: u64 },
}

/// Spreads until `stop`; the account of it.
pub fn run(args: &SpreadArgs, stop: &dyn Fn() -> bool) -> anyhow::Result<SpreadLedger> {
    let spreading = Spreader::open(args)?.start();
    for address in spreading.addresses() {
        println!("spreading {address} over {} nodes", args.to.len());
    }
    while !stop() && !spreading.has_ended() {
        pause(IDLE);
    }
    spreading.stop()
}

impl Spreader {
    /// Opens the virtual addresses and the raw sockets behind them.
    ///
    /// # Errors
    /// Where the process may not open raw sockets, an address cannot be had, or has no target of its family.
    pub fn open(args: &SpreadArgs) -> anyhow::Result<Self> {
        let counts = Arc::new(Counts::new(&args.to));
        let (mut lanes, mut addresses) = (Vec::new(), Vec::new());
        for (address, number) in args.listen.iter().zip(0..) {
            let lane = Lane::open(*address, args, args.seed.wrapping_add(number), &counts)?;
            addresses.push(lane.address()?);
            lanes.push(lane);
        }
        Ok(Self { lanes, addresses, counts })
    }

    /// The virtual addresses, with the ports that they have.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Begins to forward.
    pub fn start(self) -> Spreading {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = self
            .lanes
            .into_iter()
            .map(|lane| {
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || lane.work(&stop))
            })
            .collect();
        Spreading { addresses: self.addresses, counts: self.counts, stop, threads }
    }
}

impl Spreading {
    /// The virtual addresses.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The account so far; a datagram under way is received and not yet forwarded.
    pub fn ledger(&self) -> SpreadLedger {
        self.counts.ledger()
    }

    /// True where a thread has ended of itself, which [`Spreading::stop`] explains.
    pub fn has_ended(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Forwards what is still in the receive buffers, and ends.
    ///
    /// # Errors
    /// Where receiving failed.
    pub fn stop(mut self) -> anyhow::Result<SpreadLedger> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| anyhow::anyhow!("a thread of the spreader panicked"))??;
        }
        Ok(self.counts.ledger())
    }
}

impl Drop for Spreading {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Lane {
    fn open(address: SocketAddr, args: &SpreadArgs, seed: u64, counts: &Arc<Counts>) -> anyhow::Result<Self> {
        let family = Family::of(address);
        let all = args.to.iter().copied().enumerate();
        let targets: Vec<_> = all.filter(|(_, target)| Family::of(*target) == family).collect();
        anyhow::ensure!(!targets.is_empty(), "--listen {address} has no node of its family in --to");
        let choice = match args.mode {
            SpreadMode::Random => Choice::Random(Picker::random(targets.len(), seed)),
            SpreadMode::Flow => Choice::Flow { seed },
        };
        let sender = RawSender::open(family)?;
        let socket = listener(address).with_context(|| format!("cannot listen on {address}"))?;
        Ok(Self { socket, sender, choice, targets, counts: Arc::clone(counts) })
    }

    fn address(&self) -> anyhow::Result<SocketAddr> {
        self.socket.local_addr()?.as_socket().context("a UDP socket has an address")
    }

    /// Forwards until told to stop, and then what is in the buffer.
    fn work(mut self, stop: &AtomicBool) -> anyhow::Result<()> {
        let mut memory = vec![0; BATCH * LONGEST];
        let mut headers = MultiHeaders::preallocate(BATCH, None);
        let mut deadline = None;
        loop {
            let is_last = stop.load(Ordering::Relaxed);
            if is_last && Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + LAST_READS) {
                break;
            }
            let flags = if is_last { MsgFlags::MSG_DONTWAIT } else { MsgFlags::MSG_WAITFORONE };
            match self.receive(&mut memory, &mut headers, flags) {
                Ok(received) => self.forward(&memory, &received),
                Err(Errno::EAGAIN) if is_last => break,
                // An ICMP error is somebody else's answer and not the socket's end.
                Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => {}
                Err(errno) => return Err(errno).context("receiving"),
            }
        }
        self.counts.kernel_dropped(kernel_drops::of_socket(&self.socket).unwrap_or(0));
        Ok(())
    }

    /// Source and length of each datagram; they lie in `memory`, [`LONGEST`] apart.
    fn receive(
        &self,
        memory: &mut [u8],
        headers: &mut MultiHeaders<SockaddrStorage>,
        flags: MsgFlags,
    ) -> Result<Vec<(SocketAddr, usize)>, Errno> {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> =
            memory.chunks_mut(LONGEST).map(|chunk| [IoSliceMut::new(chunk)]).collect();
        let messages = recvmmsg(self.socket.as_raw_fd(), headers, slices.iter_mut(), flags, None)?;
        Ok(messages.filter_map(|message| Some((source_of(message.address)?, message.bytes))).collect())
    }

    fn forward(&mut self, memory: &[u8], received: &[(SocketAddr, usize)]) {
        self.counts.received(received.len() as u64);
        let mut places = Vec::with_capacity(received.len());
        let mut parcels = Vec::with_capacity(received.len());
        for ((source, length), payload) in received.iter().zip(memory.chunks(LONGEST)) {
            let chosen = match &mut self.choice {
                Choice::Random(picker) => picker.pick(),
                Choice::Flow { seed } => (flow_hash(*seed, *source) % self.targets.len() as u64) as usize,
            };
            let (place, target) = self.targets[chosen];
            places.push(place);
            parcels.push(Parcel { source: *source, target, payload: &payload[..*length] });
        }
        let counts = &self.counts;
        self.sender.send(&parcels, |index, result| match result {
            Ok(()) => counts.forwarded(places[index]),
            Err(_) => counts.refused(places[index]),
        });
    }
}

fn listener(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // An IPv4 exporter's datagram could go to no IPv6 node.
        socket.set_only_v6(true)?;
    }
    // As root beyond the system's limit, else up to it.
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_read_timeout(Some(IDLE))?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn source_of(address: Option<SockaddrStorage>) -> Option<SocketAddr> {
    let address = address?;
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::new(IpAddr::V4(v4.ip()), v4.port()));
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(SocketAddr::new(IpAddr::V6(v6.ip()), v6.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::tests::opened;
    use clap::Parser;
    use std::collections::BTreeMap;
    use std::net::UdpSocket;

    /// Of each exporter; few enough for the smallest receive buffer that a system has.
    const DATAGRAMS: u32 = 40;

    /// Source and payload.
    type Datagram = (SocketAddr, Vec<u8>);

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: SpreadArgs,
    }

    fn args(listen: &str, to: &[&UdpSocket], more: &str) -> SpreadArgs {
        let to: Vec<_> = to.iter().map(|node| node.local_addr().unwrap().to_string()).collect();
        let line = format!("test --listen {listen} --to {} {more}", to.join(","));
        Line::parse_from(line.split_whitespace()).args
    }

    fn node(address: &str) -> UdpSocket {
        let node = UdpSocket::bind(address).unwrap();
        node.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        node
    }

    /// Everything that lies in a node's buffer, which must be all that was forwarded to it.
    fn taken(node: &UdpSocket, count: u64) -> Vec<Datagram> {
        let mut buffer = vec![0; LONGEST];
        let taken = (0..count).map(|_| {
            let (length, source) = node.recv_from(&mut buffer).unwrap();
            (source, buffer[..length].to_vec())
        });
        let taken = taken.collect();
        node.set_nonblocking(true).unwrap();
        assert!(node.recv_from(&mut buffer).is_err(), "more than was counted");
        taken
    }

    /// Sends so many datagrams of each exporter through a spreader; what each of three nodes got.
    fn spread(host: &str, exporters: &[&str], more: &str) -> Option<[Vec<Datagram>; 3]> {
        opened(Family::of(exporters[0].parse().unwrap()))?;
        let any = format!("{host}:0");
        let nodes = [node(&any), node(&any), node(&any)];
        let spreading = Spreader::open(&args(&any, &nodes.each_ref(), more)).unwrap().start();
        let exporters: Vec<_> = exporters.iter().map(|address| UdpSocket::bind(address).unwrap()).collect();
        for number in 0..DATAGRAMS {
            for exporter in &exporters {
                let payload = number.to_be_bytes().repeat(1 + number as usize);
                exporter.send_to(&payload, spreading.addresses()[0]).unwrap();
            }
        }
        let ledger = spreading.stop().unwrap();
        let sent = u64::from(DATAGRAMS) * exporters.len() as u64;
        assert_eq!((ledger.received, ledger.kernel_dropped, ledger.errors), (sent, 0, 0));
        assert!(ledger.is_balanced(), "{ledger:?}");
        let got = [0, 1, 2].map(|at| taken(&nodes[at], ledger.targets[at].forwarded));
        // All nodes together have exactly what each exporter sent, under its own address and port.
        for exporter in &exporters {
            let source = exporter.local_addr().unwrap();
            let mut of_it: Vec<_> = got
                .iter()
                .flatten()
                .filter(|(from, _)| *from == source)
                .map(|(_, bytes)| bytes.clone())
                .collect();
            of_it.sort_by_key(Vec::len);
            let want: Vec<_> =
                (0..DATAGRAMS).map(|number| number.to_be_bytes().repeat(1 + number as usize)).collect();
            assert!(of_it == want, "{} datagrams of {source}", of_it.len());
        }
        Some(got)
    }

    #[test]
    fn any_node_gets_any_datagram_under_its_exporters_address() {
        let Some(got) = spread("127.0.0.1", &["127.1.0.1:0", "127.1.0.2:0"], "") else { return };
        assert!(got.iter().all(|datagrams| (12..45).contains(&datagrams.len())));
    }

    #[test]
    fn ipv6_exporters_keep_their_ports() {
        let Some(got) = spread("[::1]", &["[::1]:0", "[::1]:0"], "") else { return };
        assert!(got.iter().all(|datagrams| (12..45).contains(&datagrams.len())));
    }

    #[test]
    fn a_flow_stays_with_its_node() {
        let exporters = ["127.1.0.1:0", "127.1.0.2:0", "127.1.0.1:0"];
        let Some(got) = spread("127.0.0.1", &exporters, "--mode flow --seed 3") else { return };
        let mut nodes_of = BTreeMap::<SocketAddr, Vec<usize>>::new();
        for (node, datagrams) in got.iter().enumerate() {
            for (source, _) in datagrams {
                nodes_of.entry(*source).or_default().push(node);
            }
        }
        assert_eq!(nodes_of.len(), 3);
        for nodes in nodes_of.values_mut() {
            nodes.dedup();
            assert_eq!(nodes.len(), 1);
        }
    }

    #[test]
    fn an_address_without_a_node_of_its_family_is_refused() {
        let error = Spreader::open(&args("[::1]:0", &[&node("127.0.0.1:0")], "")).unwrap_err();
        assert!(error.to_string().contains("family"), "{error}");
    }
}
