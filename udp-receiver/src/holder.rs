//! Who holds a port: /proc/net/udp{,6} (or tcp{,6}) gives the socket's inode, /proc/PID/fd who has it open.
//!
//! ```text
//!    sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ...
//!   713: 0100007F:0807 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 22917 ...
//!        address:port in hexadecimal; the address in 32-bit words of network order, printed in the
//!        machine's; IPv6 has four words
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Whose ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// UDP sockets that are bound.
    Udp,
    /// TCP sockets that listen.
    Tcp,
}

/// Somebody who has a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Holder {
    /// A process; several when a port is shared or a socket was inherited.
    Process {
        /// Its id, as seen from this process.
        pid: u32,
        /// Its name (`/proc/PID/comm`, at most 15 characters).
        command: String,
    },
    /// A socket of the kernel itself, such as that of VXLAN or WireGuard.
    Kernel,
    /// A process that cannot be seen from here: another user's, or one of another PID namespace.
    Hidden {
        /// The user it runs as.
        uid: u32,
    },
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, command } => write!(formatter, "pid {pid} ({command})"),
            Self::Kernel => formatter.write_str("the kernel itself (a tunnel such as VXLAN or WireGuard)"),
            Self::Hidden { uid } => {
                write!(formatter, "a process of uid {uid} that cannot be seen from here")
            }
        }
    }
}

/// The holders as part of a sentence.
#[derive(Debug, Clone, Copy)]
pub struct Holders<'a>(
    /// Everybody.
    pub &'a [Holder],
);

impl fmt::Display for Holders<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("a process that has just let go of it");
        }
        for (index, holder) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(formatter, "{separator}{holder}")?;
        }
        Ok(())
    }
}

/// Who stands in the way of binding `address`, each once.
pub fn holders_of(protocol: Protocol, address: SocketAddr) -> Vec<Holder> {
    let paths = match protocol {
        Protocol::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        Protocol::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
    };
    let tables = paths.map(|path| fs::read_to_string(path).unwrap_or_default());
    let in_the_way: Vec<Entry> = tables
        .iter()
        .flat_map(|table| table.lines().skip(1))
        .filter_map(Entry::parse)
        .filter(|entry| protocol == Protocol::Udp || entry.listens)
        .filter(|entry| entry.port == address.port() && overlap(entry.address, address.ip()))
        .collect();
    if in_the_way.is_empty() {
        return Vec::new();
    }
    let open = open_sockets();
    let mut holders = BTreeSet::new();
    for entry in in_the_way {
        let mut pids = open.iter().filter(|(inode, _)| *inode == entry.inode).map(|(_, pid)| *pid).peekable();
        if entry.inode == 0 {
            holders.insert(Holder::Kernel);
        } else if pids.peek().is_none() {
            holders.insert(Holder::Hidden { uid: entry.uid });
        }
        holders.extend(pids.map(|pid| Holder::Process { pid, command: command(pid) }));
    }
    holders.into_iter().collect()
}

/// One line of the kernel's table.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    address: IpAddr,
    port: u16,
    uid: u32,
    inode: u64,
    /// State 0A of a TCP socket.
    listens: bool,
}

impl Entry {
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (address, port) = fields.get(1)?.split_once(':')?;
        Some(Self {
            address: parse_address(address)?,
            port: u16::from_str_radix(port, 16).ok()?,
            uid: fields.get(7)?.parse().ok()?,
            inode: fields.get(9)?.parse().ok()?,
            listens: fields.get(3) == Some(&"0A"),
        })
    }
}

fn parse_address(hexadecimal: &str) -> Option<IpAddr> {
    let word = |start: usize| {
        let digits = hexadecimal.get(start..start + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    match hexadecimal.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut octets = [0; 16];
            for (index, octets) in octets.chunks_exact_mut(4).enumerate() {
                octets.copy_from_slice(&word(index * 8)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(octets)))
        }
        _ => None,
    }
}

/// Whether sockets on these two addresses would be given the same datagrams; `::` takes IPv4 as well.
fn overlap(one: IpAddr, other: IpAddr) -> bool {
    let (one, other) = (one.to_canonical(), other.to_canonical());
    let any =
        |address: IpAddr, other: IpAddr| address.is_unspecified() && (address.is_ipv6() || other.is_ipv4());
    one == other || any(one, other) || any(other, one)
}

/// The inode and process of every open socket that can be seen.
fn open_sockets() -> Vec<(u64, u32)> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.flat_map(|pid| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        descriptors.filter_map(move |descriptor| {
            let target = fs::read_link(descriptor.path()).ok()?;
            let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some((inode.parse().ok()?, pid))
        })
    })
    .collect()
}

fn command(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if name.is_empty() { "gone".to_owned() } else { name.trim_end().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn a_line_of_the_kernels_table_is_understood() {
        let line = "  713: 0100007F:0807 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 22917 2 0 0";
        let entry = Entry {
            address: "127.0.0.1".parse().unwrap(),
            port: 2055,
            uid: 1000,
            inode: 22917,
            listens: false,
        };
        assert_eq!(Entry::parse(line), Some(entry));
        let line = "1: B80D0120000000000000000001000000:12B7 0:0 07 0:0 00:0 0 0 0 77 2 0 0";
        let entry =
            Entry { address: "2001:db8::1".parse().unwrap(), port: 4791, uid: 0, inode: 77, listens: false };
        assert_eq!(Entry::parse(line), Some(entry));
    }

    #[test]
    fn anything_else_in_the_table_is_passed_over() {
        for line in ["", "713: 0100007F 0 0", "1: 0100007F:XX 0 0 0 0 0 0 0 0", "1: 01:0807 0 0 0 0 0 0 0 0"]
        {
            assert_eq!(Entry::parse(line), None, "{line}");
        }
    }

    #[test]
    fn addresses_overlap_where_the_kernel_says_so() {
        let overlap = |one: &str, other: &str| overlap(one.parse().unwrap(), other.parse().unwrap());
        for (one, other) in [
            ("127.0.0.1", "127.0.0.1"),
            ("0.0.0.0", "127.0.0.1"),
            ("127.0.0.1", "::"),
            ("0.0.0.0", "::"),
            ("::1", "::"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
        ] {
            assert!(overlap(one, other) && overlap(other, one), "{one} {other}");
        }
        for (one, other) in [("127.0.0.1", "127.0.0.2"), ("0.0.0.0", "::1"), ("::1", "::2")] {
            assert!(!overlap(one, other) && !overlap(other, one), "{one} {other}");
        }
    }

    #[test]
    fn a_holder_is_named_as_far_as_it_is_known() {
        let process = Holder::Process { pid: 17, command: "nfcapd".to_owned() };
        assert_eq!(process.to_string(), "pid 17 (nfcapd)");
        assert!(Holder::Hidden { uid: 5 }.to_string().contains("uid 5 that cannot be seen"));
    }
}
