//! A cluster under load: what many exporters, a flood, or a node that joins cost, measured at the real processes.

use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use ::loadtest::process_time;
use ::loadtest::raw::{Family, RawSender};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::cluster::{Cluster, Plan};
use crate::coordinator::Coordinator;
use crate::exporters::Exporters;
use crate::loadtest;
use crate::usage::{self, CpuClock, Memory};
use crate::wait::until;

/// Exporters that announce between two looks at the node, which must have read them: no kernel buffer is too small for it.
const AT_ONCE: u32 = 100;

/// A node that joined.
#[derive(Clone, Copy, Debug)]
pub struct Joined {
    /// From its start until it was ready.
    pub ready: Duration,
    /// CPU time until then.
    pub cpu: Duration,
    /// Its memory then.
    pub memory: Memory,
    /// Templates that it knew then.
    pub templates: u64,
}

/// What refreshes that change nothing cost.
#[derive(Clone, Copy, Debug)]
pub struct Refreshed {
    /// Announcements.
    pub announcements: u64,
    /// Keys of templates or options state that were written.
    pub writes: u64,
    /// The part of a core that each coordinator took, the greatest.
    pub coordinator: f64,
    /// The same of nodes.
    pub node: f64,
}

/// What a flood did.
#[derive(Clone, Debug)]
pub struct Flooded {
    /// Spoofed templates a second that were sent, and that nodes read.
    pub sent: f64,
    /// Templates a second in what nodes read, the good ones' included.
    pub read: f64,
    /// Transactions of templates a second.
    pub writes: f64,
    /// Domains that the cluster shares afterwards.
    pub domains: u64,
    /// The greatest memory of a node.
    pub memory: u64,
    /// Datagrams of good exporters that were sent, that nodes read, and records decoded of them: one a datagram.
    pub good: [u64; 3],
}

/// Has `count` exporters announce their templates to the first node and send data by them, and waits until each coordinator knows
/// them and the store has them.
///
/// # Errors
/// Where that is not so in time.
pub fn fill(cluster: &Cluster, exporters: &mut Exporters, count: u32) -> Result<()> {
    let node = cluster.node(0)?;
    let before = node.ledger()?.datagrams.received;
    for exporter in 0..count {
        let socket = exporters.socket(exporter)?;
        exporters.send(&socket, &exporters.announcement(exporter, 0))?;
        exporters.send(&socket, &exporters.data(1))?;
        if exporter % AT_ONCE == AT_ONCE - 1 || exporter == count - 1 {
            node.wait_received(before + 2 * u64::from(exporter + 1))?;
        }
    }
    let templates = u64::from(count) * u64::from(exporters.templates);
    // At ten transactions a second of a hundred keys, and as much again for a machine that does other things.
    let patience = Duration::from_secs(60) + Duration::from_millis(2) * count;
    known_everywhere(cluster, templates, patience)?;
    within(patience, "the store to have all", || {
        let written = template_writes(cluster)?;
        Ok(if written >= u64::from(count) { Ok(()) } else { Err(format!("{written} of {count} written")) })
    })
}

/// Waits until all coordinators and nodes know so many templates.
fn known_everywhere(cluster: &Cluster, templates: u64, patience: Duration) -> Result<()> {
    within(patience, "templates to be known everywhere", || {
        let mut known = Vec::new();
        for coordinator in cluster.coordinators.iter().filter(|coordinator| coordinator.is_running()) {
            known.push(coordinator.metrics()?.count("catchment_templates", &[])?);
        }
        for node in cluster.running() {
            known.push(node.metrics()?.count("catchment_templates", &[])?);
        }
        let all = known.iter().all(|known| *known >= templates);
        Ok(if all { Ok(()) } else { Err(format!("{known:?} of {templates}")) })
    })
}

/// As [`until`], for what takes longer.
fn within<T>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<std::result::Result<T, String>>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        match look()? {
            Ok(found) => return Ok(found),
            Err(_) if Instant::now() < deadline => thread::park_timeout(Duration::from_millis(100)),
            Err(why) => anyhow::bail!("waited {patience:?} in vain for {what}: {why}"),
        }
    }
}

/// Keys of templates and options state that the coordinators have written.
fn template_writes(cluster: &Cluster) -> Result<u64> {
    let kinds = ["templates", "options"];
    cluster.coordinators.iter().try_fold(0, |sum, coordinator| {
        let scrape = coordinator.metrics()?;
        let of = |kind| scrape.count("catchment_store_writes_total", &[("kind", kind)]);
        Ok(sum + of(kinds[0])? + of(kinds[1])?)
    })
}

fn transactions(cluster: &Cluster) -> Result<u64> {
    cluster.coordinators.iter().try_fold(0, |sum, coordinator| {
        Ok(sum + coordinator.metrics()?.count("catchment_store_template_transactions_total", &[])?)
    })
}

/// Adds a node and waits until it is ready.
///
/// # Errors
/// Where it is not in time.
pub fn join(cluster: &mut Cluster, plan: &Plan) -> Result<Joined> {
    let began = Instant::now();
    cluster.add_node(plan)?;
    let node = cluster.running().last().context("it was just added")?;
    node.wait_ready()?;
    let ready = began.elapsed();
    let cpu = process_time::of_process(node.pid()).context("the node has ended")?;
    let memory = usage::memory(node.pid())?;
    Ok(Joined { ready, cpu, memory, templates: node.metrics()?.count("catchment_templates", &[])? })
}

/// Has `count` exporters announce again what all know, each once in `every`, and send data; for so long.
///
/// # Errors
/// Where the cluster does not come to know them.
pub fn refresh(
    cluster: &Cluster,
    exporters: &mut Exporters,
    count: u32,
    every: Duration,
    time: Duration,
) -> Result<Refreshed> {
    let sockets = (0..count).map(|exporter| exporters.socket(exporter)).collect::<Result<Vec<_>, _>>()?;
    let mut sequence = 0;
    for (exporter, socket) in (0..).zip(&sockets) {
        announce(exporters, exporter, socket, &mut sequence)?;
        // The kernel's buffers are no part of this.
        thread::park_timeout(Duration::from_millis(1));
    }
    let templates = u64::from(count) * u64::from(exporters.templates);
    known_everywhere(cluster, templates, crate::wait::PATIENCE)?;
    let mut written = 0;
    within(crate::wait::PATIENCE, "the store to have all", || {
        let (before, now) = (std::mem::replace(&mut written, template_writes(cluster)?), written);
        Ok(if now >= u64::from(count) && before == now { Ok(()) } else { Err(format!("{now} written")) })
    })?;
    let pids = cluster.coordinators.iter().map(Coordinator::pid).collect::<Result<Vec<_>>>()?;
    let coordinators = pids.into_iter().map(CpuClock::start).collect::<Result<Vec<_>>>()?;
    let nodes = cluster.running().map(|node| CpuClock::start(node.pid())).collect::<Result<Vec<_>>>()?;
    let (began, before) = (Instant::now(), template_writes(cluster)?);
    let mut announcements = 0;
    while began.elapsed() < time {
        let exporter = announcements % count;
        announce(exporters, exporter, &sockets[exporter as usize], &mut sequence)?;
        announcements += 1;
        thread::park_timeout((every / count * announcements).saturating_sub(began.elapsed()));
    }
    let most = |clocks: Vec<CpuClock>| {
        clocks.iter().try_fold(0.0, |most, clock| Ok::<_, anyhow::Error>(clock.share()?.max(most)))
    };
    Ok(Refreshed {
        announcements: announcements.into(),
        writes: template_writes(cluster)? - before,
        coordinator: most(coordinators)?,
        node: most(nodes)?,
    })
}

fn announce(exporters: &mut Exporters, exporter: u32, socket: &UdpSocket, sequence: &mut u32) -> Result<()> {
    exporters.send(socket, &exporters.announcement(exporter, *sequence))?;
    exporters.send(socket, &exporters.data(*sequence + 1))?;
    *sequence += 2;
    Ok(())
}

/// Floods all nodes with templates, a million a second if the machine can, while `count` good exporters (twenty at most, which is
/// how many have metrics of their own), known for some time before, send data; for so long.
///
/// # Errors
/// Where the good exporters' templates are not known in time, or a program fails.
pub fn flood(
    cluster: &Cluster,
    exporters: &mut Exporters,
    count: u32,
    (known, time): (Duration, Duration),
    options: &[&str],
) -> Result<Flooded> {
    let sockets = (0..count).map(|exporter| exporters.socket(exporter)).collect::<Result<Vec<_>, _>>()?;
    let mut sequence = 0;
    for (exporter, socket) in (0..).zip(&sockets) {
        announce(exporters, exporter, socket, &mut sequence)?;
    }
    known_everywhere(cluster, count.into(), crate::wait::PATIENCE)?;
    thread::park_timeout(known);
    for socket in &sockets {
        exporters.send(socket, &exporters.data(sequence))?;
    }
    settled(|| good(cluster, exporters, count))?;
    let targets = cluster.udp().iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let seconds = format!("{}s", time.as_secs());
    let mut arguments = vec!["--target", &targets, "--duration", &seconds];
    if RawSender::open(Family::V4).is_ok() {
        arguments.extend(["--spoof", "127.64.0.0/10"]);
    }
    arguments.extend(options);
    let templates = |cluster: &Cluster| received_templates(cluster);
    let (read_before, writes_before, good_before) =
        (templates(cluster)?, transactions(cluster)?, good(cluster, exporters, count)?);
    let flood = loadtest::start("flood", &arguments)?;
    let (began, mut sent) = (Instant::now(), 0_u32);
    while began.elapsed() < time {
        for socket in &sockets {
            exporters.send(socket, &exporters.data(sequence))?;
            sent += 1;
        }
        sequence += 1;
        thread::park_timeout(Duration::from_millis(5));
    }
    let report: Value = flood.finish()?;
    let took = began.elapsed().as_secs_f64();
    let writes = transactions(cluster)? - writes_before;
    let good_after = settled(|| good(cluster, exporters, count))?;
    let mut memory = 0;
    for node in cluster.running() {
        memory = usage::memory(node.pid())?.most.max(memory);
    }
    let domains = cluster
        .coordinators
        .iter()
        .map(|coordinator| coordinator.metrics()?.count("catchment_template_scopes", &[]));
    Ok(Flooded {
        sent: report["templates_per_second"].as_f64().context("templates a second")?,
        read: (templates(cluster)? - read_before) as f64 / took,
        writes: writes as f64 / took,
        domains: domains.collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or(0),
        memory,
        good: [sent.into(), good_after[0] - good_before[0], good_after[1] - good_before[1]],
    })
}

/// Waits until a figure is the same twice, half a second apart.
fn settled<T: PartialEq + Copy + std::fmt::Debug>(figure: impl Fn() -> Result<T>) -> Result<T> {
    let mut last = figure()?;
    until("figures to stand still", || {
        thread::park_timeout(Duration::from_millis(1500));
        let now = figure()?;
        let before = std::mem::replace(&mut last, now);
        Ok(if before == now { Ok(now) } else { Err(format!("{before:?}, then {now:?}")) })
    })
}

/// Datagrams and records of the good exporters, over all nodes.
fn good(cluster: &Cluster, exporters: &Exporters, count: u32) -> Result<[u64; 2]> {
    let mut sums = [0; 2];
    for node in cluster.running() {
        let scrape = node.metrics()?;
        for exporter in 0..count {
            let address = exporters.address(exporter).to_string();
            let of = |name| scrape.sum(name, &[("exporter", &address)]).unwrap_or(0.0) as u64;
            sums[0] += of("catchment_exporter_datagrams_total");
            sums[1] += of("catchment_exporter_records_total");
        }
    }
    Ok(sums)
}

fn received_templates(cluster: &Cluster) -> Result<u64> {
    cluster.running().try_fold(0, |sum, node| {
        let of = node.metrics()?.sum("catchment_templates_received_total", &[]);
        Ok(sum + of.context("no catchment_templates_received_total")? as u64)
    })
}

impl Flooded {
    /// Whether all that was read of good exporters was decoded, and some was.
    ///
    /// # Errors
    /// Where not.
    pub fn check_good(&self) -> Result<()> {
        let [sent, read, decoded] = self.good;
        ensure!(decoded == read && read > 0 && read <= sent, "of good exporters: {self:?}");
        Ok(())
    }
}
