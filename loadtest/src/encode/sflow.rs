//! sFlow version 5 (sflow.org, "sFlow Version 5", July 2004).
//!
//! ```text
//! datagram: 5 | agent address | sub_agent_id | sequence | uptime | samples
//! sample:   type length | sequence source_id rate pool drops input output | records
//! ```
//! A flow sample carries the sampled header (0:1) and the extended switch (0:1001), router (0:1002) and gateway (0:1003)
//! records. Where counters are due a counter sample with the interface (0:1) and Ethernet (0:2) counters follows.
//! The agent address is the exporter's own.

use std::net::IpAddr;

use super::packet::{self, FCS_LENGTH, SNAP_LENGTH};
use super::{Put, patch_u32_length};
use crate::exporter::Exporter;
use crate::model::{Addresses, GeneratedFlow};
use crate::train::Train;

const FLOW_SAMPLE: u32 = 1;
const COUNTER_SAMPLE: u32 = 2;
const RAW_HEADER: u32 = 1;
const EXTENDED_SWITCH: u32 = 1001;
const EXTENDED_ROUTER: u32 = 1002;
const EXTENDED_GATEWAY: u32 = 1003;
const INTERFACE_COUNTERS: u32 = 1;
const ETHERNET_COUNTERS: u32 = 2;
const ETHERNET_PROTOCOL: u32 = 1;
const ADDRESS_V4: u32 = 1;
const ADDRESS_V6: u32 = 2;
const AS_SEQUENCE: u32 = 2;

/// AS number of the router itself, which the gateway record names and no flow record shows.
const OWN_AS: u32 = 64_496;
/// BGP local preference of all routes.
pub(crate) const LOCAL_PREFERENCE: u32 = 100;

/// What the extended records say beyond the flow itself, computed from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extended {
    /// VLAN on the input side.
    pub(crate) src_vlan: u32,
    /// 802.1p priority on the input side.
    pub(crate) src_priority: u32,
    /// VLAN on the output side.
    pub(crate) dst_vlan: u32,
    /// 802.1p priority on the output side.
    pub(crate) dst_priority: u32,
    /// AS from which the route to the source came.
    pub(crate) src_peer_as: u32,
    /// AS path to the destination: the next hop's AS, then the destination's.
    pub(crate) as_path: [u32; 2],
    /// BGP communities of the route.
    pub(crate) communities: [u32; 2],
}

impl Extended {
    /// What an agent knows about the way of `flow`.
    pub(crate) fn of(flow: &GeneratedFlow) -> Self {
        Self {
            src_vlan: flow.vlan.map_or(1, u32::from),
            src_priority: u32::from(flow.tos >> 5),
            dst_vlan: 1 + u32::from(flow.out_if),
            dst_priority: 1 + u32::from(flow.direction),
            src_peer_as: 65_100 + u32::from(flow.in_if),
            as_path: [65_200 + u32::from(flow.out_if), u32::from(flow.dst_as)],
            communities: [
                OWN_AS << 16 | u32::from(flow.in_if),
                OWN_AS << 16 | 0x1000 | u32::from(flow.out_if),
            ],
        }
    }
}

pub(super) fn append(exporter: &Exporter, datagram: u64, records: u64, train: &mut Train) {
    let counters = exporter.refreshes_at(datagram);
    let first = datagram * exporter.records_per_datagram;
    train.datagram(|bytes| {
        bytes.put_u32(5);
        put_address(bytes, exporter.address);
        bytes.put_u32(exporter.domain);
        bytes.put_u32(exporter.sequence(datagram));
        bytes.put_u32(exporter.uptime_ms(datagram));
        bytes.put_u32(records as u32 + u32::from(counters));
        for number in first..first + records {
            flow_sample(bytes, exporter, number);
        }
        if counters {
            counter_sample(bytes, exporter, exporter.announcements(datagram) - 1);
        }
    });
}

/// A type and a length around what `body` writes: the frame of every sample and record.
fn structure(bytes: &mut Vec<u8>, format: u32, body: impl FnOnce(&mut Vec<u8>)) {
    bytes.put_u32(format);
    let at = bytes.len();
    bytes.put_u32(0);
    body(bytes);
    patch_u32_length(bytes, at, at + 4);
}

fn put_address(bytes: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            bytes.put_u32(ADDRESS_V4);
            bytes.extend_from_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            bytes.put_u32(ADDRESS_V6);
            bytes.extend_from_slice(&address.octets());
        }
    }
}

fn flow_sample(bytes: &mut Vec<u8>, exporter: &Exporter, number: u64) {
    let flow = exporter.flow(number);
    let rate = exporter.rate(flow.sampler);
    let extended = Extended::of(&flow);
    let next_hop = match flow.addresses {
        Addresses::V4 { next_hop, .. } => IpAddr::V4(next_hop.into()),
        Addresses::V6 { next_hop, .. } => IpAddr::V6(next_hop.into()),
    };
    structure(bytes, FLOW_SAMPLE, |bytes| {
        bytes.put_u32(number as u32);
        bytes.put_u32(flow.in_if.into()); // source: class 0 (ifIndex)
        bytes.put_u32(rate);
        bytes.put_u32((number as u32).wrapping_mul(rate)); // sample pool
        bytes.put_u32(0); // drops
        bytes.put_u32(flow.in_if.into());
        bytes.put_u32(flow.out_if.into());
        bytes.put_u32(4);
        structure(bytes, RAW_HEADER, |bytes| {
            bytes.put_u32(ETHERNET_PROTOCOL);
            bytes.put_u32(flow.frame_length.into());
            bytes.put_u32(FCS_LENGTH.into());
            bytes.put_u32(SNAP_LENGTH as u32);
            packet::append(bytes, &flow);
        });
        structure(bytes, EXTENDED_SWITCH, |bytes| {
            bytes.put_u32(extended.src_vlan);
            bytes.put_u32(extended.src_priority);
            bytes.put_u32(extended.dst_vlan);
            bytes.put_u32(extended.dst_priority);
        });
        structure(bytes, EXTENDED_ROUTER, |bytes| {
            put_address(bytes, next_hop);
            bytes.put_u32(flow.src_mask.into());
            bytes.put_u32(flow.dst_mask.into());
        });
        structure(bytes, EXTENDED_GATEWAY, |bytes| gateway(bytes, next_hop, &flow, &extended));
    });
}

fn gateway(bytes: &mut Vec<u8>, next_hop: IpAddr, flow: &GeneratedFlow, extended: &Extended) {
    put_address(bytes, next_hop);
    bytes.put_u32(OWN_AS);
    bytes.put_u32(flow.src_as.into());
    bytes.put_u32(extended.src_peer_as);
    bytes.put_u32(1); // path segments
    bytes.put_u32(AS_SEQUENCE);
    put_counted(bytes, &extended.as_path);
    put_counted(bytes, &extended.communities);
    bytes.put_u32(LOCAL_PREFERENCE);
}

fn put_counted(bytes: &mut Vec<u8>, values: &[u32]) {
    bytes.put_u32(values.len() as u32);
    values.iter().for_each(|value| bytes.put_u32(*value));
}

/// Counters of interface 1, growing with each sample.
fn counter_sample(bytes: &mut Vec<u8>, exporter: &Exporter, sample: u64) {
    const ETHERNET_CSMACD: u32 = 6;
    structure(bytes, COUNTER_SAMPLE, |bytes| {
        bytes.put_u32(sample as u32);
        bytes.put_u32(1);
        bytes.put_u32(2);
        structure(bytes, INTERFACE_COUNTERS, |bytes| {
            bytes.put_u32(1); // ifIndex
            bytes.put_u32(ETHERNET_CSMACD);
            bytes.put_u64(10_000_000_000); // ifSpeed
            bytes.put_u32(1); // full duplex
            bytes.put_u32(3); // admin and oper status up
            for direction in [1, 2] {
                bytes.put_u64(direction * (sample + 1) * 1_500_000 + u64::from(exporter.index));
                bytes.put_u32(direction as u32 * (sample as u32 + 1) * 1_000); // unicast
                bytes.put_u32(sample as u32); // multicast
                bytes.put_u32(sample as u32); // broadcast
                bytes.put_u32(0); // discards
                bytes.put_u32(0); // errors
                bytes.put_u32(0); // unknown protocols in; promiscuous mode behind the output counters
            }
        });
        structure(bytes, ETHERNET_COUNTERS, |bytes| bytes.resize(bytes.len() + 13 * 4, 0));
    });
}

#[cfg(test)]
mod tests {
    use super::super::tests::{datagrams, u32_at};
    use super::*;
    use crate::model::Sampler;

    /// Type, offset of the body, and end of each structure in `bytes[at..end]`.
    fn structures(bytes: &[u8], mut at: usize, end: usize) -> Vec<(u32, usize, usize)> {
        let mut found = Vec::new();
        while at < end {
            let body = at + 8;
            let next = body + u32_at(bytes, at + 4) as usize;
            found.push((u32_at(bytes, at), body, next));
            at = next;
        }
        assert_eq!(at, end, "a length leaves its parent");
        found
    }

    #[test]
    fn samples_and_records_fill_their_lengths() {
        let (exporter, sent) = datagrams("--protocol sflow", 4);
        let [datagram] = &sent[..] else { panic!("{} datagrams", sent.len()) };
        assert_eq!(datagram[..12], [0, 0, 0, 5, 0, 0, 0, 1, 127, 1, 0, 1]);
        assert_eq!(u32_at(datagram, 12), exporter.domain);
        assert_eq!((u32_at(datagram, 16), u32_at(datagram, 24)), (0, 5));
        let samples = structures(datagram, 28, datagram.len());
        assert_eq!(samples.iter().map(|s| s.0).collect::<Vec<_>>(), [1, 1, 1, 1, 2]);
        for (number, (_, body, end)) in samples[..4].iter().enumerate() {
            let flow = exporter.flow(number as u64);
            assert_eq!(u32_at(datagram, body + 8), exporter.rate(flow.sampler));
            assert_eq!(u32_at(datagram, body + 20), u32::from(flow.in_if));
            let records = structures(datagram, body + 32, *end);
            assert_eq!(records.iter().map(|r| r.0).collect::<Vec<_>>(), [1, 1001, 1002, 1003]);
            assert_eq!(records[0].2 - records[0].1, 16 + SNAP_LENGTH);
        }
        let counters = structures(datagram, samples[4].1 + 12, samples[4].2);
        let lengths: Vec<_> = counters.iter().map(|(format, from, to)| (*format, to - from)).collect();
        assert_eq!(lengths, [(1, 88), (2, 52)]);
    }

    #[test]
    fn a_usual_datagram_stays_below_the_mtu() {
        let exporter = datagrams("--protocol sflow", 4).0;
        let mut train = Train::default();
        append(&exporter, 1, 4, &mut train);
        assert!(train.byte_count() < 1_472, "{}", train.byte_count());
        assert_ne!(exporter.rate(Sampler::First), exporter.rate(Sampler::Second));
    }
}
