//! The node at one moment: what `/metrics`, `/metrics.json`, `/health` and the exit report are drawn from.

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
    /// Whether it takes datagrams and can deliver; if not, why.
    pub readiness: Readiness,
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

/// Why a node is not ready; ready where there is no reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Readiness {
    reasons: Vec<String>,
}

impl Readiness {
    /// Draws readiness from the parts.
    pub fn of(stopping: bool, sources: &[SourceStatus], output: &OutputHealth) -> Self {
        let mut reasons = Vec::new();
        if stopping {
            reasons.push("node: stopping".to_owned());
        }
        for source in sources.iter().filter(|source| !source.health.is_ready()) {
            reasons.push(format!("source {}: {:?}", source.name, source.health.state).to_lowercase());
        }
        if !output.is_ready() {
            let separator = if output.reason.is_empty() { "" } else { ": " };
            reasons.push(format!("output: {}{separator}{}", output.state, output.reason));
        }
        Self { reasons }
    }

    /// Whether a load balancer should send datagrams here.
    pub fn is_ready(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// One line a reason; `ready` where there is none.
impl std::fmt::Display for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_ready() {
            return f.write_str("ready\n");
        }
        self.reasons.iter().try_for_each(|reason| writeln!(f, "not ready: {reason}"))
    }
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
            readiness: Readiness::default(),
            ledger: Ledger::new(7, 0, &statistics.decoded, Default::default()),
            ledger_balanced: false,
            output: OutputHealth {
                state: OutputState::Up,
                reason: String::new(),
                since: std::time::SystemTime::UNIX_EPOCH,
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

    #[test]
    fn readiness_says_every_reason() {
        let mut status = Status::example();
        status.sources[0].health.state = SourceState::Paused;
        status.output.state = OutputState::Failing;
        status.output.reason = "no broker".to_owned();
        let readiness = Readiness::of(true, &status.sources, &status.output);
        assert_eq!(
            readiness.to_string(),
            "not ready: node: stopping\nnot ready: source flow: paused\nnot ready: output: failing: no broker\n"
        );
        assert!(Readiness::of(false, &Status::example().sources, &Status::example().output).is_ready());
    }

    #[test]
    fn stuck_threads_end_liveness() {
        let mut status = Status::example();
        assert_eq!(status.liveness(), Liveness::Alive);
        status.sources[0].health.stuck_threads = 2;
        assert_eq!(status.liveness(), Liveness::Stuck(2));
    }
}
