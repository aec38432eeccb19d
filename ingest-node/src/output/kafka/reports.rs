//! What librdkafka tells us: delivery reports, errors and log lines.
//!
//! Invariant: each message that the producer accepted is reported exactly once, and its report settles the records that
//! its [`Ticket`] says. That holds for purged messages too. Reports and errors are served inside of `poll`, on the thread
//! that polls; log lines come on librdkafka's own threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use catchment_serving::LogLimit;
use flow_decoder::Stream;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};

use super::super::counters::OutputCounters;
use super::reachability::Reachability;
use crate::ledger::DropReason;

/// What a message carries through librdkafka: the stream and number of its records, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) stream: Stream,
    pub(super) records: u64,
}

impl Ticket {
    const STREAM_BITS: u32 = 2;

    pub(super) fn pack(self) -> usize {
        (self.records as usize) << Self::STREAM_BITS | self.stream as usize
    }

    fn unpack(word: usize) -> Self {
        let stream = Stream::ALL[word & (Stream::COUNT - 1)];
        Self { stream, records: (word >> Self::STREAM_BITS) as u64 }
    }
}

const _: () = assert!(Stream::COUNT == 1 << Ticket::STREAM_BITS);

/// The context of one producer.
#[derive(Debug)]
pub(super) struct Reports {
    counters: Arc<OutputCounters>,
    reachability: Arc<Reachability>,
    /// Whether this producer has failed for good.
    fatal: AtomicBool,
    /// Why messages are purged, if they are.
    purge: AtomicU8,
    log: LogLimit,
}

impl Reports {
    pub(super) fn new(counters: Arc<OutputCounters>, reachability: Arc<Reachability>) -> Self {
        Self {
            counters,
            reachability,
            fatal: AtomicBool::new(false),
            purge: AtomicU8::new(DropReason::ProducerFatal as u8),
            log: LogLimit::default(),
        }
    }

    pub(super) fn is_fatal(&self) -> bool {
        self.fatal.load(Relaxed)
    }

    pub(super) fn set_fatal(&self) {
        self.fatal.store(true, Relaxed);
    }

    /// Says what messages are counted as that are purged from here on.
    pub(super) fn set_purge_reason(&self, reason: DropReason) {
        self.purge.store(reason as u8, Relaxed);
    }

    #[cold]
    fn failed(&self, error: &KafkaError, ticket: Ticket) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        let reason = match code {
            RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight => {
                DropReason::ALL[usize::from(self.purge.load(Relaxed))]
            }
            _ => drop_reason(code),
        };
        if reason == DropReason::ProducerFatal {
            self.set_fatal();
        }
        // Before the count, so that whoever sees the loss also sees that the output is failing.
        if reason != DropReason::Shutdown {
            self.reachability.delivery_failed(code);
        }
        self.counters.stream(ticket.stream).dropped(reason, ticket.records);
        self.log.admit(|suppressed| {
            let (stream, records, reason) = (ticket.stream.label(), ticket.records, reason.label());
            tracing::error!(stream, records, reason, %code, suppressed, "message not delivered");
        });
    }
}

/// What records are counted as that fail with `code`.
pub(super) fn drop_reason(code: RDKafkaErrorCode) -> DropReason {
    match code {
        RDKafkaErrorCode::QueueFull => DropReason::QueueFull,
        RDKafkaErrorCode::MessageSizeTooLarge => DropReason::MessageTooLarge,
        RDKafkaErrorCode::MessageTimedOut => DropReason::DeliveryTimeout,
        RDKafkaErrorCode::Fatal => DropReason::ProducerFatal,
        _ => DropReason::DeliveryFailed,
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: usize) {
        let ticket = Ticket::unpack(ticket);
        match result {
            Ok(_) => {
                self.counters.stream(ticket.stream).delivered(ticket.records);
                self.reachability.delivered();
            }
            Err((error, _)) => self.failed(error, ticket),
        }
    }
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal) => {
                if !self.fatal.swap(true, Relaxed) {
                    tracing::error!(reason, "kafka producer failed for good and is made anew");
                }
            }
            Some(RDKafkaErrorCode::AllBrokersDown) => self.reachability.doubt_all(reason),
            _ => self.reachability.doubt(reason),
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // librdkafka calls a refused connection an error; no data is lost by it.
        self.log.admit(|suppressed| match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(facility, suppressed, "librdkafka: {message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(facility, suppressed, "librdkafka: {message}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(facility, suppressed, "librdkafka: {message}"),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_survive_the_way_through_librdkafka() {
        for stream in Stream::ALL {
            for records in [1, 650, 1 << 40] {
                let ticket = Ticket { stream, records };
                assert_eq!(Ticket::unpack(ticket.pack()), ticket);
            }
        }
    }
}
