//! The node at one moment: what `/metrics`, `/metrics.json`, `/health` and the exit report are drawn from.

use catchment_sequence::Totals;
use std::collections::BTreeMap;
use std::time::SystemTime;

pub use catchment_serving::http::{Health, HealthStatus, Liveness};
use serde::Serialize;

use crate::cluster::Counts;
use crate::control::CallCounts;
use crate::ledger::Ledger;
use crate::output::OutputHealth;
use crate::source::{ExporterLoad, SourceHealth, SourceStatistics};
use crate::state::SaveCounts;
use crate::tail::TailCounts;

/// A snapshot of the node.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// `node.id`.
    pub node: String,
    /// Version and commit.
    pub version: &'static str,
    /// When the process started, seconds since 1970.
    pub started_unix_seconds: f64,
    /// How well it is, and why not better.
    pub health: Health,
    /// Its session with the cluster.
    #[serde(skip)]
    pub session: Session,
    /// All accounts.
    pub ledger: Ledger,
    /// Whether the ledger's sums hold.
    pub ledger_balanced: bool,
    /// The output.
    pub output: OutputHealth,
    /// Kafka producers made anew after a fatal error.
    pub replaced_producers: u64,
    /// What became of saves to `state.dir`.
    pub saves: SaveCounts,
    /// Sequence numbers of exporters, where the node works alone.
    #[serde(skip)]
    pub sequences: Totals,
    /// Calls of its gRPC service.
    pub calls: Vec<CallCounts>,
    /// Records for people who look on.
    pub tail: TailCounts,
    /// The exporters with the most records.
    #[serde(skip)]
    pub exporters: Vec<ExporterLoad>,
    /// What its side of the cluster has counted.
    pub cluster: Counts,
    /// Each source.
    pub sources: Vec<SourceStatus>,
}

/// One source at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct SourceStatus {
    /// Its name.
    pub name: &'static str,
    /// Whether it works.
    pub health: SourceHealth,
    /// What it has counted.
    pub statistics: SourceStatistics,
}

/// What health is drawn from.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// Whether it drains.
    pub stopping: bool,
    /// Each source.
    pub sources: &'a [SourceStatus],
    /// The output.
    pub output: &'a OutputHealth,
    /// Its session with the cluster.
    pub session: &'a Session,
    /// What other parts have said about themselves, by their name.
    pub complaints: &'a Complaints,
}

/// What parts of the node miss that work without it for now, by the part's name.
pub type Complaints = BTreeMap<&'static str, String>;

impl Parts<'_> {
    /// Health as the parts have it.
    pub fn health(&self) -> Health {
        let Parts { stopping, sources, output, session, complaints } = *self;
        let mut not_ready = Vec::new();
        if stopping {
            not_ready.push("node: stopping".to_owned());
        }
        for source in sources.iter().filter(|source| !source.health.is_ready()) {
            not_ready.push(format!("source {}: {:?}", source.name, source.health.state).to_lowercase());
        }
        if !output.is_ready() {
            let separator = if output.reason.is_empty() { "" } else { ": " };
            not_ready.push(format!("output: {}{separator}{}", output.state, output.reason));
        }
        let mut degraded = Vec::new();
        if let SessionState::Without { reason } = &session.state {
            degraded.push(format!("coordinator: {reason}"));
        }
        degraded.extend(complaints.iter().map(|(part, what)| format!("{part}: {what}")));
        Health { not_ready, degraded }
    }
}

/// The node's session with the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Whether there is one.
    pub state: SessionState,
    /// Since when it is so.
    pub since: SystemTime,
}

/// Whether a node has a session with a coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// It is to have none (`coordinator.endpoints` is empty).
    Alone,
    /// It has one.
    With {
        /// The coordinator, for people.
        coordinator: String,
    },
    /// It should have one.
    Without {
        /// Why it has none.
        reason: String,
    },
}

impl Status {
    /// Whether a restart would help.
    pub fn liveness(&self) -> Liveness {
        match self.sources.iter().map(|source| source.health.stuck_threads).sum() {
            0 => Liveness::Alive,
            stuck => Liveness::Stuck(stuck),
        }
    }
}

#[cfg(test)]
impl Status {
    /// A node with one listener that has received seven datagrams.
    pub(crate) fn example() -> Self {
        use crate::output::OutputState;
        use crate::source::{InputStatistics, SourceState};

        let input =
            InputStatistics { address: "[::]:2055".to_owned(), datagrams: 7, ..InputStatistics::default() };
        let statistics = SourceStatistics { inputs: vec![input], ..SourceStatistics::default() };
        let health = SourceHealth { state: SourceState::Running, stuck_threads: 0 };
        Self {
            node: "node-1".to_owned(),
            version: "0.1.0",
            started_unix_seconds: 1.0,
            health: Health::default(),
            session: Session { state: SessionState::Alone, since: SystemTime::UNIX_EPOCH },
            ledger: Ledger::new(7, 0, &statistics.decoded, Default::default()),
            ledger_balanced: false,
            output: OutputHealth {
                state: OutputState::Up,
                reason: String::new(),
                since: SystemTime::UNIX_EPOCH,
            },
            replaced_producers: 0,
            saves: SaveCounts::default(),
            sequences: Totals::default(),
            calls: crate::control::Calls::default().counts(),
            tail: TailCounts::default(),
            exporters: vec![ExporterLoad {
                zone: "".into(),
                exporter: [192, 0, 2, 1].into(),
                datagrams: 7,
                bytes: 700,
                records: 14,
                last_seen_ns: 1,
            }],
            cluster: Counts::default(),
            sources: vec![SourceStatus { name: "flow", health, statistics }],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::OutputState;
    use crate::source::SourceState;

    fn health(status: &Status, stopping: bool, complaints: &Complaints) -> Health {
        let Status { sources, output, session, .. } = status;
        Parts { stopping, sources, output, session, complaints }.health()
    }

    #[test]
    fn health_says_every_reason() {
        let mut status = Status::example();
        let fine = health(&status, false, &Complaints::new());
        assert_eq!((fine.status(), fine.to_string()), (HealthStatus::Ok, "ready\n".to_owned()));
        status.sources[0].health.state = SourceState::Paused;
        status.output.state = OutputState::Failing;
        status.output.reason = "no broker".to_owned();
        let health = health(&status, true, &Complaints::new());
        assert_eq!(
            health.to_string(),
            "not ready: node: stopping\nnot ready: source flow: paused\nnot ready: output: failing: no broker\n"
        );
        assert_eq!(health.status(), HealthStatus::NotReady);
    }

    #[test]
    fn a_node_that_is_only_degraded_is_ready() {
        let mut status = Status::example();
        status.session.state = SessionState::Without { reason: "connection refused".to_owned() };
        let complaints = Complaints::from([("state.dir", "disk full".to_owned())]);
        let mut degraded = health(&status, false, &complaints);
        assert!(degraded.is_ready());
        assert_eq!(degraded.status(), HealthStatus::Degraded);
        assert_eq!(
            degraded.to_string(),
            "ready\ndegraded: coordinator: connection refused\ndegraded: state.dir: disk full\n"
        );
        degraded.not_ready.push("node: stopping".to_owned());
        assert_eq!(degraded.status(), HealthStatus::NotReady, "the worse word counts");
    }

    #[test]
    fn stuck_threads_end_liveness() {
        let mut status = Status::example();
        assert_eq!(status.liveness(), Liveness::Alive);
        status.sources[0].health.stuck_threads = 2;
        assert_eq!(status.liveness(), Liveness::Stuck(2));
    }
}
