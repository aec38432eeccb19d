//! The node's parts, put together: the output, the sources, the configuration in force, and what is known of them.
//!
//! Who steers a node (signals, its gRPC port, a coordinator) calls the same methods here, which say what they did in words
//! for a person.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use catchment_proto::node::v1;
use catchment_serving::VERSION;
use catchment_serving::logging::Logging;
use flow_decoder::Statistics;
use tokio::sync::watch;

use crate::cluster::Counters;
use crate::config::{Config, Loaded, LogLevel, Sources};
use crate::control::{Calls, messages};
use crate::flow::{FlowSource, Known};
use crate::ledger::Ledger;
use crate::live::{Change, LiveConfig, Refused};
use crate::metrics::Metrics;
use crate::output::{Origin, Output};
use crate::sequences::Sequences;
use crate::source::{ExporterLoad, Numbered, Source, UnknownSource};
use crate::state::Saves;
use crate::status::{Complaints, Parts, Session, SessionState, SourceStatus, Status};
use crate::tail::Tails;

/// A node that runs.
pub struct Node {
    id: Arc<str>,
    started: SystemTime,
    incarnation: u64,
    shutdown: Shutdown,
    drain: watch::Sender<Option<Drain>>,
    session: Mutex<Session>,
    complaints: Mutex<Complaints>,
    live: LiveConfig,
    metrics: Arc<Metrics>,
    output: Output,
    sources: Vec<Arc<dyn Source>>,
    flow: Arc<FlowSource>,
    saves: Arc<Saves>,
    tails: Arc<Tails>,
    calls: Calls,
    /// `None` where the cluster keeps the accounts.
    sequences: Option<Sequences>,
    cluster: Arc<Counters>,
}

/// What there is of a node before its sockets.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What it knows of exporters.
    pub known: Known,
    /// What becomes of saves to `state.dir`.
    pub saves: Arc<Saves>,
    /// What its side of the cluster counts.
    pub cluster: Arc<Counters>,
    /// Its metrics.
    pub metrics: Arc<Metrics>,
    /// When it was started.
    pub started: SystemTime,
}

impl Prepared {
    /// Nothing yet, for a node with this configuration.
    pub fn nothing(config: &Config) -> Self {
        Self {
            known: Known::nothing(config),
            saves: Arc::default(),
            cluster: Arc::default(),
            metrics: Arc::default(),
            started: SystemTime::now(),
        }
    }

    /// Which start of the node this is: milliseconds since 1970.
    pub fn incarnation(&self) -> u64 {
        self.started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }
}

/// How long a shutdown may take.
#[derive(Clone, Copy, Debug)]
struct Shutdown {
    whole: Duration,
    /// The last part of the whole, which the output has for what it holds.
    flush: Duration,
}

/// The end of a node that was told to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Who wants it, and why.
    pub reason: String,
    /// Until when sources may read.
    pub sources_until: Instant,
    /// Until when the output may deliver.
    pub output_until: Instant,
    /// The latest moment at which the process ends.
    pub deadline: SystemTime,
}

impl Node {
    /// Opens the output and the listeners, for a node that knows this much already. Nothing is read before [`Node::start`].
    ///
    /// # Errors
    /// Where the output cannot be opened or a port cannot be had.
    pub fn open(
        loaded: Loaded,
        sources: Sources,
        prepared: Prepared,
        logging: Logging,
    ) -> anyhow::Result<Self> {
        let config = &loaded.config;
        let (started, incarnation) = (prepared.started, prepared.incarnation());
        let id: Arc<str> = config.node.id.as_str().into();
        let output = Output::open(config, Origin { node: id.clone(), incarnation })?;
        let metrics = prepared.metrics;
        let tails = Arc::new(Tails::default());
        let times = metrics.batch_times("flow");
        let flow = Arc::new(FlowSource::open(config, &prepared.known, &output, &tails, &times)?);
        for listener in flow.listeners() {
            tracing::info!(address = %listener.address, receive_buffer = listener.receive_buffer, "listening");
        }
        let whole = config.node.shutdown_timeout;
        let shutdown = Shutdown { whole, flush: config.kafka.flush_timeout.min(whole / 2) };
        let alone = config.coordinator.endpoints.is_empty();
        let state = if alone {
            SessionState::Alone
        } else {
            SessionState::Without { reason: "no session yet".to_owned() }
        };
        Ok(Self {
            id,
            started,
            incarnation,
            shutdown,
            drain: watch::Sender::new(None),
            session: Mutex::new(Session { state, since: started }),
            complaints: Mutex::default(),
            live: LiveConfig::new(loaded, sources, logging),
            metrics,
            output,
            sources: vec![flow.clone()],
            flow,
            saves: prepared.saves,
            tails,
            calls: Calls::default(),
            sequences: alone.then(Sequences::new),
            cluster: prepared.cluster,
        })
    }

    /// Starts all sources.
    ///
    /// # Errors
    /// Where the system refuses a thread.
    pub fn start(&self) -> std::io::Result<()> {
        self.sources.iter().try_for_each(|source| source.start())
    }

    /// `node.id`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Which start of the node this is: milliseconds since 1970.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Which sequence numbers the sources received since the last time.
    pub fn take_numbers(&self) -> Vec<Numbered> {
        self.sources.iter().flat_map(|source| source.take_numbers()).collect()
    }

    /// Datagrams that the node itself has lost since it started: dropped by the kernel, or never read.
    pub fn lost_here(&self) -> u64 {
        self.sources.iter().map(|source| source.statistics().kernel_dropped()).sum()
    }

    /// Brings the accounts of a node that works alone up to date; to be called about once a second.
    pub fn account_numbers(&self) {
        if let Some(sequences) = &self.sequences {
            sequences.take_in(&self.id, self.incarnation, &self.take_numbers(), self.lost_here());
        }
    }

    /// The sequence accounts; `None` where the cluster keeps them.
    pub fn sequences(&self) -> Option<&Sequences> {
        self.sequences.as_ref()
    }

    /// The output.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The flow source, for what only it has: exporters, templates, records to tail.
    pub fn flow(&self) -> &Arc<FlowSource> {
        &self.flow
    }

    /// Who tails records.
    pub fn tails(&self) -> &Arc<Tails> {
        &self.tails
    }

    /// Calls of its gRPC service.
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// The names of all sources.
    pub fn source_names(&self) -> Vec<&'static str> {
        self.sources.iter().map(|source| source.name()).collect()
    }

    /// Stops reading; sockets are kept, what is not read is counted. `None`: all sources.
    ///
    /// # Errors
    /// Where no source has that name; then nothing has changed.
    pub fn pause(&self, source: Option<&str>) -> Result<(), UnknownSource> {
        self.named(source)?.for_each(|source| source.pause());
        Ok(())
    }

    /// Reads again. `None`: all sources.
    ///
    /// # Errors
    /// As [`Node::pause`].
    pub fn resume(&self, source: Option<&str>) -> Result<(), UnknownSource> {
        self.named(source)?.for_each(|source| source.resume());
        Ok(())
    }

    fn named<'a>(
        &'a self,
        name: Option<&'a str>,
    ) -> Result<impl Iterator<Item = &'a Arc<dyn Source>>, UnknownSource> {
        match name {
            Some(name) if !self.sources.iter().any(|source| source.name() == name) => {
                Err(UnknownSource::new(name, &self.source_names()))
            }
            _ => Ok(self.sources.iter().filter(move |source| name.is_none_or(|name| source.name() == name))),
        }
    }

    /// Tells the node to end: it says no to `/readyz` from now on, reads until its inputs are idle, delivers, and the process
    /// ends with 0. Says when that will be at the latest. A second call changes nothing and says the same.
    pub fn begin_drain(&self, reason: &str) -> SystemTime {
        let Shutdown { whole, flush } = self.shutdown;
        let mut deadline = SystemTime::now() + whole;
        self.drain.send_if_modified(|drain| match drain {
            Some(begun) => {
                deadline = begun.deadline;
                false
            }
            None => {
                tracing::info!(reason, "stopping");
                let now = Instant::now();
                let (sources_until, output_until) = (now + (whole - flush), now + whole);
                *drain = Some(Drain { reason: reason.to_owned(), sources_until, output_until, deadline });
                true
            }
        });
        deadline
    }

    /// Returns once the node has been told to end.
    pub async fn drain_begun(&self) -> Drain {
        let mut drain = self.drain.subscribe();
        let begun = drain.wait_for(Option::is_some).await.map(|begun| begun.clone());
        // The sender is `self`.
        begun.ok().flatten().expect("the channel is open, and only a drain was waited for")
    }

    /// The drain, if the node has been told to end.
    pub fn draining(&self) -> Option<Drain> {
        self.drain.borrow().clone()
    }

    /// Lets the sources read what is still coming, then the output deliver what it holds. Blocks.
    pub fn drain(&self, drain: &Drain) {
        for source in &self.sources {
            source.drain(drain.sources_until);
        }
        self.output.close(drain.output_until);
    }

    /// Which log lines are written whatever the configuration says; `None`: as configured.
    pub fn set_log_level(&self, level: Option<LogLevel>) {
        self.live.set_log_level(level);
    }

    /// Takes over what has changed in the node's own file.
    ///
    /// # Errors
    /// Why not, with line and key; then nothing has changed.
    pub fn reload(&self) -> Result<Change, Refused> {
        self.live.reload(|config| self.apply(config))
    }

    /// Lays a document above all other configuration until the node ends.
    ///
    /// # Errors
    /// As [`Node::reload`].
    pub fn set_own_config(&self, yaml: &str) -> Result<Change, Refused> {
        self.live.set_own(yaml, |config| self.apply(config))
    }

    /// Whether the node could take over a configuration of the cluster; changes nothing.
    ///
    /// # Errors
    /// Why not, with line and key.
    pub fn check_cluster_config(&self, yaml: &str) -> Result<(), String> {
        self.live.check_cluster(yaml).map(drop).map_err(|refused| refused.to_string())
    }

    /// Takes over a configuration of the cluster, above the node's file and below its environment and arguments.
    ///
    /// # Errors
    /// As [`Node::check_cluster_config`]; then nothing has changed.
    pub fn set_cluster_config(&self, revision: u64, yaml: &str) -> Result<(), String> {
        let applied = self.live.set_cluster(revision, yaml, |config| self.apply(config));
        applied
            .map(|_| tracing::info!(revision, "configuration of the cluster taken over"))
            .map_err(|refused| refused.to_string())
    }

    /// The configuration in force.
    pub fn live(&self) -> &LiveConfig {
        &self.live
    }

    /// Gives a changed configuration to all parts.
    fn apply(&self, config: &Config) {
        for source in &self.sources {
            source.set_config(config);
        }
    }

    /// Notes that the session with the cluster has begun or ended.
    pub fn set_session(&self, state: SessionState) {
        let mut session = lock(&self.session);
        if session.state != state {
            *session = Session { state, since: SystemTime::now() };
        }
    }

    /// The session with the cluster.
    pub fn session(&self) -> Session {
        lock(&self.session).clone()
    }

    /// Notes what a part of the node misses that works without it for now (shown as degraded, `part: what`); `None`: nothing.
    pub fn set_complaint(&self, part: &'static str, what: Option<String>) {
        let mut complaints = lock(&self.complaints);
        match what {
            Some(what) => complaints.insert(part, what),
            None => complaints.remove(part),
        };
    }

    /// The node now.
    pub fn status(&self) -> Status {
        let sources: Vec<_> = self.sources.iter().map(|source| source_status(source.as_ref())).collect();
        let output = self.output.health();
        let ledger = self.ledger(&sources);
        let session = self.session();
        let health = Parts {
            stopping: self.drain.borrow().is_some(),
            sources: &sources,
            output: &output,
            session: &session,
            complaints: &self.complaints(),
        }
        .health();
        Status {
            node: self.id.to_string(),
            version: VERSION,
            started_unix_seconds: messages::unix_seconds(self.started),
            health,
            session,
            ledger_balanced: ledger.check().is_ok(),
            ledger,
            output,
            replaced_producers: self.output.replaced_producers(),
            saves: self.saves.counts(),
            sequences: self.sequences.as_ref().map(Sequences::totals).unwrap_or_default(),
            calls: self.calls.counts(),
            tail: self.tails.counts(),
            exporters: self.top(self.live.loaded().config.metrics.top_exporters),
            cluster: self.cluster.counts(),
            sources,
        }
    }

    /// Its health, as it tells others.
    pub fn health_message(&self) -> v1::Health {
        messages::health(&self.status())
    }

    /// All that it has counted, as it tells others.
    pub fn statistics_message(&self) -> v1::Statistics {
        messages::statistics(&self.status())
    }

    /// What each exporter has sent since the node started, those with the most records first, at most `most`.
    pub fn top_exporters(&self, most: usize) -> Vec<v1::ExporterLoad> {
        self.top(most).iter().map(messages::load).collect()
    }

    /// Its listeners with what they received, as it tells others.
    pub fn listener_messages(&self) -> Vec<v1::Listener> {
        let listeners = |source: &Arc<dyn Source>| {
            let inputs = source.statistics().inputs;
            inputs.iter().map(|input| messages::listener(source.name(), input)).collect::<Vec<_>>()
        };
        self.sources.iter().flat_map(listeners).collect()
    }

    fn top(&self, most: usize) -> Vec<ExporterLoad> {
        let mut loads: Vec<_> = self.sources.iter().flat_map(|source| source.exporters()).collect();
        loads.sort_unstable_by(|a, b| b.records.cmp(&a.records).then(b.datagrams.cmp(&a.datagrams)));
        loads.truncate(most);
        loads
    }

    fn complaints(&self) -> Complaints {
        let mut complaints = lock(&self.complaints).clone();
        if let Some(problem) = self.saves.problem() {
            complaints.insert("state.dir", problem);
        }
        complaints
    }

    fn ledger(&self, sources: &[SourceStatus]) -> Ledger {
        let mut decoded = Statistics::default();
        let (mut received, mut kernel_dropped) = (0, 0);
        for source in sources {
            decoded.add(&source.statistics.decoded);
            received += source.statistics.received();
            kernel_dropped += source.statistics.kernel_dropped();
        }
        Ledger::new(received, kernel_dropped, &decoded, self.output.streams())
    }
}

fn source_status(source: &dyn Source) -> SourceStatus {
    SourceStatus { name: source.name(), health: source.health(), statistics: source.statistics() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("id", &self.id).finish_non_exhaustive()
    }
}
