//! Reports on their way to the leader, in the order in which nodes sent them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use catchment_proto::cluster::v1::{ForwardReportRequest, SequenceReport};
use catchment_sequence::Departure;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Inner, PATIENCE, Sequences};
use crate::session::Session;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// What a node said, or what became of it.
#[derive(Debug)]
pub(super) enum Said {
    Report(SequenceReport, Weak<Session>),
    Departed(Departure),
}

#[derive(Debug)]
pub(super) struct Forward {
    node: String,
    incarnation: u64,
    said: Said,
    since: Instant,
}

impl Forward {
    pub(super) fn new(node: &str, incarnation: u64, said: Said) -> Self {
        Self { node: node.to_owned(), incarnation, said, since: Instant::now() }
    }

    fn request(&self, cluster: &str) -> ForwardReportRequest {
        let (report, lost) = match &self.said {
            Said::Report(report, _) => (Some(report.clone()), false),
            Said::Departed(how) => (None, *how == Departure::Lost),
        };
        ForwardReportRequest {
            cluster: cluster.to_owned(),
            node_id: self.node.clone(),
            incarnation: self.incarnation,
            report,
            lost,
        }
    }
}

pub(super) async fn run(inner: Weak<Inner>, mut waiting: mpsc::Receiver<Forward>) {
    while let Some(forward) = waiting.recv().await {
        loop {
            let Some(inner) = inner.upgrade() else { return };
            if hand_on(&inner, &forward).await {
                inner.counters.forwarded.fetch_add(1, Ordering::Relaxed);
                if let Said::Report(report, session) = &forward.said
                    && let Some(session) = session.upgrade()
                {
                    session.sequences_taken(report.number);
                }
                break;
            }
            if forward.since.elapsed() > PATIENCE {
                inner.counters.dropped.fetch_add(1, Ordering::Relaxed);
                break;
            }
            drop(inner);
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Whether a leader has taken it.
async fn hand_on(inner: &Arc<Inner>, forward: &Forward) -> bool {
    // The leadership may have come here meanwhile.
    let here = Sequences { inner: Arc::clone(inner) };
    let taken = match &forward.said {
        Said::Report(report, _) => here.report(&forward.node, forward.incarnation, report),
        Said::Departed(how) => here.departure(&forward.node, forward.incarnation, *how),
    };
    if taken.is_ok() {
        return true;
    }
    let Ok(mut leader) = inner.peers.leader() else { return false };
    let request = forward.request(&inner.store.options().cluster);
    leader.forward_report(request).await.is_ok()
}
