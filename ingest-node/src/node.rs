//! The node's parts, put together: the output, the sources, and what is known of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use flow_decoder::Statistics;

use crate::cli::VERSION;
use crate::config::Config;
use crate::flow::FlowSource;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::output::{Origin, Output};
use crate::source::{RestartNeeded, Source};
use crate::status::{Readiness, SourceStatus, Status};

/// A node that runs.
pub struct Node {
    id: Arc<str>,
    started: SystemTime,
    stopping: AtomicBool,
    metrics: Metrics,
    output: Output,
    sources: Vec<Box<dyn Source>>,
}

impl Node {
    /// Opens the output and the listeners. Nothing is read before [`Node::start`].
    ///
    /// # Errors
    /// Where the output cannot be opened or a port cannot be had.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        let started = SystemTime::now();
        let id: Arc<str> = config.node.id.as_str().into();
        let incarnation = started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let output = Output::open(config, Origin { node: id.clone(), incarnation })?;
        let metrics = Metrics::new();
        let flow = FlowSource::open(config, &output, &metrics.batch_times("flow"))?;
        for listener in flow.listeners() {
            tracing::info!(address = %listener.address, receive_buffer = listener.receive_buffer, "listening");
        }
        let sources: Vec<Box<dyn Source>> = vec![Box::new(flow)];
        Ok(Self { id, started, stopping: AtomicBool::new(false), metrics, output, sources })
    }

    /// Starts all sources.
    ///
    /// # Errors
    /// Where the system refuses a thread.
    pub fn start(&self) -> std::io::Result<()> {
        self.sources.iter().try_for_each(|source| source.start())
    }

    /// The output.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Gives changed settings to all sources.
    ///
    /// # Errors
    /// The keys that need a restart.
    pub fn set_config(&self, config: &Config) -> Result<(), RestartNeeded> {
        self.sources.iter().try_for_each(|source| source.set_config(config))
    }

    /// Says no to `/readyz` from now on.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Lets the sources read what is still coming, then the output deliver what it holds. Blocks.
    pub fn drain(&self, sources_until: Instant, output_until: Instant) {
        for source in &self.sources {
            source.drain(sources_until);
        }
        self.output.close(output_until);
    }

    /// The node now.
    pub fn status(&self) -> Status {
        let sources: Vec<_> = self.sources.iter().map(|source| source_status(source.as_ref())).collect();
        let output = self.output.health();
        let ledger = self.ledger(&sources);
        Status {
            node: self.id.to_string(),
            version: VERSION,
            started_unix_seconds: self
                .started
                .duration_since(UNIX_EPOCH)
                .map_or(0.0, |since| since.as_secs_f64()),
            readiness: Readiness::of(self.stopping.load(Ordering::Acquire), &sources, &output),
            ledger_balanced: ledger.check().is_ok(),
            ledger,
            output,
            replaced_producers: self.output.replaced_producers(),
            sources,
        }
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

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("id", &self.id).finish_non_exhaustive()
    }
}
