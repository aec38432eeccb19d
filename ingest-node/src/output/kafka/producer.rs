//! A producer that is made anew when it fails for good.
//!
//! librdkafka's idempotent producer ends in a fatal error when it can no longer tell what was written. The slot then puts a
//! new producer in its place; the old one is purged, and all its messages are reported (and counted) before it goes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use flow_decoder::Stream;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, PurgeConfig};

use super::super::counters::OutputCounters;
use super::reachability::Reachability;
use super::reports::Reports;
use crate::ledger::DropReason;

pub(super) type Producer = BaseProducer<Reports>;
pub(super) type Message<'a> = BaseRecord<'a, [u8], [u8], usize>;

/// The least time between two new producers in the same slot.
const REPLACE_INTERVAL: Duration = Duration::from_secs(1);
/// How long the reports of purged messages are waited for; they need no broker.
const PURGE_WAIT: Duration = Duration::from_secs(5);
/// How long a full queue of a producer that has brokers is waited for, in all, for one batch.
const FULL_QUEUE_WAIT: Duration = Duration::from_millis(20);
/// Time between two looks for room. The thread is parked for it: a `poll` with a timeout of a millisecond spins, because
/// rdkafka rounds what is left of it down to whole milliseconds.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(1);
/// Events that are served in one look for room; each may report many messages.
const FULL_QUEUE_EVENTS: u32 = 16;

/// One of the output's producers, shared by some of the workers.
pub(super) struct ProducerSlot {
    config: ClientConfig,
    pub(super) counters: Arc<OutputCounters>,
    reachability: Arc<Reachability>,
    current: ArcSwap<Producer>,
    succession: Mutex<Succession>,
    replaced: AtomicU64,
}

#[derive(Default)]
struct Succession {
    last: Option<Instant>,
    /// Producers that failed and whose messages are not all reported yet.
    retired: Vec<Arc<Producer>>,
}

impl ProducerSlot {
    pub(super) fn new(config: ClientConfig, reachability: Arc<Reachability>) -> Result<Self, KafkaError> {
        let counters = Arc::new(OutputCounters::default());
        let current = ArcSwap::from(create(&config, &counters, &reachability)?);
        let replaced = AtomicU64::new(0);
        Ok(Self { config, counters, reachability, current, succession: Mutex::default(), replaced })
    }

    pub(super) fn producer(&self) -> Arc<Producer> {
        self.current.load_full()
    }

    /// How often the producer has been made anew.
    pub(super) fn replaced(&self) -> u64 {
        self.replaced.load(Relaxed)
    }

    /// Hands a message to librdkafka, which copies it. Waits a little where its queue is full, as long as `patience`
    /// lasts and there is a broker to empty it.
    pub(super) fn send(
        &self,
        mut message: Message<'_>,
        patience: &mut Patience,
    ) -> Result<(), RDKafkaErrorCode> {
        let mut producer = self.current.load();
        loop {
            let (error, unsent) = match producer.send(message) {
                Ok(()) => return Ok(()),
                Err(unsent) => unsent,
            };
            message = unsent;
            match error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown) {
                RDKafkaErrorCode::QueueFull if self.reachability.is_up() && patience.lasts() => {
                    thread::park_timeout(FULL_QUEUE_PAUSE);
                    (0..FULL_QUEUE_EVENTS).for_each(|_| producer.poll(Duration::ZERO));
                }
                RDKafkaErrorCode::Fatal if self.replace(&producer) => producer = self.current.load(),
                code => return Err(code),
            }
        }
    }

    /// Serves delivery reports and errors.
    pub(super) fn poll(&self, wait: Duration) {
        let producer = self.current.load();
        producer.poll(wait);
        if producer.context().is_fatal() {
            self.replace(&producer);
        }
    }

    /// Puts a new producer in the place of `failed`; whether there is one now that has not failed.
    #[cold]
    fn replace(&self, failed: &Arc<Producer>) -> bool {
        failed.context().set_fatal();
        let mut succession = self.succession.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&self.current.load(), failed) {
            return true;
        }
        if succession.last.is_some_and(|last| last.elapsed() < REPLACE_INTERVAL) {
            return false;
        }
        succession.last = Some(Instant::now());
        match create(&self.config, &self.counters, &self.reachability) {
            Ok(successor) => {
                let reason = failed.client().fatal_error().map(|(_, reason)| reason);
                tracing::error!(reason, "kafka producer failed for good: a new one takes its place");
                succession.retired.push(self.current.swap(successor));
                self.replaced.fetch_add(1, Relaxed);
                true
            }
            Err(error) => {
                tracing::error!(%error, "kafka producer failed for good, and a new one cannot be made yet");
                false
            }
        }
    }

    /// Settles the messages of producers that have been replaced, and lets go of them.
    pub(super) fn bury(&self) {
        let retired = {
            let mut succession = self.succession.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut succession.retired)
        };
        for producer in retired {
            purge(&producer, DropReason::ProducerFatal);
        }
    }

    /// Waits until `deadline` for the reports of all messages. What has none then is purged and counted as dropped.
    /// Nothing may be sent from here on.
    pub(super) fn close(&self, deadline: Instant) {
        self.bury();
        let producer = self.producer();
        let wait = deadline.saturating_duration_since(Instant::now());
        if let Err(error) = producer.flush(wait) {
            let messages = producer.in_flight_count();
            tracing::error!(messages, %error, "kafka did not take all messages in time: the rest is dropped");
            purge(&producer, DropReason::Shutdown);
        }
        for stream in Stream::ALL {
            self.counters.stream(stream).drop_rest(DropReason::Shutdown);
        }
    }
}

fn create(
    config: &ClientConfig,
    counters: &Arc<OutputCounters>,
    reachability: &Arc<Reachability>,
) -> Result<Arc<Producer>, KafkaError> {
    let reports = Reports::new(Arc::clone(counters), Arc::clone(reachability));
    config.create_with_context(reports).map(Arc::new)
}

/// Takes all messages from a producer and waits until each is reported.
fn purge(producer: &Producer, reason: DropReason) {
    producer.context().set_purge_reason(reason);
    producer.purge(PurgeConfig::default().queue().inflight());
    let deadline = Instant::now() + PURGE_WAIT;
    while producer.in_flight_count() > 0 && Instant::now() < deadline {
        producer.poll(Duration::from_millis(5));
    }
}

/// For how long a batch waits for room in a full queue.
pub(super) struct Patience(Option<Instant>);

impl Patience {
    pub(super) fn new() -> Self {
        Self(None)
    }

    /// Begins to run out when it is asked for the first time.
    fn lasts(&mut self) -> bool {
        let now = Instant::now();
        now < *self.0.get_or_insert(now + FULL_QUEUE_WAIT)
    }
}
