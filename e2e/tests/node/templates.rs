//! The template store is the node's: templates come from one source port, data from others, whichever worker gets them.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::datagrams::{Protocol, source};
use catchment_e2e::kafka::{Framing, Message, Topic};
use catchment_e2e::node::Node;
use catchment_e2e::udp::Exporter;
use catchment_e2e::wait::until;

/// Enough that the kernel spreads them over four workers.
const PORTS: u32 = 16;
const RECORDS: u32 = 50;

#[test]
fn netflow_v9_data_from_other_ports_is_decoded() -> Result<()> {
    let workers = decoded_by(Protocol::V9, "none")?;
    ensure!(workers.len() > 1, "one worker got everything: {workers:?}");
    Ok(())
}

#[test]
fn ipfix_data_from_other_ports_is_decoded() -> Result<()> {
    let workers = decoded_by(Protocol::Ipfix, "none")?;
    ensure!(workers.len() > 1, "one worker got everything: {workers:?}");
    Ok(())
}

#[test]
fn steering_sends_all_ports_of_an_exporter_to_one_worker() -> Result<()> {
    for protocol in [Protocol::V9, Protocol::Ipfix] {
        let workers = decoded_by(protocol, "address")?;
        ensure!(workers.len() == 1, "{protocol:?}: {workers:?}");
    }
    Ok(())
}

/// Sends a template from one port and records from many, finds all of them in Kafka, and says which workers sent them.
fn decoded_by(protocol: Protocol, steering: &str) -> Result<BTreeSet<String>> {
    let topic = Topic::create("templates", 1)?;
    let node = Node::start_to(&topic, &["node.workers=4", &format!("udp.steering={steering}")])?;
    Exporter::new(node.udp()?)?.send(&protocol.template())?;
    until("the template", || {
        let templates = node.metrics()?.count("catchment_templates", &[])?;
        Ok(if templates == 1 { Ok(()) } else { Err(format!("{templates} templates")) })
    })?;
    let exporters: Vec<_> = (0..PORTS).map(|_| Exporter::new(node.udp()?)).collect::<Result<_>>()?;
    for (exporter, first) in exporters.iter().zip((1..).step_by(RECORDS as usize)) {
        exporter.send(&protocol.data(first..first + RECORDS))?;
    }
    let messages = topic.with_records(Framing::Packed, (PORTS * RECORDS) as usize)?;
    let ledger = node.stop()?.ledger;
    ensure!(ledger.datagrams.decoded == u64::from(1 + PORTS), "{ledger:?}");
    ensure!((ledger.sets.seen, ledger.sets.decoded) == (PORTS.into(), PORTS.into()), "{ledger:?}");

    let mut records = Framing::Packed.all(&messages)?;
    records.sort_by_key(|record| record.bytes);
    for (record, number) in records.iter().zip(1..) {
        let expected = (u64::from(number), 1, source(number).octets().to_vec());
        let found = (record.bytes, record.packets, record.src_addr.clone());
        ensure!(found == expected, "found {found:?}, expected {expected:?}");
    }
    messages.iter().map(worker).collect()
}

/// The worker in `node/incarnation/worker/number`.
fn worker(message: &Message) -> Result<String> {
    let batch = message.header("catchment-batch").context("a batch without a name")?;
    Ok(batch.split('/').nth(2).context("a batch without a worker")?.to_owned())
}
