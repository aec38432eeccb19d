//! A sink that hands everything on and keeps a copy of flow records.

use flow_decoder::template::TemplateKind;
use flow_decoder::{HeldOrigin, RecordBuffer, Sink, Stream, WireRecord};

use super::chunk::Chunk;

/// The decoder writes a record, says so, then shows what it was on the wire: from the first two comes the copy, from the last
/// the template.
pub(super) struct TailSink<'a, S> {
    inner: &'a mut S,
    chunk: &'a mut Chunk,
}

impl<'a, S> TailSink<'a, S> {
    pub(super) fn new(inner: &'a mut S, chunk: &'a mut Chunk) -> Self {
        Self { inner, chunk }
    }
}

impl<S: Sink> Sink for TailSink<'_, S> {
    const OBSERVES: bool = true;

    fn batch(&mut self, stream: Stream) -> Option<&mut RecordBuffer> {
        self.inner.batch(stream)
    }

    fn written(&mut self, stream: Stream, len: usize) {
        if stream == Stream::Flow
            && let Some(batch) = self.inner.batch(stream)
        {
            let written = batch.as_bytes();
            self.chunk.push(&written[written.len() - len..], batch.delimiting());
        }
        self.inner.written(stream, len);
    }

    fn datagram_number(&self) -> u64 {
        self.inner.datagram_number()
    }

    fn begin_held(&mut self, held: &HeldOrigin) {
        self.chunk.begin_datagram(held.zone, held.source.ip());
        self.inner.begin_held(held);
    }

    fn observe_record(&mut self, record: &WireRecord<'_>) {
        if record.kind == TemplateKind::Data {
            self.chunk.mark(record.set.unwrap_or_default());
        }
    }
}
