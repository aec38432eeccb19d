//! The node at one moment: what `/metrics`, `/metrics.json`, `/health` and the exit report are drawn from.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;

use crate::ledger::Ledger;
use crate::output::OutputHealth;
use crate::source::{SourceHealth, SourceStatistics};

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

/// How well the node is, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// All of it works.
    #[default]
    Ok,
    /// It takes datagrams and delivers records; something it needs in the long run is missing.
    Degraded,
    /// It does not take datagrams, or cannot deliver records.
    NotReady,
}

/// How well the node is. Everything that asks (probes, `/health`, gRPC, metrics, coordinators) is answered from this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Why it should not get datagrams, each `part: reason`; ready where there is none.
    pub not_ready: Vec<String>,
    /// What is missing although it works, each `part: reason`.
    pub degraded: Vec<String>,
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

impl Health {
    /// Draws health from the parts.
    pub fn of(parts: &Parts<'_>) -> Self {
        let Parts { stopping, sources, output, session, complaints } = *parts;
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
        Self { not_ready, degraded }
    }

    /// Whether a load balancer should send datagrams here. A node that is only degraded should get them.
    pub fn is_ready(&self) -> bool {
        self.not_ready.is_empty()
    }

    /// In one word.
    pub fn status(&self) -> HealthStatus {
        match (self.is_ready(), self.degraded.is_empty()) {
            (false, _) => HealthStatus::NotReady,
            (true, false) => HealthStatus::Degraded,
            (true, true) => HealthStatus::Ok,
        }
    }
}

/// One line a reason; the first is `ready` where nothing stands against it.
impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_ready() {
            f.write_str("ready\n")?;
        }
        self.not_ready.iter().try_for_each(|reason| writeln!(f, "not ready: {reason}"))?;
        self.degraded.iter().try_for_each(|reason| writeln!(f, "degraded: {reason}"))
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

/// What is alive but does not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// All threads move.
    Alive,
    /// Some worker threads do not.
    Stuck(usize),
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
        Health::of(&Parts { stopping, sources, output, session, complaints })
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
