//! Tags: a field's number and wire type, as they stand before its value.

/// A field number and wire type, encoded once at compile time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The encoded tag, first octet lowest.
    pub(super) bytes: u16,
    pub(super) len: u8,
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

    /// A field of four octets (float).
    pub const fn fixed32(field: u32) -> Self {
        Self::encode(field << 3 | 5)
    }

    const fn encode(key: u32) -> Self {
        assert!(key >= 8 && key < 1 << 14, "field numbers 1 to 2047 have tags of one or two bytes");
        if key < 0x80 {
            Self { bytes: key as u16, len: 1 }
        } else {
            Self { bytes: ((key & 0x7f) | 0x80 | (key >> 7) << 8) as u16, len: 2 }
        }
    }

    /// The field's number.
    pub(crate) fn number(self) -> u32 {
        let bytes = u32::from(self.bytes);
        if self.len == 1 { bytes >> 3 } else { (bytes & 0x7f | bytes >> 8 << 7) >> 3 }
    }

    /// Octets that the tag takes.
    #[inline(always)]
    pub(super) fn len(self) -> usize {
        usize::from(self.len)
    }

    /// The tag as the first octets of a little-endian word.
    #[inline(always)]
    pub(super) fn word(self) -> u64 {
        u64::from(self.bytes)
    }

    /// By how much the value behind the tag is shifted in such a word.
    #[inline(always)]
    pub(super) fn shift(self) -> u32 {
        8 * u32::from(self.len)
    }
}
