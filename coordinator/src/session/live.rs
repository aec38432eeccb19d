//! One session: what its node said last, and how to ask it for something.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use catchment_proto::cluster::v1::{ClusterConfig, DesiredState, Heartbeat, Hello, Node};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// Why a session ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The node leaves on purpose, and says why.
    Goodbye(String),
    /// The connection broke, and how.
    Broken(String),
    /// Nothing was heard for so long.
    Silent(Duration),
    /// The node has a later session.
    Superseded,
    /// This replica stops.
    Stopping,
    /// The node does not read what it is sent, or breaks the contract.
    Fault(String),
}

/// What a node may be asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// Take over this desired state.
    SetDesired(DesiredState),
    /// Take over this configuration.
    SetConfig(ClusterConfig),
    /// Say whether this configuration could be taken over.
    CheckConfig(ClusterConfig),
}

/// What became of it: done, or why not, in the node's words.
pub type Answer = Result<(), String>;

/// Something on its way to the session's task.
#[derive(Debug)]
pub(super) enum Order {
    Ask(Ask, Option<oneshot::Sender<Answer>>),
    /// Reports up to this number have been taken.
    SequencesTaken(u64),
}

/// Orders that may wait for a session's task.
const ORDERS: usize = 64;

/// A node's session with this replica.
#[derive(Debug)]
pub struct Session {
    id: String,
    hello: Hello,
    connected: SystemTime,
    orders: mpsc::Sender<Order>,
    end: watch::Sender<Option<End>>,
    /// Which of the session's `SyncState` streams is the present one.
    pub(super) syncs: watch::Sender<u64>,
    live: Mutex<Live>,
}

/// What changes while a session lasts.
#[derive(Debug)]
struct Live {
    heard: Instant,
    heard_time: SystemTime,
    heartbeat: Option<Heartbeat>,
    records_per_second: f64,
    datagrams_per_second: f64,
    config_revision: u64,
    config_error: Option<(u64, String)>,
    desired_revision: u64,
    /// What was sent to the node last.
    pushed_desired: u64,
    pushed_config: u64,
}

impl Session {
    pub(super) fn new(id: &str, hello: Hello) -> (Arc<Self>, mpsc::Receiver<Order>) {
        let (orders, receiver) = mpsc::channel(ORDERS);
        let live = Live {
            heard: Instant::now(),
            heard_time: SystemTime::now(),
            heartbeat: None,
            records_per_second: 0.0,
            datagrams_per_second: 0.0,
            config_revision: hello.config_revision,
            config_error: None,
            desired_revision: hello.desired_revision,
            pushed_desired: 0,
            pushed_config: 0,
        };
        let session = Self {
            id: id.to_owned(),
            hello,
            connected: SystemTime::now(),
            orders,
            end: watch::Sender::new(None),
            syncs: watch::Sender::new(0),
            live: Mutex::new(live),
        };
        (Arc::new(session), receiver)
    }

    /// `Welcome.session_id`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The node's id.
    pub fn node(&self) -> &str {
        &self.hello.node_id
    }

    /// What the node said of itself.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Asks the node for something and waits for what became of it.
    ///
    /// # Errors
    ///
    /// What the node says against it, or that it does not answer.
    pub async fn ask(&self, ask: Ask, within: Duration) -> Answer {
        let (answer, answered) = oneshot::channel();
        if self.orders.try_send(Order::Ask(ask, Some(answer))).is_err() {
            return Err("the node does not take commands now".into());
        }
        match tokio::time::timeout(within, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err("the node's session ended before it answered".into()),
            Err(_) => Err(format!("the node did not answer within {} s", within.as_secs_f64())),
        }
    }

    /// Ends the session.
    pub fn end(&self, why: End) {
        self.end.send_if_modified(|end| {
            let first = end.is_none();
            if first {
                *end = Some(why);
            }
            first
        });
    }

    /// Why the session has ended, once it has.
    pub(super) fn ended(&self) -> watch::Receiver<Option<End>> {
        self.end.subscribe()
    }

    /// Reports of sequences up to this number have been taken.
    pub(crate) fn sequences_taken(&self, number: u64) {
        // Where there is no room the node hears it with the next one.
        let _ = self.orders.try_send(Order::SequencesTaken(number));
    }

    /// How long nothing has been heard.
    pub(super) fn silent_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.live().heard)
    }

    pub(super) fn heard(&self) {
        let mut live = self.live();
        live.heard = Instant::now();
        live.heard_time = SystemTime::now();
    }

    /// Takes a heartbeat; gives whether it says of something new that it was taken over.
    pub(super) fn beat(&self, mut heartbeat: Heartbeat) -> bool {
        heartbeat.top_exporters.truncate(MAX_TOP_EXPORTERS);
        let mut live = self.live();
        if let Some(before) = &live.heartbeat {
            let seconds = heartbeat.time_ns.saturating_sub(before.time_ns) as f64 / 1e9;
            if seconds > 0.0 {
                let rate = |count: fn(&Heartbeat) -> u64| {
                    count(&heartbeat).saturating_sub(count(before)) as f64 / seconds
                };
                (live.records_per_second, live.datagrams_per_second) = (rate(records), rate(datagrams));
            }
        }
        let moved = live.config_revision != heartbeat.config_revision
            || live.desired_revision != heartbeat.desired_revision;
        live.config_revision = heartbeat.config_revision;
        live.desired_revision = heartbeat.desired_revision;
        live.heartbeat = Some(heartbeat);
        moved
    }

    /// Notes what Welcome says, so that it is not pushed again.
    pub(super) fn welcomed(&self, desired: &DesiredState, config: &ClusterConfig) {
        let mut live = self.live();
        live.pushed_desired = desired.revision;
        live.pushed_config = config.revision;
    }

    /// Sends what the node has not been sent yet.
    pub(super) fn push(&self, desired: DesiredState, config: &ClusterConfig) {
        let mut live = self.live();
        let mut asks = Vec::new();
        if desired.revision > live.pushed_desired {
            live.pushed_desired = desired.revision;
            asks.push(Ask::SetDesired(desired));
        }
        if config.revision > live.pushed_config {
            live.pushed_config = config.revision;
            asks.push(Ask::SetConfig(config.clone()));
        }
        drop(live);
        for ask in asks {
            if self.orders.try_send(Order::Ask(ask, None)).is_err() {
                // It would go on with what is no longer desired.
                self.end(End::Fault("it does not take commands".into()));
            }
        }
    }

    /// Notes what the node did with what it was to take over.
    pub(super) fn took_over(&self, ask: &Ask, answer: &Answer) {
        let mut live = self.live();
        match (ask, answer) {
            (Ask::SetDesired(desired), Ok(())) => live.desired_revision = desired.revision,
            (Ask::SetConfig(config), Ok(())) => {
                live.config_revision = config.revision;
                live.config_error = None;
            }
            (Ask::SetConfig(config), Err(error)) => {
                live.config_error = Some((config.revision, error.clone()));
            }
            _ => {}
        }
    }

    /// The node as people see it, without what is desired of it.
    pub fn describe(&self, coordinator: &str) -> Node {
        let live = self.live();
        let heartbeat = live.heartbeat.as_ref();
        let (config_error_revision, config_error) = live.config_error.clone().unwrap_or_default();
        Node {
            id: self.hello.node_id.clone(),
            incarnation: self.hello.incarnation,
            version: self.hello.version.clone(),
            grpc_address: self.hello.grpc_address.clone(),
            http_address: self.hello.http_address.clone(),
            listeners: self.hello.listeners.clone(),
            sources: self.hello.sources.clone(),
            coordinator: coordinator.to_owned(),
            connected_seconds: seconds(self.connected),
            health: heartbeat.and_then(|heartbeat| heartbeat.health.clone()),
            statistics: heartbeat.and_then(|heartbeat| heartbeat.statistics.clone()),
            records_per_second: live.records_per_second,
            datagrams_per_second: live.datagrams_per_second,
            desired: None,
            desired_revision: live.desired_revision,
            config_revision: live.config_revision,
            top_exporters: heartbeat.map(|heartbeat| heartbeat.top_exporters.clone()).unwrap_or_default(),
            config_error,
            config_error_revision,
            heard_seconds: seconds(live.heard_time),
        }
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Exporters of a heartbeat that are kept.
const MAX_TOP_EXPORTERS: usize = 100;

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn records(heartbeat: &Heartbeat) -> u64 {
    let ledger = heartbeat.statistics.as_ref().and_then(|statistics| statistics.ledger.as_ref());
    ledger.map_or(0, |ledger| ledger.streams.iter().map(|stream| stream.produced).sum())
}

fn datagrams(heartbeat: &Heartbeat) -> u64 {
    let ledger = heartbeat.statistics.as_ref().and_then(|statistics| statistics.ledger.as_ref());
    ledger.and_then(|ledger| ledger.datagrams.as_ref()).map_or(0, |datagrams| datagrams.received)
}
