//! A biflow (RFC 5103) as two records, one for each direction.
//!
//! ```text
//! template:  source  destination  octets  reverse octets  protocol
//! forward:   source  destination  octets        -         protocol
//! reverse:   dest.   source         -     octets          protocol
//! ```
//!
//! Both directions are plans over the same octets: the template's fields stay where they are, and are read as others. What was
//! measured of one direction is left out of the other; what identifies the flow is in both, with its ends exchanged.

use super::Plan;
use super::compile::{PADDING, places};
use super::mapping::{CERT, CERT_FLAGS, CERT_REVERSE, CISCO, FIRST, REVERSE};
use super::run::{Locate, Scene, number};
use super::step::Step;
use crate::overrides::How;
use crate::record::flow;
use crate::template::{FieldSpecifier, Template, TemplateKind};

/// Counters of the responder, and those of the initiator that they stand beside: octets, packets.
const RESPONDER: [(u16, u16); 2] = [(232, 231), (299, 298)];
/// What else was measured of the packets of one direction, or is about their way: TCP flags, ICMP type and code, TTL,
/// fragments, flow label, next hops, direction at the observation point, VRF name.
const OF_ONE_DIRECTION: [u16; 22] =
    [6, 15, 18, 31, 32, 52, 54, 61, 62, 63, 88, 139, 176, 177, 178, 179, 192, 197, 236, 239, 47, 140];
/// Elements of the two ends.
const ENDS: [(u16, u16); 22] = [
    (8, 12),
    (27, 28),
    (7, 11),
    (180, 181),
    (182, 183),
    (16, 17),
    (128, 129),
    (9, 13),
    (29, 30),
    (10, 14),
    (252, 253),
    (56, 80),
    (81, 57),
    (234, 235),
    (225, 226),
    (227, 228),
    (281, 282),
    (34000, 34001),
    (34002, 34003),
    (40001, 40002),
    (40003, 40004),
    (44, 45),
];
/// Cisco's.
const CISCO_ENDS: [(u16, u16); 2] = [(1232, 1233), (1234, 1235)];

/// The reverse direction of records.
#[derive(Debug)]
pub(crate) struct Reverse {
    plan: Plan,
    /// Counters of the forward and of the reverse direction.
    counters: [Box<[Step]>; 2],
}

/// The fields of each direction.
pub(super) struct Fields {
    pub(super) forward: Vec<FieldSpecifier>,
    pub(super) reverse: Vec<FieldSpecifier>,
}

impl Fields {
    /// Nothing where records by this template are of one direction, or are to stay as they are.
    pub(super) fn of(template: &Template, how: &How) -> Option<Self> {
        let fields = template.fields();
        let is_data = template.kind() == TemplateKind::Data;
        if !(how.split_biflows && is_data && fields.iter().any(is_reverse)) {
            return None;
        }
        let nothing = |field: &FieldSpecifier| FieldSpecifier { pen: 0, id: PADDING, ..*field };
        let forward = fields.iter().map(|field| if is_reverse(field) { nothing(field) } else { *field });
        let reverse = fields.iter().map(|field| in_reverse(field, fields).unwrap_or(nothing(field)));
        Some(Self { forward: forward.collect(), reverse: reverse.collect() })
    }
}

/// Whether the element is of the reverse direction.
fn is_reverse(field: &FieldSpecifier) -> bool {
    !field.scope
        && match field.pen {
            REVERSE => true,
            CERT => field.id & CERT_REVERSE != 0,
            0 => RESPONDER.iter().any(|(responder, _)| *responder == field.id),
            _ => false,
        }
}

/// Whether the element counts a flow's octets or packets.
fn is_counter(id: u16) -> bool {
    FIRST.iter().any(|row| (row.pen, row.id) == (0, id) && [flow::BYTES, flow::PACKETS].contains(&row.tag))
}

/// What the field is to the reverse direction.
fn in_reverse(field: &FieldSpecifier, all: &[FieldSpecifier]) -> Option<FieldSpecifier> {
    if field.scope {
        return Some(*field);
    }
    let element = |pen, id| Some(FieldSpecifier { pen, id, ..*field });
    let is_there = |pen, id| all.iter().any(|other| (other.pen, other.id) == (pen, id));
    match field.pen {
        REVERSE => return element(0, field.id),
        0 => {}
        CERT if is_reverse(field) => return element(CERT, field.id & !CERT_REVERSE),
        CERT if CERT_FLAGS.contains(&field.id) || is_there(CERT, field.id | CERT_REVERSE) => return None,
        CISCO => return element(CISCO, other_end(&CISCO_ENDS, field.id)),
        pen => return element(pen, field.id),
    }
    if let Some((_, initiator)) = RESPONDER.iter().find(|(responder, _)| *responder == field.id) {
        return element(0, *initiator);
    }
    if is_counter(field.id) || OF_ONE_DIRECTION.contains(&field.id) || is_there(REVERSE, field.id) {
        return None;
    }
    element(0, other_end(&ENDS, field.id))
}

fn other_end(ends: &[(u16, u16)], id: u16) -> u16 {
    let other = ends.iter().find_map(|&(source, destination)| {
        (source == id).then_some(destination).or((destination == id).then_some(source))
    });
    other.unwrap_or(id)
}

impl Reverse {
    /// `plan` decodes the reverse direction.
    pub(super) fn new(plan: Plan, fields: &Fields) -> Self {
        let counters = |fields: &[FieldSpecifier]| -> Box<[Step]> {
            let places = places(fields);
            let counters =
                places.iter().filter(|place| place.element().0 == 0 && is_counter(place.element().1));
            counters.map(|place| place.step).collect()
        };
        Self { plan, counters: [counters(&fields.forward), counters(&fields.reverse)] }
    }

    /// Decodes the reverse direction.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Octets of memory behind it.
    pub(super) fn octets(&self) -> usize {
        self.plan.octets() + self.counters.iter().map(|steps| size_of_val(&**steps)).sum::<usize>()
    }

    /// Whether the direction of the record had packets. A record is of one direction at least: where nothing is counted, the
    /// forward one.
    pub(super) fn had_packets<L: Locate>(&self, is_reverse: bool, scene: &Scene<'_>, record: &L) -> bool {
        let [forward, reverse] =
            self.counters.each_ref().map(|steps| steps.iter().any(|step| number(scene, record, step) != 0));
        if is_reverse { reverse } else { forward || !reverse }
    }
}
