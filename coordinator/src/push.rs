//! What nodes taught this replica, told to the other replicas at once.
//!
//! The store is what lasts, and what brings everything to everybody; but writes to it are paced, so that a flood costs little, and
//! it may be away. Nodes of the other replicas need not wait for that. Each replica is told like a session: in the order of
//! positions, one message at a time, so that a slow one costs nothing and skips what was overtaken. What the store
//! holds by then is left out: it brings that itself.
//!
//! Who is told writes nothing: who tells does. Where he vanishes first, those who were told take it over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use catchment_proto::cluster::v1::{PushScopesRequest, Replica, ScopeState};
use catchment_serving::grpc::Backoff;
use prost::Message as _;
use tokio::task::{AbortHandle, JoinSet};
use tracing::debug;

use crate::Store;
use crate::merge::Changed;
use crate::peers::{Peers, timed};
use crate::store::{Shared, now, until_stopped};
use crate::validate;
use crate::writer::Urgency;

/// Octets of one message, unless one scope is larger.
const MAX_MESSAGE: usize = 1 << 20;
/// Between tries to tell a replica that does not listen.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));

/// Tells the other replicas until the store is stopped.
pub(crate) fn start(store: &Store, peers: &Peers) {
    let shared = store.shared();
    tokio::spawn(until_stopped(shared, run(Arc::clone(shared), peers.clone())));
}

/// One task for each start of another replica.
async fn run(shared: Arc<Shared>, peers: Peers) {
    let mut changes = shared.mirror.changes();
    let mut tasks = JoinSet::new();
    let mut told: HashMap<Start, AbortHandle> = HashMap::new();
    loop {
        let others: HashMap<Start, Arc<Replica>> =
            peers.others().into_iter().map(|replica| (start_of(&replica), replica)).collect();
        told.retain(|start, task| {
            let stays = others.contains_key(start);
            if !stays {
                task.abort();
            }
            stays
        });
        for (start, replica) in others {
            told.entry(start)
                .or_insert_with(|| tasks.spawn(tell(Arc::clone(&shared), peers.clone(), replica)));
        }
        // The sender is in the mirror that this holds.
        let _ = changes.changed().await;
    }
}

/// One start of a replica: one that has started anew knows only what the store holds.
pub(crate) type Start = (String, String, u64);

pub(crate) fn start_of(replica: &Replica) -> Start {
    (replica.id.clone(), replica.grpc_address.clone(), replica.started_seconds.to_bits())
}

async fn tell(shared: Arc<Shared>, peers: Peers, replica: Arc<Replica>) {
    let mut head = shared.view.subscribe();
    let mut cursor = 0;
    let mut backoff = BACKOFF;
    loop {
        head.borrow_and_update();
        let mut reached = cursor;
        let untold = shared.view.lock().untold(&mut reached, MAX_MESSAGE);
        if !untold.scopes.is_empty() {
            let count = untold.scopes.len() as u64;
            if let Err(status) = push(&shared, &peers, &replica, &untold.scopes).await {
                let replica = &replica.id;
                debug!(replica, error = status.message(), "another coordinator could not be told yet");
                let wait = backoff.next(&mut rand::rng());
                tokio::time::sleep(wait).await;
                continue;
            }
            backoff.reset();
            shared.counters.pushed_scopes.add(count);
        }
        cursor = reached;
        if untold.at_head {
            // The sender is in the view that this holds.
            let _ = head.changed().await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}

async fn push(
    shared: &Shared,
    peers: &Peers,
    replica: &Replica,
    scopes: &[Box<[u8]>],
) -> Result<(), tonic::Status> {
    // Written by this process in its canonical form.
    let scopes = scopes.iter().filter_map(|scope| ScopeState::decode(&**scope).ok()).collect();
    let coordinator = Some(shared.tenancy.replica().clone());
    let request = PushScopesRequest { cluster: shared.options.cluster.clone(), coordinator, scopes };
    peers.client(replica)?.push_scopes(timed(request)).await.map(drop)
}

impl Shared {
    /// Takes what the replica `from` pushes. What is not valid, or has no room, is left out and counted.
    pub(crate) fn hear(&self, from: &Replica, scopes: &[ScopeState]) {
        self.counters.heard_scopes.add(scopes.len() as u64);
        // Its last words may come after it was found to be gone.
        let pledged = self.mirror.replicas().iter().any(|known| start_of(known) == start_of(from));
        for message in scopes {
            if !self.hear_scope(message, pledged) {
                self.counters.heard_refused.increment();
            }
        }
        let head = self.view.lock().head();
        self.view.wake(head);
    }

    fn hear_scope(&self, message: &ScopeState, pledged: bool) -> bool {
        let Ok(scope) = validate::scope(message) else { return false };
        let limits = &self.options.limits;
        let mut state = self.view.lock();
        let heard = state.hear(&scope, pledged, now(), |state| {
            limits.room(state.len(), state.bytes(), state.entry(&scope.id).is_some())
        });
        if !pledged && heard.is_ok_and(Changed::any) {
            self.enqueue_in(&mut state, &scope.id, Urgency::AfterOthers);
        }
        heard.is_ok()
    }

    /// A replica is gone: what it had not written is written here.
    pub(crate) fn take_over(&self) {
        let mut state = self.view.lock();
        for id in state.take_over() {
            self.enqueue_in(&mut state, &id, Urgency::AfterOthers);
        }
    }
}
