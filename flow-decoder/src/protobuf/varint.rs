//! Variable-length numbers: seven bits to an octet, least significant first, the top bit saying that more follow.

/// Bytes that a varint of `value` takes.
#[inline(always)]
pub(super) fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    (bits * 9 + 64) / 64
}

/// The low 56 bits of `value`, seven to a byte, least significant first.
#[inline(always)]
pub(super) fn spread(value: u64) -> u64 {
    let x = value & 0x00ff_ffff_ffff_ffff;
    let x = (x & 0x0fff_ffff) | (x & 0x00ff_ffff_f000_0000) << 4;
    let x = (x & 0x0000_3fff_0000_3fff) | (x & 0x0fff_c000_0fff_c000) << 2;
    (x & 0x007f_007f_007f_007f) | (x & 0x3f80_3f80_3f80_3f80) << 1
}

/// The continuation bits of a varint of `len` bytes, as far as they lie in its first eight bytes.
#[inline(always)]
pub(super) fn continuation(len: usize) -> u64 {
    let bits = 8 * (len - 1);
    0x8080_8080_8080_8080 & if bits < 64 { (1u64 << bits) - 1 } else { u64::MAX }
}

/// Writes a varint to the front of `out`; returns its length.
pub(super) fn put_varint(out: &mut [u8], mut value: u64) -> usize {
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
