//! Exporters that mean another layout by one template id: two devices behind one address, and one that has restarted.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::catchctl;
use catchment_e2e::cluster::{Cluster, Plan};
use catchment_e2e::datagrams::{Layout, Protocol, source};
use catchment_e2e::device::Device;
use catchment_e2e::kafka::Framing;
use catchment_e2e::load::Load;
use catchment_e2e::wait::until;
use serde_json::Value;

/// How long nothing must be written to count as at rest.
const REST: Duration = Duration::from_secs(2);

fn decoded(cluster: &Cluster, node: usize) -> Result<u64> {
    Ok(cluster.node(node)?.ledger()?.sets.decoded)
}

/// A record of a device is decoded at a node.
fn decodes(cluster: &Cluster, device: &mut Device, node: usize) -> Result<()> {
    let before = decoded(cluster, node)?;
    device.data(cluster.udp_of(node)?)?;
    let done = |ledger: &catchment_e2e::ledger::Ledger| ledger.sets.decoded > before;
    cluster.node(node)?.wait_ledger("data to be decoded", done).map(drop)
}

/// Every record on the topic was read by the layout that it was written in: it carries its number twice.
fn check_values(cluster: &Cluster, records: u64) -> Result<()> {
    let messages = cluster.topic.with_records(Framing::Packed, usize::try_from(records)?)?;
    for record in Framing::Packed.all(&messages)? {
        let number = u32::try_from(record.bytes).context("a number")?;
        let found = (record.packets, record.src_addr.clone());
        ensure!(found == (1, source(number).octets().to_vec()), "read by another layout: {record:?}");
    }
    Ok(())
}

/// The templates that a node decodes by.
fn templates_at(cluster: &Cluster, node: usize) -> Result<Value> {
    catchctl::ask_node(cluster.node(node)?.grpc()?, &["templates", "--fields"])
}

/// When templates were written last. What nodes look for is written too, as long as data waits.
fn written(cluster: &Cluster) -> Result<i64> {
    let etcd = cluster.etcd.as_ref().context("an etcd")?;
    let templates = etcd.entries(&format!("/catchment/{}/templates/", cluster.name()))?;
    Ok(templates.into_iter().map(|entry| entry.revision).max().unwrap_or(0))
}

/// Waits until nobody writes templates any more; says when somebody did last.
fn wait_templates_rest(cluster: &Cluster) -> Result<i64> {
    let (mut revision, mut since) = (0, Instant::now());
    until("templates to be at rest", || {
        let now = written(cluster)?;
        if now != revision || now == 0 {
            (revision, since) = (now, Instant::now());
        }
        Ok(if since.elapsed() >= REST { Ok(revision) } else { Err(format!("revision {now}")) })
    })
}

/// Each port is decoded by what it announced itself; a port that announced nothing waits, and the disagreement is reported.
#[test]
fn two_devices_behind_one_address_are_told_apart_by_their_ports() -> Result<()> {
    let cluster = Plan { nodes: 3, ..Plan::new("one-address") }.start()?;
    let address = Ipv4Addr::new(127, 10, 0, 1);
    let port = || Device::at(address, Protocol::V9);
    let (mut one, mut other, mut third) = (port()?, port()?, port()?);
    other.layout = Layout::Reversed;
    other.next = 1_000;
    third.next = 2_000;
    one.teach(cluster.udp_of(0)?)?;
    other.teach(cluster.udp_of(1)?)?;
    // Until a node knows of both, one layout is all that it knows of that address.
    until("all to know both ports", || {
        let count = |node| Ok(templates_at(&cluster, node)?["templates"].as_array().map_or(0, Vec::len));
        let counts = (0..3).map(count).collect::<Result<Vec<_>>>()?;
        Ok(if counts == [2, 2, 2] { Ok(()) } else { Err(format!("{counts:?}")) })
    })?;
    for node in [1, 2, 0] {
        decodes(&cluster, &mut one, node)?;
        decodes(&cluster, &mut other, node)?;
    }
    third.data(cluster.udp_of(2)?)?;
    until("the conflict to be counted", || {
        let conflicts = cluster.node(2)?.metrics()?.count("catchment_template_conflicts_total", &[])?;
        Ok(if conflicts > 0 { Ok(()) } else { Err("no conflict".to_owned()) })
    })?;
    let templates = cluster.ask(&["templates"])?;
    let listed = templates["templates"].as_array().context("templates")?;
    ensure!(listed.len() == 2 && listed.iter().all(|each| each["conflict"] == true), "{templates:#}");
    let exporters = cluster.ask(&["exporters"])?;
    let conflicts = &exporters["exporters"][0]["scopes"][0]["conflicts"];
    ensure!(conflicts.as_array().is_some_and(|ids| ids.len() == 1 && ids[0] == 256), "{exporters:#}");
    // Each goes on to announce what it always did, wherever that arrives.
    let revision = wait_templates_rest(&cluster)?;
    for node in [2, 1, 0] {
        one.teach(cluster.udp_of(node)?)?;
        other.teach(cluster.udp_of(node)?)?;
    }
    ensure!(wait_templates_rest(&cluster)? == revision, "the store flaps");
    // Its word reaches a node that has no data of it.
    third.announce(cluster.udp_of(0)?)?;
    cluster.node(2)?.wait_ledger("data to be decoded", |ledger| ledger.sets.pending == 0)?;
    let (mut datagrams, mut records) = (0, 0);
    for port in [&one, &other, &third] {
        datagrams += port.tally.datagrams;
        records += port.tally.records;
    }
    cluster.wait_totals("all to be decoded", |totals| totals.delivered == records)?;
    check_values(&cluster, records)?;
    cluster.stop()?.check_all_decoded(datagrams, records)
}

/// Of two that cannot be told apart the later word counts, for all nodes the same; and the store comes to rest.
#[test]
fn two_devices_behind_one_port_end_with_the_same_layout_everywhere() -> Result<()> {
    let cluster = Plan { nodes: 3, ..Plan::new("one-port") }.start()?;
    let mut device = Device::at(Ipv4Addr::new(127, 10, 0, 2), Protocol::V9)?;
    for round in 0..6 {
        device.layout = Layout::Usual;
        device.teach(cluster.udp_of(round % 3)?)?;
        device.layout = Layout::Reversed;
        device.teach(cluster.udp_of((round + 1) % 3)?)?;
    }
    wait_templates_rest(&cluster)?;
    let mut found = Vec::new();
    for node in 0..3 {
        let templates = templates_at(&cluster, node)?;
        let listed = templates["templates"].as_array().context("templates")?;
        ensure!(listed.len() == 1, "{templates:#}");
        found.push(listed[0]["fields"].clone());
    }
    ensure!(found.iter().all(|fields| *fields == found[0]), "nodes differ: {found:?}");
    let changed =
        |node: usize| cluster.node(node)?.metrics()?.count("catchment_templates_changed_total", &[]);
    let changes: u64 = (0..3).map(changed).sum::<Result<u64>>()?;
    ensure!(changes >= 6, "{changes} changes were counted");
    let records = device.tally.records;
    cluster.wait_totals("all to be decoded", |totals| totals.delivered == records)?;
    cluster.stop()?.check_all_decoded(device.tally.datagrams, records)
}

fn now() -> Result<u32> {
    Ok(u32::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?)
}

/// The clocks of v9 exporters were right; after a restart they are two hours behind. No record is read by the layout of before.
#[test]
fn a_clock_that_falls_back_at_a_restart_leaves_no_node_with_the_old_layout() -> Result<()> {
    let cluster = Plan::new("clock-back").start()?;
    // Their first flow ended an hour after they booted.
    let boot = now()? - 3_600;
    let load = Load::new(&format!(
        "--protocol v9 --exporters 6 --templates-every once --boot-time {boot} \
         --restart-after 4000 --restart-clock-back 2h --restart-layout new"
    ));
    let sent = load.send(&cluster.udp(), 48_000, 12_000)?;
    sent.check_whole(&cluster)?;
    cluster.stop()?.check_all_decoded(sent.tally.datagrams, sent.tally.records)
}

/// IPFIX has no uptime: a restart whose clock falls back is none that anybody can see. The new layout wins when it is announced.
#[test]
fn a_new_layout_wins_though_its_clock_is_behind() -> Result<()> {
    let cluster = Plan { nodes: 3, ..Plan::new("layout-behind") }.start()?;
    let mut device = Device::at(Ipv4Addr::new(127, 10, 0, 3), Protocol::Ipfix)?;
    device.clock = now()?;
    device.teach(cluster.udp_of(0)?)?;
    (0..3).try_for_each(|node| decodes(&cluster, &mut device, node))?;
    device.clock -= 7_200;
    device.sequence = 0;
    device.layout = Layout::Reversed;
    device.teach(cluster.udp_of(1)?)?;
    let first = |node: usize| {
        let templates = templates_at(&cluster, node)?;
        Ok::<_, anyhow::Error>(templates["templates"][0]["fields"][0]["specifier"]["id"].clone())
    };
    until("the new layout at all nodes", || {
        let found = (0..3).map(first).collect::<Result<Vec<_>>>()?;
        Ok(if found.iter().all(|id| *id == 2) { Ok(()) } else { Err(format!("{found:?}")) })
    })?;
    (0..3).try_for_each(|node| decodes(&cluster, &mut device, node))?;
    check_values(&cluster, device.tally.records)?;
    cluster.stop()?.check_all_decoded(device.tally.datagrams, device.tally.records)
}
