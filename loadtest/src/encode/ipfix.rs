//! IPFIX (RFC 7011).
//!
//! ```text
//! header, 16 bytes: version length | export_time | sequence | observation_domain_id
//! ```
//! Two data templates, 256 for IPv4 and 257 for IPv6, each ending in two elements of an enterprise (Cisco's group tags,
//! PEN 9) and a variable-length string; options template 258 for the exporter's two selectors. Counters and selector ids
//! use reduced-size encoding (RFC 7011 6.2). Every fourth string has the three-byte length prefix (7), though it is short.

use super::fixed::Fixed;
use super::{Put, patch_u16_length, reversed, set};
use crate::exporter::{Exporter, Layout, Life};
use crate::model::{Addresses, GeneratedFlow, Sampler};
use crate::train::Train;

const TEMPLATE_SET: u16 = 2;
const OPTIONS_TEMPLATE_SET: u16 = 3;
const V4_TEMPLATE: u16 = 256;
const V6_TEMPLATE: u16 = 257;
const OPTIONS_TEMPLATE: u16 = 258;

const VARIABLE: u16 = 65_535;
const ENTERPRISE: u16 = 0x8000;
const CISCO: u32 = 9;
const LONG_PREFIX: u8 = 255;
/// A string of this length gets the long prefix; the model gives it to every fourth record.
const LONG_PREFIXED_LENGTH: usize = 11;

const V4_FIELDS: [(u16, u16); 5] = [
    (8, 4),  // sourceIPv4Address
    (12, 4), // destinationIPv4Address
    (15, 4), // ipNextHopIPv4Address
    (9, 1),  // sourceIPv4PrefixLength
    (13, 1), // destinationIPv4PrefixLength
];
const V6_FIELDS: [(u16, u16); 6] = [
    (27, 16), // sourceIPv6Address
    (28, 16), // destinationIPv6Address
    (62, 16), // ipNextHopIPv6Address
    (29, 1),  // sourceIPv6PrefixLength
    (30, 1),  // destinationIPv6PrefixLength
    (31, 4),  // flowLabelIPv6
];
/// After the addresses, in the order of [`common`].
const REST_FIELDS: [(u16, u16); 16] = [
    (10, 4),  // ingressInterface
    (14, 4),  // egressInterface
    (1, 8),   // octetDeltaCount
    (2, 4),   // packetDeltaCount
    (152, 8), // flowStartMilliseconds
    (153, 8), // flowEndMilliseconds
    (7, 2),   // sourceTransportPort
    (11, 2),  // destinationTransportPort
    (6, 2),   // tcpControlBits
    (4, 1),   // protocolIdentifier
    (5, 1),   // ipClassOfService
    (16, 4),  // bgpSourceAsNumber
    (17, 4),  // bgpDestinationAsNumber
    (61, 1),  // flowDirection
    (136, 1), // flowEndReason
    (302, 2), // selectorId
];
const REST_LENGTH: usize = 56;
const ENTERPRISE_FIELDS: [u16; 2] = [1232, 1233];
const APPLICATION_NAME: u16 = 96;
/// selectorId (scope), selectorAlgorithm, samplingPacketInterval, samplingPacketSpace.
const OPTIONS: [(u16, u16); 4] = [(302, 2), (304, 2), (305, 4), (306, 4)];
/// Random n-out-of-N sampling (RFC 5477 8.2.1).
const N_OUT_OF_N: u16 = 3;

pub(super) fn append(exporter: &Exporter, datagram: u64, records: u64, train: &mut Train) {
    let life = exporter.life_of(datagram);
    let first = datagram * exporter.records_per_datagram;
    message(exporter, datagram, exporter.sequence(datagram), train, |bytes| {
        let mut flows = (first..first + records).map(|number| exporter.flow(number)).peekable();
        while let Some(next) = flows.peek() {
            let template = template_of(next);
            set(bytes, template, |bytes| {
                while let Some(flow) = flows.next_if(|flow| template_of(flow) == template) {
                    record(bytes, &life, &flow);
                }
            });
        }
    });
}

pub(super) fn announce(exporter: &Exporter, datagram: u64, train: &mut Train) {
    let mut rest = REST_FIELDS;
    if exporter.life_of(datagram).layout == Layout::New {
        rest.reverse();
    }
    message(exporter, datagram, exporter.announcement_sequence(datagram), train, |bytes| {
        set(bytes, TEMPLATE_SET, |bytes| {
            template(bytes, V4_TEMPLATE, &V4_FIELDS, &rest);
            template(bytes, V6_TEMPLATE, &V6_FIELDS, &rest);
        });
        set(bytes, OPTIONS_TEMPLATE_SET, |bytes| {
            bytes.put_u16(OPTIONS_TEMPLATE);
            bytes.put_u16(OPTIONS.len() as u16);
            bytes.put_u16(1);
            put_fields(bytes, &OPTIONS);
        });
        set(bytes, OPTIONS_TEMPLATE, |bytes| {
            for sampler in [Sampler::First, Sampler::Second] {
                bytes.put_u16(sampler.id());
                bytes.put_u16(N_OUT_OF_N);
                bytes.put_u32(1);
                bytes.put_u32(exporter.rate(sampler) - 1);
            }
        });
    });
}

fn message(
    exporter: &Exporter,
    datagram: u64,
    sequence: u32,
    train: &mut Train,
    body: impl FnOnce(&mut Vec<u8>),
) {
    train.datagram(|bytes| {
        let start = bytes.len();
        bytes.put_u16(10);
        bytes.put_u16(0);
        bytes.put_u32(exporter.clock(datagram));
        bytes.put_u32(sequence);
        bytes.put_u32(exporter.domain);
        body(bytes);
        patch_u16_length(bytes, start + 2, start);
    });
}

fn template(bytes: &mut Vec<u8>, id: u16, addresses: &[(u16, u16)], rest: &[(u16, u16)]) {
    bytes.put_u16(id);
    bytes.put_u16((addresses.len() + rest.len() + ENTERPRISE_FIELDS.len() + 1) as u16);
    put_fields(bytes, addresses);
    put_fields(bytes, rest);
    for element in ENTERPRISE_FIELDS {
        bytes.put_u16(ENTERPRISE | element);
        bytes.put_u16(2);
        bytes.put_u32(CISCO);
    }
    put_fields(bytes, &[(APPLICATION_NAME, VARIABLE)]);
}

fn put_fields(bytes: &mut Vec<u8>, fields: &[(u16, u16)]) {
    for (element, length) in fields {
        bytes.put_u16(*element);
        bytes.put_u16(*length);
    }
}

fn template_of(flow: &GeneratedFlow) -> u16 {
    match flow.addresses {
        Addresses::V4 { .. } => V4_TEMPLATE,
        Addresses::V6 { .. } => V6_TEMPLATE,
    }
}

fn record(bytes: &mut Vec<u8>, life: &Life, flow: &GeneratedFlow) {
    match flow.addresses {
        Addresses::V4 { src, dst, next_hop } => {
            let mut addresses = Fixed::<14>::new();
            addresses.put(src.to_be_bytes()).put(dst.to_be_bytes()).put(next_hop.to_be_bytes());
            bytes.extend_from_slice(addresses.put([flow.src_mask, flow.dst_mask]).bytes());
        }
        Addresses::V6 { src, dst, next_hop } => {
            let mut addresses = Fixed::<54>::new();
            addresses.put(src.to_be_bytes()).put(dst.to_be_bytes()).put(next_hop.to_be_bytes());
            addresses.put([flow.src_mask, flow.dst_mask]).put(flow.flow_label.to_be_bytes());
            bytes.extend_from_slice(addresses.bytes());
        }
    }
    let common = common(life, flow);
    match life.layout {
        Layout::Same => bytes.extend_from_slice(common.bytes()),
        Layout::New => bytes.extend_from_slice(&reversed(common.bytes(), &REST_FIELDS)),
    }
    bytes.extend_from_slice(&flow.src_sgt.to_be_bytes());
    bytes.extend_from_slice(&flow.dst_sgt.to_be_bytes());
    let name = flow.application.as_bytes();
    if name.len() == LONG_PREFIXED_LENGTH {
        bytes.put_u8(LONG_PREFIX);
        bytes.put_u16(name.len() as u16);
    } else {
        bytes.put_u8(name.len() as u8);
    }
    bytes.extend_from_slice(name);
}

/// The fields of a record that all templates have.
#[inline(always)]
fn common(life: &Life, flow: &GeneratedFlow) -> Fixed<REST_LENGTH> {
    let boot_ms = u64::from(life.boot_time) * 1_000;
    let mut rest = Fixed::new();
    rest.put(u32::from(flow.in_if).to_be_bytes())
        .put(u32::from(flow.out_if).to_be_bytes())
        .put(u64::from(flow.octets).to_be_bytes())
        .put(flow.packets.to_be_bytes())
        .put((boot_ms + u64::from(flow.start_ms)).to_be_bytes())
        .put((boot_ms + u64::from(flow.end_ms)).to_be_bytes())
        .put(flow.src_port.to_be_bytes())
        .put(flow.dst_port.to_be_bytes())
        .put(u16::from(flow.tcp_flags).to_be_bytes())
        .put([flow.proto, flow.tos])
        .put(u32::from(flow.src_as).to_be_bytes())
        .put(u32::from(flow.dst_as).to_be_bytes())
        .put([flow.direction, flow.end_reason])
        .put(flow.sampler.id().to_be_bytes());
    rest
}

#[cfg(test)]
mod tests {
    use super::super::tests::{datagrams, u16_at, u32_at};
    use super::*;

    #[test]
    fn the_template_is_as_long_as_the_record() {
        let fields: usize = REST_FIELDS.iter().map(|(_, length)| usize::from(*length)).sum();
        assert_eq!(fields, REST_LENGTH);
    }

    #[test]
    fn the_first_message_announces_templates_and_selectors() {
        let (exporter, sent) = datagrams("--protocol ipfix", 12);
        let announcement = &sent[0];
        assert_eq!(announcement[..2], [0, 10]);
        assert_eq!(usize::from(u16_at(announcement, 2)), announcement.len());
        assert_eq!(u32_at(announcement, 8), 0);
        // 24 fields: five of IPv4, sixteen, two with an enterprise number, the string.
        assert_eq!(announcement[16..18], [0, 2]);
        assert_eq!(announcement[20..28], [1, 0, 0, 24, 0, 8, 0, 4]);
        // The last fields of the first template.
        let tail = 24 + 21 * 4;
        assert_eq!(announcement[tail..tail + 8], [0x84, 0xd0, 0, 2, 0, 0, 0, 9]);
        assert_eq!(announcement[tail + 16..tail + 20], [0, 96, 0xff, 0xff]);
        // Options data: a set of two twelve-byte records at the end.
        let options = &announcement[announcement.len() - 28..];
        assert_eq!(options[..8], [1, 2, 0, 28, 0, 1, 0, 3]);
        assert_eq!(u32_at(options, 12), exporter.rate(Sampler::First) - 1);
    }

    #[test]
    fn records_of_both_families_share_a_message() {
        let (exporter, sent) = datagrams("--protocol ipfix", 12);
        let data = &sent[1];
        assert_eq!(usize::from(u16_at(data, 2)), data.len());
        assert_eq!(u32_at(data, 8), 2);
        let (mut at, mut sets) = (16, Vec::new());
        while at < data.len() {
            sets.push(u16_at(data, at));
            at += usize::from(u16_at(data, at + 2));
        }
        assert_eq!(at, data.len());
        assert_eq!(sets, [256, 257, 256, 257, 256, 257]);
        let flow = exporter.flow(0);
        let record = &data[20..];
        assert_eq!(u64::from(u32_at(record, 22)), u64::from(flow.octets) >> 32);
        assert_eq!(u32_at(record, 26), flow.octets);
        assert_eq!(usize::from(record[14 + REST_LENGTH + 4]), flow.application.len());
        assert_eq!(&record[15 + REST_LENGTH + 4..][..flow.application.len()], flow.application.as_bytes());
    }

    #[test]
    fn a_new_layout_is_announced_and_used_after_the_restart() {
        let options = "--protocol ipfix --records-per-datagram 2 --restart-after 4 --restart-layout new";
        let exporter = datagrams(options, 2).0;
        let mut train = Train::default();
        (0..3).for_each(|datagram| super::super::append(&exporter, datagram, 2, &mut train));
        let sent: Vec<&[u8]> = train.datagrams().collect();
        let [old_template, _, _, new_template, new_data] = sent[..] else {
            panic!("{} datagrams", sent.len())
        };
        let rest = 24 + 5 * 4;
        assert_eq!(old_template[..2], new_template[..2]);
        assert_eq!(old_template[rest..rest + 4], [0, 10, 0, 4]);
        assert_eq!(new_template[rest..rest + 4], [1, 46, 0, 2]);
        assert_eq!((u32_at(new_template, 8), u32_at(new_data, 8)), (0, 2));
        // The selector is the first of the common fields now, the input interface the last; the tags follow.
        let (flow, record) = (exporter.flow(4), &new_data[20..]);
        assert_eq!(u16_at(record, 14), flow.sampler.id());
        assert_eq!(u32_at(record, 14 + REST_LENGTH - 4), u32::from(flow.in_if));
        assert_eq!(u16_at(record, 14 + REST_LENGTH), flow.src_sgt);
    }

    #[test]
    fn every_fourth_string_has_the_long_prefix() {
        let exporter = datagrams("--protocol ipfix", 12).0;
        let mut bytes = Vec::new();
        record(&mut bytes, &exporter.life_of(0), &exporter.flow(3));
        let string = &bytes[54 + REST_LENGTH + 4..];
        assert_eq!(string[..3], [255, 0, 11]);
        assert_eq!(string.len(), 14);
    }

    #[test]
    fn full_messages_have_one_size() {
        let exporter = datagrams("--protocol ipfix", 12).0;
        let mut train = Train::default();
        (1..9).for_each(|datagram| append(&exporter, datagram, 12, &mut train));
        assert_eq!(train.runs().count(), 1);
        assert!(train.byte_count() / train.datagram_count() < 1_472);
    }
}
