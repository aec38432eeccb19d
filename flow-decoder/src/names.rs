//! Names that an exporter's options data gives: to interfaces, VRFs and applications, and to itself.
//!
//! ```text
//! interface:    10, 14, 252, 253 or v9 scope 2 (INTERFACE) -> 82 (name), 83 (description)
//! VRF:          234, 235                                   -> 236
//! application:  95, as a big-endian number                 -> 96
//! exporter:     the domain that says it                    -> 300 (observationDomainName)
//! ```
//!
//! Invariants:
//! - A name is text, as records and other nodes get it: no zeros behind it, U+FFFD for what is no UTF-8, 255 octets at most.
//! - The latest name of a thing counts. It has the time at which it was first said, not of each time that it is said again.
//! - Bounded: of each kind so many, and of all together no more than others can be told of. Who came first stays.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::elements::unsigned;
use crate::options::Said;
use crate::sink::WireRecord;
use crate::template::FieldSpecifier;

/// Names of one kind that are kept for a domain.
const MOST: usize = 4096;
/// Octets of a name.
const MAX_OCTETS: usize = 255;
/// Octets of all names of a domain as others are told of them: of the 512 KiB that are shared of a domain these leave room for
/// sampling rates and templates.
const MAX_TOLD: usize = 320 << 10;
/// What a name takes there beside its text, at most.
const TOLD_OCTETS: usize = 32;
/// What a name takes in memory beside its text: a place in a table that may be half empty, and the text's own counts.
const ENTRY_OCTETS: usize = 112;
/// v9's scope type of an interface.
const SCOPE_INTERFACE: u16 = 2;

/// Whether a field of an options record says of which interface the record is.
pub(crate) fn is_interface(version: u16, field: &FieldSpecifier) -> bool {
    if field.scope && version == 9 {
        return field.id == SCOPE_INTERFACE;
    }
    field.pen == 0 && matches!(field.id, 10 | 14 | 252 | 253)
}

/// Kinds of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NameKind {
    /// Of an interface, by its SNMP index: interfaceName (82).
    Interface,
    /// What a person has said of an interface, by its SNMP index: interfaceDescription (83).
    InterfaceDescription,
    /// Of a VRF, by its id: VRFname (236).
    Vrf,
    /// Of an application, by applicationId (95) as a big-endian number: applicationName (96).
    Application,
    /// Of the exporter itself, with the id 0: observationDomainName (300).
    Exporter,
}

impl NameKind {
    /// All kinds.
    pub const ALL: [Self; 5] =
        [Self::Interface, Self::InterfaceDescription, Self::Vrf, Self::Application, Self::Exporter];
}

/// A name as nodes tell each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SharedName {
    /// Of what.
    pub kind: NameKind,
    /// Which one.
    pub id: u64,
    /// When it was learnt, milliseconds since 1970; see [`Order::time`](crate::Order::time).
    pub time: u64,
    /// The name, 1 to 255 octets.
    pub text: Arc<str>,
}

/// What has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thing {
    pub(crate) kind: NameKind,
    pub(crate) id: u64,
}

impl Thing {
    pub(crate) fn new(kind: NameKind, id: u64) -> Self {
        Self { kind, id }
    }

    /// An application by the octets of its id; nothing for an id that is no number of 64 bits.
    pub(crate) fn application(id: &[u8]) -> Option<Self> {
        let fits = id.len() <= 8 || id[..id.len() - 8].iter().all(|&octet| octet == 0);
        fits.then(|| Self::new(NameKind::Application, unsigned(id)))
    }
}

/// What an options record names: of each kind one thing at most. The names are as they are on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Named<'a>([Option<(u64, &'a [u8])>; NameKind::ALL.len()]);

impl<'a> Named<'a> {
    /// What an options record names; of an element that is there twice the first counts.
    pub(crate) fn of(record: &WireRecord<'a>) -> Self {
        let (mut interface, mut vrf, mut application) = (None, None, None);
        let mut names: [Option<&[u8]>; NameKind::ALL.len()] = Default::default();
        for (field, value) in record.elements().filter(|(_, value)| !value.is_empty()) {
            if is_interface(record.version, field) {
                interface.get_or_insert(unsigned(value));
                continue;
            }
            if field.scope && record.version == 9 {
                continue;
            }
            let kind = match (field.pen, field.id) {
                (0, 234 | 235) => {
                    vrf.get_or_insert(unsigned(value));
                    continue;
                }
                (0, 95) => {
                    application.get_or_insert(value);
                    continue;
                }
                (0, 82) => NameKind::Interface,
                (0, 83) => NameKind::InterfaceDescription,
                (0, 236) => NameKind::Vrf,
                (0, 96) => NameKind::Application,
                (0, 300) => NameKind::Exporter,
                _ => continue,
            };
            names[kind as usize].get_or_insert(value);
        }
        let application = application.and_then(Thing::application).map(|thing| thing.id);
        let ids = [interface, interface, vrf, application, Some(0)];
        let mut at = 0;
        Self(names.map(|name| {
            let id = ids[at];
            at += 1;
            id.zip(name.map(trimmed).filter(|name| !name.is_empty()))
        }))
    }

    fn all(&self) -> impl Iterator<Item = (Thing, &'a [u8])> {
        let all = NameKind::ALL.into_iter().zip(self.0);
        all.filter_map(|(kind, named)| named.map(|(id, name)| (Thing::new(kind, id), name)))
    }
}

fn trimmed(name: &[u8]) -> &[u8] {
    &name[..name.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)]
}

/// The text of a name that is not empty; without allocating where it is one already.
fn text_of(name: &[u8]) -> Cow<'_, str> {
    let shortest = |text: &str| text.floor_char_boundary(MAX_OCTETS);
    match String::from_utf8_lossy(name) {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..shortest(text)]),
        Cow::Owned(mut text) => {
            text.truncate(shortest(&text));
            Cow::Owned(text)
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    time: u64,
    text: Arc<str>,
}

/// What became of names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Whether any is another than before.
    pub(crate) changed: bool,
    /// How many found no room.
    pub(crate) left_out: usize,
}

/// All names of a domain. Who learns one copies those of its kind only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    tables: [Arc<HashMap<u64, Name>>; NameKind::ALL.len()],
    /// Octets of memory.
    octets: usize,
    /// Octets as others are told of them.
    told: usize,
}

impl Names {
    fn table(&self, kind: NameKind) -> &HashMap<u64, Name> {
        &self.tables[kind as usize]
    }

    pub(crate) fn get(&self, thing: Thing) -> Option<&str> {
        self.table(thing.kind).get(&thing.id).map(|name| &*name.text)
    }

    /// Whether all that a record names is known already.
    pub(crate) fn knows(&self, named: &Named<'_>) -> bool {
        named.all().all(|(thing, name)| self.get(thing).is_some_and(|known| known == text_of(name)))
    }

    /// How many names of a record that are not known find no room; `None` where there is room for one that is news.
    pub(crate) fn without_room(&self, named: &Named<'_>) -> Option<usize> {
        let mut without = 0;
        for (thing, name) in named.all() {
            let text = text_of(name);
            if self.get(thing).is_none_or(|known| known != text) {
                if self.has_room(thing, &text) {
                    return None;
                }
                without += 1;
            }
        }
        Some(without)
    }

    fn has_room(&self, thing: Thing, text: &str) -> bool {
        let table = self.table(thing.kind);
        let (now, before) = match table.get(&thing.id) {
            Some(known) => (text.len(), known.text.len()),
            None if table.len() >= MOST => return false,
            None => (text.len() + TOLD_OCTETS, 0),
        };
        self.told + now - before <= MAX_TOLD
    }

    /// Takes over what a record names, at `time` (ms since 1970).
    pub(crate) fn say(&mut self, named: &Named<'_>, time: u64) {
        for (thing, name) in named.all() {
            let text = text_of(name);
            if self.get(thing).is_none_or(|known| known != text) {
                self.insert(thing, Name { time, text: text.into() });
            }
        }
    }

    /// Takes over what the news of a set name.
    pub(crate) fn take(&mut self, news: &Self, said: Said) -> Kept {
        self.each_news(news.all(), |known, news| match said {
            Said::Now => Some(news.time.max(known.time + 1)),
            Said::Earlier(time) => (time > known.time).then_some(news.time),
        })
    }

    /// Takes over names that others were told, where they are later.
    pub(crate) fn merge(&mut self, shared: &[SharedName]) -> Kept {
        let all = shared.iter().map(|name| {
            let SharedName { kind, id, time, text } = name;
            (Thing::new(*kind, *id), Name { time: *time, text: text.clone() })
        });
        let proper = all.filter(|(_, name)| (1..=MAX_OCTETS).contains(&name.text.len()));
        self.each_news(proper, |known, news| {
            ((news.time, &news.text) > (known.time, &known.text)).then_some(news.time)
        })
    }

    /// Takes over names that are others than those known, where `wins` gives the time that they have then.
    fn each_news(
        &mut self,
        news: impl Iterator<Item = (Thing, Name)>,
        wins: impl Fn(&Name, &Name) -> Option<u64>,
    ) -> Kept {
        let mut kept = Kept::default();
        for (thing, mut name) in news {
            if let Some(known) = self.table(thing.kind).get(&thing.id) {
                match wins(known, &name) {
                    Some(time) if known.text != name.text => name.time = time,
                    _ => continue,
                }
            }
            if self.insert(thing, name) {
                kept.changed = true;
            } else {
                kept.left_out += 1;
            }
        }
        kept
    }

    /// Gives a thing a name; false where there is no room for it.
    fn insert(&mut self, thing: Thing, name: Name) -> bool {
        if !self.has_room(thing, &name.text) {
            return false;
        }
        let len = name.text.len();
        self.octets += len;
        self.told += len;
        match Arc::make_mut(&mut self.tables[thing.kind as usize]).insert(thing.id, name) {
            Some(old) => {
                self.octets -= old.text.len();
                self.told -= old.text.len();
            }
            None => {
                self.octets += ENTRY_OCTETS;
                self.told += TOLD_OCTETS;
            }
        }
        true
    }

    fn all(&self) -> impl Iterator<Item = (Thing, Name)> {
        let of = |kind: NameKind| {
            self.table(kind).iter().map(move |(id, name)| (Thing::new(kind, *id), name.clone()))
        };
        NameKind::ALL.into_iter().flat_map(of)
    }

    /// As others are told of them: by kind, then id.
    pub(crate) fn shared(&self) -> Vec<SharedName> {
        let of = |(thing, name): (Thing, Name)| SharedName {
            kind: thing.kind,
            id: thing.id,
            time: name.time,
            text: name.text,
        };
        let mut all: Vec<_> = self.all().map(of).collect();
        all.sort_unstable_by_key(|name| (name.kind, name.id));
        all
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.octets == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.tables.iter().map(|table| table.len()).sum()
    }

    /// Whether there are names that records show.
    pub(crate) fn in_records(&self) -> bool {
        let shown = [NameKind::Interface, NameKind::Vrf, NameKind::Application];
        shown.into_iter().any(|kind| !self.table(kind).is_empty())
    }

    /// Octets of memory.
    pub(crate) fn octets(&self) -> usize {
        self.octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(kind: NameKind, id: u64, name: &[u8]) -> Named<'_> {
        let mut named = Named::default();
        named.0[kind as usize] = Some((id, name));
        named
    }

    fn say(names: &mut Names, kind: NameKind, id: u64, name: &str, time: u64) -> Kept {
        let mut news = Names::default();
        news.say(&named(kind, id, name.as_bytes()), time);
        names.take(&news, Said::Now)
    }

    fn shared(id: u64, time: u64, text: &str) -> SharedName {
        SharedName { kind: NameKind::Vrf, id, time, text: text.into() }
    }

    #[test]
    fn names_are_bounded_and_what_they_take_is_counted() {
        let mut names = Names::default();
        for id in 0..2 * MOST as u64 {
            let kept = say(&mut names, NameKind::Vrf, id, "red", 1);
            assert_eq!(kept.changed, id < MOST as u64);
            assert_eq!(kept.left_out, usize::from(!kept.changed));
        }
        assert_eq!(names.octets(), MOST * (ENTRY_OCTETS + 3));
        say(&mut names, NameKind::Vrf, 1, "purple", 2);
        assert_eq!(names.octets(), MOST * (ENTRY_OCTETS + 3) + 3);
        assert_eq!(names.without_room(&named(NameKind::Vrf, u64::MAX, b"x")), Some(1));
        assert_eq!(names.without_room(&named(NameKind::Vrf, 1, b"known ones may change")), None);
        let long = "x".repeat(MAX_OCTETS);
        let kept: Vec<_> =
            (0..3000).map(|id| say(&mut names, NameKind::Interface, id, &long, 1).changed).collect();
        assert!(kept[0] && !kept[2999]);
        assert!(names.told <= MAX_TOLD && names.told > MAX_TOLD - 300, "{}", names.told);
        assert!(say(&mut names, NameKind::Vrf, 2, "r", 2).changed, "a shorter name needs no room");
    }

    #[test]
    fn a_name_is_text_of_a_bounded_length() {
        let mut names = Names::default();
        names.say(&named(NameKind::Interface, 1, b"caf\xe9"), 1);
        assert_eq!(names.get(Thing::new(NameKind::Interface, 1)), Some("caf\u{fffd}"));
        assert!(names.knows(&named(NameKind::Interface, 1, b"caf\xe9")));
        let long = "\u{e9}".repeat(200);
        names.say(&named(NameKind::Interface, 2, long.as_bytes()), 1);
        assert_eq!(names.get(Thing::new(NameKind::Interface, 2)), Some(&long[..254]));
        assert!(names.knows(&named(NameKind::Interface, 2, long.as_bytes())));
    }

    #[test]
    fn the_later_name_wins_in_whichever_order_nodes_hear_of_it() {
        let (mut one, mut other) = (Names::default(), Names::default());
        say(&mut one, NameKind::Vrf, 1, "green", 100);
        say(&mut other, NameKind::Vrf, 1, "blue", 200);
        let (first, second) = (one.shared(), other.shared());
        assert_eq!(first, [shared(1, 100, "green")]);
        assert!(one.merge(&second).changed && !one.merge(&first).changed && !other.merge(&first).changed);
        assert_eq!(one, other);
        say(&mut other, NameKind::Vrf, 1, "red", 150);
        assert_eq!(
            other.shared(),
            [shared(1, 201, "red")],
            "what is said here is later than what it replaces"
        );
        assert!(one.merge(&other.shared()).changed);
        let same_time = [shared(1, 201, "blue"), shared(1, 201, "white")];
        assert!(one.merge(&same_time).changed && other.merge(&[same_time[1].clone()]).changed);
        assert_eq!(one, other, "of two at the same time the greater text");
    }

    #[test]
    fn what_others_tell_is_bounded_and_checked() {
        let mut names = Names::default();
        let long = "x".repeat(MAX_OCTETS + 1);
        assert_eq!(names.merge(&[shared(1, 1, ""), shared(2, 1, &long)]), Kept::default());
        let many: Vec<_> = (0..5000).map(|id| shared(id, 1, "red")).collect();
        assert_eq!(names.merge(&many), Kept { changed: true, left_out: 5000 - MOST });
    }

    /// A table that is told again takes no copy.
    #[test]
    fn what_is_known_is_not_copied() {
        let mut names = Names::default();
        say(&mut names, NameKind::Application, 1, "http", 1);
        let before = names.clone();
        let mut news = Names::default();
        news.say(&named(NameKind::Application, 1, b"http"), 9);
        assert_eq!(names.take(&news, Said::Now), Kept::default());
        assert_eq!(names.merge(&before.shared()), Kept::default());
        for (table, same) in names.tables.iter().zip(&before.tables) {
            assert!(Arc::ptr_eq(table, same));
        }
    }

    #[test]
    fn what_was_said_since_holds_against_what_comes_late() {
        let mut names = Names::default();
        say(&mut names, NameKind::Vrf, 1, "new", 100);
        let mut news = Names::default();
        news.say(&named(NameKind::Vrf, 1, b"old"), 50);
        news.say(&named(NameKind::Vrf, 2, b"other"), 50);
        assert!(names.take(&news, Said::Earlier(50)).changed);
        assert_eq!(names.get(Thing::new(NameKind::Vrf, 1)), Some("new"));
        assert_eq!(names.get(Thing::new(NameKind::Vrf, 2)), Some("other"));
    }

    #[test]
    fn an_application_is_a_number() {
        let id = |octets: &[u8]| Thing::application(octets).map(|thing| thing.id);
        assert_eq!(id(&[3, 0, 0, 80]), Some(0x0300_0050));
        assert_eq!(id(&[0, 0, 3, 0, 0, 0, 0, 0, 0, 80]), Some(0x0300_0000_0000_0050));
        assert_eq!(id(&[1; 9]), None);
    }
}
