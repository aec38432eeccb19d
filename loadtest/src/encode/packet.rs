//! The first bytes of a sampled frame: Ethernet, perhaps an 802.1Q tag, IPv4 or IPv6, TCP or UDP, and zeros.

use super::Put;
use crate::model::{Addresses, GeneratedFlow, TCP};

/// Bytes of a frame that an agent copies into a sample, as most do.
pub(super) const SNAP_LENGTH: usize = 128;
/// Length of the Ethernet frame check sequence, which a sample's frame length includes and its header does not.
pub(super) const FCS_LENGTH: u16 = 4;

/// Ethernet header without a tag.
pub(crate) const ETHERNET_LENGTH: u16 = 14;
/// One 802.1Q tag.
pub(crate) const TAG_LENGTH: u16 = 4;
/// IPv4 header without options.
pub(crate) const IPV4_LENGTH: u16 = 20;
/// IPv6 fixed header.
pub(crate) const IPV6_LENGTH: u16 = 40;
/// TCP header without options.
pub(crate) const TCP_LENGTH: u16 = 20;
/// UDP header.
pub(crate) const UDP_LENGTH: u16 = 8;

/// Ethernet type of IPv4.
pub(crate) const ETHERTYPE_IPV4: u16 = 0x0800;
/// Ethernet type of IPv6.
pub(crate) const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_8021Q: u16 = 0x8100;
const DONT_FRAGMENT: u16 = 0x4000;
/// Locally administered unicast addresses 02:00:00:00:xx:xx.
const MAC_BASE: u64 = 0x0200_0000_0000;

/// Source MAC address of a flow's frames: its input interface's neighbour.
pub(crate) fn source_mac(flow: &GeneratedFlow) -> u64 {
    MAC_BASE | u64::from(flow.in_if) << 8 | 1
}

/// Destination MAC address of a flow's frames.
pub(crate) fn destination_mac(flow: &GeneratedFlow) -> u64 {
    MAC_BASE | u64::from(flow.out_if) << 8 | 2
}

/// Appends exactly [`SNAP_LENGTH`] bytes of a frame of `flow`.
pub(super) fn append(bytes: &mut Vec<u8>, flow: &GeneratedFlow) {
    let start = bytes.len();
    bytes.extend_from_slice(&destination_mac(flow).to_be_bytes()[2..]);
    bytes.extend_from_slice(&source_mac(flow).to_be_bytes()[2..]);
    let mut below_ip = ETHERNET_LENGTH + FCS_LENGTH;
    if let Some(vlan) = flow.vlan {
        bytes.put_u16(ETHERTYPE_8021Q);
        bytes.put_u16(vlan);
        below_ip += TAG_LENGTH;
    }
    let ip_length = flow.frame_length - below_ip;
    match flow.addresses {
        Addresses::V4 { src, dst, .. } => {
            bytes.put_u16(ETHERTYPE_IPV4);
            ipv4(bytes, flow, ip_length, src, dst);
            transport(bytes, flow, ip_length - IPV4_LENGTH);
        }
        Addresses::V6 { src, dst, .. } => {
            bytes.put_u16(ETHERTYPE_IPV6);
            bytes.put_u32(6 << 28 | u32::from(flow.tos) << 20 | flow.flow_label);
            bytes.put_u16(ip_length - IPV6_LENGTH);
            bytes.put_u8(flow.proto);
            bytes.put_u8(flow.ttl);
            bytes.extend_from_slice(&src.to_be_bytes());
            bytes.extend_from_slice(&dst.to_be_bytes());
            transport(bytes, flow, ip_length - IPV6_LENGTH);
        }
    }
    bytes.resize(start + SNAP_LENGTH, 0);
}

fn ipv4(bytes: &mut Vec<u8>, flow: &GeneratedFlow, length: u16, src: u32, dst: u32) {
    let start = bytes.len();
    bytes.put_u8(0x45);
    bytes.put_u8(flow.tos);
    bytes.put_u16(length);
    bytes.put_u16(flow.fragment_id);
    bytes.put_u16(DONT_FRAGMENT);
    bytes.put_u8(flow.ttl);
    bytes.put_u8(flow.proto);
    bytes.put_u16(0);
    bytes.put_u32(src);
    bytes.put_u32(dst);
    let checksum = internet_checksum(&bytes[start..]);
    bytes[start + 10..start + 12].copy_from_slice(&checksum.to_be_bytes());
}

fn transport(bytes: &mut Vec<u8>, flow: &GeneratedFlow, length: u16) {
    bytes.put_u16(flow.src_port);
    bytes.put_u16(flow.dst_port);
    if flow.proto == TCP {
        bytes.put_u32(flow.start_ms); // sequence number
        bytes.put_u32(0); // acknowledgement
        bytes.put_u8(((TCP_LENGTH / 4) << 4) as u8);
        bytes.put_u8(flow.tcp_flags);
        bytes.put_u16(0xffff); // window
        bytes.put_u32(0); // checksum (offloaded), urgent pointer
    } else {
        bytes.put_u16(length);
        bytes.put_u16(0); // no checksum
    }
}

/// RFC 1071, for an even number of bytes.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::super::tests::{datagrams, u16_at};
    use super::*;

    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        assert_eq!(internet_checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }

    #[test]
    fn frames_are_laid_out_as_on_the_wire() {
        let exporter = datagrams("--protocol sflow", 4).0;
        for number in 0..64 {
            let flow = exporter.flow(number);
            let mut frame = Vec::new();
            append(&mut frame, &flow);
            assert_eq!(frame.len(), SNAP_LENGTH);
            let mut at = 12;
            if let Some(vlan) = flow.vlan {
                assert_eq!((u16_at(&frame, at), u16_at(&frame, at + 2)), (ETHERTYPE_8021Q, vlan));
                at += 4;
            }
            let ip_end = usize::from(flow.frame_length - FCS_LENGTH);
            let (length, transport) = match flow.addresses {
                Addresses::V4 { .. } => {
                    assert_eq!(internet_checksum(&frame[at + 2..at + 22]), 0);
                    assert_eq!(frame[at + 11], flow.proto);
                    (usize::from(u16_at(&frame, at + 4)), at + 22)
                }
                Addresses::V6 { .. } => {
                    assert_eq!(frame[at + 8], flow.proto);
                    (usize::from(u16_at(&frame, at + 6)) + 40, at + 42)
                }
            };
            assert_eq!(at + 2 + length, ip_end);
            assert_eq!(u16_at(&frame, transport), flow.src_port);
            assert_eq!(u16_at(&frame, transport + 2), flow.dst_port);
        }
    }
}
