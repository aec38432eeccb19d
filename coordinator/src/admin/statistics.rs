//! The accounts of all nodes, and their sum.

use catchment_proto::cluster::v1::GetStatisticsResponse;
use catchment_proto::node::v1::{DatagramLedger, Ledger, ReasonCount, SetLedger, Statistics, StreamLedger};
use tonic::Status;

use super::Admin;
use super::nodes::is_connected;

impl Admin {
    pub(super) async fn statistics(&self, only: &str) -> Result<GetStatisticsResponse, Status> {
        let gathered = self.gather(only).await;
        if !only.is_empty() {
            gathered.find(only)?;
        }
        let mut nodes = gathered.into_nodes();
        nodes.retain(|node| is_connected(node) && (only.is_empty() || node.id == only));
        let mut total = Sum::default();
        for node in &mut nodes {
            node.top_exporters.clear();
            if let Some(statistics) = &node.statistics {
                total.add(statistics);
            }
        }
        let sequences = self.sequence_totals().await;
        Ok(GetStatisticsResponse { total: total.statistics, nodes, sequences })
    }
}

/// The sum of statistics; none of none.
#[derive(Debug, Default)]
struct Sum {
    statistics: Option<Statistics>,
}

impl Sum {
    fn add(&mut self, more: &Statistics) {
        let Some(sum) = &mut self.statistics else {
            self.statistics = Some(more.clone());
            return;
        };
        let Statistics {
            time_ns,
            started_seconds,
            ledger,
            templates,
            scopes,
            exporters,
            pending_bytes,
            cpu_seconds,
            resident_bytes,
            buffer_usage_ratio,
        } = more;
        sum.time_ns = sum.time_ns.max(*time_ns);
        sum.started_seconds = sum.started_seconds.min(*started_seconds);
        sum.templates += templates;
        sum.scopes += scopes;
        sum.exporters += exporters;
        sum.pending_bytes += pending_bytes;
        sum.cpu_seconds += cpu_seconds;
        sum.resident_bytes += resident_bytes;
        sum.buffer_usage_ratio = sum.buffer_usage_ratio.max(*buffer_usage_ratio);
        match (&mut sum.ledger, ledger) {
            (Some(sum), Some(more)) => add_ledger(sum, more),
            (sum @ None, more) => sum.clone_from(more),
            (Some(_), None) => {}
        }
    }
}

fn add_ledger(sum: &mut Ledger, more: &Ledger) {
    let Ledger { datagrams, sets, streams, balanced } = more;
    if let Some(datagrams) = datagrams {
        add_datagrams(sum.datagrams.get_or_insert_default(), datagrams);
    }
    if let Some(sets) = sets {
        add_sets(sum.sets.get_or_insert_default(), sets);
    }
    for stream in streams {
        match sum.streams.iter_mut().find(|known| known.stream == stream.stream) {
            Some(known) => add_stream(known, stream),
            None => sum.streams.push(stream.clone()),
        }
    }
    sum.balanced &= balanced;
}

fn add_datagrams(sum: &mut DatagramLedger, more: &DatagramLedger) {
    let DatagramLedger { arrived, kernel_dropped, received, decoded, partly_decoded, rejected } = more;
    sum.arrived += arrived;
    sum.kernel_dropped += kernel_dropped;
    sum.received += received;
    sum.decoded += decoded;
    sum.partly_decoded += partly_decoded;
    add_reasons(&mut sum.rejected, rejected);
}

fn add_sets(sum: &mut SetLedger, more: &SetLedger) {
    let SetLedger { seen, decoded, pending, expired, evicted, rejected } = more;
    sum.seen += seen;
    sum.decoded += decoded;
    sum.pending += pending;
    sum.expired += expired;
    sum.evicted += evicted;
    add_reasons(&mut sum.rejected, rejected);
}

fn add_stream(sum: &mut StreamLedger, more: &StreamLedger) {
    let StreamLedger { stream: _, produced, recovered, delivered, in_flight, on_disk, dropped } = more;
    sum.produced += produced;
    sum.recovered += recovered;
    sum.delivered += delivered;
    sum.in_flight += in_flight;
    sum.on_disk += on_disk;
    add_reasons(&mut sum.dropped, dropped);
}

fn add_reasons(sum: &mut Vec<ReasonCount>, more: &[ReasonCount]) {
    for ReasonCount { reason, count } in more {
        match sum.iter_mut().find(|known| known.reason == *reason) {
            Some(known) => known.count += count,
            None => sum.push(ReasonCount { reason: reason.clone(), count: *count }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(produced: u64, reason: &str, started: f64) -> Statistics {
        let rejected = vec![ReasonCount { reason: reason.into(), count: produced }];
        Statistics {
            time_ns: produced,
            started_seconds: started,
            buffer_usage_ratio: produced as f64 / 100.0,
            templates: 2,
            ledger: Some(Ledger {
                datagrams: Some(DatagramLedger { arrived: produced, rejected, ..DatagramLedger::default() }),
                streams: vec![StreamLedger { stream: "flow".into(), produced, ..StreamLedger::default() }],
                balanced: true,
                ..Ledger::default()
            }),
            ..Statistics::default()
        }
    }

    #[test]
    fn a_sum_is_one_of_all_parts() {
        let mut sum = Sum::default();
        for part in [node(3, "truncated", 7.0), node(5, "truncated", 5.0), node(1, "shutdown", 6.0)] {
            sum.add(&part);
        }
        let total = sum.statistics.unwrap();
        assert_eq!((total.time_ns, total.started_seconds, total.templates), (5, 5.0, 6));
        assert_eq!(total.buffer_usage_ratio, 0.05);
        let ledger = total.ledger.unwrap();
        assert_eq!((ledger.streams.len(), ledger.streams[0].produced, ledger.balanced), (1, 9, true));
        let datagrams = ledger.datagrams.unwrap();
        let reasons: Vec<_> = datagrams.rejected.iter().map(|one| (one.reason.as_str(), one.count)).collect();
        assert_eq!((datagrams.arrived, reasons), (9, vec![("truncated", 8), ("shutdown", 1)]));
    }
}
