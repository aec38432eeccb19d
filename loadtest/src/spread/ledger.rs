//! What a spreader has received and what became of it.
//!
//! Invariant, once it has ended: `received = sum over targets of forwarded + errors`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// The account of a spreader; printed as one JSON line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpreadLedger {
    /// Datagrams read from the virtual addresses.
    pub received: u64,
    /// Datagrams that the kernel dropped before they were read.
    pub kernel_dropped: u64,
    /// Datagrams that left, to all targets.
    pub forwarded: u64,
    /// Datagrams that did not leave.
    pub errors: u64,
    /// The same, split by target.
    pub targets: Vec<TargetCount>,
}

/// One target's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TargetCount {
    /// The node's address.
    pub target: SocketAddr,
    /// Datagrams that the kernel took.
    pub forwarded: u64,
    /// Datagrams that the kernel refused.
    pub errors: u64,
}

impl SpreadLedger {
    /// True where everything that was received was given to a target, sent or refused.
    pub fn is_balanced(&self) -> bool {
        self.received == self.forwarded + self.errors
    }
}

/// The counts while they change. Written by the spreader's threads, read by anybody.
#[derive(Debug)]
pub(super) struct Counts {
    received: AtomicU64,
    kernel_dropped: AtomicU64,
    targets: Vec<Target>,
}

#[derive(Debug)]
struct Target {
    address: SocketAddr,
    forwarded: AtomicU64,
    errors: AtomicU64,
}

impl Counts {
    pub(super) fn new(targets: &[SocketAddr]) -> Self {
        let target = |address: &SocketAddr| Target {
            address: *address,
            forwarded: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        };
        Self {
            received: AtomicU64::new(0),
            kernel_dropped: AtomicU64::new(0),
            targets: targets.iter().map(target).collect(),
        }
    }

    pub(super) fn received(&self, datagrams: u64) {
        self.received.fetch_add(datagrams, Ordering::Relaxed);
    }

    pub(super) fn kernel_dropped(&self, datagrams: u64) {
        self.kernel_dropped.fetch_add(datagrams, Ordering::Relaxed);
    }

    pub(super) fn forwarded(&self, target: usize) {
        self.targets[target].forwarded.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, target: usize) {
        self.targets[target].errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ledger(&self) -> SpreadLedger {
        let count = |target: &Target| TargetCount {
            target: target.address,
            forwarded: target.forwarded.load(Ordering::Relaxed),
            errors: target.errors.load(Ordering::Relaxed),
        };
        let targets: Vec<TargetCount> = self.targets.iter().map(count).collect();
        SpreadLedger {
            received: self.received.load(Ordering::Relaxed),
            kernel_dropped: self.kernel_dropped.load(Ordering::Relaxed),
            forwarded: targets.iter().map(|target| target.forwarded).sum(),
            errors: targets.iter().map(|target| target.errors).sum(),
            targets,
        }
    }
}
