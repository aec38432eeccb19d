//! Counter samples: the counters of an interface, a VLAN, a processor, a host.
//!
//! ```text
//! counter sample (0:2):          sequence 4 | source: class 8 bits, index 24 bits | records 4
//! expanded counter sample (0:4): sequence 4 | source class 4 | source index 4 | records 4
//! ```
//!
//! The structures that nearly every switch sends become messages; their fields are numbered in wire order, so that a list of
//! widths describes one. All others are kept as they came.

use super::datagram::{Origin, Sample, SampleKind};
use super::fields::{Source, counters, write_structure};
use super::flow_sample::record_path;
use super::records::{Record, Records};
use crate::cursor::{Cursor, EndOfInput};
use crate::datagram::Context;
use crate::elements;
use crate::error::{Malformed, Reason};
use crate::protobuf::{RecordWriter, Tag};
use crate::sink::{Sink, Stream};

/// A counter structure with a message of its own.
struct Layout {
    data_format: u32,
    tag: Tag,
    /// Octets of each counter; the first is field 1 of the message.
    widths: &'static [u8],
}

/// The sFlow 0:1, 0:2, 0:5 and 0:1001 structures.
const LAYOUTS: [Layout; 4] = [
    Layout {
        data_format: 1,
        tag: counters::INTERFACE,
        widths: &[4, 4, 8, 4, 4, 8, 4, 4, 4, 4, 4, 4, 8, 4, 4, 4, 4, 4, 4],
    },
    Layout { data_format: 2, tag: counters::ETHERNET, widths: &[4; 13] },
    Layout { data_format: 5, tag: counters::VLAN, widths: &[4, 8, 4, 4, 4, 4] },
    Layout { data_format: 1001, tag: counters::PROCESSOR, widths: &[4, 4, 4, 8, 8] },
];

impl Layout {
    fn of(record: &Record<'_>) -> Option<(usize, &'static Self)> {
        LAYOUTS.iter().enumerate().find(|(_, layout)| layout.data_format == record.data_format)
    }

    /// Where the record ends too early for all counters, the offset of the first that lacks.
    fn check(&self, record: &Record<'_>) -> Result<(), Malformed> {
        let mut cursor = record.body;
        let want: usize = self.widths.iter().copied().map(usize::from).sum();
        cursor.take(want).map(|_| ()).map_err(|end| Malformed::end(Reason::SampleRecord, end))
    }

    /// Writes the counters that are there.
    fn write(&self, writer: &mut RecordWriter<'_>, body: Cursor<'_>) {
        let nested = writer.begin_nested(self.tag);
        let mut cursor = body;
        for (field, width) in (1..).zip(self.widths) {
            let counter = if *width == 8 { cursor.u64() } else { cursor.u32().map(u64::from) };
            let Ok(counter) = counter else { break };
            writer.uint(Tag::varint(field), counter);
        }
        writer.end_nested(nested);
    }
}

fn source(sample: &Sample<'_>) -> Result<Source, EndOfInput> {
    let mut cursor = sample.head;
    let sequence = cursor.u32()?;
    if sample.kind == SampleKind::ExpandedCounters {
        return Ok(Source { sequence, class: cursor.u32()?, index: cursor.u32()? });
    }
    let id = cursor.u32()?;
    Ok(Source { sequence, class: id >> 24, index: id & 0xff_ffff })
}

/// Writes the counters record of a sample.
pub(super) fn decode<S: Sink>(context: &mut Context<'_, S>, origin: &Origin<'_>, sample: &Sample<'_>) {
    let source = match source(sample) {
        Ok(source) => source,
        Err(end) => return context.damaged(Malformed::end(Reason::SampleMalformed, end), sample.path),
    };
    let records = || Records::new(sample.records, sample.record_count);
    for record in records() {
        let checked = record.and_then(|record| {
            let layout = Layout::of(&record);
            layout
                .map_or(Ok(()), |(_, layout)| layout.check(&record))
                .map_err(|e| e.within(record_path(record.number)))
        });
        if let Err(error) = checked {
            context.damaged(error, sample.path);
        }
    }
    context.statistics.records[Stream::Counters as usize] += 1;
    let Some(batch) = context.sink.batch(Stream::Counters) else { return };
    let mut writer = batch.begin();
    origin.write_sample(&mut writer, &source);
    writer.uint(counters::UPTIME_MS, u64::from(origin.uptime_ms));
    writer.bytes(counters::ZONE, origin.zone.as_bytes());
    writer.bytes(counters::COLLECTOR_NODE, origin.collector_node.as_bytes());
    let mut written = [false; LAYOUTS.len()];
    for record in records().flatten() {
        let name = elements::sflow_counter_record(record.enterprise(), record.format());
        match Layout::of(&record) {
            Some((at, layout)) if !written[at] => {
                written[at] = true;
                write_structure(&mut writer, counters::STRUCTURES, &record, name, &[]);
                layout.write(&mut writer, record.body);
            }
            _ => write_structure(&mut writer, counters::STRUCTURES, &record, name, record.body.rest()),
        }
    }
    let len = writer.finish();
    context.sink.written(Stream::Counters, len);
}
