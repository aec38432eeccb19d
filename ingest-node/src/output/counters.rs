//! The live side of the ledger's stream accounts.
//!
//! A batch is *taken* first and *settled* later, in one piece or record by record, as delivered or dropped. Outputs update
//! these per batch; only a Kafka producer with one record per message settles record by record, and each producer has
//! counters of its own, so that no two threads fight for them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use flow_decoder::Stream;

use crate::ledger::{DropCounts, DropReason, StreamLedger};

/// How often a snapshot is drawn again because a batch was settled in the middle of it.
const SNAPSHOT_ATTEMPTS: u32 = 100;

/// What one output, or one producer of it, has taken and settled of each stream.
#[derive(Debug, Default)]
pub struct OutputCounters([StreamCounters; Stream::COUNT]);

impl OutputCounters {
    /// The counters of one stream.
    pub fn stream(&self, stream: Stream) -> &StreamCounters {
        &self.0[stream as usize]
    }

    /// Adds what these counters hold to accounts in the order of [`Stream::ALL`].
    pub fn add_to(&self, accounts: &mut [StreamLedger; Stream::COUNT]) {
        for (account, counters) in accounts.iter_mut().zip(&self.0) {
            *account += counters.snapshot();
        }
    }
}

/// What was taken and settled of one stream.
#[derive(Debug, Default)]
pub struct StreamCounters {
    produced: AtomicU64,
    in_flight: AtomicU64,
    delivered: AtomicU64,
    dropped: [AtomicU64; DropReason::COUNT],
}

impl StreamCounters {
    /// So many records were handed over; they are in flight from here on.
    pub fn taken(&self, records: u64) {
        self.in_flight.fetch_add(records, Relaxed);
        self.produced.fetch_add(records, Relaxed);
    }

    /// So many of those in flight have reached the destination.
    pub fn delivered(&self, records: u64) {
        self.delivered.fetch_add(records, Relaxed);
        self.in_flight.fetch_sub(records, Relaxed);
    }

    /// So many of those in flight are given up.
    pub fn dropped(&self, reason: DropReason, records: u64) {
        self.dropped[reason as usize].fetch_add(records, Relaxed);
        self.in_flight.fetch_sub(records, Relaxed);
    }

    /// Gives up all that is in flight. To be called only when nobody else can settle it any more.
    pub fn drop_rest(&self, reason: DropReason) {
        let rest = self.in_flight.swap(0, Relaxed);
        self.dropped[reason as usize].fetch_add(rest, Relaxed);
    }

    /// Records that are not settled.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    /// The account now. While batches pass it is drawn again until it balances; one that never balances is returned as
    /// it is, for the ledger's check to find.
    pub fn snapshot(&self) -> StreamLedger {
        let mut account = self.read();
        for _ in 0..SNAPSHOT_ATTEMPTS {
            if account.is_balanced() {
                break;
            }
            std::thread::yield_now();
            account = self.read();
        }
        account
    }

    fn read(&self) -> StreamLedger {
        let mut dropped = DropCounts::default();
        for reason in DropReason::ALL {
            dropped[reason] = self.dropped[reason as usize].load(Relaxed);
        }
        StreamLedger {
            produced: self.produced.load(Relaxed),
            delivered: self.delivered.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            dropped,
            ..StreamLedger::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_taken_then_settled() {
        let counters = StreamCounters::default();
        counters.taken(10);
        assert_eq!(counters.snapshot().in_flight, 10);
        counters.delivered(7);
        counters.dropped(DropReason::QueueFull, 2);
        counters.drop_rest(DropReason::Shutdown);
        let account = counters.snapshot();
        assert_eq!((account.produced, account.delivered, account.in_flight), (10, 7, 0));
        assert_eq!(account.dropped[DropReason::QueueFull], 2);
        assert_eq!(account.dropped[DropReason::Shutdown], 1);
        assert!(account.is_balanced());
    }

    #[test]
    fn a_batch_that_is_settled_twice_shows() {
        let counters = StreamCounters::default();
        counters.taken(10);
        counters.taken(10);
        counters.delivered(10);
        counters.delivered(10);
        counters.dropped(DropReason::Shutdown, 10);
        let account = counters.snapshot();
        assert!(!account.is_balanced(), "less than nothing is in flight: {account:?}");
    }

    #[test]
    fn snapshots_balance_while_batches_pass() {
        let counters = StreamCounters::default();
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                for _ in 0..100_000 {
                    counters.taken(3);
                    counters.delivered(3);
                }
            });
            while !worker.is_finished() {
                assert!(counters.snapshot().is_balanced());
            }
        });
    }
}
