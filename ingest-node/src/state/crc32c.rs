//! CRC-32C (Castagnoli), the checksum of frames on disk: RFC 3720, appendix B.4.

const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
};

/// The checksum of all parts, one behind the other.
pub(super) fn crc32c(parts: &[&[u8]]) -> u32 {
    let step = |crc: u32, octet: &u8| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ octet)];
    !parts.iter().flat_map(|part| part.iter()).fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_3720() {
        assert_eq!(crc32c(&[&[0; 32]]), 0x8a91_36aa);
        assert_eq!(crc32c(&[&[0xff; 32]]), 0x62a8_ab43);
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&[&rising]), 0x46dd_794e);
        assert_eq!(crc32c(&[b"1234", b"56789"]), 0xe306_9283, "parts are one text");
    }
}
