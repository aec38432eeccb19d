//! `loadtest verify`: consumes a topic from its beginning and accounts for every record of a [`Workload`].

mod account;
mod cluster;
mod differences;
mod expected;
mod framing;

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Args;
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};
use serde::Serialize;

pub use account::{Account, Accountant, Others};
pub use cluster::ClusterAccount;
pub use differences::{Difference, differences};
pub use framing::{Framing, FramingError};

use crate::duration::parse_duration;
use crate::node_process::ledger_at;
use crate::pacer::pause;
use crate::topic::{Positions, TopicReader};
use crate::workload::{Workload, WorkloadArgs};

/// Options of `loadtest verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// What was sent; the same options as `run` had.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// Where to read.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Where and how `verify` reads.
#[derive(Debug, Clone, Args)]
pub struct SourceArgs {
    /// Kafka brokers, host:port, comma-separated
    #[arg(long)]
    pub brokers: String,
    /// Topic of the flow records
    #[arg(long, default_value = "flows")]
    pub topic: String,
    /// How records lie in messages; needed where messages have no header catchment-framing
    #[arg(long, value_enum)]
    pub framing: Option<Framing>,
    /// Give up when nothing new came for this long
    #[arg(long, value_parser = parse_duration, default_value = "10s")]
    pub idle: Duration,
    /// Zone that all records must carry
    #[arg(long, default_value = "")]
    pub zone: String,
    /// Leave out messages whose catchment-batch header was seen before (the node delivers at least once)
    #[arg(long)]
    pub drop_repeats: bool,
    /// Records of others are in the topic too: count them apart, and hold them against nobody
    #[arg(long)]
    pub among_others: bool,
    /// HTTP addresses of all nodes that wrote the topic, comma-separated: their ledgers must balance, and have delivered what
    /// was consumed; for nodes that have run since the topic was empty
    #[arg(long, value_delimiter = ',')]
    pub node: Vec<SocketAddr>,
}

/// What was found, and in how many messages.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifyReport {
    /// The records.
    #[serde(flatten)]
    pub account: Account,
    /// Messages read.
    pub messages: u64,
    /// Messages that hold no records in their framing, or another number of them than their header says.
    pub bad_messages: u64,
    /// Messages left out as repeats of a batch.
    pub repeated_batches: u64,
    /// Records by the node that published them, as their batches say; without what has no batch header.
    pub nodes: BTreeMap<String, u64>,
    /// What the nodes say, where they were asked.
    pub cluster: Option<ClusterAccount>,
    /// Wall clock.
    pub seconds: f64,
}

impl VerifyReport {
    /// True where every record was found exactly once and as sent, every message was sound, and the nodes agree.
    pub fn is_exact(&self) -> bool {
        let nodes_agree = self.cluster.as_ref().is_none_or(|cluster| cluster.faults.is_empty());
        self.account.is_exact() && self.bad_messages == 0 && nodes_agree
    }
}

/// One verification under way.
struct Verification {
    accountant: Accountant,
    framing: Option<Framing>,
    batches: Option<HashSet<Vec<u8>>>,
    messages: u64,
    bad_messages: u64,
    repeated_batches: u64,
    nodes: BTreeMap<String, u64>,
    first_fault: Option<String>,
}

/// Reads the topic from its beginning, as [`from`] does.
pub fn run(args: &VerifyArgs, stop: &dyn Fn() -> bool) -> anyhow::Result<VerifyReport> {
    from(&Positions::default(), args, stop)
}

/// Reads until every record was found and the end of each partition is reached (so that repeats are found too), until
/// nothing new came for the idle time, or until `stop`. Of a busy topic no end is reached: there the idle time counts from
/// the last record that was looked for.
pub fn from(start: &Positions, args: &VerifyArgs, stop: &dyn Fn() -> bool) -> anyhow::Result<VerifyReport> {
    let workload = Workload::try_from(&args.workload)?;
    anyhow::ensure!(workload.records().is_some(), "--records must say how many records were sent");
    let started = Instant::now();
    let source = &args.source;
    let mut reader = TopicReader::open(&source.brokers, &source.topic, start, source.idle)?;
    let others = if source.among_others { Others::Present } else { Others::None };
    let mut verification = Verification {
        accountant: Accountant::new(workload, source.zone.clone(), others),
        framing: source.framing,
        batches: source.drop_repeats.then(HashSet::new),
        messages: 0,
        bad_messages: 0,
        repeated_batches: 0,
        nodes: BTreeMap::new(),
        first_fault: None,
    };
    let mut last_message = Instant::now();
    while last_message.elapsed() < source.idle && !stop() {
        if let Some(message) = reader.next(Duration::from_millis(100))? {
            let before = verification.accountant.consumed();
            verification.take(&message);
            if others == Others::None || verification.accountant.consumed() > before {
                last_message = Instant::now();
            }
        } else if verification.accountant.is_complete() && reader.is_at_end()? {
            break;
        }
    }
    let mut report = verification.close(started.elapsed());
    if !source.node.is_empty() {
        // A repeat that was left out was delivered too, but nobody counted its records.
        let consumed = (report.repeated_batches == 0).then_some(report.account.consumed);
        let cluster = agreement(&source.node, consumed);
        report.account.examples.extend(cluster.faults.iter().cloned());
        report.cluster = Some(cluster);
    }
    Ok(report)
}

/// Asks the nodes until they agree, or for a while: a record may be consumed before its node has the broker's report.
fn agreement(nodes: &[SocketAddr], consumed: Option<u64>) -> ClusterAccount {
    const PATIENCE: Duration = Duration::from_secs(5);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let account = ClusterAccount::of(nodes.iter().map(|node| (*node, ledger_at(*node))), consumed);
        if account.faults.is_empty() || Instant::now() > deadline {
            return account;
        }
        pause(Duration::from_millis(100));
    }
}

impl Verification {
    fn take(&mut self, message: &BorrowedMessage<'_>) {
        self.messages += 1;
        if let Some(batches) = &mut self.batches
            && let Some(batch) = header(message, "catchment-batch")
            && !batches.insert(batch.to_vec())
        {
            self.repeated_batches += 1;
            return;
        }
        if let Err(fault) = self.settle(message) {
            self.bad_messages += 1;
            let place = format!("partition {} offset {}", message.partition(), message.offset());
            self.first_fault.get_or_insert_with(|| format!("bad message at {place}: {fault}"));
        }
    }

    fn settle(&mut self, message: &BorrowedMessage<'_>) -> Result<(), String> {
        let of_header = header(message, "catchment-framing").map(Framing::of_header).transpose();
        let framing = self
            .framing
            .map_or_else(|| of_header?.ok_or(FramingError::Unspecified), Ok)
            .map_err(|error| error.to_string())?;
        let before = self.accountant.taken();
        let payload = message.payload().unwrap_or_default();
        framing
            .decode(payload, |record| self.accountant.settle(&record))
            .map_err(|error| error.to_string())?;
        let records = self.accountant.taken() - before;
        if let Some(node) = header(message, "catchment-batch").and_then(node_of) {
            *self.nodes.entry(node).or_default() += records;
        }
        match header(message, "catchment-records") {
            Some(said) if said != records.to_string().as_bytes() => {
                Err(format!("{records} records, its header says {}", String::from_utf8_lossy(said)))
            }
            _ => Ok(()),
        }
    }

    fn close(self, elapsed: Duration) -> VerifyReport {
        let mut account = self.accountant.close();
        account.examples.extend(self.first_fault);
        VerifyReport {
            account,
            messages: self.messages,
            bad_messages: self.bad_messages,
            repeated_batches: self.repeated_batches,
            nodes: self.nodes,
            cluster: None,
            seconds: elapsed.as_secs_f64(),
        }
    }
}

/// The node in a batch's name, `node/incarnation/worker/number`.
fn node_of(batch: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(batch).ok()?;
    Some(name.rsplitn(4, '/').nth(3)?.to_owned())
}

/// The value of a message's header.
fn header<'a>(message: &'a BorrowedMessage<'_>, name: &str) -> Option<&'a [u8]> {
    message.headers()?.iter().find(|header| header.key == name)?.value
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use rdkafka::ClientConfig;
    use rdkafka::message::{Header, OwnedHeaders};
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

    const OPTIONS: &str = "--protocol v9,ipfix --exporters 2 --records 100";

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: VerifyArgs,
    }

    /// Publishes batches of 10 records, those whose number `copies_of` names so often, and verifies the topic.
    fn verified(copies_of: impl Fn(usize) -> usize, said: &str, options: &str) -> VerifyReport {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("flows", 3, 1).unwrap();
        let brokers = cluster.bootstrap_servers();
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
        let workload = crate::workload::tests::workload(OPTIONS).unwrap();
        let records: Vec<_> = workload
            .exporters()
            .flat_map(|exporter| (0..50).map(move |number| expected::record(&exporter, number, 1)))
            .collect();
        for (batch, records) in records.chunks(10).enumerate() {
            let payload: Vec<u8> =
                records.iter().flat_map(prost::Message::encode_length_delimited_to_vec).collect();
            let name = format!("node-{}/1/0/{batch}", batch % 2);
            let headers =
                [("catchment-batch", &*name), ("catchment-framing", "packed"), ("catchment-records", said)];
            let headers = headers.into_iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header { key, value: Some(value) })
            });
            for _ in 0..copies_of(batch) {
                let message = BaseRecord::<(), _>::to("flows").payload(&payload).headers(headers.clone());
                producer.send(message.partition(batch as i32 % 3)).unwrap();
            }
        }
        producer.flush(Duration::from_secs(20)).unwrap();
        let line = format!("test {OPTIONS} --idle 2s --brokers {brokers} {options}");
        run(&Line::parse_from(line.split_whitespace()).args, &|| false).unwrap()
    }

    #[test]
    fn a_topic_with_every_record_once_is_exact() {
        let report = verified(|_| 1, "10", "");
        assert!(report.is_exact(), "{report:?}");
        assert_eq!((report.messages, report.account.correct), (10, 100));
        assert_eq!(report.nodes, BTreeMap::from([("node-0".to_owned(), 50), ("node-1".to_owned(), 50)]));
    }

    #[test]
    fn a_lost_batch_is_missing() {
        let report = verified(|batch| usize::from(batch != 7), "10", "");
        assert!(!report.is_exact());
        assert_eq!((report.account.missing, report.account.correct), (10, 90));
    }

    #[test]
    fn a_batch_delivered_twice_counts_unless_repeats_are_dropped() {
        let twice = |batch| if batch == 4 { 2 } else { 1 };
        let report = verified(twice, "10", "");
        assert!(!report.is_exact());
        assert_eq!((report.account.repeated, report.account.missing), (10, 0));
        let report = verified(twice, "10", "--drop-repeats");
        assert!(report.is_exact(), "{report:?}");
        assert_eq!((report.repeated_batches, report.account.repeated), (1, 0));
    }

    #[test]
    fn a_wrong_record_count_in_a_header_is_a_bad_message() {
        let report = verified(|_| 1, "11", "");
        assert!(!report.is_exact() && report.account.is_exact());
        assert_eq!(report.bad_messages, 10);
    }
}
