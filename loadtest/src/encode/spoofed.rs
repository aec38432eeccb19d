//! Datagrams full of templates that no exporter has: what an attacker, or a fault, floods a collector with.
//!
//! ```text
//! header as in v9 or IPFIX | template set: (id, fields, (element, length) x fields) x templates | data sets, where asked
//! ```
//! Each layout is another choice and order of well-formed fields; a decoder has no reason to refuse it.

use super::{Put, patch_u16_length, set};
use crate::random::Random;

/// Elements that v9 and IPFIX share, with lengths that both allow.
const ELEMENTS: [(u16, u16); 20] = [
    (1, 4),
    (2, 4),
    (4, 1),
    (5, 1),
    (6, 1),
    (7, 2),
    (8, 4),
    (9, 1),
    (10, 4),
    (11, 2),
    (12, 4),
    (13, 1),
    (14, 4),
    (15, 4),
    (16, 4),
    (17, 4),
    (21, 4),
    (22, 4),
    (32, 2),
    (61, 1),
];
/// Fields that a template can have: the elements of a template are all different.
pub(crate) const MOST_FIELDS: usize = ELEMENTS.len();

/// The shape of a flood's datagrams.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// IPFIX, or else v9.
    pub(crate) version: Version,
    /// Templates in a datagram.
    pub(crate) templates: usize,
    /// Fields in a template, at most [`MOST_FIELDS`].
    pub(crate) fields: usize,
    /// Observation domains, or source ids, to choose from.
    pub(crate) domains: u32,
    /// Whether one record of each template follows.
    pub(crate) data: Data,
    /// Seconds since 1970 UTC in the header.
    pub(crate) clock: u32,
}

/// The protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V9,
    Ipfix,
}

/// What follows the templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Data {
    None,
    /// One record of each, so that each layout has decoded data.
    OneRecordEach,
}

/// Appends one datagram.
pub(crate) fn append(bytes: &mut Vec<u8>, shape: &Shape, random: &mut Random) {
    let start = bytes.len();
    let domain = random.below(shape.domains.into()) as u32;
    let sequence = random.number() as u32;
    let template_set = match shape.version {
        Version::V9 => {
            let records = match shape.data {
                Data::None => shape.templates,
                Data::OneRecordEach => 2 * shape.templates,
            };
            let uptime = 1 + random.below(u64::from(u32::MAX)) as u32;
            bytes.put_u16(9);
            bytes.put_u16(records as u16);
            [uptime, shape.clock, sequence, domain].into_iter().for_each(|word| bytes.put_u32(word));
            0
        }
        Version::Ipfix => {
            bytes.put_u16(10);
            bytes.put_u16(0);
            [shape.clock, sequence, domain].into_iter().for_each(|word| bytes.put_u32(word));
            2
        }
    };
    let mut layouts = Vec::with_capacity(shape.templates);
    set(bytes, template_set, |bytes| {
        for _ in 0..shape.templates {
            let id = 256 + random.below(65_536 - 256) as u16;
            let elements = chosen(shape.fields, random);
            bytes.put_u16(id);
            bytes.put_u16(shape.fields as u16);
            for (element, length) in &elements[..shape.fields] {
                bytes.put_u16(*element);
                bytes.put_u16(*length);
            }
            let length: u16 = elements[..shape.fields].iter().map(|(_, length)| length).sum();
            layouts.push((id, length));
        }
    });
    if shape.data == Data::OneRecordEach {
        for (id, length) in layouts {
            set(bytes, id, |bytes| bytes.extend((0..length).map(|at| at as u8)));
        }
    }
    if shape.version == Version::Ipfix {
        patch_u16_length(bytes, start + 2, start);
    }
}

/// The elements with a random choice of so many in front (Fisher-Yates, broken off).
fn chosen(fields: usize, random: &mut Random) -> [(u16, u16); MOST_FIELDS] {
    let mut elements = ELEMENTS;
    for at in 0..fields {
        let other = at + random.below((MOST_FIELDS - at) as u64) as usize;
        elements.swap(at, other);
    }
    elements
}

#[cfg(test)]
mod tests {
    use super::super::tests::{u16_at, u32_at};
    use super::*;
    use std::collections::HashSet;

    fn shape(version: Version, data: Data) -> Shape {
        Shape { version, templates: 30, fields: 6, domains: 3, data, clock: 1_767_225_600 }
    }

    /// Template id, its fields, for all templates of a set's body.
    fn templates(mut body: &[u8]) -> Vec<(u16, Vec<u8>)> {
        let mut found = Vec::new();
        while !body.is_empty() {
            let length = 4 + 4 * usize::from(u16_at(body, 2));
            found.push((u16_at(body, 0), body[4..length].to_vec()));
            body = &body[length..];
        }
        found
    }

    #[test]
    fn each_template_is_well_formed_and_of_another_layout() {
        for (version, header) in [(Version::V9, 20), (Version::Ipfix, 16)] {
            let (mut random, mut bytes) = (Random::new(1), Vec::new());
            append(&mut bytes, &shape(version, Data::None), &mut random);
            assert_eq!(usize::from(u16_at(&bytes, header + 2)), bytes.len() - header);
            match version {
                Version::V9 => assert_eq!((u16_at(&bytes, 2), u16_at(&bytes, header)), (30, 0)),
                Version::Ipfix => {
                    assert_eq!((usize::from(u16_at(&bytes, 2)), u16_at(&bytes, header)), (bytes.len(), 2));
                }
            }
            assert!(u32_at(&bytes, header - 4) < 3, "domain");
            let templates = templates(&bytes[header + 4..]);
            assert_eq!(templates.len(), 30);
            assert!(templates.iter().all(|(id, fields)| *id >= 256 && fields.len() == 24));
            for (_, fields) in &templates {
                let elements: HashSet<u16> = fields.chunks(4).map(|field| u16_at(field, 0)).collect();
                assert_eq!(elements.len(), 6);
            }
            let layouts: HashSet<_> = templates.iter().map(|(_, fields)| fields).collect();
            assert_eq!(layouts.len(), 30);
        }
    }

    #[test]
    fn a_record_of_each_template_follows_where_asked() {
        let (mut random, mut bytes) = (Random::new(1), Vec::new());
        append(&mut bytes, &shape(Version::Ipfix, Data::OneRecordEach), &mut random);
        let templates_end = 16 + usize::from(u16_at(&bytes, 18));
        let (mut at, mut sets) = (templates_end, Vec::new());
        while at < bytes.len() {
            sets.push((u16_at(&bytes, at), usize::from(u16_at(&bytes, at + 2))));
            at += usize::from(u16_at(&bytes, at + 2));
        }
        let wanted: Vec<_> = templates(&bytes[20..templates_end])
            .into_iter()
            .map(|(id, fields)| {
                let length: usize = fields.chunks(4).map(|field| usize::from(u16_at(field, 2))).sum();
                (id, 4 + length.next_multiple_of(4))
            })
            .collect();
        assert_eq!((at, sets), (bytes.len(), wanted));
    }
}
