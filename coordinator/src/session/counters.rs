//! What sessions count, for the replica's metrics.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Counts since the start.
        #[derive(Debug, Default)]
        pub struct SessionCounters {
            $($(#[doc = $doc])+ pub(crate) $name: AtomicU64,)+
        }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
        pub struct SessionCounts {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl SessionCounters {
            pub(crate) fn read(&self) -> SessionCounts {
                SessionCounts { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }
        }
    };
}

counters! {
    /// Sessions begun.
    begun,
    /// Hellos refused: another cluster, another contract, an older incarnation, names that are not valid.
    refused,
    /// Hellos that this replica could not take: stopping, its store not read yet, full.
    unavailable,
    /// Sessions ended by a goodbye.
    ended_goodbye,
    /// Sessions ended because the connection broke.
    ended_broken,
    /// Sessions ended because nothing was heard.
    ended_silent,
    /// Sessions ended because the node has a later one.
    ended_superseded,
    /// Sessions ended because this replica stops.
    ended_stopping,
    /// Sessions ended because the node did not read, or broke the contract.
    ended_fault,
    /// Heartbeats.
    heartbeats,
    /// Commands sent.
    commands,
    /// Commands that a node refused.
    commands_refused,
    /// Commands that were not answered in time.
    commands_unanswered,
    /// Streams of shared state begun.
    syncs,
    /// Messages of shared state sent.
    sync_messages,
    /// Octets of these messages.
    sync_bytes,
}

/// Counts one.
pub(crate) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

/// Counts `more`.
pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
