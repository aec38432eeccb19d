//! TLS and SASL reach the broker: certificates of both sides are checked, and so is the password.

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::broker::{Broker, PASSWORD, USER};
use catchment_e2e::kafka::{Framing, Topic};
use catchment_e2e::node::{Node, Settings};
use catchment_e2e::udp::Exporter;
use catchment_e2e::wait::until;
use catchment_e2e::{datagrams::Protocol, testdata};

#[test]
fn tls_and_sasl_protect_the_way_to_the_broker() -> Result<()> {
    let mut broker = Broker::prepare()?;
    broker.start()?;
    let topic = Topic::existing(broker.address(), "security", 1);
    let certificates = broker.certificates();
    let authority = format!("kafka.tls.ca_file={}", certificates.authority.display());
    let certificate = format!("kafka.tls.cert_file={}", certificates.client.display());
    let key = format!("kafka.tls.key_file={}", certificates.client_key.display());
    let topic_setting = format!("kafka.topic={}", topic.name);
    let common = ["output=kafka", "kafka.tls.enabled=on", &topic_setting];
    let (tls, sasl) = (
        format!("kafka.brokers={}", broker.tls_address()),
        format!("kafka.brokers={}", broker.sasl_address()),
    );
    let user = format!("kafka.sasl.username={USER}");

    // A client's certificate, as the broker demands.
    deliver(&Node::start(&[&common[..], &[&tls, &authority, &certificate, &key]].concat())?, &topic, 1)?;

    // Without one, and from an authority that is not known: not ready, and it says why.
    refused(&[&common[..], &[&tls, &authority]].concat(), "ssl")?;
    refused(&[&common[..], &[&tls, &certificate, &key]].concat(), "certificate")?;

    // A user's password, from the environment.
    let login = [&common[..], &[&sasl, &authority, "kafka.sasl.mechanism=PLAIN", &user]].concat();
    let node = Settings::new(&login)?.env("CATCHMENT_KAFKA__SASL__PASSWORD", PASSWORD).start()?;
    deliver(&node, &topic, 2)?;
    refused(&[&login[..], &["kafka.sasl.password=wrong"]].concat(), "authentication failed")
}

/// Sends a datagram through the node and waits until all records so far are in the topic.
fn deliver(node: &Node, topic: &Topic, rounds: usize) -> Result<()> {
    let datagrams = testdata::datagrams(&testdata::capture("v5-pmacctd.pcap"))?;
    let datagram = datagrams.first().context("an empty capture")?;
    let records = usize::from(u16::from_be_bytes([datagram[2], datagram[3]]));
    Exporter::new(node.udp()?)?.send(datagram)?;
    topic.with_records(Framing::Packed, rounds * records)?;
    Ok(())
}

/// Starts a node that must not become ready, for a reason that has `word` in it.
fn refused(settings: &[&str], word: &str) -> Result<()> {
    let node = Settings::new(settings)?.launch()?;
    until("the reason why the node is not ready", || {
        let answer = node.get("/readyz")?;
        ensure!(answer.status == 503, "ready with {settings:?}");
        let found = answer.body.to_lowercase().contains(word);
        Ok(if found { Ok(()) } else { Err(answer.body + &node.log()) })
    })?;
    Exporter::new(node.udp()?)?.send(&Protocol::V9.template())?;
    node.wait_received(1)?;
    node.stop()?;
    Ok(())
}
