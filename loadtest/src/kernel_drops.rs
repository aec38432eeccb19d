//! How many datagrams the kernel dropped at a UDP socket of this process because nobody had read those before.
//!
//! `/proc/net/udp` has a line for each socket: `sl local remote st tx:rx tr:tm retrnsmt uid timeout inode ref pointer drops`
//! (proc_net_udp). The socket's inode is that of its file descriptor.

use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

/// The count since the socket was opened; `None` where the system does not say.
pub fn of_socket(socket: &impl AsRawFd) -> Option<u64> {
    let inode = std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).ok()?.ino();
    // Of this thread: another may be in another network namespace.
    ["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"]
        .into_iter()
        .find_map(|table| in_table(&std::fs::read_to_string(table).ok()?, inode))
}

fn in_table(table: &str, inode: u64) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(9);
        let is_it = fields.next()?.parse::<u64>().is_ok_and(|found| found == inode);
        if is_it { fields.last()?.parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn what_does_not_fit_the_buffer_is_counted() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(of_socket(&receiver), Some(0));
        let mut dropped = 0;
        for _ in 0..10_000 {
            sender.send_to(&[0; 8_192], receiver.local_addr().unwrap()).unwrap();
            dropped = of_socket(&receiver).unwrap();
            if dropped > 0 {
                break;
            }
        }
        assert_eq!(dropped, 1);
        assert_eq!(of_socket(&UdpSocket::bind("[::1]:0").unwrap()), Some(0));
    }
}
