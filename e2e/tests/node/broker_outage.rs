//! A broker that is absent, comes, goes and comes again: the node goes on receiving, and every record is accounted for.

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::broker::Broker;
use catchment_e2e::kafka::{Framing, Topic};
use catchment_e2e::loadtest;
use catchment_e2e::node::{Node, Settings};
use catchment_e2e::wait::until;

#[test]
fn records_are_counted_while_the_broker_is_away_and_delivered_once_it_is_there() -> Result<()> {
    let mut broker = Broker::prepare()?;
    let topic = Topic::existing(broker.address(), "outage", 1);
    let output = topic.settings();
    let [kafka, brokers, name] = output.each_ref().map(String::as_str);
    let node = Settings::new(&[kafka, brokers, name, "kafka.queue_bytes=1MiB"])?.launch()?;

    // Absent at start: not ready and says why; datagrams are received; what does not fit the queue is dropped.
    let why = wait_not_ready(&node)?;
    ensure!(why.contains("output: starting") && why.contains("broker"), "{why}");
    let sent = send(&node, 40_000)?;
    node.wait_ledger("records to be dropped", |ledger| {
        ledger.flow().is_ok_and(|flow| flow.dropped_reasons.contains_key("queue_full"))
    })?;
    let ledger = node.wait_received(sent)?;
    ensure!(ledger.flow()?.delivered == 0, "{ledger:?}");
    node.check_live()?;

    // It comes: ready, and what was queued and what is new is delivered.
    broker.start()?;
    node.wait_ready()?;
    let queued = settled(&node)?;
    ensure!(queued > 0, "nothing of the queue was delivered");
    send(&node, 2_000)?;
    let before_outage = settled(&node)?;
    ensure!(before_outage == queued + 2_000, "{before_outage} delivered, {queued} of them from the queue");

    // It goes: not ready again; it comes again: ready and delivering.
    broker.stop()?;
    let why = wait_not_ready(&node)?;
    ensure!(why.contains("output: failing"), "{why}");
    send(&node, 2_000)?;
    broker.start()?;
    node.wait_ready()?;
    let after_outage = settled(&node)?;
    send(&node, 2_000)?;
    let end = settled(&node)?;
    ensure!(end == after_outage + 2_000, "{end} delivered, {after_outage} before the last");

    let flow = node.stop()?.ledger.flow()?.clone();
    let reasons: Vec<_> = flow.dropped_reasons.keys().map(String::as_str).collect();
    ensure!(reasons == ["queue_full"], "{flow:?}");
    let held = topic.with_records(Framing::Packed, usize::try_from(flow.delivered)?)?;
    let held = Framing::Packed.all(&held)?.len() as u64;
    ensure!(held == flow.delivered, "Kafka holds {held}: {flow:?}");
    Ok(())
}

/// Waits until `/readyz` says no; gives its reasons.
fn wait_not_ready(node: &Node) -> Result<String> {
    until("the node not to be ready", || {
        let answer = node.get("/readyz")?;
        Ok(if answer.status == 503 { Ok(answer.body) } else { Err(answer.body) })
    })
}

/// Sends records, waits until they are received, and says how many datagrams the node has received in all.
fn send(node: &Node, records: u64) -> Result<u64> {
    let before = node.ledger()?.datagrams.received;
    let (target, records) = (node.udp()?.to_string(), records.to_string());
    let report = loadtest::run("run", &["--target", &target, "--records", &records, "--rate", "20000"])?;
    let all = before + report["datagrams"].as_u64().context("datagrams sent")?;
    node.wait_received(all)?;
    Ok(all)
}

/// Waits until nothing is in flight; says how much was delivered.
fn settled(node: &Node) -> Result<u64> {
    // Open batches are handed over within tens of milliseconds, which a ledger alone does not show.
    let decoded = node.metrics()?.count("catchment_records_decoded_total", &[("stream", "flow")])?;
    let ledger = node.wait_ledger("all records to be settled", |ledger| {
        ledger.flow().is_ok_and(|flow| flow.in_flight == 0 && flow.produced >= decoded)
    })?;
    Ok(ledger.flow()?.delivered)
}
