//! Writes behind: what the view knows and the store does not.
//!
//! A scope waits at most once, however often it changes meanwhile: what is written is what is known then. Up to a hundred keys
//! go in one transaction, each on the condition that its key is as last seen; where another replica was first, its value is
//! merged and the scope waits again. Transactions are paced, so that a flood costs ten a second, and strangers come
//! after what is known. Putting back what a store lost is not paced: it is no flood, and each
//! transaction waits for the one before.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::warn;

use crate::keys::Key;
use crate::kv::{Change, Expect, KvError, MAX_CALL_BYTES, MAX_CHANGES};
use crate::limits::{Bucket, Rate};
use crate::scope::ScopeId;
use crate::store::Shared;
use crate::view::{Entry, Part, Queued, State, Stored};

/// When a scope should be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    /// As soon as may be: of known exporters.
    Soon,
    /// After what is of known exporters.
    AfterOthers,
    /// It was in the store, and is gone from it.
    Restore,
    /// Only the time it was last seen.
    Whenever,
}

const CLASSES: usize = 4;
/// After a failed call.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(3);

/// What waits to be written.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    queues: Mutex<[VecDeque<Arc<ScopeId>>; CLASSES]>,
    some: Notify,
    /// Calls under way, for [`drain`].
    idle: Notify,
}

impl Writer {
    fn lock(&self) -> MutexGuard<'_, [VecDeque<Arc<ScopeId>>; CLASSES]> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Scopes that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().iter().map(VecDeque::len).sum()
    }
}

impl Shared {
    /// Puts a scope down to be written.
    pub(crate) fn enqueue(&self, id: &ScopeId, urgency: Urgency) {
        let mut state = self.view.lock();
        self.enqueue_in(&mut state, id, urgency);
    }

    /// The same where the view is locked already. Lock order: view, then queues.
    pub(crate) fn enqueue_in(&self, state: &mut State, id: &ScopeId, urgency: Urgency) {
        let Some(shared_id) = state.shared_id(id) else { return };
        let Some(entry) = state.entry_mut(id) else { return };
        if entry.queued == Queued::No {
            entry.queued = Queued::Yes;
            self.writer.lock()[urgency as usize].push_back(shared_id);
            self.writer.some.notify_one();
        }
    }

    /// How old the stored time of last being seen may get.
    pub(crate) fn seen_interval(&self) -> u32 {
        u32::try_from(self.options.retention.as_secs() / 10).unwrap_or(u32::MAX).max(1)
    }
}

/// What one key of a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Part(Part),
    Seen(u32),
}

struct Put {
    id: Arc<ScopeId>,
    what: What,
    /// The content that the change was made of.
    content_position: u64,
}

/// Writes until it is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut pace = Bucket::full(share(&shared), Instant::now());
    let mut delay = RETRY_MIN;
    loop {
        shared.reachable().await;
        let rate = share(&shared);
        let Some(urgency) = next_class(&shared) else {
            shared.writer.idle.notify_waiters();
            shared.writer.some.notified().await;
            continue;
        };
        // What came together is written at once where it is of known exporters; strangers never get ahead of the rate.
        let reserved = if urgency == Urgency::Soon { 0 } else { rate.burst - 1 };
        if urgency != Urgency::Restore
            && let Err(wait) = pace.try_take_above(reserved, rate, Instant::now())
        {
            // Something more urgent may come meanwhile.
            let some = shared.writer.some.notified();
            let _ = tokio::time::timeout(wait, some).await;
            continue;
        }
        match write_some(&shared, urgency).await {
            Ok(()) => delay = RETRY_MIN,
            Err(error) => {
                shared.counters.failed_calls.increment();
                warn!(%error, waiting = shared.writer.waiting(), "templates could not be stored yet");
                tokio::time::sleep(jitter(delay)).await;
                delay = (delay * 2).min(RETRY_MAX);
            }
        }
    }
}

/// What this replica may write: the limit is the cluster's, whichever replicas a flood arrives at.
fn share(shared: &Shared) -> Rate {
    let Rate { burst, per_second } = shared.options.limits.transactions;
    let replicas = u32::try_from(shared.mirror.lock().replicas.len()).unwrap_or(u32::MAX).max(1);
    Rate { burst: (burst / replicas).max(1), per_second: (per_second / replicas).max(1) }
}

/// Waits until nothing waits to be written, or the store does not answer.
pub(crate) async fn drain(shared: &Shared) {
    loop {
        let idle = shared.writer.idle.notified();
        let mut connection = shared.connection.subscribe();
        if shared.writer.waiting() == 0 || !connection.borrow_and_update().reachable {
            return;
        }
        tokio::select! {
            () = idle => {}
            _ = connection.changed() => {}
        }
    }
}

/// Between half of it and all of it.
pub(crate) fn jitter(delay: Duration) -> Duration {
    delay.mul_f64(0.5 + rand::random::<f64>() / 2.0)
}

fn next_class(shared: &Shared) -> Option<Urgency> {
    let queues = shared.writer.lock();
    [Urgency::Soon, Urgency::AfterOthers, Urgency::Restore, Urgency::Whenever]
        .into_iter()
        .find(|urgency| !queues[*urgency as usize].is_empty())
}

async fn write_some(shared: &Shared, urgency: Urgency) -> Result<(), KvError> {
    let (puts, changes) = gather(shared, urgency);
    if changes.is_empty() {
        return Ok(());
    }
    let result = shared.kv.change_each(changes).await;
    let applied = match result {
        Ok(applied) => applied,
        Err(error) => {
            let mut state = shared.view.lock();
            for put in puts {
                shared.enqueue_in(&mut state, &put.id, urgency);
            }
            return Err(error);
        }
    };
    count(shared, &puts, &applied.done);
    let mut behind = Vec::new();
    {
        let mut state = shared.view.lock();
        for (put, done) in puts.into_iter().zip(&applied.done) {
            match state.entry_mut(&put.id) {
                Some(entry) if *done => settle(entry, &put, applied.moment.revision),
                Some(_) => behind.push(put),
                None => {}
            }
        }
    }
    for put in behind {
        catch_up(shared, &put).await?;
    }
    Ok(())
}

fn settle(entry: &mut Entry, put: &Put, revision: i64) {
    match put.what {
        What::Part(part) => {
            let unchanged = entry.content_position() == put.content_position;
            let stored = entry.stored(part);
            // The watch may have told of a later change already.
            if stored.revision < revision {
                *stored = Stored { revision, clean: unchanged, unusable: false };
            }
        }
        What::Seen(seen) => {
            entry.seen_stored = seen;
            entry.seen_revision = revision;
        }
    }
}

/// Another replica was first: takes over what it wrote.
async fn catch_up(shared: &Shared, put: &Put) -> Result<(), KvError> {
    shared.counters.conflicts.increment();
    let key = shared.keys.write(&key_of(put));
    let (pair, _) = shared.kv.get(&key).await?;
    let revision = pair.as_ref().map_or(0, |pair| pair.revision);
    shared.take_scope_value(&put.id, &key_of(put), pair);
    tracing::debug!(key, revision, "another coordinator was first");
    Ok(())
}

fn key_of(put: &Put) -> Key {
    let id = ScopeId::clone(&put.id);
    match put.what {
        What::Part(Part::Templates) => Key::Templates(id),
        What::Part(Part::Options) => Key::Options(id),
        What::Seen(_) => Key::Seen(id),
    }
}

/// Takes scopes from the queues, `urgency` first, and makes their changes.
fn gather(shared: &Shared, urgency: Urgency) -> (Vec<Put>, Vec<Change>) {
    let mut puts = Vec::new();
    let mut changes = Vec::new();
    let mut octets = 0;
    let mut state = shared.view.lock();
    let mut queues = shared.writer.lock();
    // What is paced fills up with what comes after it; what is restored goes alone.
    let classes: &[usize] = if urgency == Urgency::Restore { &[2] } else { &[0, 1, 3] };
    'all: for class in classes {
        while let Some(id) = queues[*class].pop_front() {
            let Some(entry) = state.entry_mut(&id) else { continue };
            let made = changes_of(shared, &id, entry);
            let size: usize = made.iter().map(|(_, change)| change.bytes()).sum();
            let full = changes.len() + made.len() > MAX_CHANGES || octets + size > MAX_CALL_BYTES;
            if full && !changes.is_empty() {
                queues[*class].push_front(id);
                break 'all;
            }
            octets += size;
            entry.queued = Queued::No;
            for (what, change) in made {
                puts.push(Put { id: Arc::clone(&id), what, content_position: entry.content_position() });
                changes.push(change);
            }
        }
    }
    (puts, changes)
}

/// At most three changes: templates, options, last seen.
fn changes_of(shared: &Shared, id: &Arc<ScopeId>, entry: &mut Entry) -> Vec<(What, Change)> {
    let mut made = Vec::new();
    if entry.is_dirty() {
        let scope = entry.scope();
        if !entry.stored_templates.clean {
            let expect = Expect::last_seen(entry.stored_templates.revision);
            let value = scope.clone().only_templates().encode_stored();
            let key = shared.keys.templates(id);
            made.push((What::Part(Part::Templates), Change::put(key, expect, value)));
        }
        if !entry.stored_options.clean {
            let expect = Expect::last_seen(entry.stored_options.revision);
            let key = shared.keys.write(&Key::Options(ScopeId::clone(id)));
            made.push((
                What::Part(Part::Options),
                Change::put(key, expect, scope.only_options().encode_stored()),
            ));
        }
    }
    if entry.seen_is_due(shared.seen_interval()) {
        let key = shared.keys.write(&Key::Seen(ScopeId::clone(id)));
        let value = entry.seen.to_string().into_bytes();
        // Whoever was last is right enough.
        made.push((What::Seen(entry.seen), Change::put(key, Expect::Any, value)));
    }
    made
}

fn count(shared: &Shared, puts: &[Put], done: &[bool]) {
    let counters = &shared.counters;
    let done = || puts.iter().zip(done).filter(|(_, done)| **done).map(|(put, _)| put.what);
    let number = |what: fn(What) -> bool| done().filter(|each| what(*each)).count() as u64;
    let templates = number(|what| what == What::Part(Part::Templates));
    let options = number(|what| what == What::Part(Part::Options));
    counters.template_puts.add(templates);
    counters.options_puts.add(options);
    counters.seen_puts.add(number(|what| matches!(what, What::Seen(_))));
    if puts.iter().any(|put| matches!(put.what, What::Part(_))) {
        counters.template_transactions.increment();
    }
}
