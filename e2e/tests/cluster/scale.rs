//! What the cluster must bear, as far as it can be seen in seconds. `cargo run --release -p catchment-e2e --example cluster_scale`
//! measures the same at its full size.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, ensure};
use catchment_e2e::cluster::Plan;
use catchment_e2e::exporters::Exporters;
use catchment_e2e::scale::{self, Flooded};

const MIB: u64 = 1 << 20;

#[test]
fn refreshes_that_change_nothing_write_nothing() -> Result<()> {
    let cluster = Plan { coordinators: 2, nodes: 4, ..Plan::new("refresh") }.start()?;
    let mut exporters = Exporters::new(Ipv4Addr::new(127, 20, 0, 1), cluster.udp());
    let (every, time) = (Duration::from_secs(2), Duration::from_secs(6));
    let refreshed = scale::refresh(&cluster, &mut exporters, 200, every, time)?;
    ensure!(refreshed.writes == 0 && refreshed.announcements >= 400, "{refreshed:?}");
    cluster.stop()?;
    Ok(())
}

fn floods(plan: &Plan, base: Ipv4Addr, known: Duration, options: &[&str]) -> Result<Flooded> {
    let cluster = plan.start()?;
    let mut exporters = Exporters::new(base, cluster.udp());
    let flooded = scale::flood(&cluster, &mut exporters, 8, (known, Duration::from_secs(6)), options)?;
    println!("{flooded:?}");
    flooded.check_good()?;
    ensure!(flooded.read > 10_000.0, "this was no flood: {flooded:?}");
    // One more for each end of the time in which they are counted.
    ensure!(flooded.writes <= 10.5, "{flooded:?}");
    // As many strangers as the coordinator takes at once, and then a hundred a second.
    ensure!(flooded.domains <= 8 + 10_000 + 100 * 20, "{flooded:?}");
    cluster.stop()?;
    Ok(flooded)
}

fn plan(purpose: &'static str) -> Plan {
    Plan { coordinators: 1, nodes: 2, ..Plan::new(purpose) }
}

#[test]
fn a_flood_of_templates_costs_good_exporters_nothing() -> Result<()> {
    let flooded = floods(&plan("flood"), Ipv4Addr::new(127, 21, 0, 1), Duration::ZERO, &[])?;
    ensure!(flooded.memory < 160 * MIB, "{flooded:?}");
    Ok(())
}

#[test]
fn nor_does_one_that_brings_data_along() -> Result<()> {
    let options = ["--data", "--templates-per-datagram", "20"];
    // Ten seconds, and a little for clocks: then exporters count as known, and these strangers do not.
    let known = Duration::from_secs(11);
    let flooded = floods(&plan("flood-data"), Ipv4Addr::new(127, 22, 0, 1), known, &options)?;
    // What data has decoded by may fill all of `templates.bytes`.
    ensure!(flooded.memory < 256 * MIB, "{flooded:?}");
    Ok(())
}
