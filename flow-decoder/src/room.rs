//! Who leaves where there is no room for more: the part of the store that is behind one lock, and the order of leaving in it.
//!
//! Those that stand lowest leave first (see [`Standing`]). Announced and proven scopes leave in the order in which they came,
//! so that a flood pushes out itself, at the cost of a queue; the others a part at a time, because they have to be looked
//! through: first those of an exporter that has more than its share, however many domains it has, then by their last use.

use std::collections::hash_map::{Entry, HashMap};
use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::datagram::ZoneId;
use crate::exporter_store::{ExporterStore, SHARDS, ScopeKey, lock, shard_of};
use crate::scope::{Note, Scope, ScopeState, Standing};

/// The part of a shard's established scopes that leaves at once: finding the oldest takes a pass over all.
const PART: usize = 16;

/// Entries of a queue that may be of scopes which are not there any more, beside as many as there are scopes.
const STALE: usize = 64;

/// How often all scopes are looked through to make room for one template: it may be far larger than those that leave.
const MOST_PASSES: usize = 4;

/// The part of the memory, or of a shard's places, above which an exporter has more than its share.
const SHARE: usize = 8;
/// Shards with fewer scopes have room for the domains of one exporter.
const FEW_SCOPES: usize = 64;

/// The part of the memory, in eighths, that is not for those who have only announced something.
const KEPT_EIGHTHS: usize = 5;
/// How many of them there may be however much the others take.
const FEW_ANNOUNCED: usize = 1024;

/// An exporter, whatever its domains.
type Exporter = (ZoneId, IpAddr);

/// How soon a scope leaves: its standing, whether its exporter keeps to its share, its last use.
type Rank = (Standing, bool, u64);

/// Scopes, and the order in which newcomers leave.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    scopes: HashMap<ScopeKey, Arc<Scope>>,
    announced: VecDeque<ScopeKey>,
    proven: VecDeque<ScopeKey>,
    /// Entries of the first queue, as they are counted in the sum over all shards. Some may be of scopes that have more to show
    /// by now, or are gone.
    counted: usize,
    all_announced: Arc<AtomicUsize>,
}

impl Shard {
    pub(crate) fn len(&self) -> usize {
        self.scopes.len()
    }

    /// A shard that counts its announced scopes among those of all.
    pub(crate) fn new(all_announced: &Arc<AtomicUsize>) -> Self {
        Self { all_announced: all_announced.clone(), ..Self::default() }
    }

    fn count_announced(&mut self) {
        let now = self.announced.len();
        self.all_announced.fetch_add(now.wrapping_sub(self.counted), Ordering::Relaxed);
        self.counted = now;
    }

    pub(crate) fn get(&self, key: &ScopeKey) -> Option<&Arc<Scope>> {
        self.scopes.get(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ScopeKey, &Arc<Scope>)> {
        self.scopes.iter()
    }

    /// The scope, made by `new` where there is none.
    pub(crate) fn get_or_insert(&mut self, key: &ScopeKey, new: impl FnOnce() -> Scope) -> Arc<Scope> {
        let scope = match self.scopes.entry(*key) {
            Entry::Occupied(known) => return known.get().clone(),
            Entry::Vacant(vacant) => vacant.insert(Arc::new(new())).clone(),
        };
        if scope.standing() == Standing::Announced {
            if self.announced.len() > 2 * self.scopes.len() + STALE {
                self.sort_newcomers();
            }
            self.announced.push_back(*key);
            self.count_announced();
        }
        scope
    }

    pub(crate) fn remove(&mut self, key: &ScopeKey) -> Option<Arc<Scope>> {
        self.scopes.remove(key)
    }

    /// Puts newcomers where they stand now, and forgets those that are none.
    fn sort_newcomers(&mut self) {
        let Self { scopes, announced, proven, .. } = self;
        let standing = |key: &ScopeKey| scopes.get(key).map(|scope| scope.standing());
        proven.retain(|key| standing(key) == Some(Standing::Proven));
        announced.retain(|key| {
            let stands = standing(key);
            if stands == Some(Standing::Proven) {
                proven.push_back(*key);
            }
            stands == Some(Standing::Announced)
        });
    }

    /// The announced scope that came first, else the proven one, but never `keep`.
    pub(crate) fn first_newcomer(&mut self, standing: Standing, keep: &ScopeKey) -> Option<ScopeKey> {
        let mut kept = false;
        let first = loop {
            let queue = if standing == Standing::Announced { &mut self.announced } else { &mut self.proven };
            let Some(key) = queue.pop_front() else { break None };
            match self.scopes.get(&key).map(|scope| scope.standing()) {
                Some(stands) if stands == standing && key != *keep => break Some(key),
                Some(stands) if stands == standing => kept = true,
                Some(Standing::Proven) => self.proven.push_back(key),
                _ => {}
            }
        };
        if kept {
            let queue = if standing == Standing::Announced { &mut self.announced } else { &mut self.proven };
            queue.push_front(*keep);
        }
        self.count_announced();
        first
    }

    /// Which scope but `keep` is to leave before all others.
    fn lowest(&self, keep: &ScopeKey, greedy: &HashSet<Exporter>) -> Option<Rank> {
        self.ranked(keep, greedy).map(|(rank, _)| rank).min()
    }

    /// A part of the scopes but `keep`, those that are to leave first.
    fn lowest_part(&self, keep: &ScopeKey, greedy: &HashSet<Exporter>) -> Vec<ScopeKey> {
        let mut all: Vec<_> = self.ranked(keep, greedy).collect();
        let count = all.len().div_ceil(PART);
        if count < all.len() {
            all.select_nth_unstable_by_key(count, |(rank, _)| *rank);
        }
        all.truncate(count);
        all.into_iter().map(|(_, key)| key).collect()
    }

    fn ranked(&self, keep: &ScopeKey, greedy: &HashSet<Exporter>) -> impl Iterator<Item = (Rank, ScopeKey)> {
        let others = self.scopes.iter().filter(move |(key, _)| *key != keep);
        others.map(|(key, scope)| {
            let modest = !greedy.contains(&(key.zone, key.exporter));
            ((scope.standing(), modest, scope.last_used_ns()), *key)
        })
    }

    /// Adds to `sums` what each exporter has here.
    fn add_up(&self, sums: &mut HashMap<Exporter, usize>, of: impl Fn(&Scope) -> usize) {
        for (key, scope) in &self.scopes {
            *sums.entry((key.zone, key.exporter)).or_default() += of(scope);
        }
    }
}

/// Exporters that have more than the share of `all`.
fn greedy(sums: &HashMap<Exporter, usize>, all: usize) -> HashSet<Exporter> {
    sums.iter().filter(|(_, sum)| **sum > all / SHARE).map(|(exporter, _)| *exporter).collect()
}

impl ExporterStore {
    /// Whether there is no room for another template.
    pub(crate) fn is_full(&self) -> bool {
        self.templates() >= self.limits.templates || self.lacks(1)
    }

    /// Whether there is no room for so many octets.
    pub(crate) fn lacks(&self, octets: usize) -> bool {
        self.bytes() + octets > self.limits.bytes
    }

    /// Whether those who have only announced something should make room for each other: a flood must not fill all the memory
    /// there is.
    pub(crate) fn is_crowded(&self) -> bool {
        self.bytes() >= self.limits.bytes / 8 * (8 - KEPT_EIGHTHS)
            && self.announced.load(Ordering::Relaxed) > FEW_ANNOUNCED
    }

    /// Takes out scopes until there is room for a template, and for so many octets, those first that stand lowest, but never
    /// `keep` and nobody above `most`.
    pub(crate) fn make_room(&self, keep: &ScopeKey, most: Standing, octets: usize) {
        let own = shard_of(keep);
        let is_full = || self.is_full() || self.lacks(octets);
        for standing in [Standing::Announced, Standing::Proven] {
            for at in 0..SHARDS {
                let lacks = || is_full() || standing == Standing::Announced && self.is_crowded();
                if !lacks() {
                    break;
                }
                let mut shard = lock(&self.shards[(own + at) % SHARDS]);
                while lacks()
                    && let Some(key) = shard.first_newcomer(standing, keep)
                {
                    self.forget(&mut shard, &key);
                }
            }
        }
        if !is_full() {
            return;
        }
        let mut sums = HashMap::new();
        for shard in &self.shards {
            lock(shard).add_up(&mut sums, |scope| scope.state().octets());
        }
        let greedy = greedy(&sums, self.limits.bytes);
        let mut passes = 0;
        while is_full() && passes < MOST_PASSES {
            passes += 1;
            let lowest =
                self.shards.iter().filter_map(|shard| Some((lock(shard).lowest(keep, &greedy)?, shard)));
            let Some(((standing, ..), shard)) = lowest.min_by_key(|(rank, _)| *rank) else { return };
            if standing > most {
                return;
            }
            self.evict_lowest(&mut lock(shard), keep, &greedy);
        }
    }

    /// Takes out scopes of a shard that has as many as it may; says whether it has room then.
    pub(crate) fn make_place(&self, shard: &mut Shard, keep: &ScopeKey, most: Standing) -> bool {
        let limit = self.limits.scopes.div_ceil(SHARDS).max(1);
        for standing in [Standing::Announced, Standing::Proven] {
            if shard.len() >= limit
                && let Some(key) = shard.first_newcomer(standing, keep)
            {
                self.forget(shard, &key);
            }
        }
        if shard.len() >= limit {
            let mut sums = HashMap::new();
            shard.add_up(&mut sums, |_| 1);
            let greedy = greedy(&sums, limit.max(FEW_SCOPES));
            if shard.lowest(keep, &greedy).is_some_and(|(standing, ..)| standing <= most) {
                self.evict_lowest(shard, keep, &greedy);
            }
        }
        shard.len() < limit
    }

    fn evict_lowest(&self, shard: &mut Shard, keep: &ScopeKey, greedy: &HashSet<Exporter>) {
        for key in shard.lowest_part(keep, greedy) {
            self.forget(shard, &key);
        }
    }

    fn forget(&self, shard: &mut Shard, key: &ScopeKey) {
        let Some(scope) = shard.remove(key) else { return };
        // Under the scope's lock, so that a worker which learns a template at this moment either counts it before or
        // sees that the scope is gone.
        let _learning = scope.lock();
        scope.note(Note::Evicted);
        let state = scope.latest();
        self.templates.fetch_sub(state.templates.len(), Ordering::Relaxed);
        self.octets.fetch_sub(state.octets(), Ordering::Relaxed);
        // Decoders may keep the scope for as long as they hear nothing of it; what it knew goes now.
        scope.put(ScopeState::default());
        self.scopes_evicted.fetch_add(1, Ordering::Relaxed);
        self.generation.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;
    use crate::exporter_store::tests::{key, layout};
    use crate::exporter_store::{Learned, StoreLimits};
    use crate::order::Stamp;

    #[test]
    fn everything_is_bounded() {
        let limits = StoreLimits {
            templates_per_scope: 3,
            templates: 20,
            scopes: 32,
            ports_per_template: 2,
            ..StoreLimits::default()
        };
        let store = ExporterStore::new(limits);
        let scope = store.scope_or_new(&key(1), 0);
        for id in 256..259 {
            assert_eq!(
                store.learn_template(&key(1), &scope, 7, id, &layout(4), &Stamp::default()),
                Ok(Learned::Changed)
            );
        }
        assert_eq!(
            store.learn_template(&key(1), &scope, 7, 259, &layout(4), &Stamp::default()),
            Err(Reason::TemplateLimit)
        );
        assert_eq!(
            store.learn_template(&key(1), &scope, 7, 256, &layout(5), &Stamp::default()),
            Ok(Learned::Changed),
            "known ids may change"
        );
        for port in 0..100 {
            store.learn_template(&key(1), &scope, port, 256, &layout(4), &Stamp::default()).unwrap();
        }
        assert_eq!(scope.state().templates.get(256).unwrap().all().len(), 2);
        for exporter in 0..1000 {
            let scope = store.scope_or_new(&key(exporter), u64::from(exporter));
            store.learn_template(&key(exporter), &scope, 7, 256, &layout(4), &Stamp::default()).unwrap();
        }
        assert!(store.scopes() <= 32);
        assert!(store.templates() <= 20);
        assert!(scope.is_evicted());
    }

    #[test]
    fn a_full_store_forgets_another_and_only_for_new_ids() {
        let store = ExporterStore::new(StoreLimits { templates: 100, ..StoreLimits::default() });
        for exporter in 0..100 {
            let scope = store.scope_or_new(&key(exporter), u64::from(exporter));
            store.learn_template(&key(exporter), &scope, 7, 256, &layout(4), &Stamp::default()).unwrap();
        }
        let (latest, scope) = (key(99), store.scope(&key(99)).unwrap());
        store.learn_template(&latest, &scope, 8, 256, &layout(4), &Stamp::default()).unwrap();
        assert_eq!(store.scopes_evicted(), 0, "a known id needs no room");
        store.learn_template(&latest, &scope, 7, 257, &layout(4), &Stamp::default()).unwrap();
        assert_eq!((store.scopes_evicted(), store.templates()), (1, 100));
        assert!(store.scope(&latest).is_some());
    }

    #[test]
    fn who_stands_lowest_leaves_first_and_who_was_used_longest_ago() {
        const SECOND: u64 = 1_000_000_000;
        let store = ExporterStore::new(StoreLimits { templates: 64, ..StoreLimits::default() });
        let hear = |exporter: u32, at: u64| {
            let scope = store.scope_or_new(&key(exporter), at * SECOND);
            store.learn_template(&key(exporter), &scope, 7, 256, &layout(4), &Stamp::default()).unwrap();
            scope
        };
        for exporter in 0..16 {
            hear(exporter, 100);
            let proven = hear(100 + exporter, 101);
            proven.note(Note::Proven);
            let established = hear(200 + exporter, 102);
            established.note(Note::Proven);
            established.used_at((200 + u64::from(exporter)) * SECOND);
            let told = store.scope_for_import(&key(300 + exporter), Standing::Proven).unwrap();
            store.learn_template(&key(300 + exporter), &told, 7, 256, &layout(4), &Stamp::default()).unwrap();
        }
        let left = |from: u32| (from..from + 16).filter(|n| store.scope(&key(*n)).is_some()).count();
        let all = || [left(0), left(100), left(300), left(200)];
        assert_eq!(all(), [16; 4]);
        for exporter in 1000..1016 {
            assert!(store.scope_for_import(&key(exporter), Standing::Proven).is_some());
            let scope = hear(exporter, 300);
            scope.note(Note::Told);
        }
        assert_eq!(all(), [0, 16, 16, 16], "what was announced and no more");
        for exporter in 1016..1032 {
            hear(exporter, 300).note(Note::Told);
        }
        assert_eq!(all(), [0, 0, 16, 16], "then what data has decoded by, once");
        assert!(
            store.scope_for_import(&key(2000), Standing::Proven).is_none(),
            "the rest is not for imports"
        );
        for exporter in 1032..1080 {
            let scope = hear(exporter, 300);
            scope.note(Note::Proven);
            scope.used_at(400 * SECOND);
        }
        assert_eq!(left(300), 0, "then what others told of");
        assert!(store.scope(&key(200)).is_none() || left(200) == 16, "and by their use");
    }
}
