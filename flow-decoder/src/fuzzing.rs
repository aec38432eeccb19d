//! What the fuzz targets run, and the tests that replay their corpus: arbitrary bytes, and what must hold whatever they are.
//!
//! ```text
//! datagram:  the payload, given twice to a decoder with its own store
//! sequence:  { control 1: port 2 bits, seconds until then 6 bits | length 2 | payload } ...   one exporter's state
//! ```
//!
//! A broken promise is a panic.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::datagram::{Datagram, DecoderOptions, ZoneId};
use crate::decoder::Decoder;
use crate::elements::{self, Rendered};
use crate::error::Malformed;
use crate::exporter_store::{ExporterStore, StoreLimits};
use crate::overrides::{Otherwise, Overrides};
use crate::pending::PendingLimits;
use crate::protobuf::{Delimiting, RecordBuffer};
use crate::sink::{Sink, Stream, WireRecord, WireSample};
use crate::structured::{self, InnerTemplates, List};
use crate::template::FieldSpecifier;

/// When the first datagram comes, ns since 1970.
const START_NS: u64 = 1_700_000_000_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;
/// Bounds that are soon reached.
const TEMPLATES: usize = 64;
const STORE_OCTETS: usize = 1 << 20;
const PENDING_OCTETS: usize = 64 << 10;
/// Octets of output for one of input, and beside: a record has all that its datagram and exporter say.
const GROWTH: usize = 1200;
const BESIDE: usize = 64 << 10;

/// A datagram of any protocol. The second time what it announced is known.
pub fn datagram(payload: &[u8]) {
    let mut run = Run::new();
    run.take(payload, 2055, START_NS);
    run.take(payload, 2055, START_NS + SECOND_NS);
}

/// An sFlow datagram: whatever the bytes are, they begin with its version and an agent's address.
pub fn sflow(bytes: &[u8]) {
    let head = [0, 0, 0, 5, 0, 0, 0, 1, 10, 0, 0, 1];
    datagram(&[&head, bytes].concat());
}

/// Datagrams of one exporter, one after the other.
pub fn sequence(mut bytes: &[u8]) {
    let mut run = Run::new();
    let mut now_ns = START_NS;
    while let Some((&[control, high, low], rest)) = bytes.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let (payload, rest) = rest.split_at(length);
        now_ns += u64::from(control >> 2) * SECOND_NS;
        run.take(payload, 2055 + u16::from(control & 3), now_ns);
        bytes = rest;
    }
}

/// A part of a [`sequence`].
pub fn sequence_part(payload: &[u8], port: u16, seconds: u8) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let control = (port.wrapping_sub(2055) & 3) as u8 | seconds << 2;
    let mut part = vec![control];
    part.extend(length.to_be_bytes());
    part.extend(&payload[..usize::from(length)]);
    part
}

struct Run {
    store: Arc<ExporterStore>,
    decoder: Decoder,
    /// Decodes the same with everything that is not known kept.
    keeping: Decoder,
    output: Output,
}

impl Run {
    fn new() -> Self {
        let pending = PendingLimits { bytes: PENDING_OCTETS, ..PendingLimits::default() };
        let limits = StoreLimits {
            templates_per_scope: TEMPLATES,
            templates: TEMPLATES,
            bytes: STORE_OCTETS,
            pending,
            ..StoreLimits::default()
        };
        let store = Arc::new(ExporterStore::new(limits));
        let keep = DecoderOptions {
            overrides: Arc::new(Overrides::new([], Otherwise { keep_unknown: true, split_biflows: true })),
            ..DecoderOptions::default()
        };
        let keeping = Decoder::new(Arc::new(ExporterStore::new(limits)), keep);
        let decoder = Decoder::new(store.clone(), DecoderOptions::default());
        Self { store, decoder, keeping, output: Output::new() }
    }

    fn take(&mut self, payload: &[u8], port: u16, received_ns: u64) {
        let source: SocketAddr = (Ipv4Addr::new(192, 0, 2, 1), port).into();
        let datagram = Datagram { payload, source, zone: ZoneId(0), received_ns, truncated: false };
        let waiting = self.store.pending_counts().bytes;
        for decoder in [&mut self.decoder, &mut self.keeping] {
            decoder.decode(&datagram, &mut self.output);
            decoder.decode_released(usize::MAX, &mut self.output);
            assert!(decoder.statistics().check(), "sums differ: {:?}", decoder.statistics());
            let written = self.output.take();
            // What has waited is decoded too.
            let bound = GROWTH * (payload.len() + waiting + PENDING_OCTETS) + BESIDE;
            assert!(written <= bound, "{written} octets of records from {}", payload.len());
        }
        assert!(self.store.templates() <= TEMPLATES);
        assert!(self.store.bytes() <= STORE_OCTETS);
        assert!(self.store.pending_counts().bytes <= PENDING_OCTETS);
    }
}

/// Keeps nothing, and looks at all that it is shown.
struct Output {
    batches: [RecordBuffer; Stream::COUNT],
    looked_at: usize,
}

impl Output {
    fn new() -> Self {
        Self {
            batches: std::array::from_fn(|_| RecordBuffer::new(1 << 12, Delimiting::Length)),
            looked_at: 0,
        }
    }

    /// Octets since it was last asked.
    fn take(&mut self) -> usize {
        let mut octets = 0;
        for batch in &mut self.batches {
            let records = batch.iter().map(<[u8]>::len).sum::<usize>();
            assert!(records <= batch.as_bytes().len(), "records lie in their batch");
            octets += batch.as_bytes().len();
            batch.clear();
        }
        octets
    }

    fn element(
        &mut self,
        version: u16,
        templates: &InnerTemplates,
        field: &FieldSpecifier,
        value: &[u8],
        depth: usize,
    ) {
        let Some(element) = elements::of_field(version, field) else { return };
        self.looked_at += Rendered { data_type: element.data_type, value }.to_string().len();
        let Some(list) = List::open(element.data_type, value).filter(|_| depth < structured::MAX_DEPTH)
        else {
            return;
        };
        let mut group = |group: structured::Group<'_>| {
            let Some(template) = templates.get(group.template) else { return };
            for record in structured::records(template, group.records).flatten() {
                for (field, value) in structured::elements_of(template.fields(), record) {
                    self.element(version, templates, field, value, depth + 1);
                }
            }
        };
        match list {
            List::Values { field, values, .. } => {
                for value in structured::values(&field, values).flatten() {
                    self.element(version, templates, &field, value, depth + 1);
                }
            }
            List::Records { group: one, .. } => group(one),
            List::Groups { groups, .. } => structured::groups(groups).flatten().for_each(group),
        }
    }
}

impl Sink for Output {
    const OBSERVES: bool = true;

    fn batch(&mut self, stream: Stream) -> Option<&mut RecordBuffer> {
        Some(&mut self.batches[stream as usize])
    }

    fn written(&mut self, _stream: Stream, _len: usize) {}

    fn observe_record(&mut self, record: &WireRecord<'_>) {
        for (field, value) in record.elements() {
            self.element(record.version, record.templates, field, value, 0);
        }
    }

    fn observe_sample(&mut self, sample: &WireSample<'_>) {
        self.looked_at += sample.iter().map(|(.., body)| body.len()).sum::<usize>();
    }

    fn observe_malformed(&mut self, error: &Malformed) {
        self.looked_at += error.to_string().len();
    }
}
