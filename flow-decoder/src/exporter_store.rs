//! What exporters have announced: templates and options state. One store a node, shared by all its decoders.
//!
//! ```text
//! ExporterStore: (zone, exporter address, version, domain) -> Scope
//! Scope:         ArcSwap<ScopeState>   readers compare its version once a datagram
//! ScopeState:    template id -> Definitions (per source port a layout), OptionsState
//! ```
//!
//! Invariants:
//! - A `ScopeState` never changes: whoever learns something swaps in a new one, under the scope's lock, which shares with
//!   the old one what is the same. Readers take no lock for what is known already.
//! - Equal layouts are one `Layout` (compared by pointer), whoever announced them.
//! - Definitions are remembered per source port. Data of a port that announced nothing is decoded by the one layout on which
//!   all ports agree; where they disagree it is a conflict.
//! - Everything is bounded by [`StoreLimits`], memory too. At a bound others make room (see `room`); a scope that is full
//!   refuses new template ids and keeps those it has.
//!
//! What nodes tell each other is in `sharing`, what people ask in `listing`.

use std::fmt;
use std::net::IpAddr;
use std::ptr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwapOption;

use crate::changes::Changes;
use crate::datagram::ZoneId;
use crate::definitions::{Definition, Lookup, Mark, Templates};
use crate::error::Reason;
use crate::layouts::{Layout, Layouts};
use crate::options::{OptionsState, Said};
use crate::order::Stamp;
use crate::pending::{HeldSet, Pending, PendingCounts, PendingLimits};
use crate::restart::is_suspect;
use crate::room::Shard;
use crate::scope::{Note, SCOPE_OCTETS, Scope, ScopeState, Standing};
use crate::template::Template;

/// How the store is divided, so that workers which learn at the same time seldom wait for each other.
pub(crate) const SHARDS: usize = 16;

/// Whose templates: numbers mean nothing outside of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeKey {
    /// Zone of the listener.
    pub zone: ZoneId,
    /// Exporter's address.
    pub exporter: IpAddr,
    /// 9 or 10.
    pub version: u16,
    /// Source id or observation domain.
    pub domain: u32,
}

/// Bounds of the store.
#[derive(Clone, Copy, Debug)]
pub struct StoreLimits {
    /// Templates of one scope.
    pub templates_per_scope: usize,
    /// Templates of all scopes.
    pub templates: usize,
    /// Scopes, over all exporters.
    pub scopes: usize,
    /// Octets of memory that all of it takes, but for data that waits.
    pub bytes: usize,
    /// Source ports remembered for one template.
    pub ports_per_template: usize,
    /// Data that waits for its template.
    pub pending: PendingLimits,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            templates_per_scope: 4096,
            templates: 1_000_000,
            scopes: 1_000_000,
            bytes: 112 << 20,
            ports_per_template: 32,
            pending: PendingLimits::default(),
        }
    }
}

/// Templates and options state of all exporters of a node.
#[derive(Debug)]
pub struct ExporterStore {
    pub(crate) limits: StoreLimits,
    pub(crate) shards: [Mutex<Shard>; SHARDS],
    layouts: Layouts,
    changes: Changes,
    pending: Pending,
    trusted: ArcSwapOption<Trusted>,
    pub(crate) templates: AtomicUsize,
    /// Octets of all scopes, without layouts.
    pub(crate) octets: AtomicUsize,
    /// Scopes that have only announced something, and some that were; see `room`.
    pub(crate) announced: Arc<AtomicUsize>,
    pub(crate) scopes_evicted: AtomicU64,
    pub(crate) names_evicted: AtomicU64,
    pub(crate) generation: AtomicU64,
}

/// Says which exporters' templates may be shared unproven.
struct Trusted(Box<dyn Fn(ZoneId, IpAddr) -> bool + Send + Sync>);

impl fmt::Debug for Trusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trusted(..)")
    }
}

/// What learning a template did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learned {
    Unchanged,
    Changed,
}

impl ExporterStore {
    /// An empty store.
    pub fn new(limits: StoreLimits) -> Self {
        let announced = Arc::default();
        Self {
            limits,
            shards: std::array::from_fn(|_| Mutex::new(Shard::new(&announced))),
            announced,
            layouts: Layouts::default(),
            changes: Changes::default(),
            pending: Pending::new(limits.pending),
            trusted: ArcSwapOption::empty(),
            templates: AtomicUsize::new(0),
            octets: AtomicUsize::new(0),
            scopes_evicted: AtomicU64::new(0),
            names_evicted: AtomicU64::new(0),
            generation: AtomicU64::new(0),
        }
    }

    /// Template ids known, over all scopes.
    pub fn templates(&self) -> usize {
        self.templates.load(Ordering::Relaxed)
    }

    /// Scopes known.
    pub fn scopes(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Octets of memory that scopes and layouts take.
    pub fn bytes(&self) -> usize {
        self.octets.load(Ordering::Relaxed) + self.layouts.octets()
    }

    /// Scopes that had to make room for others since the store was made.
    pub fn scopes_evicted(&self) -> u64 {
        self.scopes_evicted.load(Ordering::Relaxed)
    }

    /// Names of options data that made room for others because they were not heard for longest.
    pub fn names_evicted(&self) -> u64 {
        self.names_evicted.load(Ordering::Relaxed)
    }

    /// A number that grows whenever a definition or options state changes, whoever said it. What was written to disk at one
    /// generation need not be written again before the next.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Names the exporters whose templates may be shared with other nodes before data has proven them (an allow list, say);
    /// it is asked when they announce something.
    pub fn trust(&self, trusted: Box<dyn Fn(ZoneId, IpAddr) -> bool + Send + Sync>) {
        self.trusted.store(Some(Arc::new(Trusted(trusted))));
    }

    /// What has been counted of data that waits for its template.
    pub fn pending_counts(&self) -> PendingCounts {
        self.pending.counts()
    }

    /// Changes the bounds of data that waits; where there is less room now the oldest goes.
    pub fn set_pending_limits(&self, limits: PendingLimits) {
        self.pending.set_limits(limits);
    }

    /// Whether data waits for its template.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Gives up data that has waited too long; `now_ns` is the node's time, ns since 1970. Cheap where there is none.
    pub fn expire_pending(&self, now_ns: u64) {
        self.pending.expire(now_ns);
    }

    /// Lets data be decoded as it is that waits for the template of a list only (RFC 6313): before the end, after which nothing
    /// comes. [`crate::Decoder::decode_released`] decodes it.
    pub fn finish_pending(&self) {
        self.pending.give_up_lists();
    }

    pub(crate) fn pending(&self) -> &Pending {
        &self.pending
    }

    /// The oldest waiting set that can be decoded now.
    pub(crate) fn next_ready(&self) -> Option<HeldSet> {
        self.pending.next(|key| {
            let state = self.scope(key).map(|scope| scope.latest()).unwrap_or_default();
            move |held: &HeldSet| {
                matches!(state.lookup(held.waits_for(), held.source.port(), held.epoch), Lookup::Found(_))
            }
        })
    }

    /// Lets a set wait for a template, and others know of it.
    #[cold]
    pub(crate) fn hold(&self, set: HeldSet) {
        let (key, template, port, epoch) = (set.scope, set.waits_for(), set.source.port(), set.epoch);
        let received_ns = set.received_ns;
        self.pending.hold(set);
        self.changes.want(&key, template, received_ns);
        // Somebody may have learnt it since the decoder last looked, before the set was there to be woken.
        let state = self.scope(&key).map(|scope| scope.latest());
        let found = |state: Arc<ScopeState>| matches!(state.lookup(template, port, epoch), Lookup::Found(_));
        if state.is_some_and(found) {
            self.pending.wake(&key, template);
        }
    }

    pub(crate) fn limits(&self) -> &StoreLimits {
        &self.limits
    }

    pub(crate) fn layouts(&self) -> &Layouts {
        &self.layouts
    }

    pub(crate) fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Whether anything is known of a scope.
    pub fn knows(&self, key: &ScopeKey) -> bool {
        lock(self.shard(key)).get(key).is_some()
    }

    /// The scope, where anything is known of it.
    pub(crate) fn scope(&self, key: &ScopeKey) -> Option<Arc<Scope>> {
        lock(self.shard(key)).get(key).cloned()
    }

    /// The scope, made where nothing was known of it.
    pub(crate) fn scope_or_new(&self, key: &ScopeKey, now_ns: u64) -> Arc<Scope> {
        if let Some(scope) = self.scope(key) {
            return scope;
        }
        self.make_room(key, Standing::Established, SCOPE_OCTETS);
        let mut shard = lock(self.shard(key));
        self.make_place(&mut shard, key, Standing::Established);
        self.place(&mut shard, key, || Scope::heard(now_ns))
    }

    /// The scope, made where nothing was known of it and there is room when those have left that stand no higher than `most`.
    pub(crate) fn scope_for_import(&self, key: &ScopeKey, most: Standing) -> Option<Arc<Scope>> {
        self.make_room(key, most, SCOPE_OCTETS);
        let mut shard = lock(self.shard(key));
        if let Some(scope) = shard.get(key) {
            return Some(scope.clone());
        }
        let room = !self.is_full() && !self.lacks(SCOPE_OCTETS) && self.make_place(&mut shard, key, most);
        room.then(|| self.place(&mut shard, key, Scope::told))
    }

    fn place(&self, shard: &mut Shard, key: &ScopeKey, new: impl FnOnce() -> Scope) -> Arc<Scope> {
        shard.get_or_insert(key, || {
            let scope = new();
            self.octets.fetch_add(scope.state().octets(), Ordering::Relaxed);
            scope
        })
    }

    /// Calls `visit` for every scope's key.
    pub(crate) fn each_key(&self, mut visit: impl FnMut(&ScopeKey)) {
        for shard in &self.shards {
            lock(shard).iter().for_each(|(key, _)| visit(key));
        }
    }

    /// Calls `visit` for every scope, with no lock held.
    pub(crate) fn each_scope(&self, mut visit: impl FnMut(&ScopeKey, &Scope)) {
        for shard in &self.shards {
            let scopes: Vec<_> = lock(shard).iter().map(|(key, scope)| (*key, scope.clone())).collect();
            scopes.iter().for_each(|(key, scope)| visit(key, scope));
        }
    }

    /// Remembers that `port` announced a template.
    ///
    /// What a port says to this node holds from then on, as it does for the data behind it; its place in the order is after
    /// what it replaces. Only a datagram that is older than what other nodes have told, by its header and by its receive
    /// time, changes nothing.
    pub(crate) fn learn_template(
        &self,
        key: &ScopeKey,
        scope: &Scope,
        port: u16,
        id: u16,
        template: &Arc<Template>,
        stamp: &Stamp,
    ) -> Result<Learned, Reason> {
        let is_known = || scope.state().templates.get(id).is_some();
        let octets = Templates::octets_of_one() + Layout::octets_of(template);
        if self.is_crowded() || self.lacks(octets) || self.is_full() && !is_known() {
            self.make_room(key, Standing::Established, octets);
        }
        let trusted = self.trusts(key);
        if trusted {
            scope.note(Note::Told);
        }
        let learning = scope.lock();
        let current = scope.latest();
        let mut order = stamp.order();
        let known = current.announced(id, port);
        let same_layout = known.filter(|known| known.layout.template() == template);
        if let Some(known) = same_layout
            && !is_suspect(known.order.epoch, order.epoch)
        {
            known.seen_at(stamp.received_s());
            known.mark(Mark::Received);
            return Ok(Learned::Unchanged);
        }
        if let Some(known) = known {
            let older = order.in_boot_of(&known.order) < known.order;
            if older && !known.is(Mark::Received) && stamp.received_ms() < known.order.time {
                return Ok(Learned::Unchanged);
            }
            order = order.after(&known.order);
        }
        let full = scope.is_evicted()
            || current.templates.len() >= self.limits.templates_per_scope
            || self.is_full();
        if full && current.templates.get(id).is_none() {
            return Err(Reason::TemplateLimit);
        }
        let definition = Definition::new(port, self.layouts.intern(template), order, stamp.received_s());
        definition.mark(Mark::Received);
        if trusted || same_layout.is_some_and(|known| known.is(Mark::Proven)) {
            definition.mark(Mark::Proven);
        }
        let (shareable, changed) = (definition.is(Mark::Proven), same_layout.is_none());
        let mut next = ScopeState::clone(&current);
        next.templates.announce(id, definition, self.limits.ports_per_template);
        let grown = next.octets().saturating_sub(current.octets());
        if self.lacks(grown) {
            return Err(Reason::TemplateLimit);
        }
        self.publish(scope, &current, next);
        drop(learning);
        self.pending.wake(key, id);
        if shareable {
            self.changed(key);
        }
        Ok(if changed { Learned::Changed } else { Learned::Unchanged })
    }

    /// Notes that data has decoded by a layout: its definitions may be shared from now on.
    pub(crate) fn proven(&self, key: &ScopeKey, scope: &Scope, id: u16, layout: &Weak<Layout>) {
        scope.note(Note::Proven);
        let state = scope.latest();
        let Some(definitions) = state.templates.get(id) else { return };
        let of_layout =
            definitions.all().iter().filter(|known| ptr::eq(Arc::as_ptr(&known.layout), layout.as_ptr()));
        if of_layout.filter(|known| known.mark(Mark::Proven)).count() > 0 {
            self.changed(key);
        }
    }

    /// Remembers what options records said, where there is room for it; gives how much of it found none.
    pub(crate) fn learn_options(
        &self,
        key: &ScopeKey,
        scope: &Scope,
        news: &OptionsState,
        said: Said,
    ) -> usize {
        if self.lacks(news.octets()) {
            self.make_room(key, Standing::Established, news.octets());
        }
        let learning = scope.lock();
        let current = scope.latest();
        let mut options = OptionsState::clone(&current.options);
        let change = options.apply_all(news, said);
        // Another worker may have learnt the same.
        if change.any() {
            let grown = options.octets().saturating_sub(current.options.octets());
            if scope.is_evicted() || grown > 0 && self.lacks(grown) {
                return news.len();
            }
            let next = ScopeState { templates: current.templates.clone(), options: Arc::new(options) };
            self.publish(scope, &current, next);
            self.names_evicted.fetch_add(change.evicted as u64, Ordering::Relaxed);
        }
        drop(learning);
        if change.values {
            self.changed(key);
        } else if change.names {
            self.changes.names(key, |key| self.knows(key));
        }
        change.left_out
    }

    /// Puts a scope among the changes that others are told of. Not under the scope's lock: it may wait for a shard.
    pub(crate) fn changed(&self, key: &ScopeKey) {
        self.changes.scope(key, |key| self.knows(key));
    }

    /// Replaces the state of a scope, under its lock.
    pub(crate) fn publish(&self, scope: &Scope, before: &ScopeState, next: ScopeState) {
        let grown = |now: usize, before: usize| now.wrapping_sub(before);
        self.templates.fetch_add(grown(next.templates.len(), before.templates.len()), Ordering::Relaxed);
        self.octets.fetch_add(grown(next.octets(), before.octets()), Ordering::Relaxed);
        scope.put(next);
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    fn trusts(&self, key: &ScopeKey) -> bool {
        self.trusted.load().as_ref().is_some_and(|trusted| trusted.0(key.zone, key.exporter))
    }

    fn shard(&self, key: &ScopeKey) -> &Mutex<Shard> {
        &self.shards[shard_of(key)]
    }
}

/// Which shard a scope is in.
pub(crate) fn shard_of(key: &ScopeKey) -> usize {
    let octets = match key.exporter {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    let mixed =
        octets.iter().fold(key.domain as usize, |sum, &byte| sum.wrapping_mul(31) ^ usize::from(byte));
    (mixed ^ mixed >> 4) % SHARDS
}

/// A lock whose holder may have panicked: what it guards is replaced whole, never left half-changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::template::{FieldSpecifier, TemplateKind};

    pub(crate) fn key(exporter: u32) -> ScopeKey {
        ScopeKey { zone: ZoneId(0), exporter: Ipv4Addr::from(exporter).into(), version: 9, domain: 0 }
    }

    pub(crate) fn layout(length: u16) -> Arc<Template> {
        Arc::new(Template::new(TemplateKind::Data, [FieldSpecifier::iana(1, length)]).unwrap())
    }

    #[test]
    fn equal_layouts_are_one_and_dead_ones_go() {
        let store = ExporterStore::new(StoreLimits { scopes: 16, ..StoreLimits::default() });
        let (a, b) = (store.scope_or_new(&key(1), 0), store.scope_or_new(&key(2), 0));
        store.learn_template(&key(1), &a, 7, 256, &layout(4), &Stamp::default()).unwrap();
        store.learn_template(&key(2), &b, 8, 300, &layout(4), &Stamp::default()).unwrap();
        let (a, b) = (a.state(), b.state());
        let (Lookup::Found(a), Lookup::Found(b)) = (a.lookup(256, 7, 0), b.lookup(300, 8, 0)) else {
            panic!("not found")
        };
        assert!(Arc::ptr_eq(&a.layout, &b.layout));
        let octets = store.bytes();
        let others: Vec<_> = (100..1000).map(|length| store.layouts.intern(&layout(length))).collect();
        assert!(store.layouts.len() == 901 && store.bytes() > octets + 900 * 100);
        drop(others);
        assert_eq!((store.layouts.len(), store.bytes()), (1, octets));
    }

    #[test]
    fn data_of_another_port_uses_the_layout_all_ports_agree_on() {
        let store = ExporterStore::new(StoreLimits::default());
        let scope = store.scope_or_new(&key(1), 0);
        store.learn_template(&key(1), &scope, 7, 256, &layout(4), &Stamp::default()).unwrap();
        store.learn_template(&key(1), &scope, 8, 256, &layout(4), &Stamp::default()).unwrap();
        assert!(matches!(scope.state().lookup(256, 9, 0), Lookup::Found(_)));
        store.learn_template(&key(1), &scope, 8, 256, &layout(8), &Stamp::default()).unwrap();
        assert!(matches!(scope.state().lookup(256, 9, 0), Lookup::Conflict));
        assert!(
            matches!(scope.state().lookup(256, 7, 0), Lookup::Found(known) if *known.layout.template() == layout(4))
        );
        assert!(matches!(scope.state().lookup(257, 7, 0), Lookup::Unknown));
    }
}
