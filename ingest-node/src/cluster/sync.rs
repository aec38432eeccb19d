//! The `SyncState` stream of a session: what the node learns and looks for goes up, what others know comes down.
//!
//! Merging is done on a thread for what blocks, one message after the other; the worker threads take over what came as they take
//! over what another worker has learnt. After the first change the uplink waits for a millisecond, so that changes
//! of one datagram, and of many exporters that start together, share a message.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catchment_proto::cluster::v1::node_session_client::NodeSessionClient;
use catchment_proto::cluster::v1::{
    Delta, LearnedRefused, Seen, SnapshotChunk, StateRevision, SyncStart, SyncStateRequest,
    SyncStateResponse, Wanted, sync_state_request, sync_state_response,
};
use catchment_serving::LogLimit;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::counters::add;
use super::downlink::{self, Missing, Told};
use super::member::Member;
use super::session::End;
use super::uplink::{Limits, Next, Uplink};
use super::wanted::Looking;
use crate::shared_scope;

/// How long changes are gathered.
const GATHER: Duration = Duration::from_millis(1);
/// How long a coordinator may take to begin the stream.
const BEGIN: Duration = Duration::from_secs(10);
/// Messages that wait to be written to the connection: few, so that content is made when there is room for it.
const OUTBOUND: usize = 2;
/// Changes that are taken from the store at a time.
const CHANGES: usize = 4096;
/// Keys of one message about scopes that are still heard.
const SEEN: usize = 8192;
/// How often the cluster is told of these, unless it forgets sooner.
const SEEN_EVERY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(3600));
/// After how long something that was refused is tried again, at least and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(3600));

/// What is shared, over all sessions.
pub(super) struct Sync {
    member: Arc<Member>,
    ready: watch::Sender<bool>,
    uplink: Uplink,
    looking: Looking,
    /// What the node knows of the cluster's state.
    resume: Option<StateRevision>,
    /// The snapshot that is coming.
    told: Option<Told>,
    seen: VecDeque<SyncStateRequest>,
    next_seen: Instant,
    /// When the first change was noticed that has not gone up.
    changed: Option<Instant>,
    synced: u64,
    log: LogLimit,
}

impl Sync {
    pub(super) fn new(member: Arc<Member>, ready: watch::Sender<bool>) -> Self {
        let (known, now) = (member.known.clone(), Instant::now());
        Self {
            uplink: Uplink::new(known.clone(), Limits::default(), now),
            looking: Looking::new(known, member.identity.pending_age),
            ready,
            resume: None,
            told: None,
            seen: VecDeque::new(),
            next_seen: now + seen_every(&member),
            changed: None,
            synced: 0,
            log: LogLimit::default(),
            member,
        }
    }

    /// How often the node came to know all that the cluster knows.
    pub(super) fn synced(&self) -> u64 {
        self.synced
    }

    /// Shares until the stream ends.
    pub(super) async fn run(&mut self, client: NodeSessionClient<Channel>, session: String) -> End {
        match self.share(client, session).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn share(
        &mut self,
        mut client: NodeSessionClient<Channel>,
        session_id: String,
    ) -> Result<std::convert::Infallible, End> {
        let (outbound, requests) = mpsc::channel(OUTBOUND);
        let start = SyncStart { session_id, resume: self.resume.clone() };
        // The receiver is here.
        let _ = outbound.send(request(sync_state_request::Message::Start(start))).await;
        let answer = timeout(BEGIN, client.sync_state(ReceiverStream::new(requests))).await;
        let answer = answer.map_err(|_| End::lost("the coordinator does not begin to share its state"))?;
        let mut inbound = answer.map_err(|status| End::of(&status))?.into_inner();
        self.told = None;
        self.looking.begin();
        self.uplink.begin(Instant::now());
        let member = self.member.clone();
        let mut outgoing: Option<SyncStateRequest> = None;
        loop {
            self.gather();
            let mut wake = None;
            if outgoing.is_none() {
                (outgoing, wake) = self.next(Instant::now()).await;
            }
            // Something is always due some day: scopes that are still heard.
            let wake = wake.unwrap_or(self.next_seen);
            tokio::select! {
                message = inbound.message() => match message {
                    Ok(Some(message)) => self.take(message).await?,
                    Ok(None) => return Err(End::lost("the coordinator has ended the sharing of state")),
                    Err(status) => return Err(End::of(&status)),
                },
                room = outbound.reserve(), if outgoing.is_some() => {
                    let room = room.map_err(|_| End::lost("the connection is closed"))?;
                    if let Some(message) = outgoing.take() {
                        self.sent(&message);
                        room.send(message);
                    }
                }
                () = member.changed.notified() => {
                    self.changed.get_or_insert_with(Instant::now);
                    sleep(GATHER).await;
                }
                () = sleep_until(wake.into()), if outgoing.is_none() => {}
            }
        }
    }

    /// Takes from the store what is to go up.
    fn gather(&mut self) {
        let store = &self.member.known.store;
        loop {
            let changes = store.take_changes(CHANGES);
            let last = changes.len() < CHANGES;
            changes.into_iter().for_each(|key| self.uplink.push(key));
            if last {
                break;
            }
        }
        loop {
            let changes = store.take_name_changes(CHANGES);
            let (last, now) = (changes.len() < CHANGES, Instant::now());
            changes.into_iter().for_each(|key| self.uplink.push_names(key, now));
            if last {
                break;
            }
        }
        loop {
            let wanted = store.take_wanted(CHANGES);
            let last = wanted.len() < CHANGES;
            self.looking.add(wanted, Instant::now());
            if last {
                break;
            }
        }
    }

    /// The next message, or when there may be one.
    async fn next(&mut self, now: Instant) -> (Option<SyncStateRequest>, Option<Instant>) {
        if let Some((wanted, count)) = self.looking.next(now) {
            add(&self.member.counters.wanted_sent, count);
            return (Some(request(sync_state_request::Message::Wanted(wanted))), None);
        }
        let wait = match self.uplink.next(now) {
            Next::Send(batch) => {
                let counters = &self.member.counters;
                add(&counters.scopes_sent, batch.scopes);
                add(&counters.templates_sent, batch.templates);
                add(&counters.scopes_limited, batch.limited);
                add(&counters.messages_sent, 1);
                return (Some(request(sync_state_request::Message::Learned(batch.message))), None);
            }
            Next::Wait(until) => {
                if self.uplink.is_calm() {
                    self.changed = None;
                }
                Some(until)
            }
            Next::Idle => {
                self.changed = None;
                None
            }
        };
        if now >= self.next_seen {
            self.look_who_is_heard().await;
            self.next_seen = now + seen_every(&self.member);
        }
        if let Some(seen) = self.seen.pop_front() {
            return (Some(seen), None);
        }
        let due = [wait, self.looking.due(), Some(self.next_seen)];
        (None, due.into_iter().flatten().min())
    }

    fn sent(&mut self, message: &SyncStateRequest) {
        if let Some(sync_state_request::Message::Learned(_)) = message.message
            && let Some(since) = self.changed.take()
        {
            self.member.uplink_times.record(since.elapsed());
        }
    }

    /// Puts down all scopes that were heard since the last time.
    async fn look_who_is_heard(&mut self) {
        let (known, time) = (self.member.known.clone(), 2 * seen_every(&self.member));
        let looked = spawn_blocking(move || {
            let (mut messages, mut after) = (VecDeque::new(), None);
            loop {
                let (keys, next) = downlink::heard(&known, after.as_ref(), SEEN, time);
                if !keys.is_empty() {
                    let scopes =
                        keys.iter().map(|key| shared_scope::key_message(key, &known.zones)).collect();
                    messages.push_back(request(sync_state_request::Message::Seen(Seen { scopes })));
                }
                match next {
                    Some(_) => after = next,
                    None => return messages,
                }
            }
        });
        self.seen = looked.await.unwrap_or_default();
    }

    async fn take(&mut self, message: SyncStateResponse) -> Result<(), End> {
        match message.message {
            Some(sync_state_response::Message::Snapshot(chunk)) => self.snapshot(chunk).await,
            Some(sync_state_response::Message::Delta(delta)) => self.delta(delta).await,
            Some(sync_state_response::Message::Wanted(wanted)) => self.others_want(wanted).await,
            Some(sync_state_response::Message::Refused(refused)) => {
                self.refused(&refused);
                Ok(())
            }
            // From a later release.
            None => Ok(()),
        }
    }

    async fn snapshot(&mut self, chunk: SnapshotChunk) -> Result<(), End> {
        let SnapshotChunk { scopes, last, revision } = chunk;
        let mut told = self.told.take().unwrap_or_default();
        let (known, counters) = (self.member.known.clone(), self.member.counters.clone());
        let merged = spawn_blocking(move || {
            let left_out = downlink::import(&known, &counters, &scopes, Some(&mut told));
            (left_out, told)
        });
        let (left_out, told) = merged.await.map_err(|error| panicked(&error))?;
        self.complain(&left_out);
        if !last {
            self.told = Some(told);
            return Ok(());
        }
        let same_store = match (&self.resume, &revision) {
            (Some(before), Some(now)) => before.store == now.store,
            _ => false,
        };
        let missing = match same_store {
            true => Missing::HeardWithin(self.member.identity.retention),
            false => Missing::All,
        };
        let known = self.member.known.clone();
        let up = spawn_blocking(move || downlink::to_tell(&known, told, missing))
            .await
            .map_err(|error| panicked(&error))?;
        up.into_iter().for_each(|key| self.uplink.push(key));
        self.resume = revision;
        self.member.counters.snapshot_complete();
        tracing::info!(
            scopes = self.member.known.store.scopes(),
            to_tell = self.uplink.waiting(),
            "the node knows what the cluster knows"
        );
        self.is_synced();
        Ok(())
    }

    async fn delta(&mut self, delta: Delta) -> Result<(), End> {
        // What nobody hears any more goes here when others need the room; it does no harm until then.
        let Delta { scopes, removed: _, revision } = delta;
        if !scopes.is_empty() {
            let (known, counters) = (self.member.known.clone(), self.member.counters.clone());
            let merged = spawn_blocking(move || downlink::import(&known, &counters, &scopes, None));
            let left_out = merged.await.map_err(|error| panicked(&error))?;
            self.complain(&left_out);
        }
        if revision.is_some() && self.told.is_none() && self.resume.is_some() {
            self.resume = revision;
            self.is_synced();
        }
        Ok(())
    }

    async fn others_want(&self, wanted: Wanted) -> Result<(), End> {
        let known = self.member.known.clone();
        let count = spawn_blocking(move || downlink::others_want(&known, &wanted))
            .await
            .map_err(|error| panicked(&error))?;
        add(&self.member.counters.wanted_known, count);
        Ok(())
    }

    fn refused(&mut self, refused: &LearnedRefused) {
        let now = Instant::now();
        for refusal in &refused.refusals {
            let key = refusal.key.as_ref();
            let key = key.and_then(|key| shared_scope::read_key(key, &self.member.known.zones).ok());
            let Some(key) = key else { continue };
            let after = match refusal.retry_after_ms {
                0 => None,
                millis => Some(Duration::from_millis(u64::from(millis)).clamp(RETRY.0, RETRY.1)),
            };
            self.uplink.refused(key, after, now);
        }
        add(&self.member.counters.scopes_refused, refused.refusals.len());
        if let Some(first) = refused.refusals.first() {
            self.log.admit(|suppressed| {
                let (scopes, reason) = (refused.refusals.len(), &first.reason);
                tracing::warn!(
                    scopes,
                    reason,
                    suppressed,
                    "the coordinator did not take what this node learnt"
                );
            });
        }
    }

    fn is_synced(&mut self) {
        self.synced += 1;
        self.ready.send_replace(true);
    }

    fn complain(&self, left_out: &downlink::LeftOut) {
        if let Some(reason) = &left_out.why {
            self.log.admit(|suppressed| {
                let parts = left_out.count;
                tracing::warn!(parts, reason, suppressed, "what the coordinator sent is left out in part");
            });
        }
    }
}

fn seen_every(member: &Member) -> Duration {
    (member.identity.retention / 4).clamp(SEEN_EVERY.0, SEEN_EVERY.1)
}

fn request(message: sync_state_request::Message) -> SyncStateRequest {
    SyncStateRequest { message: Some(message) }
}

fn panicked(error: &JoinError) -> End {
    End::Lost(format!("what the coordinator sent could not be merged: {error}"))
}
