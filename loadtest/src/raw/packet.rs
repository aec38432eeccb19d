//! UDP datagrams with the IP header that they leave with.
//!
//! ```text
//! IPv4   version/IHL TOS length | id flags/offset | TTL protocol checksum | source | destination       20 octets
//! IPv6   version/class/label | length next hop-limit | source | destination                            40 octets
//!        fragment header: next reserved | offset/M | identification                                     8 octets
//! UDP    source port destination port | length checksum                                                 8 octets
//! ```
//! RFC 791, RFC 8200 (4.5: fragments), RFC 768. The UDP checksum is always there, as IPv6 demands: a datagram without
//! one is never coalesced by a receiver's GRO, which real traffic is.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

const UDP: u8 = 17;
const FRAGMENT: u8 = 44;
const HOPS: u8 = 64;
const IPV4_LENGTH: usize = 20;
const IPV6_LENGTH: usize = 40;
const FRAGMENT_LENGTH: usize = 8;
const UDP_LENGTH: usize = 8;
const MORE_FRAGMENTS: u16 = 0x2000;
const MOST_HEADER: usize = IPV6_LENGTH + UDP_LENGTH;

/// A packet that every IPv6 link carries whole (RFC 8200 section 5), and every IPv4 link that anybody has.
const FRAGMENT_SIZE: usize = 1_280;

/// Source and destination of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    V4 { source: (Ipv4Addr, u16), target: (Ipv4Addr, u16) },
    V6 { source: (Ipv6Addr, u16), target: (Ipv6Addr, u16) },
}

/// The headers in front of a payload: IP and UDP.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    bytes: [u8; MOST_HEADER],
    length: usize,
}

impl Way {
    /// `None` where the two are of different families.
    pub(super) fn new(source: SocketAddr, target: SocketAddr) -> Option<Self> {
        match (source, target) {
            (SocketAddr::V4(source), SocketAddr::V4(target)) => Some(Self::V4 {
                source: (*source.ip(), source.port()),
                target: (*target.ip(), target.port()),
            }),
            (SocketAddr::V6(source), SocketAddr::V6(target)) => Some(Self::V6 {
                source: (*source.ip(), source.port()),
                target: (*target.ip(), target.port()),
            }),
            _ => None,
        }
    }

    /// The headers of a datagram that leaves in one piece; `None` where its length does not fit its header.
    pub(super) fn head(self, payload: &[u8]) -> Option<Head> {
        let udp = self.udp(payload)?;
        let mut bytes = [0; MOST_HEADER];
        let ip = match self {
            Self::V4 { source, target } => {
                let length = u16::try_from(IPV4_LENGTH + UDP_LENGTH + payload.len()).ok()?;
                bytes[..IPV4_LENGTH].copy_from_slice(&ipv4(source.0, target.0, length, 0, 0));
                IPV4_LENGTH
            }
            Self::V6 { source, target } => {
                let length = u16::try_from(UDP_LENGTH + payload.len()).ok()?;
                bytes[..IPV6_LENGTH].copy_from_slice(&ipv6(source.0, target.0, length, UDP));
                IPV6_LENGTH
            }
        };
        bytes[ip..ip + UDP_LENGTH].copy_from_slice(&udp);
        Some(Head { bytes, length: ip + UDP_LENGTH })
    }

    /// The whole datagram as fragments of at most [`FRAGMENT_SIZE`] octets. The kernel cuts no packet that has its header
    /// already. `id` must differ from those of the datagrams before, and for IPv4 must not be 0.
    pub(super) fn fragments(self, payload: &[u8], id: u32) -> Option<Vec<Vec<u8>>> {
        let mut whole = self.udp(payload)?.to_vec();
        whole.extend_from_slice(payload);
        let header = match self {
            Self::V4 { .. } => IPV4_LENGTH,
            Self::V6 { .. } => IPV6_LENGTH + FRAGMENT_LENGTH,
        };
        // Offsets count units of 8 octets, so all pieces but the last are a multiple of them.
        let most = (FRAGMENT_SIZE - header) & !7;
        let pieces = whole.chunks(most).enumerate();
        let last = whole.len().div_ceil(most) - 1;
        Some(pieces.map(|(at, piece)| self.fragment(id, at * most, at < last, piece)).collect())
    }

    fn fragment(self, id: u32, offset: usize, more: bool, piece: &[u8]) -> Vec<u8> {
        let mut packet = Vec::with_capacity(FRAGMENT_SIZE);
        match self {
            Self::V4 { source, target } => {
                let length = (IPV4_LENGTH + piece.len()) as u16;
                let position = (offset / 8) as u16 | if more { MORE_FRAGMENTS } else { 0 };
                packet.extend(ipv4(source.0, target.0, length, id as u16, position));
            }
            Self::V6 { source, target } => {
                let length = (FRAGMENT_LENGTH + piece.len()) as u16;
                packet.extend(ipv6(source.0, target.0, length, FRAGMENT));
                packet.extend([UDP, 0]);
                packet.extend((offset as u16 | u16::from(more)).to_be_bytes());
                packet.extend(id.to_be_bytes());
            }
        }
        packet.extend_from_slice(piece);
        packet
    }

    /// The UDP header; its checksum covers a pseudo header of addresses, protocol and length.
    fn udp(self, payload: &[u8]) -> Option<[u8; UDP_LENGTH]> {
        let length = u16::try_from(UDP_LENGTH + payload.len()).ok()?;
        let (addresses, source_port, target_port) = match self {
            Self::V4 { source, target } => {
                (sum(&source.0.octets()) + sum(&target.0.octets()), source.1, target.1)
            }
            Self::V6 { source, target } => {
                (sum(&source.0.octets()) + sum(&target.0.octets()), source.1, target.1)
            }
        };
        // The length counts twice: in the pseudo header and in the header itself.
        let words = [u16::from(UDP), length, source_port, target_port, length];
        let header: u64 = words.into_iter().map(u64::from).sum();
        let checksum = match !folded(addresses + header + sum(payload)) {
            0 => 0xffff, // 0 says that there is none
            checksum => checksum,
        };
        let [source_port, target_port, length, checksum] =
            [source_port, target_port, length, checksum].map(u16::to_be_bytes);
        Some([
            source_port[0],
            source_port[1],
            target_port[0],
            target_port[1],
            length[0],
            length[1],
            checksum[0],
            checksum[1],
        ])
    }
}

impl Head {
    /// The headers' octets.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// With an id of 0 the kernel chooses one.
fn ipv4(source: Ipv4Addr, target: Ipv4Addr, length: u16, id: u16, position: u16) -> [u8; IPV4_LENGTH] {
    let mut header = [0; IPV4_LENGTH];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&length.to_be_bytes());
    header[4..6].copy_from_slice(&id.to_be_bytes());
    header[6..8].copy_from_slice(&position.to_be_bytes());
    header[8] = HOPS;
    header[9] = UDP;
    header[12..16].copy_from_slice(&source.octets());
    header[16..20].copy_from_slice(&target.octets());
    let checksum = !folded(sum(&header));
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header
}

fn ipv6(source: Ipv6Addr, target: Ipv6Addr, length: u16, next: u8) -> [u8; IPV6_LENGTH] {
    let mut header = [0; IPV6_LENGTH];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&length.to_be_bytes());
    header[6] = next;
    header[7] = HOPS;
    header[8..24].copy_from_slice(&source.octets());
    header[24..40].copy_from_slice(&target.octets());
    header
}

/// The Internet checksum's sum (RFC 1071), not yet folded. Words of 32 bits give the same result as words of 16.
fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(4);
    let mut rest = [0; 4];
    rest[..words.remainder().len()].copy_from_slice(words.remainder());
    let whole: u64 =
        words.map(|word| u64::from(u32::from_be_bytes([word[0], word[1], word[2], word[3]]))).sum();
    whole + u64::from(u32::from_be_bytes(rest))
}

fn folded(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{InternetSlice, SlicedPacket, TransportSlice};
    use proptest::prelude::*;

    /// What an independent parser reads: source, destination, payload; with both checksums as it computes them.
    fn parsed(packet: &[u8]) -> (SocketAddr, SocketAddr, Vec<u8>) {
        let sliced = SlicedPacket::from_ip(packet).unwrap();
        let Some(TransportSlice::Udp(udp)) = sliced.transport else { panic!("{sliced:?}") };
        let header = udp.to_header();
        let (source, target) = match sliced.net.unwrap() {
            InternetSlice::Ipv4(ip) => {
                let ip = ip.header();
                assert_eq!(ip.header_checksum(), ip.to_header().calc_header_checksum());
                let checksum = header.calc_checksum_ipv4(&ip.to_header(), udp.payload()).unwrap();
                assert_eq!(header.checksum, checksum);
                (ip.source_addr().into(), ip.destination_addr().into())
            }
            InternetSlice::Ipv6(ip) => {
                let ip = ip.header();
                let checksum = header.calc_checksum_ipv6(&ip.to_header(), udp.payload()).unwrap();
                assert_eq!(header.checksum, checksum);
                (ip.source_addr().into(), ip.destination_addr().into())
            }
            InternetSlice::Arp(_) => panic!("not IP"),
        };
        let (source, target) =
            (SocketAddr::new(source, header.source_port), SocketAddr::new(target, header.destination_port));
        (source, target, udp.payload().to_vec())
    }

    fn whole(source: SocketAddr, target: SocketAddr, payload: &[u8]) -> Vec<u8> {
        let head = Way::new(source, target).unwrap().head(payload).unwrap();
        [head.bytes(), payload].concat()
    }

    proptest! {
        #[test]
        fn an_independent_parser_agrees(v6: bool, a: u128, b: u128, ports: (u16, u16), payload in prop::collection::vec(any::<u8>(), 0..1500)) {
            let address = |bits: u128, port| if v6 {
                SocketAddr::from((Ipv6Addr::from_bits(bits), port))
            } else {
                SocketAddr::from((Ipv4Addr::from_bits(bits as u32), port))
            };
            let (source, target) = (address(a, ports.0), address(b, ports.1));
            prop_assert_eq!(parsed(&whole(source, target, &payload)), (source, target, payload));
        }
    }

    #[test]
    fn fragments_hold_the_datagram_in_order() {
        let payload: Vec<u8> = (0..4_900_u32).map(|at| (at * 7) as u8).collect();
        for (source, target) in [("127.1.0.1:5", "127.0.0.2:6"), ("[fd00::1]:5", "[fd00::2]:6")] {
            let (source, target) = (source.parse().unwrap(), target.parse().unwrap());
            let fragments = Way::new(source, target).unwrap().fragments(&payload, 77).unwrap();
            assert_eq!(fragments.len(), 4);
            let mut joined = Vec::new();
            for (at, fragment) in fragments.iter().enumerate() {
                assert!(fragment.len() <= FRAGMENT_SIZE);
                let header = if source.is_ipv4() { IPV4_LENGTH } else { IPV6_LENGTH + FRAGMENT_LENGTH };
                let more = if source.is_ipv4() { fragment[6] & 0x20 != 0 } else { fragment[43] & 1 != 0 };
                assert_eq!(more, at < 3);
                let offset = if source.is_ipv4() {
                    usize::from(u16::from_be_bytes([fragment[6], fragment[7]]) & 0x1fff) * 8
                } else {
                    usize::from(u16::from_be_bytes([fragment[42], fragment[43]]) & !7)
                };
                assert_eq!(offset, joined.len());
                joined.extend_from_slice(&fragment[header..]);
                assert!(SlicedPacket::from_ip(fragment).unwrap().is_ip_payload_fragmented());
            }
            assert_eq!(joined[UDP_LENGTH..], payload);
            assert_eq!(joined[..UDP_LENGTH], Way::new(source, target).unwrap().udp(&payload).unwrap());
        }
    }

    #[test]
    fn what_does_not_fit_a_header_is_refused() {
        let way = Way::new("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()).unwrap();
        assert!(way.head(&[0; 65_507]).is_some());
        assert!(way.head(&[0; 65_508]).is_none());
        assert_eq!(Way::new("127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()), None);
    }
}
