//! The store in memory: what `store: memory` means, and what tests break on purpose.
//!
//! The history of changes is bounded, as etcd's is by compaction: a watch from before it is told so. Leases end when
//! anything looks at the store after their time; a watch looks as often as the next lease can end.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Action, Applied, Change, Event, Events, Expect, KvError, Lease, Moment, Page, Pair};

/// Changes that are remembered for watches.
const HISTORY: usize = 64 * 1024;
/// Events in one batch of a watch.
const BATCH: usize = 1024;

/// A store in memory; clones are the same store.
#[derive(Clone, Debug)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    revision: watch::Sender<i64>,
}

#[derive(Debug)]
struct State {
    pairs: BTreeMap<Vec<u8>, Held>,
    revision: i64,
    term: u64,
    history: VecDeque<(i64, Event)>,
    /// The last revision whose changes are no longer all in the history.
    compacted: i64,
    leases: BTreeMap<i64, (Duration, Instant)>,
    next_lease: i64,
}

#[derive(Clone, Debug)]
struct Held {
    value: Vec<u8>,
    revision: i64,
    lease: Option<Lease>,
}

impl Default for Memory {
    fn default() -> Self {
        let state = State {
            pairs: BTreeMap::new(),
            revision: 1,
            term: 1,
            history: VecDeque::new(),
            compacted: 0,
            leases: BTreeMap::new(),
            next_lease: 1,
        };
        Self { state: Arc::new(Mutex::new(state)), revision: watch::Sender::new(1) }
    }
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.end_leases(Instant::now());
        self.tell(&state);
        state
    }

    fn tell(&self, state: &State) {
        self.revision.send_if_modified(|revision| {
            let modified = *revision != state.revision;
            *revision = state.revision;
            modified
        });
    }

    pub(super) fn get(&self, key: &str) -> Result<(Option<Pair>, Moment), KvError> {
        let state = self.lock();
        let pair = state.pairs.get(key.as_bytes()).map(|held| held.pair(key.as_bytes()));
        Ok((pair, state.moment()))
    }

    pub(super) fn list(
        &self,
        prefix: &str,
        after: Option<&[u8]>,
        limit: usize,
        revision: i64,
    ) -> Result<Page, KvError> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let state = self.lock();
        if revision != 0 && revision <= state.compacted {
            return Err(KvError::Compacted(state.compacted));
        }
        let from = after.map_or(Included(prefix.as_bytes()), Excluded);
        let mut pairs: Vec<Pair> = Vec::new();
        let mut more = false;
        // The present state stands for the one at `revision`: who lists in pages watches from there on, and
        // changes that it has seen already are the same again.
        for (key, held) in state.pairs.range::<[u8], _>((from, Unbounded)) {
            if !key.starts_with(prefix.as_bytes()) {
                break;
            }
            if pairs.len() == limit {
                more = true;
                break;
            }
            pairs.push(held.pair(key));
        }
        Ok(Page { pairs, more, moment: state.moment() })
    }

    pub(super) fn change_each(&self, changes: Vec<Change>) -> Result<Applied, KvError> {
        let mut state = self.lock();
        state.check_leases(&changes)?;
        let done: Vec<bool> = changes.iter().map(|change| state.holds(change)).collect();
        state.change(changes.into_iter().zip(&done).filter(|(_, done)| **done).map(|(change, _)| change));
        self.tell(&state);
        Ok(Applied { done, moment: state.moment() })
    }

    pub(super) fn change_all(&self, changes: Vec<Change>) -> Result<(bool, Moment), KvError> {
        let mut state = self.lock();
        state.check_leases(&changes)?;
        let all = changes.iter().all(|change| state.holds(change));
        if all {
            state.change(changes.into_iter());
        }
        self.tell(&state);
        Ok((all, state.moment()))
    }

    pub(super) fn grant(&self, ttl: Duration) -> Lease {
        let mut state = self.lock();
        let id = state.next_lease;
        state.next_lease += 1;
        state.leases.insert(id, (ttl, Instant::now() + ttl));
        // Watches wait for the next end of a lease: let them look again.
        self.revision.send_modify(|_| ());
        Lease(id)
    }

    pub(super) fn keep_alive(&self, lease: Lease) -> Result<(), KvError> {
        let mut state = self.lock();
        let (ttl, ends) = state.leases.get_mut(&lease.0).ok_or(KvError::LeaseGone)?;
        *ends = Instant::now() + *ttl;
        Ok(())
    }

    pub(super) fn revoke(&self, lease: Lease) {
        let mut state = self.lock();
        state.leases.remove(&lease.0);
        state.drop_leased(&[lease]);
        self.tell(&state);
    }

    pub(super) fn watch(&self, prefix: &str, revision: i64) -> Result<MemoryWatch, KvError> {
        let changed = self.revision.subscribe();
        let state = self.lock();
        if revision <= state.compacted {
            return Err(KvError::Compacted(state.compacted));
        }
        Ok(MemoryWatch { store: self.clone(), changed, prefix: prefix.as_bytes().to_vec(), next: revision })
    }

    /// Forgets the history, as etcd's compaction does.
    pub fn compact(&self) {
        let mut state = self.lock();
        state.history.clear();
        state.compacted = state.revision;
    }

    /// Everything as it is now, for [`Self::restore`].
    pub fn backup(&self) -> Backup {
        let state = self.lock();
        Backup { pairs: state.pairs.clone(), revision: state.revision }
    }

    /// Goes back to a backup: leases are gone, the revision is the backup's.
    pub fn restore(&self, backup: Backup) {
        let mut state = self.lock();
        state.pairs = backup.pairs;
        state.pairs.retain(|_, held| held.lease.is_none());
        state.revision = backup.revision;
        state.forget_history();
        self.revision.send_modify(|revision| *revision = state.revision);
    }

    /// Becomes another, empty store.
    pub fn wipe(&self) {
        self.restore(Backup { pairs: BTreeMap::new(), revision: 1 });
    }
}

/// A copy of a [`Memory`].
#[derive(Clone, Debug)]
pub struct Backup {
    pairs: BTreeMap<Vec<u8>, Held>,
    revision: i64,
}

impl State {
    fn moment(&self) -> Moment {
        Moment { revision: self.revision, term: self.term, cluster: 0 }
    }

    fn holds(&self, change: &Change) -> bool {
        let revision = self.pairs.get(change.key.as_bytes()).map(|held| held.revision);
        match change.expect {
            Expect::Any => true,
            Expect::Absent => revision.is_none(),
            Expect::Revision(expected) => revision == Some(expected),
        }
    }

    fn check_leases(&self, changes: &[Change]) -> Result<(), KvError> {
        let gone = |change: &Change| match change.action {
            Action::Put { lease: Some(lease), .. } => !self.leases.contains_key(&lease.0),
            _ => false,
        };
        if changes.iter().any(gone) { Err(KvError::LeaseGone) } else { Ok(()) }
    }

    fn change(&mut self, changes: impl Iterator<Item = Change>) {
        let revision = self.revision + 1;
        for change in changes {
            let key = change.key.into_bytes();
            let event = match change.action {
                Action::Put { value, lease } => {
                    let held = Held { value, revision, lease };
                    let event = Event::Put(held.pair(&key));
                    self.pairs.insert(key, held);
                    event
                }
                Action::Delete => {
                    if self.pairs.remove(&key).is_none() {
                        continue;
                    }
                    Event::Delete(key, revision)
                }
            };
            self.revision = revision;
            self.history.push_back((revision, event));
        }
        while self.history.len() > HISTORY {
            if let Some((revision, _)) = self.history.pop_front() {
                self.compacted = revision;
            }
        }
    }

    fn end_leases(&mut self, now: Instant) {
        let ended: Vec<Lease> =
            self.leases.iter().filter(|(_, (_, ends))| *ends <= now).map(|(id, _)| Lease(*id)).collect();
        if !ended.is_empty() {
            self.leases.retain(|_, (_, ends)| *ends > now);
            self.drop_leased(&ended);
        }
    }

    fn drop_leased(&mut self, leases: &[Lease]) {
        let keys: Vec<String> = self
            .pairs
            .iter()
            .filter(|(_, held)| held.lease.is_some_and(|lease| leases.contains(&lease)))
            .filter_map(|(key, _)| String::from_utf8(key.clone()).ok())
            .collect();
        self.change(keys.into_iter().map(|key| Change::delete(key, Expect::Any)));
    }

    /// As a store that was restored: no lease, no history, a later term of its own history only.
    fn forget_history(&mut self) {
        self.leases.clear();
        self.history.clear();
        self.compacted = 0;
        self.term = 1;
    }
}

impl Held {
    fn pair(&self, key: &[u8]) -> Pair {
        Pair { key: key.to_vec(), value: self.value.clone(), revision: self.revision }
    }
}

/// A watch of a [`Memory`].
#[derive(Debug)]
pub struct MemoryWatch {
    store: Memory,
    changed: watch::Receiver<i64>,
    prefix: Vec<u8>,
    next: i64,
}

impl MemoryWatch {
    pub(super) async fn next(&mut self) -> Result<Events, KvError> {
        let store = self.store.clone();
        loop {
            self.changed.borrow_and_update();
            let next_lease_end = {
                let state = store.lock();
                if self.next <= state.compacted {
                    return Err(KvError::Compacted(state.compacted));
                }
                if self.next > state.revision + 1 {
                    return Err(KvError::Refused("the store went back".into()));
                }
                if self.next <= state.revision {
                    return Ok(self.batch(&state));
                }
                state.leases.values().map(|(_, ends)| *ends).min()
            };
            let far = Instant::now() + Duration::from_secs(3600);
            tokio::select! {
                changed = self.changed.changed() => {
                    changed.map_err(|_| KvError::Unavailable("the store is gone".into()))?;
                }
                () = tokio::time::sleep_until(next_lease_end.unwrap_or(far)) => {}
            }
        }
    }

    /// Whole revisions, about [`BATCH`] events.
    fn batch(&mut self, state: &State) -> Events {
        let start = state.history.partition_point(|(revision, _)| *revision < self.next);
        let mut events = Vec::new();
        let mut reached = state.revision;
        for (revision, event) in state.history.range(start..) {
            if events.len() >= BATCH && *revision > self.next {
                reached = revision - 1;
                break;
            }
            self.next = *revision;
            let key = match event {
                Event::Put(pair) => &pair.key,
                Event::Delete(key, _) => key,
            };
            if key.starts_with(&self.prefix) {
                events.push(event.clone());
            }
        }
        self.next = reached + 1;
        Events { events, moment: Moment { revision: reached, ..state.moment() } }
    }
}
