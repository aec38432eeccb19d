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
