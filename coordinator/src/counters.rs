//! What the store's part of a coordinator counts, for its metrics.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Counts since the start.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: Count,)+
        }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
        pub struct Counted {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Counters {
            /// The counters now.
            pub fn read(&self) -> Counted {
                Counted { $($name: self.$name.get(),)+ }
            }
        }
    };
}

counters! {
    /// Transactions that wrote templates or options state.
    template_transactions,
    /// Template keys that they put.
    template_puts,
    /// Options keys that they put.
    options_puts,
    /// Puts that another replica was ahead of, and that were merged and tried again.
    conflicts,
    /// Keys of last-seen times put.
    seen_puts,
    /// Puts and deletes of registrations, replicas, the leader.
    registry_writes,
    /// Puts of desired states.
    desired_writes,
    /// Puts of the configuration.
    config_writes,
    /// Puts of what nodes look for.
    wanted_writes,
    /// Keys that retention took away.
    retention_deletes,
    /// Calls to the store that failed.
    failed_calls,
    /// Values of the store that were skipped because they are not valid.
    invalid_values,
    /// Scopes from nodes that were refused: not valid.
    refused_invalid,
    /// Scopes from nodes that were refused: too much that is new, of one exporter, one node or in total.
    refused_rate,
    /// Scopes from nodes that were refused: as many as may be are known.
    refused_full,
    /// Scopes that nodes sent up.
    learned_scopes,
    /// Of them, those that held nothing new.
    learned_known,
    /// Scopes pushed to other replicas.
    pushed_scopes,
    /// Scopes that other replicas pushed here.
    heard_scopes,
    /// Of them, those that were not valid or had no room.
    heard_refused,
    /// Templates that nodes looked for, and that were told to the others.
    wanted_told,
    /// Templates that nodes looked for, and that were left out for want of room.
    wanted_dropped,
    /// Lists of the whole store.
    relists,
    /// Watches that were begun again.
    watch_restarts,
    /// Watches whose history was compacted away.
    compactions,
    /// Stores that were found wiped, restored or exchanged.
    store_changes,
    /// Leases that ended and were replaced.
    lease_losses,
    /// Sessions that fell so far behind that they got a snapshot again.
    resnapshots,
    /// Snapshots begun.
    snapshots,
    /// Sessions that could be given only what had changed.
    resumes,
}

/// One counter.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Counts one.
    pub(crate) fn increment(&self) {
        self.add(1);
    }

    /// Counts `more`.
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
