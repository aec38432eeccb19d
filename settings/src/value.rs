//! What one setting can be: text in, a type that cannot be wrong out.
//!
//! A [`Value`] says what it expects, reads itself from text and writes itself as text that it would read again; the
//! model's defaults, the file, the environment and `--set` all go through the same three functions.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

/// A type a setting can have.
pub trait Value: Sized + PartialOrd {
    /// The type's name in the page of the reference.
    const KIND: &'static str;
    /// Completes "expected ...".
    const EXPECTED: &'static str;
    /// Whether the value must never be shown.
    const SECRET: bool = false;

    /// Reads `text`; the error, where there is one, says more than "expected ..." can.
    fn parse(text: &str) -> Result<Self, Refusal>;

    /// The text [`Value::parse`] reads as this value.
    fn render(&self) -> String;

    /// Reads `text` and holds it to `limits` (lowest and highest, both inclusive and in this type's own notation).
    fn parse_within(text: &str, limits: Option<Limits>) -> Result<Self, Refusal> {
        let value = Self::parse(text)?;
        if let Some(Limits { lowest, highest }) = limits {
            let bound = |text| Self::parse(text).expect("the model's limits are read by a test");
            if value < bound(lowest) || value > bound(highest) {
                return Err(Refusal::Because(format!("must be from {lowest} to {highest}")));
            }
        }
        Ok(value)
    }
}

/// The lowest and the highest value of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The lowest, itself allowed.
    pub lowest: &'static str,
    /// The highest, itself allowed.
    pub highest: &'static str,
}

/// Why a text is not a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is something else than [`Value::EXPECTED`].
    Unexpected,
    /// It looks right, but.
    Because(String),
}

impl Value for bool {
    const KIND: &'static str = "switch";
    const EXPECTED: &'static str = "on or off";

    fn parse(text: &str) -> Result<Self, Refusal> {
        match text.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" => Ok(true),
            "off" | "false" | "no" => Ok(false),
            _ => Err(Refusal::Unexpected),
        }
    }

    fn render(&self) -> String {
        if *self { "on" } else { "off" }.to_owned()
    }
}

macro_rules! number {
    ($($type:ty, $kind:literal, $expected:literal;)+) => {
        $(impl Value for $type {
            const KIND: &'static str = $kind;
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Result<Self, Refusal> {
                text.parse().map_err(|_| Refusal::Unexpected)
            }

            fn render(&self) -> String {
                self.to_string()
            }
        })+
    };
}

number! {
    NonZeroUsize, "count", "a whole number above 0";
    usize, "count", "a whole number of 0 or more";
    u32, "count", "a whole number of 0 or more";
    u16, "count", "a whole number from 0 to 65535";
    NonZeroU32, "count", "a whole number above 0";
    i32, "number", "a whole number";
}

impl Value for Duration {
    const KIND: &'static str = "duration";
    const EXPECTED: &'static str = "a duration such as 500ms, 2s or 1h30m";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text == "0" {
            return Ok(Duration::ZERO);
        }
        let mut rest = text;
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, tail) = rest.split_at(digits);
            let letters = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let number: u64 = number.parse().map_err(|_| Refusal::Unexpected)?;
            if unit.is_empty() && tail.is_empty() {
                return Err(Refusal::Because(format!("has no unit: expected {}", Self::EXPECTED)));
            }
            let nanoseconds = UNITS.iter().find(|(name, _)| *name == unit).ok_or(Refusal::Unexpected)?.1;
            let part = number.checked_mul(nanoseconds).map(Duration::from_nanos);
            let too_long = || Refusal::Because("is longer than 500 years".to_owned());
            total = part.and_then(|part| total.checked_add(part)).ok_or_else(too_long)?;
            rest = tail;
        }
        if text.is_empty() { Err(Refusal::Unexpected) } else { Ok(total) }
    }

    fn render(&self) -> String {
        let nanoseconds = self.as_nanos();
        let fits = |(_, unit): &&(&str, u64)| nanoseconds.is_multiple_of(u128::from(*unit));
        let (name, unit) = UNITS.iter().find(fits).expect("nanoseconds fit every duration");
        format!("{}{name}", nanoseconds / u128::from(*unit))
    }
}

/// Units of time in nanoseconds, the longest first.
const UNITS: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl Value for SocketAddr {
    const KIND: &'static str = "address";
    const EXPECTED: &'static str = "an IP address and a port such as 0.0.0.0:2055 or [::]:2055";

    fn parse(text: &str) -> Result<Self, Refusal> {
        text.parse().map_err(|_| Refusal::Unexpected)
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

impl Value for PathBuf {
    const KIND: &'static str = "path";
    const EXPECTED: &'static str = "a path";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() { Err(Refusal::Unexpected) } else { Ok(text.into()) }
    }

    fn render(&self) -> String {
        self.display().to_string()
    }
}

impl Value for String {
    const KIND: &'static str = "text";
    const EXPECTED: &'static str = "text";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() { Err(Refusal::Unexpected) } else { Ok(text.to_owned()) }
    }

    fn render(&self) -> String {
        self.clone()
    }
}

/// Empty text is `None`: the setting is off or left to the program.
impl<T: Value> Value for Option<T> {
    const KIND: &'static str = T::KIND;
    const EXPECTED: &'static str = T::EXPECTED;
    const SECRET: bool = T::SECRET;

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() { Ok(None) } else { T::parse(text).map(Some) }
    }

    fn render(&self) -> String {
        self.as_ref().map(T::render).unwrap_or_default()
    }

    fn parse_within(text: &str, limits: Option<Limits>) -> Result<Self, Refusal> {
        if text.is_empty() { Ok(None) } else { T::parse_within(text, limits).map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        assert_eq!(Duration::parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(Duration::parse("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(Duration::parse("0"), Ok(Duration::ZERO));
        assert_eq!(Duration::parse("7d").map(|d| d.render()), Ok("7d".to_owned()));
        for wrong in ["", "s", "2 s", "1.5s", "-1s", "2parsecs", "99999999999999999999s"] {
            assert_eq!(Duration::parse(wrong), Err(Refusal::Unexpected), "{wrong:?}");
        }
        for wrong in ["5", "1s5", "9999999999h"] {
            assert!(matches!(Duration::parse(wrong), Err(Refusal::Because(_))), "{wrong:?}");
        }
    }

    #[test]
    fn limits_are_inclusive_and_named() {
        let limits = Some(Limits { lowest: "1ms", highest: "1s" });
        assert!(Duration::parse_within("1ms", limits).is_ok());
        assert!(Duration::parse_within("1s", limits).is_ok());
        let refusal = Duration::parse_within("2s", limits);
        assert_eq!(refusal, Err(Refusal::Because("must be from 1ms to 1s".to_owned())));
        assert_eq!(Option::<Duration>::parse_within("", limits), Ok(None));
    }

    #[test]
    fn counts_start_at_one() {
        assert_eq!(NonZeroUsize::parse("0"), Err(Refusal::Unexpected));
        assert!(NonZeroUsize::parse("1").is_ok());
    }

    proptest! {
        #[test]
        fn a_duration_reads_what_it_writes(nanoseconds in any::<u64>()) {
            let duration = Duration::from_nanos(nanoseconds);
            prop_assert_eq!(Duration::parse(&duration.render()), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,12}") {
            let _ = Duration::parse(&text);
        }
    }
}
