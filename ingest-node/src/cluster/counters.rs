//! What the node's side of the cluster has counted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts that grow while the process runs.
        #[derive(Debug, Default)]
        pub struct Counters {
            $(pub(super) $name: AtomicU64,)*
            connected: AtomicBool,
            snapshot_ms: AtomicU64,
        }

        /// [`Counters`] at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
            /// Whether there is a session.
            pub connected: bool,
            /// When the last snapshot was complete, seconds since 1970; 0: none was.
            pub snapshot_seconds: f64,
        }

        impl Counters {
            /// The counts now.
            pub fn counts(&self) -> Counts {
                Counts {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                    connected: self.connected.load(Ordering::Relaxed),
                    snapshot_seconds: self.snapshot_ms.load(Ordering::Relaxed) as f64 / 1e3,
                }
            }
        }
    };
}

counters! {
    /// Sessions begun.
    sessions,
    /// Sessions that ended without a goodbye.
    sessions_lost,
    /// Times that a coordinator refused the node.
    sessions_refused,
    /// Times that no coordinator was reached.
    unreachable,
    /// Scopes that went up.
    scopes_sent,
    /// Template definitions in them.
    templates_sent,
    /// Messages with them.
    messages_sent,
    /// Scopes that had to wait because their exporter, or the node, says too much.
    scopes_limited,
    /// Scopes that a coordinator did not take.
    scopes_refused,
    /// Scopes that came down.
    scopes_received,
    /// Template definitions in them that were new here, or had another layout.
    templates_learnt,
    /// Template definitions in them that were older than what is known here.
    templates_older,
    /// Template ids in them on which source ports disagree, or that had two layouts of one moment.
    templates_conflicting,
    /// Scopes, definitions and options entries in them that cannot be.
    parts_refused,
    /// Scopes in them of zones in which the node does not listen.
    other_zones,
    /// Templates that were looked for, repeats included.
    wanted_sent,
    /// Templates that others looked for and this node knew.
    wanted_known,
    /// Commands carried out.
    commands,
    /// Commands refused.
    commands_refused,
    /// Reports of sequences that were given up because nobody acknowledged them.
    reports_given_up,
}

pub(super) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
    }

    pub(super) fn snapshot_complete(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        self.snapshot_ms.store(now as u64, Ordering::Relaxed);
    }
}
