//! What a socket has read, as plain integers that its one reader owns.

use std::ops::AddAssign;

/// Counts of one socket since its [`Receiver`](crate::Receiver) was made.
///
/// `datagrams` = datagrams whose handler returned + `abandoned` + `discarded`. What the kernel dropped
/// before anybody could read it is not in here; see [`SocketProbe`](crate::SocketProbe).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketStatistics {
    /// System calls that returned at least one message; `datagrams / reads` says how well batching works.
    pub reads: u64,
    /// Datagrams as they were on the wire, each segment of a train being one.
    pub datagrams: u64,
    /// Payload bytes of `datagrams`.
    pub bytes: u64,
    /// Messages that the kernel had coalesced from several datagrams (UDP_GRO).
    pub trains: u64,
    /// Messages longer than the slot, whose tail is lost.
    pub truncated: u64,
    /// Errors that the socket reported and that do not end it, such as an ICMP "port unreachable".
    pub errors: u64,
    /// Datagrams read whose handler did not return: the one it panicked on and the rest of that read.
    pub abandoned: u64,
    /// Datagrams read and thrown away by [`Receiver::discard_pending`](crate::Receiver::discard_pending).
    pub discarded: u64,
}

impl AddAssign for SocketStatistics {
    fn add_assign(&mut self, other: Self) {
        // Every field by name: a new one does not compile until it is summed as well.
        let Self { reads, datagrams, bytes, trains, truncated, errors, abandoned, discarded } = other;
        self.reads += reads;
        self.datagrams += datagrams;
        self.bytes += bytes;
        self.trains += trains;
        self.truncated += truncated;
        self.errors += errors;
        self.abandoned += abandoned;
        self.discarded += discarded;
    }
}

/// What one call of [`Receiver::receive`](crate::Receiver::receive) did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadSummary {
    /// Datagrams read from all sockets.
    pub datagrams: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Whether more may be waiting: then the next call reads without waiting first.
    pub more: bool,
}

impl ReadSummary {
    pub(crate) fn add(&mut self, other: Self) {
        self.datagrams += other.datagrams;
        self.bytes += other.bytes;
        self.more |= other.more;
    }
}
