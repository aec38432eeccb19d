//! A finished batch of records, and its name.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use flow_decoder::{RecordBuffer, Stream};

/// The run of a node that batches come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `node.id`.
    pub node: Arc<str>,
    /// Differs between any two runs of the same node.
    pub incarnation: u64,
}

/// Names a batch, once and for all: spool and replay keep it, so that a consumer can drop repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchId<'a> {
    /// Where it comes from.
    pub origin: &'a Origin,
    /// The worker that filled it.
    pub worker: u32,
    /// Its number; no two batches of one incarnation have the same.
    pub number: u64,
}

/// `node/incarnation/worker/number`, as in the header `catchment-batch`.
impl fmt::Display for BatchId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.origin.node, self.origin.incarnation, self.worker, self.number)
    }
}

/// Numbers the batches of an incarnation. All workers draw from one, so that a worker that is started again does not
/// begin anew.
#[derive(Clone, Debug, Default)]
pub(super) struct BatchNumbers(Arc<AtomicU64>);

impl BatchNumbers {
    pub(super) fn next(&self) -> u64 {
        self.0.fetch_add(1, Relaxed)
    }
}

/// A finished batch on its way to an output. The output copies what it keeps.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Its name.
    pub id: BatchId<'a>,
    /// The kind of its records.
    pub stream: Stream,
    /// The partition all its records belong to; `None` lets the output choose.
    pub partition: Option<i32>,
    /// The records; never none.
    pub records: &'a RecordBuffer,
}
