//! What the benchmarks decode: datagrams as exporters send them, made up or captured.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use flow_decoder::{
    Datagram, Decoder, DecoderOptions, Delimiting, ExporterStore, RecordBuffer, Sink, StoreLimits, Stream,
    ZoneId,
};

use crate::capture;
use crate::wire::{Field, Message, field, v5, v5_record, varlen, vendor};

/// A batch is handed on at this size.
const BATCH: usize = 64 << 10;
/// Data datagrams of a made-up case.
const DATAGRAMS: usize = 64;

/// One workload.
pub(crate) struct Case {
    /// Decoded once before measuring: templates.
    before: Vec<(SocketAddr, Vec<u8>)>,
    /// Decoded over and over.
    datagrams: Vec<(SocketAddr, Vec<u8>)>,
    /// How far sequence numbers count on from one pass to the next.
    span: u32,
}

/// A decoder that knows the case's templates.
pub(crate) struct Run<'a> {
    case: &'a Case,
    datagrams: Vec<(SocketAddr, Vec<u8>)>,
    passes: u32,
    decoder: Decoder,
    batches: Batches,
}

impl Case {
    /// `covers`: how many sequence numbers a datagram covers.
    fn synthetic(
        templates: Option<Message>,
        covers: u32,
        datagram: impl Fn(&mut Numbers) -> Vec<u8>,
    ) -> Self {
        let source = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 50_000));
        let mut numbers = Numbers(1);
        let mut sequence = 0;
        let mut next = || {
            let mut payload = datagram(&mut numbers);
            count_on(&mut payload, sequence);
            sequence += covers;
            (source, payload)
        };
        Self {
            before: templates.into_iter().map(|message| (source, message.build())).collect(),
            datagrams: (0..DATAGRAMS).map(|_| next()).collect(),
            span: covers * DATAGRAMS as u32,
        }
    }

    pub(crate) fn start(&self) -> Run<'_> {
        let decoder =
            Decoder::new(Arc::new(ExporterStore::new(StoreLimits::default())), DecoderOptions::default());
        let datagrams = self.datagrams.clone();
        let mut run = Run { case: self, datagrams, passes: 0, decoder, batches: Batches::new() };
        self.before.iter().for_each(|(source, payload)| run.decode(*source, payload));
        // Once through, so that memory has its size and captured templates are known.
        run.once();
        run
    }
}

impl Run<'_> {
    /// Decodes the case's datagrams once; returns the records written.
    pub(crate) fn once(&mut self) -> u64 {
        let before = self.records();
        let mut datagrams = std::mem::take(&mut self.datagrams);
        for (source, payload) in &mut datagrams {
            if self.passes > 0 {
                count_on(payload, self.case.span);
            }
            self.decode(*source, payload);
        }
        self.passes += 1;
        self.datagrams = datagrams;
        self.records() - before
    }

    fn records(&self) -> u64 {
        self.decoder.statistics().records.iter().sum()
    }

    fn decode(&mut self, source: SocketAddr, payload: &[u8]) {
        let datagram = Datagram {
            payload,
            source,
            zone: ZoneId(0),
            received_ns: 1_700_000_001_000_000_000,
            truncated: false,
        };
        self.decoder.decode(&datagram, &mut self.batches);
    }
}

/// Adds to all sequence numbers of a datagram: an exporter that sent the same one again and again would be a case of its own.
fn count_on(payload: &mut [u8], add: u32) {
    let word = |payload: &[u8], at: usize| {
        payload.get(at..at + 4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
    };
    let count = |payload: &mut [u8], at: usize| {
        if let Some(number) = word(payload, at) {
            payload[at..at + 4].copy_from_slice(&number.wrapping_add(add).to_be_bytes());
        }
    };
    match payload {
        [0, 5 | 7, ..] => count(payload, 16),
        [0, 9, ..] => count(payload, 12),
        [0, 10, ..] => count(payload, 8),
        [0, 0, 0, 5, ..] => {
            let agent = if word(payload, 4) == Some(2) { 16 } else { 4 };
            let sequence = 8 + agent + 4;
            count(payload, sequence);
            // The samples: tag, length, then the sample's own number.
            let mut at = sequence + 12;
            while let Some(length) = word(payload, at + 4) {
                count(payload, at + 8);
                at += 8 + length as usize;
            }
        }
        _ => {}
    }
}

/// One open batch a stream, used again once it is full.
struct Batches([RecordBuffer; Stream::COUNT]);

impl Batches {
    fn new() -> Self {
        Self(std::array::from_fn(|_| RecordBuffer::new(BATCH + 4096, Delimiting::Length)))
    }
}

impl Sink for Batches {
    #[inline]
    fn batch(&mut self, stream: Stream) -> Option<&mut RecordBuffer> {
        Some(&mut self.0[stream as usize])
    }

    #[inline]
    fn written(&mut self, stream: Stream, _len: usize) {
        let batch = &mut self.0[stream as usize];
        if batch.len() >= BATCH {
            batch.clear();
        }
    }
}

/// Made-up values, the same in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A value of an element as traffic has it: few bits of the wide counters are used.
    fn value(&mut self, field: &Field, out: &mut Vec<u8>) {
        let number = match field.id {
            4 => [6, 17][self.next() as usize % 2],
            21 | 22 => u64::from(crate::wire::UPTIME) - self.next() % 60_000,
            152 | 153 => 1_700_000_000_000 - self.next() % 60_000,
            1 => 40 + self.next() % 100_000,
            2 => 1 + self.next() % 100,
            10 | 14 => 1 + self.next() % 500,
            _ => self.next(),
        };
        match field.length {
            length @ 1..=8 => out.extend_from_slice(&number.to_be_bytes()[8 - usize::from(length)..]),
            0xffff => {
                let name = &b"\x00\x0cweb-browsing\x09ssl-https\x03dns"[1..];
                let (len, rest) = match number % 3 {
                    0 => (12, &name[1..13]),
                    1 => (9, &name[14..23]),
                    _ => (3, &name[24..27]),
                };
                out.push(len);
                out.extend_from_slice(rest);
            }
            length => (0..length).for_each(|_| out.push(self.next() as u8)),
        }
    }

    fn records(&mut self, fields: &[Field], count: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..count {
            fields.iter().for_each(|field| self.value(field, &mut out));
        }
        out
    }
}

/// 21 fields in 57 octets: the load that peers were measured with.
const V9_IPV4: &[Field] = &[
    field(8, 4),
    field(12, 4),
    field(15, 4),
    field(10, 4),
    field(14, 4),
    field(2, 4),
    field(1, 4),
    field(22, 4),
    field(21, 4),
    field(7, 2),
    field(11, 2),
    field(6, 1),
    field(4, 1),
    field(5, 1),
    field(16, 4),
    field(17, 4),
    field(9, 1),
    field(13, 1),
    field(58, 2),
    field(89, 1),
    field(136, 1),
];

const V9_IPV6: &[Field] = &[
    field(27, 16),
    field(28, 16),
    field(62, 16),
    field(10, 4),
    field(14, 4),
    field(2, 8),
    field(1, 8),
    field(22, 4),
    field(21, 4),
    field(7, 2),
    field(11, 2),
    field(6, 1),
    field(4, 1),
    field(5, 1),
    field(16, 4),
    field(17, 4),
    field(29, 1),
    field(30, 1),
    field(31, 4),
    field(61, 1),
    field(89, 1),
    field(136, 1),
    field(234, 4),
];

const IPFIX_VARIABLE: &[Field] = &[
    field(8, 4),
    field(12, 4),
    field(7, 2),
    field(11, 2),
    field(4, 1),
    field(6, 1),
    field(1, 8),
    field(2, 8),
    field(152, 8),
    field(153, 8),
    field(10, 4),
    field(14, 4),
    varlen(96),
    vendor(9, 1232, 2),
    field(136, 1),
];

/// A case that is built when it is wanted: reading all captures takes a while under callgrind.
pub(crate) struct Named {
    pub(crate) name: String,
    build: Box<dyn Fn() -> Case>,
}

impl Named {
    fn new(name: impl Into<String>, build: impl Fn() -> Case + 'static) -> Self {
        Self { name: name.into(), build: Box::new(build) }
    }

    pub(crate) fn build(&self) -> Case {
        (self.build)()
    }
}

/// All cases: made-up ones, the captures of this repository, and the third-party captures as one where they are present.
pub(crate) fn all() -> Vec<Named> {
    let mut cases = vec![
        Named::new("v9-ipv4-21-fields", || {
            let templates = Message::v9().templates(&[(256, V9_IPV4)]);
            Case::synthetic(Some(templates), 1, |numbers| {
                Message::v9().set(256, numbers.records(V9_IPV4, 24)).build()
            })
        }),
        Named::new("v9-ipv6-23-fields", || {
            let templates = Message::v9().templates(&[(256, V9_IPV6)]);
            Case::synthetic(Some(templates), 1, |numbers| {
                Message::v9().set(256, numbers.records(V9_IPV6, 12)).build()
            })
        }),
        Named::new("ipfix-variable-length", || {
            let templates = Message::ipfix().templates(&[(256, IPFIX_VARIABLE)]);
            Case::synthetic(Some(templates), 18, |numbers| {
                Message::ipfix().set(256, numbers.records(IPFIX_VARIABLE, 18)).build()
            })
        }),
        Named::new("v5", || Case::synthetic(None, 30, |_| v5(30, &v5_record().repeat(30)))),
    ];
    cases.extend(capture::own().into_iter().map(|path| {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Named::new(name, move || captured(std::slice::from_ref(&path)))
    }));
    if let Some(paths) = capture::shared() {
        cases.push(Named::new("third-party-captures", move || captured(&paths)));
    }
    cases
}

fn captured(paths: &[PathBuf]) -> Case {
    let read = paths.iter().flat_map(|path| capture::read(path));
    let datagrams = read.map(|captured| (captured.source, captured.payload)).collect();
    // Farther than any capture counts, and so little that it looks like loss and not like a restart.
    Case { before: Vec::new(), datagrams, span: 1 << 14 }
}
