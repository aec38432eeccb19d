//! A decoder with a sink that keeps everything, for tests that look at what comes out.

#![allow(dead_code, reason = "each test binary uses its part")]

mod seeds;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use catchment_proto::flow::v1::{FlowRecord, OptionsRecord};
use flow_decoder::{
    Datagram, Decoder, DecoderOptions, Delimiting, ExporterStore, Malformed, RecordBuffer, Sink, Statistics,
    StoreLimits, Stream, Verdict, ZoneId, fuzzing,
};
use prost::Message as _;

/// When the rig's datagrams are received.
pub(crate) const RECEIVED_NS: u64 = 1_700_000_001_000_000_000;

/// Where the rig's datagrams come from, unless a test says otherwise.
pub(crate) fn exporter(port: u16) -> SocketAddr {
    (Ipv4Addr::new(192, 0, 2, 1), port).into()
}

/// A datagram from `source`.
pub(crate) fn datagram(payload: &[u8], source: SocketAddr) -> Datagram<'_> {
    Datagram { payload, source, zone: ZoneId(0), received_ns: RECEIVED_NS, truncated: false }
}

/// Keeps records, and the errors that it is shown.
pub(crate) struct Kept {
    flows: RecordBuffer,
    options: RecordBuffer,
    other: RecordBuffer,
    pub(crate) errors: Vec<Malformed>,
}

impl Kept {
    pub(crate) fn new() -> Self {
        let batch = || RecordBuffer::new(1 << 16, Delimiting::Length);
        Self { flows: batch(), options: batch(), other: batch(), errors: Vec::new() }
    }

    pub(crate) fn flows(&self) -> Vec<FlowRecord> {
        self.flows.iter().map(|record| FlowRecord::decode(record).expect("a flow record")).collect()
    }

    pub(crate) fn options(&self) -> Vec<OptionsRecord> {
        self.options.iter().map(|record| OptionsRecord::decode(record).expect("an options record")).collect()
    }

    /// Octets written, over all streams.
    pub(crate) fn len(&self) -> usize {
        self.flows.len() + self.options.len() + self.other.len()
    }

    pub(crate) fn clear(&mut self) {
        self.flows.clear();
        self.options.clear();
        self.other.clear();
        self.errors.clear();
    }
}

impl Sink for Kept {
    const OBSERVES: bool = true;

    fn batch(&mut self, stream: Stream) -> Option<&mut RecordBuffer> {
        Some(match stream {
            Stream::Flow => &mut self.flows,
            Stream::Options => &mut self.options,
            Stream::Counters | Stream::Drops => &mut self.other,
        })
    }

    fn written(&mut self, _stream: Stream, _len: usize) {}

    fn observe_malformed(&mut self, error: &Malformed) {
        self.errors.push(*error);
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        seeds::keep("sequence", &self.taken);
    }
}

/// A decoder, its store and what came out of it.
pub(crate) struct Rig {
    pub(crate) store: Arc<ExporterStore>,
    pub(crate) decoder: Decoder,
    pub(crate) kept: Kept,
    /// All that it took, as a fuzz target takes it, where seeds are made.
    taken: Vec<u8>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with_limits(StoreLimits::default())
    }

    pub(crate) fn with_limits(limits: StoreLimits) -> Self {
        let store = Arc::new(ExporterStore::new(limits));
        let decoder = Decoder::new(store.clone(), DecoderOptions::default());
        Self { store, decoder, kept: Kept::new(), taken: Vec::new() }
    }

    /// Decodes a datagram of the usual exporter and checks the sums.
    pub(crate) fn take(&mut self, payload: impl AsRef<[u8]>) -> Verdict {
        self.take_from(exporter(2055), payload)
    }

    /// Decodes a datagram and checks the sums.
    pub(crate) fn take_from(&mut self, source: SocketAddr, payload: impl AsRef<[u8]>) -> Verdict {
        if seeds::wanted() {
            seeds::keep("datagram", payload.as_ref());
            self.taken.extend(fuzzing::sequence_part(payload.as_ref(), source.port(), 1));
        }
        let verdict = self.decoder.decode(&datagram(payload.as_ref(), source), &mut self.kept);
        self.decoder.decode_released(usize::MAX, &mut self.kept);
        assert!(self.decoder.statistics().check(), "sums differ: {:?}", self.decoder.statistics());
        verdict
    }

    pub(crate) fn statistics(&self) -> &Statistics {
        self.decoder.statistics()
    }

    /// What the decoder has counted, with what waits.
    pub(crate) fn settled(&self) -> Statistics {
        let mut statistics = *self.decoder.statistics();
        statistics.settle_pending(&self.store.pending_counts());
        statistics
    }

    /// The errors so far, as people read them.
    pub(crate) fn errors(&self) -> Vec<String> {
        self.kept.errors.iter().map(ToString::to_string).collect()
    }
}
