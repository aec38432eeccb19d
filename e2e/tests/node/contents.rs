//! What leaves on Kafka is what `ingest-node decode` says of the same datagrams, in every framing and compression.

use std::collections::HashSet;

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::decoded::{decode, same};
use catchment_e2e::kafka::{Framing, Message, Topic, brokers};
use catchment_e2e::node::Node;
use catchment_e2e::{loadtest, record_batch, testdata};

#[test]
fn packed_lz4() -> Result<()> {
    testdata_arrives(Framing::Packed, "lz4")
}

#[test]
fn packed_snappy() -> Result<()> {
    testdata_arrives(Framing::Packed, "snappy")
}

#[test]
fn list_zstd() -> Result<()> {
    testdata_arrives(Framing::List, "zstd")
}

#[test]
fn single_gzip() -> Result<()> {
    testdata_arrives(Framing::Single, "gzip")
}

#[test]
fn single_delimited_uncompressed() -> Result<()> {
    testdata_arrives(Framing::SingleDelimited, "none")
}

fn testdata_arrives(framing: Framing, compression: &str) -> Result<()> {
    let topic = Topic::create(framing.as_str(), 1)?;
    let framing_setting = format!("kafka.framing={}", framing.as_str());
    let compression_setting = format!("kafka.compression={compression}");
    let node = Node::start_to(&topic, &[&framing_setting, &compression_setting, "node.id=contents"])?;
    let captures = testdata::captures()?;
    let datagrams = loadtest::replay(node.udp()?, &captures)?;

    let expected = decode("flow", &captures)?;
    let messages = topic.with_records(framing, expected.len())?;
    let stopped = node.stop()?;

    ensure!(stopped.ledger.datagrams.received == datagrams, "{:?}", stopped.ledger.datagrams);
    ensure!(stopped.ledger.datagrams.decoded == datagrams, "{:?}", stopped.ledger.datagrams);
    ensure!(stopped.ledger.flow()?.delivered == expected.len() as u64, "{:?}", stopped.ledger.flow()?);
    check_headers(framing, &messages)?;
    let codec = record_batch::codec(&brokers()?, &topic.name, 0)?;
    ensure!(codec == compression, "on the broker it is {codec}, not {compression}");
    same(framing.all(&messages)?, expected)
}

/// Batches say who made them, how they are laid out and what they hold; single records say nothing.
fn check_headers(framing: Framing, messages: &[Message]) -> Result<()> {
    let mut batches = HashSet::new();
    for message in messages {
        if !framing.is_batch() {
            ensure!(message.headers.is_empty(), "{:?}", message.headers);
            continue;
        }
        let names: Vec<_> = message.headers.iter().map(|(name, _)| name.as_str()).collect();
        ensure!(names == ["catchment-batch", "catchment-framing", "catchment-records"], "{names:?}");
        ensure!(message.header("catchment-framing") == Some(framing.as_str()), "{:?}", message.headers);
        let records = framing.records(&message.payload)?.len().to_string();
        ensure!(message.header("catchment-records") == Some(&records), "{:?}", message.headers);
        let batch = message.header("catchment-batch").context("a batch without a name")?;
        let parts: Vec<_> = batch.split('/').collect();
        let numbers = parts.iter().skip(1).all(|part| part.parse::<u64>().is_ok());
        ensure!(parts.len() == 4 && parts[0] == "contents" && numbers, "{batch}");
        ensure!(batches.insert(batch), "{batch} twice");
    }
    Ok(())
}
