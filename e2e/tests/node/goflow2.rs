//! A consumer written against goflow2's numbers alone reads what the node sends.

use anyhow::{Result, ensure};
use catchment_e2e::consumer::{consume, goflow2_fields};
use catchment_e2e::kafka::{Framing, Topic};
use catchment_e2e::node::Node;
use catchment_e2e::{decoded, loadtest, testdata};

#[test]
fn a_goflow2_consumer_reads_single_records() -> Result<()> {
    consumer_agrees(Framing::Single)
}

#[test]
fn a_goflow2_consumer_reads_delimited_records() -> Result<()> {
    consumer_agrees(Framing::SingleDelimited)
}

#[test]
fn a_goflow2_consumer_reads_packed_records() -> Result<()> {
    consumer_agrees(Framing::Packed)
}

fn consumer_agrees(framing: Framing) -> Result<()> {
    let topic = Topic::create("goflow2", 1)?;
    let node = Node::start_to(&topic, &[&format!("kafka.framing={}", framing.as_str())])?;
    // Every protocol, IPv4 and IPv6, sampling, sampled headers.
    let captures = [
        "v1-softflowd.pcap",
        "v5-pmacctd.pcap",
        "v9-softflowd-sampled.pcap",
        "ipfix-softflowd-biflow.pcap",
        "sflow-openvswitch.pcap",
    ];
    let captures = captures.map(testdata::capture).to_vec();
    loadtest::replay(node.udp()?, &captures)?;

    let expected = decoded::decode("flow", &captures)?;
    let messages = topic.with_records(framing, expected.len())?;
    node.stop()?;

    let ours = framing.all(&messages)?;
    decoded::same(ours.clone(), expected)?;
    let theirs = consume(framing, &messages)?;
    ensure!(theirs.len() == ours.len(), "the consumer read {} of {} records", theirs.len(), ours.len());
    for (theirs, ours) in theirs.iter().zip(&ours) {
        let ours = goflow2_fields(ours);
        ensure!(*theirs == ours, "the consumer read {theirs:?}\nsent was {ours:?}");
    }
    Ok(())
}
