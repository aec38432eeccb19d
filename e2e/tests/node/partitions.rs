//! `kafka.partition_by`: what belongs together is in one partition, and all partitions are used.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use anyhow::{Result, ensure};
use catchment_e2e::kafka::{Framing, Topic};
use catchment_e2e::loadtest;
use catchment_e2e::node::Node;
use catchment_proto::flow::v1::FlowRecord;

const PARTITIONS: i32 = 5;
const EXPORTERS: usize = 40;
const RECORDS: usize = 4_000;

#[test]
fn an_exporter_has_one_partition() -> Result<()> {
    let exporters = together("exporter", |record| record.sampler_address.clone())?;
    ensure!(exporters == EXPORTERS, "{exporters} exporters");
    Ok(())
}

#[test]
fn a_flow_has_one_partition() -> Result<()> {
    let flows = together("flow", |record| {
        let (ends, ports) =
            ((record.src_addr.clone(), record.dst_addr.clone()), (record.src_port, record.dst_port));
        (ends, ports, record.proto)
    })?;
    ensure!(flows > EXPORTERS, "{flows} flows");
    Ok(())
}

/// Sends the same records twice and says how many keys they have; each has one partition, and no partition is empty.
fn together<K: Eq + Hash>(partition_by: &str, key: impl Fn(&FlowRecord) -> K) -> Result<usize> {
    let topic = Topic::create(partition_by, PARTITIONS)?;
    let node = Node::start_to(&topic, &[&format!("kafka.partition_by={partition_by}"), "node.workers=2"])?;
    let (target, exporters, records) = (node.udp()?.to_string(), EXPORTERS.to_string(), RECORDS.to_string());
    let arguments = [
        "--target",
        &target,
        "--exporters",
        &exporters,
        "--records",
        &records,
        "--rate",
        "20000",
        "--protocol",
        "v5",
    ];
    for _ in 0..2 {
        loadtest::run("run", &arguments)?;
    }
    let messages = topic.with_records(Framing::Packed, 2 * RECORDS)?;
    let stopped = node.stop()?;
    ensure!(stopped.ledger.flow()?.delivered == 2 * RECORDS as u64, "{:?}", stopped.ledger);

    let mut partitions = HashMap::new();
    for message in &messages {
        for record in Framing::Packed.records(&message.payload)? {
            let partition = *partitions.entry(key(&record)).or_insert(message.partition);
            ensure!(partition == message.partition, "in {partition} and {}: {record:?}", message.partition);
        }
    }
    let used: HashSet<_> = partitions.values().collect();
    ensure!(used.len() == PARTITIONS as usize, "used are {used:?}");
    Ok(partitions.len())
}
