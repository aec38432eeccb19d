//! Sends trains of datagrams from an exporter's socket: one system call for many, with or without segmentation offload.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use clap::ValueEnum;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg, sendmsg};
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

use crate::targets::Picker;
use crate::train::Train;

/// Messages in one `sendmmsg`.
const BATCH: usize = 64;
const SEND_BUFFER: usize = 4 << 20;

/// How datagrams leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SendMode {
    /// UDP_SEGMENT trains: the kernel cuts one large write into datagrams. Cheapest.
    Gso,
    /// One message for each datagram, many in a sendmmsg, as on the wire from different senders.
    Plain,
}

/// What was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Datagrams that the kernel took.
    pub datagrams: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Datagrams that the kernel refused; they were not sent.
    pub errors: u64,
}

/// Why a socket cannot be made or used at all.
#[derive(Debug, Error)]
pub enum TransmitError {
    /// The source address is not one of this machine's, for example.
    #[error("cannot open a socket at source address {address}: {source}")]
    Bind {
        /// The exporter's address.
        address: IpAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel or the device cannot cut trains.
    #[error("the kernel refused a UDP_SEGMENT train ({0}): use --send plain")]
    Segmentation(Errno),
}

/// Sends trains and counts.
#[derive(Debug)]
pub struct Transmitter {
    mode: SendMode,
    headers: MultiHeaders<SockaddrStorage>,
    sent: Sent,
}

impl Transmitter {
    /// A transmitter that has sent nothing.
    pub fn new(mode: SendMode) -> Self {
        Self { mode, headers: MultiHeaders::preallocate(BATCH, None), sent: Sent::default() }
    }

    /// What was sent so far.
    pub fn sent(&self) -> Sent {
        self.sent
    }

    /// Sends all datagrams of `train` in order to one target. A datagram that the kernel refuses is counted and left out.
    pub fn send(&mut self, socket: &Socket, target: SocketAddr, train: &Train) -> Result<(), TransmitError> {
        match self.mode {
            SendMode::Gso => self.send_runs(socket, target, train),
            SendMode::Plain => {
                let targets = vec![Some(SockaddrStorage::from(target)); train.datagram_count().min(BATCH)];
                self.send_messages(socket, |_| &targets, train);
                Ok(())
            }
        }
    }

    /// As [`Transmitter::send`], each datagram to the one of `targets` that `picker` gives it. In GSO mode each target gets a
    /// train of its own; in both, what goes to one target stays in order.
    pub fn spread(
        &mut self,
        socket: &Socket,
        targets: &[SocketAddr],
        picker: &mut Picker,
        train: &Train,
    ) -> Result<(), TransmitError> {
        if let Some(only) = picker.always() {
            return self.send(socket, targets[only], train);
        }
        match self.mode {
            SendMode::Gso => {
                let mut parts: Vec<Train> = targets.iter().map(|_| Train::default()).collect();
                for datagram in train.datagrams() {
                    parts[picker.pick()].datagram(|bytes| bytes.extend_from_slice(datagram));
                }
                for (target, part) in targets.iter().zip(&parts) {
                    self.send_runs(socket, *target, part)?;
                }
            }
            SendMode::Plain => {
                let picked = (0..train.datagram_count()).map(|_| Some(targets[picker.pick()].into()));
                let picked: Vec<Option<SockaddrStorage>> = picked.collect();
                self.send_messages(socket, |first| &picked[first..], train);
            }
        }
        Ok(())
    }

    fn send_runs(&mut self, socket: &Socket, target: SocketAddr, train: &Train) -> Result<(), TransmitError> {
        let target = SockaddrStorage::from(target);
        for run in train.runs() {
            let segments = [ControlMessage::UdpGsoSegments(&run.segment)];
            let control = if run.datagrams > 1 { &segments[..] } else { &[] };
            let payload = [IoSlice::new(run.bytes)];
            match retry(|| sendmsg(socket.as_raw_fd(), &payload, control, MsgFlags::empty(), Some(&target))) {
                Ok(bytes) => {
                    self.sent.datagrams += run.datagrams;
                    self.sent.bytes += bytes as u64;
                }
                Err(errno @ (Errno::EIO | Errno::EINVAL | Errno::ENOPROTOOPT)) if run.datagrams > 1 => {
                    return Err(TransmitError::Segmentation(errno));
                }
                Err(_) => self.sent.errors += run.datagrams,
            }
        }
        Ok(())
    }

    /// `targets` gives those of a batch by the number of its first datagram.
    fn send_messages<'a>(
        &mut self,
        socket: &Socket,
        targets: impl Fn(usize) -> &'a [Option<SockaddrStorage>],
        train: &Train,
    ) {
        let payloads: Vec<[IoSlice<'_>; 1]> = train.datagrams().map(|bytes| [IoSlice::new(bytes)]).collect();
        let mut rest = &payloads[..];
        while !rest.is_empty() {
            let batch = &rest[..rest.len().min(BATCH)];
            let targets = targets(payloads.len() - rest.len());
            let taken = retry(|| {
                sendmmsg(socket.as_raw_fd(), &mut self.headers, batch, targets, [], MsgFlags::empty())
                    .map(Iterator::count)
            });
            // An error is that of the first message; the rest have not been tried.
            let taken = taken.unwrap_or(0);
            self.sent.datagrams += taken as u64;
            self.sent.bytes += batch[..taken].iter().map(|payload| payload[0].len() as u64).sum::<u64>();
            let refused = usize::from(taken == 0);
            self.sent.errors += refused as u64;
            rest = &rest[taken + refused..];
        }
    }
}

/// Tries again after a signal, and while a device queue is full: the driver frees it without our doing.
pub(crate) fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    const FULL_QUEUE_TRIES: u32 = 1_000;
    let mut full = 0;
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            Err(Errno::ENOBUFS | Errno::EAGAIN) if full < FULL_QUEUE_TRIES => {
                full += 1;
                std::thread::yield_now();
            }
            done => return done,
        }
    }
}

/// A socket that sends from `source`, any free port. It is not connected, as a router's is not: nobody listening at the
/// target is no error to it.
pub fn socket_at(source: IpAddr) -> Result<Socket, TransmitError> {
    let open = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address((source, 0).into()), Type::DGRAM, Some(Protocol::UDP))?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
        // The system's limit may be lower; what it grants is enough to keep the order.
        socket.set_send_buffer_size(SEND_BUFFER)?;
        Ok(socket)
    };
    open().map_err(|error| TransmitError::Bind { address: source, source: error })
}

/// Raises the limit of open files to what the system allows: each exporter has a socket.
pub fn allow_many_sockets() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Refused only where the limit is fixed; opening sockets then says so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, UdpSocket};
    use std::time::Duration;

    fn received_from(mode: SendMode, sizes: &[usize]) -> (Sent, Vec<usize>) {
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let source = IpAddr::from([127, 1, 2, 3]);
        let mut train = Train::default();
        for size in sizes {
            train.datagram(|bytes| bytes.resize(bytes.len() + size, 7));
        }
        let mut transmitter = Transmitter::new(mode);
        transmitter.send(&socket_at(source).unwrap(), receiver.local_addr().unwrap(), &train).unwrap();
        let mut buffer = [0; 2048];
        let lengths = sizes.iter().map(|_| {
            let (length, from) = receiver.recv_from(&mut buffer).unwrap();
            assert_eq!(from.ip(), source);
            length
        });
        let lengths = lengths.collect();
        (transmitter.sent(), lengths)
    }

    #[test]
    fn trains_arrive_as_the_datagrams_they_are_made_of() {
        let sizes = [500, 500, 500, 30, 500, 700];
        let (sent, lengths) = received_from(SendMode::Gso, &sizes);
        assert_eq!(lengths, sizes);
        assert_eq!(sent, Sent { datagrams: 6, bytes: 2_730, errors: 0 });
    }

    #[test]
    fn plain_messages_arrive_in_order_also_beyond_one_batch() {
        let sizes: Vec<usize> = (1..=BATCH + 3).collect();
        let (sent, lengths) = received_from(SendMode::Plain, &sizes);
        assert_eq!(lengths, sizes);
        assert_eq!(sent.errors, 0);
    }

    #[test]
    fn spread_datagrams_reach_the_target_that_was_picked_in_order() {
        for mode in [SendMode::Gso, SendMode::Plain] {
            let receivers = [(); 3].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
            let targets = receivers.each_ref().map(|receiver| receiver.local_addr().unwrap());
            let socket = socket_at(IpAddr::from([127, 1, 2, 5])).unwrap();
            let mut train = Train::default();
            (0..BATCH as u8 + 10).for_each(|number| train.datagram(|bytes| bytes.extend([number; 9])));
            let mut transmitter = Transmitter::new(mode);
            let picker = Picker::random(3, 5);
            transmitter.spread(&socket, &targets, &mut picker.clone(), &train).unwrap();
            let mut wanted = [(); 3].map(|()| Vec::new());
            let mut picks = picker;
            train.datagrams().for_each(|datagram| wanted[picks.pick()].push(datagram[0]));
            for (receiver, wanted) in receivers.iter().zip(wanted) {
                receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                let mut buffer = [0; 16];
                assert!(wanted.len() > 10);
                for number in wanted {
                    let (length, _) = receiver.recv_from(&mut buffer).unwrap();
                    assert_eq!(buffer[..length], [number; 9], "{mode:?}");
                }
            }
            assert_eq!(transmitter.sent().datagrams, BATCH as u64 + 10);
        }
    }

    #[test]
    fn a_refused_datagram_is_counted_and_the_rest_is_sent() {
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut train = Train::default();
        train.datagram(|bytes| bytes.resize(70_000, 0));
        train.datagram(|bytes| bytes.push(1));
        let mut transmitter = Transmitter::new(SendMode::Plain);
        let socket = socket_at(IpAddr::from([127, 1, 2, 4])).unwrap();
        transmitter.send(&socket, receiver.local_addr().unwrap(), &train).unwrap();
        assert_eq!(transmitter.sent(), Sent { datagrams: 1, bytes: 1, errors: 1 });
    }

    #[test]
    fn a_foreign_source_address_is_named() {
        let error = socket_at("203.0.113.77".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("203.0.113.77"), "{error}");
    }
}
