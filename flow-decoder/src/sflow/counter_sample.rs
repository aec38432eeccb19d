//! Counter samples: the counters of an interface, a VLAN, a processor, a host.
//!
//! ```text
//! counter sample (0:2):          sequence 4 | source: class 8 bits, index 24 bits | records 4
//! expanded counter sample (0:4): sequence 4 | source class 4 | source index 4 | records 4
//! ```
//!
//! Structures whose layout is published become messages (see `counter_layout`). All others are kept as they came.

use super::counter_layout::Layout;
use super::datagram::{Origin, Sample, SampleKind};
use super::fields::{Source, counters, write_structure};
use super::flow_sample::record_path;
use super::records::Records;
use crate::cursor::EndOfInput;
use crate::datagram::Context;
use crate::elements;
use crate::error::{Malformed, Reason};
use crate::sink::{Sink, Stream};

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
            let layout = Layout::of(record.data_format);
            layout
                .map_or(Ok(()), |(_, layout)| layout.check(record.body))
                .map_err(|end| Malformed::end(Reason::SampleRecord, end).within(record_path(record.number)))
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
    let mut written = [false; Layout::COUNT];
    for record in records().flatten() {
        let name = elements::sflow_counter_record(record.enterprise(), record.format());
        match Layout::of(record.data_format) {
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
