//! What the contracts' messages say, in the words of tables and screens.

use catchment_proto::cluster::v1::{Node, SequenceTotals};
use catchment_proto::json::Address;
use catchment_proto::node::v1::{
    Exporter, Health, HealthStatus, ReasonCount, SequenceAccount, SourceHealth, SourceState, Statistics,
};

/// `ok`, `degraded`, `not ready`.
pub(crate) fn health_status(status: i32) -> &'static str {
    match HealthStatus::try_from(status) {
        Ok(HealthStatus::Ok) => "ok",
        Ok(HealthStatus::Degraded) => "degraded",
        Ok(HealthStatus::NotReady) => "not ready",
        Ok(HealthStatus::Unspecified) | Err(_) => "unknown",
    }
}

/// As [`health_status`]; `away` for a node that no coordinator has a session with.
pub(crate) fn node_health(node: &Node) -> &'static str {
    if node.coordinator.is_empty() && node.health.is_none() {
        return "away";
    }
    health_status(node.health.as_ref().map_or(0, |health| health.status))
}

/// Why a node is not well, the worst first.
pub(crate) fn reasons(health: &Health) -> Vec<String> {
    health.not_ready.iter().chain(&health.degraded).cloned().collect()
}

/// `running`, `paused`, with stuck threads where there are any.
pub(crate) fn source(source: &SourceHealth) -> String {
    let state = match SourceState::try_from(source.state) {
        Ok(SourceState::Starting) => "starting",
        Ok(SourceState::Running) => "running",
        Ok(SourceState::Paused) => "paused",
        Ok(SourceState::Draining) => "draining",
        Ok(SourceState::Ended) => "ended",
        Ok(SourceState::Unspecified) | Err(_) => "unknown",
    };
    match source.stuck_threads {
        0 => format!("{} {state}", source.name),
        stuck => format!("{} {state}, {stuck} threads stuck", source.name),
    }
}

/// What people want of a node, and what stands in the way: `paused flow`, `drain`, `log debug`, `refuses config 7`.
pub(crate) fn wishes(node: &Node) -> String {
    let mut wishes = Vec::new();
    if let Some(desired) = &node.desired {
        if !desired.paused_sources.is_empty() {
            wishes.push(format!("paused {}", desired.paused_sources.join("+")));
        }
        if desired.drain {
            wishes.push("drain".to_owned());
        }
        if !desired.log_level.is_empty() {
            wishes.push(format!("log {}", desired.log_level));
        }
        if desired.revision > node.desired_revision && !node.coordinator.is_empty() {
            wishes.push("not taken over yet".to_owned());
        }
    }
    if !node.config_error.is_empty() {
        wishes.push(format!("refuses the configuration: {}", node.config_error));
    }
    wishes.join(", ")
}

/// When a node's process started, seconds since 1970; 0 where it is not known.
pub(crate) fn started(node: &Node) -> f64 {
    let said = node.statistics.as_ref().map_or(0.0, |statistics| statistics.started_seconds);
    if said > 0.0 { said } else { node.incarnation as f64 / 1000.0 }
}

/// Datagrams that came and could not be read or used, and records that were given up.
pub(crate) fn lost(statistics: &Statistics) -> (u64, u64) {
    let Some(ledger) = &statistics.ledger else { return (0, 0) };
    let datagrams = ledger
        .datagrams
        .as_ref()
        .map_or(0, |datagrams| datagrams.kernel_dropped.saturating_add(total(&datagrams.rejected)));
    let records = ledger.streams.iter().map(|stream| total(&stream.dropped)).fold(0, u64::saturating_add);
    (datagrams, records)
}

/// Sum of counts.
pub(crate) fn total(counts: &[ReasonCount]) -> u64 {
    counts.iter().map(|count| count.count).fold(0, u64::saturating_add)
}

/// An address of 4 or 16 octets, with its zone where it has one: `192.0.2.1`, `192.0.2.1 in customer-a`.
pub(crate) fn exporter(address: &[u8], zone: &str) -> String {
    match zone {
        "" => Address(address).to_string(),
        zone => format!("{} in {zone}", Address(address)),
    }
}

/// What was lost of the numbers of some sequence spaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    pub(crate) received: u64,
    pub(crate) upstream: u64,
    pub(crate) here: u64,
    pub(crate) unknown: u64,
}

impl Losses {
    /// Of one exporter: datagrams where they are counted, else flows or records. The samples of sFlow are inside of its
    /// datagrams and are not counted twice.
    pub(crate) fn of(exporter: &Exporter) -> Self {
        let mut losses = Self::default();
        exporter
            .sequences
            .iter()
            .filter(|account| account.unit != "samples")
            .for_each(|account| losses.add(account));
        losses
    }

    /// Of all exporters, as the leader adds them up.
    pub(crate) fn of_totals(totals: &SequenceTotals) -> Self {
        Self {
            received: totals.received,
            upstream: totals.lost_upstream,
            here: totals.lost_here,
            unknown: totals.lost_unknown,
        }
    }

    fn add(&mut self, account: &SequenceAccount) {
        self.received = self.received.saturating_add(account.received);
        self.upstream = self.upstream.saturating_add(account.lost_upstream);
        self.here = self.here.saturating_add(account.lost_here);
        self.unknown = self.unknown.saturating_add(account.lost_unknown);
    }
}

/// `NetFlow v9`, `IPFIX`.
pub(crate) fn protocol(version: u32) -> String {
    match version {
        5 => "NetFlow v5".to_owned(),
        9 => "NetFlow v9".to_owned(),
        10 => "IPFIX".to_owned(),
        6343 => "sFlow v5".to_owned(),
        other => format!("version {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_node_without_a_session_is_away() {
        let [well, away] = [0, 2].map(|at| sample::nodes().swap_remove(at));
        assert_eq!((node_health(&well), node_health(&away)), ("ok", "away"));
    }

    #[test]
    fn wishes_that_are_not_taken_over_say_so() {
        let node = sample::nodes().swap_remove(1);
        assert_eq!(wishes(&node), "paused flow, log debug, not taken over yet");
        assert_eq!(wishes(&sample::nodes()[0]), "");
    }

    #[test]
    fn samples_are_not_counted_twice() {
        let account = |unit: &str| SequenceAccount {
            unit: unit.to_owned(),
            received: 10,
            lost_upstream: 1,
            lost_here: 2,
            lost_unknown: 3,
            ..SequenceAccount::default()
        };
        let sequences = vec![account("datagrams"), account("samples")];
        let losses = Losses::of(&Exporter { sequences, ..Exporter::default() });
        assert_eq!(losses, Losses { received: 10, upstream: 1, here: 2, unknown: 3 });
    }
}
