//! A real Kafka: topics of a test's own, and everything that is in them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use catchment_proto::flow::v1::{FlowBatch, FlowRecord};
use prost::Message as _;
use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::wait::until;

const ANSWER: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// The address of the Kafka that the tests share.
///
/// # Errors
/// Where there is none; the error says how to get one.
pub fn brokers() -> Result<String> {
    std::env::var("CATCHMENT_TEST_KAFKA").context(
        "this test needs Kafka: `make test` starts one, or run `dev/services run kafka -- cargo test -p catchment-e2e`",
    )
}

/// A topic that nobody else uses.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its name.
    pub name: String,
    brokers: String,
    partitions: i32,
}

/// A message as it lies in Kafka.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its partition.
    pub partition: i32,
    /// Its headers, in order.
    pub headers: Vec<(String, String)>,
    /// Its value.
    pub payload: Vec<u8>,
}

/// How records lie in a message, as the test asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Many length-delimited records.
    Packed,
    /// One `FlowBatch`.
    List,
    /// One record.
    Single,
    /// One length-delimited record.
    SingleDelimited,
}

impl Topic {
    /// Makes a topic on the shared Kafka.
    ///
    /// # Errors
    /// Where there is no Kafka, or it refuses.
    pub fn create(purpose: &str, partitions: i32) -> Result<Self> {
        let topic = Self::existing(brokers()?, purpose, partitions);
        let admin: rdkafka::admin::AdminClient<_> = topic.client().create()?;
        let new = rdkafka::admin::NewTopic::new(
            &topic.name,
            partitions,
            rdkafka::admin::TopicReplication::Fixed(1),
        );
        let options = rdkafka::admin::AdminOptions::new().request_timeout(Some(ANSWER));
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let results = runtime.block_on(admin.create_topics([&new], &options))?;
        for result in results {
            result.map_err(|(topic, code)| anyhow::anyhow!("topic {topic}: {code}"))?;
        }
        Ok(topic)
    }

    /// A topic elsewhere that exists, or that brokers make when it is first asked for.
    pub fn existing(brokers: String, purpose: &str, partitions: i32) -> Self {
        Self { name: unused_name(purpose), brokers, partitions }
    }

    /// The settings that send flow records here.
    pub fn settings(&self) -> [String; 3] {
        let (brokers, topic) = (&self.brokers, &self.name);
        ["output=kafka".to_owned(), format!("kafka.brokers={brokers}"), format!("kafka.topic={topic}")]
    }

    /// Waits until there are `count` flow records and gives all messages.
    ///
    /// # Errors
    /// Where they do not come, or a message is not in this framing.
    pub fn with_records(&self, framing: Framing, count: usize) -> Result<Vec<Message>> {
        self.messages_until(|messages| Ok(framing.all(messages)?.len() >= count))
    }

    /// Waits for `count` messages and gives them all; fails where there are more.
    ///
    /// # Errors
    /// Where they do not come.
    pub fn messages(&self, count: usize) -> Result<Vec<Message>> {
        let messages = self.messages_until(|messages| Ok(messages.len() >= count))?;
        ensure!(messages.len() == count, "{} messages in {}, not {count}", messages.len(), self.name);
        Ok(messages)
    }

    /// Reads from the beginning of all partitions until there is enough, and then on to the end of each.
    ///
    /// # Errors
    /// Where there is not enough in time.
    pub fn messages_until(&self, enough: impl Fn(&[Message]) -> Result<bool>) -> Result<Vec<Message>> {
        let consumer: BaseConsumer = self.client().set("group.id", "catchment-e2e").create()?;
        let mut assignment = TopicPartitionList::new();
        for partition in 0..self.partitions {
            assignment.add_partition_offset(&self.name, partition, Offset::Beginning)?;
        }
        consumer.assign(&assignment)?;
        let mut messages = Vec::new();
        until(&format!("messages in {}", self.name), || {
            while let Some(message) = consumer.poll(POLL) {
                messages.push(Message::from(&message.context("reading from Kafka")?));
            }
            let is_all = enough(&messages)? && messages.len() as u64 == self.held(&consumer)?;
            Ok(if is_all { Ok(()) } else { Err(format!("{} messages so far", messages.len())) })
        })?;
        Ok(messages)
    }

    /// How many messages the brokers hold; nothing else writes to the topic, so that offsets have no gaps.
    fn held(&self, consumer: &BaseConsumer) -> Result<u64> {
        (0..self.partitions)
            .map(|partition| {
                let (low, high) = consumer.fetch_watermarks(&self.name, partition, ANSWER)?;
                Ok((high - low).max(0).cast_unsigned())
            })
            .sum()
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("fetch.wait.max.ms", "50");
        config
    }
}

impl Message {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(its_name, _)| its_name == name).map(|(_, value)| value.as_str())
    }
}

impl From<&BorrowedMessage<'_>> for Message {
    fn from(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map(|headers| {
            let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
            headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
        });
        Self {
            partition: message.partition(),
            headers: headers.unwrap_or_default(),
            payload: message.payload().unwrap_or_default().to_vec(),
        }
    }
}

impl Framing {
    /// All framings.
    pub const ALL: [Self; 4] = [Self::Packed, Self::List, Self::Single, Self::SingleDelimited];

    /// The value of `kafka.framing`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Packed => "packed",
            Self::List => "list",
            Self::Single => "single",
            Self::SingleDelimited => "single-delimited",
        }
    }

    /// Whether a message holds a whole batch, and says so in its headers.
    pub fn is_batch(self) -> bool {
        matches!(self, Self::Packed | Self::List)
    }

    /// The flow records of all messages.
    ///
    /// # Errors
    /// Where one is not in this framing.
    pub fn all(self, messages: &[Message]) -> Result<Vec<FlowRecord>> {
        let records: Result<Vec<_>> = messages.iter().map(|message| self.records(&message.payload)).collect();
        Ok(records?.concat())
    }

    /// The flow records of a message.
    ///
    /// # Errors
    /// Where it is not in this framing.
    pub fn records(self, payload: &[u8]) -> Result<Vec<FlowRecord>> {
        let records = match self {
            Self::Packed => delimited(payload)?,
            Self::List => FlowBatch::decode(payload)?.records,
            Self::Single => vec![FlowRecord::decode(payload)?],
            Self::SingleDelimited => {
                let records = delimited(payload)?;
                ensure!(records.len() == 1, "{} records in one message", records.len());
                records
            }
        };
        Ok(records)
    }
}

/// All messages of a type that stand behind their lengths in `bytes`.
///
/// # Errors
/// Where they do not.
pub fn delimited<M: prost::Message + Default>(mut bytes: &[u8]) -> Result<Vec<M>> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        messages.push(M::decode_length_delimited(&mut bytes)?);
    }
    Ok(messages)
}

/// A topic name that no other test of this or an earlier run has.
fn unused_name(purpose: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("e2e-{purpose}-{}-{}-{number}", now.as_millis(), std::process::id())
}
