//! Data sets that wait for their template: held as they came, given back oldest first when it is known.
//!
//! ```text
//! hold --> items, in order of arrival --wake(template)--> woken --next--> ready --> one decoder
//!            \-- a bound: the oldest of that exporter, or of the largest, is evicted; age: the oldest expire
//! ```
//!
//! Invariants:
//! - `held = released + expired + evicted + what waits`, where each decoder counts what it takes as released. So the sums of
//!   all decoders and this store balance at any moment, whichever decoder held and whichever released a set.
//! - A set is charged what it takes in memory, so the bounds are bounds of memory; no number of exporters, templates or
//!   sets gets around them.
//! - Whoever holds a set looks at the scope once more afterwards, and whoever learns a template publishes it before it wakes
//!   what waits: one of the two sees the other.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;

use crate::datagram::ZoneId;
use crate::exporter_store::{ScopeKey, lock};
use crate::held_message::HeldMessage;

/// What a held set takes beside its octets: its entry, its places in the indices, what the allocator adds.
const OVERHEAD: usize = 640;

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

/// A data set as it came.
#[derive(Debug)]
pub(crate) struct HeldSet {
    pub(crate) scope: ScopeKey,
    pub(crate) template: u16,
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
        self.payload.len() + OVERHEAD
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
        self.waiting.entry((set.scope, set.template)).or_default().insert(arrival);
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
        let (exporter, cost, waits_for) = (set.exporter(), set.cost(), (set.scope, set.template));
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

    /// The set that makes room for one of `exporter` that costs so much; `None` where there is room.
    fn to_evict(&self, exporter: &Exporter, cost: usize, limits: &PendingLimits) -> Option<u64> {
        let own = self.exporters.get(exporter).map_or(0, |share| share.bytes);
        if own + cost > limits.per_exporter_bytes {
            return self.oldest_of(exporter);
        }
        if self.bytes + cost <= limits.bytes {
            return None;
        }
        let (_, largest) = self.by_size.last()?;
        self.oldest_of(largest)
    }

    /// A set for which there is no room by these bounds.
    fn beyond(&self, limits: &PendingLimits) -> Option<u64> {
        let (bytes, largest) = self.by_size.last()?;
        let beyond = *bytes > limits.per_exporter_bytes || self.bytes > limits.bytes;
        if beyond { self.oldest_of(largest) } else { None }
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
        while let Some(arrival) = sets.beyond(&limits) {
            sets.remove(arrival);
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        self.note(&sets);
    }

    /// Whether a set with so many octets of payload can wait at all.
    pub(crate) fn takes(&self, octets: usize) -> bool {
        let limits = self.limits.load();
        octets + OVERHEAD <= limits.bytes.min(limits.per_exporter_bytes)
    }

    /// Holds a set, at the cost of older ones where there is no room.
    pub(crate) fn hold(&self, set: HeldSet) {
        let mut sets = lock(&self.sets);
        self.expire_in(&mut sets, set.received_ns);
        let (exporter, cost) = (set.exporter(), set.cost());
        let limits = self.limits.load();
        while let Some(arrival) = sets.to_evict(&exporter, cost, &limits) {
            sets.remove(arrival);
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        // One that comes back has been counted.
        if set.arrival.is_none() {
            self.held.fetch_add(1, Ordering::Relaxed);
        }
        sets.insert(set);
        self.note(&sets);
    }

    /// A template has come, or may be used again: what waits for it is looked through.
    pub(crate) fn wake(&self, scope: &ScopeKey, template: u16) {
        let mut sets = lock(&self.sets);
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
                if sets.woken.is_empty() {
                    let taken = sets.ready.first().copied().and_then(|arrival| sets.remove(arrival));
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
            sets.remove(arrival);
            self.expired.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lets others see without the lock what has changed.
    fn note(&self, sets: &Sets) {
        self.bytes.store(sets.bytes, Ordering::Relaxed);
        let oldest = sets.items.first_key_value().map_or(u64::MAX, |(_, oldest)| oldest.received_ns);
        self.oldest_ns.store(oldest, Ordering::Relaxed);
        let ready = !sets.woken.is_empty() || !sets.ready.is_empty();
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
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const LIMITS: PendingLimits =
        PendingLimits { bytes: 10_000, per_exporter_bytes: 4_000, age_ns: Some(100) };

    fn set(exporter: u32, template: u16, received_ns: u64, octets: usize) -> HeldSet {
        let address: IpAddr = Ipv4Addr::from(exporter).into();
        let scope = ScopeKey { zone: ZoneId(0), exporter: address, version: 9, domain: 0 };
        let payload = vec![0; octets - OVERHEAD].into();
        HeldSet { received_ns, ..HeldSet::new(scope, template, (address, 1).into(), payload) }
    }

    /// Receive times of what can be taken.
    fn take_all(pending: &Pending) -> Vec<u64> {
        std::iter::from_fn(|| pending.next(|_| |_: &HeldSet| true)).map(|set| set.received_ns).collect()
    }

    fn wake(pending: &Pending, exporter: u32, template: u16) {
        pending.wake(&set(exporter, template, 0, 800).scope, template);
    }

    #[test]
    fn what_waits_comes_back_oldest_first_and_only_once() {
        let pending = Pending::new(LIMITS);
        for (template, received) in [(256, 1), (257, 2), (256, 3), (300, 4)] {
            pending.hold(set(1, template, received, 800));
        }
        assert!(!pending.has_ready());
        wake(&pending, 1, 257);
        wake(&pending, 1, 256);
        wake(&pending, 1, 999);
        assert!(pending.has_ready());
        assert_eq!(take_all(&pending), [1, 2, 3]);
        assert!(!pending.has_ready() && !pending.is_empty());
        assert_eq!(pending.of_exporter(ZoneId(0), Ipv4Addr::from(1).into()), (1, 800));
        wake(&pending, 1, 300);
        assert_eq!(take_all(&pending), [4]);
        assert!(pending.is_empty());
        assert_eq!(pending.counts(), PendingCounts { held: 4, ..PendingCounts::default() });
    }

    #[test]
    fn what_cannot_be_used_waits_on() {
        let pending = Pending::new(LIMITS);
        for received in 1..5 {
            pending.hold(set(1, 256, received, 800));
        }
        wake(&pending, 1, 256);
        let even = |_: &ScopeKey| |set: &HeldSet| set.received_ns.is_multiple_of(2);
        let first = pending.next(even).expect("two are ready");
        assert_eq!(first.received_ns, 2);
        pending.hold(first);
        assert_eq!(pending.next(even).map(|set| set.received_ns), Some(4));
        assert!(pending.next(even).is_none() && !pending.has_ready());
        wake(&pending, 1, 256);
        assert_eq!(take_all(&pending), [1, 2, 3], "one that came back is in its old place");
        assert_eq!(pending.counts().held, 4);
    }

    #[test]
    fn an_exporter_s_oldest_makes_room_for_its_newest() {
        let pending = Pending::new(LIMITS);
        pending.hold(set(2, 256, 1, 1000));
        for received in 2..8 {
            pending.hold(set(1, 256, received, 1000));
        }
        assert_eq!(pending.counts(), PendingCounts { held: 7, evicted: 2, bytes: 5000, expired: 0 });
        wake(&pending, 1, 256);
        assert_eq!(take_all(&pending), [4, 5, 6, 7]);
    }

    #[test]
    fn the_largest_exporter_makes_room_for_others() {
        let pending = Pending::new(LIMITS);
        for received in 0..4 {
            pending.hold(set(1, 256, received, 1000));
        }
        for exporter in 2..9 {
            pending.hold(set(exporter, 256, 10, 1000));
        }
        assert_eq!(pending.counts(), PendingCounts { held: 11, evicted: 1, bytes: 10_000, expired: 0 });
        wake(&pending, 1, 256);
        assert_eq!(take_all(&pending), [1, 2, 3]);
        assert!(!pending.takes(4_000 - OVERHEAD + 1) && pending.takes(4_000 - OVERHEAD));
    }

    #[test]
    fn what_is_too_old_expires_with_the_clock_or_with_what_comes() {
        let pending = Pending::new(LIMITS);
        for received in [100, 150, 250] {
            pending.hold(set(1, 256, received, 800));
        }
        assert_eq!(pending.counts().expired, 2);
        pending.expire(349);
        assert_eq!(pending.counts().expired, 2);
        pending.expire(350);
        assert_eq!((pending.counts().expired, pending.is_empty()), (3, true));
        let for_ever = Pending::new(PendingLimits { age_ns: None, ..LIMITS });
        for_ever.hold(set(1, 256, 0, 800));
        for_ever.expire(u64::MAX);
        assert_eq!(for_ever.counts().expired, 0);
    }

    #[test]
    fn bounds_that_shrink_cost_the_oldest_of_the_largest_and_bounds_that_grow_nothing() {
        let pending = Pending::new(LIMITS);
        for received in 0..4 {
            pending.hold(set(1, 256, received, 1000));
        }
        pending.hold(set(2, 256, 4, 1000));
        pending.set_limits(PendingLimits { per_exporter_bytes: 2_500, ..LIMITS });
        assert_eq!(pending.counts(), PendingCounts { held: 5, evicted: 2, bytes: 3000, expired: 0 });
        pending.set_limits(PendingLimits { bytes: 2_000, ..LIMITS });
        assert_eq!(pending.counts(), PendingCounts { held: 5, evicted: 3, bytes: 2000, expired: 0 });
        pending.set_limits(PendingLimits { age_ns: Some(1_000), ..LIMITS });
        pending.expire(500);
        wake(&pending, 1, 256);
        wake(&pending, 2, 256);
        assert_eq!(take_all(&pending), [3, 4]);
        pending.set_limits(PendingLimits { bytes: 0, ..LIMITS });
        assert!(!pending.takes(1));
    }

    #[test]
    fn what_is_ready_may_still_have_to_make_room() {
        let pending = Pending::new(LIMITS);
        pending.hold(set(1, 256, 1, 2000));
        pending.hold(set(1, 256, 2, 2000));
        wake(&pending, 1, 256);
        assert!(pending.next(|_| |set: &HeldSet| set.received_ns > 9).is_none());
        wake(&pending, 1, 256);
        pending.hold(set(1, 257, 3, 2000));
        assert_eq!(take_all(&pending), [2]);
    }
}
