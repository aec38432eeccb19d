//! Writes one JSON object member by member, without a tree in between.
//!
//! Invariants: what is written is one line (RFC 8259 control characters are escaped, nothing else adds a line feed) and,
//! once [`Object::end`] was called, one complete object.

use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A JSON object under construction at the end of a buffer.
///
/// The members of [`crate::json::ToJson`] are left out where they are absent (0, empty); those that say "always" are not.
#[derive(Debug)]
#[must_use = "an object needs its end"]
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    /// Opens an object.
    pub fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Closes the object.
    pub fn end(self) {
        self.out.push(b'}');
    }

    /// Writes a member's name, which must need no escapes, and hands out the buffer for its value.
    fn member(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// A number, always.
    pub fn number(&mut self, name: &str, value: impl Into<u64>) {
        decimal(self.member(name), value.into());
    }

    /// A number.
    pub fn uint(&mut self, name: &str, value: impl Into<u64>) {
        let value = value.into();
        if value != 0 {
            decimal(self.member(name), value);
        }
    }

    /// A signed number.
    pub fn int(&mut self, name: &str, value: i32) {
        if value != 0 {
            let out = self.member(name);
            if value < 0 {
                out.push(b'-');
            }
            decimal(out, value.unsigned_abs().into());
        }
    }

    /// A floating-point number; one that JSON cannot show is left out.
    pub fn float(&mut self, name: &str, value: f32) {
        if value != 0.0 && value.is_finite() {
            let shown = value.to_string();
            self.member(name).extend_from_slice(shown.as_bytes());
        }
    }

    /// An array of MAC addresses.
    pub fn macs(&mut self, name: &str, values: &[u64]) {
        self.array(name, values, |out, &value| quoted(out, Mac(value)));
    }

    /// `true`, or nothing.
    pub fn flag(&mut self, name: &str, value: bool) {
        if value {
            self.member(name).extend_from_slice(b"true");
        }
    }

    /// `null`, always.
    pub fn null(&mut self, name: &str) {
        self.member(name).extend_from_slice(b"null");
    }

    /// A value as text, always.
    pub fn text(&mut self, name: &str, value: impl fmt::Display) {
        quoted(self.member(name), value);
    }

    /// A string.
    pub fn string(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            quoted(self.member(name), value);
        }
    }

    /// A number that has a name, by the name; by the number where it has none.
    pub fn named(&mut self, name: &str, value: u32, meaning: Option<&str>) {
        if value != 0 {
            number_or_name(self.member(name), value, meaning);
        }
    }

    /// An IP address of 4 or 16 octets; octets of any other length as hexadecimal.
    pub fn address(&mut self, name: &str, octets: &[u8]) {
        if !octets.is_empty() {
            quoted(self.member(name), Address(octets));
        }
    }

    /// A MAC address in the low 48 bits.
    pub fn mac(&mut self, name: &str, value: u64) {
        if value != 0 {
            quoted(self.member(name), Mac(value));
        }
    }

    /// Octets as hexadecimal.
    pub fn hex(&mut self, name: &str, octets: &[u8]) {
        if !octets.is_empty() {
            quoted(self.member(name), Hex(octets));
        }
    }

    /// An array of numbers.
    pub fn uints(&mut self, name: &str, values: &[u32]) {
        self.array(name, values, |out, &value| decimal(out, value.into()));
    }

    /// An array of addresses.
    pub fn addresses<T: AsRef<[u8]>>(&mut self, name: &str, values: &[T]) {
        self.array(name, values, |out, octets| quoted(out, Address(octets.as_ref())));
    }

    /// An array of anything that `write` writes as one JSON value each.
    pub fn array<T>(&mut self, name: &str, values: &[T], write: impl FnMut(&mut Vec<u8>, &T)) {
        if !values.is_empty() {
            self.array_of(name, values, write);
        }
    }

    /// As [`Self::array`], always.
    pub fn array_of<T>(
        &mut self,
        name: &str,
        values: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Vec<u8>, T),
    ) {
        let out = self.member(name);
        out.push(b'[');
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write(out, value);
        }
        out.push(b']');
    }

    /// A value that `write` writes as one JSON value, where there is one.
    pub fn optional<T>(&mut self, name: &str, value: Option<&T>, write: impl FnOnce(&mut Vec<u8>, &T)) {
        if let Some(value) = value {
            write(self.member(name), value);
        }
    }
}

/// A name in quotes, or the bare number.
pub(super) fn number_or_name(out: &mut Vec<u8>, value: u32, meaning: Option<&str>) {
    match meaning {
        Some(meaning) => quoted(out, meaning),
        None => decimal(out, value.into()),
    }
}

/// Octets shown as hexadecimal, two lower-case digits each.
#[derive(Clone, Copy, Debug)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            f.write_char(char::from(HEX[usize::from(byte >> 4)]))?;
            f.write_char(char::from(HEX[usize::from(byte & 15)]))?;
        }
        Ok(())
    }
}

/// An IP address of 4 or 16 octets shown as text; octets of any other length as [`Hex`].
#[derive(Clone, Copy, Debug)]
pub struct Address<'a>(pub &'a [u8]);

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Ok(octets) = <[u8; 4]>::try_from(self.0) {
            write!(f, "{}", Ipv4Addr::from(octets))
        } else if let Ok(octets) = <[u8; 16]>::try_from(self.0) {
            write!(f, "{}", Ipv6Addr::from(octets))
        } else {
            write!(f, "{}", Hex(self.0))
        }
    }
}

struct Mac(u64);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, _, a, b, c, d, e, g] = self.0.to_be_bytes();
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

fn decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn quoted(out: &mut Vec<u8>, value: impl fmt::Display) {
    out.push(b'"');
    // Escaping writes to memory and cannot fail; a Display that fails by itself leaves its text short.
    let _ = write!(Escaping(out), "{value}");
    out.push(b'"');
}

/// Escapes what RFC 8259 7 wants escaped in a string, and what ends a line or commands a terminal beyond ASCII.
struct Escaping<'a>(&'a mut Vec<u8>);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_special) {
            let (plain, special) = rest.split_at(at);
            self.0.extend_from_slice(plain.as_bytes());
            let mut special = special.chars();
            match special.next().map_or(0, u32::from) {
                0x0a => self.0.extend_from_slice(b"\\n"),
                0x0d => self.0.extend_from_slice(b"\\r"),
                0x09 => self.0.extend_from_slice(b"\\t"),
                ascii @ (0x22 | 0x5c) => self.0.extend_from_slice(&[b'\\', ascii as u8]),
                code => {
                    let digits = [12, 8, 4, 0].map(|shift| HEX[(code >> shift) as usize & 15]);
                    self.0.extend_from_slice(b"\\u");
                    self.0.extend_from_slice(&digits);
                }
            }
            rest = special.as_str();
        }
        self.0.extend_from_slice(rest.as_bytes());
        Ok(())
    }
}

/// Control characters (also U+0080 to U+009F), Unicode's line and paragraph separators, and what strings cannot hold bare.
fn is_special(c: char) -> bool {
    c.is_control() || matches!(c, '"' | '\\' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(write: impl FnOnce(&mut Object<'_>)) -> Value {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        write(&mut object);
        object.end();
        assert!(!out.contains(&b'\n'), "one line");
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn strings_of_any_characters_come_back() {
        let all: String = (0..0x250).filter_map(char::from_u32).chain("\u{2028}\u{fffd}😀".chars()).collect();
        assert_eq!(object(|o| o.string("a", &all))["a"], all);
    }

    /// As Python's `splitlines` or a terminal takes them: names in options data are any octets.
    #[test]
    fn what_ends_a_line_elsewhere_is_escaped() {
        let mut out = Vec::new();
        quoted(&mut out, "\u{7f}\u{85}\u{9b}2J\u{a0}\u{2028}\u{2029}\u{202a}\u{c}");
        let want = "\"\\u007f\\u0085\\u009b2J\u{a0}\\u2028\\u2029\u{202a}\\u000c\"";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[test]
    fn numbers_up_to_the_largest() {
        for value in [0, 9, 10, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(object(|o| o.number("a", value))["a"], value);
        }
    }

    #[test]
    fn addresses_and_macs_are_text() {
        let shown = object(|o| {
            o.address("v4", &[0, 0, 0, 0]);
            o.address("v6", &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            o.address("odd", &[1, 2, 0xff]);
            o.address("none", &[]);
            o.mac("mac", 0x0a0b_0c0d_0e0f);
        });
        let want = json!({"v4": "0.0.0.0", "v6": "2001:db8::1", "odd": "0102ff", "mac": "0a:0b:0c:0d:0e:0f"});
        assert_eq!(shown, want);
    }

    #[test]
    fn what_is_absent_is_left_out() {
        let shown = object(|o| {
            o.uint("a", 0u32);
            o.string("b", "");
            o.flag("c", false);
            o.uints("d", &[]);
            o.hex("e", &[]);
            o.mac("f", 0);
            o.named("g", 0, Some("zero"));
        });
        assert_eq!(shown, json!({}));
    }
}
