//! Senders on the loopback interface, and a receiver's datagrams as owned values.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic fails the test that called")]

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use udp_receiver::{Gro, Receiver, ReceiverOptions, SocketGroup, SocketOptions, bind_group};

/// How long a test waits for what must come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A copy of what a handler was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub payload: Vec<u8>,
    pub source: SocketAddr,
    pub listener: usize,
    pub received_ns: u64,
    pub truncated: bool,
}

pub(crate) fn group(address: &str, workers: usize, gro: Gro) -> SocketGroup {
    bind_group(address.parse().unwrap(), workers, &SocketOptions { gro, ..SocketOptions::default() }).unwrap()
}

/// A receiver with one socket, and where to send.
pub(crate) fn receiver(address: &str, gro: Gro) -> (Receiver, SocketAddr) {
    let group = group(address, 1, gro);
    let to = group.local_address();
    (Receiver::new(group.into_sockets(), ReceiverOptions::default()), to)
}

pub(crate) fn sender(address: &str) -> UdpSocket {
    UdpSocket::bind(address).unwrap()
}

/// The wall clock in nanoseconds since 1970.
pub(crate) fn now_ns() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

/// Receives until there are `count` datagrams, and no more.
pub(crate) fn collect(receiver: &mut Receiver, count: usize) -> Vec<Datagram> {
    let deadline = Instant::now() + DEADLINE;
    let mut datagrams = Vec::new();
    while datagrams.len() < count {
        assert!(Instant::now() < deadline, "only {} of {count} datagrams came", datagrams.len());
        receiver
            .receive(Duration::from_millis(20), |datagram| {
                datagrams.push(Datagram {
                    payload: datagram.payload.to_vec(),
                    source: datagram.source,
                    listener: datagram.listener,
                    received_ns: datagram.received_ns,
                    truncated: datagram.truncated,
                });
            })
            .unwrap();
    }
    assert_eq!(datagrams.len(), count);
    datagrams
}

/// Sends `payload` as datagrams of `segment` bytes in one system call (UDP_SEGMENT).
pub(crate) fn send_train(from: &UdpSocket, to: SocketAddr, payload: &[u8], segment: libc::c_int) {
    // SAFETY: the kernel reads one c_int that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            from.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw const segment).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "UDP_SEGMENT: {}", io::Error::last_os_error());
    assert_eq!(from.send_to(payload, to).unwrap(), payload.len());
}
