//! Protobuf wire bytes, written straight into a batch.
//!
//! ```text
//! batch:   [prefix][record][prefix][record]...
//! prefix:  varint length                     (Delimiting::Length: framings packed, single, single-delimited)
//!          0x0a, varint length               (Delimiting::ListItem: FlowBatch.records)
//! record:  fields, each  tag varint | value
//! ```
//!
//! Invariants: a batch holds whole records only, a dropped [`RecordWriter`] leaves nothing behind, and no write can fail:
//! where a record is larger than the batch's spare room the batch grows, which never happens in steady state because the
//! owner hands a batch on once it is full.
//!
//! Proto3 leaves out fields of value 0, and so do the writers here.

mod filling;
mod room;
mod tag;
mod varint;
mod writer;

pub use filling::FieldWriter;
pub(crate) use filling::{FieldSet, Filling};
pub(crate) use room::Room;
pub use tag::Tag;
pub use writer::{Nested, RecordWriter};

/// What stands before each record of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimiting {
    /// The record's length.
    Length,
    /// The tag of `FlowBatch.records`, then the record's length.
    ListItem,
}

/// Bytes kept free behind the write position, so that short fields are one store.
const SLACK: usize = 32;
/// Room for the prefix of a record: tag and a length of up to five bytes.
const PREFIX: usize = 6;
/// Bytes beyond a batch's capacity: a writer asks for all that a record may take before it begins.
const HEADROOM: usize = 2048;

/// A batch of delimited records.
#[derive(Debug)]
pub struct RecordBuffer {
    /// Initialised up to its length; `used` bytes of it are records.
    bytes: Vec<u8>,
    used: usize,
    records: u64,
    delimiting: Delimiting,
}

impl RecordBuffer {
    /// An empty batch with room for `capacity` bytes of records.
    pub fn new(capacity: usize, delimiting: Delimiting) -> Self {
        Self { bytes: vec![0; capacity + HEADROOM + SLACK + PREFIX], used: 0, records: 0, delimiting }
    }

    /// The records with their prefixes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.used]
    }

    /// Bytes of records and prefixes.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether it holds no record.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// How many records it holds.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// What stands before each record.
    pub fn delimiting(&self) -> Delimiting {
        self.delimiting
    }

    /// Forgets the records, keeps the memory.
    pub fn clear(&mut self) {
        self.used = 0;
        self.records = 0;
    }

    /// Appends the records of another batch of the same delimiting.
    pub fn append(&mut self, delimited: &[u8], records: u64) {
        let end = self.used + delimited.len();
        if self.bytes.len() < end + SLACK {
            self.bytes.resize(end + SLACK, 0);
        }
        self.bytes[self.used..end].copy_from_slice(delimited);
        self.used = end;
        self.records += records;
    }

    /// Begins a record.
    #[inline]
    pub fn begin(&mut self) -> RecordWriter<'_> {
        let body = self.used + self.short_prefix();
        RecordWriter::new(self, body)
    }

    /// Length of the prefix that most records have: a length of two bytes.
    #[inline]
    fn short_prefix(&self) -> usize {
        match self.delimiting {
            Delimiting::Length => 2,
            Delimiting::ListItem => 3,
        }
    }

    /// The records one by one, without their prefixes.
    pub fn iter(&self) -> Records<'_> {
        Records { rest: self.as_bytes(), delimiting: self.delimiting }
    }
}

impl RecordBuffer {
    /// Moves a record's body to make the room that a length of `len_len` bytes needs, and says where it ends then.
    #[cold]
    fn move_body(&mut self, body: usize, len: usize, len_len: usize) -> usize {
        let to = body + len_len - 2;
        if self.bytes.len() < to + len + SLACK {
            self.bytes.resize((to + len + SLACK).next_power_of_two(), 0);
        }
        self.bytes.copy_within(body..body + len, to);
        to + len
    }
}

/// Iterator over the records of a batch.
#[derive(Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    delimiting: Delimiting,
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut rest = self.rest;
        if self.delimiting == Delimiting::ListItem {
            rest = rest.get(1..)?;
        }
        let mut len = 0usize;
        for shift in (0..35).step_by(7) {
            let (&byte, tail) = rest.split_first()?;
            rest = tail;
            len |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (record, tail) = rest.split_at_checked(len)?;
        self.rest = tail;
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::encoding::{decode_varint, encode_varint};

    use super::varint::varint_len;
    use super::*;

    fn fields_written(write: impl FnOnce(&mut RecordWriter<'_>)) -> Vec<u8> {
        let mut buffer = RecordBuffer::new(0, Delimiting::Length);
        let mut writer = buffer.begin();
        write(&mut writer);
        writer.finish();
        let record = buffer.iter().next().unwrap().to_vec();
        assert_eq!(buffer.iter().count(), 1);
        record
    }

    fn prost_field(tag: u32, value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        encode_varint(u64::from(tag << 3), &mut out);
        encode_varint(value, &mut out);
        out
    }

    proptest! {
        #[test]
        fn varint_fields_equal_prost(field in 1u32..2048, value in 1u64.., shift in 0u32..64) {
            let value = (value >> shift).max(1);
            let tag = Tag::varint(field);
            prop_assert_eq!(fields_written(|w| w.uint(tag, value)), prost_field(field, value));
            prop_assert_eq!(varint_len(value), prost::encoding::encoded_len_varint(value));
        }

        #[test]
        fn records_of_any_size_come_back(sizes in prop::collection::vec(0usize..40_000, 1..6), list in any::<bool>()) {
            let delimiting = if list { Delimiting::ListItem } else { Delimiting::Length };
            let mut buffer = RecordBuffer::new(64, delimiting);
            let tag = Tag::delimited(6);
            let bodies: Vec<Vec<u8>> = sizes.iter().map(|&n| vec![n as u8; n]).collect();
            for body in &bodies {
                buffer.begin().bytes(tag, b"a writer that is given up leaves nothing");
                let mut writer = buffer.begin();
                writer.bytes(tag, body);
                writer.finish();
            }
            prop_assert_eq!(buffer.records(), bodies.len() as u64);
            let mut wire = buffer.as_bytes();
            for (body, record) in bodies.iter().zip(buffer.iter()) {
                if list {
                    prop_assert_eq!(decode_varint(&mut wire).unwrap(), 0x0a);
                }
                let len = decode_varint(&mut wire).unwrap() as usize;
                prop_assert_eq!(&wire[..len], record);
                wire = &wire[len..];
                prop_assert!(record.ends_with(body));
            }
            prop_assert!(wire.is_empty());
        }

        #[test]
        fn nested_fields_of_any_size(len in prop_oneof![0usize..300, 16_000usize..17_000]) {
            let body = vec![7u8; len];
            let got = fields_written(|w| {
                let nested = w.begin_nested(Tag::delimited(250));
                w.raw(&body);
                w.end_nested(nested);
            });
            let mut want = Vec::new();
            encode_varint(250 << 3 | 2, &mut want);
            encode_varint(len as u64, &mut want);
            want.extend(&body);
            prop_assert_eq!(got, want);
        }
    }

    #[test]
    fn zero_is_left_out_and_text_is_made_utf8() {
        assert!(fields_written(|w| w.uint(Tag::varint(9), 0)).is_empty());
        assert_eq!(fields_written(|w| w.uint_or_zero(Tag::varint(9), 0)), [0x48, 0]);
        assert!(fields_written(|w| w.text(Tag::delimited(6), b"\0\0")).is_empty());
        assert_eq!(fields_written(|w| w.text(Tag::delimited(6), b"a\xff\0")), b"\x32\x04a\xef\xbf\xbd");
    }

    #[test]
    fn addresses_are_bytes_fields() {
        assert_eq!(fields_written(|w| w.bytes4(Tag::delimited(6), [1, 2, 3, 4])), [0x32, 4, 1, 2, 3, 4]);
        let two_byte_tag = fields_written(|w| w.bytes4(Tag::delimited(223), [1, 2, 3, 4]));
        assert_eq!(two_byte_tag, [0xfa, 0x0d, 4, 1, 2, 3, 4]);
        let v6 = fields_written(|w| w.bytes16(Tag::delimited(6), [9; 16]));
        assert_eq!((v6.len(), v6[0], v6[1], v6[17]), (18, 0x32, 16, 9));
    }
}
