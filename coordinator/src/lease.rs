//! The replica's lease and what hangs on it: its own key, the registrations of its sessions, the leadership.
//!
//! One lease a replica, not one a node: while the replica lives it takes a node's key away itself, in a transaction on the session; when
//! it dies all its keys go with the lease, and the nodes have gone to other replicas, whose leases their keys hang on by then. A
//! lease that ended (the store was away for too long, wiped or restored) is replaced, and all keys are written again,
//! unless another session of that node was registered meanwhile: then the session here is told to end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use catchment_proto::cluster::v1::{Collector, Replica};
use prost::Message as _;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::keys::Key;
use crate::kv::{Change, Expect, KvError, Lease};
use crate::store::Shared;
use crate::writer::jitter;

const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// What hangs on the lease.
#[derive(Debug)]
pub(crate) struct Tenancy {
    replica: Replica,
    state: Mutex<Tenants>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Tenants {
    lease: Option<Lease>,
    replica_written: bool,
    /// By node.
    sessions: BTreeMap<String, Tenant>,
    /// Sessions that have ended, (node, session), whose keys are still there.
    leaving: BTreeSet<(String, String)>,
}

#[derive(Debug)]
struct Tenant {
    collector: Collector,
    written: bool,
    ended: watch::Sender<bool>,
}

impl Tenancy {
    pub(crate) fn new(replica: Replica) -> Self {
        Self { replica, state: Mutex::default(), changed: Notify::new() }
    }

    /// The replica as it is in the store.
    pub(crate) fn replica(&self) -> &Replica {
        &self.replica
    }

    fn lock(&self) -> MutexGuard<'_, Tenants> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lease, while there is one.
    pub(crate) fn lease(&self) -> Option<Lease> {
        self.lock().lease
    }

    /// Registers a session, in place of an older one of that node. The receiver becomes true when it has to end.
    pub(crate) fn move_in(&self, node: &str, collector: Collector) -> watch::Receiver<bool> {
        let (ended, receiver) = watch::channel(false);
        let tenant = Tenant { collector, written: false, ended };
        if let Some(older) = self.lock().sessions.insert(node.to_owned(), tenant) {
            older.ended.send_replace(true);
        }
        self.changed.notify_one();
        receiver
    }

    /// The session has ended. Where a later one of that node is here, nothing happens.
    pub(crate) fn move_out(&self, node: &str, session: &str) {
        let mut state = self.lock();
        if state.sessions.get(node).is_some_and(|tenant| tenant.collector.session_id == session) {
            state.sessions.remove(node);
            state.leaving.insert((node.to_owned(), session.to_owned()));
            drop(state);
            self.changed.notify_one();
        }
    }

    /// The registration of a node that has its session here.
    pub(crate) fn local(&self, node: &str) -> Option<Collector> {
        self.lock().sessions.get(node).map(|tenant| tenant.collector.clone())
    }

    /// The store says that this is the node's registration now, or that it has none.
    pub(crate) fn heard(&self, node: &str, stored: Option<&Collector>) {
        let mut state = self.lock();
        let Some(tenant) = state.sessions.get_mut(node) else { return };
        match stored {
            Some(stored) if stored.session_id == tenant.collector.session_id => tenant.written = true,
            Some(stored) if supersedes(stored, &tenant.collector) => {
                info!(node, coordinator = stored.coordinator_id, "the node has a later session elsewhere");
                tenant.ended.send_replace(true);
                state.sessions.remove(node);
            }
            // An older session's, or none: a lease that ended took it along.
            _ => {
                tenant.written = false;
                drop(state);
                self.changed.notify_one();
            }
        }
    }

    /// The store says whether the replica's own key is there.
    pub(crate) fn heard_of_replica(&self, there: bool) {
        let mut state = self.lock();
        if state.replica_written && !there {
            state.replica_written = false;
            drop(state);
            self.changed.notify_one();
        }
    }
}

/// Whether a registration takes the place of another one: by incarnation, then by when the session began.
pub(crate) fn supersedes(stored: &Collector, other: &Collector) -> bool {
    let rank = |collector: &Collector| {
        (collector.hello.as_ref().map_or(0, |hello| hello.incarnation), collector.connected_seconds)
    };
    rank(stored) >= rank(other)
}

/// Holds the lease until the replica stops, then ends it.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut stopping = shared.stopping.subscribe();
    tokio::select! {
        _ = stopping.wait_for(|stopping| *stopping) => {}
        () = hold(&shared) => {}
    }
    let lease = shared.tenancy.lock().lease.take();
    if let Some(lease) = lease
        && let Err(error) = shared.kv.revoke(lease).await
    {
        warn!(%error, "the lease could not be given up, it ends by itself");
    }
}

async fn hold(shared: &Shared) {
    let mut delay = RETRY_MIN;
    loop {
        match shared.kv.grant(shared.options.lease_ttl).await {
            Ok(lease) => {
                delay = RETRY_MIN;
                begin(shared, lease);
                keep(shared, lease).await;
                shared.tenancy.lock().lease = None;
                shared.counters.lease_losses.increment();
                warn!("the lease has ended, registrations are written again under a new one");
            }
            Err(_) => {
                // The reflector says that the store is away.
                shared.counters.failed_calls.increment();
                tokio::time::sleep(jitter(delay)).await;
                delay = (delay * 2).min(RETRY_MAX);
            }
        }
    }
}

fn begin(shared: &Shared, lease: Lease) {
    let mut state = shared.tenancy.lock();
    state.lease = Some(lease);
    state.replica_written = false;
    for tenant in state.sessions.values_mut() {
        tenant.written = false;
    }
}

/// Comes back when the lease has ended.
async fn keep(shared: &Shared, lease: Lease) {
    let ttl = shared.options.lease_ttl;
    let mut heard = Instant::now();
    let mut next = Instant::now() + ttl / 3;
    loop {
        let written = write(shared, lease).await;
        match written {
            Err(KvError::LeaseGone) => return,
            Err(_) => shared.counters.failed_calls.increment(),
            Ok(()) => {}
        }
        let wake = if written.is_err() { Instant::now() + jitter(RETRY_MAX) } else { next };
        tokio::select! {
            () = tokio::time::sleep_until(wake.min(next)) => {}
            () = shared.tenancy.changed.notified() => {}
        }
        if Instant::now() < next {
            continue;
        }
        match shared.kv.keep_alive(lease).await {
            Ok(()) => heard = Instant::now(),
            Err(KvError::LeaseGone) => return,
            Err(_) if heard.elapsed() > ttl => return,
            Err(_) => shared.counters.failed_calls.increment(),
        }
        let soon = if heard.elapsed() > ttl / 3 { RETRY_MAX.min(ttl / 6) } else { ttl / 3 };
        next = Instant::now() + soon;
    }
}

/// Writes what is not written, takes away what has left.
async fn write(shared: &Shared, lease: Lease) -> Result<(), KvError> {
    let replica = {
        let state = shared.tenancy.lock();
        (!state.replica_written).then(|| shared.tenancy.replica.clone())
    };
    if let Some(replica) = replica {
        let key = shared.keys.write(&Key::Coordinator(replica.id.clone()));
        let change = Change::put(key, Expect::Any, replica.encode_to_vec()).under(lease);
        shared.kv.change_each(vec![change]).await?;
        shared.counters.registry_writes.increment();
        shared.tenancy.lock().replica_written = true;
    }
    loop {
        let leaving = shared.tenancy.lock().leaving.first().cloned();
        let Some((node, session)) = leaving else { break };
        take_away(shared, &node, &session).await?;
        shared.tenancy.lock().leaving.remove(&(node, session));
    }
    let unwritten: Vec<String> = {
        let state = shared.tenancy.lock();
        state.sessions.iter().filter(|(_, tenant)| !tenant.written).map(|(node, _)| node.clone()).collect()
    };
    for node in unwritten {
        put_collector(shared, &node, lease).await?;
    }
    Ok(())
}

async fn put_collector(shared: &Shared, node: &str, lease: Lease) -> Result<(), KvError> {
    let key = shared.keys.write(&Key::Collector(node.to_owned()));
    loop {
        let (pair, _) = shared.kv.get(&key).await?;
        let stored = pair.as_ref().and_then(|pair| Collector::decode(&*pair.value).ok());
        let Some(own) = shared.tenancy.local(node) else { return Ok(()) };
        if let Some(stored) = &stored
            && stored.session_id != own.session_id
            && supersedes(stored, &own)
        {
            shared.tenancy.heard(node, Some(stored));
            return Ok(());
        }
        let expect = Expect::last_seen(pair.map_or(0, |pair| pair.revision));
        let change = Change::put(key.clone(), expect, own.encode_to_vec()).under(lease);
        let applied = shared.kv.change_each(vec![change]).await?;
        if applied.done == [true] {
            shared.counters.registry_writes.increment();
            if let Some(tenant) = shared.tenancy.lock().sessions.get_mut(node)
                && tenant.collector.session_id == own.session_id
            {
                tenant.written = true;
            }
            return Ok(());
        }
    }
}

/// Deletes the node's key if it is still of this session.
async fn take_away(shared: &Shared, node: &str, session: &str) -> Result<(), KvError> {
    let key = shared.keys.write(&Key::Collector(node.to_owned()));
    loop {
        let (Some(pair), _) = shared.kv.get(&key).await? else { return Ok(()) };
        if Collector::decode(&*pair.value).is_ok_and(|stored| stored.session_id != session) {
            return Ok(());
        }
        let change = Change::delete(key.clone(), Expect::Revision(pair.revision));
        if shared.kv.change_each(vec![change]).await?.done == [true] {
            shared.counters.registry_writes.increment();
            return Ok(());
        }
    }
}
