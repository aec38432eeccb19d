//! The seam between the node and a kind of telemetry.
//!
//! A source owns its inputs and threads; it hands finished batches to the output by itself. The node starts and drains it,
//! changes its settings, and draws metrics, health and the ledger from what it says about itself. Flow is the first.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use catchment_sequence::{Space, SpaceReport};
use flow_decoder::Statistics;
use serde::Serialize;

use crate::config::Config;

/// One kind of telemetry.
pub trait Source: Send + Sync {
    /// Its name under `sources` in the configuration, and the metric label.
    fn name(&self) -> &'static str;

    /// Starts its threads. Inputs are open before: a source that cannot open them is never made.
    ///
    /// # Errors
    /// Where the system refuses a thread.
    fn start(&self) -> std::io::Result<()>;

    /// Stops reading, keeps the inputs. What they then lose is counted.
    fn pause(&self);

    /// Reads again.
    fn resume(&self);

    /// Takes over changed settings without a restart. Only keys of [`LIVE`](crate::live::keys::LIVE) differ from those it was
    /// made with.
    fn set_config(&self, config: &Config);

    /// What it has counted.
    fn statistics(&self) -> SourceStatistics;

    /// What each exporter has sent, as far as it is counted. In no order.
    fn exporters(&self) -> Vec<ExporterLoad>;

    /// Which sequence numbers came since the last time.
    fn take_numbers(&self) -> Vec<Numbered>;

    /// Whether it works.
    fn health(&self) -> SourceHealth;

    /// Reads until its inputs are idle or the deadline comes, hands over what is open, and ends. Returns when it has.
    fn drain(&self, deadline: Instant);
}

/// What one thread of a source received of one sequence space since its last report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// The space.
    pub space: Space,
    /// The thread: reports of one thread are in order.
    pub worker: u32,
    /// The numbers.
    pub report: SpaceReport,
}

/// A name that no source has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no source is named `{name}`{}; there is: {}", suggestion(.nearest), .known.join(", "))]
pub struct UnknownSource {
    /// What was asked for.
    pub name: String,
    /// What may have been meant.
    pub nearest: Option<&'static str>,
    /// All there are.
    pub known: Vec<&'static str>,
}

impl UnknownSource {
    /// Edits that a slip may have.
    const SLIP: usize = 3;

    /// `name` is none of `known`.
    pub fn new(name: &str, known: &[&'static str]) -> Self {
        let distance = |other: &str| strsim::damerau_levenshtein(&name.to_lowercase(), other);
        let nearest = known.iter().copied().min_by_key(|other| distance(other));
        let nearest = nearest.filter(|other| distance(other) <= Self::SLIP.min(other.len() - 1));
        Self { name: name.to_owned(), nearest, known: known.to_vec() }
    }
}

fn suggestion(nearest: &Option<&str>) -> String {
    nearest.map(|name| format!(", did you mean `{name}`?")).unwrap_or_default()
}

/// What one exporter sent to a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExporterLoad {
    /// Zone of the listener.
    pub zone: Arc<str>,
    /// Its address.
    pub exporter: IpAddr,
    /// Datagrams.
    pub datagrams: u64,
    /// Their payload octets.
    pub bytes: u64,
    /// Records decoded from them.
    pub records: u64,
    /// When the last of them was received, nanoseconds since 1970.
    pub last_seen_ns: u64,
}

/// What a source has counted since it was made.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SourceStatistics {
    /// Each input.
    pub inputs: Vec<InputStatistics>,
    /// What its decoders counted. Their `datagrams` and the inputs' `datagrams` are counted apart; both are in the ledger.
    #[serde(skip)]
    pub decoded: Statistics,
    /// Memory that data sets take which wait for their template, octets.
    pub pending_bytes: usize,
    /// Exporters of which it knows or counts something.
    pub exporters: usize,
    /// Templates that are known.
    pub templates: usize,
    /// Scopes (exporter, version, domain) that are known.
    pub template_scopes: usize,
    /// Scopes that had to make room.
    pub template_scopes_evicted: u64,
    /// Names of options data that had to make room.
    pub names_evicted: u64,
    /// Panics of its threads.
    pub panics: u64,
}

/// What one input (a listener) has counted, all its sockets together.
#[derive(Clone, Debug, Default, Serialize)]
pub struct InputStatistics {
    /// Its address.
    pub address: String,
    /// Its zone; empty for the default.
    pub zone: String,
    /// Datagrams read.
    pub datagrams: u64,
    /// Their payload octets.
    pub bytes: u64,
    /// System calls that read them.
    pub reads: u64,
    /// Of these, messages that the kernel had put together from several datagrams.
    pub trains: u64,
    /// Dropped by the kernel for want of buffer.
    pub kernel_dropped: u64,
    /// How full the fullest of its buffers is, 0 to 1.
    pub buffer_usage: f64,
    /// Receive buffer of one socket, octets.
    pub receive_buffer: usize,
    /// Its sockets.
    pub sockets: usize,
    /// Exporters that may send to it, as prefixes; empty: all.
    pub allow: Vec<String>,
}

impl SourceStatistics {
    /// Datagrams read, all inputs together.
    pub fn received(&self) -> u64 {
        self.inputs.iter().map(|input| input.datagrams).sum()
    }

    /// How full the fullest buffer of all inputs is, 0 to 1.
    pub fn buffer_usage(&self) -> f64 {
        self.inputs.iter().map(|input| input.buffer_usage).fold(0.0, f64::max)
    }

    /// Datagrams dropped by the kernel, all inputs together.
    pub fn kernel_dropped(&self) -> u64 {
        self.inputs.iter().map(|input| input.kernel_dropped).sum()
    }
}

/// What a source is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// Inputs are open, nothing reads them yet.
    Starting,
    /// It reads.
    Running,
    /// It does not read, on request.
    Paused,
    /// It reads what is still coming, and will end.
    Draining,
    /// It has ended.
    Ended,
}

/// Whether a source works.
#[derive(Clone, Debug, Serialize)]
pub struct SourceHealth {
    /// What it is doing.
    pub state: SourceState,
    /// Threads that have not been heard of for longer than they ever take.
    pub stuck_threads: usize,
}

impl SourceHealth {
    /// Whether it takes datagrams.
    pub fn is_ready(&self) -> bool {
        self.state == SourceState::Running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_source_names_the_nearest() {
        let said = |name| UnknownSource::new(name, &["flow", "syslog"]).to_string();
        assert_eq!(said("flwo"), "no source is named `flwo`, did you mean `flow`?; there is: flow, syslog");
        assert_eq!(
            said("Syslogs"),
            "no source is named `Syslogs`, did you mean `syslog`?; there is: flow, syslog"
        );
        assert_eq!(said("quux-trap"), "no source is named `quux-trap`; there is: flow, syslog");
    }
}
