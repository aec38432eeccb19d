//! The Kafka output against real brokers (where `CATCHMENT_TEST_KAFKA` names one) and against librdkafka's mock cluster.
//!
//! Real: every framing and compression is produced, and consumed back with its headers. Mock: brokers that are absent,
//! go away or refuse; after each the accounts must balance and nothing may be in flight.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, TcpListener};
use std::time::{Duration, Instant, SystemTime};

use catchment_proto::flow::v1::{FlowBatch, FlowRecord};
use flow_decoder::protobuf::Tag;
use flow_decoder::{Sink, Stream};
use ingest_node::config::{Compression, Config, Framing, Sources};
use ingest_node::ledger::{DropReason, StreamLedger};
use ingest_node::output::{HEADER_BATCH, HEADER_FRAMING, HEADER_RECORDS, Origin, Output};
use prost::Message as _;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

const DEADLINE: Duration = Duration::from_secs(60);

fn open(brokers: &str, set: &[&str]) -> Output {
    let mut all =
        vec!["output=kafka".to_owned(), format!("kafka.brokers={brokers}"), "node.workers=2".to_owned()];
    all.extend(set.iter().map(ToString::to_string));
    let config =
        Config::load(&Sources { set: all, ..Sources::default() }).expect("a right configuration").config;
    Output::open(&config, Origin { node: "node-1".into(), incarnation: 7 }).expect("opens")
}

/// Hands `count` flow records to a sink of worker 0; `bytes` counts from 1, and so does the source port.
fn produce(output: &Output, count: u32) {
    let mut sink = output.sink(0);
    sink.begin_datagram(IpAddr::from([192, 0, 2, 1]));
    for number in 1..=count {
        let Some(batch) = sink.batch(Stream::Flow) else { panic!("flow records are on") };
        let mut record = batch.begin();
        record.bytes4(Tag::delimited(6), [10, 0, 0, 1]);
        record.uint(Tag::varint(9), u64::from(number));
        record.uint(Tag::varint(21), (number & 0xffff).into());
        let len = record.finish();
        sink.written(Stream::Flow, len);
    }
}

fn flow_account(output: &Output) -> StreamLedger {
    output.streams()[Stream::Flow as usize]
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Closes the output; whatever happened before, the account must balance then and nothing be in flight.
fn close_within(output: &Output, time: Duration) -> StreamLedger {
    output.close(Instant::now() + time);
    let account = flow_account(output);
    assert!(account.is_balanced(), "{account:?}");
    assert_eq!(account.in_flight, 0, "{account:?}");
    account
}

#[test]
fn the_mock_cluster_takes_every_framing() {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    for framing in Framing::ALL {
        let topic = format!("flows-{framing}");
        cluster.create_topic(&topic, 2, 1).expect("created");
        let set = [&*format!("kafka.topic={topic}"), &*format!("kafka.framing={framing}")];
        let output = open(&cluster.bootstrap_servers(), &set);
        produce(&output, 5_000);
        assert_eq!(close_within(&output, DEADLINE).delivered, 5_000);
        assert!(output.health().is_ready(), "{:?}", output.health());
    }
}

#[test]
fn an_absent_broker_is_said_and_a_full_queue_is_counted() {
    let unused = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let output = open(&unused.to_string(), &["kafka.queue_bytes=1MiB", "kafka.producers=1"]);
    wait_until("it says why", || output.health().reason.contains("brokers do not answer"));
    assert!(!output.health().is_ready());

    produce(&output, 200_000);
    let account = flow_account(&output);
    assert!(account.is_balanced(), "{account:?}");
    assert!(account.in_flight > 0 && account.dropped[DropReason::QueueFull] > 0, "{account:?}");
    let account = close_within(&output, Duration::from_millis(100));
    assert_eq!(account.delivered, 0);
    assert!(account.dropped[DropReason::Shutdown] > 0, "{account:?}");
}

#[test]
fn brokers_that_come_back_take_what_waited() {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    cluster.create_topic("flows", 2, 1).expect("created");
    let output = open(&cluster.bootstrap_servers(), &["kafka.topic=flows"]);
    produce(&output, 1_000);
    wait_until("the first are delivered", || flow_account(&output).delivered == 1_000);
    cluster.broker_down(1).expect("down");
    wait_until("it is noticed", || !output.health().is_ready());
    produce(&output, 1_000);
    assert!(flow_account(&output).in_flight > 0);
    cluster.broker_up(1).expect("up");
    wait_until("the rest is delivered", || flow_account(&output).delivered == 2_000);
    assert!(output.health().is_ready());
    assert_eq!(close_within(&output, DEADLINE).dropped.total(), 0);
}

#[test]
fn refused_messages_are_counted() {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    cluster.create_topic("flows", 1, 1).expect("created");
    let output = open(&cluster.bootstrap_servers(), &["kafka.topic=flows", "kafka.idempotence=false"]);
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::Produce, &[refusal]);
    produce(&output, 100);
    wait_until("all are settled", || flow_account(&output).in_flight == 0);
    assert_eq!(flow_account(&output).dropped[DropReason::DeliveryFailed], 100);
    assert!(!output.health().is_ready());
    produce(&output, 100);
    assert_eq!(close_within(&output, DEADLINE).delivered, 100);
}

#[test]
fn a_producer_that_fails_for_good_is_made_anew() {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    cluster.create_topic("flows", 1, 1).expect("created");
    let output = open(&cluster.bootstrap_servers(), &["kafka.topic=flows", "kafka.producers=1"]);
    produce(&output, 1_000);
    wait_until("the first are delivered", || flow_account(&output).delivered == 1_000);
    let lost = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    cluster.request_errors(RDKafkaApiKey::Produce, &[lost; 3]);
    let mut produced = 1_000;
    wait_until("a new producer is made", || {
        if output.replaced_producers() == 0 {
            produce(&output, 100);
            produced += 100;
        }
        output.replaced_producers() > 0
    });
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    wait_until("the old one's messages are settled", || flow_account(&output).in_flight == 0);
    let before = flow_account(&output);
    produce(&output, 1_000);
    let after = close_within(&output, DEADLINE);
    assert_eq!(after.delivered, before.delivered + 1_000, "{after:?}");
    assert_eq!(after.produced, produced + 1_000);
    assert_eq!(after.dropped, before.dropped);
    assert!(after.dropped.total() > 0, "{after:?}");
}

#[test]
fn workers_that_share_a_producer_lose_nothing() {
    let cluster = MockCluster::new(3).expect("a mock cluster");
    cluster.create_topic("flows", 3, 3).expect("created");
    let output = open(&cluster.bootstrap_servers(), &["kafka.topic=flows", "kafka.producers=1"]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| produce(&output, 20_000));
        }
    });
    assert_eq!(close_within(&output, DEADLINE).delivered, 80_000);
}

#[test]
fn every_framing_and_compression_comes_back_from_real_kafka() {
    const RECORDS: u32 = 10_000;
    let Some(brokers) = real_kafka() else { return };
    for framing in Framing::ALL.iter().copied() {
        for compression in Compression::ALL {
            let topic = unique_topic(&format!("{framing}-{compression}"));
            create_topic(&brokers, &topic, 1);
            let set = [
                &*format!("kafka.topic={topic}"),
                &*format!("kafka.framing={framing}"),
                &*format!("kafka.compression={compression}"),
            ];
            let output = open(&brokers, &set);
            wait_until("brokers are reached", || output.health().is_ready());
            produce(&output, RECORDS);
            let account = close_within(&output, DEADLINE);
            assert_eq!(
                (account.produced, account.delivered),
                (RECORDS.into(), RECORDS.into()),
                "{account:?}"
            );

            let mut numbers = Vec::new();
            let consumed = consume(&brokers, &topic, |message| {
                numbers.extend(records_of(framing, &message.payload).iter().map(|record| record.bytes));
                numbers.len() >= RECORDS as usize
            });
            assert!(numbers.iter().copied().eq(1..=u64::from(RECORDS)), "each record once and in order");
            check_headers(framing, &consumed);
        }
    }
}

fn check_headers(framing: Framing, consumed: &[Consumed]) {
    let mut ids = BTreeSet::new();
    for message in consumed {
        if matches!(framing, Framing::Single | Framing::SingleDelimited) {
            assert!(message.headers.is_empty());
            continue;
        }
        assert_eq!(message.headers[HEADER_FRAMING], framing.as_str());
        let records = records_of(framing, &message.payload).len();
        assert_eq!(message.headers[HEADER_RECORDS], records.to_string());
        let id = &message.headers[HEADER_BATCH];
        assert!(id.starts_with("node-1/7/0/"), "{id}");
        assert!(ids.insert(id), "{id} twice");
    }
}

#[test]
fn a_flow_stays_in_its_partition_of_a_real_topic() {
    let Some(brokers) = real_kafka() else { return };
    let topic = unique_topic("by-flow");
    create_topic(&brokers, &topic, 6);
    let output = open(&brokers, &[&format!("kafka.topic={topic}"), "kafka.partition_by=flow"]);
    wait_until("brokers are reached", || output.health().is_ready());
    produce(&output, 5_000);
    produce(&output, 5_000);
    assert_eq!(close_within(&output, DEADLINE).delivered, 10_000);

    let mut found = Vec::new();
    consume(&brokers, &topic, |message| {
        let records = records_of(Framing::Packed, &message.payload);
        found.extend(records.iter().map(|record| (record.src_port, message.partition)));
        found.len() >= 10_000
    });
    let mut homes = BTreeMap::new();
    for (port, partition) in found {
        assert_eq!(*homes.entry(port).or_insert(partition), partition, "port {port} is in two partitions");
    }
    let used: BTreeSet<_> = homes.values().collect();
    assert_eq!((homes.len(), used.len()), (5_000, 6));
}

fn real_kafka() -> Option<String> {
    let brokers = std::env::var("CATCHMENT_TEST_KAFKA").ok();
    if brokers.is_none() {
        println!("kafka: NOT RUN (CATCHMENT_TEST_KAFKA is not set)");
    }
    brokers
}

fn unique_topic(name: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    format!("{name}-{}-{}", std::process::id(), now.as_nanos())
}

fn create_topic(brokers: &str, topic: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().expect("an admin client");
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let created = runtime.block_on(async { admin.create_topics([&new], &AdminOptions::new()).await });
    assert!(created.expect("an answer").iter().all(Result::is_ok));
}

/// A message as it was consumed.
struct Consumed {
    partition: i32,
    payload: Vec<u8>,
    headers: BTreeMap<String, String>,
}

/// Consumes a topic from its begin until `is_last` says so.
fn consume(brokers: &str, topic: &str, mut is_last: impl FnMut(&Consumed) -> bool) -> Vec<Consumed> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", topic)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[topic]).expect("subscribes");
    let mut consumed = Vec::new();
    let deadline = Instant::now() + DEADLINE;
    loop {
        assert!(Instant::now() < deadline, "consumed only {} messages", consumed.len());
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let headers = message.headers().map(|headers| {
            headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
        });
        consumed.push(Consumed {
            partition: message.partition(),
            payload: message.payload().unwrap_or_default().to_vec(),
            headers: headers.unwrap_or_default(),
        });
        if consumed.last().is_some_and(&mut is_last) {
            return consumed;
        }
    }
}

fn records_of(framing: Framing, mut payload: &[u8]) -> Vec<FlowRecord> {
    match framing {
        Framing::Single => vec![FlowRecord::decode(payload).expect("a record")],
        Framing::List => FlowBatch::decode(payload).expect("a list").records,
        Framing::Packed | Framing::SingleDelimited => {
            let mut records = Vec::new();
            while !payload.is_empty() {
                records.push(FlowRecord::decode_length_delimited(&mut payload).expect("a record"));
            }
            records
        }
    }
}
