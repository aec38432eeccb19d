//! What a cluster of real processes bears: refreshes, nodes that join, floods.
//!
//! ```text
//! cargo build --release -p ingest-node -p coordinator -p loadtest
//! dev/services run kafka etcd -- cargo run --release -p catchment-e2e --example cluster_scale -- refresh [SECONDS]
//! dev/services run kafka etcd -- cargo run --release -p catchment-e2e --example cluster_scale -- join [EXPORTERS TEMPLATES LAYOUTS]
//! dev/services run kafka etcd -- cargo run --release -p catchment-e2e --example cluster_scale -- flood [SECONDS [data]]
//! ```
//!
//! `refresh`: 1,000 exporters, each every 30 s, over 4 nodes and 3 coordinators. `join`: 200,000 templates, of 20 layouts and
//! of as many (or as said), and a node that comes after. `flood`: a million spoofed templates a second, or what the machine
//! can send. Each ends with status 0 only where the bounds of docs/benchmarks.md hold.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use catchment_e2e::cluster::{Cluster, Plan};
use catchment_e2e::exporters::Exporters;
use catchment_e2e::{scale, usage};

const MIB: f64 = 1_048_576.0;
/// For how long good exporters are known before a flood.
const KNOWN: Duration = Duration::from_secs(11);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["refresh", rest @ ..] => refresh(number(rest.first(), 60)?),
        ["join", exporters, templates, layouts] => {
            join(exporters.parse()?, templates.parse()?, layouts.parse()?)
        }
        ["join"] => {
            join(10_000, 20, 20)?;
            join(10_000, 20, 200_000)
        }
        ["flood", rest @ ..] => flood(number(rest.first(), 20)?, rest.get(1) == Some(&"data")),
        _ => bail!("say what: refresh, join or flood"),
    }
}

fn number(text: Option<&&str>, usual: u64) -> Result<u64> {
    text.map_or(Ok(usual), |text| text.parse().with_context(|| format!("{text:?} is no number")))
}

/// Nodes write their records nowhere: the cluster's side is what is measured.
fn plan(purpose: &'static str) -> Plan {
    Plan { node_settings: vec!["output=discard".to_owned()], ..Plan::new(purpose) }
}

fn refresh(seconds: u64) -> Result<()> {
    let cluster = plan("refresh").start()?;
    let mut exporters = Exporters::new(Ipv4Addr::new(127, 30, 0, 1), cluster.udp());
    let (every, time) = (Duration::from_secs(30), Duration::from_secs(seconds));
    let refreshed = scale::refresh(&cluster, &mut exporters, 1_000, every, time)?;
    println!("| announcements | template keys written | a coordinator, % of a core | a node, % of a core |");
    println!("|---|---|---|---|");
    let percent = |share: f64| share * 100.0;
    println!(
        "| {} in {seconds} s | {} | {:.2} | {:.2} |",
        refreshed.announcements,
        refreshed.writes,
        percent(refreshed.coordinator),
        percent(refreshed.node)
    );
    ensure!(refreshed.writes == 0 && refreshed.coordinator < 0.02, "a bound is missed: {refreshed:?}");
    cluster.stop().map(drop)
}

fn join(exporters: u32, templates: u16, layouts: u32) -> Result<()> {
    // Strangers are taken slowly; how the cluster came to know so many is not what is measured.
    let filling = ["uplink.node_burst", "uplink.total_burst", "uplink.change_burst"];
    let mut settings: Vec<_> = filling.iter().map(|key| format!("{key}=1000000")).collect();
    settings.push("uplink.writes=100".to_owned());
    let plan = Plan { nodes: 1, coordinators: 2, coordinator_settings: settings, ..plan("join") };
    let mut cluster = plan.start()?;
    let mut known = Exporters::new(Ipv4Addr::new(127, 40, 0, 1), vec![cluster.udp()[0]]);
    (known.templates, known.fields, known.layouts) = (templates, 20, layouts);
    scale::fill(&cluster, &mut known, exporters)?;
    let filled = coordinators(&cluster)?;
    for coordinator in &mut cluster.coordinators {
        coordinator.stop()?;
        coordinator.start()?;
    }
    let joined = scale::join(&mut cluster, &plan)?;
    println!("{exporters} exporters with {templates} templates each, {layouts} layouts");
    println!(
        "a node is ready after {:.2} s ({:.2} s of CPU time) with {} templates, {:.1} MiB now, {:.1} MiB at most",
        joined.ready.as_secs_f64(),
        joined.cpu.as_secs_f64(),
        joined.templates,
        joined.memory.now as f64 / MIB,
        joined.memory.most as f64 / MIB,
    );
    let read = coordinators(&cluster)?;
    println!(
        "a coordinator at most: {filled:.0} MiB while it was told of them, {read:.0} MiB after it read them"
    );
    let bound = if layouts <= 20 { 64.0 } else { 256.0 };
    ensure!(joined.templates == u64::from(exporters) * u64::from(templates), "templates are missing");
    ensure!(joined.ready < Duration::from_secs(2), "the node is not ready in 2 s");
    ensure!((joined.memory.most as f64) < bound * MIB, "the node takes more than {bound} MiB");
    ensure!(filled.max(read) < 400.0, "a coordinator takes more than 400 MiB");
    cluster.stop().map(drop)
}

/// The greatest memory of a coordinator, MiB.
fn coordinators(cluster: &Cluster) -> Result<f64> {
    cluster.coordinators.iter().try_fold(0.0, |most, coordinator| {
        Ok(usage::memory(coordinator.pid()?)?.most as f64 / MIB).map(|memory: f64| memory.max(most))
    })
}

fn flood(seconds: u64, with_data: bool) -> Result<()> {
    // A worker for each CPU, as it is without any setting.
    let cpus = std::thread::available_parallelism()?;
    let settings = vec!["output=discard".to_owned(), format!("node.workers={cpus}")];
    let plan = Plan { nodes: 1, coordinators: 1, node_settings: settings, ..plan("flood") };
    let cluster = plan.start()?;
    let mut exporters = Exporters::new(Ipv4Addr::new(127, 50, 0, 1), cluster.udp());
    let options = if with_data { &["--data", "--templates-per-datagram", "20"][..] } else { &[] };
    let flooded = scale::flood(&cluster, &mut exporters, 20, (KNOWN, Duration::from_secs(seconds)), options)?;
    println!(
        "| sent, templates/s | read, templates/s | etcd transactions/s | domains shared | node at most | good datagrams: sent, read, decoded |"
    );
    println!("|---|---|---|---|---|---|");
    println!(
        "| {:.0} | {:.0} | {:.1} | {} | {:.1} MiB | {:?} |",
        flooded.sent,
        flooded.read,
        flooded.writes,
        flooded.domains,
        flooded.memory as f64 / MIB,
        flooded.good
    );
    flooded.check_good()?;
    // With data each worker has sessions, plans and sequence spaces of strangers beside.
    let bound = if with_data { 320 << 20 } else { 160 << 20 };
    ensure!(flooded.writes <= 10.0 && flooded.memory < bound, "a bound is missed: {flooded:?}");
    cluster.stop().map(drop)
}
