//! What fills fields otherwise than one element by itself.
//!
//! - packet sections (RFC 7133, RFC 5477): the first octets of a packet, read as a sampled header. They fill the fields that no
//!   element of the template fills; the packet counts as one, its octets are those that its IP header says, at least those
//!   that were sent.
//! - a flow's duration (161, 162): its end where a record says only the start, and the other way round.
//! - segment routing (RFC 9487): the list of segments in whichever form it comes.
//! - structured data (see `lists`).
//! - the time at which the exporter started (160), where records say it themselves.
//!
//! Hardly any template has one of these, so a plan without them pays nothing.

use super::compile::{Candidate, Place, is_ruled};
use super::lists::Lists;
use super::mapping::OBSERVED;
use super::named::NamedStep;
use super::run::{Locate, Scene, number, octets, value};
use super::step::Step;
use crate::overrides::How;
use crate::packet::{Headers, LinkType, segments};
use crate::protobuf::{FieldSet, FieldWriter, Filling, RecordWriter, Tag};
use crate::record::flow;

/// systemInitTimeMilliseconds.
const BOOT: u16 = 160;
/// flowDurationMicroseconds, flowDurationMilliseconds, with the nanoseconds of each.
const DURATIONS: [(u16, u64); 2] = [(162, 1000), (161, 1_000_000)];
/// dataLinkFrameType, and its number for what is no Ethernet (IEEE 802.11).
const FRAME_TYPE: u16 = 408;
const IEEE_802_11: u64 = 2;
/// Sections, what they begin with, and the element that says how far into the packet.
const SECTIONS: [(u16, LinkType, u16); 4] = [
    (315, LinkType::Ethernet, 409),
    (104, LinkType::Ethernet, 102),
    (313, LinkType::Ip, 409),
    (316, LinkType::Mpls, 409),
];
/// srhSegmentIPv6ListSection, srhIPv6Section, srhSegmentIPv6, srhActiveSegmentIPv6: in order of preference.
const SEGMENT_LIST: u16 = 497;
const SEGMENT_HEADER: u16 = 499;
const SEGMENT: u16 = 494;
const ACTIVE_SEGMENT: u16 = 495;

/// What a plan does beside its steps.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// When the exporter started, ms since 1970.
    boot: Option<Step>,
    span: Option<Span>,
    /// Segments as they are: lists of addresses, each element by itself a part.
    segments: Box<[Box<[Step]>]>,
    /// A whole segment routing header.
    segment_header: Option<Step>,
    sections: Box<[Section]>,
    lists: Lists,
    /// Fields that elements fill.
    filled: FieldSet,
    /// Which fields of the template mean something here.
    used: Vec<u16>,
}

/// A time that follows from another and the duration.
#[derive(Debug)]
struct Span {
    /// Elements that say the other time.
    known: Box<[Step]>,
    duration: Step,
    /// Nanoseconds of the duration's unit.
    unit: u64,
    edge: Edge,
    /// When it was observed.
    otherwise: Box<[Step]>,
}

/// Which time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    Start,
    End,
}

/// The first octets of a packet.
#[derive(Debug)]
struct Section {
    link: LinkType,
    step: Step,
    /// How far into the packet they begin, where the template says it.
    offset: Option<Step>,
    frame_type: Option<Step>,
}

/// The template's fields that no rule sends elsewhere.
struct Free<'a> {
    places: &'a [Place<'a>],
    how: &'a How,
}

impl Free<'_> {
    fn all(&self, id: u16) -> impl Iterator<Item = Step> + '_ {
        let free = self.places.iter().filter(move |place| place.is(0, id) && !is_ruled(self.how, place));
        free.map(|place| place.step)
    }

    fn first(&self, id: u16) -> Option<Step> {
        self.all(id).next()
    }
}

impl Beside {
    /// What the template has of it; takes over the candidates that it makes itself.
    pub(super) fn of(places: &[Place<'_>], how: &How, candidates: &mut Vec<Candidate>) -> Self {
        let free = Free { places, how };
        let mut beside =
            Self { boot: free.first(BOOT), span: Span::of(&free, candidates), ..Self::default() };
        let lists = [SEGMENT_LIST, SEGMENT, ACTIVE_SEGMENT].map(|id| free.all(id).collect::<Box<[_]>>());
        beside.segments = lists.into_iter().filter(|steps| !steps.is_empty()).collect();
        beside.segment_header = free.first(SEGMENT_HEADER);
        beside.sections = SECTIONS.iter().filter_map(|section| Section::of(&free, *section)).collect();
        beside.lists = Lists::of(places, how);
        let used = beside.boot.iter().chain(&beside.segment_header).chain(beside.segments.iter().flatten());
        let mut used: Vec<u16> = used.map(|step| step.field).collect();
        used.extend(beside.span.iter().map(|span| span.duration.field));
        for Section { step, offset, frame_type, .. } in &beside.sections {
            used.extend(
                [Some(step), offset.as_ref(), frame_type.as_ref()].into_iter().flatten().map(|s| s.field),
            );
        }
        beside.used = used;
        beside
    }

    /// The step of the time at which the exporter started.
    pub(super) fn boot(&self) -> Option<Step> {
        self.boot
    }

    /// Whether a field of the template means something here.
    pub(super) fn uses(&self, field: u16) -> bool {
        self.used.contains(&field)
    }

    /// Whether anything is to be written.
    pub(super) fn writes(&self) -> bool {
        self.span.is_some()
            || !self.segments.is_empty()
            || self.segment_header.is_some()
            || !self.sections.is_empty()
            || !self.lists.is_empty()
    }

    /// With the fields that elements of the template fill.
    pub(super) fn beside(self, mut filled: FieldSet) -> Self {
        self.span.iter().for_each(|span| filled.insert(span.edge.tag()));
        Self { filled, ..self }
    }

    /// Octets of memory behind it.
    pub(super) fn octets(&self) -> usize {
        size_of_val(&*self.sections)
            + self.lists.octets()
            + self.segments.iter().map(|steps| size_of_val(steps) + size_of_val(&**steps)).sum::<usize>()
            + self.span.iter().map(|s| size_of_val(&*s.known) + size_of_val(&*s.otherwise)).sum::<usize>()
            + size_of_val(&*self.used)
    }

    /// Writes the fields of a record.
    #[cold]
    #[inline(never)]
    pub(super) fn write<L: Locate>(
        &self,
        scene: &Scene<'_>,
        record: &L,
        named: &[NamedStep],
        out: &mut RecordWriter<'_>,
    ) {
        if let Some(span) = &self.span {
            span.write(scene, record, out);
        }
        let mut out = Filling::new(out, self.filled, [flow::TCP_FLAGS, flow::REVERSE_TCP_FLAGS]);
        for steps in &self.segments {
            for step in steps {
                let (addresses, _) = octets(scene, record, step).as_chunks::<16>();
                write_segments(addresses, &mut out);
            }
            out.next_part();
        }
        if let Some(step) = &self.segment_header {
            let routing = segments(octets(scene, record, step));
            write_segments(routing.addresses, &mut out);
            out.uint(flow::IPV6_ROUTING_HEADER_SEG_LEFT, u64::from(routing.segments_left));
            out.next_part();
        }
        for section in &self.sections {
            section.write(scene, record, &mut out);
            out.next_part();
        }
        self.lists.write(scene, record, &mut out);
        for named in named.iter().filter(|_| scene.has_names) {
            named.write(scene, record, &mut out);
        }
    }
}

fn write_segments(addresses: &[[u8; 16]], out: &mut Filling<'_, '_>) {
    for &address in addresses {
        out.bytes16(flow::IPV6_ROUTING_HEADER_ADDRESSES, address);
    }
}

impl Span {
    /// Where elements say one of a flow's two times only, and how long it took.
    fn of(free: &Free<'_>, candidates: &mut Vec<Candidate>) -> Option<Self> {
        let mut durations = DURATIONS.iter().filter_map(|&(id, unit)| Some((free.first(id)?, unit)));
        let (duration, unit) = durations.next()?;
        let is_observed = |c: &Candidate| c.id.is_some_and(|id| OBSERVED.contains(&id));
        let steps = |tag: Tag, observed: bool| -> Box<[Step]> {
            let of_tag = candidates.iter().filter(|c| c.step.tag == tag && is_observed(c) == observed);
            of_tag.map(|c| c.step).collect()
        };
        let said = |edge: Edge| steps(edge.tag(), false);
        let (known, edge) = match (said(Edge::Start), said(Edge::End)) {
            (start, end) if end.is_empty() && !start.is_empty() => (start, Edge::End),
            (start, end) if start.is_empty() && !end.is_empty() => (end, Edge::Start),
            _ => return None,
        };
        let otherwise = steps(edge.tag(), true);
        candidates.retain(|c| c.step.tag != edge.tag());
        Some(Self { known, duration, unit, edge, otherwise })
    }

    fn write<L: Locate>(&self, scene: &Scene<'_>, record: &L, out: &mut RecordWriter<'_>) {
        let first = |steps: &[Step]| {
            let values = steps.iter().map(|step| value(scene, record, step));
            values.into_iter().find(|&time| time != 0).unwrap_or(0)
        };
        let known = first(&self.known);
        let has_duration = record.find(&self.duration).1 > 0;
        let duration = number(scene, record, &self.duration).saturating_mul(self.unit);
        let time = match self.edge {
            _ if known == 0 || !has_duration => 0,
            Edge::Start => known.saturating_sub(duration),
            Edge::End => known.saturating_add(duration),
        };
        out.uint(self.edge.tag(), if time == 0 { first(&self.otherwise) } else { time });
    }
}

impl Edge {
    fn tag(self) -> Tag {
        match self {
            Self::Start => flow::TIME_FLOW_START_NS,
            Self::End => flow::TIME_FLOW_END_NS,
        }
    }
}

impl Section {
    fn of(free: &Free<'_>, (id, link, offset): (u16, LinkType, u16)) -> Option<Self> {
        let step = free.first(id)?;
        let frame_type = free.first(FRAME_TYPE).filter(|_| link == LinkType::Ethernet);
        Some(Self { link, step, offset: free.first(offset), frame_type })
    }

    fn write<L: Locate>(&self, scene: &Scene<'_>, record: &L, out: &mut Filling<'_, '_>) {
        let is = |step: &Option<Step>, other: u64| {
            step.as_ref().is_some_and(|step| number(scene, record, step) == other)
        };
        let begins = self.offset.is_none() || is(&self.offset, 0);
        let bytes = octets(scene, record, &self.step);
        if bytes.is_empty() || !begins || is(&self.frame_type, IEEE_802_11) {
            return;
        }
        let mut headers = Headers::default();
        headers.read(self.link, bytes);
        headers.write(out);
        if self.link != LinkType::Mpls {
            out.uint(flow::PACKETS, 1);
            out.uint(flow::BYTES, headers.octets_on_wire().max(bytes.len() as u64));
        }
    }
}
