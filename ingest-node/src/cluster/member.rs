//! The node as its session sees it: who it is, what it knows, and the node itself once it is open.
//!
//! A session begins before the node has sockets. Until then commands wait, and what people want of the node is kept, so that
//! it holds from the first datagram on.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use catchment_proto::cluster::v1::{ClusterConfig, DesiredState, Heartbeat, Hello};
use catchment_proto::node::v1::{self, HealthStatus, Listener};
use catchment_serving::VERSION;
use catchment_settings::Endpoint;
use tokio::sync::{Notify, watch};

use super::addresses::{self, Addresses};
use super::commands::{self, InForce};
use super::counters::Counters;
use super::sequences::SequenceSource;
use crate::config::Config;
use crate::flow::Known;
use crate::metrics::Times;
use crate::node::{Node, Prepared};
use crate::status::SessionState;

/// The contract that this node speaks.
const CONTRACT: u32 = 1;
/// Exporters of a heartbeat.
const TOP_EXPORTERS: usize = 100;

/// Who the node is.
#[derive(Clone, Debug)]
pub struct Identity {
    cluster: String,
    node: String,
    incarnation: u64,
    listeners: Vec<Listener>,
    sources: Vec<String>,
    /// For how long data waits for its template.
    pub(super) pending_age: Duration,
    /// How long the cluster keeps what nobody sees.
    pub(super) retention: Duration,
}

impl Identity {
    /// What the configuration says.
    pub fn of(config: &Config, prepared: &Prepared) -> Self {
        let flow = &config.sources.flow;
        let listener = |listener: &crate::config::Listener| Listener {
            address: listener.address.to_string(),
            zone: listener.zone.as_ref().map(ToString::to_string).unwrap_or_default(),
            source: "flow".to_owned(),
            sockets: config.node.workers.get() as u32,
            allow: listener.allow.iter().map(ToString::to_string).collect(),
            ..Listener::default()
        };
        Self {
            cluster: config.coordinator.cluster.to_string(),
            node: config.node.id.to_string(),
            incarnation: prepared.incarnation(),
            listeners: flow.listeners.iter().map(listener).collect(),
            sources: vec!["flow".to_owned()],
            pending_age: config.pending.age,
            retention: config.templates.retention,
        }
    }
}

/// What all parts of the session share.
pub(super) struct Member {
    pub(super) identity: Identity,
    pub(super) known: Known,
    pub(super) counters: Arc<Counters>,
    /// From a change to the message that tells of it.
    pub(super) uplink_times: Times,
    /// Woken when something is to go up.
    pub(super) changed: Arc<Notify>,
    addresses: Addresses,
    node: OnceLock<Arc<Node>>,
    attached: watch::Sender<bool>,
    leaving: watch::Sender<Option<String>>,
    steering: Mutex<Steering>,
}

#[derive(Debug, Default)]
struct Steering {
    session: Option<SessionState>,
    /// What is wanted since before the node was open.
    waiting: Option<(DesiredState, ClusterConfig)>,
    in_force: InForce,
}

impl Member {
    pub(super) fn new(identity: Identity, prepared: &Prepared, addresses: Addresses) -> Self {
        let changed = Arc::new(Notify::new());
        let wake = changed.clone();
        prepared.known.store.on_change(Box::new(move || wake.notify_one()));
        Self {
            identity,
            known: prepared.known.clone(),
            counters: prepared.cluster.clone(),
            uplink_times: prepared.metrics.uplink_times(),
            changed,
            addresses,
            node: OnceLock::new(),
            attached: watch::Sender::new(false),
            leaving: watch::Sender::new(None),
            steering: Mutex::default(),
        }
    }

    /// The node is open and does not read yet.
    pub(super) fn attach(&self, node: &Arc<Node>) {
        let mut steering = self.steering();
        if self.node.set(node.clone()).is_err() {
            return;
        }
        if let Some(state) = steering.session.clone() {
            node.set_session(state);
        }
        if let Some((desired, config)) = steering.waiting.take() {
            self.welcomed_by(&mut steering, node, &desired, &config);
        }
        drop(steering);
        self.attached.send_replace(true);
    }

    /// Becomes true when the node is open.
    pub(super) fn attached(&self) -> watch::Receiver<bool> {
        self.attached.subscribe()
    }

    /// Where sequence numbers are noted, once the node is open.
    pub(super) fn sequences(&self) -> Option<&dyn SequenceSource> {
        self.node.get().map(|node| &**node as &dyn SequenceSource)
    }

    /// The node leaves, for this reason.
    pub(super) fn leave(&self, reason: &str) {
        self.leaving.send_replace(Some(reason.to_owned()));
    }

    /// Becomes the reason when the node leaves.
    pub(super) fn leaving(&self) -> watch::Receiver<Option<String>> {
        self.leaving.subscribe()
    }

    /// Notes that there is a session, or why there is none.
    pub(super) fn set_session(&self, state: SessionState) {
        self.counters.set_connected(matches!(state, SessionState::With { .. }));
        let mut steering = self.steering();
        if let Some(node) = self.node.get() {
            node.set_session(state.clone());
        }
        steering.session = Some(state);
    }

    /// What the welcome says holds from now on, or from when the node is open.
    pub(super) fn welcomed(&self, desired: DesiredState, config: ClusterConfig) {
        let mut steering = self.steering();
        match self.node.get() {
            Some(node) => self.welcomed_by(&mut steering, node, &desired, &config),
            None => steering.waiting = Some((desired, config)),
        }
    }

    fn welcomed_by(
        &self,
        steering: &mut Steering,
        node: &Node,
        desired: &DesiredState,
        config: &ClusterConfig,
    ) {
        if let Err(error) = commands::set_config(node, &mut steering.in_force, config) {
            tracing::error!(
                revision = config.revision,
                error,
                "the cluster's configuration is not taken over"
            );
        }
        if let Err(error) = commands::set_desired(node, &mut steering.in_force, desired) {
            tracing::error!(
                revision = desired.revision,
                error,
                "what is desired of this node cannot be done"
            );
        }
    }

    /// Carries out something on the node, with what is in force.
    pub(super) fn steer<R>(&self, carry_out: impl FnOnce(&Node, &mut InForce) -> R) -> Option<R> {
        let node = self.node.get()?;
        Some(carry_out(node, &mut self.steering().in_force))
    }

    /// The first message of a session.
    pub(super) async fn hello(&self, endpoint: &Endpoint) -> Hello {
        let (grpc_address, http_address) = addresses::advertised(&self.addresses, endpoint).await;
        let Identity { cluster, node, incarnation, listeners, sources, .. } = self.identity.clone();
        let in_force = self.steering().in_force;
        Hello {
            cluster,
            node_id: node,
            incarnation,
            version: VERSION.to_owned(),
            contract: CONTRACT,
            grpc_address,
            http_address,
            listeners,
            sources,
            config_revision: in_force.config,
            desired_revision: in_force.desired,
        }
    }

    /// The node's state now. `before` is what exporters had sent at the heartbeat before.
    pub(super) fn heartbeat(&self, before: &mut Loads) -> Heartbeat {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let in_force = self.steering().in_force;
        let beat = Heartbeat {
            time_ns: now,
            config_revision: in_force.config,
            desired_revision: in_force.desired,
            ..Heartbeat::default()
        };
        match self.node.get() {
            Some(node) => Heartbeat {
                health: Some(node.health_message()),
                statistics: Some(node.statistics_message()),
                top_exporters: before.since(node.top_exporters(usize::MAX)),
                ..beat
            },
            None => Heartbeat {
                health: Some(v1::Health {
                    status: HealthStatus::NotReady.into(),
                    not_ready: vec!["node: starting".to_owned()],
                    ..v1::Health::default()
                }),
                ..beat
            },
        }
    }

    fn steering(&self) -> MutexGuard<'_, Steering> {
        self.steering.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// What exporters had sent at a heartbeat.
#[derive(Debug, Default)]
pub(super) struct Loads(std::collections::HashMap<(String, Vec<u8>), v1::ExporterLoad>);

impl Loads {
    /// What was sent since the last call, by those who sent most records.
    fn since(&mut self, now: Vec<v1::ExporterLoad>) -> Vec<v1::ExporterLoad> {
        let key = |load: &v1::ExporterLoad| (load.zone.clone(), load.exporter.clone());
        let mut since: Vec<_> = now
            .iter()
            .filter_map(|load| {
                let before = self.0.get(&key(load));
                // A place that was given up and had anew counts from 0.
                let less = |count: fn(&v1::ExporterLoad) -> u64| {
                    count(load).checked_sub(before.map_or(0, count)).unwrap_or(count(load))
                };
                let load = v1::ExporterLoad {
                    datagrams: less(|load| load.datagrams),
                    bytes: less(|load| load.bytes),
                    records: less(|load| load.records),
                    ..load.clone()
                };
                (load.datagrams > 0).then_some(load)
            })
            .collect();
        since.sort_unstable_by(|a, b| b.records.cmp(&a.records).then(b.datagrams.cmp(&a.datagrams)));
        since.truncate(TOP_EXPORTERS);
        self.0 = now.into_iter().map(|load| (key(&load), load)).collect();
        since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(exporter: u8, records: u64) -> v1::ExporterLoad {
        let exporter = vec![192, 0, 2, exporter];
        v1::ExporterLoad {
            exporter,
            datagrams: records,
            records,
            bytes: 10 * records,
            ..v1::ExporterLoad::default()
        }
    }

    #[test]
    fn a_heartbeat_says_what_came_since_the_one_before() {
        let mut loads = Loads::default();
        assert_eq!(loads.since(vec![load(1, 100), load(2, 5)]), [load(1, 100), load(2, 5)]);
        assert_eq!(loads.since(vec![load(1, 100), load(2, 9)]), [load(2, 4)]);
        assert_eq!(loads.since(vec![load(1, 3)]), [load(1, 3)], "its place was another's meanwhile");
        let many = (0..=255).map(|exporter| load(exporter, 1000)).collect();
        assert_eq!(loads.since(many).len(), TOP_EXPORTERS);
    }
}
