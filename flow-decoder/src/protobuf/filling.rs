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
    /// Fields of flags, each with those that this part has said.
    flags: [(Tag, u64); 2],
}

impl<'w, 'b> Filling<'w, 'b> {
    /// A writer beside what fills `filled`. All that a part says of a field of `flags` is one value.
    pub(crate) fn new(out: &'w mut RecordWriter<'b>, filled: FieldSet, flags: [Tag; 2]) -> Self {
        Self { out, filled, by_this_part: FieldSet::default(), flags: flags.map(|tag| (tag, 0)) }
    }

    /// What is written from now on is another part.
    pub(crate) fn next_part(&mut self) {
        for at in 0..self.flags.len() {
            let (tag, flags) = self.flags[at];
            self.flags[at].1 = 0;
            if flags != 0
                && let Some(out) = self.open(tag)
            {
                out.uint(tag, flags);
            }
        }
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
        if let Some((_, flags)) = self.flags.iter_mut().find(|(of, _)| *of == tag) {
            *flags |= value;
        } else if value != 0
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
        let mut filling = Filling::new(&mut writer, filled, [far, far]);
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

    #[test]
    fn flags_of_a_part_are_one_value() {
        let (one, two, three) = (Tag::varint(1), Tag::varint(2), Tag::varint(3));
        let mut filled = FieldSet::default();
        filled.insert(two);
        let mut buffer = RecordBuffer::new(64, Delimiting::Length);
        let mut writer = buffer.begin();
        let mut filling = Filling::new(&mut writer, filled, [one, two]);
        filling.uint(one, 0);
        filling.next_part();
        filling.uint(one, 2);
        filling.close(one);
        filling.uint(two, 2);
        filling.uint(three, 7);
        filling.uint(one, 0x11);
        filling.next_part();
        filling.uint(one, 4);
        filling.next_part();
        writer.finish();
        assert_eq!(buffer.iter().next(), Some(&[0x18, 7, 8, 0x13][..]));
    }
}
