//! In steady state a datagram is decoded without allocating, whatever it holds.

mod capture;
mod counting;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use counting::allocations;
use flow_decoder::{
    Datagram, Decoder, DecoderOptions, Delimiting, ExporterStore, RecordBuffer, Sink, StoreLimits, Stream,
    ZoneId,
};
use wire::{Message, field, v5, v5_record, varlen, vendor};

/// Batches that are used again once they are full.
struct Batches([RecordBuffer; Stream::COUNT]);

impl Sink for Batches {
    fn batch(&mut self, stream: Stream) -> Option<&mut RecordBuffer> {
        Some(&mut self.0[stream as usize])
    }

    fn written(&mut self, stream: Stream, _len: usize) {
        let batch = &mut self.0[stream as usize];
        if batch.len() >= 32 << 10 {
            batch.clear();
        }
    }
}

/// Decodes the datagrams until memory has its size, then once more: that pass allocates nothing and gives records. Between
/// passes the sequence numbers are taken out, as a worker does every second.
fn assert_no_allocations(what: &str, datagrams: &[(SocketAddr, Vec<u8>)]) {
    let store = Arc::new(ExporterStore::new(StoreLimits::default()));
    let mut decoder = Decoder::new(store, DecoderOptions::default());
    let mut batches = Batches(std::array::from_fn(|_| RecordBuffer::new(64 << 10, Delimiting::Length)));
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

#[test]
fn captures_of_real_exporters() {
    for path in capture::own() {
        let read = capture::read(&path).into_iter().map(|captured| (captured.source, captured.payload));
        assert_no_allocations(&path.display().to_string(), &read.collect::<Vec<_>>());
    }
}
