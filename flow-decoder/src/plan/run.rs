//! Runs a plan over one record.

use super::step::{Op, Step};
use super::{Interfaces, Plan, Reverse};
use crate::clock::Clock;
use crate::elements::{ntp_ns, ntp_us, unsigned};
use crate::options::OptionsState;
use crate::options_record::Rates;
use crate::protobuf::{RecordWriter, Tag};
use crate::record::flow;
use crate::structured::InnerTemplates;
use crate::template::Template;

/// Protocol numbers whose port holds type and code.
const ICMP: u64 = 1;
const ICMPV6: u64 = 58;

/// flowDirection of a record that was observed where packets leave.
const EGRESS: u64 = 1;

/// Numbers of `TunnelType`; NVGRE is GRE.
const TUNNEL_GRE: u64 = 1;
const TUNNEL_VXLAN: u64 = 3;
const TUNNEL_GTPU: u64 = 5;

/// What a record is decoded with, beside its own octets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    /// The whole datagram. Records begin at least 8 octets into it: every protocol's header is longer.
    pub(crate) payload: &'a [u8],
    pub(crate) clock: &'a Clock,
    pub(crate) options: &'a OptionsState,
    /// Encoded fields that all records of the set share.
    pub(crate) shared: &'a [u8],
    /// Whether options data gives names.
    pub(crate) has_names: bool,
    /// Whether options data gives interfaces a sampling rate of their own, and the set's records say it nowhere else.
    pub(crate) by_interface: bool,
    /// Templates of records in structured data.
    pub(crate) templates: &'a InnerTemplates,
}

/// Where the fields of one variable-length record lie in the datagram.
#[derive(Debug, Default)]
pub(crate) struct Located {
    fields: Vec<(usize, usize)>,
    end: usize,
}

impl Located {
    /// Locates the fields of the record that begins at `start`; false where it goes beyond `end`.
    fn locate(&mut self, template: &Template, payload: &[u8], start: usize, end: usize) -> bool {
        self.fields.clear();
        let mut at = start;
        for field in template.fields() {
            let rest = payload.get(at..end).unwrap_or_default();
            let Some((len, prefix)) = field.length_in(rest) else { return false };
            at += prefix;
            if at + len > end {
                return false;
            }
            self.fields.push((at, len));
            at += len;
        }
        self.end = at;
        true
    }

    /// The first octet behind the record that begins at `start`, whose fields are located where their places differ from record
    /// to record; `None` where it goes beyond `end`.
    #[inline]
    pub(crate) fn end_of(
        &mut self,
        template: &Template,
        payload: &[u8],
        start: usize,
        end: usize,
    ) -> Option<usize> {
        if template.is_variable() {
            self.locate(template, payload, start, end).then_some(self.end)
        } else {
            Some(start + template.min_record_len())
        }
    }
}

/// Where a step's octets lie: (offset in the datagram, length).
pub(super) trait Locate {
    fn find(&self, step: &Step) -> (usize, usize);
}

/// A fixed-length record by its first octet.
struct Fixed(usize);

impl Locate for Fixed {
    #[inline(always)]
    fn find(&self, step: &Step) -> (usize, usize) {
        (self.0 + usize::from(step.start), usize::from(step.len))
    }
}

impl Locate for Located {
    #[inline]
    fn find(&self, step: &Step) -> (usize, usize) {
        self.fields[usize::from(step.field)]
    }
}

impl Plan {
    /// Writes the fields of the fixed-length record at `start`, which the caller has checked to be inside the payload.
    #[inline]
    pub(crate) fn encode_fixed(&self, scene: &Scene<'_>, start: usize, out: &mut RecordWriter<'_>) {
        let (clock, booted);
        let mut scene = scene;
        if let Some(boot) = &self.boot {
            clock = scene.clock.booted(number(scene, &Fixed(start), boot));
            booted = Scene { clock: &clock, ..*scene };
            scene = &booted;
        }
        out.raw(scene.shared);
        let end = start + self.record_len;
        let record = scene.payload.get(start..end).unwrap_or_default();
        let mut room = out.room(self.fixed.len());
        for step in &self.fixed {
            step.run(record, scene.clock, &mut room);
        }
        let len = room.len();
        out.filled(len);
        self.encode(scene, &Fixed(start), out);
    }

    /// Whether a direction of the record at `start`, which has been located where its length varies, had packets.
    pub(crate) fn had_packets(
        &self,
        reverse: &Reverse,
        is_reverse: bool,
        scene: &Scene<'_>,
        located: &Located,
        start: usize,
    ) -> bool {
        if self.template.is_variable() {
            reverse.had_packets(is_reverse, scene, located)
        } else {
            reverse.had_packets(is_reverse, scene, &Fixed(start))
        }
    }

    /// Writes the fields of a variable-length record.
    pub(crate) fn encode_located(&self, scene: &Scene<'_>, located: &Located, out: &mut RecordWriter<'_>) {
        let (clock, booted);
        let mut scene = scene;
        if let Some(boot) = &self.boot {
            clock = scene.clock.booted(number(scene, located, boot));
            booted = Scene { clock: &clock, ..*scene };
            scene = &booted;
        }
        out.raw(scene.shared);
        self.encode(scene, located, out);
    }

    #[inline(always)]
    fn encode<L: Locate>(&self, scene: &Scene<'_>, record: &L, out: &mut RecordWriter<'_>) {
        for step in &self.steps {
            match step.op {
                Op::U32 => out.uint(step.tag, number(scene, record, step) & 0xffff_ffff),
                Op::U64 => out.uint(step.tag, number(scene, record, step)),
                Op::Address => address(step.tag, octets(scene, record, step), out),
                Op::Choice => self.choose(scene, record, step, out),
                Op::ChoiceOfFlags => self.choose_flags(scene, record, step, out),
                Op::Bytes => out.bytes(step.tag, octets(scene, record, step)),
                Op::Text => out.text(step.tag, octets(scene, record, step)),
                Op::PackedOne => {
                    let member = Some(number(scene, record, step) & 0xffff_ffff).filter(|&value| value != 0);
                    out.packed(step.tag, member);
                }
                _ => out.uint(step.tag, value(scene, record, step)),
            }
        }
        if self.has_rare_fields {
            self.encode_rare(scene, record, out);
        }
        if scene.has_names | scene.by_interface {
            self.encode_said(scene, record, out);
        }
    }

    /// What options data says: rates by interface, and names; beside other parts these are written there.
    #[inline(never)]
    fn encode_said<L: Locate>(&self, scene: &Scene<'_>, record: &L, out: &mut RecordWriter<'_>) {
        if scene.by_interface && self.sampling.is_empty() {
            out.uint(flow::SAMPLING_RATE, self.rate_said(scene, record));
        }
        if scene.has_names && self.beside.is_none() {
            for named in &self.named {
                named.write(scene, record, out);
            }
        }
    }

    /// Fields that take more than one element to make.
    fn encode_rare<L: Locate>(&self, scene: &Scene<'_>, record: &L, out: &mut RecordWriter<'_>) {
        if let Some((proto, port)) = &self.icmp_from_port
            && matches!(number(scene, record, proto), ICMP | ICMPV6)
        {
            let port = number(scene, record, port);
            out.uint(flow::ICMP_TYPE, port >> 8 & 0xff);
            out.uint(flow::ICMP_CODE, port & 0xff);
        }
        if let Some(choice) = self.etype_from {
            let (_, address) = self.first_address(scene, record, choice);
            match address.len() {
                4 => out.uint(flow::ETYPE, 0x0800),
                16 => out.uint(flow::ETYPE, 0x86dd),
                _ => {}
            }
        }
        if !self.mpls_labels.is_empty() {
            let entries = self.mpls_labels.iter().map(|step| number(scene, record, step));
            out.packed(
                flow::MPLS_LABEL,
                entries.filter(|&entry| entry != 0).map(|entry| entry >> 4 & 0xf_ffff),
            );
        }
        if !self.sampling.is_empty() {
            out.uint(flow::SAMPLING_RATE, self.sampling_rate(scene, record));
        }
        if let Some(beside) = &self.beside {
            beside.write(scene, record, &self.named, out);
        }
        for extra in &self.extras {
            extra.write(octets(scene, record, &extra.step), out);
        }
    }

    /// The rate that the record gives, else that of the sampler it names, else what options data says otherwise.
    fn sampling_rate<L: Locate>(&self, scene: &Scene<'_>, record: &L) -> u64 {
        let mut rates = Rates::default();
        for (id, step) in &self.sampling.rates {
            rates.note(*id, octets(scene, record, step));
        }
        match (rates.rate(), &self.sampling.selector) {
            // An empty field names no sampler.
            (0, Some(selector)) if record.find(selector).1 > 0 => {
                let rate = scene.options.selector_rate(number(scene, record, selector));
                rate.unwrap_or_else(|| self.rate_said(scene, record))
            }
            (0, _) => self.rate_said(scene, record),
            (rate, _) => rate,
        }
    }

    /// The rate of the interface where the record was observed, else the domain's.
    fn rate_said<L: Locate>(&self, scene: &Scene<'_>, record: &L) -> u64 {
        let domain = scene.options.domain_rate();
        if !scene.by_interface {
            return domain;
        }
        let Interfaces { input, output, direction } = &self.sampling.interfaces;
        let of = |interfaces: &[Step]| {
            let indices = interfaces.iter().map(|step| number(scene, record, step) & 0xffff_ffff);
            scene.options.interface_rate(indices.into_iter().find(|&index| index != 0)?)
        };
        let is_egress = direction.as_ref().is_some_and(|step| number(scene, record, step) == EGRESS);
        let (here, there) = if is_egress { (output, input) } else { (input, output) };
        // Where nothing else is said, the record can only have been observed at the other one.
        let other = || if domain == 0 { of(there) } else { None };
        of(here).or_else(other).unwrap_or(domain)
    }

    /// Writes the first of a field's elements that has a value; addresses that are all zero are written where none has.
    fn choose<L: Locate>(&self, scene: &Scene<'_>, record: &L, step: &Step, out: &mut RecordWriter<'_>) {
        let alternatives = &self.choices[usize::from(step.start)];
        match alternatives[0].op {
            Op::Address => {
                let (tag, octets) = self.first_address(scene, record, step.start);
                address(tag, octets, out);
            }
            op @ (Op::Bytes | Op::Text) => {
                let mut values = alternatives.iter().map(|step| octets(scene, record, step));
                let chosen = values.find(|value| value.iter().any(|&byte| byte != 0)).unwrap_or_default();
                if op == Op::Text {
                    out.text(step.tag, chosen);
                } else {
                    out.bytes(step.tag, chosen);
                }
            }
            Op::PackedOne => {
                let values = alternatives.iter().map(|step| number(scene, record, step) & 0xffff_ffff);
                out.packed(step.tag, values.into_iter().find(|&value| value != 0));
            }
            _ => {
                let values = alternatives.iter().map(|step| value(scene, record, step));
                out.uint(step.tag, values.into_iter().find(|&value| value != 0).unwrap_or(0));
            }
        }
    }

    /// Writes the first of a field's elements that has a value; where that has flags of some packets, all such.
    #[cold]
    fn choose_flags<L: Locate>(
        &self,
        scene: &Scene<'_>,
        record: &L,
        step: &Step,
        out: &mut RecordWriter<'_>,
    ) {
        let alternatives = &self.choices[usize::from(step.start)];
        let mut values = alternatives.iter().map(|step| (step.op, value(scene, record, step)));
        let Some((op, first)) = values.by_ref().find(|&(_, value)| value != 0) else { return };
        let others = values.filter(|(other, _)| op == Op::Flags && *other == Op::Flags);
        out.uint(step.tag, others.fold(first, |flags, (_, more)| flags | more));
    }

    fn first_address<'a, L: Locate>(&self, scene: &Scene<'a>, record: &L, choice: u16) -> (Tag, &'a [u8]) {
        let alternatives = &self.choices[usize::from(choice)];
        let addresses = alternatives.iter().map(|step| (step.tag, octets(scene, record, step)));
        let mut valid = addresses.filter(|(_, octets)| matches!(octets.len(), 4 | 16));
        let Some(first) = valid.next() else { return (alternatives[0].tag, &[]) };
        let with_value =
            std::iter::once(first).chain(valid).find(|(_, octets)| octets.iter().any(|&byte| byte != 0));
        with_value.unwrap_or(first)
    }
}

#[inline(always)]
pub(super) fn octets<'a, L: Locate>(scene: &Scene<'a>, record: &L, step: &Step) -> &'a [u8] {
    let (start, len) = record.find(step);
    scene.payload.get(start..start + len).unwrap_or_default()
}

/// A big-endian number. Of up to eight octets it is read as the eight octets that end with it: they lie inside the
/// datagram, and one load and a shift serve every length.
#[inline(always)]
pub(super) fn number<L: Locate>(scene: &Scene<'_>, record: &L, step: &Step) -> u64 {
    let (start, len) = record.find(step);
    let end = start + len;
    if (1..=8).contains(&len)
        && let Some(window) = scene.payload.get(end.wrapping_sub(8)..end)
        && let Some(eight) = window.first_chunk::<8>()
    {
        return u64::from_be_bytes(*eight) & (u64::MAX >> (64 - 8 * len));
    }
    unsigned(scene.payload.get(start..end).unwrap_or_default())
}

/// The number that a step makes of its element.
pub(super) fn value<L: Locate>(scene: &Scene<'_>, record: &L, step: &Step) -> u64 {
    made(step.op, number(scene, record, step), || octets(scene, record, step), scene.clock)
}

/// The number that an operation makes of an element's octets, which are `number`.
#[inline(always)]
pub(super) fn made<'a>(op: Op, number: u64, octets: impl FnOnce() -> &'a [u8], clock: &Clock) -> u64 {
    match op {
        Op::U32 | Op::Flags => number & 0xffff_ffff,
        // layer2SegmentId: the kind of segment in the top octet, the segment in the low three.
        Op::Segment if matches!(number >> 56, 1 | 2) => number & 0xff_ffff,
        Op::SegmentTunnel => match number >> 56 {
            1 => TUNNEL_VXLAN,
            2 => TUNNEL_GRE,
            _ => 0,
        },
        Op::TunnelGtpU => TUNNEL_GTPU,
        Op::HighByte => number >> 8 & 0xff,
        Op::LowByte => number & 0xff,
        Op::EtypeOfIpVersion => match number {
            4 => 0x0800,
            6 => 0x86dd,
            _ => 0,
        },
        Op::Uptime => clock.at_uptime(number),
        Op::Seconds => number.saturating_mul(1_000_000_000),
        Op::Milliseconds => number.saturating_mul(1_000_000),
        Op::NtpNanoseconds => ntp_ns(octets()).unwrap_or(0),
        Op::NtpMicroseconds => ntp_us(octets()).unwrap_or(0),
        // Unlike elsewhere 0 is a value; only an empty field says nothing.
        Op::MicrosecondsBeforeExport if octets().is_empty() => 0,
        Op::MicrosecondsBeforeExport => clock.before_export(number),
        Op::Segment
        | Op::U64
        | Op::Address
        | Op::Bytes
        | Op::Text
        | Op::PackedOne
        | Op::Choice
        | Op::ChoiceOfFlags => number,
    }
}

#[inline(always)]
fn address(tag: Tag, octets: &[u8], out: &mut RecordWriter<'_>) {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        out.bytes4(tag, v4);
    } else if let Ok(v6) = <[u8; 16]>::try_from(octets) {
        out.bytes16(tag, v6);
    }
}
