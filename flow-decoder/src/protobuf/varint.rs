//! Varints, seven bits an octet, least significant first (the protobuf encoding), without a loop.

/// The low 56 bits of a word.
const LOW: u64 = 0x00ff_ffff_ffff_ffff;

/// The low seven bits of each octet of a word.
const LOW_SEVENS: u64 = 0x7f7f_7f7f_7f7f_7f7f;

/// By the position of a value's highest bit: the continuation bits of its varint in the low seven octets, its length in the
/// top one. One load in place of two computations.
const SHAPES: [u64; 64] = {
    let mut shapes = [0; 64];
    let mut bit = 0;
    while bit < 64 {
        let len = bit / 7 + 1;
        shapes[bit] = (len as u64) << 56 | continuation(len) & LOW;
        bit += 1;
    }
    shapes
};

/// Values below this have varints of up to six octets, which fit one word behind a tag.
pub(super) const SHORT: u64 = 1 << 42;
/// Values below this have varints of up to eight octets.
const WORD: u64 = 1 << 56;

/// The varint of a value below [`WORD`] as a little-endian word, and its length.
#[inline(always)]
pub(super) fn short(value: u64) -> (u64, usize) {
    let shape = SHAPES[63 - (value | 1).leading_zeros() as usize];
    (spread(value) | shape & LOW, (shape >> 56) as usize)
}

/// The same for 32 bits, of which [`spread`] has less to do.
#[inline(always)]
pub(super) fn short32(value: u32) -> (u64, usize) {
    let wide = u64::from(value);
    let shape = SHAPES[63 - (wide | 1).leading_zeros() as usize];
    let spread = wide & 0x7f
        | (wide & 0x3f80) << 1
        | (wide & 0x1f_c000) << 2
        | (wide & 0xfe0_0000) << 3
        | (wide & 0xf000_0000) << 4;
    (spread | shape & LOW, (shape >> 56) as usize)
}

/// The same for 16 bits: one octet, and one more from 2^7 and from 2^14 on.
#[inline(always)]
pub(super) fn short16(value: u16) -> (u64, usize) {
    let wide = u64::from(value);
    let (second, third) = (u64::from(value >= 1 << 7), u64::from(value >= 1 << 14));
    let spread = wide & 0x7f | (wide & 0x3f80) << 1 | (wide & 0xc000) << 2;
    (spread | second << 7 | third << 15, 1 + second as usize + third as usize)
}

/// The same for 8 bits: where the top bit is set it already is the continuation bit, and the octet behind is 1.
#[inline(always)]
pub(super) fn short8(value: u8) -> (u64, usize) {
    let second = u64::from(value >> 7);
    (u64::from(value) | second << 8, 1 + second as usize)
}

/// The varint of any value: its first eight octets, the one or two behind them, and its length.
#[inline(always)]
pub(super) fn wide(value: u64) -> (u64, u64, usize) {
    if value < WORD {
        let (low, len) = short(value);
        return (low, 0, len);
    }
    let (high, len) = short8((value >> 56) as u8);
    (spread(value) | !LOW_SEVENS, high, 8 + len)
}

/// Octets that a varint of `value` takes.
#[inline(always)]
pub(super) fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    (bits * 9 + 64) / 64
}

/// The low 56 bits of `value`, seven to an octet, least significant first.
#[inline(always)]
fn spread(value: u64) -> u64 {
    let x = value & LOW;
    let x = (x & 0x0fff_ffff) | (x & 0x00ff_ffff_f000_0000) << 4;
    let x = (x & 0x0000_3fff_0000_3fff) | (x & 0x0fff_c000_0fff_c000) << 2;
    (x & 0x007f_007f_007f_007f) | (x & 0x3f80_3f80_3f80_3f80) << 1
}

/// The continuation bits of a varint of `len` octets, as far as they lie in its first eight.
const fn continuation(len: usize) -> u64 {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::encoding::encode_varint;

    use super::*;

    fn prost(value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        encode_varint(value, &mut out);
        out
    }

    proptest! {
        #[test]
        fn every_way_to_write_a_varint_equals_prost(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let want = prost(value);
            let mut out = [0; 10];
            prop_assert_eq!(put_varint(&mut out, value), want.len());
            prop_assert_eq!(&out[..want.len()], &want[..]);
            prop_assert_eq!(varint_len(value), want.len());
            let word = |(word, len): (u64, usize)| word.to_le_bytes()[..len].to_vec();
            let (low, high, length) = wide(value);
            prop_assert_eq!(&[low.to_le_bytes(), high.to_le_bytes()].concat()[..length], &want[..]);
            if value < WORD {
                prop_assert_eq!(word(short(value)), want.clone());
            }
            if let Ok(value) = u32::try_from(value) {
                prop_assert_eq!(word(short32(value)), want.clone());
            }
            if let Ok(value) = u16::try_from(value) {
                prop_assert_eq!(word(short16(value)), want.clone());
            }
            if let Ok(value) = u8::try_from(value) {
                prop_assert_eq!(word(short8(value)), want);
            }
        }
    }
}
