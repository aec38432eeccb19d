//! The shared state of a cluster as one replica holds it: what the services are built on.
//!
//! Everything that sessions need is answered from memory ([`View`], [`Mirror`]) and goes on without the store. What is to
//! last is written behind: templates by [`crate::writer`], registrations by [`crate::lease`]. Only what a
//! person asks for (desired state, configuration) waits for the store, and fails when it cannot be reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use catchment_proto::cluster::v1::Replica;
use catchment_serving::LogLimit;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;

use crate::counters::{Counted, Counters};
use crate::keys::Keys;
use crate::kv::{Kv, KvError};
use crate::lease::Tenancy;
use crate::limits::Limits;
use crate::mirror::Mirror;
use crate::templates::Templates;
use crate::validate::{self, Invalid};
use crate::view::{View, ViewSize};
use crate::wanted::Wants;
use crate::writer::Writer;
use crate::{leader, lease, reflector, wanted, writer};

/// How a replica works.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of this replica, unique in the cluster.
    pub coordinator: String,
    /// Where the other replicas reach its gRPC, `host:port`.
    pub grpc_address: String,
    /// Version of the program.
    pub version: String,
    /// What is taken from exporters and nodes.
    pub limits: Limits,
    /// After how long a domain that nobody has seen is given up.
    pub retention: Duration,
    /// How long registrations outlive a coordinator that has ended.
    pub lease_ttl: Duration,
    /// How often the whole store is read again, as a check.
    pub relist: Duration,
}

impl StoreOptions {
    /// Usual values.
    pub fn new(cluster: impl Into<String>, coordinator: impl Into<String>) -> Self {
        Self {
            cluster: cluster.into(),
            coordinator: coordinator.into(),
            grpc_address: String::new(),
            version: env!("CARGO_PKG_VERSION").into(),
            limits: Limits::default(),
            retention: Duration::from_secs(7 * 24 * 3600),
            lease_ttl: Duration::from_secs(15),
            relist: Duration::from_secs(300),
        }
    }
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store did not take part.
    #[error(transparent)]
    Store(#[from] KvError),
    /// What was given is not valid.
    #[error("not valid: {0}")]
    Invalid(#[from] Invalid),
    /// The node's id is in use by a later incarnation.
    #[error("node {node} is registered with the later incarnation {incarnation}")]
    Taken {
        /// The node.
        node: String,
        /// The incarnation that stays.
        incarnation: u64,
    },
    /// Somebody else changed it first.
    #[error("somebody else changed it first: the revision is {revision} now")]
    Conflict {
        /// The revision that there is.
        revision: u64,
    },
    /// There is nothing of that name.
    #[error("there is no {0}")]
    NotFound(String),
}

/// How this replica stands to its store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// Whether everything in the store was read once.
    pub loaded: bool,
    /// Whether the store answers now.
    pub reachable: bool,
}

/// The shared state. Clones are the same.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

/// What the parts have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: StoreOptions,
    pub(crate) keys: Keys,
    pub(crate) kv: Kv,
    pub(crate) view: Arc<View>,
    pub(crate) mirror: Mirror,
    pub(crate) counters: Arc<Counters>,
    pub(crate) templates: Templates,
    pub(crate) writer: Writer,
    pub(crate) wants: Wants,
    pub(crate) notices: broadcast::Sender<crate::view::Notice>,
    pub(crate) tenancy: Tenancy,
    pub(crate) connection: watch::Sender<Connection>,
    pub(crate) stopping: watch::Sender<bool>,
    pub(crate) invalid_log: LogLimit,
    next_session: AtomicU32,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
}

/// What others look for, that wait to be sent to one session; more are left out.
const NOTICES: usize = 256;

impl Store {
    /// Begins to mirror the store. Comes back at once: see [`Self::loaded`]. Must be called within a tokio runtime.
    pub fn start(kv: Kv, options: StoreOptions) -> Result<Self, StoreError> {
        validate::id("cluster name", &options.cluster)?;
        validate::id("coordinator id", &options.coordinator)?;
        let counters = Arc::new(Counters::default());
        let replica = Replica {
            id: options.coordinator.clone(),
            grpc_address: options.grpc_address.clone(),
            version: options.version.clone(),
            started_seconds: seconds_now(),
        };
        let shared = Arc::new(Shared {
            keys: Keys::new(&options.cluster),
            kv,
            view: Arc::new(View::new(Arc::clone(&counters))),
            mirror: Mirror::default(),
            templates: Templates::new(&options.limits),
            writer: Writer::default(),
            wants: Wants::default(),
            notices: broadcast::Sender::new(NOTICES),
            tenancy: Tenancy::new(replica),
            connection: watch::Sender::new(Connection::default()),
            stopping: watch::Sender::new(false),
            invalid_log: LogLimit::default(),
            next_session: AtomicU32::new(1),
            tasks: tokio::sync::Mutex::default(),
            counters,
            options,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(until_stopped(&shared, reflector::run(Arc::clone(&shared))));
        tasks.spawn(until_stopped(&shared, writer::run(Arc::clone(&shared))));
        tasks.spawn(until_stopped(&shared, wanted::run(Arc::clone(&shared))));
        tasks.spawn(until_stopped(&shared, leader::run(Arc::clone(&shared))));
        tasks.spawn(lease::run(Arc::clone(&shared)));
        if let Ok(mut held) = shared.tasks.try_lock() {
            *held = tasks;
        }
        Ok(Self { shared })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Waits until everything in the store was read once. Sessions should begin after it: their snapshot would lack what
    /// is not read yet.
    pub async fn loaded(&self) {
        // The sender is in `self`.
        let _ = self.shared.connection.subscribe().wait_for(|connection| connection.loaded).await;
    }

    /// How this replica stands to its store, and each change of that.
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.shared.connection.subscribe()
    }

    /// All scopes.
    pub fn view(&self) -> &View {
        &self.shared.view
    }

    /// Registrations, desired states, the configuration, the leader.
    pub fn mirror(&self) -> &Mirror {
        &self.shared.mirror
    }

    /// How it works.
    pub fn options(&self) -> &StoreOptions {
        &self.shared.options
    }

    /// `etcd` or `memory`.
    pub fn kind(&self) -> &'static str {
        self.shared.kv.name()
    }

    /// What was counted.
    pub fn counted(&self) -> Counted {
        self.shared.counters.read()
    }

    /// How much there is.
    pub fn size(&self) -> ViewSize {
        self.shared.view.size()
    }

    /// Whether this replica is the leader.
    pub fn is_leader(&self) -> bool {
        self.shared.mirror.leader().as_deref() == Some(self.shared.options.coordinator.as_str())
    }

    /// Writes what waits, gives up registrations, and ends, within `deadline`.
    pub async fn stop(&self, deadline: Duration) {
        let _ = tokio::time::timeout(deadline, async {
            writer::drain(&self.shared).await;
            self.shared.stopping.send_replace(true);
            let mut tasks = std::mem::take(&mut *self.shared.tasks.lock().await);
            while tasks.join_next().await.is_some() {}
        })
        .await;
        self.shared.stopping.send_replace(true);
        self.shared.tasks.lock().await.shutdown().await;
    }
}

impl Shared {
    /// A number that no other session of this replica has; 0 is none.
    pub(crate) fn next_session(&self) -> u32 {
        self.next_session.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether the store answers, for [`Store::connection`].
    pub(crate) fn set_reachable(&self, reachable: bool) {
        self.connection.send_if_modified(|connection| {
            let changed = connection.reachable != reachable;
            connection.reachable = reachable;
            changed
        });
    }

    /// Waits until the store was read and answers.
    pub(crate) async fn reachable(&self) {
        // The sender is in `self`.
        let ready = |connection: &Connection| connection.loaded && connection.reachable;
        let _ = self.connection.subscribe().wait_for(ready).await;
    }
}

/// The task, until the store is stopped.
pub(crate) fn until_stopped(
    shared: &Shared,
    task: impl Future<Output = ()> + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    let mut stopping = shared.stopping.subscribe();
    async move {
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => {}
            () = task => {}
        }
    }
}

/// Seconds since 1970.
pub(crate) fn seconds_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Whole seconds since 1970.
pub(crate) fn now() -> u32 {
    seconds_now() as u32
}
