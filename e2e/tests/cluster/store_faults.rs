//! etcd that is killed and comes back: as it was, with its history compacted, with an older state, with nothing; and etcd that
//! answers slowly or not at all.
//!
//! Whatever it forgot, the cluster heals: coordinators write again what they know, nodes tell what no coordinator knows any more.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::cluster::{Cluster, Plan, Ways};
use catchment_e2e::etcd::{Backup, Etcd};
use catchment_e2e::proxy::Way;
use catchment_e2e::wait::until;

use crate::devices::{Devices, wait_same_templates, wait_well};

fn plan(purpose: &'static str) -> Plan {
    Plan { nodes: 2, ways: Ways::Proxied, ..Plan::new(purpose) }
}

/// Sets the ways of all coordinators to etcd.
fn set_ways(cluster: &Cluster, way: Way) -> Result<()> {
    (0..cluster.coordinators.len()).try_for_each(|coordinator| {
        cluster.etcd_way(coordinator)?.set(way);
        Ok(())
    })
}

fn etcd(cluster: &mut Cluster) -> Result<&mut Etcd> {
    cluster.etcd.as_mut().context("an etcd")
}

/// Waits until all coordinators, or none, reach etcd.
fn wait_reachable(cluster: &Cluster, reachable: u64) -> Result<()> {
    until("coordinators to notice how etcd is", || {
        let count = |metrics: catchment_e2e::metrics::Scrape| metrics.count("catchment_store_reachable", &[]);
        let running = cluster.coordinators.iter().map(|coordinator| count(coordinator.metrics()?));
        let found: Vec<u64> = running.collect::<Result<_>>()?;
        Ok(if found.iter().all(|each| *each == reachable) { Ok(()) } else { Err(format!("{found:?}")) })
    })
}

/// How many times something was counted, over all coordinators.
fn counted(cluster: &Cluster, metric: &str) -> Result<u64> {
    cluster.coordinators.iter().map(|coordinator| coordinator.metrics()?.count(metric, &[])).sum()
}

/// Scopes whose templates lie in etcd.
fn stored(cluster: &Cluster) -> Result<usize> {
    let prefix = format!("/catchment/{}/templates/", cluster.name());
    Ok(cluster.etcd.as_ref().context("an etcd")?.entries(&prefix)?.len())
}

fn wait_stored(cluster: &Cluster, scopes: usize) -> Result<()> {
    until("templates to be stored", || {
        let found = stored(cluster)?;
        Ok(if found == scopes { Ok(()) } else { Err(format!("{found} of {scopes}")) })
    })
}

/// etcd goes and comes back as `change` makes it. What was learnt before, between a backup and the end, and while it was away is
/// usable everywhere afterwards, by a node that joins too, and lies in etcd again.
fn comes_back(
    purpose: &'static str,
    change: impl FnOnce(&mut Etcd, &Backup) -> Result<()>,
    metric: Option<&str>,
) -> Result<()> {
    let plan = plan(purpose);
    let mut cluster = plan.start()?;
    let mut devices = Devices::default();
    devices.share(&cluster, 0, [1])?;
    wait_stored(&cluster, 1)?;
    let backup = etcd(&mut cluster)?.back_up()?;
    wait_reachable(&cluster, 1)?;
    devices.share(&cluster, 1, [0])?;
    wait_stored(&cluster, 2)?;
    let before = metric.map(|metric| counted(&cluster, metric)).transpose()?;

    // Nobody is to see it on the way.
    set_ways(&cluster, Way::Cut)?;
    wait_reachable(&cluster, 0)?;
    let learnt = devices.taught_at(&cluster, 0)?;
    change(etcd(&mut cluster)?, &backup)?;
    set_ways(&cluster, Way::Open)?;

    devices.decodes_at(&cluster, learnt, 1)?;
    wait_reachable(&cluster, 1)?;
    devices.share(&cluster, 0, [1])?;
    devices.share(&cluster, 1, [0])?;
    wait_stored(&cluster, 5)?;
    if let (Some(metric), Some(before)) = (metric, before) {
        ensure!(counted(&cluster, metric)? > before, "no coordinator noticed: {metric}");
    }
    wait_well(&cluster)?;
    cluster.add_node(&plan)?;
    cluster.node(2)?.wait_ready()?;
    wait_same_templates(&cluster)?;
    devices.all_decode_at(&cluster, 0..3)?;
    devices.settle(cluster, &[]).map(drop)
}

#[test]
fn etcd_comes_back_as_it_was() -> Result<()> {
    let as_it_was = |etcd: &mut Etcd, _: &Backup| {
        etcd.kill()?;
        etcd.start()
    };
    comes_back("etcd-killed", as_it_was, None)
}

#[test]
fn etcd_comes_back_with_a_compacted_history() -> Result<()> {
    let compacted = |etcd: &mut Etcd, _: &Backup| {
        // The revisions that coordinators would watch from are gone.
        (0..3).try_for_each(|number| etcd.put("/elsewhere", &[number]))?;
        etcd.compact()?;
        etcd.kill()?;
        etcd.start()
    };
    comes_back("etcd-compacted", compacted, Some("catchment_store_compactions_total"))
}

#[test]
fn etcd_comes_back_with_an_older_state() -> Result<()> {
    let older = |etcd: &mut Etcd, backup: &Backup| {
        etcd.restore(backup)?;
        etcd.start()
    };
    comes_back("etcd-restored", older, Some("catchment_store_changes_total"))
}

#[test]
fn etcd_comes_back_with_nothing() -> Result<()> {
    let wiped = |etcd: &mut Etcd, _: &Backup| {
        etcd.wipe()?;
        etcd.start()
    };
    comes_back("etcd-wiped", wiped, Some("catchment_store_changes_total"))
}

/// Coordinators and store are gone together: only nodes know anything.
#[test]
fn nodes_bring_back_what_a_wiped_etcd_and_new_coordinators_lack() -> Result<()> {
    let plan = plan("all-wiped");
    let mut cluster = plan.start()?;
    let mut devices = Devices::default();
    devices.share(&cluster, 0, [1])?;
    devices.share(&cluster, 1, [0])?;
    for coordinator in &mut cluster.coordinators {
        coordinator.kill()?;
    }
    etcd(&mut cluster)?.wipe()?;
    etcd(&mut cluster)?.start()?;
    for coordinator in &mut cluster.coordinators {
        coordinator.start()?;
    }
    wait_stored(&cluster, 2)?;
    wait_well(&cluster)?;
    cluster.add_node(&plan)?;
    cluster.node(2)?.wait_ready()?;
    devices.all_decode_at(&cluster, [2])?;
    devices.settle(cluster, &[]).map(drop)
}

#[test]
fn a_slow_etcd_delays_and_loses_nothing() -> Result<()> {
    let cluster = plan("etcd-slow").start()?;
    let mut devices = Devices::default();
    devices.share(&cluster, 0, [1])?;
    let sessions = counted(&cluster, "catchment_sessions_begun_total")?;
    set_ways(&cluster, Way::Delayed(Duration::from_millis(400)))?;
    for _ in 0..3 {
        devices.share(&cluster, 0, [1])?;
        devices.share(&cluster, 1, [0])?;
    }
    wait_well(&cluster)?;
    set_ways(&cluster, Way::Open)?;
    devices.share(&cluster, 0, [1])?;
    wait_stored(&cluster, 8)?;
    ensure!(counted(&cluster, "catchment_sessions_begun_total")? == sessions, "sessions were lost");
    devices.settle(cluster, &[]).map(drop)
}

#[test]
fn an_etcd_that_stands_still_for_a_while_loses_nothing() -> Result<()> {
    let mut cluster = plan("etcd-frozen").start()?;
    let mut devices = Devices::default();
    devices.share(&cluster, 0, [1])?;
    etcd(&mut cluster)?.freeze()?;
    let learnt = devices.taught_at(&cluster, 0)?;
    wait_reachable(&cluster, 0)?;
    // Sessions need no etcd.
    cluster.wait_ready()?;
    etcd(&mut cluster)?.go_on()?;
    devices.decodes_at(&cluster, learnt, 1)?;
    devices.share(&cluster, 1, [0])?;
    wait_stored(&cluster, 3)?;
    wait_well(&cluster)?;
    devices.settle(cluster, &[]).map(drop)
}
