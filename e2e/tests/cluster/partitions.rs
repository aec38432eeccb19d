//! Ways that fail while everything runs: between a node and the coordinators, between coordinators and etcd.

use anyhow::{Result, ensure};
use catchment_e2e::cluster::{Cluster, Plan, Ways};
use catchment_e2e::proxy::Way;
use catchment_e2e::wait::until;

use crate::devices::{Devices, wait_alone, wait_same_templates, wait_well};

/// Silence is noticed when a lease ends.
fn plan(purpose: &'static str) -> Plan {
    let coordinator_settings = vec!["lease.ttl=3s".to_owned()];
    Plan { nodes: 3, ways: Ways::Proxied, coordinator_settings, ..Plan::new(purpose) }
}

fn set_node_ways(cluster: &Cluster, node: usize, way: Way) -> Result<()> {
    cluster.node_ways(node)?.iter().for_each(|each| each.set(way));
    Ok(())
}

/// A node that no coordinator can be reached from goes on; what each side learns meanwhile is usable on the other afterwards.
fn node_is_cut_off(purpose: &'static str, way: Way) -> Result<()> {
    let cluster = plan(purpose).start()?;
    let mut devices = Devices::default();
    devices.share(&cluster, 0, [1, 2])?;
    set_node_ways(&cluster, 2, way)?;
    wait_alone(&cluster, 2)?;
    let inside = devices.taught_at(&cluster, 2)?;
    let outside = devices.taught_at(&cluster, 0)?;
    devices.decodes_at(&cluster, outside, 1)?;
    devices.send(&cluster, outside, 2)?;
    devices.send(&cluster, inside, 0)?;
    for node in [0, 2] {
        let waits = |ledger: &catchment_e2e::ledger::Ledger| ledger.sets.pending == 1;
        cluster.node(node)?.wait_ledger("data to wait for its template", waits)?;
    }
    set_node_ways(&cluster, 2, Way::Open)?;
    for node in [0, 2] {
        let decoded = |ledger: &catchment_e2e::ledger::Ledger| ledger.sets.pending == 0;
        cluster.node(node)?.wait_ledger("data to be decoded", decoded)?;
    }
    devices.all_decode_at(&cluster, 0..3)?;
    devices.share(&cluster, 1, [2, 0])?;
    wait_same_templates(&cluster)?;
    wait_well(&cluster)?;
    devices.settle(cluster, &[]).map(drop)
}

#[test]
fn a_node_whose_ways_are_cut_catches_up() -> Result<()> {
    node_is_cut_off("node-cut", Way::Cut)
}

#[test]
fn a_node_whose_ways_are_silent_catches_up() -> Result<()> {
    node_is_cut_off("node-held", Way::Held)
}

/// Replicas that do not reach etcd go on with their nodes; afterwards all know all.
fn replicas_are_cut_off(purpose: &'static str, way: Way, replicas: std::ops::Range<usize>) -> Result<()> {
    let cluster = plan(purpose).start()?;
    let mut devices = Devices::default();
    devices.share(&cluster, 0, [1, 2])?;
    for replica in replicas.clone() {
        cluster.etcd_way(replica)?.set(way);
    }
    until("the replicas to miss etcd", || {
        let reach =
            |replica: usize| cluster.coordinators[replica].metrics()?.count("catchment_store_reachable", &[]);
        let found = replicas.clone().map(reach).collect::<Result<Vec<_>>>()?;
        Ok(if found.iter().all(|reachable| *reachable == 0) { Ok(()) } else { Err(format!("{found:?}")) })
    })?;
    // Some of the nodes have their session with such a replica, whichever they are.
    let learnt = (0..3).map(|node| devices.taught_at(&cluster, node)).collect::<Result<Vec<_>>>()?;
    for device in &learnt {
        (0..3).try_for_each(|node| devices.send(&cluster, *device, node))?;
    }
    cluster.wait_ready()?;
    for replica in replicas {
        cluster.etcd_way(replica)?.set(Way::Open);
    }
    let totals = cluster.wait_totals("all to be decoded", |totals| {
        totals.sets_seen == devices.tally().records && totals.sets_decoded == totals.sets_seen
    })?;
    ensure!(totals.sets_pending == 0, "{totals:?}");
    devices.all_decode_at(&cluster, 0..3)?;
    wait_same_templates(&cluster)?;
    wait_well(&cluster)?;
    devices.settle(cluster, &[]).map(drop)
}

#[test]
fn a_replica_that_is_cut_off_from_etcd_catches_up() -> Result<()> {
    replicas_are_cut_off("replica-cut", Way::Cut, 0..1)
}

#[test]
fn replicas_that_hear_nothing_from_etcd_catch_up() -> Result<()> {
    replicas_are_cut_off("replicas-held", Way::Held, 0..3)
}
