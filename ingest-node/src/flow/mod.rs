//! The flow source: NetFlow, IPFIX and sFlow over UDP.
//!
//! ```text
//! listeners (one port each) --socket i--> worker i: receive -> decode -> batch sink -> output
//!                                          \--a few times a second--> its Report, read by statistics()
//! ```
//!
//! One thread and, per listener, one socket a worker. What exporters announce is in one store that all workers share.

mod known;
mod listeners;
mod loads;
mod numbers;
mod overrides;
mod report;
mod worker;

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use flow_decoder::{Decoder, DecoderOptions, ExporterName, ExporterStore, PendingLimits, Statistics};
use udp_receiver::BindError;

pub use self::known::{Known, Zones};
use self::listeners::{AllowLists, Listener, Listeners};
use self::loads::LoadCell;
use self::numbers::Numbers;
pub use self::overrides::{names, overrides};
use self::report::ReportCell;
use self::worker::Worker;
use crate::config::{self, Config};
use crate::metrics::Times;
use crate::output::Output;
use crate::source::{
    ExporterLoad, InputStatistics, Numbered, Source, SourceHealth, SourceState, SourceStatistics,
};
use crate::tail::Tails;

/// A worker reports several times a second; one that has not for this long hangs.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// NetFlow, IPFIX and sFlow over UDP.
pub struct FlowSource {
    listeners: Listeners,
    known: Known,
    control: Arc<Control>,
    reports: Vec<Arc<ReportCell>>,
    loads: Vec<Arc<LoadCell>>,
    numbers: Arc<Numbers>,
    workers: Mutex<Workers>,
}

enum Workers {
    Ready(Vec<Worker>),
    Running(Vec<JoinHandle<()>>),
    Ended,
}

/// What the node asks of the workers.
pub(crate) struct Control {
    state: AtomicU8,
    drain_until: Mutex<Option<Instant>>,
    pub(crate) settings: ArcSwap<WorkerSettings>,
}

/// Settings that can change while the workers run: each looks at them once a read.
#[derive(Debug)]
pub(crate) struct WorkerSettings {
    pub(crate) allow: AllowLists,
    exporter: config::Exporter,
    pub(crate) decoder: Arc<DecoderOptions>,
}

impl WorkerSettings {
    fn of(config: &Config, zones: &Zones) -> Self {
        let decoder = Arc::new(decoder_options(config, zones));
        Self { allow: AllowLists::of(config), exporter: config.exporter.clone(), decoder }
    }

    /// The settings by another configuration. Decoders are left alone where it says the same of exporters: they would have
    /// to compile their plans anew.
    fn changed(&self, config: &Config, zones: &Zones) -> Self {
        if self.exporter != config.exporter {
            return Self::of(config, zones);
        }
        let (exporter, decoder) = (self.exporter.clone(), self.decoder.clone());
        Self { allow: AllowLists::of(config), exporter, decoder }
    }
}

/// What a worker is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Read,
    Pause,
    Drain { until: Instant },
}

impl Control {
    const READ: u8 = 0;
    const PAUSE: u8 = 1;
    const DRAIN: u8 = 2;

    fn new(settings: WorkerSettings) -> Self {
        let state = AtomicU8::new(Self::READ);
        Self { state, drain_until: Mutex::new(None), settings: ArcSwap::from_pointee(settings) }
    }

    pub(crate) fn order(&self) -> Order {
        match self.state.load(Ordering::Acquire) {
            Self::READ => Order::Read,
            Self::PAUSE => Order::Pause,
            _ => {
                let until = *self.drain_until.lock().unwrap_or_else(PoisonError::into_inner);
                Order::Drain { until: until.unwrap_or_else(Instant::now) }
            }
        }
    }

    /// Pauses or resumes; a drain is final.
    fn switch(&self, from: u8, to: u8) {
        let _ = self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
    }

    fn drain(&self, until: Instant) {
        *self.drain_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
        self.state.store(Self::DRAIN, Ordering::Release);
    }
}

impl FlowSource {
    /// Opens the listeners and makes the workers; nothing is read before [`Source::start`].
    ///
    /// # Errors
    /// Where a port cannot be had; the error says who has it.
    pub fn open(
        config: &Config,
        known: &Known,
        output: &Output,
        tails: &Arc<Tails>,
        times: &Times,
    ) -> Result<Self, BindError> {
        let workers = config.node.workers.get();
        let (listeners, sockets) = Listeners::open(config, &known.zones, workers)?;
        let settings = WorkerSettings::of(config, &known.zones);
        let options = settings.decoder.clone();
        let control = Arc::new(Control::new(settings));
        let mut reports = Vec::new();
        let mut loads = Vec::new();
        let numbers = Arc::new(Numbers::default());
        let mut ready = Vec::new();
        for (index, sockets) in sockets.into_iter().enumerate() {
            let report = Arc::new(ReportCell::default());
            let load = Arc::new(LoadCell::default());
            ready.push(Worker::new(worker::Parts {
                index,
                sockets,
                zones: listeners.zones().collect(),
                decoder: Decoder::new(known.store.clone(), (*options).clone()),
                options: options.clone(),
                sink: output.sink(index as u32),
                tails: tails.clone(),
                control: control.clone(),
                report: report.clone(),
                load: load.clone(),
                numbers: numbers.clone(),
                times: times.clone(),
            }));
            reports.push(report);
            loads.push(load);
        }
        let workers = Mutex::new(Workers::Ready(ready));
        Ok(Self { listeners, known: known.clone(), control, reports, loads, numbers, workers })
    }

    /// What it knows of exporters.
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// What exporters have announced.
    pub fn store(&self) -> &Arc<ExporterStore> {
        &self.known.store
    }

    /// Labels of the zones that `ZoneId` counts in the store.
    pub fn zones(&self) -> Vec<Arc<str>> {
        self.known.zones.labels().to_vec()
    }

    /// The addresses it listens on, with the real ports.
    pub fn listeners(&self) -> &[Listener] {
        self.listeners.as_slice()
    }

    fn workers(&self) -> std::sync::MutexGuard<'_, Workers> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bounds of data that waits for its template.
pub(crate) fn pending_limits(pending: &config::Pending) -> PendingLimits {
    PendingLimits {
        bytes: pending.bytes.as_usize(),
        per_exporter_bytes: pending.per_exporter_bytes.as_usize(),
        age_ns: Some(u64::try_from(pending.age.as_nanos()).unwrap_or(u64::MAX)),
    }
}

fn decoder_options(config: &Config, zones: &Zones) -> DecoderOptions {
    let node = if config.node.stamp_records { config.node.id.as_str() } else { "" };
    DecoderOptions {
        zones: zones.labels().to_vec(),
        collector_node: node.into(),
        exporter_name: match config.exporter.name {
            config::ExporterName::Address => ExporterName::Address,
            config::ExporterName::Agent => ExporterName::Agent,
        },
        overrides: Arc::new(overrides(&config.exporter, zones)),
        names: names(&config.exporter),
    }
}

impl Source for FlowSource {
    fn name(&self) -> &'static str {
        "flow"
    }

    fn start(&self) -> io::Result<()> {
        let mut workers = self.workers();
        let Workers::Ready(ready) = std::mem::replace(&mut *workers, Workers::Ended) else {
            return Ok(());
        };
        let threads: io::Result<Vec<_>> = ready.into_iter().map(Worker::spawn).collect();
        *workers = Workers::Running(threads?);
        Ok(())
    }

    fn pause(&self) {
        self.control.switch(Control::READ, Control::PAUSE);
    }

    fn resume(&self) {
        self.control.switch(Control::PAUSE, Control::READ);
    }

    fn set_config(&self, config: &Config) {
        let before = self.control.settings.load();
        self.control.settings.store(Arc::new(before.changed(config, &self.known.zones)));
        self.known.set_allowed(&config.sources.flow);
        self.known.store.set_pending_limits(pending_limits(&config.pending));
    }

    fn statistics(&self) -> SourceStatistics {
        let settings = self.control.settings.load();
        let mut inputs: Vec<_> = self.listeners().iter().map(Listener::statistics).collect();
        for (index, input) in inputs.iter_mut().enumerate() {
            input.sockets = self.reports.len();
            input.allow = settings.allow.list(index).iter().map(ToString::to_string).collect();
        }
        let mut decoded = Statistics::default();
        let mut panics = 0;
        for report in self.reports.iter().map(|cell| cell.get()) {
            decoded.add(&report.decoded);
            panics += report.panics;
            for (input, socket) in inputs.iter_mut().zip(&report.sockets) {
                add(input, socket);
            }
        }
        // After the workers' reports: what they have held since is then pending, and the sums hold.
        let pending = self.known.store.pending_counts();
        decoded.settle_pending(&pending);
        SourceStatistics {
            inputs,
            pending_bytes: pending.bytes,
            decoded,
            panics,
            exporters: self.exporters().len(),
            templates: self.known.store.templates(),
            template_scopes: self.known.store.scopes(),
            template_scopes_evicted: self.known.store.scopes_evicted(),
            names_evicted: self.known.store.names_evicted(),
        }
    }

    fn take_numbers(&self) -> Vec<Numbered> {
        self.numbers.take(self.known.zones.labels())
    }

    fn exporters(&self) -> Vec<ExporterLoad> {
        loads::sum(&self.loads, self.known.zones.labels())
    }

    fn health(&self) -> SourceHealth {
        let state = match (&*self.workers(), self.control.order()) {
            (Workers::Ready(_), _) => SourceState::Starting,
            (Workers::Ended, _) => SourceState::Ended,
            (Workers::Running(_), Order::Read) => SourceState::Running,
            (Workers::Running(_), Order::Pause) => SourceState::Paused,
            (Workers::Running(_), Order::Drain { .. }) => SourceState::Draining,
        };
        let is_stuck = |cell: &&Arc<ReportCell>| cell.age().is_some_and(|age| age > STUCK_AFTER);
        let stuck_threads = match state {
            SourceState::Starting | SourceState::Ended => 0,
            _ => self.reports.iter().filter(is_stuck).count(),
        };
        SourceHealth { state, stuck_threads }
    }

    fn drain(&self, deadline: Instant) {
        self.control.drain(deadline);
        let threads = match &mut *self.workers() {
            Workers::Running(threads) => std::mem::take(threads),
            Workers::Ready(_) | Workers::Ended => Vec::new(),
        };
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("worker thread ended by a panic");
            }
        }
        // Not before the threads have ended: health says until then that it drains, and finds those that are stuck.
        *self.workers() = Workers::Ended;
    }
}

fn add(input: &mut InputStatistics, socket: &report::SocketReport) {
    input.datagrams += socket.read.datagrams;
    input.bytes += socket.read.bytes;
    input.reads += socket.read.reads;
    input.trains += socket.read.trains;
    input.kernel_dropped += socket.kernel_dropped;
    input.buffer_usage = input.buffer_usage.max(socket.buffer_usage);
}

impl std::fmt::Debug for FlowSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlowSource").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}
