//! The element registry: numbers to names and data types, and values as text.
//!
//! Generated at build time from the tables in `elements/` (IANA's registry, NetFlow v9's own types, enterprises, sFlow
//! structures, and the reverse elements of RFC 5103 by rule). Only names and types: which field of a record an element
//! fills is `plan`'s business.

use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::template::FieldSpecifier;

/// Seconds from the NTP epoch (1900) to the Unix epoch (1970).
pub const NTP_TO_UNIX: u32 = 2_208_988_800;

/// Abstract data type of an element (RFC 7012 3.1), as far as rendering needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// unsigned8 to unsigned64.
    Unsigned,
    /// signed8 to signed64.
    Signed,
    /// float32, float64.
    Float,
    /// 1 true, 2 false.
    Boolean,
    /// Six octets.
    MacAddress,
    /// UTF-8.
    String,
    /// Seconds since 1970.
    DateTimeSeconds,
    /// Milliseconds since 1970.
    DateTimeMilliseconds,
    /// NTP time stamp.
    DateTimeMicroseconds,
    /// NTP time stamp.
    DateTimeNanoseconds,
    /// Four octets.
    Ipv4Address,
    /// Sixteen octets.
    Ipv6Address,
    /// Values of one element (RFC 6313).
    BasicList,
    /// Records of one template (RFC 6313).
    SubTemplateList,
    /// Records of several templates (RFC 6313).
    SubTemplateMultiList,
    /// Anything else.
    OctetArray,
}

impl DataType {
    /// Whether it is a point in time.
    pub(crate) fn is_time(self) -> bool {
        matches!(
            self,
            Self::DateTimeSeconds
                | Self::DateTimeMilliseconds
                | Self::DateTimeMicroseconds
                | Self::DateTimeNanoseconds
        )
    }
}

/// One row of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// Enterprise; 0 for IANA and NetFlow v9.
    pub pen: u32,
    /// Number in the enterprise.
    pub id: u32,
    /// Registered name.
    pub name: &'static str,
    /// Data type.
    pub data_type: DataType,
    /// Octets that a number of its type has; 0 where the type is no number, or is not known.
    pub octets: u8,
}

include!(concat!(env!("OUT_DIR"), "/elements.rs"));

fn find(table: &'static [Element], pen: u32, id: u32) -> Option<&'static Element> {
    table.binary_search_by_key(&(pen, id), |row| (row.pen, row.id)).ok().map(|at| &table[at])
}

/// An IPFIX element.
pub fn ipfix(pen: u32, id: u16) -> Option<&'static Element> {
    find(&IPFIX, pen, u32::from(id))
}

/// A NetFlow v9 field type: IANA's name where IANA has one for the number (they agree up to 32767 but for numbers that IANA
/// leaves to v9), else the name in v9's own table.
pub fn netflow_v9(field_type: u16) -> Option<&'static Element> {
    ipfix(0, field_type).or_else(|| find(&NETFLOW_V9, 0, u32::from(field_type)))
}

/// A NetFlow v9 scope type.
pub fn netflow_v9_scope(scope_type: u16) -> Option<&'static Element> {
    find(&NETFLOW_V9_SCOPES, 0, u32::from(scope_type))
}

/// The element of a template's field.
pub fn of_field(version: u16, field: &FieldSpecifier) -> Option<&'static Element> {
    match (version, field.scope) {
        (9, true) => netflow_v9_scope(field.id),
        (9, false) => netflow_v9(field.id),
        _ => ipfix(field.pen, field.id),
    }
}

/// Name of an sFlow flow record's structure.
pub fn sflow_flow_record(enterprise: u32, format: u32) -> Option<&'static str> {
    find(&SFLOW_FLOW_RECORDS, enterprise, format).map(|row| row.name)
}

/// Name of an sFlow counter record's structure.
pub fn sflow_counter_record(enterprise: u32, format: u32) -> Option<&'static str> {
    find(&SFLOW_COUNTER_RECORDS, enterprise, format).map(|row| row.name)
}

/// An element's value as text, by its data type where the length fits that type, else as hexadecimal.
#[derive(Clone, Copy, Debug)]
pub struct Rendered<'a> {
    /// The type to render by.
    pub data_type: DataType,
    /// The bytes on the wire.
    pub value: &'a [u8],
}

impl fmt::Display for Rendered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value;
        match self.data_type {
            DataType::Unsigned | DataType::DateTimeSeconds | DataType::DateTimeMilliseconds
                if fits(value) =>
            {
                write!(f, "{}", unsigned(value))
            }
            DataType::Signed if fits(value) => write!(f, "{}", signed(value)),
            DataType::Boolean if value == [1] => f.write_str("true"),
            DataType::Boolean if value == [2] => f.write_str("false"),
            DataType::MacAddress if value.len() == 6 => separated(f, value, ":"),
            DataType::String => text(f, value),
            DataType::Float => match (<[u8; 4]>::try_from(value), <[u8; 8]>::try_from(value)) {
                (Ok(bytes), _) => write!(f, "{}", f32::from_be_bytes(bytes)),
                (_, Ok(bytes)) => write!(f, "{}", f64::from_be_bytes(bytes)),
                _ => separated(f, value, ""),
            },
            DataType::Ipv4Address | DataType::Ipv6Address => {
                match (<[u8; 4]>::try_from(value), <[u8; 16]>::try_from(value)) {
                    (Ok(bytes), _) => write!(f, "{}", Ipv4Addr::from(bytes)),
                    (_, Ok(bytes)) => write!(f, "{}", Ipv6Addr::from(bytes)),
                    _ => separated(f, value, ""),
                }
            }
            DataType::DateTimeMicroseconds => match ntp_us(value) {
                Some(ns) => write!(f, "{}.{:06}", ns / 1_000_000_000, ns % 1_000_000_000 / 1000),
                None => separated(f, value, ""),
            },
            DataType::DateTimeNanoseconds => match ntp_ns(value) {
                Some(ns) => write!(f, "{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000),
                None => separated(f, value, ""),
            },
            _ => separated(f, value, ""),
        }
    }
}

fn fits(value: &[u8]) -> bool {
    (1..=8).contains(&value.len())
}

/// A big-endian number of any length; what does not fit 64 bits is `u64::MAX`.
pub fn unsigned(value: &[u8]) -> u64 {
    let (high, low) = value.split_at(value.len().saturating_sub(8));
    if high.iter().any(|&byte| byte != 0) {
        return u64::MAX;
    }
    low.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn signed(value: &[u8]) -> i64 {
    let unused = 64 - 8 * value.len() as u32;
    ((unsigned(value) << unused) as i64) >> unused
}

/// An NTP time stamp of eight octets as nanoseconds since 1970 (dateTimeNanoseconds, RFC 7011 6.1.10).
pub fn ntp_ns(value: &[u8]) -> Option<u64> {
    ntp(value, 1_000_000_000)
}

/// The same for dateTimeMicroseconds (RFC 7011 6.1.9), whose low eleven bits mean nothing.
pub fn ntp_us(value: &[u8]) -> Option<u64> {
    ntp(value, 1_000_000)
}

/// Rounded to the nearest of `units` a second: exporters cut the binary fraction off, so that cutting again would lose one
/// unit. Stamps before 1970 belong to the era that begins in 2036.
fn ntp(value: &[u8], units: u64) -> Option<u64> {
    let stamp = u64::from_be_bytes(value.try_into().ok()?);
    if stamp == 0 {
        return None;
    }
    let seconds = ((stamp >> 32) as u32).wrapping_sub(NTP_TO_UNIX);
    let fraction = stamp & 0xffff_ffff;
    let fraction = (fraction * units + (1 << 31)) >> 32;
    Some(u64::from(seconds) * 1_000_000_000 + fraction * (1_000_000_000 / units))
}

fn text(f: &mut fmt::Formatter<'_>, value: &[u8]) -> fmt::Result {
    let end = value.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    for chunk in value[..end].utf8_chunks() {
        f.write_str(chunk.valid())?;
        if !chunk.invalid().is_empty() {
            f.write_char(char::REPLACEMENT_CHARACTER)?;
        }
    }
    Ok(())
}

fn separated(f: &mut fmt::Formatter<'_>, value: &[u8], separator: &str) -> fmt::Result {
    for (index, byte) in value.iter().enumerate() {
        let separator = if index == 0 { "" } else { separator };
        write!(f, "{separator}{byte:02x}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(data_type: DataType, value: &[u8]) -> String {
        Rendered { data_type, value }.to_string()
    }

    #[test]
    fn registries_are_there() {
        assert_eq!(ipfix(0, 8).unwrap().name, "sourceIPv4Address");
        assert_eq!(ipfix(29305, 1).unwrap().name, "reverseOctetDeltaCount");
        assert_eq!(ipfix(29305, 145), None, "templateId has no reverse");
        assert_eq!(ipfix(9, 1232).unwrap().name, "sgtSourceTag");
        assert_eq!(netflow_v9(8).unwrap().name, "sourceIPv4Address");
        assert!(netflow_v9(34000).is_some());
        assert_eq!(netflow_v9_scope(2).unwrap().name, "INTERFACE");
        assert_eq!(sflow_flow_record(0, 1001), Some("extended_switch"));
        assert_eq!(sflow_counter_record(0, 1), Some("if_counters"));
    }

    #[test]
    fn values_render_by_type_and_fall_back_to_hex() {
        assert_eq!(render(DataType::Unsigned, &[1, 0, 0]), "65536");
        assert_eq!(render(DataType::Unsigned, &[0; 9]), "000000000000000000");
        assert_eq!(render(DataType::Signed, &[0xff]), "-1");
        assert_eq!(render(DataType::Ipv4Address, &[10, 0, 0, 1]), "10.0.0.1");
        assert_eq!(render(DataType::Ipv4Address, &[10]), "0a");
        assert_eq!(render(DataType::MacAddress, &[0, 1, 2, 3, 4, 0xff]), "00:01:02:03:04:ff");
        assert_eq!(render(DataType::String, b"eth0\0\0"), "eth0");
        assert_eq!(render(DataType::String, b"a\xff"), "a\u{fffd}");
        assert_eq!(render(DataType::Float, &1.5f64.to_be_bytes()), "1.5");
        assert_eq!(render(DataType::Boolean, &[1]), "true");
    }

    #[test]
    fn ntp_time_stamps_are_exact() {
        let half = u64::from(NTP_TO_UNIX + 10) << 32 | 0x8000_0000;
        assert_eq!(ntp_ns(&half.to_be_bytes()), Some(10_500_000_000));
        let cut = |fraction: u64, units: u64| (u64::from(NTP_TO_UNIX) << 32) + (fraction << 32) / units;
        for n in [1, 3, 123_456, 999_999] {
            assert_eq!(ntp_ns(&cut(n, 1_000_000_000).to_be_bytes()), Some(n));
            let low_bits_cleared = cut(n, 1_000_000) & !0x7ff;
            assert_eq!(ntp_us(&low_bits_cleared.to_be_bytes()), Some(1000 * n));
        }
        assert_eq!(ntp_ns(&[0; 8]), None);
        assert_eq!(ntp_ns(&[0; 4]), None);
    }

    #[test]
    fn numbers_of_any_length() {
        assert_eq!(unsigned(&[]), 0);
        assert_eq!(unsigned(&[0, 0, 0, 0, 0, 0, 0, 0, 1]), 1);
        assert_eq!(unsigned(&[1, 0, 0, 0, 0, 0, 0, 0, 0]), u64::MAX);
    }
}
