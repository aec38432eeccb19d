//! Nodes that end: without warning, and one after the other as in a rolling restart.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::cluster::{Cluster, Plan};
use catchment_e2e::load::{Found, Load, Tally};
use catchment_e2e::node::Node;
use catchment_e2e::wait::until;
use nix::sys::signal::Signal;

use crate::devices::wait_well;
use crate::losses::Losses;

const RATE: u64 = 8_000;

/// Waits until the cluster has decoded so many records more.
fn goes_on(cluster: &Cluster, records: u64) -> Result<()> {
    let before = cluster.totals()?.produced;
    cluster.wait_totals("more records", |totals| totals.produced >= before + records).map(drop)
}

/// Waits until nothing waits for a template or for Kafka.
fn rests(cluster: &Cluster) -> Result<()> {
    let quiet = cluster.wait_totals("all to be decoded and delivered", |totals| {
        totals.sets_pending == 0 && totals.produced == totals.delivered
    })?;
    ensure!(quiet.sets_decoded == quiet.sets_seen, "{quiet:?}");
    Ok(())
}

#[test]
fn a_node_that_is_killed_costs_what_it_held_and_the_cluster_says_so() -> Result<()> {
    let mut cluster = Plan::new("node-killed").start()?;
    let sending = Load::once(1, 12).start(&cluster.udp(), RATE)?;
    goes_on(&cluster, 2 * RATE)?;
    let listed = cluster.ask(&["node", "node-2"])?;
    let incarnation = listed["incarnation"].as_u64().context("which start")?;
    cluster.kill_node(2)?;
    goes_on(&cluster, RATE)?;
    // It comes back with nothing, and no exporter announces anything again.
    cluster.launch_node(2)?;
    let node = cluster.node(2)?;
    node.wait_ledger("its share of records", |ledger| {
        ledger.flow().is_ok_and(|flow| flow.produced >= RATE / 4) && ledger.sets.pending == 0
    })?;
    let sent = sending.stop()?;
    rests(&cluster)?;

    let found = sent.find(&cluster)?;
    ensure!(found.missing > 0 && found.repeated + found.different == 0, "{:#}", found.report);
    for node in [0, 1, 3] {
        published_all(&found, cluster.node(node)?, node)?;
    }
    let losses = Losses::settled(&cluster)?;
    // What it had published and not yet reported counts as lost too.
    ensure!(losses.records >= found.missing, "{} are missing: {losses:?}", found.missing);
    ensure!(losses.upstream == 0, "{losses:?}");
    let named = |note: &String| note.contains("node-2") && note.contains(&incarnation.to_string());
    ensure!(losses.notes.iter().any(named), "incarnation {incarnation}: {losses:?}");
    cluster.stop()?;
    Ok(())
}

/// All records that a live node decoded are on the topic.
fn published_all(found: &Found, node: &Node, number: usize) -> Result<()> {
    let published = found.by_node()?.into_iter().find(|(name, _)| *name == format!("node-{number}"));
    let published = published.map_or(0, |(_, records)| records);
    let ledger = node.ledger()?;
    let delivered = ledger.flow()?.delivered;
    ensure!(published == delivered, "node {number} delivered {delivered}, on the topic are {published}");
    Ok(())
}

/// A load balancer sends a node nothing more once `/readyz` says no; by then it has sent it more.
#[test]
fn a_rolling_restart_of_everything_loses_nothing() -> Result<()> {
    let mut cluster = Plan::new("rolling").start()?;
    let all = cluster.udp();
    let mut loads = Vec::new();
    let mut sending = Load::once(0, 8).start(&all, RATE)?;
    for node in 0..all.len() {
        goes_on(&cluster, RATE / 4)?;
        let live = cluster.node(node)?.check_live()?;
        cluster.node(node)?.signal(Signal::SIGTERM)?;
        wait_not_ready(cluster.node(node)?)?;
        let number = u8::try_from(2 * node + 1)?;
        let others: Vec<_> = all.iter().copied().filter(|udp| *udp != all[node]).collect();
        let next = Load::once(number, 8).start(&others, RATE)?;
        loads.push(std::mem::replace(&mut sending, next).stop()?);
        cluster.node_ended(node, &live)?;
        cluster.launch_node(node)?;
        cluster.node(node)?.wait_ready()?;
        let next = Load::once(number + 1, 8).start(&all, RATE)?;
        loads.push(std::mem::replace(&mut sending, next).stop()?);
    }
    goes_on(&cluster, RATE / 4)?;
    loads.push(sending.stop()?);
    rests(&cluster)?;
    let losses = Losses::settled(&cluster)?;
    ensure!(losses.records == 0, "each node has reported all before it went: {losses:?}");

    let sending = Load::once(20, 8).start(&all, RATE)?;
    for coordinator in 0..cluster.coordinators.len() {
        goes_on(&cluster, RATE / 4)?;
        cluster.coordinators[coordinator].stop()?;
        goes_on(&cluster, RATE / 4)?;
        cluster.coordinators[coordinator].start()?;
    }
    wait_well(&cluster)?;
    loads.push(sending.stop()?);
    rests(&cluster)?;
    let mut sum = Tally::default();
    for load in &loads {
        load.check_whole(&cluster)?;
        sum += load.tally;
    }
    cluster.stop()?.check_all_decoded(sum.datagrams, sum.records)
}

fn wait_not_ready(node: &Node) -> Result<()> {
    let began = Instant::now();
    until("the node to be not ready", || {
        let answer = node.get("/readyz")?;
        Ok(if answer.status == 503 {
            Ok(())
        } else {
            Err(format!("{} after {:?}", answer.body, began.elapsed()))
        })
    })
}
