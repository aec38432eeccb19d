//! The program that picks a worker's socket by the source address of a datagram.
//!
//! Without it the kernel hashes addresses and ports, and an exporter that sends templates from one port
//! and data from another meets two workers. The program sees the datagram from its UDP payload on; the
//! IP header lies before that and is reached through the network offset (`SKF_NET_OFF`):
//!
//! ```text
//!   IPv4  | 4 | ... 12 bytes ... | source (1 word)  |      IPv6  | 6 | ... 8 bytes | source (4 words) |
//!   hash = w0 (IPv4), ((w0 * M ^ w1) * M ^ w2) * M ^ w3 (IPv6); then hash *= M; hash ^= hash >> 16
//!   socket = hash mod workers
//! ```
//!
//! The number it returns is the position in the SO_REUSEPORT group, which is the order of binding.

use std::io;
use std::os::fd::BorrowedFd;

use libc::sock_filter;

use crate::sys;

/// The golden ratio of 32 bits, odd: multiplying by it spreads neighbouring addresses.
const MULTIPLIER: u32 = 0x9E37_79B1;

const IPV4_SOURCE: u32 = 12;
const IPV6_SOURCE: u32 = 8;

/// Steers the group of `socket`, which has `workers` sockets.
pub(crate) fn attach(socket: BorrowedFd<'_>, workers: usize) -> io::Result<()> {
    let workers = u32::try_from(workers).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    sys::attach_reuseport_program(socket, &mut program(workers))
}

fn program(workers: u32) -> Vec<sock_filter> {
    use libc::{
        BPF_ABS, BPF_ALU, BPF_B, BPF_K, BPF_LD, BPF_MOD, BPF_MUL, BPF_RET, BPF_RSH, BPF_W, BPF_X, BPF_XOR,
    };

    let step = |code: u32, k: u32| sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let network = |offset: u32| (libc::SKF_NET_OFF as u32).wrapping_add(offset);
    let load = |offset| step(BPF_LD | BPF_W | BPF_ABS, network(offset));
    let multiply = step(BPF_ALU | BPF_MUL | BPF_K, MULTIPLIER);
    let to_x = step(libc::BPF_MISC | libc::BPF_TAX, 0);
    let xor_x = step(BPF_ALU | BPF_XOR | BPF_X, 0);

    let ipv4 = [load(IPV4_SOURCE)];
    let mut ipv6 = vec![load(IPV6_SOURCE)];
    for word in 1..4 {
        ipv6.extend([multiply, to_x, load(IPV6_SOURCE + 4 * word), xor_x]);
    }
    // Past the IPv4 part and the jump that ends it.
    let skip_ipv4 = sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | BPF_K) as u16,
        jt: ipv4.len() as u8 + 1,
        jf: 0,
        k: 6,
    };
    let skip_ipv6 = step(libc::BPF_JMP | libc::BPF_JA, ipv6.len() as u32);

    let mut program =
        vec![step(BPF_LD | BPF_B | BPF_ABS, network(0)), step(BPF_ALU | BPF_RSH | BPF_K, 4), skip_ipv4];
    program.extend(ipv4);
    program.push(skip_ipv6);
    program.extend(ipv6);
    program.extend([multiply, to_x, step(BPF_ALU | BPF_RSH | BPF_K, 16), xor_x]);
    program.extend([step(BPF_ALU | BPF_MOD | BPF_K, workers), step(BPF_RET | libc::BPF_A, 0)]);
    program
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr, UdpSocket};
    use std::time::{Duration, Instant};

    use super::MULTIPLIER;
    use crate::{Receiver, ReceiverOptions, SocketOptions, Steering, bind_group};

    /// What the program computes, written a second time.
    fn expected(source: IpAddr, workers: u32) -> usize {
        let hash = match source {
            IpAddr::V4(address) => address.to_bits(),
            IpAddr::V6(address) => {
                let words = (0..4).rev().map(|word| (address.to_bits() >> (32 * word)) as u32);
                words.reduce(|hash, word| hash.wrapping_mul(MULTIPLIER) ^ word).unwrap()
            }
        };
        let hash = hash.wrapping_mul(MULTIPLIER);
        ((hash ^ (hash >> 16)) % workers) as usize
    }

    /// Asserts that datagrams from each of `sources` meet the socket that [`expected`] says.
    fn check(listen: &str, sources: &[IpAddr], workers: u32) {
        let options = SocketOptions { steering: Steering::SourceAddress, ..SocketOptions::default() };
        let group = bind_group(listen.parse().unwrap(), workers as usize, &options).unwrap();
        let port = group.local_address().port();
        for source in sources {
            let sender = UdpSocket::bind((*source, 0)).unwrap();
            let host = if source.is_ipv4() { "127.0.0.1" } else { "::1" };
            sender.send_to(b"x", (host, port)).unwrap();
        }
        let mut receiver = Receiver::new(group.into_sockets(), ReceiverOptions::default());
        let (mut seen, deadline) = (0, Instant::now() + Duration::from_secs(20));
        while seen < sources.len() {
            assert!(Instant::now() < deadline, "{seen} of {} came", sources.len());
            let check = |datagram: crate::Received<'_>| {
                let source: SocketAddr = datagram.source;
                assert_eq!(datagram.listener, expected(source.ip(), workers), "{source} of {workers}");
                seen += 1;
            };
            receiver.receive(Duration::from_millis(20), check).unwrap();
        }
    }

    #[test]
    fn the_kernel_computes_what_is_drawn_above() {
        let v4: Vec<IpAddr> = (1..=40).map(|host| IpAddr::from([127, 1, 7, host])).collect();
        let v6: IpAddr = "::1".parse().unwrap();
        for workers in 2..=7 {
            check("127.0.0.1:0", &v4, workers);
            check("[::1]:0", &[v6], workers);
            check("[::]:0", &[&v4[..], &[v6]].concat(), workers);
        }
    }
}
