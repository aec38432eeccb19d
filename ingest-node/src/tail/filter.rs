//! Which records somebody wants to see, told from their encoding.
//!
//! Most records that are looked at do not pass, so they are not decoded for it: the filter reads the few fields that it is
//! about and skips over the others.

use std::net::IpAddr;

use catchment_settings::Prefix;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::Wanted;
use super::chunk::Mark;

/// Conditions that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Exporter and zone.
    pub wanted: Wanted,
    /// Source or destination address is in it.
    pub prefix: Option<Prefix>,
    /// Source or destination port; 0: any.
    pub port: u16,
    /// IP protocol.
    pub protocol: Option<u8>,
    /// Template id; 0: any.
    pub template: u16,
}

/// Fields of `FlowRecord`.
const SRC_ADDR: u32 = 6;
const DST_ADDR: u32 = 7;
const PROTO: u32 = 20;
const SRC_PORT: u32 = 21;
const DST_PORT: u32 = 22;

/// What of a record the filter is about. Fields that are left out are 0 (proto3).
#[derive(Debug, Default)]
struct Seen {
    addresses: [Option<IpAddr>; 2],
    ports: [u64; 2],
    protocol: u64,
}

impl Filter {
    /// Whether a record passes.
    pub fn passes(&self, mark: &Mark, record: &[u8]) -> bool {
        if !self.wanted.takes(mark.zone, mark.exporter)
            || (self.template != 0 && mark.template != self.template)
        {
            return false;
        }
        if self.prefix.is_none() && self.port == 0 && self.protocol.is_none() {
            return true;
        }
        let Some(seen) = Seen::of(record) else { return false };
        let in_prefix =
            |prefix: Prefix| seen.addresses.iter().flatten().any(|&address| prefix.contains(address));
        self.prefix.is_none_or(in_prefix)
            && (self.port == 0 || seen.ports.contains(&u64::from(self.port)))
            && self.protocol.is_none_or(|protocol| seen.protocol == u64::from(protocol))
    }
}

impl Seen {
    /// `None` where it is no message, which the decoder never writes.
    fn of(mut record: &[u8]) -> Option<Self> {
        let mut seen = Self::default();
        while !record.is_empty() {
            let (field, wire) = decode_key(&mut record).ok()?;
            match (field, wire) {
                (SRC_ADDR | DST_ADDR, WireType::LengthDelimited) => {
                    let length = usize::try_from(decode_varint(&mut record).ok()?).ok()?;
                    let (octets, rest) = record.split_at_checked(length)?;
                    seen.addresses[(field - SRC_ADDR) as usize] = address(octets);
                    record = rest;
                }
                (PROTO, WireType::Varint) => seen.protocol = decode_varint(&mut record).ok()?,
                (SRC_PORT | DST_PORT, WireType::Varint) => {
                    seen.ports[(field - SRC_PORT) as usize] = decode_varint(&mut record).ok()?;
                }
                _ => skip_field(wire, field, &mut record, DecodeContext::default()).ok()?,
            }
        }
        Some(seen)
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

#[cfg(test)]
mod tests {
    use catchment_proto::flow::v1::FlowRecord;
    use catchment_settings::Value as _;
    use flow_decoder::ZoneId;
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    const MARK: Mark =
        Mark { zone: ZoneId(0), exporter: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), template: 256 };

    fn record() -> FlowRecord {
        FlowRecord {
            src_addr: vec![10, 0, 0, 1],
            dst_addr: vec![198, 51, 100, 7],
            proto: 6,
            src_port: 40_000,
            dst_port: 443,
            bytes: 1 << 40,
            zone: "lab".to_owned(),
            as_path: vec![64512, 64513],
            ..FlowRecord::default()
        }
    }

    fn passes(filter: &Filter) -> bool {
        filter.passes(&MARK, &record().encode_to_vec())
    }

    #[test]
    fn each_condition_lets_through_and_keeps_out() {
        let prefix = |text| Some(Prefix::parse(text).unwrap());
        assert!(passes(&Filter::default()));
        for (text, expected) in
            [("10.0.0.0/8", true), ("198.51.100.7", true), ("11.0.0.0/8", false), ("2001:db8::/32", false)]
        {
            assert_eq!(passes(&Filter { prefix: prefix(text), ..Filter::default() }), expected, "{text}");
        }
        for (port, expected) in [(443, true), (40_000, true), (80, false)] {
            assert_eq!(passes(&Filter { port, ..Filter::default() }), expected, "{port}");
        }
        for (protocol, expected) in [(6, true), (17, false), (0, false)] {
            assert_eq!(
                passes(&Filter { protocol: Some(protocol), ..Filter::default() }),
                expected,
                "{protocol}"
            );
        }
        for (template, expected) in [(256, true), (257, false)] {
            assert_eq!(passes(&Filter { template, ..Filter::default() }), expected, "{template}");
        }
        let wanted =
            |exporter: [u8; 4], zone| Wanted { exporter: Some(exporter.into()), zone: Some(ZoneId(zone)) };
        for (wanted, expected) in [
            (wanted([192, 0, 2, 1], 0), true),
            (wanted([192, 0, 2, 2], 0), false),
            (wanted([192, 0, 2, 1], 1), false),
        ] {
            assert_eq!(passes(&Filter { wanted, ..Filter::default() }), expected, "{wanted:?}");
        }
        let both = Filter { port: 443, protocol: Some(17), ..Filter::default() };
        assert!(!passes(&both), "all conditions must hold");
    }

    #[test]
    fn a_record_without_the_field_has_its_zero() {
        let empty = FlowRecord::default().encode_to_vec();
        assert!(
            Filter { protocol: Some(0), ..Filter::default() }.passes(&MARK, &empty),
            "IPv6 hop-by-hop is 0"
        );
        let any = Filter { prefix: Some(Prefix::parse("0.0.0.0/0").unwrap()), ..Filter::default() };
        assert!(!any.passes(&MARK, &empty), "no address is in no prefix");
    }

    proptest! {
        #[test]
        fn any_octets_pass_or_do_not(octets in prop::collection::vec(any::<u8>(), 0..64), port in 1_u16..) {
            let filter = Filter { port, ..Filter::default() };
            let decoded = FlowRecord::decode(&octets[..]);
            let expected = decoded.as_ref().is_ok_and(|record| {
                [record.src_port, record.dst_port].contains(&u32::from(port))
            });
            // What prost refuses may pass where the damage is in a field that the filter skips.
            prop_assert!(filter.passes(&MARK, &octets) == expected || decoded.is_err());
        }
    }
}
