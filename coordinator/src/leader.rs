//! One replica at a time is the leader: it gives up domains that nobody has seen for `templates.retention`.
//!
//! The leader holds `leader/coordinator` under its lease. All that it does is safe where two believe to be it: it deletes on
//! the condition that a key is as it saw it, and a replica that heard of the domain lately puts it back.
//! When more than nine tenths of the scopes that may be are known, those not seen for longest go early, so that a flood cannot
//! keep real exporters out.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::keys::Key;
use crate::kv::{Change, Expect, KvError, MAX_CHANGES};
use crate::scope::ScopeId;
use crate::store::{Shared, now};
use crate::writer::jitter;

/// Not given up under pressure: what was seen within this time, at most (a tenth of retention where that is less).
const PRESSURE_GRACE: Duration = Duration::from_secs(2 * 3600);
/// Between two looks.
const LOOK: Duration = Duration::from_secs(60);
/// Scopes in one transaction: each has three keys.
const SCOPES: usize = MAX_CHANGES / 3;

/// Tries to be the leader, and is it.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut changes = shared.mirror.changes();
    loop {
        shared.reachable().await;
        changes.borrow_and_update();
        let leader = shared.mirror.leader();
        let result = match leader {
            None => campaign(&shared).await,
            Some(id) if id == shared.options.coordinator => give_up_unseen(&shared).await,
            Some(_) => Ok(()),
        };
        if let Err(error) = result {
            shared.counters.failed_calls.increment();
            warn!(%error, "the leader's work could not be done");
        }
        let period = LOOK.min(shared.options.retention / 10).max(Duration::from_millis(100));
        // Not at each change: registrations move often, and the leader seldom.
        let pause =
            jitter(if shared.mirror.leader().is_none() { Duration::from_millis(200) } else { period });
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = leader_gone(&shared, &mut changes) => {}
        }
    }
}

async fn leader_gone(shared: &Shared, changes: &mut tokio::sync::watch::Receiver<u64>) {
    while shared.mirror.leader().is_some() {
        // The sender is in `shared`.
        let _ = changes.changed().await;
    }
    tokio::time::sleep(jitter(Duration::from_millis(100))).await;
}

async fn campaign(shared: &Shared) -> Result<(), KvError> {
    let Some(lease) = shared.tenancy.lease() else { return Ok(()) };
    let id = shared.options.coordinator.clone();
    let put =
        Change::put(shared.keys.write(&Key::Leader), Expect::Absent, id.clone().into_bytes()).under(lease);
    if shared.kv.change_each(vec![put]).await?.done == [true] {
        shared.counters.registry_writes.increment();
        info!(coordinator = id, "this coordinator is the leader");
    }
    Ok(())
}

/// Deletes what nobody has seen for too long.
async fn give_up_unseen(shared: &Shared) -> Result<(), KvError> {
    for scopes in unseen(shared).chunks(SCOPES) {
        let changes: Vec<Change> = scopes.iter().flat_map(|scope| deletes(shared, scope)).collect();
        let applied = shared.kv.change_each(changes).await?;
        let deleted = applied.done.iter().filter(|done| **done).count() as u64;
        shared.counters.retention_deletes.add(deleted);
    }
    Ok(())
}

struct Unseen {
    id: Arc<ScopeId>,
    templates: i64,
    options: i64,
    seen: i64,
}

fn deletes(shared: &Shared, scope: &Unseen) -> Vec<Change> {
    let id = || ScopeId::clone(&scope.id);
    [
        (Key::Templates(id()), scope.templates),
        (Key::Options(id()), scope.options),
        (Key::Seen(id()), scope.seen),
    ]
    .into_iter()
    .filter(|(_, revision)| *revision != 0)
    .map(|(key, revision)| Change::delete(shared.keys.write(&key), Expect::Revision(revision)))
    .collect()
}

fn unseen(shared: &Shared) -> Vec<Unseen> {
    let now = now();
    let retention = u32::try_from(shared.options.retention.as_secs()).unwrap_or(u32::MAX);
    let state = shared.view.lock();
    let of = |id: &Arc<ScopeId>, entry: &crate::view::Entry| Unseen {
        id: Arc::clone(id),
        templates: entry.stored_templates.revision,
        options: entry.stored_options.revision,
        seen: entry.seen_revision,
    };
    let mut unseen: Vec<Unseen> = Vec::new();
    let mut kept: Vec<(u32, &Arc<ScopeId>, &crate::view::Entry)> = Vec::new();
    let (limit, max_bytes) = (shared.options.limits.max_scopes, shared.options.limits.max_bytes);
    let large = state.bytes() > max_bytes - max_bytes / 10;
    let crowded = large || state.len() > limit - limit / 10;
    let grace = retention.min(PRESSURE_GRACE.as_secs() as u32);
    for (id, entry) in state.entries() {
        let age = now.saturating_sub(entry.seen);
        if age > retention {
            unseen.push(of(id, entry));
        } else if crowded && age > grace {
            kept.push((entry.seen, id, entry));
        }
    }
    let left = state.len().saturating_sub(unseen.len());
    let too_many = left.saturating_sub(limit - limit / 5).max(if large { left / 5 } else { 0 });
    if crowded && too_many > 0 {
        kept.sort_unstable_by_key(|(seen, ..)| *seen);
        unseen.extend(kept.into_iter().take(too_many).map(|(_, id, entry)| of(id, entry)));
    }
    unseen
}
