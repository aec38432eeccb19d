//! Records on their way to those who tail: encoded as the output has them, with what the encoding does not say.

use std::net::IpAddr;

use flow_decoder::{Delimiting, RecordBuffer, ZoneId};

use super::Wanted;

/// Capacity that a chunk begins with.
const INITIAL: usize = 4 << 10;

/// Some datagrams' records.
#[derive(Debug, Default)]
pub struct Chunk {
    records: Option<RecordBuffer>,
    marks: Vec<Mark>,
    datagram: Option<(ZoneId, IpAddr)>,
    /// Whether the last record's template is still to be told.
    unmarked: bool,
}

/// What a record does not say of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Zone of the listener.
    pub zone: ZoneId,
    /// Source address of the datagram.
    pub exporter: IpAddr,
    /// Template id; 0 where there is none.
    pub template: u16,
}

impl Chunk {
    /// Octets of records.
    pub(super) fn len(&self) -> usize {
        self.records.as_ref().map_or(0, RecordBuffer::len)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    pub(super) fn begin_datagram(&mut self, zone: ZoneId, exporter: IpAddr) {
        self.datagram = Some((zone, exporter));
        self.unmarked = false;
    }

    /// Adds one record with what stands before it in its batch.
    pub(super) fn push(&mut self, delimited: &[u8], delimiting: Delimiting) {
        let Some((zone, exporter)) = self.datagram else { return };
        self.records.get_or_insert_with(|| RecordBuffer::new(INITIAL, delimiting)).append(delimited, 1);
        self.marks.push(Mark { zone, exporter, template: 0 });
        self.unmarked = true;
    }

    /// Says which template the last record is by.
    pub(super) fn mark(&mut self, template: u16) {
        if self.unmarked
            && let Some(last) = self.marks.last_mut()
        {
            last.template = template;
        }
        self.unmarked = false;
    }

    /// The records, encoded.
    pub fn records(&self) -> impl Iterator<Item = (&Mark, &[u8])> {
        self.marks.iter().zip(self.records.iter().flat_map(RecordBuffer::iter))
    }

    /// How many records a reader may want.
    pub(super) fn wanted(&self, wanted: &Wanted) -> u64 {
        self.marks.iter().filter(|mark| wanted.takes(mark.zone, mark.exporter)).count() as u64
    }
}
