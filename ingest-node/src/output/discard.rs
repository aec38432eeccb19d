//! Output to nowhere: records are decoded, encoded, collected in batches and forgotten.
//!
//! What is discarded on purpose counts as delivered, so that `dropped` keeps meaning loss.

use super::batch::Batch;
use super::counters::OutputCounters;

/// The output `discard`. It carries all streams.
#[derive(Debug, Default)]
pub(super) struct Discard {
    pub(super) counters: OutputCounters,
}

impl Discard {
    pub(super) fn publish(&self, batch: &Batch<'_>) {
        let counters = self.counters.stream(batch.stream);
        counters.taken(batch.records.records());
        counters.delivered(batch.records.records());
    }
}
