//! Room for fields whose greatest size is known: writes into it are one store each and cannot fail.
//!
//! A [`RecordWriter`](super::RecordWriter) checks before each field whether its batch must grow. A plan knows how
//! many fields it writes, so it asks once a record ([`RecordWriter::room`](super::RecordWriter::room)).

use super::Tag;
use super::varint::{SHORT, short, short8, short16, short32, wide};

/// Octets that any field written here takes at most: a tag, a length and an IPv6 address.
pub(super) const FIELD: usize = 2 + 1 + 16;
/// Octets a store may reach behind its field.
pub(super) const OVERHANG: usize = 24;

/// The room. A field beyond what was asked for is left out, which tests of the plans would notice.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> Room<'a> {
    pub(super) fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Octets written.
    pub(crate) fn len(&self) -> usize {
        self.at
    }

    #[inline(always)]
    fn store<const N: usize>(&mut self, octets: [u8; N], len: usize) {
        if let Some(window) = self.bytes.get_mut(self.at..self.at + N) {
            window.copy_from_slice(&octets);
            self.at += len;
        }
    }

    /// A varint field. One of value 0 is written and then overwritten: cheaper than a branch that is often guessed wrong.
    #[inline(always)]
    fn varint(&mut self, tag: Tag, (varint, len): (u64, usize), is_zero: bool) {
        let len = if is_zero { 0 } else { tag.len() + len };
        self.store((tag.word() | varint << tag.shift()).to_le_bytes(), len);
    }

    /// A varint field of 8 bits; left out where it is 0, as in all of these.
    #[inline(always)]
    pub(crate) fn uint8(&mut self, tag: Tag, value: u8) {
        self.varint(tag, short8(value), value == 0);
    }

    /// A varint field of 16 bits.
    #[inline(always)]
    pub(crate) fn uint16(&mut self, tag: Tag, value: u16) {
        self.varint(tag, short16(value), value == 0);
    }

    /// A varint field of 32 bits.
    #[inline(always)]
    pub(crate) fn uint32(&mut self, tag: Tag, value: u32) {
        self.varint(tag, short32(value), value == 0);
    }

    /// A varint field of 64 bits.
    #[inline(always)]
    pub(crate) fn uint64(&mut self, tag: Tag, value: u64) {
        if value < SHORT {
            return self.varint(tag, short(value), value == 0);
        }
        let (low, high, len) = wide(value);
        let (first, carried) = (tag.word() | low << tag.shift(), low >> (64 - tag.shift()));
        let field = u128::from(first) | u128::from(carried | high << tag.shift()) << 64;
        self.store(field.to_le_bytes(), tag.len() + len);
    }

    /// A bytes field of four octets.
    #[inline(always)]
    pub(crate) fn bytes4(&mut self, tag: Tag, value: [u8; 4]) {
        let value = u64::from(u32::from_le_bytes(value));
        self.store((tag.word() | (4 | value << 8) << tag.shift()).to_le_bytes(), tag.len() + 5);
    }

    /// A bytes field of sixteen octets.
    #[inline(always)]
    pub(crate) fn bytes16(&mut self, tag: Tag, value: [u8; 16]) {
        let head = tag.word() | 16 << tag.shift();
        let after = self.at + tag.len() + 1;
        self.store(head.to_le_bytes(), 0);
        if let Some(window) = self.bytes.get_mut(after..after + 16) {
            window.copy_from_slice(&value);
            self.at = after + 16;
        }
    }
}
