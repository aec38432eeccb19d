//! In steady state a datagram is decoded without allocating, whatever it holds.

mod batches;
mod capture;
mod counting;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use batches::Batches;
use counting::allocations;
use flow_decoder::{Datagram, Decoder, DecoderOptions, ExporterStore, StoreLimits, ZoneId};
use wire::{Message, field, v5, v5_record, varlen, vendor};

/// Decodes the datagrams until memory has its size, then once more: that pass allocates nothing and gives records. Between
/// passes the sequence numbers are taken out, as a worker does every second.
fn assert_no_allocations(what: &str, datagrams: &[(SocketAddr, Vec<u8>)]) {
    let store = Arc::new(ExporterStore::new(StoreLimits::default()));
    let mut decoder = Decoder::new(store, DecoderOptions::default());
    let mut batches = Batches::new();
    let mut pass = |decoder: &mut Decoder| {
        let before = decoder.statistics().records;
        for (source, payload) in datagrams {
            let (source, zone) = (*source, ZoneId(0));
            let datagram = Datagram { payload, source, zone, received_ns: 1, truncated: false };
            decoder.decode(&datagram, &mut batches);
        }
        let records = decoder.statistics().records;
        records.iter().sum::<u64>() - before.iter().sum::<u64>()
    };
    for _ in 0..5 {
        pass(&mut decoder);
        decoder.finish_sequences();
        decoder.take_sequences(|_, _| {});
    }
    let before = allocations();
    let records = pass(&mut decoder);
    assert_eq!(allocations() - before, 0, "{what}: {records} records of {} datagrams", datagrams.len());
    assert!(records > 0, "{what}");
}

fn from_one_exporter(datagrams: Vec<Vec<u8>>) -> Vec<(SocketAddr, Vec<u8>)> {
    let source = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 2055));
    datagrams.into_iter().map(|payload| (source, payload)).collect()
}

#[test]
fn the_counter_counts() {
    let before = allocations();
    drop(std::hint::black_box(vec![1]));
    assert_eq!(allocations() - before, 1);
}

#[test]
fn v5_records() {
    assert_no_allocations("v5", &from_one_exporter(vec![v5(30, &v5_record().repeat(30))]));
}

#[test]
fn v9_records_and_template_refreshes() {
    let fields =
        [field(8, 4), field(12, 4), field(7, 2), field(11, 2), field(4, 1), field(1, 4), field(22, 4)];
    let message = Message::v9().templates(&[(256, &fields), (257, &fields[..3])]);
    assert_no_allocations("v9", &from_one_exporter(vec![message.set(256, [7; 21 * 20]).build()]));
}

#[test]
fn ipfix_records_of_variable_length() {
    let fields = [field(27, 16), varlen(96), vendor(9, 1234, 0xffff), varlen(82), field(2, 8)];
    let record = [&[1; 16][..], b"\x03dns\x04\xff\xfe\0x\x00", &[0; 8]].concat();
    let message = Message::ipfix().templates(&[(256, &fields)]);
    assert_no_allocations("ipfix", &from_one_exporter(vec![message.set(256, record.repeat(20)).build()]));
}

#[test]
fn options_records() {
    let message = Message::ipfix().options_template(300, &[field(302, 4)], &[field(34, 4), field(82, 16)]);
    let records = [[0, 0, 0, 1, 0, 0, 0, 100].as_slice(), b"GigabitEthernet0"].concat();
    assert_no_allocations("options", &from_one_exporter(vec![message.set(300, records).build()]));
}

/// Counts and lengths of all ones, wherever there is one: nothing is allocated by what they say.
#[test]
fn numbers_of_all_ones_allocate_nothing_large() {
    let ones = |mut datagram: Vec<u8>, at: usize, octets: usize| {
        datagram[at..at + octets].fill(0xff);
        datagram
    };
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let sflow = |format: u32, record: &[u32]| {
        let sample = [55, 3, 1024, 0, 0, 3, 4, 1, format, 4 * record.len() as u32];
        let length = 40 + 4 * record.len() as u32;
        words(&[&[5, 1, 0x0a00_0001, 7, 1, 9, 1, 1, length][..], &sample, record].concat())
    };
    let template = Message::ipfix().templates(&[(256, &[field(1, 4)])]).build();
    let list = Message::ipfix()
        .templates(&[(256, &[varlen(291)])])
        .set(256, [255, 0, 9, 3, 0, 10, 255, 255, 255, 255, 255, 9]);
    let datagrams = [
        ("count of v5", ones(v5(1, &v5_record()), 2, 2)),
        ("length of IPFIX", ones(template.clone(), 2, 2)),
        ("set length", ones(template.clone(), 18, 2)),
        ("field count", ones(template.clone(), 22, 2)),
        ("variable length", Message::ipfix().templates(&[(256, &[varlen(96)])]).set(256, [255; 3]).build()),
        ("list", list.build()),
        ("sample count", ones(sflow(1001, &[0; 4]), 24, 4)),
        ("sample length", ones(sflow(1001, &[0; 4]), 32, 4)),
        ("record count", ones(sflow(1001, &[0; 4]), 64, 4)),
        ("record length", ones(sflow(1001, &[0; 4]), 72, 4)),
        ("header length", sflow(1, &[1, 1500, 0, u32::MAX, 0])),
        ("AS path", sflow(1003, &[1, 9, 1, 2, 3, u32::MAX, 2, u32::MAX])),
        ("communities", sflow(1003, &[1, 9, 1, 2, 3, 0, u32::MAX])),
        ("labels", sflow(1006, &[1, 9, u32::MAX, 1])),
        ("URL", sflow(1005, &[1, u32::MAX, 0])),
        ("user", sflow(1004, &[106, u32::MAX])),
    ];
    for (what, datagram) in &datagrams {
        let store = Arc::new(ExporterStore::new(StoreLimits::default()));
        let mut decoder = Decoder::new(store, DecoderOptions::default());
        let mut batches = Batches::new();
        let source = (Ipv4Addr::new(192, 0, 2, 1), 2055).into();
        counting::reset_peak();
        let before = counting::held();
        let datagram =
            Datagram { payload: datagram, source, zone: ZoneId(0), received_ns: 1, truncated: false };
        let verdict = decoder.decode(&datagram, &mut batches);
        let most = counting::peak() - before;
        assert!(most < 64 << 10, "{what}: {most} octets, {verdict:?}");
    }
}

#[test]
fn captures_of_real_exporters() {
    for path in capture::own() {
        let read = capture::read(&path).into_iter().map(|captured| (captured.source, captured.payload));
        assert_no_allocations(&path.display().to_string(), &read.collect::<Vec<_>>());
    }
}
