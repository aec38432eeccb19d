//! Records of two directions (RFC 5103; initiator and responder) that become two where a person wants that.

#[path = "capture/mod.rs"]
mod capture;
mod rig;
mod wire;

use std::sync::Arc;

use catchment_proto::flow::v1::FlowRecord;
use flow_decoder::{DecoderOptions, Destination, FieldRule, Otherwise, Override, Overrides, Sampling};
use rig::Rig;
use wire::{Field, Message, field, put16, put32, vendor};

fn splitting() -> DecoderOptions {
    let otherwise = Otherwise { split_biflows: true, keep_unknown: true };
    DecoderOptions { overrides: Arc::new(Overrides::new([], otherwise)), ..DecoderOptions::default() }
}

/// What the one record of these fields comes to: split, and as it is.
fn decoded(fields: &[Field], record: &[u8]) -> [Vec<FlowRecord>; 2] {
    [splitting(), DecoderOptions::default()].map(|options| {
        let mut rig = Rig::new();
        rig.decoder.set_options(options);
        rig.take(Message::ipfix().templates(&[(256, fields)]).set(256, record).build());
        assert!(rig.errors().is_empty(), "{:?}", rig.errors());
        rig.kept.flows()
    })
}

/// A softflowd record, its forward and reverse octets and packets as given.
fn softflowd(counters: [u32; 4]) -> (Vec<Field>, Vec<u8>) {
    let reverse = |id, length| vendor(29305, id, length);
    let fields = vec![
        field(8, 4),
        field(12, 4),
        field(7, 2),
        field(11, 2),
        field(4, 1),
        field(1, 4),
        reverse(1, 4),
        field(2, 4),
        reverse(2, 4),
        field(6, 1),
        reverse(6, 1),
        field(10, 4),
        field(14, 4),
        field(56, 6),
        field(80, 6),
        field(192, 1),
        vendor(4242, 7, 2),
    ];
    let mut record = vec![10, 0, 0, 1, 10, 0, 0, 2];
    put16(&mut record, 40_000);
    put16(&mut record, 443);
    record.push(6);
    let [octets, reverse_octets, packets, reverse_packets] = counters;
    for counter in [octets, reverse_octets, packets, reverse_packets] {
        put32(&mut record, counter);
    }
    record.extend([0x1b, 0x12]);
    put32(&mut record, 3);
    put32(&mut record, 5);
    record.extend([0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 64]);
    put16(&mut record, 77);
    (fields, record)
}

#[test]
fn each_direction_has_its_counters_and_its_source() {
    let (fields, record) = softflowd([1000, 5000, 10, 50]);
    let [split, whole] = decoded(&fields, &record);
    assert_eq!((whole.len(), whole[0].bytes, whole[0].reverse_bytes), (1, 1000, 5000));
    let [forward, reverse] = &split[..] else { panic!("{} records", split.len()) };
    let unsplit = FlowRecord {
        reverse_bytes: 0,
        reverse_packets: 0,
        reverse_tcp_flags: 0,
        extra: forward.extra.clone(),
        ..whole[0].clone()
    };
    assert_eq!(forward, &unsplit, "nothing but the reverse direction is missing");
    let turned = FlowRecord {
        src_addr: vec![10, 0, 0, 2],
        dst_addr: vec![10, 0, 0, 1],
        src_port: 443,
        dst_port: 40_000,
        bytes: 5000,
        packets: 50,
        tcp_flags: 0x12,
        in_if: 5,
        out_if: 3,
        src_mac: 2,
        dst_mac: 1,
        // Measured of the forward direction's packets.
        ip_ttl: 0,
        ..unsplit
    };
    assert_eq!(reverse, &turned);
    assert_eq!((forward.extra.len(), forward.extra[0].pen, forward.extra[0].id), (1, 4242, 7));
}

/// YAF: flags of the first packet and of all others, in elements of its own that it reverses by adding 16384.
#[test]
fn yafs_flags_are_those_of_all_packets_of_a_direction() {
    let cert = |id, length| vendor(6871, id, length);
    let reverse = |id, length| vendor(29305, id, length);
    let fields = [
        field(8, 4),
        field(12, 4),
        field(86, 4),
        reverse(86, 4),
        cert(14, 1),
        cert(15, 1),
        cert(16398, 1),
        cert(16399, 1),
        cert(40, 2),
        cert(16424, 2),
        cert(33, 2),
    ];
    let mut record = vec![10, 0, 0, 1, 10, 0, 0, 2];
    put32(&mut record, 4);
    put32(&mut record, 2);
    record.extend([0xc2, 0x11, 0x12, 0x18, 0, 1, 0, 2, 0, 80]);
    let [split, whole] = decoded(&fields, &record);
    assert_eq!((whole[0].tcp_flags, whole[0].reverse_tcp_flags), (0xd3, 0x1a));
    let seen: Vec<_> = split.iter().map(|flow| (flow.packets, flow.tcp_flags)).collect();
    assert_eq!(seen, [(4, 0xd3), (2, 0x1a)]);
    assert!(split.iter().all(|flow| flow.reverse_tcp_flags == 0));
    let own = |flow: &FlowRecord| -> Vec<_> {
        flow.extra.iter().map(|element| (element.id, element.value.clone())).collect()
    };
    assert_eq!(own(&split[0]), [(40, vec![0, 1]), (33, vec![0, 80])]);
    assert_eq!(own(&split[1]), [(40, vec![0, 2]), (33, vec![0, 80])], "the other direction's attributes");

    let [split, _] = decoded(
        &[field(8, 4), field(6, 1), cert(14, 1), cert(15, 2), field(2, 4)],
        &[10, 0, 0, 1, 0x1b, 2, 0, 0x14, 0, 0, 0, 9],
    );
    assert_eq!(split[0].tcp_flags, 0x1b, "IANA's element counts before them");
    let [split, _] = decoded(
        &[cert(14, 1), cert(16399, 1), reverse(86, 4), field(86, 4)],
        &[2, 0x11, 0, 0, 0, 5, 0, 0, 0, 6],
    );
    let seen: Vec<_> = split.iter().map(|flow| (flow.packets, flow.tcp_flags)).collect();
    assert_eq!(seen, [(6, 2), (5, 0x11)], "one of the two alone");
}

#[test]
fn a_direction_without_packets_is_no_record() {
    let ports = |counters| {
        let (fields, record) = softflowd(counters);
        let [split, _] = decoded(&fields, &record);
        split.iter().map(|record| (record.src_port, record.bytes)).collect::<Vec<_>>()
    };
    assert_eq!(ports([1000, 0, 10, 0]), [(40_000, 1000)]);
    assert_eq!(ports([0, 1131, 0, 3]), [(443, 1131)]);
    assert_eq!(ports([0, 0, 0, 0]), [(40_000, 0)], "an event is one record");
    assert_eq!(ports([0, 0, 0, 1]), [(443, 0)]);
}

#[test]
fn initiator_and_responder_are_two_directions() {
    let fields = [field(8, 4), field(12, 4), field(225, 4), field(226, 4), field(231, 4), field(232, 4)];
    let mut record = vec![10, 0, 0, 1, 192, 0, 2, 2, 203, 0, 113, 1, 192, 0, 2, 2];
    put32(&mut record, 700);
    put32(&mut record, 900);
    let [split, whole] = decoded(&fields, &record);
    assert_eq!((whole[0].bytes, whole[0].reverse_bytes), (700, 900));
    let shown = |record: &FlowRecord| (record.src_addr[0], record.bytes, record.post_nat_dst_addr[0]);
    assert_eq!(split.iter().map(shown).collect::<Vec<_>>(), [(10, 700, 192), (192, 900, 203)]);
}

#[test]
fn records_of_variable_length_are_split_too() {
    let fields = [field(82, u16::MAX), field(8, 4), field(12, 4), field(1, 4), vendor(29305, 1, 4)];
    let mut record = vec![3, b'p', b'p', b'0', 10, 0, 0, 1, 10, 0, 0, 2];
    put32(&mut record, 8);
    put32(&mut record, 9);
    let [split, _] = decoded(&fields, &record);
    let shown = |record: &FlowRecord| (record.src_addr[3], record.dst_addr[3], record.bytes);
    assert_eq!(split.iter().map(shown).collect::<Vec<_>>(), [(1, 2, 8), (2, 1, 9)]);
}

#[test]
fn a_reverse_start_of_its_own_counts() {
    let fields = [field(1, 4), vendor(29305, 1, 4), field(150, 4), vendor(29305, 150, 4), field(151, 4)];
    let record: Vec<u8> = [5_u32, 6, 100, 103, 110].into_iter().flat_map(u32::to_be_bytes).collect();
    let [split, _] = decoded(&fields, &record);
    let seconds = |ns: u64| ns / 1_000_000_000;
    let shown = |record: &FlowRecord| (seconds(record.time_flow_start_ns), seconds(record.time_flow_end_ns));
    assert_eq!(split.iter().map(shown).collect::<Vec<_>>(), [(100, 110), (103, 110)]);
}

#[test]
fn an_override_says_it_of_some_exporters() {
    let (fields, record) = softflowd([1, 2, 3, 4]);
    let known = Override {
        zone: None,
        address: rig::exporter(0).ip(),
        length: 32,
        sampling: Sampling::AsSaid,
        fields: vec![FieldRule { pen: 4242, id: 7, to: Destination::named("src_sgt").expect("a field") }],
        keep_unknown: false,
        split_biflows: true,
    };
    let mut rig = Rig::new();
    let overrides = Arc::new(Overrides::new([known], Otherwise::default()));
    rig.decoder.set_options(DecoderOptions { overrides, ..DecoderOptions::default() });
    let datagram = Message::ipfix().templates(&[(256, &fields)]).set(256, &record).build();
    rig.take(&datagram);
    rig.take_from(([198, 51, 100, 1], 2055).into(), &datagram);
    let shown: Vec<_> = rig.kept.flows().iter().map(|flow| (flow.src_sgt, flow.reverse_bytes)).collect();
    assert_eq!(shown, [(77, 0), (77, 0), (0, 2)]);
}

#[test]
fn softflowds_capture_keeps_all_octets_and_packets() {
    let path = capture::own().into_iter().find(|path| path.ends_with("ipfix-softflowd-biflow.pcap"));
    let captured = capture::read(&path.expect("the capture"));
    let [split, whole] = [splitting(), DecoderOptions::default()].map(|options| {
        let mut rig = Rig::new();
        rig.decoder.set_options(options);
        for datagram in &captured {
            rig.take_from(datagram.source, &datagram.payload);
        }
        rig.kept.flows()
    });
    let both = |records: &[FlowRecord]| {
        let octets: u64 = records.iter().map(|record| record.bytes + record.reverse_bytes).sum();
        let packets: u64 = records.iter().map(|record| record.packets + record.reverse_packets).sum();
        (octets, packets)
    };
    assert_eq!(both(&split), both(&whole));
    let directions =
        |record: &FlowRecord| usize::from(record.packets > 0) + usize::from(record.reverse_packets > 0);
    assert_eq!(split.len(), whole.iter().map(directions).sum::<usize>());
    assert!(split.len() > whole.len() && split.iter().all(|record| record.reverse_packets == 0));
}
