//! What a person knows of exporters better than they say it, read a second time: from docs/configuration.md.

use std::num::NonZeroU32;
use std::sync::Arc;

use catchment_proto::flow::v1::Element as WrittenElement;
use flow_decoder::elements::{self, Rendered};
use flow_decoder::{Destination, FieldRule, Otherwise, Override, Overrides, Sampling};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::beside;
use super::parse::Element;

/// Elements that fill a field by themselves, first and second.
const FIRST: &[u16] = &[
    1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 21, 22, 23, 24, 27, 28, 29, 30, 31, 32, 47,
    52, 54, 56, 57, 58, 59, 60, 61, 62, 63, 80, 81, 85, 86, 88, 89, 95, 96, 128, 129, 136, 138, 139, 140,
    150, 151, 152, 153, 154, 155, 156, 157, 158, 159, 176, 177, 178, 179, 180, 181, 182, 183, 192, 193, 197,
    200, 225, 226, 227, 228, 230, 231, 232, 233, 234, 235, 236, 239, 243, 252, 253, 254, 256, 281, 282, 298,
    299, 312, 322, 323, 324, 325, 351, 371, 498, 507, 34000, 34001, 34002, 34003, 40000, 40001, 40002, 40003,
    40004, 40005,
];
const SECOND: &[u16] = &[4, 7, 8, 11, 12, 27, 28, 56, 58, 80, 256];
const OF_ENTERPRISES: &[(u32, u16)] = &[
    (9, 1232),
    (9, 1233),
    (9, 1234),
    (9, 1235),
    (29305, 1),
    (29305, 2),
    (29305, 6),
    (29305, 85),
    (29305, 86),
    (6871, 14),
    (6871, 15),
    (6871, 16398),
    (6871, 16399),
];
/// Elements that mean something wherever they stand: sampling, MPLS labels, padding.
const ANYWHERE: &[u16] =
    &[34, 48, 50, 302, 305, 306, 309, 310, 311, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 210];
const ADDRESSES: &[u16] = &[8, 12, 15, 18, 27, 28, 47, 62, 63, 140, 225, 226, 281, 282, 40001, 40002];
const NTP: &[u16] = &[154, 155, 156, 157, 324, 325];

/// What is known of all exporters of a test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    fields: Vec<(u32, u16, &'static str)>,
    keep_unknown: bool,
    fixed: Option<NonZeroU32>,
    default: Option<NonZeroU32>,
}

/// A value that is sent to a field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapped<'a> {
    pub(crate) pen: u32,
    pub(crate) id: u16,
    pub(crate) field: &'static str,
    pub(crate) value: &'a [u8],
}

impl Known {
    /// The same for the decoder: for half of the addresses, so that the prefix is looked for.
    pub(crate) fn to_overrides(&self) -> Arc<Overrides> {
        let rule = |&(pen, id, field): &(u32, u16, &str)| FieldRule {
            pen,
            id,
            to: Destination::named(field).expect("a field"),
        };
        let sampling = match (self.fixed, self.default) {
            (Some(rate), _) => Sampling::Fixed(rate),
            (None, Some(rate)) => Sampling::Default(rate),
            (None, None) => Sampling::AsSaid,
        };
        let known = Override {
            zone: None,
            address: [192, 0, 2, 0].into(),
            length: 24,
            sampling,
            fields: self.fields.iter().map(rule).collect(),
            keep_unknown: self.keep_unknown,
            split_biflows: false,
        };
        let everybody =
            Override { length: 0, fields: Vec::new(), sampling: Sampling::AsSaid, ..known.clone() };
        Arc::new(Overrides::new([everybody, known], Otherwise::default()))
    }

    /// Of NetFlow v1, v5 and v7 only the rate can be known better.
    pub(crate) fn of_fixed_layouts(&self) -> Self {
        Self { fields: Vec::new(), keep_unknown: false, ..self.clone() }
    }

    pub(crate) fn rate(&self, said: u64) -> u64 {
        match (self.fixed, said, self.default) {
            (Some(rate), ..) | (None, 0, Some(rate)) => rate.get().into(),
            _ => said,
        }
    }

    fn destination(&self, element: &Element<'_>) -> Option<&'static str> {
        let of = |&&(pen, id, _): &&(u32, u16, &str)| (pen, id) == (element.pen, element.id);
        self.fields.iter().find(of).filter(|_| !element.scope).map(|(.., field)| *field)
    }

    /// Whether somebody has said where the element goes.
    pub(crate) fn maps(&self, element: &Element<'_>) -> bool {
        self.destination(element).is_some()
    }

    /// The first of each mapped element, in the order of the map, where its field can hold it.
    pub(crate) fn mapped<'a>(&self, all: &[Element<'a>]) -> Vec<Mapped<'a>> {
        let mut out = Vec::new();
        for &(pen, id, field) in self.fields.iter().filter(|(.., field)| *field != "extra") {
            let first = all.iter().find(|e| (e.pen, e.id) == (pen, id) && !e.scope);
            out.extend(first.filter(|e| self.fills(e, 0)).map(|e| Mapped { pen, id, field, value: e.value }));
        }
        out
    }

    /// Whether the element, of which there are `before` already, fills a field.
    fn fills(&self, e: &Element<'_>, before: usize) -> bool {
        let address = e.variable || matches!(e.value.len(), 4 | 16);
        let ntp = e.variable || e.value.len() == 8;
        match self.destination(e) {
            Some("extra") => false,
            Some(field) => {
                let data_type = elements::ipfix(e.pen, e.id).map(|known| format!("{:?}", known.data_type));
                let is_address = field.ends_with("_addr") || field.ends_with("hop") || field == "mpls_ip";
                let is_ntp = field.starts_with("time_")
                    && data_type.is_some_and(|name| name.contains("Micro") || name.contains("Nano"));
                before == 0 && (!is_address || address) && (!is_ntp || ntp)
            }
            None if e.pen != 0 => before == 0 && OF_ENTERPRISES.contains(&(e.pen, e.id)),
            None if ANYWHERE.contains(&e.id) => true,
            None => {
                let table = [FIRST, SECOND].get(before).is_some_and(|table| table.contains(&e.id));
                table && (!ADDRESSES.contains(&e.id) || address) && (!NTP.contains(&e.id) || ntp)
            }
        }
    }

    /// The elements that a record keeps as they are.
    pub(crate) fn extra(&self, all: &[Element<'_>]) -> Vec<WrittenElement> {
        let mut out = Vec::new();
        for (at, e) in all.iter().enumerate().filter(|(_, e)| !e.scope) {
            let same = |other: &&Element<'_>| (other.pen, other.id, other.scope) == (e.pen, e.id, false);
            let before = all[..at].iter().filter(same).count();
            let padding = e.pen == 0 && e.id == 210;
            let wanted = self.destination(e) == Some("extra")
                || self.keep_unknown
                    && !self.fills(e, before)
                    && !beside::uses(self, all, e, before)
                    && !padding;
            if !wanted || e.value.is_empty() {
                continue;
            }
            let known = if e.pen == 0 { elements::netflow_v9(e.id) } else { elements::ipfix(e.pen, e.id) };
            out.push(WrittenElement {
                pen: e.pen,
                id: u32::from(e.id),
                name: known.map(|known| known.name.to_owned()).unwrap_or_default(),
                value: e.value.to_vec(),
                text: known.map_or(String::new(), |known| {
                    Rendered { data_type: known.data_type, value: e.value }.to_string()
                }),
                scope: false,
            });
        }
        out
    }
}

/// Elements and the fields that people may send them to, also to those that others fill.
const SENT: &[(u32, u16, &str)] = &[
    (0, 411, "src_sgt"),
    (0, 412, "dst_sgt"),
    (9, 1232, "in_if"),
    (9, 1233, "extra"),
    (9, 1234, "application_name"),
    (29305, 8, "src_addr"),
    (35632, 80, "dst_sgt"),
    (0, 1, "packets"),
    (0, 2, "bytes"),
    (0, 231, "bytes"),
    (0, 4, "inner_proto"),
    (0, 7, "etype"),
    (0, 8, "next_hop"),
    (0, 10, "out_if"),
    (0, 11, "extra"),
    (0, 12, "src_addr"),
    (0, 27, "mpls_ip"),
    (0, 34, "bgp_local_pref"),
    (0, 58, "vlan_id"),
    (0, 70, "extra"),
    (0, 95, "src_mac"),
    (0, 96, "application_id"),
    (0, 136, "mpls_ttl"),
    (0, 150, "time_flow_end_ns"),
    (0, 153, "time_flow_start_ns"),
    (0, 154, "time_flow_start_ns"),
    (0, 157, "time_flow_start_ns"),
    (0, 176, "icmp_code"),
    (0, 210, "dst_priority"),
    (0, 371, "dst_user"),
    (0, 34002, "out_if_name"),
];

/// What people may know of an exporter.
pub(crate) fn known() -> impl Strategy<Value = Known> {
    let rate = || prop::option::of((1u32..5000).prop_map(|rate| NonZeroU32::new(rate).expect("above 0")));
    let fields = subsequence(SENT, 0..=SENT.len()).prop_shuffle();
    (fields, select(&[false, true][..]), rate(), rate())
        .prop_map(|(fields, keep_unknown, fixed, default)| Known { fields, keep_unknown, fixed, default })
}
