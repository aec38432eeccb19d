//! Data sets that wait for their template: held as they came, given back oldest first when it is known.
//!
//! ```text
//! hold --> items, in order of arrival --wake(template)--> woken --next--> ready --> one decoder
//!            |-- a bound: the oldest of that exporter, or of the largest, is evicted; age: the oldest expire
//!            \-- the same, where only a list in it lacks a template (RFC 6313): overdue --> one decoder
//! ```
//!
//! A set whose own template is known is never lost for a template of its lists: it waits where there is room, and when it has
//! waited too long, or others need its room, it is decoded without those lists. What has been waited for in vain is not waited
//! for again before it has come.
//!
//! Invariants:
//! - `held = released + expired + evicted + what waits`, where each decoder counts what it takes as released. So the sums of
//!   all decoders and this store balance at any moment, whichever decoder held and whichever released a set.
//! - A set is charged what it takes in memory, so the bounds are bounds of memory; no number of exporters, templates or
//!   sets gets around them.
//! - Whoever holds a set looks at the scope once more afterwards, and whoever learns a template publishes it before it wakes
//!   what waits: one of the two sees the other.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;

use crate::datagram::ZoneId;
use crate::exporter_store::{ScopeKey, lock};
use crate::held_message::HeldMessage;
use crate::template::Template;

/// What a held set takes beside its octets: its entry, its places in the indices, what the allocator adds.
const OVERHEAD: usize = 640;
/// Templates of lists that are remembered as waited for in vain, at most.
const MAX_IN_VAIN: usize = 8192;

/// Bounds of what waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingLimits {
    /// Octets of memory for all exporters; 0: nothing waits.
    pub bytes: usize,
    /// Octets of memory for one exporter (zone and address).
    pub per_exporter_bytes: usize,
    /// How long a set waits, ns by its receive time; `None`: for ever.
    pub age_ns: Option<u64>,
}

impl Default for PendingLimits {
    fn default() -> Self {
        Self { bytes: 16 << 20, per_exporter_bytes: 1 << 20, age_ns: Some(300_000_000_000) }
    }
}

/// What the store has counted of sets that wait, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PendingCounts {
    /// Sets that had to wait.
    pub held: u64,
    /// Of these, given up because they waited too long.
    pub expired: u64,
    /// Of these, given up for lack of room.
    pub evicted: u64,
    /// Octets of memory that waiting sets take now.
    pub bytes: usize,
}

/// Why a set cannot be decoded.
#[derive(Clone, Debug)]
pub(crate) enum Lacks {
    /// Its template is not known.
    Template,
    /// The template of this id is not known, by which a list in it has records. Its own was known, and holds for it whatever
    /// the exporter announces since.
    TemplateOfList(u16, Arc<Template>),
    /// It waits no longer for such a template.
    Nothing(Arc<Template>),
}

/// A data set as it came.
#[derive(Debug)]
pub(crate) struct HeldSet {
    pub(crate) scope: ScopeKey,
    /// The id of its template.
    pub(crate) template: u16,
    pub(crate) lacks: Lacks,
    /// The message's header, and the set with its header: a message with this set only.
    pub(crate) payload: Box<[u8]>,
    pub(crate) source: SocketAddr,
    pub(crate) received_ns: u64,
    /// The epoch of its exporter.
    pub(crate) epoch: u32,
    /// What the sink calls the datagram.
    pub(crate) number: u64,
    /// Which set of its message it is, counted from 1.
    pub(crate) set: u32,
    /// Octets that were before it in its message and are not in `payload`.
    pub(crate) skipped: usize,
    /// What options data had said then: the domain's sampling rate, and the exporter's start in ms since 1970.
    pub(crate) rate: u64,
    pub(crate) boot_ms: u64,
    /// The whole message, where its sequence numbers are those of its records.
    pub(crate) message: Option<Arc<HeldMessage>>,
    /// Place in the order of arrival, given by the store.
    pub(crate) arrival: Option<u64>,
}

impl HeldSet {
    /// The set in `octets`, to be given the rest.
    pub(crate) fn new(scope: ScopeKey, template: u16, source: SocketAddr, payload: Box<[u8]>) -> Self {
        Self {
            scope,
            template,
            lacks: Lacks::Template,
            payload,
            source,
            received_ns: 0,
            epoch: 0,
            number: 0,
            set: 0,
            skipped: 0,
            rate: 0,
            boot_ms: 0,
            message: None,
            arrival: None,
        }
    }

    fn exporter(&self) -> Exporter {
        (self.scope.zone, self.scope.exporter)
    }

    fn cost(&self) -> usize {
        let template = match &self.lacks {
            Lacks::Template => 0,
            Lacks::TemplateOfList(_, template) | Lacks::Nothing(template) => size_of_val(template.fields()),
        };
        self.payload.len() + template + OVERHEAD
    }

    /// The template that it waits for.
    pub(crate) fn waits_for(&self) -> u16 {
        match self.lacks {
            Lacks::TemplateOfList(id, _) => id,
            Lacks::Template | Lacks::Nothing(_) => self.template,
        }
    }

    fn missing(&self) -> WaitsFor {
        (self.scope, self.waits_for())
    }

    /// Whether all but a list in it can be decoded.
    fn lacks_list_only(&self) -> bool {
        matches!(self.lacks, Lacks::TemplateOfList(..))
    }
}

type Exporter = (ZoneId, IpAddr);
type WaitsFor = (ScopeKey, u16);

/// The store of what waits.
#[derive(Debug)]
pub(crate) struct Pending {
    limits: ArcSwap<PendingLimits>,
    sets: Mutex<Sets>,
    /// Whether something may be ready. Read by every decoder, written when that changes.
    ready: AtomicBool,
    held: AtomicU64,
    expired: AtomicU64,
    evicted: AtomicU64,
    bytes: AtomicUsize,
    /// Receive time of the oldest set, ns; the greatest number where there is none.
    oldest_ns: AtomicU64,
}

#[derive(Debug, Default)]
struct Sets {
    arrivals: u64,
    items: BTreeMap<u64, HeldSet>,
    waiting: BTreeMap<WaitsFor, BTreeSet<u64>>,
    exporters: HashMap<Exporter, Share>,
    by_size: BTreeSet<(usize, Exporter)>,
    bytes: usize,
    /// Templates that have come and whose sets have not been looked through since.
    woken: HashSet<WaitsFor>,
    /// Sets that can be decoded now.
    ready: BTreeSet<u64>,
    /// Sets that are to be decoded without some of their lists. They are no longer among `items`; `bytes` counts them.
    overdue: VecDeque<HeldSet>,
    /// Templates of lists that did not come in time.
    in_vain: HashSet<WaitsFor>,
}

/// What one exporter has waiting.
#[derive(Debug, Default)]
struct Share {
    bytes: usize,
    arrivals: BTreeSet<u64>,
}

impl Sets {
    fn insert(&mut self, mut set: HeldSet) {
        let arrival = *set.arrival.get_or_insert_with(|| {
            self.arrivals += 1;
            self.arrivals
        });
        let (exporter, cost) = (set.exporter(), set.cost());
        self.waiting.entry(set.missing()).or_default().insert(arrival);
        let share = self.exporters.entry(exporter).or_default();
        self.by_size.remove(&(share.bytes, exporter));
        share.bytes += cost;
        share.arrivals.insert(arrival);
        self.by_size.insert((share.bytes, exporter));
        self.bytes += cost;
        self.items.insert(arrival, set);
    }

    fn remove(&mut self, arrival: u64) -> Option<HeldSet> {
        let set = self.items.remove(&arrival)?;
        let (exporter, cost, waits_for) = (set.exporter(), set.cost(), set.missing());
        self.bytes -= cost;
        self.ready.remove(&arrival);
        if let Some(waiting) = self.waiting.get_mut(&waits_for) {
            waiting.remove(&arrival);
            if waiting.is_empty() {
                self.waiting.remove(&waits_for);
                self.woken.remove(&waits_for);
            }
        }
        if let Some(share) = self.exporters.get_mut(&exporter) {
            self.by_size.remove(&(share.bytes, exporter));
            share.bytes -= cost;
            share.arrivals.remove(&arrival);
            if share.arrivals.is_empty() {
                self.exporters.remove(&exporter);
            } else {
                self.by_size.insert((share.bytes, exporter));
            }
        }
        Some(set)
    }

    fn oldest_of(&self, exporter: &Exporter) -> Option<u64> {
        self.exporters.get(exporter)?.arrivals.first().copied()
    }

    /// Gives up waiting for what a set lacks; says whether the set is lost.
    fn give_up(&mut self, arrival: u64) -> bool {
        self.remove(arrival).is_some_and(|set| self.lose(set))
    }

    /// Parts with a set for which there is no time or room; says whether it is lost.
    fn lose(&mut self, mut set: HeldSet) -> bool {
        let Lacks::TemplateOfList(_, template) = set.lacks else { return true };
        set.lacks = Lacks::Nothing(template);
        self.bytes += set.cost();
        self.overdue.push_back(set);
        false
    }

    fn take_overdue(&mut self) -> Option<HeldSet> {
        let set = self.overdue.pop_front()?;
        self.bytes -= set.cost();
        Some(set)
    }

    fn of(&self, exporter: &Exporter) -> usize {
        self.exporters.get(exporter).map_or(0, |share| share.bytes)
    }

    fn has_room(&self, exporter: &Exporter, cost: usize, limits: &PendingLimits) -> bool {
        self.of(exporter) + cost <= limits.per_exporter_bytes && self.bytes + cost <= limits.bytes
    }

    /// Makes room for a set of `exporter` that costs so much; says how many were lost for it.
    fn make_room(&mut self, exporter: &Exporter, cost: usize, limits: &PendingLimits) -> u64 {
        let mut lost = 0;
        while !self.has_room(exporter, cost, limits) {
            let largest = self.by_size.last().map(|(_, largest)| *largest);
            let oldest = if self.of(exporter) + cost > limits.per_exporter_bytes {
                self.oldest_of(exporter)
            } else if self.take_overdue().is_some() {
                lost += 1;
                continue;
            } else {
                largest.and_then(|largest| self.oldest_of(&largest))
            };
            let Some(oldest) = oldest else { break };
            lost += u64::from(self.give_up(oldest));
        }
        lost
    }
}

impl Pending {
    pub(crate) fn new(limits: PendingLimits) -> Self {
        Self {
            limits: ArcSwap::from_pointee(limits),
            sets: Mutex::default(),
            ready: AtomicBool::new(false),
            held: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            bytes: AtomicUsize::new(0),
            oldest_ns: AtomicU64::new(u64::MAX),
        }
    }

    /// Changes the bounds, at the cost of the oldest sets where there is less room now. What is too old goes when it is looked
    /// for next.
    pub(crate) fn set_limits(&self, limits: PendingLimits) {
        let mut sets = lock(&self.sets);
        self.limits.store(Arc::new(limits));
        while let Some(&(bytes, largest)) = sets.by_size.last()
            && (bytes > limits.per_exporter_bytes || sets.bytes > limits.bytes)
        {
            let lost = sets.make_room(&largest, 0, &limits);
            self.evicted.fetch_add(lost, Ordering::Relaxed);
        }
        self.note(&sets);
    }

    /// Whether a set with so many octets of payload can wait at all.
    pub(crate) fn takes(&self, octets: usize) -> bool {
        let limits = self.limits.load();
        octets + OVERHEAD <= limits.bytes.min(limits.per_exporter_bytes)
    }

    /// Holds a set, at the cost of older ones where there is no room; one that lacks only a list costs no other.
    pub(crate) fn hold(&self, set: HeldSet) {
        let mut sets = lock(&self.sets);
        self.expire_in(&mut sets, set.received_ns);
        let (exporter, cost, limits) = (set.exporter(), set.cost(), self.limits.load());
        // One that comes back has been counted.
        if set.arrival.is_none() {
            self.held.fetch_add(1, Ordering::Relaxed);
        }
        if set.lacks_list_only() && !sets.has_room(&exporter, cost, &limits) {
            sets.lose(set);
        } else {
            let lost = sets.make_room(&exporter, cost, &limits);
            self.evicted.fetch_add(lost, Ordering::Relaxed);
            sets.insert(set);
        }
        self.note(&sets);
    }

    /// Whether there is room for a set of so many octets, with its template, without harm to others, and its list's template has not
    /// been waited for in vain.
    pub(crate) fn may_wait_for_list(&self, scope: &ScopeKey, template: u16, octets: usize) -> bool {
        let (sets, limits) = (lock(&self.sets), self.limits.load());
        let in_vain = sets.in_vain.contains(&(*scope, template));
        !in_vain && sets.has_room(&(scope.zone, scope.exporter), octets + OVERHEAD, &limits)
    }

    /// A template has come, or may be used again: what waits for it is looked through.
    pub(crate) fn wake(&self, scope: &ScopeKey, template: u16) {
        let mut sets = lock(&self.sets);
        sets.in_vain.remove(&(*scope, template));
        if sets.waiting.contains_key(&(*scope, template)) {
            sets.woken.insert((*scope, template));
            self.note(&sets);
        }
    }

    /// Whether [`Self::next`] may have something.
    pub(crate) fn has_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Whether anything waits for a template of this scope.
    pub(crate) fn waits_for(&self, scope: &ScopeKey) -> bool {
        !self.is_empty() && lock(&self.sets).waiting.range((*scope, 0)..=(*scope, u16::MAX)).next().is_some()
    }

    /// Whether anything waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) == 0
    }

    /// The oldest set that can be decoded now. `usable` is called for a template that has come, and gives what says of a
    /// set whether it can be.
    pub(crate) fn next<F>(&self, usable: impl Fn(&ScopeKey) -> F) -> Option<HeldSet>
    where
        F: Fn(&HeldSet) -> bool,
    {
        loop {
            let woken = {
                let mut sets = lock(&self.sets);
                let overdue = sets.take_overdue();
                if overdue.is_some() || sets.woken.is_empty() {
                    let ready = |sets: &mut Sets| {
                        sets.ready.first().copied().and_then(|arrival| sets.remove(arrival))
                    };
                    let taken = overdue.or_else(|| ready(&mut sets));
                    self.note(&sets);
                    return taken;
                }
                std::mem::take(&mut sets.woken)
            };
            for (scope, template) in woken {
                // Without the lock: it looks into the store of exporters.
                let usable = usable(&scope);
                let mut sets = lock(&self.sets);
                let Sets { waiting, items, ready, .. } = &mut *sets;
                let waiting = waiting.get(&(scope, template)).into_iter().flatten();
                ready.extend(waiting.filter(|arrival| items.get(arrival).is_some_and(&usable)));
            }
        }
    }

    /// Gives up what has waited too long.
    pub(crate) fn expire(&self, now_ns: u64) {
        let Some(age) = self.limits.load().age_ns else { return };
        if now_ns.saturating_sub(age) >= self.oldest_ns.load(Ordering::Relaxed) {
            let mut sets = lock(&self.sets);
            self.expire_in(&mut sets, now_ns);
            self.note(&sets);
        }
    }

    fn expire_in(&self, sets: &mut Sets, now_ns: u64) {
        let Some(age) = self.limits.load().age_ns else { return };
        while let Some((&arrival, oldest)) = sets.items.first_key_value() {
            if now_ns.saturating_sub(oldest.received_ns) < age {
                return;
            }
            if oldest.lacks_list_only() {
                let missing = oldest.missing();
                if sets.in_vain.len() >= MAX_IN_VAIN {
                    sets.in_vain.clear();
                }
                sets.in_vain.insert(missing);
            }
            let lost = sets.give_up(arrival);
            self.expired.fetch_add(lost.into(), Ordering::Relaxed);
        }
    }

    /// Waits no longer for templates of lists: before the end.
    pub(crate) fn give_up_lists(&self) {
        let mut sets = lock(&self.sets);
        let waiting = sets.items.iter().filter(|(_, set)| set.lacks_list_only());
        for arrival in waiting.map(|(arrival, _)| *arrival).collect::<Vec<_>>() {
            sets.give_up(arrival);
        }
        self.note(&sets);
    }

    /// Lets others see without the lock what has changed.
    fn note(&self, sets: &Sets) {
        self.bytes.store(sets.bytes, Ordering::Relaxed);
        let oldest = sets.items.first_key_value().map_or(u64::MAX, |(_, oldest)| oldest.received_ns);
        self.oldest_ns.store(oldest, Ordering::Relaxed);
        let ready = !(sets.woken.is_empty() && sets.ready.is_empty() && sets.overdue.is_empty());
        if ready != self.has_ready() {
            self.ready.store(ready, Ordering::Relaxed);
        }
    }

    /// What has been counted. Read after the decoders' counts it is never behind them.
    pub(crate) fn counts(&self) -> PendingCounts {
        // What was given up before what was held, so that more is never given up than held.
        let (expired, evicted) = (self.expired.load(Ordering::SeqCst), self.evicted.load(Ordering::SeqCst));
        let held = self.held.load(Ordering::SeqCst);
        PendingCounts { held, expired, evicted, bytes: self.bytes.load(Ordering::Relaxed) }
    }

    /// Sets and octets that wait of one exporter.
    pub(crate) fn of_exporter(&self, zone: ZoneId, exporter: IpAddr) -> (usize, usize) {
        lock(&self.sets)
            .exporters
            .get(&(zone, exporter))
            .map_or((0, 0), |share| (share.arrivals.len(), share.bytes))
    }
}

#[cfg(test)]
mod tests;
