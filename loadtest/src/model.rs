//! What a generated record says: a pure function of (seed, exporter, record number).
//!
//! The generator encodes a [`GeneratedFlow`] into an export datagram; the verifier computes the same one again from the
//! identity it finds in a record and compares every value. Nothing here knows of a wire format.
//!
//! Time is virtual: an exporter booted at the workload's boot time and finishes one record in each millisecond, starting
//! an hour after the boot. So times are exact and do not depend on when, or how fast, the records are sent.

use crate::identity::{Identities, mix};
use crate::workload::Protocol;

/// Milliseconds from the boot of an exporter to the end of its first flow.
pub const FIRST_FLOW_END_MS: u32 = 3_600_000;

/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;

const SOURCE_PORT_BASE: u16 = 0xc000;
const V4_NET: u32 = 0x0a00_0000;
const V6_SOURCE_NET: u128 = 0x2001_0db8_0000_0001 << 64;
const V6_DESTINATION_NET: u128 = 0x2001_0db8_0000_0002 << 64;
const V6_NEXT_HOP_NET: u128 = 0xfe80 << 112;
const V4_NEXT_HOP_NET: u32 = 0xc0a8_0000;
const LOW_24: u32 = 0x00ff_ffff;

const TCP_PORTS: [u16; 8] = [443, 443, 80, 22, 25, 8443, 9092, 5432];
const UDP_PORTS: [u16; 8] = [443, 53, 53, 123, 443, 3478, 161, 4500];
const TCP_FLAGS: [u8; 4] = [0x02, 0x18, 0x1b, 0x12];
const FORWARDING: [u8; 4] = [64, 64, 66, 130];

/// Application names by the record number modulo 4. All names of a row have one length, so that datagrams of a whole
/// number of rows have one size and can leave as one train.
const APPLICATIONS: [[&str; 4]; 4] = [
    ["http", "sntp", "ldap", "imap"],
    ["youtube", "netflix", "spotify", "dropbox"],
    ["https", "slack", "kafka", "whois"],
    ["google-maps", "office-docs", "zoom-screen", "ms-teams-av"],
];

/// Addresses of a generated flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// IPv4.
    V4 {
        /// Source.
        src: u32,
        /// Destination.
        dst: u32,
        /// Next hop.
        next_hop: u32,
    },
    /// IPv6.
    V6 {
        /// Source.
        src: u128,
        /// Destination.
        dst: u128,
        /// Next hop.
        next_hop: u128,
    },
}

/// Which of an exporter's two samplers observed the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampler {
    /// Sampler id 1.
    First,
    /// Sampler id 2.
    Second,
}

impl Sampler {
    /// The number that stands for the sampler on the wire.
    pub fn id(self) -> u16 {
        match self {
            Self::First => 1,
            Self::Second => 2,
        }
    }
}

/// One record as an exporter saw it. Each protocol carries a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GeneratedFlow {
    /// Source, destination and next hop.
    pub addresses: Addresses,
    /// Transport source port.
    pub src_port: u16,
    /// Transport destination port.
    pub dst_port: u16,
    /// TCP or UDP.
    pub proto: u8,
    /// TCP flags; 0 for UDP.
    pub tcp_flags: u8,
    /// Type of service or traffic class.
    pub tos: u8,
    /// Octets, never 0.
    pub octets: u32,
    /// Packets, never 0.
    pub packets: u32,
    /// Input ifIndex.
    pub in_if: u16,
    /// Output ifIndex.
    pub out_if: u16,
    /// Source AS number, 16 bits so that NetFlow v5 can carry it.
    pub src_as: u16,
    /// Destination AS number.
    pub dst_as: u16,
    /// Source prefix length.
    pub src_mask: u8,
    /// Destination prefix length.
    pub dst_mask: u8,
    /// 0 ingress, 1 egress.
    pub direction: u8,
    /// The sampler whose rate applies.
    pub sampler: Sampler,
    /// Forwarding status (RFC 7270).
    pub forwarding_status: u8,
    /// First packet, milliseconds since boot.
    pub start_ms: u32,
    /// Last packet, milliseconds since boot.
    pub end_ms: u32,
    /// Why the flow ended (RFC 5102 5.11.3).
    pub end_reason: u8,
    /// Source group tag.
    pub src_sgt: u16,
    /// Destination group tag.
    pub dst_sgt: u16,
    /// Application name.
    pub application: &'static str,
    /// IPv6 flow label, 20 bits.
    pub flow_label: u32,
    /// Time to live of the sampled packet.
    pub ttl: u8,
    /// VLAN id of the sampled frame; `None` where it is not tagged.
    pub vlan: Option<u16>,
    /// IPv4 identification of the sampled packet.
    pub fragment_id: u16,
    /// Length of the sampled frame with its checksum.
    pub frame_length: u16,
}

impl GeneratedFlow {
    /// The record `number` of exporter `exporter`, which speaks `protocol`; the flow ended `end_ms` after the boot.
    pub fn new(identities: Identities, protocol: Protocol, exporter: u32, number: u64, end_ms: u32) -> Self {
        let identity = identities.identity_of(exporter, number);
        let a = mix(identity);
        let b = mix(a);
        let packets = 1 + bits(a, 0, 10);
        let proto = if bits(a, 10, 2) == 3 { UDP } else { TCP };
        let (ports, tcp_flags) = match proto {
            TCP => (TCP_PORTS, TCP_FLAGS[bits(a, 12, 2) as usize]),
            _ => (UDP_PORTS, 0),
        };
        Self {
            addresses: addresses(identity, is_v6(protocol, number), bits(b, 0, 8)),
            src_port: SOURCE_PORT_BASE | (bits(a, 14, 6) << 8) as u16 | bits(identity, 48, 8) as u16,
            dst_port: ports[bits(a, 20, 3) as usize],
            proto,
            tcp_flags,
            tos: (bits(a, 23, 6) << 2) as u8,
            octets: packets * (64 + bits(a, 29, 10)),
            packets,
            in_if: 1 + bits(a, 39, 6) as u16,
            out_if: 1 + bits(a, 45, 6) as u16,
            src_as: 64_512 + bits(a, 51, 9) as u16,
            dst_as: 1 + bits(b, 8, 14) as u16,
            src_mask: 8 + bits(b, 22, 4) as u8,
            dst_mask: 8 + bits(b, 26, 4) as u8,
            direction: bits(b, 30, 1) as u8,
            sampler: if bits(b, 31, 1) == 0 { Sampler::First } else { Sampler::Second },
            forwarding_status: FORWARDING[bits(b, 32, 2) as usize],
            start_ms: end_ms - bits(b, 34, 16),
            end_ms,
            end_reason: 1 + bits(b, 50, 2) as u8,
            src_sgt: 1 + bits(b, 0, 12) as u16,
            dst_sgt: 1 + bits(b, 12, 12) as u16,
            application: APPLICATIONS[(number % 4) as usize][bits(b, 52, 2) as usize],
            flow_label: 1 + bits(a, 0, 19),
            ttl: 1 + bits(b, 54, 7) as u8,
            vlan: (number % 4 == 1).then(|| 1 + bits(b, 40, 11) as u16),
            fragment_id: 1 + bits(a, 40, 15) as u16,
            frame_length: 160 + bits(a, 30, 10) as u16,
        }
    }

    /// The identity that the fields of a received record carry, with whatever length of addresses it has.
    pub fn identity(src: &[u8], dst: &[u8], src_port: u32) -> u64 {
        let low_24 = |address: &[u8]| {
            address
                .iter()
                .rev()
                .take(3)
                .enumerate()
                .fold(0, |sum, (at, byte)| sum | u64::from(*byte) << (8 * at))
        };
        low_24(src) | low_24(dst) << 24 | u64::from(src_port & 0xff) << 48
    }
}

/// NetFlow v5 has no IPv6, and the v9 template of this generator none either; of IPFIX and sFlow every fourth record.
fn is_v6(protocol: Protocol, number: u64) -> bool {
    match protocol {
        Protocol::V5 | Protocol::V9 => false,
        Protocol::Ipfix | Protocol::Sflow => number % 4 == 3,
    }
}

fn addresses(identity: u64, v6: bool, next_hop: u32) -> Addresses {
    let (src, dst) = (identity as u32 & LOW_24, (identity >> 24) as u32 & LOW_24);
    let next_hop = 1 + next_hop;
    if v6 {
        Addresses::V6 {
            src: V6_SOURCE_NET | u128::from(src),
            dst: V6_DESTINATION_NET | u128::from(dst),
            next_hop: V6_NEXT_HOP_NET | u128::from(next_hop),
        }
    } else {
        Addresses::V4 { src: V4_NET | src, dst: V4_NET | dst, next_hop: V4_NEXT_HOP_NET | next_hop }
    }
}

/// `count` bits of `word` from bit `from` on.
fn bits(word: u64, from: u32, count: u32) -> u32 {
    ((word >> from) & ((1 << count) - 1)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(protocol: Protocol, number: u64) -> GeneratedFlow {
        GeneratedFlow::new(Identities::new(7), protocol, 3, number, FIRST_FLOW_END_MS)
    }

    #[test]
    fn a_record_is_the_same_each_time_and_differs_from_its_neighbours() {
        assert_eq!(flow(Protocol::V9, 12), flow(Protocol::V9, 12));
        assert_ne!(flow(Protocol::V9, 12).addresses, flow(Protocol::V9, 13).addresses);
    }

    #[test]
    fn the_fields_carry_the_identity() {
        let identities = Identities::new(7);
        for number in 0..1_000 {
            let flow = flow(Protocol::Sflow, number);
            let identity = match flow.addresses {
                Addresses::V4 { src, dst, .. } => {
                    GeneratedFlow::identity(&src.to_be_bytes(), &dst.to_be_bytes(), flow.src_port.into())
                }
                Addresses::V6 { src, dst, .. } => {
                    GeneratedFlow::identity(&src.to_be_bytes(), &dst.to_be_bytes(), flow.src_port.into())
                }
            };
            assert_eq!(identities.number_of(identity), (3, number));
        }
    }

    #[test]
    fn values_that_fall_back_to_another_element_when_zero_are_never_zero() {
        for number in 0..1_000 {
            let flow = flow(Protocol::Ipfix, number);
            assert!(flow.octets > 0 && flow.packets > 0 && flow.start_ms <= flow.end_ms);
            assert_eq!(flow.application.len(), APPLICATIONS[(number % 4) as usize][0].len());
        }
    }
}
