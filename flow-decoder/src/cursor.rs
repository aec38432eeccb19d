//! Bounds-checked big-endian reads over a datagram that know their offset.
//!
//! Everything that parses wire input goes through this type, so that no read can pass the end and every error can say
//! at which byte of the datagram it happened.

/// What is left of a slice of a datagram, with the datagram offset of its first byte.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    offset: usize,
}

/// A read that would pass the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndOfInput {
    /// Datagram offset at which the read began.
    pub offset: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor over `bytes`, the first of which lies at `offset` in the datagram.
    pub fn new(bytes: &'a [u8], offset: usize) -> Self {
        Self { rest: bytes, offset }
    }

    /// Datagram offset of the next byte.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left, without consuming it.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Consumes `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], EndOfInput> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or(EndOfInput { offset: self.offset })?;
        self.rest = tail;
        self.offset += n;
        Ok(head)
    }

    /// Consumes `n` bytes and hands them out as a cursor of their own.
    pub fn sub(&mut self, n: usize) -> Result<Cursor<'a>, EndOfInput> {
        let offset = self.offset;
        self.take(n).map(|bytes| Cursor::new(bytes, offset))
    }

    /// Consumes a fixed number of bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], EndOfInput> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(EndOfInput { offset: self.offset })?;
        self.rest = tail;
        self.offset += N;
        Ok(*head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, EndOfInput> {
        self.array().map(|[byte]| byte)
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self) -> Result<u16, EndOfInput> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self) -> Result<u32, EndOfInput> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self) -> Result<u64, EndOfInput> {
        self.array().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_move_the_offset_and_stop_at_the_end() {
        let mut cursor = Cursor::new(&[1, 0, 2, 0, 0, 0, 3, 9], 100);
        assert_eq!(cursor.u8(), Ok(1));
        assert_eq!(cursor.u16(), Ok(2));
        assert_eq!(cursor.u32(), Ok(3));
        assert_eq!(cursor.offset(), 107);
        assert_eq!(cursor.u16(), Err(EndOfInput { offset: 107 }));
        assert_eq!(cursor.take(1), Ok(&[9][..]), "a failed read consumes nothing");
        assert!(cursor.is_empty());
    }

    #[test]
    fn a_sub_cursor_keeps_datagram_offsets() {
        let mut cursor = Cursor::new(&[0; 10], 0);
        cursor.take(4).unwrap();
        let mut sub = cursor.sub(4).unwrap();
        assert_eq!(sub.take(5), Err(EndOfInput { offset: 4 }));
        assert_eq!((sub.remaining(), cursor.remaining(), cursor.offset()), (4, 2, 8));
    }
}
