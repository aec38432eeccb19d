//! Prints records as they would leave the node: JSON lines or length-delimited protobuf.

use catchment_proto::flow::v1::{FlowRecord, OptionsRecord, SflowCounters, SflowDrop};
use catchment_proto::json::ToJson;
use flow_decoder::{Delimiting, HeldOrigin, Malformed, RecordBuffer, Sink, Stream};
use prost::Message;

use super::{CapturedDatagram, Findings, Printer};
use crate::cli::decode::Format;

/// One record at a time is in a batch, so this only saves growing it.
const BATCH: usize = 4 << 10;

/// Prints the records of some streams in the order of the wire.
#[derive(Debug)]
pub(super) struct RecordPrinter {
    batches: [Option<RecordBuffer>; Stream::COUNT],
    format: Format,
    printed: Vec<u8>,
    findings: Findings,
}

impl RecordPrinter {
    pub(super) fn new(streams: impl IntoIterator<Item = Stream>, format: Format) -> Self {
        let mut batches = [const { None }; Stream::COUNT];
        for stream in streams {
            batches[stream as usize] = Some(RecordBuffer::new(BATCH, Delimiting::Length));
        }
        Self { batches, format, printed: Vec::new(), findings: Findings::default() }
    }
}

impl Sink for RecordPrinter {
    const OBSERVES: bool = true;

    fn batch(&mut self, stream: Stream) -> Option<&mut RecordBuffer> {
        self.batches[stream as usize].as_mut()
    }

    fn written(&mut self, stream: Stream, _len: usize) {
        let Some(batch) = &mut self.batches[stream as usize] else { return };
        match self.format {
            Format::Protobuf => self.printed.extend_from_slice(batch.as_bytes()),
            Format::Json => {
                for record in batch.iter() {
                    line(stream, record, &mut self.printed);
                }
            }
        }
        batch.clear();
    }

    fn datagram_number(&self) -> u64 {
        self.findings.packet
    }

    fn begin_held(&mut self, origin: &HeldOrigin) {
        self.findings.packet = origin.number;
    }

    fn observe_malformed(&mut self, error: &Malformed) {
        self.findings.add(error);
    }
}

impl Printer for RecordPrinter {
    fn begin(&mut self, datagram: &CapturedDatagram) {
        self.findings.packet = datagram.number;
    }

    fn printed(&mut self) -> &mut Vec<u8> {
        &mut self.printed
    }

    fn findings(&mut self) -> &mut Findings {
        &mut self.findings
    }
}

fn line(stream: Stream, record: &[u8], out: &mut Vec<u8>) {
    match stream {
        Stream::Flow => parsed::<FlowRecord>(record).write_json(out),
        Stream::Counters => parsed::<SflowCounters>(record).write_json(out),
        Stream::Drops => parsed::<SflowDrop>(record).write_json(out),
        Stream::Options => parsed::<OptionsRecord>(record).write_json(out),
    }
    out.push(b'\n');
}

fn parsed<M: Message + Default>(record: &[u8]) -> M {
    M::decode(record).expect("the decoder writes valid messages of the stream's type")
}
