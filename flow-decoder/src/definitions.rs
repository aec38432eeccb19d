//! What an exporter's source ports have announced, by template id: small, and cheap to share between snapshots.
//!
//! ```text
//! Templates:   pages of 256 ids, each shared by all snapshots in which it is the same
//! Page:        template id -> Definitions
//! Definitions: source port -> Definition, the latest last; nearly always one
//! Definition:  layout, order, and marks that change in place (when last seen, whether data has proven it)
//! ```

use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use crate::layouts::Layout;
use crate::order::Order;
use crate::restart::{Known, is_suspect, same_boot};

/// What a definition takes in memory: itself and its place in a page that may have grown in advance.
const DEFINITION_OCTETS: usize = 64 + 32;
/// What a page takes beside its definitions.
const PAGE_OCTETS: usize = 100;

/// Definitions by template id. Who learns one copies its page only: an exporter may have thousands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Templates {
    pages: Vec<(u8, Arc<Page>)>,
    len: usize,
    /// Definitions of all ids and ports.
    definitions: usize,
}

/// Definitions by the lower half of the id, sorted by it.
type Page = Vec<(u8, Definitions)>;

/// One template id: what each source port announced, the latest last. Never empty.
#[derive(Clone, Debug)]
pub(crate) enum Definitions {
    One(Arc<Definition>),
    Many(Box<[Arc<Definition>]>),
}

/// What one source port announced.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) layout: Arc<Layout>,
    pub(crate) order: Order,
    /// Receive time of the last announcement, seconds since 1970.
    seen: AtomicU32,
    pub(crate) port: u16,
    marks: AtomicU8,
}

/// What is noted of a definition while it is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mark {
    /// Data has decoded by it, its exporter is trusted, or it was asked for: it may be shared.
    Proven = 1,
    /// This node has received it itself.
    Received = 2,
}

/// What a port's data of one template id is decoded by.
#[derive(Clone, Debug)]
pub(crate) enum Lookup<'a> {
    Found(&'a Arc<Definition>),
    /// Ports disagree, and this one announced nothing.
    Conflict,
    /// The exporter has restarted since it was announced.
    Suspect,
    Unknown,
}

impl Definition {
    pub(crate) fn new(port: u16, layout: Arc<Layout>, order: Order, seen: u32) -> Self {
        Self { layout, order, seen: AtomicU32::new(seen), port, marks: AtomicU8::new(0) }
    }

    pub(crate) fn is(&self, mark: Mark) -> bool {
        self.marks.load(Ordering::Relaxed) & mark as u8 != 0
    }

    /// Sets a mark; says whether it is new.
    pub(crate) fn mark(&self, mark: Mark) -> bool {
        !self.is(mark) && self.marks.fetch_or(mark as u8, Ordering::Relaxed) & mark as u8 == 0
    }

    /// Takes over the marks of the definition that it replaces.
    pub(crate) fn marked_like(self, other: &Self) -> Self {
        self.marks.fetch_or(other.marks.load(Ordering::Relaxed), Ordering::Relaxed);
        self
    }

    /// Receive time of the last announcement, seconds since 1970.
    pub(crate) fn seen(&self) -> u32 {
        self.seen.load(Ordering::Relaxed)
    }

    /// Notes an announcement that changes nothing; written once a second at most.
    pub(crate) fn seen_at(&self, seconds: u32) {
        if seconds > self.seen() {
            self.seen.store(seconds, Ordering::Relaxed);
        }
    }
}

impl Templates {
    /// How many template ids are known.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Octets of memory that they take, without their layouts.
    pub(crate) fn octets(&self) -> usize {
        self.definitions * DEFINITION_OCTETS + self.pages.len() * PAGE_OCTETS
    }

    /// Octets that another definition takes, at most.
    pub(crate) const fn octets_of_one() -> usize {
        DEFINITION_OCTETS + PAGE_OCTETS
    }

    pub(crate) fn get(&self, id: u16) -> Option<&Definitions> {
        let [page, index] = id.to_be_bytes();
        let page = &self.pages[self.pages.binary_search_by_key(&page, |(of, _)| *of).ok()?].1;
        Some(&page[page.binary_search_by_key(&index, |(of, _)| *of).ok()?].1)
    }

    /// What the data of a port is decoded by, in an epoch of its exporter: what this port announced, else what all ports agree
    /// on. Where the exporter has restarted since its port announced it, another port of the same boot may speak for it.
    pub(crate) fn lookup(&self, id: u16, port: u16, epoch: u32) -> Lookup<'_> {
        let Some(definitions) = self.get(id) else { return Lookup::Unknown };
        match definitions.of_port(port) {
            Some(own) if !is_suspect(own.order.epoch, epoch) => Lookup::Found(own),
            Some(_) => definitions.agreed(|other| same_boot(other.order.epoch, epoch)),
            None => definitions.agreed(|other| !is_suspect(other.order.epoch, epoch)),
        }
    }

    /// Every id with its definitions, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, &Definitions)> {
        self.pages.iter().flat_map(|(page, definitions)| {
            definitions.iter().map(|(index, each)| (u16::from_be_bytes([*page, *index]), each))
        })
    }

    /// What is known when data of a port first comes: by what the port itself announced, else by what others did. So many
    /// definitions are looked at that an exporter shows its epoch, and few enough that strangers' ports cost little.
    pub(crate) fn known_of(&self, port: u16) -> Option<Known> {
        const LOOKED_AT: usize = 1024;
        let (mut own, mut any) = (None, None);
        for known in self.iter().flat_map(|(_, definitions)| definitions.all()).take(LOOKED_AT) {
            any = any.max(Some(known.order));
            if known.port == port {
                own = own.max(Some(known.order));
            }
        }
        Known::of(own.into_iter(), true).or_else(|| Known::of(any.into_iter(), false))
    }

    /// Takes a definition in: instead of its port's last one, or of the first of all where the port is new and there are
    /// `limit` already.
    pub(crate) fn announce(&mut self, id: u16, definition: Definition, limit: usize) {
        let [page, index] = id.to_be_bytes();
        let at = self.pages.binary_search_by_key(&page, |(of, _)| *of).unwrap_or_else(|at| {
            self.pages.insert(at, (page, Arc::default()));
            at
        });
        let page = Arc::make_mut(&mut self.pages[at].1);
        match page.binary_search_by_key(&index, |(of, _)| *of) {
            Ok(at) => {
                let definitions = &mut page[at].1;
                let before = definitions.all().len();
                definitions.announce(definition, limit);
                self.definitions += definitions.all().len();
                self.definitions -= before;
            }
            Err(at) => {
                page.insert(at, (index, Definitions::One(Arc::new(definition))));
                self.len += 1;
                self.definitions += 1;
            }
        }
    }

    /// Gives back memory that growing has taken in advance.
    pub(crate) fn shrink(&mut self) {
        self.pages.shrink_to_fit();
        for (_, page) in &mut self.pages {
            if let Some(page) = Arc::get_mut(page) {
                page.shrink_to_fit();
            }
        }
    }
}

impl Definitions {
    pub(crate) fn all(&self) -> &[Arc<Definition>] {
        match self {
            Self::One(one) => slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    pub(crate) fn latest(&self) -> &Arc<Definition> {
        let all = self.all();
        &all[all.len() - 1]
    }

    pub(crate) fn of_port(&self, port: u16) -> Option<&Arc<Definition>> {
        self.all().iter().find(|definition| definition.port == port)
    }

    /// Whether the ports announced different layouts.
    pub(crate) fn disagree(&self) -> bool {
        let layout = &self.latest().layout;
        self.all().iter().any(|other| !Arc::ptr_eq(layout, &other.layout))
    }

    /// The one layout of those definitions that count.
    fn agreed(&self, counts: impl Fn(&Definition) -> bool) -> Lookup<'_> {
        let mut counted = self.all().iter().rev().filter(|definition| counts(definition));
        let Some(latest) = counted.next() else { return Lookup::Suspect };
        if counted.all(|other| Arc::ptr_eq(&latest.layout, &other.layout)) {
            Lookup::Found(latest)
        } else {
            Lookup::Conflict
        }
    }

    fn announce(&mut self, definition: Definition, limit: usize) {
        let mut all = self.all().to_vec();
        all.retain(|known| known.port != definition.port);
        if all.len() >= limit.max(1) {
            all.remove(0);
        }
        all.push(Arc::new(definition));
        *self = match <[_; 1]>::try_from(all) {
            Ok([one]) => Self::One(one),
            Err(many) => Self::Many(many.into()),
        };
    }
}
