//! One look at the cluster: what a coordinator says, and the rates between two looks.

use std::collections::HashMap;

use catchment_proto::cluster::v1::{
    GetClusterRequest, GetClusterResponse, GetStatisticsRequest, ListNodesRequest, Node, SequenceTotals,
};

use crate::command::Session;
use crate::describe::Losses;
use crate::fault::Fault;
use crate::output;

/// The cluster at a moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// Seconds since 1970.
    pub(super) at: f64,
    /// The replica that answered.
    pub(super) cluster: GetClusterResponse,
    /// By name.
    pub(super) nodes: Vec<NodeLook>,
    /// What was lost of all exporters' numbers; not known where no leader answers.
    pub(super) losses: Option<Losses>,
}

/// A node at a moment.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeLook {
    /// What the coordinator says.
    pub(super) node: Node,
    /// Share of one core since the look before.
    pub(super) cpu: Option<f64>,
    /// Its heaviest exporters, amounts a second.
    pub(super) exporters: Vec<ExporterLook>,
}

/// An exporter, amounts a second.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ExporterLook {
    pub(super) zone: String,
    pub(super) address: Vec<u8>,
    pub(super) datagrams: f64,
    pub(super) records: f64,
    pub(super) bytes: f64,
}

impl Look {
    /// Sums of all nodes: records and datagrams a second.
    pub(super) fn rates(&self) -> (f64, f64) {
        let nodes = self.nodes.iter().map(|node| &node.node);
        nodes.fold((0.0, 0.0), |(records, datagrams), node| {
            (records + node.records_per_second, datagrams + node.datagrams_per_second)
        })
    }

    /// The exporters of the node called `name`, or of all, the heaviest first.
    pub(super) fn exporters(&self, name: Option<&str>) -> Vec<ExporterLook> {
        let mut sums: HashMap<(&str, &[u8]), ExporterLook> = HashMap::new();
        let chosen = self.nodes.iter().filter(|node| name.is_none_or(|name| node.node.id == name));
        for exporter in chosen.flat_map(|node| &node.exporters) {
            let sum = sums.entry((&exporter.zone, &exporter.address)).or_insert_with(|| ExporterLook {
                zone: exporter.zone.clone(),
                address: exporter.address.clone(),
                ..ExporterLook::default()
            });
            sum.datagrams += exporter.datagrams;
            sum.records += exporter.records;
            sum.bytes += exporter.bytes;
        }
        let mut exporters: Vec<ExporterLook> = sums.into_values().collect();
        exporters.sort_by(|one, two| {
            two.records
                .total_cmp(&one.records)
                .then_with(|| (&one.zone, &one.address).cmp(&(&two.zone, &two.address)))
        });
        exporters
    }
}

/// Looks again and again.
#[derive(Debug, Default)]
pub(super) struct Looker {
    heard: HashMap<String, Heard>,
}

/// What was last heard of a node.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    incarnation: u64,
    time_ns: u64,
    cpu_seconds: f64,
    /// Between its last two heartbeats.
    seconds: Option<f64>,
    cpu: Option<f64>,
}

impl Looker {
    /// Asks the coordinator.
    pub(super) async fn look(&mut self, session: &mut Session) -> Result<Look, Fault> {
        let cluster =
            session.client.admin(async |mut admin| admin.get_cluster(GetClusterRequest {}).await).await?;
        let nodes =
            session.client.admin(async |mut admin| admin.list_nodes(ListNodesRequest {}).await).await?.nodes;
        let asked = GetStatisticsRequest { node: String::new() };
        let accounts =
            session.client.admin(async |mut admin| admin.get_statistics(asked.clone()).await).await?;
        Ok(self.of(cluster, nodes, accounts.sequences.as_ref()))
    }

    fn of(
        &mut self,
        cluster: GetClusterResponse,
        nodes: Vec<Node>,
        sequences: Option<&SequenceTotals>,
    ) -> Look {
        let mut before = std::mem::take(&mut self.heard);
        let nodes = nodes.into_iter().map(|node| {
            let heard = Heard::of(&node, before.remove(&node.id).as_ref());
            self.heard.insert(node.id.clone(), heard);
            let exporters = exporters(&node, heard.seconds);
            NodeLook { cpu: heard.cpu, exporters, node }
        });
        let nodes = nodes.collect();
        Look { at: output::now(), cluster, nodes, losses: sequences.map(Losses::of_totals) }
    }
}

impl Heard {
    fn of(node: &Node, before: Option<&Self>) -> Self {
        let statistics = node.statistics.clone().unwrap_or_default();
        let now = Self {
            incarnation: node.incarnation,
            time_ns: statistics.time_ns,
            cpu_seconds: statistics.cpu_seconds,
            ..Self::default()
        };
        match before {
            Some(before) if before.incarnation == now.incarnation && now.time_ns > before.time_ns => {
                let seconds = (now.time_ns - before.time_ns) as f64 / 1e9;
                let cpu = ((now.cpu_seconds - before.cpu_seconds) / seconds).max(0.0);
                Self { seconds: Some(seconds), cpu: Some(cpu), ..now }
            }
            // No heartbeat in between: what was known holds.
            Some(before) if before.incarnation == now.incarnation => *before,
            _ => now,
        }
    }
}

/// Amounts a second of the exporters in a node's last heartbeat. They are of the time since the heartbeat before: where that is not
/// known yet, the node's own rate of records says it.
fn exporters(node: &Node, seconds: Option<f64>) -> Vec<ExporterLook> {
    let records: u64 = node.top_exporters.iter().map(|load| load.records).sum();
    let guessed = || {
        Some(records as f64 / node.records_per_second).filter(|seconds| seconds.is_finite() && *seconds > 0.0)
    };
    let Some(seconds) = seconds.or_else(guessed) else { return Vec::new() };
    let looks = node.top_exporters.iter().map(|load| ExporterLook {
        zone: load.zone.clone(),
        address: load.exporter.clone(),
        datagrams: load.datagrams as f64 / seconds,
        records: load.records as f64 / seconds,
        bytes: load.bytes as f64 / seconds,
    });
    looks.collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::sample;

    /// Two looks at the sample, 2 s apart, in which the first node used 1 s of CPU.
    pub(in crate::top) fn sample_look() -> Look {
        let mut looker = Looker::default();
        looker.of(sample::cluster(), sample::nodes(), None);
        let mut nodes = sample::nodes();
        let statistics = nodes[0].statistics.as_mut().expect("known");
        statistics.time_ns += 2_000_000_000;
        statistics.cpu_seconds += 1.0;
        Look { at: sample::NOW, ..looker.of(sample::cluster(), nodes, Some(&sample::sequences())) }
    }

    #[test]
    fn cpu_and_exporters_are_of_the_time_between_two_heartbeats() {
        let look = sample_look();
        assert_eq!(look.nodes[0].cpu, Some(0.5));
        assert_eq!(look.nodes[1].cpu, None, "no heartbeat has come since");
        let exporters = look.exporters(None);
        assert_eq!((exporters[0].datagrams, exporters[0].records), (450.0, 10_800.0));
        assert_eq!(exporters[1].zone, "customer-a");
        assert_eq!(look.exporters(Some("node-2")), vec![]);
        assert_eq!(look.losses, Some(Losses { received: 1_239_567, upstream: 100, here: 12, unknown: 3 }));
    }

    #[test]
    fn a_node_that_was_started_anew_has_no_rate_yet() {
        let mut looker = Looker::default();
        looker.of(sample::cluster(), sample::nodes(), None);
        let mut nodes = sample::nodes();
        nodes[0].incarnation += 1;
        let statistics = nodes[0].statistics.as_mut().expect("known");
        (statistics.time_ns, statistics.cpu_seconds) = (statistics.time_ns + 1_000_000_000, 0.1);
        assert_eq!(looker.of(sample::cluster(), nodes, None).nodes[0].cpu, None);
    }

    #[test]
    fn exporters_of_several_nodes_are_added_up() {
        let mut look = sample_look();
        let mut second = look.nodes[0].clone();
        second.node.id = "node-4".to_owned();
        look.nodes.push(second);
        assert_eq!(look.exporters(None)[0].datagrams, 900.0);
    }
}
