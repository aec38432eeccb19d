//! Sessions of nodes with this replica: who is here, what each said last, and how to speak to one.
//!
//! ```text
//! Control    hello -> [hello.rs] checks, registration -> one task [control.rs] -> goodbye, silence, a later session
//! SyncState  start -> one stream [sync.rs]: what the node learnt goes up, the feed's bytes come down
//! ```
//!
//! A session is one task and no timer: one [`Sessions::watch`] task for all of them ends those that are silent and pushes what people
//! changed (desired state, configuration) to those that have not got it, whichever replica it was changed at. Everything that
//! waits for a session is bounded; a node that does not read loses its session, not the replica its memory.

mod codec;
mod control;
mod counters;
mod hello;
mod live;
mod service;
mod sync;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use catchment_proto::cluster::v1::{ClusterConfig, DesiredState};
use tokio::sync::watch;
use tokio::time::Instant;

pub use self::counters::{SessionCounters, SessionCounts};
pub use self::live::{Answer, Ask, End, Session};
pub use self::service::NodeSessionService;
use crate::Store;
use crate::sequences::Sequences;

/// How sessions are kept.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    /// How often nodes send a heartbeat.
    pub heartbeat: Duration,
    /// After how long without a word a session is over.
    pub ttl: Duration,
    /// How long a caller may take to say hello.
    pub hello: Duration,
    /// Sessions at a time.
    pub limit: usize,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(5),
            ttl: Duration::from_secs(15),
            hello: Duration::from_secs(10),
            limit: 10_000,
        }
    }
}

/// The sessions of this replica. Clones are the same.
#[derive(Clone, Debug)]
pub struct Sessions {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    sequences: Sequences,
    options: SessionOptions,
    counters: SessionCounters,
    by_node: Mutex<HashMap<String, Arc<Session>>>,
    /// Moves when a node has taken something over or refused it, comes or goes.
    progress: watch::Sender<u64>,
    stopping: watch::Sender<bool>,
}

impl Sessions {
    /// No sessions yet. Must be called within a tokio runtime.
    pub fn start(store: Store, sequences: Sequences, options: SessionOptions) -> Self {
        let inner = Arc::new(Inner {
            store,
            sequences,
            options,
            counters: SessionCounters::default(),
            by_node: Mutex::default(),
            progress: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
        });
        let sessions = Self { inner };
        tokio::spawn(sessions.clone().watch());
        sessions
    }

    /// The gRPC service.
    pub fn service(&self) -> NodeSessionService {
        NodeSessionService::new(self.clone())
    }

    /// The session of a node, if it is with this replica.
    pub fn of_node(&self, node: &str) -> Option<Arc<Session>> {
        self.lock().get(node).cloned()
    }

    /// All sessions, by node.
    pub fn all(&self) -> Vec<Arc<Session>> {
        let mut all: Vec<_> = self.lock().values().cloned().collect();
        all.sort_unstable_by(|a, b| a.node().cmp(b.node()));
        all
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Moves when a node has taken something over or refused it, comes or goes.
    pub fn progress(&self) -> watch::Receiver<u64> {
        self.inner.progress.subscribe()
    }

    /// What was counted.
    pub fn counts(&self) -> SessionCounts {
        self.inner.counters.read()
    }

    /// Takes no more sessions and ends those there are: nodes go to another replica at once.
    pub fn stop(&self) {
        self.inner.stopping.send_replace(true);
        for session in self.all() {
            session.end(End::Stopping);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.inner.by_node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn by_session_id(&self, id: &str) -> Option<Arc<Session>> {
        self.lock().values().find(|session| session.id() == id).cloned()
    }

    /// Takes a session in; one that the node had here before has been told to end by the registry.
    fn insert(&self, session: &Arc<Session>) {
        self.lock().insert(session.node().to_owned(), Arc::clone(session));
        self.moved();
    }

    fn remove(&self, session: &Session) {
        let mut sessions = self.lock();
        if sessions.get(session.node()).is_some_and(|known| known.id() == session.id()) {
            sessions.remove(session.node());
        }
        drop(sessions);
        self.moved();
    }

    fn moved(&self) {
        self.inner.progress.send_modify(|progress| *progress += 1);
    }

    /// Ends silent sessions, pushes what people changed.
    async fn watch(self) {
        let mut changes = self.inner.store.mirror().changes();
        let mut stopping = self.inner.stopping.subscribe();
        let mut tick = tokio::time::interval(self.inner.options.ttl / 15);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => self.end_silent(Instant::now()),
                // The sender is in the store.
                _ = changes.changed() => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
            changes.borrow_and_update();
            self.push();
        }
    }

    fn end_silent(&self, now: Instant) {
        for session in self.all() {
            let silent = session.silent_for(now);
            if silent > self.inner.options.ttl {
                session.end(End::Silent(silent));
            }
        }
    }

    /// Gives each session what it lacks of desired state and configuration.
    fn push(&self) {
        let sessions = self.all();
        if sessions.is_empty() {
            return;
        }
        let config = self.config();
        let mut desired = self.inner.store.mirror().desired_of_all();
        for session in sessions {
            let desired = desired.remove(session.node()).map(|desired| (*desired).clone());
            session.push(desired.unwrap_or_default(), &config);
        }
    }

    fn config(&self) -> ClusterConfig {
        let config = self.inner.store.mirror().config();
        config.and_then(|revision| revision.config.clone()).unwrap_or_default()
    }

    fn desired(&self, node: &str) -> DesiredState {
        self.inner.store.mirror().desired(node).map(|desired| (*desired).clone()).unwrap_or_default()
    }
}
