//! Output into Kafka.
//!
//! ```text
//! worker 0 -> Publisher -\
//! worker 1 -> Publisher --> ProducerSlot 0 -> librdkafka (its broker thread compresses and sends)
//! worker 2 -> Publisher --> ProducerSlot 1 -> librdkafka
//!                                 ^ reports, errors         steward: metadata, idle polling, replaced producers
//! ```
//!
//! A batch is counted as taken before it is sent, and each of its messages is settled exactly once: by librdkafka's report
//! as delivered or dropped, or at once where librdkafka does not accept it. The queue is bounded by bytes; a batch that finds
//! it full waits for at most 20 ms while brokers can be reached, and not at all while they cannot, and is then dropped.
//!
//! The `packed` and `list` framings send a batch as one message with headers; `single` and `single-delimited` send each
//! record as a message without headers. Streams other than `flow` use the same framing with their own message type.

mod producer;
mod properties;
mod reachability;
mod reports;
mod steward;

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use flow_decoder::{RecordBuffer, Stream};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;

use super::OpenError;
use super::batch::Batch;
use super::health::OutputHealth;
use crate::config::{self, Framing};
use crate::ledger::StreamLedger;
use producer::{Message, Patience, ProducerSlot};
use reachability::Reachability;
use reports::{Ticket, drop_reason};
use steward::{Estate, Steward};

/// The name of a batch: `node/incarnation/worker/number`.
pub const HEADER_BATCH: &str = "catchment-batch";
/// How records are laid out in the message.
pub const HEADER_FRAMING: &str = "catchment-framing";
/// How many records are in the message.
pub const HEADER_RECORDS: &str = "catchment-records";

/// The output `kafka`. It carries the streams that have a topic.
pub(super) struct KafkaOutput {
    estate: Arc<Estate>,
    steward: Mutex<Steward>,
    framing: Framing,
}

impl KafkaOutput {
    /// Starts the producers. Brokers need not be there yet.
    pub(super) fn start(kafka: &config::Kafka, batch_bytes: usize) -> Result<Self, OpenError> {
        let client = properties::client_config(kafka, batch_bytes);
        let reachability = Arc::new(Reachability::new());
        let slots = (0..kafka.producers.get())
            .map(|_| ProducerSlot::new(client.clone(), Arc::clone(&reachability)))
            .collect::<Result<_, KafkaError>>()?;
        let estate = Arc::new(Estate::new(slots, Topics::new(kafka), reachability));
        let steward = Steward::start(Arc::clone(&estate)).map_err(OpenError::Thread)?;
        Ok(Self { estate, steward: Mutex::new(steward), framing: kafka.framing })
    }

    /// What a worker publishes with; worker `n` uses producer `n` modulo their number.
    pub(super) fn publisher(&self, worker: u32) -> KafkaPublisher {
        let slot = worker as usize % self.estate.slots.len();
        KafkaPublisher { estate: Arc::clone(&self.estate), slot, framing: self.framing, id: String::new() }
    }

    pub(super) fn health(&self) -> OutputHealth {
        self.estate.reachability.health()
    }

    pub(super) fn add_to(&self, accounts: &mut [StreamLedger; Stream::COUNT]) {
        for slot in &self.estate.slots {
            slot.counters.add_to(accounts);
        }
    }

    /// How often a producer has been made anew after a fatal error.
    pub(super) fn replaced_producers(&self) -> u64 {
        self.estate.slots.iter().map(ProducerSlot::replaced).sum()
    }

    /// Waits for reports until `deadline`, then gives up what has none.
    pub(super) fn close(&self, deadline: Instant) {
        self.steward.lock().unwrap_or_else(PoisonError::into_inner).stop();
        for slot in &self.estate.slots {
            slot.close(deadline);
        }
    }
}

impl std::fmt::Debug for KafkaOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaOutput").field("health", &self.health()).finish_non_exhaustive()
    }
}

/// The topic of each stream that is on.
#[derive(Clone, Debug)]
struct Topics([Option<Arc<str>>; Stream::COUNT]);

impl Topics {
    fn new(kafka: &config::Kafka) -> Self {
        Self(Stream::ALL.map(|stream| {
            let topic = match stream {
                Stream::Flow => Some(&kafka.topic),
                Stream::Counters => kafka.counters_topic.as_ref(),
                Stream::Drops => kafka.drops_topic.as_ref(),
                Stream::Options => kafka.options_topic.as_ref(),
            };
            topic.map(|topic| topic.as_str().into())
        }))
    }

    fn of(&self, stream: Stream) -> Option<&str> {
        self.0[stream as usize].as_deref()
    }
}

/// One worker's way into Kafka.
pub(super) struct KafkaPublisher {
    estate: Arc<Estate>,
    slot: usize,
    framing: Framing,
    /// The text of the last batch's name; kept for its memory.
    id: String,
}

impl KafkaPublisher {
    pub(super) fn carries(&self, stream: Stream) -> bool {
        self.estate.topics.of(stream).is_some()
    }

    pub(super) fn partitions(&self, stream: Stream) -> Option<NonZeroUsize> {
        self.estate.partitions(stream)
    }

    pub(super) fn poll(&self) {
        self.estate.slots[self.slot].poll(Duration::ZERO);
    }

    pub(super) fn publish(&mut self, batch: &Batch<'_>) {
        let slot = &self.estate.slots[self.slot];
        let counters = slot.counters.stream(batch.stream);
        counters.taken(batch.records.records());
        let Some(topic) = self.estate.topics.of(batch.stream) else {
            let reason = drop_reason(RDKafkaErrorCode::UnknownTopic);
            return counters.dropped(reason, batch.records.records());
        };
        let message = |records, payload| -> Message<'_> {
            let mut message =
                BaseRecord::with_opaque_to(topic, Ticket { stream: batch.stream, records }.pack());
            message.partition = batch.partition;
            message.payload = Some(payload);
            message
        };
        let mut patience = Patience::new();
        let mut send = |message: Message<'_>, records| {
            if let Err(code) = slot.send(message, &mut patience) {
                counters.dropped(drop_reason(code), records);
            }
        };
        match self.framing {
            Framing::Packed | Framing::List => {
                self.id.clear();
                let _ = write!(self.id, "{}", batch.id);
                let records = batch.records.records();
                let headers = headers(&self.id, self.framing, records);
                send(message(records, batch.records.as_bytes()).headers(headers), records);
            }
            Framing::Single => {
                for record in batch.records.iter() {
                    send(message(1, record), 1);
                }
            }
            Framing::SingleDelimited => {
                for record in delimited(batch.records) {
                    send(message(1, record), 1);
                }
            }
        }
        slot.poll(Duration::ZERO);
    }
}

impl std::fmt::Debug for KafkaPublisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaPublisher").field("slot", &self.slot).finish_non_exhaustive()
    }
}

fn headers(id: &str, framing: Framing, records: u64) -> OwnedHeaders {
    OwnedHeaders::new_with_capacity(3)
        .insert(Header { key: HEADER_BATCH, value: Some(id) })
        .insert(Header { key: HEADER_FRAMING, value: Some(framing.as_str()) })
        .insert(Header { key: HEADER_RECORDS, value: Some(&records.to_string()) })
}

/// The records of a length-delimited batch one by one, each with its length before it.
fn delimited(records: &RecordBuffer) -> impl Iterator<Item = &[u8]> {
    let mut rest = records.as_bytes();
    records.iter().map(move |record| {
        // A varint has seven bits of the length in each byte.
        let prefix = (record.len() as u64 | 1).ilog2() as usize / 7 + 1;
        let (whole, tail) = rest.split_at(prefix + record.len());
        rest = tail;
        whole
    })
}

#[cfg(test)]
mod tests {
    use flow_decoder::Delimiting;
    use flow_decoder::protobuf::Tag;

    use super::*;

    #[test]
    fn delimited_records_keep_their_length_of_any_size() {
        let mut records = RecordBuffer::new(0, Delimiting::Length);
        for len in [0, 1, 100, 124, 125, 126, 127, 128, 16_000, 16_383, 16_384, 70_000] {
            let mut record = records.begin();
            record.bytes(Tag::delimited(1), &vec![7; len]);
            record.finish();
        }
        let joined: Vec<u8> = delimited(&records).flatten().copied().collect();
        assert_eq!(joined, records.as_bytes());
        for (whole, record) in delimited(&records).zip(records.iter()) {
            assert_eq!(prost::decode_length_delimiter(whole).expect("a length"), record.len());
            assert!(whole.ends_with(record));
        }
    }
}
