//! One recvmmsg worth of messages: the buffers they are read into and what the kernel says about them.
//!
//! With UDP_GRO a message is a *train*: datagrams of one flow that the kernel put together, all of one
//! length but the last, which may be shorter. The segment length comes in a control message:
//!
//! ```text
//!   slot    | segment 0 | segment 1 | segment 2 | s3 |      4 datagrams, one source, one time stamp
//!           '-- size ---'                       '-- <= size
//!   control | len 32 | SOL_SOCKET | SCM_TIMESTAMPNS | seconds | nanoseconds |
//!           | len 20 | SOL_UDP    | UDP_GRO         | size: i32 | padding   |
//!            `usize`   `i32`        `i32`             entries start at multiples of size_of::<usize>()
//! ```
//!
//! The buffers are allocated once. Their pages stay untouched, and so cost no memory, until a datagram
//! long enough to need them arrives: a worker that sees ordinary datagrams occupies 64 pages of the 1,024.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::BorrowedFd;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::sys::{self, Control, Header, Name, VECTOR};

/// One datagram as the handler of [`Receiver::receive`](crate::Receiver::receive) gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<'a> {
    /// The UDP payload; may be empty.
    pub payload: &'a [u8],
    /// Who sent it; an IPv4-mapped IPv6 address has become IPv4.
    pub source: SocketAddr,
    /// Which socket it came in on: the index in the list given to [`Receiver::new`](crate::Receiver::new).
    pub listener: usize,
    /// When the kernel took it from the network device, in nanoseconds since 1970; the time of the read
    /// where the kernel says nothing. A train has the time of its first datagram.
    pub received_ns: u64,
    /// The datagram was longer than the slot and `payload` is only its head.
    pub truncated: bool,
}

/// The buffers of one reader and, after [`read`](Self::read), the messages in them.
pub(crate) struct MessageVector {
    payloads: Vec<u8>,
    slot: usize,
    names: Box<[Name; VECTOR]>,
    controls: Box<[Control; VECTOR]>,
    headers: Box<[Header; VECTOR]>,
    filled: usize,
    read_at_ns: u64,
}

/// One message: a datagram, or a train of them.
pub(crate) struct Message<'a> {
    payload: &'a [u8],
    source: SocketAddr,
    received_ns: u64,
    /// The segment length of a train; otherwise the length of the payload, and never 0.
    segment: usize,
    pub(crate) truncated: bool,
}

impl MessageVector {
    /// Buffers for messages of up to `slot` bytes.
    pub(crate) fn new(slot: usize) -> Self {
        Self {
            // Zeroed memory this large comes straight from the kernel, page by page as it is used.
            payloads: vec![0; slot * VECTOR],
            slot,
            names: Box::new([Name([0; _]); VECTOR]),
            controls: Box::new([Control([0; _]); VECTOR]),
            headers: Box::new([Header::default(); VECTOR]),
            filled: 0,
            read_at_ns: 0,
        }
    }

    /// Replaces the messages by what `socket` has waiting, without blocking.
    pub(crate) fn read(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.filled = 0;
        let (payloads, names, controls) = (&mut self.payloads, &mut self.names, &mut self.controls);
        self.filled = sys::receive_messages(socket, payloads, self.slot, names, controls, &mut self.headers)?;
        self.read_at_ns = wall_clock_ns();
        Ok(())
    }

    /// Whether every slot was used, so that the socket may have more.
    pub(crate) fn is_full(&self) -> bool {
        self.filled == VECTOR
    }

    /// The messages of the last read.
    pub(crate) fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        let slots = self.payloads.chunks_exact(self.slot).zip(self.names.iter()).zip(self.controls.iter());
        self.headers[..self.filled].iter().zip(slots).map(|(header, ((slot, name), control))| {
            let payload = &slot[..header.bytes.min(slot.len())];
            let Ancillary { received_ns, segment } = Ancillary::parse(&control.0, header.control_bytes);
            Message {
                payload,
                source: parse_name(&name.0, header.name_bytes),
                received_ns: received_ns.unwrap_or(self.read_at_ns),
                segment: segment.unwrap_or(payload.len()).max(1),
                truncated: header.flags & libc::MSG_TRUNC != 0,
            }
        })
    }
}

impl fmt::Debug for MessageVector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MessageVector")
            .field("slot", &self.slot)
            .field("filled", &self.filled)
            .finish_non_exhaustive()
    }
}

impl<'a> Message<'a> {
    pub(crate) fn bytes(&self) -> usize {
        self.payload.len()
    }

    /// How many datagrams it holds, at least one: an empty payload is an empty datagram.
    pub(crate) fn count(&self) -> usize {
        self.payload.len().div_ceil(self.segment).max(1)
    }

    /// The datagrams, in the order in which they arrived.
    pub(crate) fn datagrams(&self, listener: usize) -> impl Iterator<Item = Received<'a>> + use<'a> {
        let Self { payload, source, received_ns, segment, truncated } = *self;
        let last = self.count() - 1;
        (0..=last).map(move |index| {
            let start = index * segment;
            let end = payload.len().min(start + segment);
            // Only the end of a message can be cut off.
            Received {
                payload: &payload[start..end],
                source,
                listener,
                received_ns,
                truncated: truncated && index == last,
            }
        })
    }
}

/// What the control messages of one message say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ancillary {
    received_ns: Option<u64>,
    segment: Option<usize>,
}

impl Ancillary {
    /// Length, level and type, in the kernel's layout.
    const HEADER: usize = size_of::<usize>() + 2 * size_of::<i32>();

    fn parse(control: &[u8], written: usize) -> Self {
        let mut found = Self::default();
        let mut rest = &control[..written.min(control.len())];
        while let Some((header, _)) = rest.split_at_checked(Self::HEADER) {
            let (length, kind) = header.split_at(size_of::<usize>());
            let length = usize::from_ne_bytes(array(length));
            if length < Self::HEADER || length > rest.len() {
                break;
            }
            let (level, kind) =
                (i32::from_ne_bytes(array(&kind[..4])), i32::from_ne_bytes(array(&kind[4..])));
            found.take(level, kind, &rest[Self::HEADER..length]);
            rest = rest.get(length.next_multiple_of(size_of::<usize>())..).unwrap_or_default();
        }
        found
    }

    fn take(&mut self, level: i32, kind: i32, data: &[u8]) {
        const WORD: usize = size_of::<libc::c_long>();
        match (level, kind, data.len()) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, length) if length == 2 * WORD => {
                let (seconds, nanoseconds) = data.split_at(WORD);
                let seconds = libc::c_long::from_ne_bytes(array(seconds));
                let nanoseconds = libc::c_long::from_ne_bytes(array(nanoseconds));
                let time = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
                self.received_ns = u64::try_from(time).ok();
            }
            (libc::SOL_UDP, libc::UDP_GRO, 4) => {
                self.segment = usize::try_from(i32::from_ne_bytes(array(data))).ok();
            }
            _ => {}
        }
    }
}

/// Bytes whose number the caller has checked, as an array.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

/// The sender from a `sockaddr_in` (family, port, address) or `sockaddr_in6` (family, port, flow label,
/// address, scope); port and addresses are in network order, the rest in the machine's.
fn parse_name(name: &[u8], written: usize) -> SocketAddr {
    let family = i32::from(u16::from_ne_bytes(array(&name[..2])));
    let port = u16::from_be_bytes(array(&name[2..4]));
    if family == libc::AF_INET6 && written >= size_of::<libc::sockaddr_in6>() {
        let address = Ipv6Addr::from(array::<16>(&name[8..24]));
        let scope = u32::from_ne_bytes(array(&name[24..28]));
        match address.to_ipv4_mapped() {
            Some(address) => SocketAddr::from((address, port)),
            None => SocketAddrV6::new(address, port, 0, scope).into(),
        }
    } else if family == libc::AF_INET && written >= size_of::<libc::sockaddr_in>() {
        SocketAddr::from((array::<4>(&name[4..8]), port))
    } else {
        // The kernel names the sender of every datagram of an Internet socket; there is no other kind.
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
    }
}

fn wall_clock_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = (Ancillary::HEADER + data.len()).to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(size_of::<usize>()), 0);
        bytes
    }

    #[test]
    fn control_messages_are_found_in_any_order_among_others() {
        let time = [17_i64.to_ne_bytes(), 5_i64.to_ne_bytes()].concat();
        let time = entry(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &time);
        let segment = entry(libc::SOL_UDP, libc::UDP_GRO, &1200_i32.to_ne_bytes());
        let other = entry(libc::SOL_IP, libc::IP_TTL, &[64]);
        let expected = Ancillary { received_ns: Some(17_000_000_005), segment: Some(1200) };
        for control in [[&time, &segment, &other], [&other, &segment, &time]] {
            let control = control.into_iter().flatten().copied().collect::<Vec<u8>>();
            assert_eq!(Ancillary::parse(&control, control.len()), expected);
        }
    }

    #[test]
    fn cut_and_senseless_control_messages_end_the_list() {
        let control = entry(libc::SOL_UDP, libc::UDP_GRO, &1200_i32.to_ne_bytes());
        for length in 0..20 {
            assert_eq!(Ancillary::parse(&control, length), Ancillary::default(), "{length} bytes");
        }
        for length in [0_usize, 15, 1000, usize::MAX] {
            let mut control = control.clone();
            control[..size_of::<usize>()].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(Ancillary::parse(&control, control.len()), Ancillary::default(), "length {length}");
        }
    }

    fn train(payload: &[u8], segment: usize, truncated: bool) -> Vec<(Vec<u8>, bool)> {
        let source = SocketAddr::from(([127, 0, 0, 1], 1));
        let message = Message { payload, source, received_ns: 1, segment, truncated };
        let datagrams: Vec<_> =
            message.datagrams(0).map(|datagram| (datagram.payload.to_vec(), datagram.truncated)).collect();
        assert_eq!(datagrams.len(), message.count());
        datagrams
    }

    #[test]
    fn a_train_is_split_by_its_segment_length() {
        assert_eq!(train(b"aabb", 2, false), [(b"aa".to_vec(), false), (b"bb".to_vec(), false)]);
        assert_eq!(train(b"aab", 2, true), [(b"aa".to_vec(), false), (b"b".to_vec(), true)]);
        assert_eq!(train(b"aa", 2, false), [(b"aa".to_vec(), false)]);
        assert_eq!(train(b"", 1, false), [(Vec::new(), false)]);
    }
}
