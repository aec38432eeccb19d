//! The `SyncState` stream of a session: the feed's messages down, what the node learnt, saw and looks for up.
//!
//! It is no task of its own: whoever writes the connection asks for the next message when there is room for one. So a node that
//! reads slowly holds one message here; what it missed it gets later, each scope once, or as a new snapshot.

use std::collections::VecDeque;
use std::sync::Arc;

use catchment_proto::cluster::v1::learned_refused::Refusal;
use catchment_proto::cluster::v1::{
    LearnedRefused, SyncStart, SyncStateRequest, SyncStateResponse, sync_state_request, sync_state_response,
};
use futures_util::stream::{Stream, unfold};
use tokio::sync::watch;
use tonic::{Status, Streaming};

use super::Sessions;
use super::counters::{add, count};
use super::live::{End, Session};
use crate::limits::Standing;
use crate::{EncodedResponse, Exchange, Feed};

/// Refusals in one message.
const REFUSALS: usize = 4096;

struct Sync {
    sessions: Sessions,
    session: Arc<Session>,
    inbound: Streaming<SyncStateRequest>,
    feed: Feed,
    exchange: Exchange,
    refused: VecDeque<Refusal>,
    ended: watch::Receiver<Option<End>>,
    /// Moves when the session begins another stream.
    present: watch::Receiver<u64>,
}

impl Sessions {
    /// Begins the exchange, or says why not.
    pub(super) async fn sync(
        &self,
        mut inbound: Streaming<SyncStateRequest>,
    ) -> Result<impl Stream<Item = Result<EncodedResponse, Status>> + Send + use<>, Status> {
        let within = self.inner.options.hello;
        let first = tokio::time::timeout(within, inbound.message()).await.map_err(|_| {
            Status::deadline_exceeded(format!("no start came within {} s", within.as_secs_f64()))
        })??;
        let Some(sync_state_request::Message::Start(start)) = first.and_then(|first| first.message) else {
            return Err(Status::invalid_argument("the first message of SyncState is not a start"));
        };
        let SyncStart { session_id, resume } = start;
        let session = self.by_session_id(&session_id).ok_or_else(|| {
            let replica = &self.inner.store.options().coordinator;
            Status::not_found(format!(
                "coordinator `{replica}` has no session `{session_id}`: say hello first"
            ))
        })?;
        session.syncs.send_modify(|syncs| *syncs += 1);
        let mut present = session.syncs.subscribe();
        present.borrow_and_update();
        count(&self.inner.counters.syncs);
        let exchange = self.inner.store.exchange();
        let sync = Sync {
            feed: exchange.feed(resume.filter(|resume| !resume.store.is_empty()).as_ref()),
            exchange,
            ended: session.ended(),
            present,
            sessions: self.clone(),
            session,
            inbound,
            refused: VecDeque::new(),
        };
        Ok(unfold(Some(sync), |sync| async {
            let mut sync = sync?;
            match sync.next().await? {
                Ok(message) => {
                    let counters = &sync.sessions.inner.counters;
                    count(&counters.sync_messages);
                    add(&counters.sync_bytes, message.bytes().len() as u64);
                    Some((Ok(message), Some(sync)))
                }
                Err(status) => Some((Err(status), None)),
            }
        }))
    }
}

impl Sync {
    /// The next message; none: the node has ended the stream.
    async fn next(&mut self) -> Option<Result<EncodedResponse, Status>> {
        loop {
            if !self.refused.is_empty() {
                let refusals = self.refused.drain(..self.refused.len().min(REFUSALS)).collect();
                let message = sync_state_response::Message::Refused(LearnedRefused { refusals });
                return Some(Ok(SyncStateResponse { message: Some(message) }.into()));
            }
            let message = tokio::select! {
                message = self.inbound.message() => message,
                message = self.feed.next() => return Some(Ok(message)),
                _ = self.ended.wait_for(Option::is_some) => {
                    let node = self.session.node();
                    return Some(Err(Status::aborted(format!("the session of node `{node}` has ended"))));
                }
                _ = self.present.changed() => {
                    return Some(Err(Status::aborted("the session began another SyncState")));
                }
            };
            let Ok(Some(message)) = message else { return None };
            if let Err(status) = self.take(message) {
                return Some(Err(status));
            }
        }
    }

    fn take(&mut self, message: SyncStateRequest) -> Result<(), Status> {
        use sync_state_request::Message;
        match message.message {
            Some(Message::Learned(learned)) => {
                let standing = if learned.allow_listed { Standing::AllowListed } else { Standing::Open };
                self.refused.extend(self.exchange.learned(&learned.scopes, standing));
            }
            Some(Message::Wanted(wanted)) => self.exchange.wanted(&wanted.scopes),
            Some(Message::Seen(seen)) => self.exchange.seen(&seen.scopes),
            Some(Message::Start(_)) => return Err(Status::invalid_argument("a second start")),
            // From a later release.
            None => {}
        }
        Ok(())
    }
}
