//! Template to plan.

use std::collections::HashMap;
use std::sync::Arc;

use super::beside::Beside;
use super::biflow::Reverse;
use super::extra::ExtraStep;
use super::fixed::FixedStep;
use super::mapping::{FIRST, MPLS_LABELS, Mapping, SECOND, STAND_INS};
use super::named::NamedStep;
use super::step::{Op, Step};
use super::{Interfaces, Plan, RecordSampling, biflow};
use crate::elements::DataType;
use crate::overrides::{Destination, FieldRule, How};
use crate::protobuf::{Delimiting, FieldSet, RecordBuffer};
use crate::record::flow;
use crate::record_field::{Holds, RecordField, registered};
use crate::structured;
use crate::template::{FieldSpecifier, Template};

/// Sampling elements in data records: sampler and selector ids, and the elements that give a rate.
const SELECTORS: [u16; 2] = [48, 302];
const RATES: [u16; 7] = [34, 50, 305, 306, 309, 310, 311];
/// paddingOctets (210): means nothing.
pub(super) const PADDING: u16 = 210;

/// A field that a rule or a mapping row matches.
pub(super) struct Candidate {
    /// Preference: rules in their order, then the row's place in its table.
    row: usize,
    /// The element's number in the built-in tables; `None` where a rule sends it here.
    pub(super) id: Option<u16>,
    pub(super) step: Step,
}

/// A template's field and where it lies.
pub(super) struct Place<'a> {
    specifier: &'a FieldSpecifier,
    pub(super) step: Step,
    /// How many fields of the same element come before it.
    occurrence: usize,
}

impl Plan {
    /// Compiles a template by the built-in tables.
    pub fn compile(template: impl Into<Arc<Template>>) -> Self {
        Self::compile_by(template, &How::default())
    }

    /// Compiles a template by the rules for its exporter, and the built-in tables for what they say nothing of.
    pub(crate) fn compile_by(template: impl Into<Arc<Template>>, how: &How) -> Self {
        let template = template.into();
        let Some(fields) = biflow::Fields::of(&template, how) else {
            return Self::compile_fields(template.clone(), template.fields(), how);
        };
        let reverse = Self::compile_fields(template.clone(), &fields.reverse, how);
        let forward = Self::compile_fields(template, &fields.forward, how);
        Self { reverse: Some(Box::new(Reverse::new(reverse, &fields))), ..forward }
    }

    /// Compiles a template whose fields are read as `fields`, which are as long.
    fn compile_fields(template: Arc<Template>, fields: &[FieldSpecifier], how: &How) -> Self {
        let places = places(fields);
        let mut candidates = candidates(&places, how);
        let filling: Vec<u16> = candidates.iter().map(|candidate| candidate.step.field).collect();
        let beside = Beside::of(&places, how, &mut candidates);
        let means = |field: u16| filling.contains(&field) || beside.uses(field);
        let extras = extras(&places, means, how);
        drop_stand_ins(&mut candidates);
        let mut choices = Vec::new();
        let mut steps = steps(&candidates, &mut choices);
        let mut fixed = Vec::new();
        if !template.is_variable() {
            fixed.extend(steps.iter().filter_map(FixedStep::of));
            steps.retain(|step| FixedStep::of(step).is_none());
        }
        let etype = Etype::of(&candidates);
        let mut etype_from = None;
        let mut constants = Box::default();
        match etype {
            Etype::Said | Etype::Unknown => {}
            Etype::Always(etype) => constants = constant(etype),
            Etype::ByAddress(addresses) => {
                etype_from = Some(choices.len() as u16);
                choices.push(addresses);
            }
        }
        let icmp_from_port = icmp_from_port(&candidates);
        let of_id = |ids: &[u16]| -> Vec<(u16, Step)> {
            let found = places.iter().filter(|place| place.is_one_of(ids) && how.rule(place).is_none());
            found.map(|place| (place.specifier.id, place.step)).collect()
        };
        let mut sampling = RecordSampling::default();
        if !how.sampling_is_fixed {
            sampling.rates = of_id(&RATES).into();
            sampling.selector = of_id(&SELECTORS).first().map(|(_, step)| *step);
            let of_tag = |tag| alternatives(&candidates, |c| c.step.tag == tag);
            sampling.interfaces = Interfaces {
                input: of_tag(flow::IN_IF),
                output: of_tag(flow::OUT_IF),
                direction: of_tag(flow::FLOW_DIRECTION).first().copied(),
            };
        }
        let labels: Vec<u16> = MPLS_LABELS.collect();
        let mut mpls_labels = of_id(&labels);
        mpls_labels.sort_by_key(|(id, _)| *id);
        let mut filled = FieldSet::default();
        candidates.iter().for_each(|candidate| filled.insert(candidate.step.tag));
        if icmp_from_port.is_some() {
            filled.insert(flow::ICMP_TYPE);
            filled.insert(flow::ICMP_CODE);
        }
        if etype_from.is_some() || !constants.is_empty() {
            filled.insert(flow::ETYPE);
        }
        if !mpls_labels.is_empty() {
            filled.insert(flow::MPLS_LABEL);
        }
        let boot = beside.boot();
        let beside = beside.writes().then(|| Box::new(beside.beside(filled)));
        let has_lists = template.fields().iter().any(structured::holds_list);
        Self {
            boot,
            has_lists,
            has_rare_fields: icmp_from_port.is_some()
                || beside.is_some()
                || etype_from.is_some()
                || !mpls_labels.is_empty()
                || !sampling.is_empty()
                || !extras.is_empty(),
            beside,
            named: NamedStep::all(&candidates),
            extras,
            fixed: fixed.into(),
            steps: steps.into(),
            choices: choices.into(),
            mpls_labels: mpls_labels.into_iter().map(|(_, step)| step).collect(),
            icmp_from_port,
            etype_from,
            constants,
            sampling,
            reverse: None,
            record_len: template.min_record_len(),
            template,
        }
    }
}

/// The fields that can hold a value, with their places.
pub(super) fn places(fields: &[FieldSpecifier]) -> Vec<Place<'_>> {
    let mut out: Vec<Place<'_>> = Vec::new();
    let mut occurrences: HashMap<(u32, u16), usize> = HashMap::new();
    let mut start = 0u16;
    for (index, specifier) in fields.iter().enumerate() {
        let len = if specifier.variable { 0 } else { specifier.length };
        if !specifier.scope && (specifier.variable || len > 0) {
            let next = occurrences.entry((specifier.pen, specifier.id)).or_default();
            let occurrence = *next;
            *next += 1;
            let step = Step { op: Op::U64, tag: flow::BYTES, start, len, field: index as u16 };
            out.push(Place { specifier, step, occurrence });
        }
        start = start.wrapping_add(len);
    }
    out
}

impl Place<'_> {
    /// Its element's enterprise and number.
    pub(super) fn element(&self) -> (u32, u16) {
        (self.specifier.pen, self.specifier.id)
    }

    pub(super) fn is(&self, pen: u32, id: u16) -> bool {
        (self.specifier.pen, self.specifier.id) == (pen, id)
    }

    fn is_one_of(&self, ids: &[u16]) -> bool {
        self.specifier.pen == 0 && ids.contains(&self.specifier.id)
    }
}

/// Whether a rule says where the field's element goes.
pub(super) fn is_ruled(how: &How, place: &Place<'_>) -> bool {
    how.rule(place).is_some()
}

impl How {
    /// The rule for a field's element, with its place among the rules.
    fn rule(&self, place: &Place<'_>) -> Option<(usize, &FieldRule)> {
        self.fields.iter().enumerate().find(|(_, rule)| place.is(rule.pen, rule.id))
    }
}

/// Every match of a field with a rule or a row, in order of preference. Where there is a rule for an element the tables say
/// nothing of it.
fn candidates(places: &[Place<'_>], how: &How) -> Vec<Candidate> {
    let mut out = Vec::new();
    for place in places {
        if let Some((row, rule)) = how.rule(place) {
            out.extend(by_rule(place, rule).map(|step| Candidate { row, id: None, step }));
            continue;
        }
        let (table, base): (&[Mapping], usize) = match place.occurrence {
            0 => (FIRST, how.fields.len()),
            1 => (SECOND, how.fields.len() + FIRST.len()),
            _ => continue,
        };
        for (row, mapping) in table.iter().enumerate() {
            if place.is(mapping.pen, mapping.id) && fits(mapping.op, place) {
                let step = Step { op: mapping.op, tag: mapping.tag, ..place.step };
                out.push(Candidate { row: base + row, id: Some(mapping.id), step });
            }
        }
    }
    out.sort_by_key(|candidate| candidate.row);
    out
}

/// The step that fills the rule's field with the first element of a record.
fn by_rule(place: &Place<'_>, rule: &FieldRule) -> Option<Step> {
    let Destination::Field(field) = rule.to else { return None };
    let op = op_of(field, rule)?;
    (place.occurrence == 0 && fits(op, place)).then_some(Step { op, tag: field.tag(), ..place.step })
}

/// How a field is made of an element; nothing where [`RecordField::accepts`] refuses.
pub(super) fn op_of(field: RecordField, rule: &FieldRule) -> Option<Op> {
    let data_type = registered(rule.pen, rule.id).map(|element| element.data_type);
    Some(match (field.holds(), data_type) {
        (Holds::Number32, _) => Op::U32,
        (Holds::Number64, _) => Op::U64,
        (Holds::Address | Holds::Addresses, _) => Op::Address,
        (Holds::Octets, _) => Op::Bytes,
        (Holds::Text, _) => Op::Text,
        (Holds::Numbers32, _) => Op::PackedOne,
        (Holds::Time, Some(DataType::DateTimeSeconds)) => Op::Seconds,
        (Holds::Time, Some(DataType::DateTimeMilliseconds)) => Op::Milliseconds,
        (Holds::Time, Some(DataType::DateTimeMicroseconds)) => Op::NtpMicroseconds,
        (Holds::Time, Some(DataType::DateTimeNanoseconds)) => Op::NtpNanoseconds,
        (Holds::Time, _) => return None,
    })
}

/// Elements to keep as they are: those that a rule sends there, and where unknown ones are kept those that fill nothing.
fn extras(places: &[Place<'_>], fills: impl Fn(u16) -> bool, how: &How) -> Box<[ExtraStep]> {
    let has_meaning = |place: &Place<'_>| {
        place.is_one_of(&[PADDING])
            || how.rule(place).is_none()
                && (place.is_one_of(&RATES)
                    || place.is_one_of(&SELECTORS)
                    || place.specifier.pen == 0 && MPLS_LABELS.contains(&place.specifier.id))
    };
    let kept = |place: &&Place<'_>| match how.rule(place) {
        Some((_, FieldRule { to: Destination::Extra, .. })) => true,
        _ => how.keep_unknown && !fills(place.step.field) && !has_meaning(place),
    };
    places.iter().filter(kept).map(|place| ExtraStep::new(place.specifier, place.step)).collect()
}

fn fits(op: Op, place: &Place<'_>) -> bool {
    match op {
        Op::Address => place.specifier.variable || matches!(place.step.len, 4 | 16),
        Op::NtpNanoseconds | Op::NtpMicroseconds => place.specifier.variable || place.step.len == 8,
        _ => true,
    }
}

fn drop_stand_ins(candidates: &mut Vec<Candidate>) {
    for tag in [flow::BYTES, flow::PACKETS] {
        let stands_in = |c: &Candidate| c.id.is_some_and(|id| STAND_INS.contains(&id));
        if candidates.iter().any(|c| c.step.tag == tag && !stands_in(c)) {
            candidates.retain(|c| c.step.tag != tag || !stands_in(c));
        }
    }
}

/// One step a record field, with a choice where several elements fill it.
fn steps(candidates: &[Candidate], choices: &mut Vec<Box<[Step]>>) -> Vec<Step> {
    let mut out: Vec<Step> = Vec::new();
    for candidate in candidates {
        let tag = candidate.step.tag;
        if out.iter().any(|step| step.tag == tag) {
            continue;
        }
        let alternatives = alternatives(candidates, |c| c.step.tag == tag);
        if alternatives.len() == 1 {
            out.push(candidate.step);
        } else {
            let has_flags = alternatives.iter().any(|step| step.op == Op::Flags);
            let op = if has_flags { Op::ChoiceOfFlags } else { Op::Choice };
            out.push(Step { op, start: choices.len() as u16, ..candidate.step });
            choices.push(alternatives);
        }
    }
    out
}

fn alternatives(candidates: &[Candidate], keep: impl Fn(&&Candidate) -> bool) -> Box<[Step]> {
    candidates.iter().filter(keep).map(|candidate| candidate.step).collect()
}

/// Where a record's Ethernet type comes from.
enum Etype {
    /// An element says it.
    Said,
    /// All records have addresses of one family.
    Always(u64),
    /// A record's family is that of the first of its addresses that is not all zeros: exporters that fill one template
    /// with both families leave the other's fields zero, and a source address may be all zeros by itself.
    ByAddress(Box<[Step]>),
    Unknown,
}

impl Etype {
    fn of(candidates: &[Candidate]) -> Self {
        if candidates.iter().any(|c| c.step.tag == flow::ETYPE) {
            return Self::Said;
        }
        let of = |tag| candidates.iter().filter(move |c| c.step.tag == tag).map(|c| c.step);
        let addresses: Box<[Step]> = of(flow::SRC_ADDR).chain(of(flow::DST_ADDR)).collect();
        // A field of variable length has length 0 here.
        match addresses.first().map(|step| step.len) {
            None => Self::Unknown,
            Some(4) if addresses.iter().all(|step| step.len == 4) => Self::Always(0x0800),
            Some(16) if addresses.iter().all(|step| step.len == 16) => Self::Always(0x86dd),
            Some(_) => Self::ByAddress(addresses),
        }
    }
}

fn constant(etype: u64) -> Box<[u8]> {
    let mut buffer = RecordBuffer::new(8, Delimiting::Length);
    let mut writer = buffer.begin();
    writer.uint(flow::ETYPE, etype);
    writer.finish();
    buffer.iter().next().unwrap_or_default().into()
}

/// NetFlow v5, and v9 exporters that have no ICMP element, put type * 256 + code into the destination port.
fn icmp_from_port(candidates: &[Candidate]) -> Option<(Step, Step)> {
    let of = |id: u16, tag| candidates.iter().find(|c| c.id == Some(id) && c.step.tag == tag).map(|c| c.step);
    if candidates.iter().any(|c| [flow::ICMP_TYPE, flow::ICMP_CODE].contains(&c.step.tag)) {
        return None;
    }
    Some((of(4, flow::PROTO)?, of(11, flow::DST_PORT)?))
}
