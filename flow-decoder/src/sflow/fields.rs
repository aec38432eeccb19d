//! Tags of `SflowCounters`, `SflowDrop` and `SflowStructure`, and how the nested counter messages lie on the wire.

use crate::protobuf::{RecordWriter, Tag};

use super::datagram::Origin;
use super::records::Record;

/// Tags of `catchment.flow.v1.SflowCounters`.
pub(super) mod counters {
    use super::Tag;

    pub(in super::super) const UPTIME_MS: Tag = Tag::varint(9);
    pub(in super::super) const ZONE: Tag = Tag::delimited(10);
    pub(in super::super) const COLLECTOR_NODE: Tag = Tag::delimited(11);
    pub(in super::super) const STRUCTURES: Tag = Tag::delimited(12);
}

/// Tags of `catchment.flow.v1.SflowDrop`.
pub(super) mod drops {
    use super::Tag;

    pub(in super::super) const DROPS: Tag = Tag::varint(9);
    pub(in super::super) const IN_IF: Tag = Tag::varint(10);
    pub(in super::super) const OUT_IF: Tag = Tag::varint(11);
    pub(in super::super) const REASON: Tag = Tag::varint(12);
    pub(in super::super) const REASON_NAME: Tag = Tag::delimited(13);
    pub(in super::super) const PACKET: Tag = Tag::delimited(14);
    pub(in super::super) const EGRESS_QUEUE: Tag = Tag::varint(15);
    pub(in super::super) const FUNCTION: Tag = Tag::delimited(16);
    pub(in super::super) const ACL_NUMBER: Tag = Tag::varint(17);
    pub(in super::super) const ACL_NAME: Tag = Tag::delimited(18);
    pub(in super::super) const ACL_DIRECTION: Tag = Tag::varint(19);
    pub(in super::super) const ZONE: Tag = Tag::delimited(20);
    pub(in super::super) const COLLECTOR_NODE: Tag = Tag::delimited(21);
    pub(in super::super) const STRUCTURES: Tag = Tag::delimited(22);
    pub(in super::super) const TRANSIT_DELAY_NS: Tag = Tag::varint(23);
    pub(in super::super) const QUEUE_DEPTH: Tag = Tag::varint(24);
    pub(in super::super) const LINUX_DROP_REASON: Tag = Tag::delimited(25);
}

/// The sequence number and data source of a sample.
pub(super) struct Source {
    pub sequence: u32,
    pub class: u32,
    pub index: u32,
}

impl Origin<'_> {
    /// Writes the fields 1 to 8, which both messages have.
    pub(super) fn write_sample(&self, writer: &mut RecordWriter<'_>, source: &Source) {
        writer.uint(const { Tag::varint(1) }, self.received_ns);
        writer.bytes(const { Tag::delimited(2) }, self.source.as_ref());
        writer.bytes(const { Tag::delimited(3) }, self.agent);
        writer.uint(const { Tag::varint(4) }, u64::from(self.sub_agent));
        writer.uint(const { Tag::varint(5) }, u64::from(self.sequence));
        writer.uint(const { Tag::varint(6) }, u64::from(source.sequence));
        writer.uint(const { Tag::varint(7) }, u64::from(source.class));
        writer.uint(const { Tag::varint(8) }, u64::from(source.index));
    }
}

/// Writes an `SflowStructure`.
pub(super) fn write_structure(
    writer: &mut RecordWriter<'_>,
    tag: Tag,
    record: &Record<'_>,
    name: Option<&str>,
    body: &[u8],
) {
    let nested = writer.begin_nested(tag);
    writer.uint(const { Tag::varint(1) }, u64::from(record.enterprise()));
    writer.uint(const { Tag::varint(2) }, u64::from(record.format()));
    writer.bytes(const { Tag::delimited(3) }, name.unwrap_or_default().as_bytes());
    writer.bytes(const { Tag::delimited(4) }, body);
    writer.end_nested(nested);
}
