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

use std::fmt::{self, Write as _};

/// A field number and wire type, encoded once at compile time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    bytes: u16,
    len: u8,
}

impl Tag {
    /// A varint field (uint32, uint64, bool, enum).
    pub const fn varint(field: u32) -> Self {
        Self::encode(field << 3)
    }

    /// A length-delimited field (bytes, string, message, packed repeated).
    pub const fn delimited(field: u32) -> Self {
        Self::encode(field << 3 | 2)
    }

    const fn encode(key: u32) -> Self {
        assert!(key >= 8 && key < 1 << 14, "field numbers 1 to 2047 have tags of one or two bytes");
        if key < 0x80 {
            Self { bytes: key as u16, len: 1 }
        } else {
            Self { bytes: ((key & 0x7f) | 0x80 | (key >> 7) << 8) as u16, len: 2 }
        }
    }
}

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
        Self { bytes: vec![0; capacity + SLACK + PREFIX], used: 0, records: 0, delimiting }
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
        RecordWriter { at: body, body, buffer: self }
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

/// One record under construction. [`RecordWriter::finish`] adds it to the batch; dropping the writer discards it.
#[derive(Debug)]
pub struct RecordWriter<'a> {
    buffer: &'a mut RecordBuffer,
    /// Where the record's body begins, behind the room for a short prefix.
    body: usize,
    at: usize,
}

impl RecordWriter<'_> {
    /// The next `N` bytes of the batch, growing it where it is too short.
    #[inline(always)]
    fn window<const N: usize>(&mut self) -> &mut [u8; N] {
        const { assert!(N <= SLACK) };
        if self.buffer.bytes.len() < self.at + N {
            self.grow(N);
        }
        self.buffer.bytes[self.at..].first_chunk_mut().expect("grown above")
    }

    #[cold]
    fn grow(&mut self, n: usize) {
        let want = self.at + n + SLACK;
        self.buffer.bytes.resize(want.next_power_of_two(), 0);
    }

    /// Bytes of fields that were encoded before.
    #[inline]
    pub fn raw(&mut self, fields: &[u8]) {
        let end = self.at + fields.len();
        if self.buffer.bytes.len() < end {
            self.grow(fields.len());
        }
        self.buffer.bytes[self.at..end].copy_from_slice(fields);
        self.at = end;
    }

    /// A varint field; left out where the value is 0.
    #[inline(always)]
    pub fn uint(&mut self, tag: Tag, value: u64) {
        if value == 0 {
            return;
        }
        let len = varint_len(value);
        let tag_len = usize::from(tag.len);
        let window = self.window::<16>();
        if value < 1 << 42 {
            let word = u64::from(tag.bytes) | (spread(value) | continuation(len)) << (8 * tag.len);
            window[..8].copy_from_slice(&word.to_le_bytes());
        } else {
            window[..2].copy_from_slice(&tag.bytes.to_le_bytes());
            window[tag_len..tag_len + 8].copy_from_slice(&(spread(value) | continuation(len)).to_le_bytes());
            let top = (value >> 56) as u8;
            window[tag_len + 8] = (top & 0x7f) | if len > 9 { 0x80 } else { 0 };
            window[tag_len + 9] = top >> 7;
        }
        self.at += tag_len + len;
    }

    /// A varint field that is written also where the value is 0 (members of repeated fields and one-ofs).
    pub fn uint_or_zero(&mut self, tag: Tag, value: u64) {
        if value == 0 {
            self.raw(&tag.bytes.to_le_bytes()[..usize::from(tag.len)]);
            self.raw(&[0]);
        } else {
            self.uint(tag, value);
        }
    }

    /// A bytes field of four bytes (an IPv4 address): one store.
    #[inline(always)]
    pub fn bytes4(&mut self, tag: Tag, value: [u8; 4]) {
        let shift = 8 * tag.len;
        let word = u64::from(tag.bytes) | 4 << shift | u64::from(u32::from_le_bytes(value)) << (shift + 8);
        self.window::<8>().copy_from_slice(&word.to_le_bytes());
        self.at += usize::from(tag.len) + 5;
    }

    /// A bytes field of sixteen bytes (an IPv6 address).
    #[inline(always)]
    pub fn bytes16(&mut self, tag: Tag, value: [u8; 16]) {
        let tag_len = usize::from(tag.len);
        let window = self.window::<24>();
        window[..2].copy_from_slice(&tag.bytes.to_le_bytes());
        window[tag_len] = 16;
        window[tag_len + 1..tag_len + 17].copy_from_slice(&value);
        self.at += tag_len + 17;
    }

    /// A bytes field; left out where it is empty.
    pub fn bytes(&mut self, tag: Tag, value: &[u8]) {
        if !value.is_empty() {
            self.delimited_head(tag, value.len());
            self.raw(value);
        }
    }

    /// A string field: trailing NULs are cut, what is no UTF-8 becomes U+FFFD, and an empty one is left out.
    pub fn text(&mut self, tag: Tag, value: &[u8]) {
        let end = value.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let value = &value[..end];
        if std::str::from_utf8(value).is_ok() {
            return self.bytes(tag, value);
        }
        let nested = self.begin_nested(tag);
        for chunk in value.utf8_chunks() {
            self.raw(chunk.valid().as_bytes());
            if !chunk.invalid().is_empty() {
                self.raw("\u{fffd}".as_bytes());
            }
        }
        self.end_nested(nested);
    }

    /// A string field with what `value` prints; left out where that is nothing.
    pub fn display(&mut self, tag: Tag, value: &impl fmt::Display) {
        let before = self.at;
        let nested = self.begin_nested(tag);
        let body = nested.body;
        let mut text = Utf8 { writer: self };
        let printed = write!(text, "{value}");
        if printed.is_err() || self.at == body {
            self.at = before;
        } else {
            self.end_nested(nested);
        }
    }

    /// A packed repeated varint field; left out where it has no members.
    pub fn packed(&mut self, tag: Tag, values: impl IntoIterator<Item = u64>) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return;
        }
        let nested = self.begin_nested(tag);
        for value in values {
            self.varint(value);
        }
        self.end_nested(nested);
    }

    /// Begins a message field (or any length-delimited one); write its content, then call [`Self::end_nested`].
    pub fn begin_nested(&mut self, tag: Tag) -> Nested {
        self.raw(&tag.bytes.to_le_bytes()[..usize::from(tag.len)]);
        self.raw(&[0]);
        Nested { body: self.at }
    }

    /// Ends a message field: sets its length, moving the content where the length needs more than one byte.
    pub fn end_nested(&mut self, nested: Nested) {
        let len = self.at - nested.body;
        let more = varint_len(len as u64) - 1;
        if more > 0 {
            self.raw(&[0; 4][..more]);
            self.buffer.bytes.copy_within(nested.body..nested.body + len, nested.body + more);
        }
        put_varint(&mut self.buffer.bytes[nested.body - 1..], len as u64);
    }

    /// Ends the record and adds it to the batch; returns its size with the prefix.
    #[inline]
    pub fn finish(self) -> usize {
        let start = self.buffer.used;
        let len = self.at - self.body;
        let len_len = varint_len(len as u64);
        let mut prefix = start;
        let mut end = self.at;
        if len_len != 2 {
            end = self.buffer.move_body(self.body, len, len_len);
        }
        let bytes = &mut self.buffer.bytes;
        if self.buffer.delimiting == Delimiting::ListItem {
            bytes[prefix] = 0x0a;
            prefix += 1;
        }
        if len_len == 2 {
            bytes[prefix] = len as u8 | 0x80;
            bytes[prefix + 1] = (len >> 7) as u8;
        } else {
            put_varint(&mut bytes[prefix..], len as u64);
        }
        self.buffer.used = end;
        self.buffer.records += 1;
        end - start
    }

    #[inline]
    fn delimited_head(&mut self, tag: Tag, len: usize) {
        if len < 0x80 {
            let tag_len = usize::from(tag.len);
            let window = self.window::<4>();
            window[..2].copy_from_slice(&tag.bytes.to_le_bytes());
            window[tag_len] = len as u8;
            self.at += tag_len + 1;
            return;
        }
        self.raw(&tag.bytes.to_le_bytes()[..usize::from(tag.len)]);
        self.varint(len as u64);
    }

    fn varint(&mut self, value: u64) {
        let len = put_varint(self.window::<10>(), value);
        self.at += len;
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

/// Text that goes into a record as it is printed.
struct Utf8<'w, 'b> {
    writer: &'w mut RecordWriter<'b>,
}

impl fmt::Write for Utf8<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.writer.raw(text.as_bytes());
        Ok(())
    }
}

/// A message field whose length is not known yet.
#[derive(Clone, Copy, Debug)]
#[must_use = "a nested field needs its end"]
pub struct Nested {
    body: usize,
}

/// Bytes that a varint of `value` takes.
#[inline(always)]
fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    (bits * 9 + 64) / 64
}

/// The low 56 bits of `value`, seven to a byte, least significant first.
#[inline(always)]
fn spread(value: u64) -> u64 {
    let x = value & 0x00ff_ffff_ffff_ffff;
    let x = (x & 0x0fff_ffff) | (x & 0x00ff_ffff_f000_0000) << 4;
    let x = (x & 0x0000_3fff_0000_3fff) | (x & 0x0fff_c000_0fff_c000) << 2;
    (x & 0x007f_007f_007f_007f) | (x & 0x3f80_3f80_3f80_3f80) << 1
}

/// The continuation bits of a varint of `len` bytes, as far as they lie in its first eight bytes.
#[inline(always)]
fn continuation(len: usize) -> u64 {
    let bits = 8 * (len - 1);
    0x8080_8080_8080_8080 & if bits < 64 { (1u64 << bits) - 1 } else { u64::MAX }
}

/// Writes a varint to the front of `out`; returns its length.
fn put_varint(out: &mut [u8], mut value: u64) -> usize {
    let mut len = 0;
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out[len] = byte;
            return len + 1;
        }
        out[len] = byte | 0x80;
        len += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::encoding::{decode_varint, encode_varint};

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
            let tag = Tag::encode(field << 3);
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
