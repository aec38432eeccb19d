//! The thread that looks after the producers while workers are busy or idle.
//!
//! It serves delivery reports where no worker polls, settles what replaced producers left, and asks brokers for metadata
//! while their reachability is in doubt or a topic's partitions are not known.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use flow_decoder::Stream;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::Producer as _;

use super::Topics;
use super::producer::ProducerSlot;
use super::reachability::Reachability;

/// Time between two rounds.
const ROUND: Duration = Duration::from_millis(100);
/// Time between two metadata requests.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// How long an answer is waited for.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// What the steward and the publishers share.
pub(super) struct Estate {
    pub(super) slots: Vec<ProducerSlot>,
    pub(super) topics: Topics,
    pub(super) reachability: Arc<Reachability>,
    /// Partitions of each stream's topic; 0 where they are not known.
    partitions: [AtomicUsize; Stream::COUNT],
}

impl Estate {
    pub(super) fn new(slots: Vec<ProducerSlot>, topics: Topics, reachability: Arc<Reachability>) -> Self {
        Self { slots, topics, reachability, partitions: Default::default() }
    }

    /// Partitions of the stream's topic, once known.
    pub(super) fn partitions(&self, stream: Stream) -> Option<NonZeroUsize> {
        NonZeroUsize::new(self.partitions[stream as usize].load(Relaxed))
    }

    fn has_questions(&self) -> bool {
        let is_known = |stream| self.topics.of(stream).is_none() || self.partitions(stream).is_some();
        self.reachability.is_doubtful() || !Stream::ALL.into_iter().all(is_known)
    }

    /// Asks brokers about every topic.
    fn ask(&self) {
        for stream in Stream::ALL {
            let Some(topic) = self.topics.of(stream) else { continue };
            match self.count_partitions(topic) {
                Ok(count) => self.partitions[stream as usize].store(count, Relaxed),
                Err(error) => return self.reachability.unanswered(&error),
            }
        }
        self.reachability.answered();
    }

    fn count_partitions(&self, topic: &str) -> Result<usize, String> {
        let producer = self.slots[0].producer();
        let metadata = producer
            .client()
            .fetch_metadata(Some(topic), ASK_TIMEOUT)
            .map_err(|error| format!("brokers do not answer: {error}"))?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Err(format!("brokers do not know topic {topic}"));
        };
        match found.error() {
            None => Ok(found.partitions().len()),
            Some(error) => Err(format!("topic {topic}: {}", RDKafkaErrorCode::from(error))),
        }
    }
}

/// The running thread.
pub(super) struct Steward {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Steward {
    pub(super) fn start(estate: Arc<Estate>) -> std::io::Result<Self> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let watched = Arc::clone(&stop);
        let thread =
            thread::Builder::new().name("kafka-steward".into()).spawn(move || run(&estate, &watched))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Ends the thread; takes as long as a metadata request at most.
    pub(super) fn stop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        let (stopped, changed) = &*self.stop;
        *stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
        if thread.join().is_err() {
            tracing::error!("the kafka steward has panicked");
        }
    }
}

impl Drop for Steward {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(estate: &Estate, (stopped, changed): &(Mutex<bool>, Condvar)) {
    let mut asked: Option<Instant> = None;
    loop {
        for slot in &estate.slots {
            slot.poll(Duration::ZERO);
            slot.bury();
        }
        if estate.has_questions() && asked.is_none_or(|asked| asked.elapsed() >= ASK_INTERVAL) {
            estate.ask();
            asked = Some(Instant::now());
        }
        let stopped = stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let (stopped, _) = changed
            .wait_timeout_while(stopped, ROUND, |stopped| !*stopped)
            .unwrap_or_else(PoisonError::into_inner);
        if *stopped {
            return;
        }
    }
}
