//! Coordinators that are killed: one, all, and all with their etcd. Nodes go on, and catch up.

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::cluster::{Cluster, Plan};
use catchment_e2e::load::Load;
use catchment_e2e::wait::until;

use crate::devices::{Devices, wait_alone, wait_same_templates, wait_well};
use crate::losses::Losses;

fn plan(purpose: &'static str) -> Plan {
    Plan { nodes: 3, ..Plan::new(purpose) }
}

/// The coordinator that has most sessions, and how many.
fn busiest(cluster: &Cluster) -> Result<(usize, u64)> {
    let count = |coordinator: usize| {
        let scrape = cluster.coordinators[coordinator].metrics()?;
        Ok::<_, anyhow::Error>((coordinator, scrape.count("catchment_sessions", &[])?))
    };
    let counts = (0..cluster.coordinators.len()).map(count).collect::<Result<Vec<_>>>()?;
    counts.into_iter().max_by_key(|(_, sessions)| *sessions).context("no coordinator")
}

#[test]
fn nodes_of_a_killed_coordinator_go_to_another_one() -> Result<()> {
    let mut cluster = plan("coordinator-killed").start()?;
    let mut devices = Devices::default();
    devices.share(&cluster, 0, [1, 2])?;
    let sending = Load::once(1, 6).start(&cluster.udp(), 4_000)?;
    let (coordinator, sessions) = busiest(&cluster)?;
    ensure!(sessions > 0, "nobody has a session");
    cluster.coordinators[coordinator].kill()?;
    devices.share(&cluster, 0, [1, 2])?;
    devices.share(&cluster, 2, [0, 1])?;
    wait_well(&cluster)?;
    cluster.coordinators[coordinator].start()?;
    devices.share(&cluster, 1, [2, 0])?;
    let sent = sending.stop()?;
    sent.check_whole(&cluster)?;
    devices.settle(cluster, &[sent.tally]).map(drop)
}

/// The coordinator that says it is the leader.
fn leader(cluster: &Cluster) -> Result<usize> {
    until("a leader", || {
        for (number, coordinator) in cluster.coordinators.iter().enumerate() {
            if coordinator.is_running() && coordinator.metrics()?.count("catchment_leader", &[])? == 1 {
                return Ok(Ok(number));
            }
        }
        Ok(Err("no coordinator is the leader".to_owned()))
    })
}

#[test]
fn the_leader_after_a_killed_one_takes_nothing_for_lost() -> Result<()> {
    let mut cluster = plan("leader-killed").start()?;
    let sending = Load::once(1, 6).start(&cluster.udp(), 4_000)?;
    cluster.wait_totals("the load", |totals| totals.produced > 20_000 && totals.sets_pending == 0)?;
    let killed = leader(&cluster)?;
    cluster.coordinators[killed].kill()?;
    let next = leader(&cluster)?;
    ensure!(next != killed, "coordinator {killed} was killed");
    let before = cluster.totals()?.produced;
    cluster.wait_totals("more records", |totals| totals.produced > before + 40_000)?;
    let sent = sending.stop()?;
    cluster.wait_totals("all records", |totals| totals.produced == sent.tally.records)?;
    // Its book begins with itself, so it never has all that was received.
    let losses = until("the losses to be settled", || {
        let losses = Losses::of(&cluster.ask(&["exporters"])?)?;
        let settled = losses.waiting == 0 && losses.received >= 40_000;
        Ok(if settled { Ok(losses) } else { Err(format!("{losses:?}")) })
    })?;
    ensure!(losses.records == 0, "{losses:?}");
    cluster.coordinators[killed].start()?;
    sent.check_whole(&cluster)?;
    cluster.stop().map(drop)
}

#[test]
fn nodes_go_on_without_any_coordinator_and_catch_up() -> Result<()> {
    away("coordinators-away", Gone::Coordinators)
}

#[test]
fn nodes_go_on_without_coordinators_and_etcd_and_catch_up() -> Result<()> {
    away("all-away", Gone::CoordinatorsAndEtcd)
}

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    Coordinators,
    CoordinatorsAndEtcd,
}

fn away(purpose: &'static str, gone: Gone) -> Result<()> {
    let plan = plan(purpose);
    let mut cluster = plan.start()?;
    let mut devices = Devices::default();
    devices.share(&cluster, 0, [1, 2])?;
    let sending = Load::once(1, 6).start(&cluster.udp(), 4_000)?;
    cluster.wait_totals("the load", |totals| totals.produced > 4_000 && totals.sets_pending == 0)?;
    wait_same_templates(&cluster)?;
    for coordinator in &mut cluster.coordinators {
        coordinator.kill()?;
    }
    if gone == Gone::CoordinatorsAndEtcd {
        cluster.etcd.as_mut().context("an etcd")?.kill()?;
    }
    (0..3).try_for_each(|node| wait_alone(&cluster, node))?;
    // Known exporters go on as if nothing had happened.
    let before = cluster.totals()?;
    let after = cluster.wait_totals("more records", |totals| totals.produced > before.produced + 4_000)?;
    ensure!(after.sets_pending == 0, "{after:?}");
    let learnt = devices.taught_at(&cluster, 0)?;
    devices.send(&cluster, learnt, 1)?;
    cluster.node(1)?.wait_ledger("data to wait for its template", |ledger| ledger.sets.pending == 1)?;

    if gone == Gone::CoordinatorsAndEtcd {
        cluster.etcd.as_mut().context("an etcd")?.start()?;
    }
    for coordinator in &mut cluster.coordinators {
        coordinator.launch()?;
    }
    cluster.node(1)?.wait_ledger("data to be decoded", |ledger| ledger.sets.pending == 0)?;
    devices.decodes_at(&cluster, learnt, 2)?;
    wait_well(&cluster)?;
    let sent = sending.stop()?;
    cluster.add_node(&plan)?;
    cluster.node(3)?.wait_ready()?;
    devices.all_decode_at(&cluster, [3])?;
    sent.check_whole(&cluster)?;
    devices.settle(cluster, &[sent.tally]).map(drop)
}
