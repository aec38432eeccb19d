//! Flow samples: one sampled packet.
//!
//! ```text
//! flow sample (0:1):          sequence 4 | source: class 8 bits, index 24 bits | rate 4 | pool 4 | drops 4
//!                             | input: format 2 bits, value 30 bits | output 4 | records 4
//! expanded flow sample (0:3): sequence 4 | source class 4 | source index 4 | rate 4 | pool 4 | drops 4
//!                             | input format 4 | input value 4 | output format 4 | output value 4 | records 4
//! ```
//!
//! An interface of format 0 is an ifIndex (0x3fffffff: the agent itself). Formats 1 (discarded, with a reason) and 2 (several
//! outputs, with a number) are no index: they keep their format in the two top bits, as a flow sample sends it and as goflow2 shows it,
//! so that the number is not taken for an interface. Expanded samples are shown the same way.

use super::datagram::{Origin, Sample, SampleKind};
use super::flow_record::{Known, SampledPacket};
use super::records::Records;
use crate::cursor::EndOfInput;
use crate::data_set::element_tag;
use crate::datagram::Context;
use crate::elements;
use crate::error::{Malformed, Path, Reason};
use crate::protobuf::RecordWriter;
use crate::record::flow;
use crate::sink::{Sink, Stream};

struct Head {
    sampling_rate: u32,
    input: u32,
    output: u32,
}

fn head(sample: &Sample<'_>) -> Result<Head, EndOfInput> {
    let mut cursor = sample.head;
    let expanded = sample.kind == SampleKind::ExpandedFlow;
    cursor.take(if expanded { 12 } else { 8 })?; // sequence, source
    let sampling_rate = cursor.u32()?;
    cursor.take(8)?; // pool, drops
    let mut interface =
        || if expanded { Ok(expanded_interface(cursor.u32()?, cursor.u32()?)) } else { cursor.u32() };
    Ok(Head { sampling_rate, input: interface()?, output: interface()? })
}

/// An interface of an expanded sample as a flow sample would send it, where it is no ifIndex.
fn expanded_interface(format: u32, value: u32) -> u32 {
    match format {
        1 | 2 => format << 30 | value & 0x3fff_ffff,
        _ => value,
    }
}

/// Writes the flow record of a sample.
pub(super) fn decode<S: Sink>(context: &mut Context<'_, S>, origin: &Origin<'_>, sample: &Sample<'_>) {
    let head = match head(sample) {
        Ok(head) => head,
        Err(end) => return context.damaged(Malformed::end(Reason::SampleMalformed, end), sample.path),
    };
    let mut packet = SampledPacket::default();
    let mut unknown = false;
    for record in Records::new(sample.records, sample.record_count) {
        match record.and_then(|record| packet.read(&record)) {
            Ok(known) => unknown |= known == Known::No,
            Err(error) => context.damaged(error, sample.path),
        }
    }
    context.statistics.records[Stream::Flow as usize] += 1;
    let Some(batch) = context.sink.batch(Stream::Flow) else { return };
    let mut writer = batch.begin();
    writer.raw(origin.shared);
    writer.uint(flow::SAMPLING_RATE, origin.sampling.of(u64::from(head.sampling_rate)));
    writer.uint(flow::IN_IF, u64::from(head.input));
    writer.uint(flow::OUT_IF, u64::from(head.output));
    packet.write(&mut writer);
    if let Some(circumstances) = &packet.circumstances {
        circumstances.write_flow(&mut writer, packet.headers.tunnel.is_some());
    }
    if unknown && origin.keep_unknown {
        write_unknown(sample, &mut writer);
    }
    let len = writer.finish();
    context.sink.written(Stream::Flow, len);
}

/// Keeps the records that fill no field: as elements, enterprise and format as their numbers.
#[cold]
fn write_unknown(sample: &Sample<'_>, writer: &mut RecordWriter<'_>) {
    let records = Records::new(sample.records, sample.record_count).filter_map(Result::ok);
    let unknown = records.filter(|record| SampledPacket::default().read(record) == Ok(Known::No));
    for record in unknown.filter(|record| !record.body.is_empty()) {
        let nested = writer.begin_nested(flow::EXTRA);
        writer.uint(element_tag::PEN, u64::from(record.enterprise()));
        writer.uint(element_tag::ID, u64::from(record.format()));
        let name = elements::sflow_flow_record(record.enterprise(), record.format()).unwrap_or_default();
        writer.bytes(element_tag::NAME, name.as_bytes());
        writer.bytes(element_tag::VALUE, record.body.rest());
        writer.end_nested(nested);
    }
}

/// Where a record is.
pub(super) fn record_path(number: u32) -> Path {
    Path { record: Some(number), ..Path::default() }
}
