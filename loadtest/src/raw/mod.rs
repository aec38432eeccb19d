//! Sends UDP datagrams from any source address and port through a raw socket (IP_HDRINCL, IPV6_HDRINCL).
//!
//! This is the one way that works wherever exporter, sender and receiver are: a socket bound to the exporter's own address
//! (IP_TRANSPARENT) could not have the port that the exporter's socket holds when both are in one network namespace. It
//! needs CAP_NET_RAW. A packet with its own header is never cut by the kernel, so datagrams above the MTU of
//! their way are fragmented here: the first that the kernel refuses for its size says that they must be.
//!
//! Invariant: every parcel given to [`RawSender::send`] has exactly one outcome.

mod packet;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

use crate::transmit::retry;
use packet::{Head, Way};

/// Messages in one `sendmmsg`.
pub const BATCH: usize = 64;
const SEND_BUFFER: usize = 4 << 20;
/// IPPROTO_RAW: the sender writes the header, and nothing that arrives is given to the socket.
const RAW: i32 = 255;

/// Why nothing can be sent through a raw socket.
#[derive(Debug, Error)]
pub enum RawError {
    /// The process may not.
    #[error("a raw socket keeps the exporters' source addresses and needs root or CAP_NET_RAW: {0}")]
    NotAllowed(io::Error),
    /// The system cannot.
    #[error("cannot open a raw socket: {0}")]
    Open(io::Error),
}

/// A datagram to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Parcel<'a> {
    /// Whom it comes from.
    pub source: SocketAddr,
    /// Where it goes; of the same family.
    pub target: SocketAddr,
    /// The UDP payload.
    pub payload: &'a [u8],
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Whose address it is.
    pub fn of(address: SocketAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// Sends for one family.
#[derive(Debug)]
pub struct RawSender {
    socket: Socket,
    /// Payloads longer than this were refused in one piece.
    longest: usize,
    fragment_id: u32,
}

/// A parcel with its headers, ready to leave in one piece.
struct Ready<'a> {
    index: usize,
    head: Head,
    parcel: Parcel<'a>,
}

impl RawSender {
    /// Opens the socket.
    pub fn open(family: Family) -> Result<Self, RawError> {
        let open = || -> io::Result<Socket> {
            let domain = if family == Family::V4 { Domain::IPV4 } else { Domain::IPV6 };
            let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(RAW)))?;
            match family {
                Family::V4 => socket.set_header_included_v4(true)?,
                Family::V6 => socket.set_header_included_v6(true)?,
            }
            socket.set_send_buffer_size(SEND_BUFFER)?;
            Ok(socket)
        };
        let socket = open().map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => RawError::NotAllowed(error),
            _ => RawError::Open(error),
        })?;
        Ok(Self { socket, longest: usize::MAX, fragment_id: 0 })
    }

    /// Sends all parcels in order; says of each, by its index, whether the kernel took it.
    pub fn send(&mut self, parcels: &[Parcel<'_>], mut outcome: impl FnMut(usize, Result<(), Errno>)) {
        let mut ready: Vec<Ready<'_>> = Vec::with_capacity(BATCH);
        for (index, parcel) in parcels.iter().enumerate() {
            if parcel.payload.len() > self.longest {
                self.send_ready(&mut ready, &mut outcome);
                outcome(index, self.send_fragments(parcel));
                continue;
            }
            match Way::new(parcel.source, parcel.target).ok_or(Errno::EAFNOSUPPORT) {
                Ok(way) => match way.head(parcel.payload) {
                    Some(head) => ready.push(Ready { index, head, parcel: *parcel }),
                    None => outcome(index, Err(Errno::EMSGSIZE)),
                },
                Err(errno) => outcome(index, Err(errno)),
            }
            if ready.len() == BATCH {
                self.send_ready(&mut ready, &mut outcome);
            }
        }
        self.send_ready(&mut ready, &mut outcome);
    }

    fn send_ready(&mut self, ready: &mut Vec<Ready<'_>>, outcome: &mut impl FnMut(usize, Result<(), Errno>)) {
        let mut done = 0;
        while done < ready.len() {
            match self.send_batch(&ready[done..]) {
                Ok(taken) => {
                    ready[done..done + taken].iter().for_each(|sent| outcome(sent.index, Ok(())));
                    done += taken;
                }
                // An error is that of the first; the rest have not been tried.
                Err(errno) => {
                    let refused = &ready[done];
                    let result = if errno == Errno::EMSGSIZE {
                        self.longest = self.longest.min(refused.parcel.payload.len().saturating_sub(1));
                        self.send_fragments(&refused.parcel)
                    } else {
                        Err(errno)
                    };
                    outcome(refused.index, result);
                    done += 1;
                }
            }
        }
        ready.clear();
    }

    fn send_batch(&self, ready: &[Ready<'_>]) -> Result<usize, Errno> {
        let slices: Vec<[IoSlice<'_>; 2]> = ready
            .iter()
            .map(|ready| [IoSlice::new(ready.head.bytes()), IoSlice::new(ready.parcel.payload)])
            .collect();
        let targets: Vec<Option<SockaddrStorage>> =
            ready.iter().map(|ready| Some(without_port(ready.parcel.target))).collect();
        // Made for each batch: they hold pointers, and a sender that kept them could not go to another thread.
        let mut headers = MultiHeaders::preallocate(ready.len(), None);
        let socket = self.socket.as_raw_fd();
        retry(|| {
            sendmmsg(socket, &mut headers, &slices, &targets, [], MsgFlags::empty()).map(Iterator::count)
        })
    }

    /// A datagram of which not all fragments leave counts as refused: its receiver will not see it.
    fn send_fragments(&mut self, parcel: &Parcel<'_>) -> Result<(), Errno> {
        let way = Way::new(parcel.source, parcel.target).ok_or(Errno::EAFNOSUPPORT)?;
        // 16 bits of it are all that IPv4 has, and 0 would be replaced.
        self.fragment_id = self.fragment_id % 0xffff + 1;
        let fragments = way.fragments(parcel.payload, self.fragment_id).ok_or(Errno::EMSGSIZE)?;
        let target = socket2::SockAddr::from(SocketAddr::new(parcel.target.ip(), 0));
        for fragment in fragments {
            retry(|| self.socket.send_to(&fragment, &target).map_err(|error| errno_of(&error)))?;
        }
        Ok(())
    }
}

/// The port in a raw socket's destination would be taken for a protocol (raw(7)).
fn without_port(target: SocketAddr) -> SockaddrStorage {
    SocketAddr::new(target.ip(), 0).into()
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::time::Duration;

    /// `None`, said aloud, where the test may not open raw sockets.
    pub(crate) fn opened(family: Family) -> Option<RawSender> {
        match RawSender::open(family) {
            Err(RawError::NotAllowed(error)) => {
                println!("NOT RUN: {error}");
                None
            }
            opened => Some(opened.unwrap()),
        }
    }

    fn received(receiver: &UdpSocket) -> (SocketAddr, Vec<u8>) {
        let mut buffer = vec![0; 65_536];
        let (length, source) = receiver.recv_from(&mut buffer).unwrap();
        (source, buffer[..length].to_vec())
    }

    fn receiver(address: &str) -> UdpSocket {
        let receiver = UdpSocket::bind(address).unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        receiver
    }

    #[test]
    fn datagrams_carry_the_source_that_they_are_given() {
        for (family, address, source) in
            [(Family::V4, "127.0.0.1:0", "127.1.2.3:777"), (Family::V6, "[::1]:0", "[::1]:778")]
        {
            let Some(mut sender) = opened(family) else { return };
            let receiver = receiver(address);
            let (source, target) = (source.parse().unwrap(), receiver.local_addr().unwrap());
            let payloads: Vec<Vec<u8>> = (0..BATCH + 2).map(|size| vec![7; size]).collect();
            let parcels: Vec<_> = payloads.iter().map(|payload| Parcel { source, target, payload }).collect();
            let mut outcomes = Vec::new();
            sender.send(&parcels, |index, result| outcomes.push((index, result)));
            assert_eq!(outcomes, (0..BATCH + 2).map(|index| (index, Ok(()))).collect::<Vec<_>>());
            for payload in &payloads {
                assert_eq!(received(&receiver), (source, payload.clone()));
            }
        }
    }

    #[test]
    fn the_longest_datagrams_arrive_whole_beside_short_ones() {
        for (family, address, source, longest) in [
            (Family::V4, "127.0.0.1:0", "127.1.2.3:777", 65_507),
            // Longer than the loopback device's MTU: this one must be cut.
            (Family::V6, "[::1]:0", "[::1]:778", 65_527),
        ] {
            let Some(mut sender) = opened(family) else { return };
            let receiver = receiver(address);
            let (source, target) = (source.parse().unwrap(), receiver.local_addr().unwrap());
            let long: Vec<u8> = (0..longest as u32).map(|at| ((at * 31) >> 3) as u8).collect();
            let payloads = [&b"before"[..], &long, b"after", &long];
            for payload in payloads {
                let mut results = Vec::new();
                sender.send(&[Parcel { source, target, payload }], |_, result| results.push(result));
                assert_eq!(results, [Ok(())]);
                let (from, bytes) = received(&receiver);
                assert!(bytes == payload && from == source, "{} octets from {from}", bytes.len());
            }
            assert_eq!(sender.longest < usize::MAX, family == Family::V6);
        }
    }

    #[test]
    fn a_parcel_between_families_is_refused_and_the_rest_leaves() {
        let Some(mut sender) = opened(Family::V4) else { return };
        let receiver = receiver("127.0.0.1:0");
        let target = receiver.local_addr().unwrap();
        let parcel = |source: &str| Parcel { source: source.parse().unwrap(), target, payload: b"x" };
        let mut outcomes = Vec::new();
        sender.send(&[parcel("[::1]:5"), parcel("127.1.2.3:5")], |index, result| {
            outcomes.push((index, result));
        });
        assert_eq!(outcomes, [(0, Err(Errno::EAFNOSUPPORT)), (1, Ok(()))]);
        assert_eq!(received(&receiver), ("127.1.2.3:5".parse().unwrap(), b"x".to_vec()));
    }
}
