//! The reader of one worker: one socket of each listener, read in turn on one thread.
//!
//! A call of [`Receiver::receive`] is one wait (see [`pacing`](crate::pacing)) and one pass: a recvmmsg
//! on each socket that may have something, its datagrams handed on before the next socket is read. So
//! the sockets share one set of buffers, a busy listener cannot starve another, and the caller gets
//! control back after at most 64 messages per socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use crate::message::{MessageVector, Received};
use crate::pacing::{Next, Pacing, Waiting};
use crate::socket::Socket;
use crate::statistics::{ReadSummary, SocketStatistics};
use crate::sys;

/// How a [`Receiver`] reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiverOptions {
    /// Whether it may pause at high rates.
    pub waiting: Waiting,
    /// Room for one message in bytes (at least 1). 65,536 holds every datagram and every train; with
    /// less, longer ones are truncated. Memory is used only as far as messages are long.
    pub slot_bytes: usize,
}

impl Default for ReceiverOptions {
    /// Adaptive waiting, nothing truncated.
    fn default() -> Self {
        Self { waiting: Waiting::Adaptive, slot_bytes: 1 << 16 }
    }
}

/// Reads the sockets of one worker. See the [crate documentation](crate).
///
/// It outlives a panic of the handler and the thread it ran on: see [`receive`](Self::receive).
#[derive(Debug)]
pub struct Receiver {
    sockets: Vec<Socket>,
    statistics: Vec<SocketStatistics>,
    polls: Vec<libc::pollfd>,
    messages: MessageVector,
    pacing: Pacing,
}

/// What a pass does with the datagrams.
#[derive(Clone, Copy)]
enum Purpose {
    HandOn,
    Discard,
}

/// The most reads that one `discard_pending` does on one socket, so that a flood cannot hold the caller.
const DISCARD_READS: usize = 1 << 12;

impl Receiver {
    /// A receiver for `sockets`; a datagram's `listener` is the index in this list.
    pub fn new(sockets: Vec<Socket>, options: ReceiverOptions) -> Self {
        let poll = |socket: &Socket| libc::pollfd {
            fd: socket.as_fd().as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        Self {
            statistics: vec![SocketStatistics::default(); sockets.len()],
            polls: sockets.iter().map(poll).collect(),
            messages: MessageVector::new(options.slot_bytes.max(1)),
            pacing: Pacing::new(options.waiting, Instant::now()),
            sockets,
        }
    }

    /// Waits until there are datagrams, at most for `timeout`, reads every socket once and calls
    /// `handler` for each datagram, in order of arrival per source. Returns early with nothing read
    /// when a signal interrupts the wait.
    ///
    /// # Panics
    /// Only when `handler` does. The receiver remains usable: that datagram and the rest of the same
    /// read (at most 64 messages) are lost and counted as [`SocketStatistics::abandoned`]; datagrams
    /// that were not read yet, and other sockets, lose nothing.
    ///
    /// # Errors
    /// When waiting or reading fails for a reason that a later call will meet again. The other sockets
    /// have been read. What a network can cause (ICMP errors, an interface going down) is counted as
    /// [`SocketStatistics::errors`] instead.
    pub fn receive(
        &mut self,
        timeout: Duration,
        mut handler: impl FnMut(Received<'_>),
    ) -> io::Result<ReadSummary> {
        self.wait(timeout)?;
        let mut summary = ReadSummary::default();
        let mut failure = None;
        for listener in 0..self.sockets.len() {
            if self.polls[listener].revents == 0 {
                continue;
            }
            match self.read(listener, Purpose::HandOn, &mut handler) {
                Ok(read) => summary.add(read),
                Err(error) => failure = Some(error),
            }
        }
        self.pacing.passed(Instant::now(), summary.datagrams, summary.more);
        failure.map_or(Ok(summary), Err)
    }

    /// Reads and throws away what is waiting, counted as [`SocketStatistics::discarded`]: for the end of
    /// a pause during which datagrams have grown too old to be of use. Where they come faster than they
    /// can be thrown away it gives up after 262,144 messages per socket.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn discard_pending(&mut self) -> io::Result<ReadSummary> {
        let mut summary = ReadSummary::default();
        for listener in 0..self.sockets.len() {
            for _ in 0..DISCARD_READS {
                let read = self.read(listener, Purpose::Discard, &mut |_| {})?;
                let more = read.more;
                summary.add(ReadSummary { more: false, ..read });
                if !more {
                    break;
                }
            }
        }
        Ok(summary)
    }

    /// What has been read so far, per socket.
    pub fn statistics(&self) -> &[SocketStatistics] {
        &self.statistics
    }

    /// The sum over all sockets.
    pub fn total(&self) -> SocketStatistics {
        let mut total = SocketStatistics::default();
        for statistics in &self.statistics {
            total += *statistics;
        }
        total
    }

    /// The sockets, to make probes of.
    pub fn sockets(&self) -> &[Socket] {
        &self.sockets
    }

    /// Waits as the pacing says, and marks the sockets to read in `polls[..].revents`.
    fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        match self.pacing.next(timeout) {
            Next::Block => {
                for poll in &mut self.polls {
                    poll.revents = 0;
                }
                return match sys::wait_readable(&mut self.polls, timeout) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
                    result => result,
                };
            }
            Next::Pause(duration) => {
                pause(duration);
                let fill = self.fullest_buffer();
                self.pacing.paused(Instant::now(), fill);
            }
            Next::Read => {}
        }
        for poll in &mut self.polls {
            poll.revents = libc::POLLIN;
        }
        Ok(())
    }

    /// The usage of the fullest buffer; one that cannot be asked counts as full, which all but ends pauses.
    fn fullest_buffer(&self) -> f64 {
        let ratio = |socket: &Socket| socket.buffer_usage().map_or(1.0, |usage| usage.ratio());
        self.sockets.iter().map(ratio).fold(0.0, f64::max)
    }

    /// One recvmmsg.
    fn read(
        &mut self,
        listener: usize,
        purpose: Purpose,
        handler: &mut impl FnMut(Received<'_>),
    ) -> io::Result<ReadSummary> {
        let statistics = &mut self.statistics[listener];
        loop {
            match self.messages.read(self.sockets[listener].as_fd()) {
                Ok(()) => break,
                Err(error) => match ReadFailure::of(&error) {
                    ReadFailure::Again => {}
                    ReadFailure::Nothing => return Ok(ReadSummary::default()),
                    ReadFailure::Passing => {
                        statistics.errors += 1;
                        return Ok(ReadSummary::default());
                    }
                    ReadFailure::Lasting => return Err(error),
                },
            }
        }
        let mut summary = ReadSummary { more: self.messages.is_full(), ..ReadSummary::default() };
        for message in self.messages.messages() {
            let datagrams = message.count() as u64;
            summary.datagrams += datagrams;
            summary.bytes += message.bytes() as u64;
            statistics.trains += u64::from(datagrams > 1);
            statistics.truncated += u64::from(message.truncated);
        }
        statistics.reads += 1;
        statistics.datagrams += summary.datagrams;
        statistics.bytes += summary.bytes;
        match purpose {
            Purpose::Discard => statistics.discarded += summary.datagrams,
            Purpose::HandOn => {
                let mut unhandled = Unhandled { datagrams: summary.datagrams, statistics };
                for datagram in self.messages.messages().flat_map(|message| message.datagrams(listener)) {
                    handler(datagram);
                    unhandled.datagrams -= 1;
                }
            }
        }
        Ok(summary)
    }
}

/// Counts what a panicking handler leaves behind.
struct Unhandled<'a> {
    datagrams: u64,
    statistics: &'a mut SocketStatistics,
}

impl Drop for Unhandled<'_> {
    fn drop(&mut self) {
        self.statistics.abandoned += self.datagrams;
    }
}

/// What a failed read means for the socket.
enum ReadFailure {
    /// Interrupted by a signal.
    Again,
    /// Nothing is waiting.
    Nothing,
    /// An error that the kernel reports once, caused by the network or a lack of memory.
    Passing,
    /// The socket is no longer usable.
    Lasting,
}

impl ReadFailure {
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EINTR) => Self::Again,
            Some(libc::EAGAIN) => Self::Nothing,
            Some(
                libc::ECONNREFUSED
                | libc::ECONNRESET
                | libc::EHOSTUNREACH
                | libc::EHOSTDOWN
                | libc::ENETUNREACH
                | libc::ENETDOWN
                | libc::ENONET
                | libc::ENOPROTOOPT
                | libc::EPROTO
                | libc::EOPNOTSUPP
                | libc::EACCES
                | libc::EMSGSIZE
                | libc::ENOBUFS
                | libc::ENOMEM,
            ) => Self::Passing,
            _ => Self::Lasting,
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the adaptive wait: its length is bounded by the buffer's usage"
)]
fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
