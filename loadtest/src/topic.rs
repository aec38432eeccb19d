//! Reads a Kafka topic from its beginning or from where it ended once, all partitions, in no group.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::metadata::MetadataTopic;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;

const METADATA_TIMEOUT: Duration = Duration::from_secs(2);
const WATERMARK_TIMEOUT: Duration = Duration::from_secs(10);

/// A reader of one topic.
pub struct TopicReader {
    consumer: BaseConsumer,
    topic: String,
    partitions: Vec<Partition>,
}

/// Offsets of a topic by partition; the beginning of each that has none.
pub type Positions = BTreeMap<i32, i64>;

/// How far one partition was read.
#[derive(Debug, Clone, Copy)]
struct Partition {
    id: i32,
    next_offset: i64,
}

impl TopicReader {
    /// Waits at most `patience` for the topic to exist, then starts at `from` in each of its partitions.
    pub fn open(brokers: &str, topic: &str, from: &Positions, patience: Duration) -> anyhow::Result<Self> {
        let consumer = consumer(brokers)?;
        let mut partitions = partitions_of(&consumer, topic, patience)?;
        let mut assignment = TopicPartitionList::new();
        for partition in &mut partitions {
            let start = from.get(&partition.id).copied();
            partition.next_offset = start.unwrap_or(0);
            let start = start.map_or(Offset::Beginning, Offset::Offset);
            assignment.add_partition_offset(topic, partition.id, start)?;
        }
        consumer.assign(&assignment)?;
        Ok(Self { consumer, topic: topic.to_owned(), partitions })
    }

    /// The next message of any partition, if one comes within `wait`.
    pub fn next(&mut self, wait: Duration) -> anyhow::Result<Option<BorrowedMessage<'_>>> {
        match self.consumer.poll(wait) {
            None => Ok(None),
            Some(Ok(message)) => {
                if let Some(partition) =
                    self.partitions.iter_mut().find(|known| known.id == message.partition())
                {
                    partition.next_offset = message.offset() + 1;
                }
                Ok(Some(message))
            }
            // A broker that goes and comes back is the client's business, it reconnects.
            Some(Err(error)) if is_passing(&error) => Ok(None),
            Some(Err(error)) => Err(error).with_context(|| format!("reading topic {}", self.topic)),
        }
    }

    /// True where every message that the brokers hold now was read.
    pub fn is_at_end(&self) -> anyhow::Result<bool> {
        for partition in &self.partitions {
            let (low, high) = self
                .consumer
                .fetch_watermarks(&self.topic, partition.id, WATERMARK_TIMEOUT)
                .with_context(|| format!("asking for the end of partition {}", partition.id))?;
            if low < high && partition.next_offset < high {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Where the topic ends now, of any of the brokers that answers within `patience`. A topic that is not there has no partitions.
pub fn ends(brokers: &str, topic: &str, patience: Duration) -> anyhow::Result<Positions> {
    let consumer = consumer(brokers)?;
    let metadata = consumer
        .fetch_metadata(Some(topic), patience)
        .with_context(|| format!("asking {brokers} for topic {topic}"))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let partitions = found.map(MetadataTopic::partitions).unwrap_or_default();
    let end = |id| -> anyhow::Result<i64> { Ok(consumer.fetch_watermarks(topic, id, WATERMARK_TIMEOUT)?.1) };
    partitions.iter().map(|partition| Ok((partition.id(), end(partition.id())?))).collect()
}

fn consumer(brokers: &str) -> anyhow::Result<BaseConsumer> {
    let consumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "catchment-loadtest")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "50")
        .set("topic.metadata.refresh.interval.ms", "1000")
        .create()?;
    Ok(consumer)
}

fn partitions_of(consumer: &BaseConsumer, topic: &str, patience: Duration) -> anyhow::Result<Vec<Partition>> {
    let deadline = Instant::now() + patience;
    loop {
        let fault = match consumer.fetch_metadata(Some(topic), METADATA_TIMEOUT) {
            Ok(metadata) => {
                let found = metadata.topics().iter().find(|found| found.name() == topic);
                let partitions: Vec<Partition> = found
                    .map(|found| found.partitions().iter())
                    .into_iter()
                    .flatten()
                    .map(|partition| Partition { id: partition.id(), next_offset: 0 })
                    .collect();
                if !partitions.is_empty() {
                    return Ok(partitions);
                }
                "it has no partitions".to_owned()
            }
            Err(error) => error.to_string(),
        };
        anyhow::ensure!(Instant::now() < deadline, "topic {topic} cannot be read: {fault}");
        crate::pacer::pause(Duration::from_millis(50));
    }
}

fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::PartitionEOF
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::NotLeaderForPartition
        )
    )
}
