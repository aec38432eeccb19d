//! The writer of one record.
//!
//! Short fields are one store of eight or sixteen octets: what is written beyond the field is overwritten by the next one, and
//! the batch keeps [`SLACK`] octets free for it.

use std::fmt::{self, Write as _};

use super::room::{self, Room};
use super::tag::Tag;
use super::varint::{SHORT, put_varint, short, varint_len, wide};
use super::{Delimiting, RecordBuffer, SLACK};

/// One record under construction. [`RecordWriter::finish`] adds it to the batch; dropping the writer discards it.
#[derive(Debug)]
pub struct RecordWriter<'a> {
    buffer: &'a mut RecordBuffer,
    /// Where the record's body begins, behind the room for a short prefix.
    body: usize,
    at: usize,
}

impl<'a> RecordWriter<'a> {
    #[inline]
    pub(super) fn new(buffer: &'a mut RecordBuffer, body: usize) -> Self {
        Self { at: body, body, buffer }
    }

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

    /// Room for up to `fields` fields, to be taken over by [`Self::filled`].
    #[inline(always)]
    pub(crate) fn room(&mut self, fields: usize) -> Room<'_> {
        let len = fields * room::FIELD + room::OVERHANG;
        if self.buffer.bytes.len() < self.at + len {
            self.grow(len);
        }
        Room::new(&mut self.buffer.bytes[self.at..self.at + len])
    }

    /// Takes over what was written into the room.
    #[inline(always)]
    pub(crate) fn filled(&mut self, len: usize) {
        self.at += len;
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
        if value < SHORT {
            let (varint, len) = short(value);
            *self.window() = (tag.word() | varint << tag.shift()).to_le_bytes();
            self.at += tag.len() + len;
            return;
        }
        let (low, high, len) = wide(value);
        let (first, carried) = (tag.word() | low << tag.shift(), low >> (64 - tag.shift()));
        let field = u128::from(first) | u128::from(carried | high << tag.shift()) << 64;
        *self.window() = field.to_le_bytes();
        self.at += tag.len() + len;
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

    /// A float field, by its bits; left out where it is 0.
    pub fn float(&mut self, tag: Tag, bits: u32) {
        if bits != 0 {
            self.raw(&tag.bytes.to_le_bytes()[..usize::from(tag.len)]);
            self.raw(&bits.to_le_bytes());
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
