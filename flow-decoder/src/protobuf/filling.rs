//! Writing only those fields of a record that nothing else fills.

use super::{RecordWriter, Tag};

/// What fields are written to.
pub trait FieldWriter {
    /// A varint field; left out where the value is 0.
    fn uint(&mut self, tag: Tag, value: u64);

    /// A bytes field of four bytes.
    fn bytes4(&mut self, tag: Tag, value: [u8; 4]);

    /// A bytes field of sixteen bytes.
    fn bytes16(&mut self, tag: Tag, value: [u8; 16]);

    /// A bytes field; left out where it is empty.
    fn bytes(&mut self, tag: Tag, value: &[u8]);

    /// A string field; left out where it is empty.
    fn text(&mut self, tag: Tag, value: &[u8]);

    /// A packed repeated varint field; left out where it has no members.
    fn packed(&mut self, tag: Tag, values: impl IntoIterator<Item = u64>);
}

impl FieldWriter for RecordWriter<'_> {
    #[inline(always)]
    fn uint(&mut self, tag: Tag, value: u64) {
        RecordWriter::uint(self, tag, value);
    }

    #[inline(always)]
    fn bytes4(&mut self, tag: Tag, value: [u8; 4]) {
        RecordWriter::bytes4(self, tag, value);
    }

    #[inline(always)]
    fn bytes16(&mut self, tag: Tag, value: [u8; 16]) {
        RecordWriter::bytes16(self, tag, value);
    }

    #[inline(always)]
    fn bytes(&mut self, tag: Tag, value: &[u8]) {
        RecordWriter::bytes(self, tag, value);
    }

    #[inline(always)]
    fn text(&mut self, tag: Tag, value: &[u8]) {
        RecordWriter::text(self, tag, value);
    }

    #[inline(always)]
    fn packed(&mut self, tag: Tag, values: impl IntoIterator<Item = u64>) {
        RecordWriter::packed(self, tag, values);
    }
}

/// A set of fields; of numbers above 255 it holds none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSet([u64; 4]);

impl FieldSet {
    pub(crate) fn insert(&mut self, tag: Tag) {
        let number = tag.number() as usize;
        if let Some(word) = self.0.get_mut(number / 64) {
            *word |= 1 << (number % 64);
        }
    }

    pub(crate) fn contains(&self, tag: Tag) -> bool {
        let number = tag.number() as usize;
        self.0.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    fn insert_all(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine |= theirs;
        }
    }
}

/// A writer for several parts of one record, each of which fills what neither the record nor an earlier part fills.
pub(crate) struct Filling<'w, 'b> {
    out: &'w mut RecordWriter<'b>,
    filled: FieldSet,
    by_this_part: FieldSet,
}

impl<'w, 'b> Filling<'w, 'b> {
    /// A writer beside what fills `filled`.
    pub(crate) fn new(out: &'w mut RecordWriter<'b>, filled: FieldSet) -> Self {
        Self { out, filled, by_this_part: FieldSet::default() }
    }

    /// What is written from now on is another part.
    pub(crate) fn next_part(&mut self) {
        self.filled.insert_all(&std::mem::take(&mut self.by_this_part));
    }

    /// This part has said all of a field.
    pub(crate) fn close(&mut self, tag: Tag) {
        if self.by_this_part.contains(tag) {
            self.filled.insert(tag);
        }
    }

    /// The record, to write a field that is free.
    fn open(&mut self, tag: Tag) -> Option<&mut RecordWriter<'b>> {
        if self.filled.contains(tag) {
            return None;
        }
        self.by_this_part.insert(tag);
        Some(self.out)
    }
}

impl FieldWriter for Filling<'_, '_> {
    fn uint(&mut self, tag: Tag, value: u64) {
        if value != 0
            && let Some(out) = self.open(tag)
        {
            out.uint(tag, value);
        }
    }

    fn bytes4(&mut self, tag: Tag, value: [u8; 4]) {
        if let Some(out) = self.open(tag) {
            out.bytes4(tag, value);
        }
    }

    fn bytes16(&mut self, tag: Tag, value: [u8; 16]) {
        if let Some(out) = self.open(tag) {
            out.bytes16(tag, value);
        }
    }

    fn bytes(&mut self, tag: Tag, value: &[u8]) {
        if !value.is_empty()
            && let Some(out) = self.open(tag)
        {
            out.bytes(tag, value);
        }
    }

    fn text(&mut self, tag: Tag, value: &[u8]) {
        if value.iter().any(|&byte| byte != 0)
            && let Some(out) = self.open(tag)
        {
            out.text(tag, value);
        }
    }

    fn packed(&mut self, tag: Tag, values: impl IntoIterator<Item = u64>) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_some()
            && let Some(out) = self.open(tag)
        {
            out.packed(tag, values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Delimiting, RecordBuffer};
    use super::*;

    #[test]
    fn each_part_fills_what_is_free() {
        let (one, two, far) = (Tag::varint(1), Tag::varint(2), Tag::delimited(250));
        let mut filled = FieldSet::default();
        filled.insert(one);
        let mut buffer = RecordBuffer::new(64, Delimiting::Length);
        let mut writer = buffer.begin();
        let mut filling = Filling::new(&mut writer, filled);
        filling.uint(one, 7);
        filling.uint(two, 0);
        filling.next_part();
        filling.uint(two, 8);
        filling.bytes(far, b"a");
        filling.bytes(far, b"b");
        filling.next_part();
        filling.uint(two, 9);
        filling.bytes(far, b"c");
        writer.finish();
        let want = [&[0x10, 8][..], &[0xd2, 0x0f, 1, b'a'], &[0xd2, 0x0f, 1, b'b']].concat();
        assert_eq!(buffer.iter().next(), Some(&want[..]));
    }
}
