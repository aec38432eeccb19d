//! What the tests of several outputs need.

use flow_decoder::protobuf::Tag;
use flow_decoder::{Delimiting, RecordBuffer, Stream};

use super::batch::{Batch, BatchId, Origin};
use crate::config::{Config, Sources};

/// A configuration from `KEY=VALUE` arguments.
pub(super) fn config(set: impl IntoIterator<Item = String>) -> Config {
    let sources = Sources { set: set.into_iter().collect(), ..Sources::default() };
    Config::load(&sources).expect("a right configuration").config
}

pub(super) fn origin() -> Origin {
    Origin { node: "node-1".into(), incarnation: 7 }
}

/// Writes a flow record from 10.0.0.1 and a port; returns its length.
pub(super) fn write_flow(records: &mut RecordBuffer, port: u32) -> usize {
    let mut record = records.begin();
    record.bytes4(Tag::delimited(6), [10, 0, 0, 1]);
    record.uint(Tag::varint(21), port.into());
    record.finish()
}

/// So many flow records, their ports counted from 1.
pub(super) fn flow_records(count: u32) -> RecordBuffer {
    let mut records = RecordBuffer::new(0, Delimiting::Length);
    for port in 1..=count {
        write_flow(&mut records, port);
    }
    records
}

pub(super) fn batch_of<'a>(origin: &'a Origin, records: &'a RecordBuffer) -> Batch<'a> {
    let id = BatchId { origin, worker: 0, number: 0 };
    Batch { id, stream: Stream::Flow, partition: None, records }
}
