//! The names of a domain.
//!
//! Invariants:
//! - The latest name of a thing counts. It has the time at which it was first said, not of each time that it is said again.
//! - Bounded: of each kind so many, and of all together no more than others can be told of. Who came first stays, unless it was
//!   not heard for [`STALE_S`]: then the one longest not heard makes room.
//! - To hear a name again costs a store to a number of its own: no copy, and nobody is told. Only where a name has made room
//!   here do those heard since they were told of get the time at which they were heard, so that who knows no more than the
//!   times keeps them before others.
//! - Nodes do not undo each other's choice: what others told of takes the place only of what was heard long before.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{MAX_OCTETS, NameKind, Named, SharedName, Thing, text_of};
use crate::options::Said;

/// Names of one kind that are kept for a domain.
const MOST: usize = 4096;
/// Octets of all names of a domain as others are told of them: of the 512 KiB that are shared of a domain these leave room for
/// sampling rates and templates.
const MAX_TOLD: usize = 320 << 10;
/// What a name takes there beside its text, at most.
const TOLD_OCTETS: usize = 32;
/// What a name takes in memory beside its text: a place in a table that may be half empty, and the text's own counts.
const ENTRY_OCTETS: usize = 128;
/// Seconds after which a name that was not heard may make room. Routers send their tables every half an hour, if not more often; a
/// table too long for its bounds changes no more than the bound once in this time.
const STALE_S: u32 = 3600;
const STALE_MS: u64 = STALE_S as u64 * 1000;

#[derive(Debug)]
struct Name {
    time: u64,
    /// When it was last heard here, or said elsewhere as far as that is known; seconds since 1970. Workers note it in the table that
    /// they share.
    heard: AtomicU32,
    text: Arc<str>,
}

impl Name {
    fn new(time: u64, text: Arc<str>) -> Self {
        Self { time, heard: AtomicU32::new(seconds(time)), text }
    }

    fn heard(&self) -> u32 {
        self.heard.load(Ordering::Relaxed)
    }

    fn hear(&self, at: u32) {
        if self.heard() < at {
            self.heard.fetch_max(at, Ordering::Relaxed);
        }
    }

    /// When it was heard, where that is long after its time.
    fn later_time(&self) -> Option<u64> {
        let heard = u64::from(self.heard()) * 1000;
        (heard > self.time.saturating_add(STALE_MS)).then_some(heard)
    }
}

impl Clone for Name {
    fn clone(&self) -> Self {
        Self { time: self.time, heard: AtomicU32::new(self.heard()), text: self.text.clone() }
    }
}

/// Milliseconds since 1970 as seconds.
fn seconds(time: u64) -> u32 {
    u32::try_from(time / 1000).unwrap_or(u32::MAX)
}

/// What became of names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Whether any is another than before.
    pub(crate) changed: bool,
    /// How many found no room.
    pub(crate) left_out: usize,
    /// How many made room.
    pub(crate) evicted: usize,
}

/// Names of one kind, by number.
#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<u64, Name>,
    /// No name was heard last before this second: saves the search for one that was.
    oldest: AtomicU32,
}

impl Table {
    /// The name longest not heard, where it was heard before this second: when, its time and its number.
    fn stale(&self, before: u32) -> Option<(u32, u64, u64)> {
        if self.oldest.load(Ordering::Relaxed) >= before {
            return None;
        }
        let oldest = self.by_id.iter().map(|(id, name)| (name.heard(), name.time, *id)).min()?;
        self.oldest.store(oldest.0, Ordering::Relaxed);
        (oldest.0 < before).then_some(oldest)
    }

    fn insert(&mut self, id: u64, name: Name) -> Option<Name> {
        let oldest = self.oldest.get_mut();
        *oldest = name.heard().min(*oldest);
        self.by_id.insert(id, name)
    }
}

impl Clone for Table {
    fn clone(&self) -> Self {
        Self { by_id: self.by_id.clone(), oldest: AtomicU32::new(self.oldest.load(Ordering::Relaxed)) }
    }
}

/// All names of a domain. Who learns one copies those of its kind only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    tables: [Arc<Table>; NameKind::ALL.len()],
    /// Octets of memory.
    octets: usize,
    /// Octets as others are told of them.
    told: usize,
}

impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        let told = |name: &Name| (name.time, name.text.clone());
        self.tables.iter().zip(&other.tables).all(|(mine, theirs)| {
            mine.by_id.len() == theirs.by_id.len()
                && mine.by_id.iter().all(|(id, name)| theirs.by_id.get(id).map(told) == Some(told(name)))
        })
    }
}

impl Eq for Names {}

impl Names {
    fn table(&self, kind: NameKind) -> &Table {
        &self.tables[kind as usize]
    }

    fn table_mut(&mut self, kind: NameKind) -> &mut Table {
        Arc::make_mut(&mut self.tables[kind as usize])
    }

    fn name(&self, thing: Thing) -> Option<&Name> {
        self.table(thing.kind).by_id.get(&thing.id)
    }

    pub(crate) fn get(&self, thing: Thing) -> Option<&str> {
        self.name(thing).map(|name| &*name.text)
    }

    /// Whether all that a record names is known already.
    pub(crate) fn knows(&self, named: &Named<'_>) -> bool {
        named.all().all(|(thing, name)| self.get(thing).is_some_and(|known| known == text_of(name)))
    }

    /// Notes that a record's names were heard at `time` (ms since 1970). Gives how many that are not known find no room; `None`
    /// where there is room for one that is news.
    pub(crate) fn hear(&self, named: &Named<'_>, time: u64) -> Option<usize> {
        let (mut without, at) = (0, seconds(time));
        for (thing, name) in named.all() {
            let text = text_of(name);
            match self.name(thing) {
                Some(known) if *known.text == *text => known.hear(at),
                _ if self.has_room(thing, &text) || self.stale(thing, at).is_some() => return None,
                _ => without += 1,
            }
        }
        Some(without)
    }

    fn has_room(&self, thing: Thing, text: &str) -> bool {
        let (now, before) = match self.name(thing) {
            Some(known) => (text.len(), known.text.len()),
            None if self.table(thing.kind).by_id.len() >= MOST => return false,
            None => (text.len() + TOLD_OCTETS, 0),
        };
        self.told + now - before <= MAX_TOLD
    }

    /// What may make room for the name of a thing that was heard at this second: where its kind is full one of that, else any.
    fn stale(&self, thing: Thing, at: u32) -> Option<Thing> {
        let is_full = self.table(thing.kind).by_id.len() >= MOST && self.name(thing).is_none();
        let kinds = if is_full { slice::from_ref(&thing.kind) } else { &NameKind::ALL };
        let before = at.saturating_sub(STALE_S);
        let oldest = kinds.iter().filter_map(|&kind| Some((self.table(kind).stale(before)?, kind))).min();
        oldest.map(|((.., id), kind)| Thing::new(kind, id))
    }

    /// Takes over what a record names, at `time` (ms since 1970).
    pub(crate) fn say(&mut self, named: &Named<'_>, time: u64) {
        for (thing, name) in named.all() {
            let text = text_of(name);
            if self.get(thing).is_none_or(|known| known != text) {
                self.insert(thing, Name::new(time, text.into()), &mut Kept::default());
            }
        }
    }

    /// Takes over what the news of a set name.
    pub(crate) fn take(&mut self, news: &Self, said: Said) -> Kept {
        let kept = self.each_news(news.all(), |known, news| match said {
            Said::Now => Some(news.time.max(known.time + 1)),
            Said::Earlier(time) => (time > known.time).then_some(news.time),
        });
        if kept.evicted > 0 {
            self.tell_when_heard();
        }
        kept
    }

    /// Gives names that were heard long after their time the time at which they were.
    fn tell_when_heard(&mut self) {
        for table in &mut self.tables {
            if table.by_id.values().any(|name| name.later_time().is_some()) {
                for name in Arc::make_mut(table).by_id.values_mut() {
                    name.time = name.later_time().unwrap_or(name.time);
                }
            }
        }
    }

    /// Takes over names that others were told, where they are later.
    pub(crate) fn merge(&mut self, shared: &[SharedName]) -> Kept {
        let proper = shared.iter().filter(|name| (1..=MAX_OCTETS).contains(&name.text.len()));
        let mut all: Vec<_> = proper.map(|name| (Thing::new(name.kind, name.id), name)).collect();
        // Where there is not room for all, the latest; and what is known already is heard before anything makes room.
        all.sort_by_key(|(thing, name)| (self.name(*thing).is_none(), Reverse(name.time)));
        let all = all.into_iter().map(|(thing, name)| (thing, Name::new(name.time, name.text.clone())));
        self.each_news(all, |known, news| {
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
            if let Some(known) = self.name(thing) {
                if known.text == name.text {
                    known.hear(name.heard());
                    continue;
                }
                match wins(known, &name) {
                    Some(time) => name.time = time,
                    None => continue,
                }
            }
            if self.insert(thing, name, &mut kept) {
                kept.changed = true;
            } else {
                kept.left_out += 1;
            }
        }
        kept.changed |= kept.evicted > 0;
        kept
    }

    /// Gives a thing a name; false where there is no room for it and nothing makes any.
    fn insert(&mut self, thing: Thing, name: Name, kept: &mut Kept) -> bool {
        while !self.has_room(thing, &name.text) {
            let Some(stale) = self.stale(thing, name.heard()) else { return false };
            self.remove(stale);
            kept.evicted += 1;
        }
        let len = name.text.len();
        self.octets += len;
        self.told += len;
        match self.table_mut(thing.kind).insert(thing.id, name) {
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

    fn remove(&mut self, thing: Thing) {
        if let Some(old) = self.table_mut(thing.kind).by_id.remove(&thing.id) {
            self.octets -= old.text.len() + ENTRY_OCTETS;
            self.told -= old.text.len() + TOLD_OCTETS;
        }
    }

    fn all(&self) -> impl Iterator<Item = (Thing, Name)> {
        let of = |kind: NameKind| {
            self.table(kind).by_id.iter().map(move |(id, name)| (Thing::new(kind, *id), name.clone()))
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
        self.tables.iter().map(|table| table.by_id.len()).sum()
    }

    /// Whether there are names that records show.
    pub(crate) fn in_records(&self) -> bool {
        let shown = [NameKind::Interface, NameKind::Vrf, NameKind::Application];
        shown.into_iter().any(|kind| !self.table(kind).by_id.is_empty())
    }

    /// Octets of memory.
    pub(crate) fn octets(&self) -> usize {
        self.octets
    }
}

#[cfg(test)]
mod tests;
