//! NetFlow version 9 (RFC 3954).
//!
//! ```text
//! header, 20 bytes: version count | sysUptime | unix_secs | sequence | source_id
//! ```
//! Data template 256 is what a router's default record holds: 21 fields, 57 bytes. Options template 257 announces the
//! exporter's two samplers. Templates and options data share one datagram, sent before the data they describe.

use super::fixed::Fixed;
use super::{Put, reversed, set};
use crate::exporter::{Exporter, Layout, OPTIONS_RECORDS};
use crate::model::{Addresses, GeneratedFlow, Sampler};
use crate::train::Train;

const TEMPLATE_SET: u16 = 0;
const OPTIONS_TEMPLATE_SET: u16 = 1;
const DATA_TEMPLATE: u16 = 256;
const OPTIONS_TEMPLATE: u16 = 257;

/// Field type and length, in the order of [`record`].
const FIELDS: [(u16, u16); 21] = [
    (8, 4),  // IPV4_SRC_ADDR
    (12, 4), // IPV4_DST_ADDR
    (15, 4), // IPV4_NEXT_HOP
    (10, 4), // INPUT_SNMP
    (14, 4), // OUTPUT_SNMP
    (2, 4),  // IN_PKTS
    (1, 4),  // IN_BYTES
    (22, 4), // FIRST_SWITCHED
    (21, 4), // LAST_SWITCHED
    (7, 2),  // L4_SRC_PORT
    (11, 2), // L4_DST_PORT
    (16, 4), // SRC_AS
    (17, 4), // DST_AS
    (9, 1),  // SRC_MASK
    (13, 1), // DST_MASK
    (6, 1),  // TCP_FLAGS
    (4, 1),  // PROTOCOL
    (5, 1),  // SRC_TOS
    (61, 1), // DIRECTION
    (89, 1), // FORWARDING STATUS
    (48, 2), // FLOW_SAMPLER_ID
];
const RECORD_LENGTH: usize = 57;

/// Scope System, then sampler id, mode and random interval.
const SCOPE: (u16, u16) = (1, 4);
const OPTIONS: [(u16, u16); 3] = [(48, 2), (49, 1), (50, 4)];
const RANDOM_MODE: u8 = 2;

pub(super) fn append(exporter: &Exporter, datagram: u64, records: u64, train: &mut Train) {
    let layout = exporter.life_of(datagram).layout;
    let first = datagram * exporter.records_per_datagram;
    train.datagram(|bytes| {
        header(bytes, exporter, datagram, exporter.sequence(datagram), records);
        set(bytes, DATA_TEMPLATE, |bytes| {
            for number in first..first + records {
                let record = record(&exporter.flow(number));
                match layout {
                    Layout::Same => bytes.extend_from_slice(record.bytes()),
                    Layout::New => bytes.extend_from_slice(&reversed(record.bytes(), &FIELDS)),
                }
            }
        });
    });
}

pub(super) fn announce(exporter: &Exporter, datagram: u64, train: &mut Train) {
    let mut fields = FIELDS;
    if exporter.life_of(datagram).layout == Layout::New {
        fields.reverse();
    }
    train.datagram(|bytes| {
        let sequence = exporter.announcement_sequence(datagram);
        header(bytes, exporter, datagram, sequence, 2 + OPTIONS_RECORDS);
        set(bytes, TEMPLATE_SET, |bytes| {
            bytes.put_u16(DATA_TEMPLATE);
            bytes.put_u16(fields.len() as u16);
            put_fields(bytes, &fields);
        });
        set(bytes, OPTIONS_TEMPLATE_SET, |bytes| {
            bytes.put_u16(OPTIONS_TEMPLATE);
            bytes.put_u16(4);
            bytes.put_u16(4 * OPTIONS.len() as u16);
            put_fields(bytes, &[SCOPE]);
            put_fields(bytes, &OPTIONS);
        });
        set(bytes, OPTIONS_TEMPLATE, |bytes| {
            for sampler in [Sampler::First, Sampler::Second] {
                bytes.put_u32(exporter.index);
                bytes.put_u16(sampler.id());
                bytes.put_u8(RANDOM_MODE);
                bytes.put_u32(exporter.rate(sampler));
            }
        });
    });
}

/// `count` is of records, templates among them (RFC 3954 5.1).
fn header(bytes: &mut Vec<u8>, exporter: &Exporter, datagram: u64, sequence: u32, count: u64) {
    bytes.put_u16(9);
    bytes.put_u16(count as u16);
    bytes.put_u32(exporter.uptime_ms(datagram));
    bytes.put_u32(exporter.clock(datagram));
    bytes.put_u32(sequence);
    bytes.put_u32(exporter.domain);
}

fn put_fields(bytes: &mut Vec<u8>, fields: &[(u16, u16)]) {
    for (kind, length) in fields {
        bytes.put_u16(*kind);
        bytes.put_u16(*length);
    }
}

#[inline(always)]
fn record(flow: &GeneratedFlow) -> Fixed<RECORD_LENGTH> {
    let (src, dst, next_hop) = match flow.addresses {
        Addresses::V4 { src, dst, next_hop } => (src, dst, next_hop),
        Addresses::V6 { .. } => unreachable!("the model gives NetFlow v9 no IPv6 flows"),
    };
    let mut record = Fixed::new();
    record
        .put(src.to_be_bytes())
        .put(dst.to_be_bytes())
        .put(next_hop.to_be_bytes())
        .put(u32::from(flow.in_if).to_be_bytes())
        .put(u32::from(flow.out_if).to_be_bytes())
        .put(flow.packets.to_be_bytes())
        .put(flow.octets.to_be_bytes())
        .put(flow.start_ms.to_be_bytes())
        .put(flow.end_ms.to_be_bytes())
        .put(flow.src_port.to_be_bytes())
        .put(flow.dst_port.to_be_bytes())
        .put(u32::from(flow.src_as).to_be_bytes())
        .put(u32::from(flow.dst_as).to_be_bytes())
        .put([flow.src_mask, flow.dst_mask])
        .put([flow.tcp_flags, flow.proto, flow.tos, flow.direction])
        .put([flow.forwarding_status])
        .put(flow.sampler.id().to_be_bytes());
    record
}

#[cfg(test)]
mod tests {
    use super::super::tests::{datagrams, u16_at, u32_at};
    use super::*;

    #[test]
    fn the_template_is_as_long_as_the_record() {
        assert_eq!(FIELDS.iter().map(|(_, length)| usize::from(*length)).sum::<usize>(), RECORD_LENGTH);
    }

    #[test]
    fn templates_and_samplers_come_before_the_data() {
        let (exporter, sent) = datagrams("--protocol v9 --exporters 3 --records-per-datagram 2", 2);
        let [templates, data] = &sent[..] else { panic!("{} datagrams", sent.len()) };
        assert_eq!(templates[..4], [0, 9, 0, 4]);
        assert_eq!((u32_at(templates, 12), u32_at(data, 12)), (0, 1));
        assert_eq!(u32_at(templates, 16), exporter.domain);
        // Template set: id, length, template id, field count, first field.
        assert_eq!(templates[20..32], [0, 0, 0, 92, 1, 0, 0, 21, 0, 8, 0, 4]);
        // Options template set: id, length, template id, scope length, option length, System/4, 48/2, 49/1, 50/4, padding.
        assert_eq!(
            templates[112..140],
            [0, 1, 0, 28, 1, 1, 0, 4, 0, 12, 0, 1, 0, 4, 0, 48, 0, 2, 0, 49, 0, 1, 0, 50, 0, 4, 0, 0]
        );
        // Options data set: two records of 11 bytes, padded.
        assert_eq!(templates[140..144], [1, 1, 0, 28]);
        assert_eq!(templates[148..151], [0, 1, 2]);
        assert_eq!(u32_at(templates, 151), exporter.rate(Sampler::First));
        assert_eq!(templates.len(), 168);
    }

    #[test]
    fn a_new_layout_is_announced_and_used_after_the_restart() {
        let options = "--protocol v9 --records-per-datagram 2 --restart-after 4 --restart-layout new";
        let exporter = datagrams(options, 2).0;
        let mut train = Train::default();
        (0..3).for_each(|datagram| super::super::append(&exporter, datagram, 2, &mut train));
        let sent: Vec<&[u8]> = train.datagrams().collect();
        let [old_template, _, old_data, new_template, new_data] = sent[..] else {
            panic!("{} datagrams", sent.len())
        };
        assert_eq!(old_template[24..28], new_template[24..28]);
        assert_eq!(old_template[28..32], [0, 8, 0, 4]);
        assert_eq!(new_template[28..32], [0, 48, 0, 2]);
        assert_eq!((u32_at(new_template, 12), u32_at(new_data, 12)), (0, 1));
        assert!(u32_at(new_data, 4) < u32_at(old_data, 4) && u32_at(new_data, 8) > u32_at(old_data, 8));
        // The sampler is the first field now, and the source address the last.
        let (flow, record) = (exporter.flow(4), &new_data[24..24 + 57]);
        assert_eq!(u16_at(record, 0), flow.sampler.id());
        assert_eq!(
            Addresses::V4 { src: u32_at(record, 53), dst: u32_at(record, 49), next_hop: u32_at(record, 45) },
            flow.addresses
        );
    }

    #[test]
    fn data_records_follow_the_template() {
        let (exporter, sent) = datagrams("--protocol v9 --records-per-datagram 2", 2);
        let data = &sent[1];
        assert_eq!(data.len(), 20 + 4 + 2 * 57 + 2);
        assert_eq!(data[..4], [0, 9, 0, 2]);
        assert_eq!(data[20..24], [1, 0, 0, 120]);
        let flow = exporter.flow(1);
        let record = &data[24 + 57..];
        assert_eq!(u32_at(record, 20), flow.packets);
        assert_eq!(u16_at(record, 36), flow.src_port);
        assert_eq!(u32_at(record, 44), u32::from(flow.dst_as));
        assert_eq!(record[51], flow.proto);
        assert_eq!(u16_at(record, 55), flow.sampler.id());
    }
}
