//! Counters, drops and options: off unless their topic is named.

use anyhow::{Result, ensure};
use catchment_e2e::datagrams::sflow_drop;
use catchment_e2e::decoded::decode;
use catchment_e2e::kafka::{Message, Topic, delimited};
use catchment_e2e::node::{Node, Stopped};
use catchment_e2e::udp::Exporter;
use catchment_e2e::{loadtest, testdata};
use catchment_proto::flow::v1::{OptionsRecord, SflowCounters, SflowDrop};

const CAPTURES: [&str; 2] = ["sflow-openvswitch.pcap", "ipfix-softflowd-biflow.pcap"];

#[test]
fn streams_are_off_unless_their_topic_is_named() -> Result<()> {
    let topic = Topic::create("flows-only", 1)?;
    let node = Node::start_to(&topic, &[])?;
    replay(&node)?;
    let metrics = node.metrics()?;
    for stream in ["counters", "options"] {
        let decoded = metrics.count("catchment_records_decoded_total", &[("stream", stream)])?;
        ensure!(decoded > 0, "no {stream} in the captures");
    }
    let Stopped { ledger, .. } = node.stop()?;
    for stream in ["counters", "drops", "options"] {
        let account = ledger.stream(stream)?;
        ensure!(account.produced == 0, "{stream}: {account:?}");
    }
    ensure!(ledger.flow()?.delivered > 0, "{ledger:?}");
    Ok(())
}

#[test]
fn named_topics_are_filled() -> Result<()> {
    let flows = Topic::create("flows", 1)?;
    let [counters, drops, options] =
        [Topic::create("counters", 1)?, Topic::create("drops", 1)?, Topic::create("options", 1)?];
    let node = Node::start_to(
        &flows,
        &[
            &format!("kafka.counters_topic={}", counters.name),
            &format!("kafka.drops_topic={}", drops.name),
            &format!("kafka.options_topic={}", options.name),
        ],
    )?;
    replay(&node)?;
    // No capture has a drop notification.
    Exporter::new(node.udp()?)?.send(&sflow_drop(7))?;
    let Stopped { ledger, .. } = node.stop()?;

    let captures = CAPTURES.map(testdata::capture).to_vec();
    let mut expected: Vec<SflowCounters> = decode("counters", &captures)?;
    let mut found: Vec<SflowCounters> = all(&counters.messages_until(|messages| Ok(!messages.is_empty()))?)?;
    ensure!(ledger.stream("counters")?.delivered == found.len() as u64, "{ledger:?}");
    for counters in expected.iter_mut().chain(&mut found) {
        (counters.time_received_ns, counters.exporter) = (0, Vec::new());
    }
    ensure!(!expected.is_empty() && found == expected, "found {found:#?}\nexpected {expected:#?}");

    let mut expected: Vec<OptionsRecord> = decode("options", &captures)?;
    let mut found: Vec<OptionsRecord> = all(&options.messages_until(|messages| Ok(!messages.is_empty()))?)?;
    ensure!(ledger.stream("options")?.delivered == found.len() as u64, "{ledger:?}");
    for options in expected.iter_mut().chain(&mut found) {
        (options.time_received_ns, options.exporter, options.port) = (0, Vec::new(), 0);
    }
    ensure!(!expected.is_empty() && found == expected, "found {found:#?}\nexpected {expected:#?}");

    let found: Vec<SflowDrop> = all(&drops.messages_until(|messages| Ok(!messages.is_empty()))?)?;
    ensure!(ledger.stream("drops")?.delivered == 1 && found.len() == 1, "{ledger:?}\n{found:#?}");
    let drop = &found[0];
    ensure!(drop.agent_address == [192, 0, 2, 9] && (drop.in_if, drop.drops) == (3, 7), "{drop:#?}");
    ensure!(drop.reason_name == "net_unreachable", "{drop:#?}");
    Ok(())
}

/// Sends the captures and waits until they are received.
fn replay(node: &Node) -> Result<()> {
    let datagrams = loadtest::replay(node.udp()?, &CAPTURES.map(testdata::capture))?;
    node.wait_received(datagrams)?;
    Ok(())
}

fn all<M: prost::Message + Default>(messages: &[Message]) -> Result<Vec<M>> {
    let lists: Result<Vec<_>> = messages.iter().map(|message| delimited(&message.payload)).collect();
    Ok(lists?.into_iter().flatten().collect())
}
