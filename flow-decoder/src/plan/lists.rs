//! Elements in structured data (RFC 6313) that fill fields of the record around them.
//!
//! Of all that a record's lists hold, in the order of the wire, the first element with a value fills a field that nothing
//! else of the record fills; TCP flags of one list are united. What makes sense only with others (labels of a stack, sampling,
//! stand-ins) is left out. Segments, BGP communities and AS paths are lists in the record too.

use std::sync::LazyLock;

use super::compile::{Place, is_ruled, op_of};
use super::mapping::{FIRST, Mapping, OBSERVED, STAND_INS};
use super::run::{Locate, Scene, made, octets};
use super::step::{Op, Step};
use crate::elements::{DataType, unsigned};
use crate::overrides::{Destination, How};
use crate::protobuf::{FieldWriter, Filling, Tag};
use crate::record::flow;
use crate::record_field::registered;
use crate::structured::{self, List, is_list};
use crate::template::FieldSpecifier;

/// srhSegmentIPv6.
const SEGMENT: u16 = 494;
/// bgpSourceCommunityList, bgpSourceAsPathList: the record has fields for the way to the destination only.
const OF_SOURCE: [u16; 2] = [484, 511];
/// bgpDestinationCommunityList, bgpDestinationAsPathList.
const NUMBERS: [(u16, Tag); 2] = [(485, flow::BGP_COMMUNITIES), (512, flow::AS_PATH)];

/// The lists of a template, and how elements in them fill fields otherwise than by the built-in tables.
#[derive(Debug, Default)]
pub(super) struct Lists {
    lists: Box<[OneList]>,
    rules: Box<[Rule]>,
}

#[derive(Debug)]
struct OneList {
    step: Step,
    data_type: DataType,
    fills: Fills,
}

/// What a list fills.
#[derive(Clone, Copy, Debug)]
enum Fills {
    /// Fields by its elements.
    Fields,
    /// A list of numbers.
    Numbers(Tag),
    Nothing,
}

/// Where an element goes that a person has sent somewhere.
#[derive(Debug)]
struct Rule {
    pen: u32,
    id: u16,
    to: Option<(Tag, Op)>,
}

impl Lists {
    pub(super) fn of(places: &[Place<'_>], how: &How) -> Self {
        let free = places.iter().filter(|place| !is_ruled(how, place));
        let lists: Box<[_]> = free.filter_map(OneList::of).collect();
        if lists.is_empty() {
            return Self::default();
        }
        let rules = how.fields.iter().map(|rule| {
            let to = match rule.to {
                Destination::Field(field) => op_of(field, rule).map(|op| (field.tag(), op)),
                Destination::Extra => None,
            };
            Rule { pen: rule.pen, id: rule.id, to }
        });
        Self { lists, rules: rules.collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// Octets of memory behind it.
    pub(super) fn octets(&self) -> usize {
        size_of_val(&*self.lists) + size_of_val(&*self.rules)
    }

    /// Writes the fields that elements in the lists of a record fill.
    pub(super) fn write<L: Locate>(&self, scene: &Scene<'_>, record: &L, out: &mut Filling<'_, '_>) {
        for list in &self.lists {
            let value = octets(scene, record, &list.step);
            match list.fills {
                Fills::Nothing => {}
                Fills::Numbers(tag) => {
                    if let Some(List::Values { field, values, .. }) = List::open(list.data_type, value) {
                        let numbers = structured::values(&field, values).map_while(Result::ok).map(unsigned);
                        out.packed(tag, numbers.map(|number| number & 0xffff_ffff));
                    }
                }
                Fills::Fields => {
                    let mut fill = |field: &FieldSpecifier, value: &[u8]| self.fill(scene, field, value, out);
                    // What is wrong with it has been counted.
                    let _ = structured::visit(scene.templates, list.data_type, value, 0, &mut fill);
                }
            }
            out.next_part();
        }
    }

    fn fill(&self, scene: &Scene<'_>, field: &FieldSpecifier, value: &[u8], out: &mut Filling<'_, '_>) {
        if field.scope || value.iter().all(|&byte| byte == 0) {
            return;
        }
        if let Some(rule) = self.rules.iter().find(|rule| (rule.pen, rule.id) == (field.pen, field.id)) {
            if let Some((tag, op)) = rule.to {
                write(scene, tag, op, value, out);
                out.close(tag);
            }
            return;
        }
        if (field.pen, field.id) == (0, SEGMENT) {
            if let Ok(address) = value.try_into() {
                out.bytes16(flow::IPV6_ROUTING_HEADER_ADDRESSES, address);
            }
            return;
        }
        for row in rows(field.pen, field.id) {
            write(scene, row.tag, row.op, value, out);
            out.close(row.tag);
        }
    }
}

impl OneList {
    fn of(place: &Place<'_>) -> Option<Self> {
        let (pen, id) = place.element();
        let data_type = registered(pen, id)?.data_type;
        let numbers = NUMBERS.iter().find(|(list, _)| (0, *list) == (pen, id));
        let fills = match numbers {
            Some(&(_, tag)) => Fills::Numbers(tag),
            None if pen == 0 && OF_SOURCE.contains(&id) => Fills::Nothing,
            None => Fills::Fields,
        };
        is_list(data_type).then_some(Self { step: place.step, data_type, fills })
    }
}

/// The rows of an element, without those that mean something only beside others.
fn rows(pen: u32, id: u16) -> impl Iterator<Item = &'static Mapping> {
    static BY_ELEMENT: LazyLock<Vec<&Mapping>> = LazyLock::new(|| {
        let skipped =
            |row: &&Mapping| row.pen == 0 && (STAND_INS.contains(&row.id) || OBSERVED.contains(&row.id));
        let mut rows: Vec<_> = FIRST.iter().filter(|row| !skipped(row)).collect();
        rows.sort_by_key(|row| (row.pen, row.id));
        rows
    });
    let start = BY_ELEMENT.partition_point(|row| (row.pen, row.id) < (pen, id));
    BY_ELEMENT[start..].iter().copied().take_while(move |row| (row.pen, row.id) == (pen, id))
}

fn write(scene: &Scene<'_>, tag: Tag, op: Op, value: &[u8], out: &mut Filling<'_, '_>) {
    let number = unsigned(value);
    match op {
        Op::Address => match (<[u8; 4]>::try_from(value), <[u8; 16]>::try_from(value)) {
            (Ok(v4), _) => out.bytes4(tag, v4),
            (_, Ok(v6)) => out.bytes16(tag, v6),
            _ => {}
        },
        Op::Bytes => out.bytes(tag, value),
        Op::Text => out.text(tag, value),
        Op::PackedOne => out.packed(tag, Some(number & 0xffff_ffff).filter(|&number| number != 0)),
        op => out.uint(tag, made(op, number, || value, scene.clock)),
    }
}
