//! sFlow's flow records as the page shows them: which there are, and what each fills, is asked of the decoder itself.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::declared;
use crate::error::Reason;
use crate::exporter_store::{ExporterStore, StoreLimits};
use crate::protobuf::{Delimiting, RecordBuffer};
use crate::sink::{Sink, Stream};
use crate::{Datagram, Decoder, DecoderOptions, ZoneId, elements};

/// The record of a sampled header: what it fills is what its packet has.
const HEADER: u32 = 1;
const OF_HEADER: &str = "Ethernet, 802.1Q and 802.1ad, PPP, MPLS, IPv4, IPv6 with extension headers, TCP, UDP, SCTP, DCCP, ICMP; \
                         behind GRE, IP in IP, VXLAN, Geneve and GTP-U the `inner_` fields; `layer_stack`";

/// Every other record that fills something, with a body in which nothing is 0.
const BODIES: &[(u32, &[u32])] = &[
    (2, &[98, 0x0200_0000, 0x0002_0000, 0x0200_0000, 0x0001_0000, 0x0800]),
    (3, &[84, 6, 0x0a01_0101, 0x0a02_0202, 1000, 443, 0x12, 8]),
    (4, &[84, 6, 1, 2, 3, 4, 5, 6, 7, 8, 1000, 443, 0x12, 8]),
    (1001, &[10, 1, 20, 2]),
    (1002, &[1, 0x0a09_0909, 24, 16]),
    (1003, &[1, 9, 65000, 65001, 65002, 1, 2, 2, 100, 200, 1, 11, 150]),
    (1004, &[106, 1, 0x6100_0000, 106, 1, 0x6200_0000]),
    (1006, &[1, 9, 1, 0x0001_0140, 1, 0x0002_0140]),
    (1007, &[1, 9, 1, 10]),
    (1012, &[2, 0x88a8_0064, 0x8100_00c8]),
    (1020, &[4000, 5000]),
    (1029, &[5000]),
    (1030, &[5000]),
    (1036, &[3]),
    (1037, &[42, 1, 0x6100_0000, 2]),
    (1038, &[1, 0x6100_0000]),
    (1039, &[1500]),
    (1040, &[4096]),
    (1041, &[1, 0x6100_0000, 1, 0x6200_0000]),
    (4413 << 12 | 1, &[3]),
];

struct Keep(RecordBuffer);

impl Sink for Keep {
    fn batch(&mut self, stream: Stream) -> Option<&mut RecordBuffer> {
        (stream == Stream::Flow).then_some(&mut self.0)
    }

    fn written(&mut self, _stream: Stream, _len: usize) {}
}

/// Decodes a flow sample with this record: numbers of the fields that it fills, and whether the record is damaged.
fn decode(record: Option<(u32, &[u32])>) -> (BTreeSet<u32>, bool) {
    let body: Vec<u32> = record
        .iter()
        .flat_map(|(format, body)| [*format, 4 * body.len() as u32].into_iter().chain(body.iter().copied()))
        .collect();
    let sample = [1, 3, 100, 9999, 0, 3, 4, u32::from(record.is_some())];
    let length = 4 * (sample.len() + body.len()) as u32;
    let head = [5, 1, 0x0a00_0001, 7, 1, 99_000, 1, 1, length];
    let words = head.iter().chain(&sample).chain(&body);
    let payload: Vec<u8> = words.flat_map(|word| word.to_be_bytes()).collect();
    let store = Arc::new(ExporterStore::new(StoreLimits::default()));
    let mut decoder = Decoder::new(store, DecoderOptions::default());
    let mut kept = Keep(RecordBuffer::new(4096, Delimiting::Length));
    let source = (Ipv4Addr::new(192, 0, 2, 1), 6343).into();
    let datagram = Datagram { payload: &payload, source, zone: ZoneId(0), received_ns: 1, truncated: false };
    decoder.decode(&datagram, &mut kept);
    let numbers = fields(kept.0.iter().next().expect("a flow record"));
    (numbers, decoder.statistics().malformed[Reason::SampleRecord] > 0)
}

/// Numbers of the fields in a protobuf message.
fn fields(mut message: &[u8]) -> BTreeSet<u32> {
    let mut numbers = BTreeSet::new();
    let varint = |message: &mut &[u8]| {
        let end = message.iter().position(|octet| octet & 0x80 == 0).expect("a varint");
        let (number, rest) = message.split_at(end + 1);
        *message = rest;
        number.iter().rev().fold(0_u64, |sum, octet| sum << 7 | u64::from(octet & 0x7f))
    };
    while !message.is_empty() {
        let tag = varint(&mut message);
        numbers.insert((tag >> 3) as u32);
        match tag & 7 {
            0 => drop(varint(&mut message)),
            2 => {
                let length = varint(&mut message) as usize;
                message = &message[length..];
            }
            kind => panic!("wire type {kind}"),
        }
    }
    numbers
}

/// The page's table.
///
/// # Panics
/// Where a body is not its record's: then the table lacks what the decoder fills.
pub(super) fn table() -> String {
    let (declared, (plain, _)) = (declared(), decode(None));
    let named = |data_format: u32| {
        let (enterprise, format) = (data_format >> 12, data_format & 0xfff);
        let name = elements::sflow_flow_record(enterprise, format).unwrap_or_default();
        format!("{enterprise}:{format} | {name}")
    };
    let mut table =
        format!("| record | name | fields |\n|---|---|---|\n| {} | {OF_HEADER} |\n", named(HEADER));
    for &(data_format, body) in BODIES {
        let (record, (filled, damaged)) = (named(data_format), decode(Some((data_format, body))));
        assert!(!damaged, "{record}: longer than its body here");
        let own = filled.difference(&plain);
        let names: Vec<String> = own.map(|number| format!("`{}`", declared[number].0)).collect();
        assert!(!names.is_empty(), "{record}: fills nothing");
        let _ = writeln!(table, "| {record} | {} |", names.join(", "));
    }
    table
}

/// A record of no octets is damaged where the decoder reads records of its kind, and passed over where it does not.
#[test]
fn the_records_of_the_page_are_those_that_are_read() {
    let read = |format: &u32| decode(Some((*format, &[]))).1;
    let of_others = (1..64).map(|enterprise| enterprise << 12 | 1).chain([
        4413 << 12 | 1,
        5703 << 12 | 1,
        8800 << 12 | 1,
    ]);
    let read: Vec<u32> = (0..4096).chain(of_others).filter(read).collect();
    let listed: Vec<u32> = [HEADER].into_iter().chain(BODIES.iter().map(|(format, _)| *format)).collect();
    assert_eq!(read, listed);
}
