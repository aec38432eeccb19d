//! A second reading of NetFlow and IPFIX: plain, slow, from the RFCs, sharing no code with the decoder.
//!
//! It remembers templates and options per observation domain, and makes of each data record the elements it holds. What
//! those elements mean is `record`'s business. Data without a template waits; after each datagram what can be read by then
//! is read, in the order in which it came. What was announced before a restart (see `restart`) is as if it were not known.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use catchment_proto::flow::v1::{FlowRecord, OptionsRecord};

use super::overrides::Known;
use super::record::{self, Header};
use super::restart::{Place, Ports, behind, believed, place, same_boot, suspect};
use super::structured;

/// A field of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Specifier {
    pen: u32,
    id: u16,
    /// `None`: each record says it.
    length: Option<usize>,
    scope: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    options: bool,
    fields: Vec<Specifier>,
}

impl Layout {
    /// One element alone.
    pub(crate) fn of_one(pen: u32, id: u16, length: Option<usize>) -> Self {
        Self { options: false, fields: vec![Specifier { pen, id, length, scope: false }] }
    }

    /// Whether its records take no octets.
    pub(crate) fn is_empty(&self) -> bool {
        self.fields.iter().all(|field| field.length == Some(0))
    }
}

/// An element of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    pub(crate) pen: u32,
    pub(crate) id: u16,
    pub(crate) scope: bool,
    /// Whether the template gives it octets; one of length 0 is there in name only.
    pub(crate) takes_octets: bool,
    /// Whether each record says its length.
    pub(crate) variable: bool,
    pub(crate) value: &'a [u8],
}

/// What an exporter said in options records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Announced {
    pub(crate) rate: u64,
    pub(crate) rate_by_selector: HashMap<u64, u64>,
    pub(crate) rate_by_interface: HashMap<u64, u64>,
    pub(crate) boot_ms: u64,
    /// Names, and the times (ms) at which they were said.
    pub(crate) names: HashMap<record::Thing, (i64, String)>,
    /// Times (ms) at which the above were said.
    said: HashMap<Said, i64>,
}

/// What an options record can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Said {
    Rate,
    RateOf(u64),
    RateAt(u64),
    Boot,
}

/// A data set that waits for its template.
struct Waiting {
    header: Header,
    epoch: i64,
    id: u16,
    /// What it was when the set came, or first when there was one.
    layout: Option<Layout>,
    /// The template that it waits for: its own, or one of a list in it.
    lacks: Option<u16>,
    body: Vec<u8>,
    /// The domain's rate and the boot time as they were known when it came.
    rate: u64,
    boot_ms: u64,
}

#[derive(Default)]
struct Domain {
    /// Template id to what each source port announced, the latest last.
    layouts: HashMap<u16, Vec<(u16, Layout, Place)>>,
    ports: Ports,
    /// Templates that ports announced in a datagram that may be the first after a restart.
    unsure: HashMap<u16, Vec<u16>>,
    announced: Announced,
    waiting: Vec<Waiting>,
}

/// The reference decoder.
#[derive(Default)]
pub(crate) struct Reference {
    /// What is known of all exporters.
    pub(crate) known: Arc<Known>,
    domains: HashMap<(IpAddr, u16, u32), Domain>,
}

/// What it makes of a datagram.
#[derive(Default)]
pub(crate) struct Decoded {
    known: Arc<Known>,
    pub(crate) flows: Vec<FlowRecord>,
    pub(crate) options: Vec<OptionsRecord>,
}

pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

impl Reference {
    pub(crate) fn decode(&mut self, payload: &[u8], source: SocketAddr, received_ns: u64) -> Decoded {
        let mut out = Decoded { known: self.known.clone(), ..Decoded::default() };
        // A header that is cut gives nothing at all.
        let _ = self.message(payload, source, received_ns, &mut out);
        self.domains.values_mut().for_each(|domain| domain.read_what_waited(&mut out));
        out
    }

    fn message(
        &mut self,
        payload: &[u8],
        source: SocketAddr,
        received_ns: u64,
        out: &mut Decoded,
    ) -> Option<()> {
        let version = be16(payload, 0)?;
        let mut header = Header { version, source, received_ns, ..Header::default() };
        match version {
            1 | 5 | 7 => {
                header.uptime_ms = Some(be32(payload, 4)?);
                header.seconds = be32(payload, 8)?;
                header.nanoseconds = be32(payload, 12)?;
                fixed(payload, header, out)
            }
            9 => {
                header.uptime_ms = Some(be32(payload, 4)?);
                header.seconds = be32(payload, 8)?;
                header.sequence = be32(payload, 12)?;
                header.domain = be32(payload, 16)?;
                self.sets(payload, 20, header, out)
            }
            10 => {
                header.seconds = be32(payload, 4)?;
                header.sequence = be32(payload, 8)?;
                header.domain = be32(payload, 12)?;
                let length = usize::from(be16(payload, 2)?);
                self.sets(&payload[..length.min(payload.len())], 16, header, out)
            }
            _ => None,
        }
    }

    fn sets(&mut self, message: &[u8], mut at: usize, header: Header, out: &mut Decoded) -> Option<()> {
        let domain = self.domains.entry((header.source.ip(), header.version, header.domain)).or_default();
        let epoch = domain.begin(header);
        loop {
            let (id, length) = (be16(message, at)?, usize::from(be16(message, at + 2)?));
            let rest = message.get(at + 4..).filter(|_| length >= 4)?;
            let Some(body) = rest.get(..length - 4) else {
                // The records that are there are read; nothing says what would come behind.
                return (id >= 256).then(|| domain.data(header, epoch, id, rest, out)).flatten();
            };
            match (header.version, id) {
                (9, 0) | (10, 2) => domain.templates(header, epoch, body, false),
                (9, 1) | (10, 3) => domain.templates(header, epoch, body, true),
                (_, 256..) => {
                    domain.data(header, epoch, id, body, out);
                }
                _ => {}
            }
            at += length;
        }
    }
}

impl Domain {
    /// The epoch that a datagram is in.
    fn begin(&mut self, header: Header) -> i64 {
        let port = header.source.port();
        let places = || self.layouts.values().flatten().map(|(of, _, place)| (*of, *place));
        let own = places().filter(|(of, _)| *of == port).map(|(_, place)| place).max();
        let all = places().map(|(_, place)| place).max();
        let (epoch, unsure) = self.ports.epoch(&header, own, all);
        // Now it is known whether the datagram before was the first of this epoch: then what it announced holds.
        let before = self.unsure.remove(&port).unwrap_or_default();
        for id in before {
            let ports = self.layouts.entry(id).or_default();
            if let Some(at) = ports.iter().position(|(of, ..)| *of == port)
                && suspect(ports[at].2.epoch, epoch)
            {
                let (_, layout, old) = ports.remove(at);
                ports.push((port, layout, behind(place(&header, epoch), old)));
            }
        }
        if unsure {
            self.unsure.insert(port, Vec::new());
        }
        epoch
    }

    fn templates(&mut self, header: Header, epoch: i64, mut body: &[u8], options: bool) {
        while body.iter().any(|&byte| byte != 0) {
            let read = match header.version {
                9 => v9_template(body, options),
                _ => ipfix_template(body, options),
            };
            let Some((id, fields, length)) = read else { return };
            body = &body[length..];
            let Some(fields) = fields else { continue };
            let octets: usize = fields.iter().map(|field| field.length.unwrap_or(1)).sum();
            let empty = fields.iter().filter(|field| field.length == Some(0)).count();
            let too_many = fields.len() > 1024 || empty > octets.min(16);
            if id < 256 || octets == 0 || octets > 65_535 || too_many {
                continue;
            }
            let (port, layout) = (header.source.port(), Layout { options, fields });
            if let Some(unsure) = self.unsure.get_mut(&port) {
                unsure.push(id);
            }
            let ports = self.layouts.entry(id).or_default();
            let mut new = place(&header, epoch);
            if let Some(at) = ports.iter().position(|(of, ..)| *of == port) {
                let old = ports[at].2;
                if ports[at].1 == layout && !suspect(old.epoch, epoch) {
                    continue;
                }
                new = behind(new, old);
                ports.remove(at);
            }
            ports.push((port, layout, new));
        }
    }

    /// The port's own layout, else the one that all ports agree on; of those that need not be announced again.
    fn layout(&self, id: u16, port: u16, epoch: i64) -> Option<Layout> {
        let ports = self.layouts.get(&id)?;
        let own = ports.iter().find(|(of, ..)| *of == port);
        let counts = |place: &Place| match own {
            Some(_) => same_boot(place.epoch, epoch),
            None => !suspect(place.epoch, epoch),
        };
        if let Some((_, layout, place)) = own
            && !suspect(place.epoch, epoch)
        {
            return Some(layout.clone());
        }
        let mut layouts = ports.iter().filter(|(.., place)| counts(place)).map(|(_, layout, _)| layout);
        let first = layouts.next()?;
        layouts.all(|layout| layout == first).then(|| first.clone())
    }

    fn data(&mut self, header: Header, epoch: i64, id: u16, body: &[u8], out: &mut Decoded) -> Option<()> {
        let port = header.source.port();
        let layout = self.layout(id, port, epoch);
        let lacks = layout.as_ref().map_or(Some(id), |layout| self.lacks(port, epoch, layout, body));
        match (lacks, layout) {
            (None, Some(layout)) => {
                let announced = self.announced.clone();
                let news = self.records(header, epoch, (id, &layout), body, &announced, out);
                self.announced.take(news, None);
            }
            (lacks, layout) => {
                let Announced { rate, boot_ms, .. } = self.announced;
                let body = body.to_vec();
                self.waiting.push(Waiting { header, epoch, id, layout, lacks, body, rate, boot_ms });
            }
        }
        Some(())
    }

    fn read_what_waited(&mut self, out: &mut Decoded) {
        for mut set in std::mem::take(&mut self.waiting) {
            let port = set.header.source.port();
            // What it lacks is looked at again when it has come.
            if set.lacks.is_none_or(|id| self.layout(id, port, set.epoch).is_some()) {
                set.layout = set.layout.or_else(|| self.layout(set.id, port, set.epoch));
                let lacks = |layout| self.lacks(port, set.epoch, layout, &set.body);
                set.lacks = set.layout.as_ref().map_or(Some(set.id), lacks);
            }
            let Some(layout) = set.layout.as_ref().filter(|_| set.lacks.is_none()) else {
                self.waiting.push(set);
                continue;
            };
            let mut then = self.announced.clone();
            // What was known when it came holds for it.
            then.rate = if set.rate != 0 { set.rate } else { then.rate };
            then.boot_ms = if set.boot_ms != 0 { set.boot_ms } else { then.boot_ms };
            let news = self.records(set.header, set.epoch, (set.id, layout), &set.body, &then, out);
            // What it says itself holds where nothing was said since.
            self.announced.take(news, Some(believed(&set.header)));
        }
    }

    /// The first template by which a list in a set has records, and which may still come.
    fn lacks(&self, port: u16, epoch: i64, layout: &Layout, mut body: &[u8]) -> Option<u16> {
        let lacks = Cell::new(None);
        let layouts = |id| {
            let layout = self.layout(id, port, epoch);
            lacks.set(lacks.get().or((id >= 256 && layout.is_none()).then_some(id)));
            layout
        };
        while let Some((elements, rest)) =
            Some(body).filter(|body| !body.is_empty()).and_then(|body| record_of(layout, body))
        {
            body = rest;
            elements.iter().for_each(|e| drop(structured::members(&layouts, e, 1)));
        }
        lacks.get()
    }

    /// Reads the records of a set; gives what its options records say that is new.
    fn records(
        &self,
        header: Header,
        epoch: i64,
        (id, layout): (u16, &Layout),
        mut body: &[u8],
        announced: &Announced,
        out: &mut Decoded,
    ) -> Option<Announced> {
        let mut news = None;
        let shortest: usize = layout.fields.iter().map(|field| field.length.unwrap_or(1)).sum();
        // What a set's records say about sampling holds from the next set on.
        while body.len() >= shortest {
            // Padding or damage: both end the set.
            let Some((elements, rest)) = record_of(layout, body) else { break };
            body = rest;
            if layout.options {
                self.announced.note(&mut news, header, &elements);
                out.options.push(record::options(header, id, &elements));
            } else {
                let elements: Vec<_> = elements.into_iter().filter(|e| e.takes_octets).collect();
                let layouts = |id| self.layout(id, header.source.port(), epoch);
                let lists = elements.iter().filter(|e| !out.known.maps(e));
                let lists: Vec<_> = lists.map(|e| (e.id, structured::members(&layouts, e, 1))).collect();
                out.flows.push(record::flow(header, &elements, &lists, announced, &out.known));
            }
        }
        news
    }
}

impl Announced {
    /// Adds to the news of a set what an options record says, from the first on that says something new.
    fn note(&self, news: &mut Option<Self>, header: Header, elements: &[Element<'_>]) {
        // A v9 scope type is a number of its own registry.
        let plain: Vec<_> = elements
            .iter()
            .filter(|e| e.takes_octets && !(header.version == 9 && e.scope))
            .copied()
            .collect();
        let said: Vec<_> = plain.iter().filter(|e| !e.value.is_empty()).copied().collect();
        let interface = record::interface(header.version, elements).filter(|&index| index != 0);
        let rate = match (record::rate_said(&plain), record::selector(&plain), interface) {
            (0, ..) => None,
            (rate, Some(selector), _) => Some((Said::RateOf(selector), rate)),
            (rate, None, Some(index)) => Some((Said::RateAt(index), rate)),
            (rate, None, None) => Some((Said::Rate, rate)),
        };
        let boot = Some((Said::Boot, record::number(&said, 0, 160))).filter(|(_, ms)| *ms != 0);
        let named = record::named(header.version, elements);
        let values: Vec<_> = rate.into_iter().chain(boot).collect();
        let is_known = values.iter().all(|(what, value)| self.value(*what) == *value)
            && named
                .iter()
                .all(|(thing, name)| self.names.get(thing).is_some_and(|(_, known)| known == name));
        if news.is_none() && is_known {
            return;
        }
        let news = news.get_or_insert_default();
        for (what, value) in values {
            news.say(what, value, believed(&header));
        }
        for (thing, name) in named {
            news.names.insert(thing, (believed(&header), name));
        }
    }

    /// Takes over the news of a set; where it has waited since `earlier`, only what was not said since.
    fn take(&mut self, news: Option<Self>, earlier: Option<i64>) {
        let Some(news) = news else { return };
        for (&what, &time) in &news.said {
            let since = |earlier| self.value(what) != 0 && self.time(what) >= earlier;
            if !earlier.is_some_and(since) {
                self.say(what, news.value(what), time);
            }
        }
        for (thing, (time, name)) in news.names {
            let time = match (self.names.get(&thing), earlier) {
                (Some((_, known)), _) if *known == name => continue,
                (Some((since, _)), Some(earlier)) if *since >= earlier => continue,
                (None, _) | (_, Some(_)) => time,
                (Some((since, _)), None) => time.max(since + 1),
            };
            self.names.insert(thing, (time, name));
        }
    }

    fn value(&self, what: Said) -> u64 {
        match what {
            Said::Rate => self.rate,
            Said::RateOf(selector) => self.rate_by_selector.get(&selector).copied().unwrap_or(0),
            Said::RateAt(index) => self.rate_by_interface.get(&index).copied().unwrap_or(0),
            Said::Boot => self.boot_ms,
        }
    }

    fn time(&self, what: Said) -> i64 {
        self.said.get(&what).copied().unwrap_or(0)
    }

    /// A value that is new is later than the one that it replaces.
    fn say(&mut self, what: Said, value: u64, time: i64) {
        if self.value(what) == value {
            return;
        }
        self.said.insert(what, time.max(self.time(what) + 1));
        match what {
            Said::Rate => self.rate = value,
            Said::RateOf(selector) => drop(self.rate_by_selector.insert(selector, value)),
            Said::RateAt(index) => drop(self.rate_by_interface.insert(index, value)),
            Said::Boot => self.boot_ms = value,
        }
    }
}

/// The elements of the first record and what is behind it; `None` where the record is cut.
pub(crate) fn record_of<'a>(layout: &Layout, mut body: &'a [u8]) -> Option<(Vec<Element<'a>>, &'a [u8])> {
    let mut elements = Vec::new();
    for field in &layout.fields {
        let length = match field.length {
            Some(length) => length,
            None => {
                let (&first, rest) = body.split_first()?;
                body = rest;
                if first == 255 {
                    let length = be16(body, 0)?;
                    body = &body[2..];
                    usize::from(length)
                } else {
                    usize::from(first)
                }
            }
        };
        let value = body.get(..length)?;
        body = &body[length..];
        let takes_octets = field.length != Some(0);
        let (pen, id, scope, variable) = (field.pen, field.id, field.scope, field.length.is_none());
        elements.push(Element { pen, id, scope, takes_octets, variable, value });
    }
    Some((elements, body))
}

/// Template id, fields (`None`: nothing to remember) and octets read.
type Template = (u16, Option<Vec<Specifier>>, usize);

fn v9_template(body: &[u8], options: bool) -> Option<Template> {
    let (id, count) = (be16(body, 0)?, usize::from(be16(body, 2)?));
    let (start, scope, octets) = match options {
        false => (4, 0, 4 * count),
        true => (6, count, count + usize::from(be16(body, 4)?)),
    };
    let list = body.get(start..start + octets)?;
    if scope % 4 != 0 || octets % 4 != 0 {
        return Some((id, None, start + octets));
    }
    let fields = (0..octets).step_by(4).map(|at| Specifier {
        pen: 0,
        id: u16::from_be_bytes([list[at], list[at + 1]]),
        length: Some(u16::from_be_bytes([list[at + 2], list[at + 3]]))
            .filter(|&length| length != 0xffff)
            .map(usize::from),
        scope: at < scope,
    });
    Some((id, Some(fields.collect()), start + octets))
}

fn ipfix_template(body: &[u8], options: bool) -> Option<Template> {
    let (id, count) = (be16(body, 0)?, be16(body, 2)?);
    if count == 0 {
        return Some((id, None, 4));
    }
    let (mut at, scope) = if options { (6, be16(body, 4)?) } else { (4, 0) };
    let mut fields = Vec::new();
    for index in 0..count {
        let (element, length) = (be16(body, at)?, be16(body, at + 2)?);
        at += 4;
        let mut pen = 0;
        if element >= 0x8000 {
            pen = be32(body, at)?;
            at += 4;
        }
        let length = (length != 0xffff).then_some(usize::from(length));
        fields.push(Specifier { pen, id: element & 0x7fff, length, scope: index < scope });
    }
    Some((id, (scope <= count).then_some(fields), at))
}

/// NetFlow v1, v5 and v7 by the offsets of Cisco's tables.
fn fixed(payload: &[u8], mut header: Header, out: &mut Decoded) -> Option<()> {
    let (start, size) = match header.version {
        1 => (16, 48),
        5 => (24, 48),
        _ => (24, 52),
    };
    let mut announced = Announced::default();
    if header.version != 1 {
        header.sequence = be32(payload, 16)?;
        be32(payload, 20)?;
    }
    if header.version == 5 {
        header.domain = u32::from(be16(payload, 20)?);
        announced.rate = u64::from(be16(payload, 22)? & 0x3fff);
    }
    let count = usize::from(be16(payload, 2)?);
    for record in payload[start..].chunks_exact(size).take(count) {
        let element = |id, at: usize, length: usize| Element {
            pen: 0,
            id,
            scope: false,
            takes_octets: true,
            variable: false,
            value: &record[at..at + length],
        };
        let mut elements = vec![
            element(8, 0, 4),
            element(12, 4, 4),
            element(15, 8, 4),
            element(10, 12, 2),
            element(14, 14, 2),
            element(2, 16, 4),
            element(1, 20, 4),
            element(22, 24, 4),
            element(21, 28, 4),
            element(7, 32, 2),
            element(11, 34, 2),
        ];
        elements.extend(match header.version {
            1 => vec![element(4, 38, 1), element(5, 39, 1), element(6, 40, 1)],
            _ => vec![
                element(6, 37, 1),
                element(4, 38, 1),
                element(5, 39, 1),
                element(16, 40, 2),
                element(17, 42, 2),
                element(9, 44, 1),
                element(13, 45, 1),
            ],
        });
        out.flows.push(record::flow(header, &elements, &[], &announced, &out.known.of_fixed_layouts()));
    }
    Some(())
}
