//! What a worker tells the rest of the node, a few times a second.
//!
//! The worker counts in plain integers of its own; a report is a copy of them, taken between two reads, so that all its
//! numbers belong together.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flow_decoder::Statistics;
use udp_receiver::SocketStatistics;

/// One worker's counts at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// Each of its sockets, in the order of the listeners.
    pub(crate) sockets: Vec<SocketReport>,
    pub(crate) decoded: Statistics,
    pub(crate) panics: u64,
}

/// One socket's counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SocketReport {
    pub(crate) read: SocketStatistics,
    pub(crate) kernel_dropped: u64,
    pub(crate) buffer_usage: f64,
}

/// The latest report, and when it was made.
#[derive(Debug, Default)]
pub(crate) struct ReportCell(Mutex<(Report, Option<Instant>)>);

impl ReportCell {
    pub(crate) fn set(&self, report: Report, now: Instant) {
        *self.lock() = (report, Some(now));
    }

    pub(crate) fn get(&self) -> Report {
        self.lock().0.clone()
    }

    /// Time since the last report; `None` before the first.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.lock().1.map(|at| at.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, (Report, Option<Instant>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
