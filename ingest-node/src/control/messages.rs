//! The node's state as the messages of `catchment.node.v1`.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use catchment_proto::cluster::v1 as cluster;
use catchment_proto::node::v1;
use flow_decoder::Stream;
use flow_decoder::statistics::{ReasonCounts, SetCounts};
use flow_decoder::template::FieldSpecifier;

use crate::ledger::{DatagramLedger, Ledger, StreamLedger};
use crate::process;
use crate::source::{ExporterLoad, InputStatistics, SourceState};
use crate::status::{HealthStatus, SessionState, SourceStatus, Status};

/// Seconds since 1970.
pub fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// 4 or 16 octets.
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Health, with reasons.
pub fn health(status: &Status) -> v1::Health {
    let coordinator = match &status.session.state {
        SessionState::With { coordinator } => coordinator.clone(),
        SessionState::Alone | SessionState::Without { .. } => String::new(),
    };
    v1::Health {
        status: match status.health.status() {
            HealthStatus::Ok => v1::HealthStatus::Ok,
            HealthStatus::Degraded => v1::HealthStatus::Degraded,
            HealthStatus::NotReady => v1::HealthStatus::NotReady,
        }
        .into(),
        not_ready: status.health.not_ready.clone(),
        degraded: status.health.degraded.clone(),
        sources: status.sources.iter().map(source).collect(),
        coordinator,
        coordinator_since_seconds: unix_seconds(status.session.since),
    }
}

/// What a source is doing.
pub fn source(source: &SourceStatus) -> v1::SourceHealth {
    let state = match source.health.state {
        SourceState::Starting => v1::SourceState::Starting,
        SourceState::Running => v1::SourceState::Running,
        SourceState::Paused => v1::SourceState::Paused,
        SourceState::Draining => v1::SourceState::Draining,
        SourceState::Ended => v1::SourceState::Ended,
    };
    v1::SourceHealth {
        name: source.name.to_owned(),
        state: state.into(),
        stuck_threads: source.health.stuck_threads as u32,
    }
}

/// All accounts.
pub fn statistics(status: &Status) -> v1::Statistics {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let sum = |count: fn(&SourceStatus) -> u64| status.sources.iter().map(count).sum();
    let usage = |source: &SourceStatus| source.statistics.buffer_usage();
    v1::Statistics {
        time_ns: now.as_nanos() as u64,
        started_seconds: status.started_unix_seconds,
        ledger: Some(ledger(&status.ledger)),
        templates: sum(|source| source.statistics.templates as u64),
        scopes: sum(|source| source.statistics.template_scopes as u64),
        exporters: sum(|source| source.statistics.exporters as u64),
        pending_bytes: sum(|source| source.statistics.pending_bytes as u64),
        cpu_seconds: process::cpu_time().as_secs_f64(),
        resident_bytes: process::resident_bytes(),
        buffer_usage_ratio: status.sources.iter().map(usage).fold(0.0, f64::max),
    }
}

fn ledger(ledger: &Ledger) -> v1::Ledger {
    v1::Ledger {
        datagrams: Some(datagrams(&ledger.datagrams)),
        sets: Some(sets(&ledger.sets)),
        streams: Stream::ALL.map(|of| stream(of, ledger.stream(of))).to_vec(),
        balanced: ledger.check().is_ok(),
    }
}

fn datagrams(account: &DatagramLedger) -> v1::DatagramLedger {
    let DatagramLedger { arrived, kernel_dropped, received, decoded, partly_decoded, ref rejected } =
        *account;
    let rejected = reasons(rejected);
    v1::DatagramLedger { arrived, kernel_dropped, received, decoded, partly_decoded, rejected }
}

fn sets(account: &SetCounts) -> v1::SetLedger {
    let SetCounts { seen, decoded, pending, expired, evicted, ref rejected, .. } = *account;
    v1::SetLedger { seen, decoded, pending, expired, evicted, rejected: reasons(rejected) }
}

fn stream(stream: Stream, account: &StreamLedger) -> v1::StreamLedger {
    let StreamLedger { produced, recovered, delivered, in_flight, on_disk, ref dropped } = *account;
    let dropped = dropped.iter().map(|(reason, count)| (reason.label(), count));
    let dropped = present(dropped);
    let stream = stream.label().to_owned();
    v1::StreamLedger { stream, produced, recovered, delivered, in_flight, on_disk, dropped }
}

fn reasons(counts: &ReasonCounts) -> Vec<v1::ReasonCount> {
    present(counts.iter().map(|(reason, count)| (reason.label(), count)))
}

/// The counts that are not 0.
fn present(counts: impl Iterator<Item = (&'static str, u64)>) -> Vec<v1::ReasonCount> {
    let counts = counts.filter(|(_, count)| *count > 0);
    counts.map(|(reason, count)| v1::ReasonCount { reason: reason.to_owned(), count }).collect()
}

/// One listener.
pub fn listener(source: &str, input: &InputStatistics) -> v1::Listener {
    v1::Listener {
        address: input.address.clone(),
        zone: input.zone.clone(),
        source: source.to_owned(),
        receive_buffer_bytes: input.receive_buffer as u64,
        sockets: input.sockets as u32,
        datagrams: input.datagrams,
        bytes: input.bytes,
        kernel_dropped: input.kernel_dropped,
        buffer_usage_ratio: input.buffer_usage,
        allow: input.allow.clone(),
    }
}

/// What one exporter sent.
pub fn load(load: &ExporterLoad) -> v1::ExporterLoad {
    v1::ExporterLoad {
        zone: load.zone.to_string(),
        exporter: octets(load.exporter),
        datagrams: load.datagrams,
        bytes: load.bytes,
        records: load.records,
    }
}

/// One field of a template.
pub fn field(field: &FieldSpecifier) -> cluster::FieldSpecifier {
    cluster::FieldSpecifier {
        pen: field.pen,
        id: u32::from(field.id),
        length: u32::from(field.length),
        variable: field.variable,
        scope: field.scope,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_that_differs_says_so_and_names_reasons_that_count() {
        let mut status = Status::example();
        status.ledger.datagrams.rejected[flow_decoder::Reason::NoTemplate] = 3;
        let message = statistics(&status);
        let ledger = message.ledger.unwrap();
        assert!(!ledger.balanced, "seven datagrams came and three are accounted for");
        let expected = [v1::ReasonCount { reason: "no_template".to_owned(), count: 3 }];
        assert_eq!(ledger.datagrams.unwrap().rejected, expected);
        let streams: Vec<_> = ledger.streams.iter().map(|stream| stream.stream.as_str()).collect();
        assert_eq!(streams, ["flow", "counters", "drops", "options"]);
        assert!(message.resident_bytes > 0 && message.cpu_seconds > 0.0);
    }
}
