//! What this replica knows of all scopes: the one place that sessions read and learned scopes are merged into.
//!
//! Each scope has its canonical bytes and a *position*: the number of its last change, unique in this replica. The scopes in order of
//! their positions are at once the snapshot (from 0) and the deltas (from where a session is), so that a slow session costs
//! nothing and skips what was overtaken. A scope whose stored revision moves without new content gets a new position too
//! (a session that resumed by revision may lack it), but sessions that had its content already skip it.
//!
//! Removals keep their positions for a while ([`MAX_REMOVALS`]); who comes from before that gets a snapshot. The checkpoints
//! say which position a session stands at that knows the store up to a revision: all that was stored later has a later
//! position.

mod feed;
mod wire;

use std::collections::{BTreeMap, HashMap, VecDeque, hash_map};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use catchment_proto::cluster::v1::{ScopeState, StateRevision};
use prost::Message as _;
use tokio::sync::watch;

pub use self::feed::Feed;
pub(crate) use self::feed::{Answers, Notice};
pub use self::wire::EncodedResponse;
use crate::counters::Counters;
use crate::merge::{Changed, merge};
use crate::scope::{Scope, ScopeId};
use crate::validate;

/// Removals that are remembered for sessions.
const MAX_REMOVALS: usize = 64 * 1024;
/// Positions that are looked at in one go, so that the lock is short.
const STEP: usize = 8192;
/// Revisions that are remembered for sessions that come back.
const MAX_CHECKPOINTS: usize = 64 * 1024;

/// All scopes.
#[derive(Debug)]
pub struct View {
    state: Mutex<State>,
    /// The head, for those who wait for it to move.
    head: watch::Sender<u64>,
    pub(crate) counters: Arc<Counters>,
}

/// Numbers about the view.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ViewSize {
    /// Scopes.
    pub scopes: u64,
    /// Template ids of all scopes.
    pub templates: u64,
    /// Octets of their canonical form.
    pub bytes: u64,
    /// The store that the view is of.
    pub store: String,
    /// Its revision, as far as it was read.
    pub revision: i64,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) store: Arc<str>,
    /// All changes up to this revision of the store are in here.
    pub(crate) revision: i64,
    scopes: HashMap<Arc<ScopeId>, Entry>,
    positions: BTreeMap<u64, Arc<ScopeId>>,
    removals: VecDeque<u64>,
    head: u64,
    /// Removals up to here may be forgotten.
    complete_from: u64,
    checkpoints: VecDeque<(i64, u64)>,
    templates: u64,
    bytes: u64,
    /// How many scopes an exporter has.
    exporters: HashMap<(Box<str>, IpAddr), u32>,
}

/// A scope as it is held.
#[derive(Debug)]
pub(crate) struct Entry {
    content: Box<[u8]>,
    position: u64,
    content_position: u64,
    template_ids: u16,
    /// The session whose own words the content is.
    origin: u32,
    pub(crate) stored_templates: Stored,
    pub(crate) stored_options: Stored,
    /// Last heard of, seconds since 1970.
    pub(crate) seen: u32,
    /// What the store has of `seen`, and at which revision.
    pub(crate) seen_stored: u32,
    pub(crate) seen_revision: i64,
    /// How it waits for its turn to be written.
    pub(crate) queued: Queued,
    /// All of it that the store lacks came from another replica, which writes it.
    pledged: bool,
}

/// How a part of a scope stands to the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Revision of the key's last change; 0: there is no such key.
    pub(crate) revision: i64,
    /// Whether what is stored is what is known.
    pub(crate) clean: bool,
    /// Whether what is stored cannot be used.
    pub(crate) unusable: bool,
}

/// Whether a scope waits to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Queued {
    /// It does not.
    #[default]
    No,
    /// It does.
    Yes,
}

/// Which part of a scope a key of the store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// `templates/...`.
    Templates,
    /// `exporters/.../options`.
    Options,
}

impl Entry {
    /// The scope.
    pub(crate) fn scope(&self) -> Scope {
        decode(&self.content)
    }

    /// Whether something of it is to be written.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.stored_templates.clean || !self.stored_options.clean
    }

    /// Whether that is for this replica to do.
    pub(crate) fn is_to_write(&self) -> bool {
        self.is_dirty() && !self.pledged
    }

    /// Position of the content.
    pub(crate) fn content_position(&self) -> u64 {
        self.content_position
    }

    /// Whether the stored time of last being seen is too old.
    pub(crate) fn seen_is_due(&self, interval: u32) -> bool {
        self.seen.saturating_sub(self.seen_stored) >= interval
    }

    pub(crate) fn stored(&mut self, part: Part) -> &mut Stored {
        match part {
            Part::Templates => &mut self.stored_templates,
            Part::Options => &mut self.stored_options,
        }
    }
}

fn exporter_of(id: &ScopeId) -> (Box<str>, IpAddr) {
    (id.zone.clone(), id.exporter)
}

/// A part of what a replica pushes to another one.
pub(crate) struct Untold {
    /// Canonical bytes of scopes.
    pub(crate) scopes: Vec<Box<[u8]>>,
    /// Whether the cursor is where the view is.
    pub(crate) at_head: bool,
}

/// Two states of a scope merged.
struct Union {
    scope: Scope,
    content: Box<[u8]>,
    changed: Changed,
}

/// A scope from bytes that [`Scope::encode`] wrote in this process.
fn decode(content: &[u8]) -> Scope {
    let message = ScopeState::decode(content).unwrap_or_default();
    #[expect(
        clippy::expect_used,
        reason = "written by `Scope::encode` from a valid scope, whose form validation takes"
    )]
    validate::scope(&message).expect("the canonical form of a valid scope")
}

impl View {
    /// An empty view.
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        Self { state: Mutex::default(), head: watch::Sender::new(0), counters }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves when there is something new to look at.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// Lets sessions look. To be called after the lock is given back.
    pub(crate) fn wake(&self, head: u64) {
        self.head.send_if_modified(|told| {
            let moved = head > *told;
            *told = head.max(*told);
            moved
        });
    }

    /// Changes under the lock, then lets sessions look.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        let head = state.head;
        drop(state);
        self.wake(head);
        result
    }

    /// Lets all sessions look, though nothing may have changed.
    pub(crate) fn wake_all(&self, head: u64) {
        self.head.send_modify(|told| *told = head.max(*told));
    }

    /// How much there is.
    pub fn size(&self) -> ViewSize {
        let state = self.lock();
        ViewSize {
            scopes: state.scopes.len() as u64,
            templates: state.templates,
            bytes: state.bytes,
            store: state.store.to_string(),
            revision: state.revision,
        }
    }

    /// One scope.
    pub fn scope(&self, id: &ScopeId) -> Option<Scope> {
        self.lock().scopes.get(id).map(Entry::scope)
    }

    /// At most `limit` scopes in the order of their ids, after `after`. For lists by people: it takes time in the number of scopes.
    pub fn scopes_after(&self, after: Option<&ScopeId>, limit: usize) -> Vec<ScopeState> {
        let mut ids: Vec<Arc<ScopeId>> = {
            let state = self.lock();
            state.scopes.keys().filter(|id| after.is_none_or(|after| id.as_ref() > after)).cloned().collect()
        };
        if ids.len() > limit {
            ids.select_nth_unstable(limit);
            ids.truncate(limit);
        }
        ids.sort_unstable();
        let state = self.lock();
        ids.iter()
            .filter_map(|id| state.scopes.get(id))
            .map(|entry| ScopeState::decode(&*entry.content).unwrap_or_default())
            .collect()
    }
}

impl State {
    pub(crate) fn len(&self) -> usize {
        self.scopes.len()
    }

    /// Octets of all scopes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn entry(&self, id: &ScopeId) -> Option<&Entry> {
        self.scopes.get(id)
    }

    pub(crate) fn entry_mut(&mut self, id: &ScopeId) -> Option<&mut Entry> {
        self.scopes.get_mut(id)
    }

    /// The id as it is kept.
    pub(crate) fn shared_id(&self, id: &ScopeId) -> Option<Arc<ScopeId>> {
        self.scopes.get_key_value(id).map(|(id, _)| Arc::clone(id))
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Arc<ScopeId>, &Entry)> {
        self.scopes.iter()
    }

    /// Whether the exporter has any scope.
    pub(crate) fn knows_exporter(&self, id: &ScopeId) -> bool {
        self.exporters.contains_key(&exporter_of(id))
    }

    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// The moment that sessions at the head know.
    pub(crate) fn moment(&self) -> StateRevision {
        StateRevision { store: self.store.to_string(), revision: self.revision }
    }

    /// Merges what a session's node said, if it holds anything new and `admit` lets it. New content has a new position.
    pub(crate) fn learn<R>(
        &mut self,
        scope: &Scope,
        origin: u32,
        now: u32,
        admit: impl FnOnce(&Self) -> Result<(), R>,
    ) -> Result<Changed, R> {
        let Some(merged) = self.union(scope) else {
            if let Some(entry) = self.scopes.get_mut(&scope.id) {
                entry.seen = now;
            }
            return Ok(Changed::default());
        };
        admit(self)?;
        let changed = merged.changed;
        let own = merged.scope == *scope;
        self.put(merged, now);
        if let Some(entry) = self.scopes.get_mut(&scope.id) {
            entry.origin = if own { origin } else { 0 };
            entry.seen = now;
            entry.pledged = false;
        }
        Ok(changed)
    }

    /// Merges what another replica has pushed, if it holds anything new and `admit` lets it. Where it has `pledged` to write that,
    /// this one need not.
    pub(crate) fn hear<R>(
        &mut self,
        scope: &Scope,
        pledged: bool,
        now: u32,
        admit: impl FnOnce(&Self) -> Result<(), R>,
    ) -> Result<Changed, R> {
        let Some(merged) = self.union(scope) else { return Ok(Changed::default()) };
        admit(self)?;
        let own = self.entry(&scope.id).is_some_and(Entry::is_to_write);
        let changed = merged.changed;
        self.put(merged, now);
        if let Some(entry) = self.scopes.get_mut(&scope.id) {
            entry.origin = 0;
            entry.seen = now;
            entry.pledged = pledged && !own;
        }
        Ok(changed)
    }

    /// What nodes taught this replica after the position `cursor` and the store lacks, up to `octets`; moves the cursor behind it.
    /// Nothing, where there may be more: it is looked for in steps.
    pub(crate) fn untold(&self, cursor: &mut u64, octets: usize) -> Untold {
        let mut scopes: Vec<Box<[u8]>> = Vec::new();
        let mut room = octets;
        for (looked, (position, id)) in self.positions.range(*cursor + 1..).enumerate() {
            if looked == STEP {
                return Untold { scopes, at_head: false };
            }
            let own = self.entry(id).filter(|entry| entry.position == *position && entry.is_to_write());
            if let Some(entry) = own {
                if room < entry.content.len() && !scopes.is_empty() {
                    return Untold { scopes, at_head: false };
                }
                room = room.saturating_sub(entry.content.len());
                scopes.push(entry.content.clone());
            }
            *cursor = *position;
        }
        Untold { scopes, at_head: true }
    }

    /// What another replica has pledged to write is for this one to do. Gives all that is to be written.
    pub(crate) fn take_over(&mut self) -> Vec<Arc<ScopeId>> {
        let dirty = self.scopes.iter_mut().filter(|(_, entry)| entry.is_dirty());
        dirty
            .map(|(id, entry)| {
                entry.pledged = false;
                Arc::clone(id)
            })
            .collect()
    }

    /// Merges what the store holds at `revision`; gives whether the view knows more than that, which is then for this replica to
    /// write.
    pub(crate) fn take_stored(&mut self, part: Part, stored: &Scope, revision: i64, now: u32) -> bool {
        let id = &stored.id;
        let fresh = !self.scopes.contains_key(id);
        let union = self.union(stored);
        let changed = union.is_some();
        if let Some(union) = union {
            self.put(union, now);
        }
        let Some(entry) = self.scopes.get(id) else { return false };
        let clean = fresh
            || match part {
                Part::Templates => entry.scope().only_templates() == *stored,
                Part::Options => entry.scope().only_options() == *stored,
            };
        if let Some(entry) = self.scopes.get_mut(id) {
            *entry.stored(part) = Stored { revision, clean, unusable: false };
            if changed {
                entry.origin = 0;
                entry.seen = entry.seen.max(now);
            }
        }
        if !changed {
            self.move_to_head(id);
        }
        !clean && self.entry(id).is_some_and(Entry::is_to_write)
    }

    /// The store has a value at `revision` that cannot be used. Nothing is written for that alone: a later release may know it.
    pub(crate) fn not_usable(&mut self, id: &ScopeId, part: Part, revision: i64) {
        if let Some(entry) = self.scopes.get_mut(id) {
            let stored = entry.stored(part);
            *stored = Stored { revision, unusable: true, ..*stored };
        }
    }

    /// Somebody looks for what is known here, and what the store has of it cannot be used: gives whether it is to be written.
    pub(crate) fn is_missed(&mut self, id: &ScopeId) -> bool {
        let Some(entry) = self.scopes.get_mut(id) else { return false };
        let mut missed = false;
        for part in [Part::Templates, Part::Options] {
            let stored = entry.stored(part);
            missed |= stored.unusable;
            stored.clean &= !stored.unusable;
        }
        missed
    }

    /// The store has `seen` for a scope.
    pub(crate) fn take_seen(&mut self, id: &ScopeId, seen: u32, revision: i64) {
        if let Some(entry) = self.scopes.get_mut(id) {
            entry.seen = entry.seen.max(seen);
            entry.seen_stored = seen;
            entry.seen_revision = revision;
        }
    }

    /// What was listed and has no time of last being seen is taken as seen now.
    pub(crate) fn note_unseen(&mut self, now: u32) {
        for entry in self.scopes.values_mut().filter(|entry| entry.seen == 0) {
            entry.seen = now;
        }
    }

    /// The store has a value at `revision` that is not what is known, or none (0): what the view knows is not stored.
    pub(crate) fn not_stored(&mut self, id: &ScopeId, part: Part, revision: i64) {
        if let Some(entry) = self.scopes.get_mut(id) {
            *entry.stored(part) = Stored { revision, ..Stored::default() };
        }
        self.settle_empty_parts(id);
    }

    /// A part that is empty and has no key is as it should be.
    fn settle_empty_parts(&mut self, id: &ScopeId) {
        let Some(entry) = self.scopes.get_mut(id) else { return };
        if entry.stored_templates.clean && entry.stored_options.clean {
            return;
        }
        let scope = decode(&entry.content);
        if scope.templates.is_empty() && entry.stored_templates.revision == 0 {
            entry.stored_templates.clean = true;
        }
        if scope.options.is_empty() && entry.stored_options.revision == 0 {
            entry.stored_options.clean = true;
        }
    }

    /// Gives a scope up.
    pub(crate) fn remove(&mut self, id: &ScopeId) {
        let Some((id, entry)) = self.scopes.remove_entry(id) else { return };
        self.positions.remove(&entry.position);
        if let hash_map::Entry::Occupied(mut count) = self.exporters.entry(exporter_of(&id)) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        self.bytes -= entry.content.len() as u64;
        self.templates -= u64::from(entry.template_ids);
        self.head += 1;
        self.positions.insert(self.head, id);
        self.removals.push_back(self.head);
        if self.removals.len() > MAX_REMOVALS
            && let Some(oldest) = self.removals.pop_front()
        {
            // Unless the scope is there again, in which case the position is not its own any more.
            self.positions.remove(&oldest);
            self.complete_from = oldest;
        }
    }

    /// The store is known up to `revision`.
    pub(crate) fn reached(&mut self, revision: i64) {
        if revision <= self.revision {
            return;
        }
        self.revision = revision;
        match self.checkpoints.back_mut() {
            // Nothing happened in between: one checkpoint stands for both.
            Some((last, head)) if *head == self.head => *last = revision,
            _ => self.checkpoints.push_back((revision, self.head)),
        }
        if self.checkpoints.len() > MAX_CHECKPOINTS {
            self.checkpoints.pop_front();
        }
    }

    /// Another history begins: no revision means anything any more, and nothing counts as stored.
    pub(crate) fn begin_history(&mut self, store: &str) {
        self.store = store.into();
        self.revision = 0;
        self.checkpoints.clear();
        for entry in self.scopes.values_mut() {
            entry.stored_templates = Stored::default();
            entry.stored_options = Stored::default();
            entry.pledged = false;
            entry.seen_revision = 0;
            entry.seen_stored = 0;
        }
        let ids: Vec<_> = self.scopes.keys().cloned().collect();
        for id in ids {
            self.settle_empty_parts(&id);
        }
    }

    /// The position of a session that knows `store` up to `revision`, where that is still known.
    fn position_at(&self, store: &str, revision: i64) -> Option<u64> {
        if store != &*self.store || revision > self.revision {
            return None;
        }
        let at = self.checkpoints.partition_point(|(known, _)| *known <= revision);
        let (_, position) = self.checkpoints.get(at.checked_sub(1)?)?;
        Some(*position).filter(|position| *position >= self.complete_from)
    }

    /// What is known with `scope` merged in; nothing where that adds nothing.
    fn union(&self, scope: &Scope) -> Option<Union> {
        let Some(entry) = self.scopes.get(&scope.id) else {
            let changed =
                Changed { templates: !scope.templates.is_empty(), options: !scope.options.is_empty() };
            return changed.any().then(|| Union { scope: scope.clone(), content: scope.encode(), changed });
        };
        let content = scope.encode();
        if content == entry.content {
            return None;
        }
        let mut merged = decode(&entry.content);
        let changed = merge(&mut merged, scope.clone());
        if !changed.any() {
            return None;
        }
        let content = merged.encode();
        // Equal: what came was dropped by a bound at once.
        (content != entry.content).then_some(Union { scope: merged, content, changed })
    }

    fn put(&mut self, union: Union, now: u32) {
        let Union { scope, content, changed } = union;
        let Some(entry) = self.scopes.get_mut(&scope.id) else {
            self.insert(scope, content, now);
            return;
        };
        self.bytes = self.bytes + content.len() as u64 - entry.content.len() as u64;
        let template_ids = scope.template_ids() as u16;
        self.templates = self.templates + u64::from(template_ids) - u64::from(entry.template_ids);
        entry.content = content;
        entry.template_ids = template_ids;
        entry.stored_templates.clean &= !changed.templates;
        entry.stored_options.clean &= !changed.options;
        self.move_to_head(&scope.id);
        if let Some(entry) = self.scopes.get_mut(&scope.id) {
            entry.content_position = entry.position;
        }
    }

    fn insert(&mut self, scope: Scope, content: Box<[u8]>, now: u32) {
        let template_ids = scope.template_ids() as u16;
        self.bytes += content.len() as u64;
        self.templates += u64::from(template_ids);
        self.head += 1;
        let id = Arc::new(scope.id);
        self.positions.insert(self.head, Arc::clone(&id));
        let entry = Entry {
            content,
            position: self.head,
            content_position: self.head,
            template_ids,
            origin: 0,
            stored_templates: Stored { clean: scope.templates.is_empty(), ..Stored::default() },
            stored_options: Stored { clean: scope.options.is_empty(), ..Stored::default() },
            seen: now,
            seen_stored: 0,
            seen_revision: 0,
            queued: Queued::No,
            pledged: false,
        };
        *self.exporters.entry(exporter_of(&id)).or_default() += 1;
        self.scopes.insert(id, entry);
    }

    fn move_to_head(&mut self, id: &ScopeId) {
        let Some(entry) = self.scopes.get_mut(id) else { return };
        let Some(id) = self.positions.remove(&entry.position) else { return };
        self.head += 1;
        entry.position = self.head;
        self.positions.insert(self.head, id);
    }
}
