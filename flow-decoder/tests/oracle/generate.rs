//! Makes up exporters: random templates, and data that fits them.
//!
//! Elements are mostly those that fill a record's field, often several for the same field, with every length they can be
//! squeezed into; values are often 0, so that the order of preference shows.

use std::collections::HashMap;
use std::fmt;

use proptest::prelude::*;
use proptest::sample::select;

use crate::wire::{
    EXPORT_TIME, Field, Message, field, ipfix_options_template, put16, put32, template, v9_options_template,
};
use flow_decoder::template::VARIABLE;

/// IANA elements and v9 types that mean something to a record.
const MEANINGFUL: &[u16] = &[
    1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 21, 22, 23, 24, 27, 28, 29, 30, 31, 32, 34,
    47, 48, 50, 52, 54, 56, 57, 58, 59, 60, 61, 62, 63, 70, 71, 72, 79, 80, 81, 85, 86, 88, 89, 95, 96, 128,
    129, 136, 138, 139, 140, 150, 151, 152, 153, 154, 155, 156, 157, 158, 159, 176, 177, 178, 179, 180, 181,
    182, 183, 192, 193, 197, 200, 225, 226, 227, 228, 230, 231, 232, 233, 234, 235, 236, 239, 243, 252, 253,
    210, 254, 256, 281, 282, 298, 299, 302, 305, 306, 309, 310, 311, 312, 322, 323, 324, 325, 351, 371, 411,
    412, 104, 160, 161, 162, 313, 315, 316, 408, 409, 494, 495, 497, 498, 499, 507, 291, 292, 293, 496,
];
/// Numbers that only NetFlow v9 has.
const V9_ONLY: &[u16] = &[40000, 34000, 34001, 34002, 34003, 40001, 40002, 40003, 40004, 40005, 33002];
/// Enterprise elements with a meaning or a reverse, and some without.
const ENTERPRISE: &[(u32, u16)] = &[
    (9, 1232),
    (9, 1233),
    (9, 1234),
    (9, 1235),
    (29305, 1),
    (29305, 2),
    (29305, 6),
    (29305, 8),
    (29305, 85),
    (29305, 86),
    (6871, 14),
    (6871, 15),
    (6871, 16398),
    (6871, 16399),
    (35632, 80),
    (0, 8),
    (u32::MAX, 1),
];
/// What options records say: sampling, the boot time, and names.
const ANNOUNCING: &[u16] = &[
    34, 34, 35, 48, 49, 50, 302, 304, 305, 306, 307, 308, 309, 310, 311, 160, 82, 82, 83, 10, 14, 149, 1, 2,
    95, 96, 234, 236, 300,
];
/// Few ids, so that templates are announced again with another layout.
const IDS: [u16; 4] = [256, 257, 300, 65_535];
/// Source ports of the exporter.
const PORTS: [u16; 2] = [2055, 2056];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V9,
    Ipfix,
}

/// A template to announce.
#[derive(Clone, Debug)]
struct Announcement {
    id: u16,
    scope: Option<Vec<Field>>,
    fields: Vec<Field>,
}

#[derive(Clone, Debug)]
enum Set {
    /// Templates of one kind, and zeros behind them.
    Templates(Vec<Announcement>, usize),
    /// Records of a template, made of these octets, and zeros behind them.
    Data { id: u16, records: usize, octets: Vec<u8>, padding: usize },
}

/// Octets that a failing case prints as hexadecimal.
#[derive(Clone)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl fmt::Debug for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chunks(4).try_for_each(|word| {
            word.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
            f.write_str(" ")
        })
    }
}

/// What a header says: seconds behind [`EXPORT_TIME`], seconds since the boot, sequence. In whatever order they come, there
/// are restarts among them, two of them in a row, clocks that were set, reordering and repeats.
const HEADS: [(u32, u32, u32); 10] = [
    (0, 100, 1),
    (0, 86_400, 100_000),
    (10, 86_410, 100_010),
    (20, 86_420, 100_020),
    (30, 50, 1),
    (40, 60, 2),
    (200, 10, 3),
    (210, 86_610, 4),
    (900, 5, 100_030),
    (900, 30, 5),
];

/// A header, and by how many seconds the receiver's clock is ahead of it.
fn head() -> impl Strategy<Value = Head> {
    let ahead = prop_oneof![8 => Just(1u32), 1 => Just(4000)];
    (prop_oneof![2 => Just(HEADS[0]), 3 => select(&HEADS[..])], ahead)
        .prop_map(|((seconds, uptime, sequence), ahead)| Head { seconds, uptime, sequence, ahead })
}

#[derive(Clone, Copy, Debug)]
struct Head {
    seconds: u32,
    uptime: u32,
    sequence: u32,
    ahead: u32,
}

impl Head {
    fn received_ns(self) -> u64 {
        u64::from(EXPORT_TIME + self.seconds + self.ahead) * 1_000_000_000
    }

    fn write(self, message: Message, version: Version) -> Message {
        let message = message.export_time(EXPORT_TIME + self.seconds).sequence(self.sequence);
        if version == Version::V9 { message.uptime(self.uptime * 1000) } else { message }
    }
}

/// Datagrams of one exporter with the source port and the receive time of each.
pub(crate) fn datagrams() -> impl Strategy<Value = Vec<(u16, u64, Hex)>> {
    let version = select(&[Version::V9, Version::Ipfix][..]);
    version.prop_flat_map(|version| {
        let datagram = (select(&PORTS[..]), head(), prop::collection::vec(set(version), 1..5));
        let first = (select(&PORTS[..]), head(), prop::collection::vec(templates(version), 1..3));
        (first, prop::collection::vec(datagram, 1..8)).prop_map(move |(first, rest)| {
            let mut layouts = HashMap::new();
            let all = std::iter::once(first).chain(rest);
            let mut datagram = |(port, head, sets): (u16, Head, Vec<Set>)| {
                (port, head.received_ns(), Hex(build(version, head, port, &sets, &mut layouts)))
            };
            all.map(&mut datagram).collect()
        })
    })
}

fn set(version: Version) -> impl Strategy<Value = Set> {
    let octets = prop::collection::vec(octet(), 64..400);
    let data = (select(&IDS[..]), 0usize..5, octets, prop_oneof![8 => Just(0usize), 1 => 0usize..12])
        .prop_map(|(id, records, octets, padding)| Set::Data { id, records, octets, padding });
    prop_oneof![1 => templates(version), 4 => data]
}

fn templates(version: Version) -> impl Strategy<Value = Set> {
    let data = (select(&IDS[..]), prop::collection::vec(any_field(version), 1..40))
        .prop_map(|(id, fields)| Announcement { id, scope: None, fields });
    let options = (
        select(&IDS[..]),
        prop::collection::vec(announcing(), 0..3),
        prop::collection::vec(announcing(), 1..6),
    )
        .prop_map(|(id, scope, fields)| Announcement { id, scope: Some(scope), fields });
    let one_kind = prop_oneof![
        4 => prop::collection::vec(data, 1..4),
        1 => prop::collection::vec(options, 1..3),
    ];
    (one_kind, 0usize..4).prop_map(|(templates, padding)| Set::Templates(templates, padding))
}

fn octet() -> impl Strategy<Value = u8> {
    prop_oneof![3 => Just(0u8), 2 => select(&[1u8, 4, 6, 58, 255][..]), 3 => any::<u8>()]
}

fn any_field(version: Version) -> BoxedStrategy<Field> {
    let meaningful = (select(MEANINGFUL), length()).prop_map(|(id, length)| field(id, length));
    let fitting = select(MEANINGFUL).prop_map(|id| field(id, usual_length(id)));
    match version {
        Version::V9 => {
            let own = (select(V9_ONLY), length()).prop_map(|(id, length)| field(id, length));
            let any = (any::<u16>(), length()).prop_map(|(id, length)| field(id, length));
            prop_oneof![8 => fitting, 8 => meaningful, 2 => own, 1 => any].boxed()
        }
        Version::Ipfix => {
            let vendor = (select(ENTERPRISE), length()).prop_map(|((pen, id), length)| Field {
                pen: Some(pen),
                id,
                length,
            });
            let any = (0u16..540, length()).prop_map(|(id, length)| field(id, length));
            prop_oneof![8 => fitting, 8 => meaningful, 2 => vendor, 1 => any].boxed()
        }
    }
}

fn announcing() -> impl Strategy<Value = Field> {
    (select(ANNOUNCING), select(&[0u16, 1, 2, 4, 4, 4, 8, 8][..])).prop_map(|(id, length)| field(id, length))
}

fn length() -> impl Strategy<Value = u16> + Clone {
    let fixed = prop_oneof![
        6 => select(&[1u16, 2, 4, 8][..]),
        2 => select(&[3u16, 5, 6, 7, 9, 12, 16][..]),
        1 => Just(0u16),
    ];
    prop_oneof![6 => fixed, 1 => Just(VARIABLE)]
}

/// The length that exporters give an element as a rule.
fn usual_length(id: u16) -> u16 {
    match id {
        27 | 28 | 62 | 63 | 140 | 281 | 282 | 494 | 495 => 16,
        291..=293 | 496 => VARIABLE,
        56 | 57 | 80 | 81 => 6,
        152..=157 | 323..=325 | 311 => 8,
        70..=79 => 3,
        4 | 5 | 6 | 9 | 13 | 60 | 61 | 89 | 136 | 176..=179 | 192 | 193 => 1,
        7 | 11 | 58 | 59 | 180..=183 => 2,
        _ => 4,
    }
}

type Layouts = HashMap<(u16, u16), Vec<Field>>;

fn build(version: Version, head: Head, port: u16, sets: &[Set], layouts: &mut Layouts) -> Vec<u8> {
    let message = match version {
        Version::V9 => Message::v9(),
        Version::Ipfix => Message::ipfix(),
    };
    let message = head.write(message, version);
    sets.iter()
        .fold(message, |message, set| match set {
            Set::Templates(templates, padding) => {
                let mut body = Vec::new();
                for announcement in templates {
                    let Announcement { id, scope, fields } = announcement;
                    body.extend(match (scope, version) {
                        (None, _) => template(*id, fields),
                        (Some(scope), Version::V9) => v9_options_template(*id, scope, fields),
                        (Some(scope), Version::Ipfix) => ipfix_options_template(*id, scope, fields),
                    });
                    let layout = scope.iter().flatten().chain(fields).copied().collect();
                    layouts.insert((port, *id), layout);
                }
                body.resize(body.len() + padding, 0);
                let options = templates.iter().any(|template| template.scope.is_some());
                let set_id = match version {
                    Version::V9 => u16::from(options),
                    Version::Ipfix => 2 + u16::from(options),
                };
                message.set(set_id, body)
            }
            Set::Data { id, records, octets, padding } => {
                let own = layouts.get(&(port, *id));
                let Some(layout) = own.or_else(|| PORTS.iter().find_map(|port| layouts.get(&(*port, *id))))
                else {
                    return message.set(*id, octets);
                };
                let mut octets = octets.iter().copied().cycle();
                let mut body = Vec::new();
                for _ in 0..*records {
                    layout.iter().for_each(|field| value(field, &mut octets, &mut body));
                }
                body.resize(body.len() + padding, 0);
                message.set(*id, body)
            }
        })
        .build()
}

/// Structured data, well-formed as a rule: a list of values, or of records of some template.
fn list(id: u16, octets: &mut impl Iterator<Item = u8>) -> Vec<u8> {
    let mut next = || octets.next().unwrap_or_default();
    let mut out = vec![next()];
    match id {
        291 | 496 => {
            let element =
                if next() % 2 == 0 { 494 } else { MEANINGFUL[usize::from(next()) % MEANINGFUL.len()] };
            put16(&mut out, element);
            put16(&mut out, usual_length(element));
            out.extend((0..next() % 40).map(|_| next()));
        }
        292 => {
            put16(&mut out, IDS[usize::from(next()) % 4]);
            out.extend((0..next()).map(|_| next()));
        }
        _ => {
            for _ in 0..next() % 4 {
                let len = u16::from(next() % 80);
                put16(&mut out, IDS[usize::from(next()) % 4]);
                put16(&mut out, len + if next() == 255 { 0 } else { 4 });
                out.extend((0..len).map(|_| next()));
            }
        }
    }
    out
}

/// Octets of one field, with the length in front where records say it.
fn value(field: &Field, octets: &mut impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    let mut length = field.length;
    if length == VARIABLE && matches!(field.id, 291..=293 | 496) {
        let list = list(field.id, octets);
        out.push(255);
        put16(out, list.len() as u16);
        out.extend(list);
        return;
    }
    if length == VARIABLE {
        let choice = octets.next().unwrap_or_default();
        length = u16::from(choice % 20);
        if choice % 5 == 4 {
            out.push(255);
            put16(out, length);
        } else {
            out.push(length as u8);
        }
    }
    if length == 4 && matches!(field.id, 21 | 22) {
        // A sysUpTime near the header's.
        let ms = u32::from(octets.next().unwrap_or_default()) * 1000;
        return put32(out, ms);
    }
    out.extend(octets.take(usize::from(length)));
}
