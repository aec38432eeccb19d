//! Exporters that announce a template at one node and need it at others: how a test sees whether nodes share.

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::cluster::{Cluster, Totals};
use catchment_e2e::device::Device;
use catchment_e2e::load::Tally;
use catchment_e2e::metrics::Scrape;
use catchment_e2e::wait::until;

/// The devices of a test, known by their number, from 0.
#[derive(Debug, Default)]
pub(crate) struct Devices(Vec<Device>);

impl Devices {
    /// A new device; one node has heard its template and has decoded a record by it.
    pub(crate) fn taught_at(&mut self, cluster: &Cluster, node: usize) -> Result<usize> {
        let number = self.0.len();
        let mut device = Device::new(u16::try_from(number)?)?;
        let before = decoded(cluster, node)?;
        device.teach(cluster.udp_of(node)?)?;
        self.0.push(device);
        wait_decoded(cluster, node, before + 1)?;
        Ok(number)
    }

    /// A record of a device reaches a node, and may wait there.
    pub(crate) fn send(&mut self, cluster: &Cluster, device: usize, node: usize) -> Result<()> {
        self.0.get_mut(device).context("no such device")?.data(cluster.udp_of(node)?)
    }

    /// A record of a device is decoded at a node.
    pub(crate) fn decodes_at(&mut self, cluster: &Cluster, device: usize, node: usize) -> Result<()> {
        let before = decoded(cluster, node)?;
        self.send(cluster, device, node)?;
        wait_decoded(cluster, node, before + 1).with_context(|| format!("device {device} at node {node}"))
    }

    /// A record of each device is decoded at each of the nodes.
    pub(crate) fn all_decode_at(
        &mut self,
        cluster: &Cluster,
        nodes: impl IntoIterator<Item = usize>,
    ) -> Result<()> {
        for node in nodes {
            let (before, count) = (decoded(cluster, node)?, self.0.len());
            (0..count).try_for_each(|device| self.send(cluster, device, node))?;
            wait_decoded(cluster, node, before + count as u64)?;
        }
        Ok(())
    }

    /// What one node learns now is usable at the others.
    pub(crate) fn share(
        &mut self,
        cluster: &Cluster,
        from: usize,
        to: impl IntoIterator<Item = usize>,
    ) -> Result<()> {
        let device = self.taught_at(cluster, from)?;
        to.into_iter().try_for_each(|node| self.decodes_at(cluster, device, node))
    }

    /// All that they have sent.
    pub(crate) fn tally(&self) -> Tally {
        let mut sum = Tally::default();
        self.0.iter().for_each(|device| sum += device.tally);
        sum
    }

    /// Stops the cluster and holds it to all that was sent: theirs, and `more`.
    pub(crate) fn settle(&self, cluster: Cluster, more: &[Tally]) -> Result<Totals> {
        let mut sum = self.tally();
        more.iter().for_each(|tally| sum += *tally);
        let totals = cluster.stop()?;
        totals.check_all_decoded(sum.datagrams, sum.records)?;
        Ok(totals)
    }
}

fn decoded(cluster: &Cluster, node: usize) -> Result<u64> {
    Ok(cluster.node(node)?.ledger()?.sets.decoded)
}

/// Waits until a node has decoded so many data sets and none waits.
fn wait_decoded(cluster: &Cluster, node: usize, sets: u64) -> Result<()> {
    let done =
        |ledger: &catchment_e2e::ledger::Ledger| ledger.sets.decoded >= sets && ledger.sets.pending == 0;
    cluster.node(node)?.wait_ledger("data to be decoded", done).map(drop)
}

/// Waits until all that run are ready and miss nothing.
pub(crate) fn wait_well(cluster: &Cluster) -> Result<()> {
    until("all to be well", || {
        let nodes = cluster.running().map(|node| node.get("/readyz"));
        let running = cluster.coordinators.iter().filter(|coordinator| coordinator.is_running());
        let answers = nodes.chain(running.map(|coordinator| coordinator.get("/readyz")));
        let answers: Vec<_> = answers.collect::<Result<_>>()?;
        let ill = answers.iter().find(|answer| answer.body != "ready\n");
        Ok(ill.map_or(Ok(()), |answer| Err(answer.body.clone())))
    })
}

/// Waits until a node is ready and says that it misses the coordinators.
pub(crate) fn wait_alone(cluster: &Cluster, node: usize) -> Result<()> {
    let node = cluster.node(node)?;
    until("the node to be alone", || {
        let answer = node.get("/readyz")?;
        ensure!(answer.status == 200, "a node without coordinators is not ready: {}", answer.body);
        Ok(if answer.body.contains("degraded: coordinator: ") { Ok(()) } else { Err(answer.body) })
    })
}

/// Waits until all nodes that run know as many templates as the cluster does.
pub(crate) fn wait_same_templates(cluster: &Cluster) -> Result<()> {
    until("all to know the same templates", || {
        let count = |scrape: Scrape| scrape.count("catchment_templates", &[]);
        let running = cluster.coordinators.iter().filter(|coordinator| coordinator.is_running());
        let shared = running.map(|coordinator| count(coordinator.metrics()?));
        let known = cluster.running().map(|node| count(node.metrics()?));
        let counts: Vec<u64> = shared.chain(known).collect::<Result<_>>()?;
        let same = counts.iter().all(|count| *count > 0 && *count == counts[0]);
        Ok(if same { Ok(()) } else { Err(format!("{counts:?}")) })
    })
}
