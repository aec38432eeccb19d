//! A coordinator that runs: who it is, its port, and how it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use catchment_serving::VERSION;
use catchment_serving::grpc::{ConnectionCounts, Connections};
use catchment_serving::http::Health;
use serde::Serialize;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::sequences::SequenceCounts;
use crate::services::Services;
use crate::session::SessionCounts;
use crate::{Counted, Store, ViewSize};

/// One coordinator of a cluster.
#[derive(Debug)]
pub struct Replica {
    id: String,
    cluster: String,
    store: Store,
    services: Services,
    started: SystemTime,
    stopping: AtomicBool,
    connections: Arc<Connections>,
    metrics: Metrics,
}

/// A coordinator at one moment: what `/metrics`, `/metrics.json` and `/health` are drawn from.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// `id`.
    pub coordinator: String,
    /// `cluster`.
    pub cluster: String,
    /// `store`.
    pub store: &'static str,
    /// Version and commit.
    pub version: &'static str,
    /// When the process started, seconds since 1970.
    pub started_unix_seconds: f64,
    /// How well it is, and why not better.
    pub health: Health,
    /// Connections to the gRPC port.
    pub connections: ConnectionCounts,
    /// Whether the store answers.
    pub store_reachable: bool,
    /// Whether this replica is the leader.
    pub leader: bool,
    /// What is shared.
    pub shared: ViewSize,
    /// What was counted of the store.
    pub counted: Counted,
    /// Sessions of nodes.
    pub sessions: usize,
    /// What was counted of sessions.
    pub session_counts: SessionCounts,
    /// What was counted of sequences.
    pub sequences: SequenceCounts,
}

impl Replica {
    /// The coordinator that `config` describes, with its parts and the connections of its gRPC port.
    pub fn new(config: &Config, store: Store, services: Services, connections: Arc<Connections>) -> Self {
        Self {
            id: config.id.to_string(),
            cluster: config.cluster.to_string(),
            store,
            services,
            started: SystemTime::now(),
            stopping: AtomicBool::new(false),
            connections,
            metrics: Metrics::new(),
        }
    }

    /// Says no to `/readyz` from now on.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The coordinator now.
    pub fn status(&self) -> Status {
        let mut health = Health::default();
        if self.stopping.load(Ordering::Acquire) {
            health.not_ready.push("coordinator: stopping".to_owned());
        }
        let connection = *self.store.connection().borrow();
        if !connection.loaded {
            health.not_ready.push("store: not read yet".to_owned());
        } else if !connection.reachable {
            health.degraded.push("store: it does not answer; nothing new is kept until it does".to_owned());
        }
        // At the start it takes a moment to find one.
        let settled = self.started.elapsed().unwrap_or_default() > self.store.options().lease_ttl;
        if connection.loaded && settled && self.store.mirror().leader().is_none() {
            health.degraded.push("leader: none; sequences are not accounted for".to_owned());
        }
        Status {
            coordinator: self.id.clone(),
            cluster: self.cluster.clone(),
            store: self.store.kind(),
            version: VERSION,
            started_unix_seconds: self
                .started
                .duration_since(UNIX_EPOCH)
                .map_or(0.0, |since| since.as_secs_f64()),
            health,
            connections: self.connections.counts(),
            store_reachable: connection.reachable,
            leader: self.store.is_leader(),
            shared: self.store.size(),
            counted: self.store.counted(),
            sessions: self.services.sessions().len(),
            session_counts: self.services.sessions().counts(),
            sequences: self.services.sequences().counts(),
        }
    }
}
