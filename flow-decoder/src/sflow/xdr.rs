//! XDR (RFC 4506) as sFlow uses it: big-endian words, and opaque bytes padded to whole words.
//!
//! ```text
//! opaque<>: length 4 | bytes | 0-3 bytes of padding
//! address:  type 4 (0 none, 1 IPv4, 2 IPv6) | 0, 4 or 16 bytes
//! ```

use crate::cursor::{Cursor, EndOfInput};

/// Opaque bytes or a string. Padding that the end of the structure cuts is not missed (some agents leave it out).
pub(super) fn opaque<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], EndOfInput> {
    let len = cursor.u32()? as usize;
    let bytes = cursor.take(len)?;
    let padding = len.next_multiple_of(4) - len;
    cursor.take(padding.min(cursor.remaining()))?;
    Ok(bytes)
}

/// An address of 4 or 16 bytes; none where the type is 0. Any other type has no known length: the structure ends there.
pub(super) fn address<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], EndOfInput> {
    let start = cursor.offset();
    match cursor.u32()? {
        0 => Ok(&[]),
        1 => cursor.take(4),
        2 => cursor.take(16),
        _ => Err(EndOfInput { offset: start }),
    }
}

/// A list of words, as long as it says and the bytes go.
pub(super) fn words<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [[u8; 4]], EndOfInput> {
    let count = cursor.u32()? as usize;
    let len = count.checked_mul(4).ok_or(EndOfInput { offset: cursor.offset() })?;
    Ok(cursor.take(len)?.as_chunks().0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_skipped_and_may_be_cut() {
        let mut cursor = Cursor::new(&[0, 0, 0, 1, b'a', 0, 0, 0, 0, 0, 0, 2, b'b', b'c'], 0);
        assert_eq!(opaque(&mut cursor), Ok(&b"a"[..]));
        assert_eq!(opaque(&mut cursor), Ok(&b"bc"[..]));
        assert!(cursor.is_empty());
    }

    #[test]
    fn counts_of_all_ones_end_with_the_bytes() {
        let bytes = [0xff; 12];
        assert_eq!(opaque(&mut Cursor::new(&bytes, 100)), Err(EndOfInput { offset: 104 }));
        assert_eq!(words(&mut Cursor::new(&bytes, 100)), Err(EndOfInput { offset: 104 }));
        assert_eq!(address(&mut Cursor::new(&bytes, 100)), Err(EndOfInput { offset: 100 }));
    }
}
