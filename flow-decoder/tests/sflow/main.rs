//! sFlow datagrams through the public decoder: prost's generated types read what it writes.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test panics where it must, and says what it skips"
)]

mod captures;
mod counters;
mod malformed;
mod samples;
#[path = "../rig/seeds.rs"]
mod seeds;

use std::net::SocketAddr;

use catchment_proto::flow::v1::{FlowRecord, SflowCounters, SflowDrop};
use flow_decoder::{
    Datagram, Decoder, DecoderOptions, Delimiting, ExporterStore, Malformed, Reason, RecordBuffer, Sink,
    Statistics, StoreLimits, Stream, Verdict, WireSample, ZoneId,
};
use prost::Message;

/// When every test datagram was received.
const RECEIVED_NS: u64 = 1_700_000_000_123_456_789;

/// Format, sequence, rate and record formats of a sample.
type SeenSample = (u32, Option<u32>, Option<u32>, Vec<u32>);

/// What a datagram gave.
struct Outcome {
    verdict: Verdict,
    flows: Vec<FlowRecord>,
    counters: Vec<SflowCounters>,
    drops: Vec<SflowDrop>,
    samples: Vec<SeenSample>,
    errors: Vec<String>,
    statistics: Statistics,
}

struct Collect {
    batches: [RecordBuffer; Stream::COUNT],
    samples: Vec<SeenSample>,
    errors: Vec<String>,
}

impl Sink for Collect {
    const OBSERVES: bool = true;

    fn batch(&mut self, stream: Stream) -> Option<&mut RecordBuffer> {
        Some(&mut self.batches[stream as usize])
    }

    fn written(&mut self, _: Stream, len: usize) {
        assert!(len > 0);
    }

    fn observe_sample(&mut self, sample: &WireSample<'_>) {
        let formats = sample.iter().map(|(_, format, _)| format).collect();
        self.samples.push((sample.format, sample.sequence, sample.sampling_rate, formats));
    }

    fn observe_malformed(&mut self, error: &Malformed) {
        self.errors.push(error.to_string());
    }
}

fn decode_with(options: DecoderOptions, payload: &[u8]) -> Outcome {
    seeds::keep("datagram", payload);
    if let Some(rest) = payload.strip_prefix(&[0, 0, 0, 5, 0, 0, 0, 1]) {
        seeds::keep("sflow", rest.get(4..).unwrap_or_default());
    }
    let batches = std::array::from_fn(|_| RecordBuffer::new(1 << 16, Delimiting::Length));
    let mut sink = Collect { batches, samples: Vec::new(), errors: Vec::new() };
    let mut decoder = Decoder::new(ExporterStore::new(StoreLimits::default()).into(), options);
    let source: SocketAddr = "192.0.2.10:50010".parse().unwrap();
    let datagram =
        Datagram { payload, source, zone: ZoneId::default(), received_ns: RECEIVED_NS, truncated: false };
    let verdict = decoder.decode(&datagram, &mut sink);
    fn all<M: Message + Default>(batch: &RecordBuffer) -> Vec<M> {
        batch.iter().map(|record| M::decode(record).unwrap()).collect()
    }
    Outcome {
        verdict,
        flows: all(&sink.batches[Stream::Flow as usize]),
        counters: all(&sink.batches[Stream::Counters as usize]),
        drops: all(&sink.batches[Stream::Drops as usize]),
        samples: sink.samples,
        errors: sink.errors,
        statistics: *decoder.statistics(),
    }
}

fn decode(payload: &[u8]) -> Outcome {
    let outcome = decode_with(DecoderOptions::default(), payload);
    assert!(outcome.statistics.check());
    outcome
}

impl Outcome {
    #[track_caller]
    fn assert_damage(&self, reason: Reason, count: u64) {
        assert_eq!(self.verdict, Verdict::PartlyDecoded, "{:?}", self.errors);
        assert_eq!(self.statistics.malformed[reason], count, "{:?}", self.errors);
        assert_eq!(self.statistics.malformed.total(), count, "{:?}", self.errors);
    }

    #[track_caller]
    fn assert_whole(&self) {
        assert_eq!((self.verdict, &self.errors[..]), (Verdict::Decoded, &[][..]));
    }
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

/// A record or sample: format, length, body.
fn block(format: u32, body: &[u8]) -> Vec<u8> {
    [&words(&[format, body.len() as u32])[..], body].concat()
}

/// Opaque bytes with length and padding.
fn opaque(bytes: &[u8]) -> Vec<u8> {
    let mut out = words(&[bytes.len() as u32]);
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn datagram_of(samples: &[Vec<u8>]) -> Vec<u8> {
    let head = words(&[5, 1, 0x0a00_0001, 7, 1234, 99_000, samples.len() as u32]);
    [&head[..], &samples.concat()].concat()
}

/// The body of a flow sample: sequence 55, rate 1024, interfaces 3 and 4.
fn flow_body(records: &[Vec<u8>]) -> Vec<u8> {
    [&words(&[55, 3, 1024, 9999, 0, 3, 4, records.len() as u32])[..], &records.concat()].concat()
}

fn flow_sample(records: &[Vec<u8>]) -> Vec<u8> {
    block(1, &flow_body(records))
}

/// A UDP packet from 10.1.1.1:1000 to 10.2.2.2:53 in an Ethernet frame.
fn frame() -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend([0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 1, 1, 1, 10, 2, 2, 2]);
    frame.extend([0x03, 0xe8, 0, 53, 0, 8, 0, 0]);
    frame
}

/// A raw header record with [`frame`], of 1500 octets on the wire.
fn raw_header() -> Vec<u8> {
    block(1, &[&words(&[1, 1500, 4])[..], &opaque(&frame())].concat())
}
