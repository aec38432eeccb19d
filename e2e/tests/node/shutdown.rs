//! SIGTERM under load: the node says that it is not ready, reads on until its exporters are quiet, flushes and exits 0.

use anyhow::{Result, ensure};
use catchment_e2e::kafka::{Topic, brokers};
use catchment_e2e::loadtest;
use catchment_e2e::node::Node;
use nix::sys::signal::Signal;

#[test]
fn sigterm_under_load_loses_nothing() -> Result<()> {
    let topic = Topic::create("shutdown", 4)?;
    let node = Node::start_to(&topic, &["node.workers=2"])?;
    let target = node.udp()?.to_string();
    let workload = ["--protocol", "v9,ipfix,sflow,v5", "--exporters", "16", "--records", "60000"];
    let run = loadtest::start("run", &[&workload[..], &["--target", &target, "--rate", "20000"]].concat())?;
    node.wait_received(500)?;

    let live = node.check_live()?;
    node.signal(Signal::SIGTERM)?;
    node.wait_log("stopping")?;
    let answer = node.get("/readyz")?;
    ensure!(answer.status == 503 && answer.body.contains("stopping"), "{answer:?}");
    ensure!(node.get("/livez")?.status == 200, "a node that drains is alive");

    let sent = run.finish()?;
    let ledger = node.ended(&live)?.ledger;
    ensure!(ledger.datagrams.received > live.datagrams.received, "nothing came after the signal: {ledger:?}");
    ensure!(Some(ledger.datagrams.received) == sent["datagrams"].as_u64(), "sent {sent}: {ledger:?}");
    ensure!(Some(ledger.flow()?.delivered) == sent["records"].as_u64(), "sent {sent}: {ledger:?}");
    let brokers = brokers()?;
    loadtest::run("verify", &[&workload[..], &["--brokers", &brokers, "--topic", &topic.name]].concat())?;
    Ok(())
}

#[test]
fn sigint_stops_an_idle_node_too() -> Result<()> {
    let node = Node::start(&[])?;
    let live = node.check_live()?;
    node.signal(Signal::SIGINT)?;
    let ledger = node.ended(&live)?.ledger;
    ensure!(ledger.datagrams.arrived == 0, "{ledger:?}");
    Ok(())
}
