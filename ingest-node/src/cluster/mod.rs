//! The node as a member of a cluster: a session with a coordinator, through which it shares what it knows of exporters and is
//! steered.
//!
//! ```text
//! endpoints --any that answers--> session ---+--- Control:   hello, heartbeats, commands, sequence reports
//!                ^                           +--- SyncState: learnt up, snapshot and deltas down
//!                +--- lost: the next one, with backoff
//! ```
//!
//! Invariants:
//! - The data path never waits for anything here. Workers wake the uplink, and read what it imports as they read what another
//!   worker has learnt.
//! - Without a coordinator the node goes on with what it knows. What it learns meanwhile goes up afterwards, in its latest form.
//! - What a coordinator sends is checked like wire input.
//! - Everything is bounded: scopes that wait to go up by the store's own bound, messages by 1 MiB, templates that are looked for
//!   and reports that nobody has acknowledged by numbers of their own.

mod addresses;
mod bucket;
mod commands;
mod complaints;
mod control;
mod counters;
mod downlink;
mod member;
mod sequences;
mod session;
mod sync;
mod uplink;
mod wanted;

use std::sync::Arc;
use std::time::Duration;

use catchment_serving::grpc::{Connector, TlsError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::addresses::Addresses;
pub use self::counters::{Counters, Counts};
pub use self::member::Identity;
use self::member::Member;
use crate::config::Config;
use crate::node::{Node, Prepared};

/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// The node's side of its cluster.
#[derive(Debug)]
pub struct Cluster {
    member: Arc<Member>,
    ready: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Cluster {
    /// Begins to look for a coordinator; `None` where the node is to work alone. Must be called on a runtime.
    ///
    /// # Errors
    /// Where a certificate or key cannot be used.
    pub fn start(
        config: &Config,
        prepared: &Prepared,
        addresses: Addresses,
    ) -> Result<Option<Self>, TlsError> {
        let endpoints = &config.coordinator.endpoints;
        if endpoints.is_empty() {
            return Ok(None);
        }
        let connector = Connector::new(endpoints, &config.coordinator.tls)?.with_backoff(session::BACKOFF);
        let member = Arc::new(Member::new(Identity::of(config, prepared), prepared, addresses));
        let (ready, when_ready) = watch::channel(false);
        let task = tokio::spawn(session::run(member.clone(), connector, ready));
        Ok(Some(Self { member, ready: when_ready, task }))
    }

    /// Waits until the node knows what the cluster knows, or until `timeout`; says which.
    pub async fn wait_for_snapshot(&self, timeout: Duration) -> bool {
        let mut ready = self.ready.clone();
        let known = tokio::time::timeout(timeout, ready.wait_for(|ready| *ready)).await;
        matches!(known, Ok(Ok(_)))
    }

    /// Lets the cluster steer the node from now on. To be called before it reads: what people want of it holds at once.
    pub fn attach(&self, node: &Arc<Node>) {
        self.member.attach(node);
    }

    /// Ends the session with a goodbye. To be called when the sources have drained.
    pub async fn leave(mut self, reason: &str) {
        self.member.leave(reason);
        if tokio::time::timeout(GOODBYE, &mut self.task).await.is_err() {
            // The coordinator finds out when the lease runs out.
            self.task.abort();
        }
    }
}
