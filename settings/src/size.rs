//! Sizes in bytes.

use std::fmt;

use crate::value::{Refusal, Value};

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// So many bytes.
    pub const fn new(bytes: u64) -> ByteSize {
        ByteSize(bytes)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The number of bytes as a length in memory; a size beyond the address space is all of it.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Units by their lower-case names; the binary ones largest first, for writing.
const UNITS: [(&str, &str, u64); 9] = [
    ("TiB", "ti", 1 << 40),
    ("GiB", "gi", 1 << 30),
    ("MiB", "mi", 1 << 20),
    ("KiB", "ki", 1 << 10),
    ("B", "", 1),
    ("TB", "", 1_000_000_000_000),
    ("GB", "", 1_000_000_000),
    ("MB", "", 1_000_000),
    ("kB", "", 1_000),
];

impl Value for ByteSize {
    const KIND: &'static str = "size";
    const EXPECTED: &'static str = "a size such as 64MiB, 64MB or a number of bytes";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| Refusal::Unexpected)?;
        let unit = unit.trim_start().to_ascii_lowercase();
        if let "k" | "m" | "g" | "t" = unit.as_str() {
            let letter = unit.to_ascii_uppercase();
            return Err(Refusal::Because(format!(
                "is ambiguous: write {letter}iB (1024) or {letter}B (1000)"
            )));
        }
        let named =
            |(name, short, _): &&(&str, &str, u64)| unit == name.to_ascii_lowercase() || unit == *short;
        let scale = UNITS.iter().find(named).ok_or(Refusal::Unexpected)?.2;
        let bytes = number.checked_mul(scale);
        bytes.map(ByteSize).ok_or_else(|| Refusal::Because("is more than 2^64 bytes".to_owned()))
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = UNITS.iter().filter(|(_, short, _)| !short.is_empty());
        match binary.clone().find(|(_, _, scale)| self.0 != 0 && self.0.is_multiple_of(*scale)) {
            Some((name, _, scale)) => write!(f, "{}{name}", self.0 / scale),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units() {
        for (text, bytes) in [
            ("0", 0),
            ("64MiB", 64 << 20),
            ("64Mi", 64 << 20),
            ("64mib", 64 << 20),
            ("5 kB", 5000),
            ("7B", 7),
        ] {
            assert_eq!(ByteSize::parse(text), Ok(ByteSize(bytes)), "{text}");
        }
        for wrong in ["", "MiB", "1.5MiB", "-1", "64 apples", "64MiBs"] {
            assert_eq!(ByteSize::parse(wrong), Err(Refusal::Unexpected), "{wrong:?}");
        }
    }

    #[test]
    fn a_bare_letter_is_ambiguous() {
        let refusal = ByteSize::parse("64M");
        assert_eq!(refusal, Err(Refusal::Because("is ambiguous: write MiB (1024) or MB (1000)".to_owned())));
    }

    #[test]
    fn the_largest_unit_that_fits_is_written() {
        assert_eq!(ByteSize(64 << 10).to_string(), "64KiB");
        assert_eq!(ByteSize(1000).to_string(), "1000");
        assert_eq!(ByteSize(0).to_string(), "0");
    }

    proptest! {
        #[test]
        fn a_size_reads_what_it_writes(bytes in any::<u64>(), shift in 0u32..40) {
            let size = ByteSize(bytes >> shift << shift);
            prop_assert_eq!(ByteSize::parse(&size.to_string()), Ok(size));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,12}") {
            let _ = ByteSize::parse(&text);
        }
    }
}
