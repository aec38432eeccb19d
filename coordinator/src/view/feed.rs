//! What one session is sent: a snapshot or what it lacks, then the deltas, and what other nodes look for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use catchment_proto::cluster::v1::{StateRevision, SyncStateResponse, Wanted, sync_state_response};
use tokio::sync::{broadcast, watch};

use super::wire::{EncodedResponse, Part};
use super::{STEP, State, View};
use crate::scope::ScopeId;

/// Octets of a message, at most.
const MAX_MESSAGE: usize = 1024 * 1024 - 4096;
/// Scopes that a node looks for and that are answered at once.
const MAX_ANSWERS: usize = 1024;

/// Templates that a node looks for, on their way to the others.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    /// The session that asks; 0: another replica's.
    pub(crate) asker: u32,
    pub(crate) wanted: Arc<Wanted>,
}

/// What one session is sent. Nothing is lost where [`Feed::next`] is dropped before it ends.
#[derive(Debug)]
pub struct Feed {
    view: Arc<View>,
    session: u32,
    head: watch::Receiver<u64>,
    notices: broadcast::Receiver<Notice>,
    answers: Answers,
    /// Positions up to here were dealt with.
    cursor: u64,
    /// Content from after `known_from` up to `synced`, where the cursor last was at the head, was sent; what is older the
    /// session may lack, and what is later it may have been moved past.
    known_from: u64,
    synced: u64,
    phase: Phase,
    told: Option<StateRevision>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Snapshot,
    Deltas,
}

/// Scopes that a session asked for and that are known here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers(Arc<Mutex<VecDeque<Arc<ScopeId>>>>);

impl Answers {
    pub(crate) fn push(&self, id: Arc<ScopeId>) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() < MAX_ANSWERS && !answers.contains(&id) {
            answers.push_back(id);
        }
    }

    fn take(&self) -> VecDeque<Arc<ScopeId>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Feed {
    pub(crate) fn new(
        view: &Arc<View>,
        session: u32,
        notices: broadcast::Receiver<Notice>,
        answers: Answers,
        resume: Option<&StateRevision>,
    ) -> Self {
        let head = view.subscribe();
        let state = view.lock();
        let from = resume.and_then(|resume| state.position_at(&resume.store, resume.revision));
        let mut feed = Self {
            view: Arc::clone(view),
            session,
            head,
            notices,
            answers,
            cursor: 0,
            known_from: 0,
            synced: 0,
            phase: Phase::Deltas,
            told: None,
        };
        match from {
            Some(position) => {
                feed.cursor = position;
                feed.known_from = position;
                view.counters.resumes.increment();
            }
            None => feed.begin_snapshot(),
        }
        drop(state);
        feed
    }

    /// The next message. The first ones are the snapshot, unless the session could resume.
    pub async fn next(&mut self) -> EncodedResponse {
        loop {
            self.head.borrow_and_update();
            if let Some(answer) = self.answer() {
                return answer;
            }
            match self.step() {
                Step::Send(message) => return message,
                Step::Again => {
                    tokio::task::yield_now().await;
                    continue;
                }
                Step::Wait => {}
            }
            tokio::select! {
                // The sender is in the view that this feed holds.
                _ = self.head.changed() => {}
                notice = self.notices.recv() => match notice {
                    Ok(notice) if notice.asker != self.session => return told(&notice.wanted),
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Lagged(lost)) => self.view.counters.wanted_dropped.add(lost),
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                }
            }
        }
    }

    fn begin_snapshot(&mut self) {
        self.cursor = 0;
        self.known_from = 0;
        self.synced = 0;
        self.phase = Phase::Snapshot;
        self.told = None;
        self.view.counters.snapshots.increment();
    }

    /// Scopes that the session asked for.
    fn answer(&mut self) -> Option<EncodedResponse> {
        let asked = self.answers.take();
        let mut part = Part::default();
        let state = self.view.lock();
        for id in asked {
            let Some(entry) = state.entry(&id) else { continue };
            if part.has_room(entry.content.len(), MAX_MESSAGE) {
                part.scope(&entry.content);
            } else {
                self.answers.push(id);
            }
        }
        drop(state);
        if part.is_empty() { None } else { Some(part.into_delta(None)) }
    }

    fn step(&mut self) -> Step {
        let view = Arc::clone(&self.view);
        let state = view.lock();
        if self.phase == Phase::Deltas && self.cursor < state.complete_from {
            view.counters.resnapshots.increment();
            self.begin_snapshot();
        }
        let mut part = Part::default();
        let at_head = self.fill(&state, &mut part);
        if at_head {
            self.cursor = state.head;
            self.synced = state.head;
        }
        // Told only at the head: then nothing that is stored up to this moment is missing.
        let moment = at_head.then(|| state.moment());
        drop(state);
        match (self.phase, moment) {
            (Phase::Snapshot, Some(moment)) => {
                self.phase = Phase::Deltas;
                let last = part.into_snapshot(Some(&moment));
                self.told = Some(moment);
                Step::Send(last)
            }
            (_, None) if part.is_empty() => Step::Again,
            (Phase::Deltas, Some(_)) if part.is_empty() => Step::Wait,
            (Phase::Snapshot, None) => Step::Send(part.into_snapshot(None)),
            (Phase::Deltas, moment) => {
                let news = moment.filter(|moment| self.told.as_ref() != Some(moment));
                let delta = part.into_delta(news.as_ref());
                self.told = news.or(self.told.take());
                Step::Send(delta)
            }
        }
    }

    /// Adds what comes after the cursor; gives whether that was all.
    fn fill(&mut self, state: &State, part: &mut Part) -> bool {
        for (looked, (position, id)) in state.positions.range(self.cursor + 1..).enumerate() {
            if looked == STEP {
                return false;
            }
            match state.entry(id).filter(|entry| entry.position == *position) {
                Some(entry) => {
                    let sent =
                        entry.content_position > self.known_from && entry.content_position <= self.synced;
                    let own = entry.origin == self.session && self.phase == Phase::Deltas;
                    if !sent && !own {
                        if !part.has_room(entry.content.len(), MAX_MESSAGE) {
                            return false;
                        }
                        part.scope(&entry.content);
                    }
                }
                // A snapshot says what there is; and what is there again has a later position.
                None if self.phase == Phase::Deltas && state.entry(id).is_none() => part.removed(id),
                None => {}
            }
            self.cursor = *position;
        }
        true
    }
}

enum Step {
    Send(EncodedResponse),
    Again,
    Wait,
}

fn told(wanted: &Wanted) -> EncodedResponse {
    SyncStateResponse { message: Some(sync_state_response::Message::Wanted(wanted.clone())) }.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use catchment_proto::cluster::v1::{ScopeKey, ScopeState};
    use proptest::prelude::*;
    use sync_state_response::Message;

    use super::*;
    use crate::counters::Counters;
    use crate::scope::{Announced, Field, Kind, Layout, Order, Scope};

    #[derive(Clone, Copy, Debug)]
    enum Event {
        /// A session's node learns something.
        Learn { session: usize, scope: u32, time_ms: u64 },
        /// The store tells of what is known, without anything new.
        Echo { scope: u32 },
        /// A scope is given up.
        Remove { scope: u32 },
        /// A session takes what is there, one message.
        Take { session: usize },
        /// A session breaks and comes back with the revision that it was told.
        Resume { session: usize },
    }

    const SESSIONS: usize = 3;

    struct Session {
        feed: Feed,
        scopes: BTreeMap<Vec<u8>, ScopeState>,
        revision: Option<StateRevision>,
    }

    impl Session {
        fn new(
            view: &Arc<View>,
            notices: &broadcast::Sender<Notice>,
            number: u32,
            before: Option<Self>,
        ) -> Self {
            let (scopes, revision) =
                before.map(|before| (before.scopes, before.revision)).unwrap_or_default();
            let feed = Feed::new(view, number, notices.subscribe(), Answers::default(), revision.as_ref());
            Self { feed, scopes, revision }
        }

        /// Gives whether there was anything.
        fn take(&mut self) -> bool {
            let message = match self.feed.step() {
                Step::Send(message) => message.decode(),
                Step::Again => return true,
                Step::Wait => return false,
            };
            let (scopes, removed, revision) = match message.message {
                Some(Message::Snapshot(chunk)) => (chunk.scopes, vec![], chunk.revision),
                Some(Message::Delta(delta)) => (delta.scopes, delta.removed, delta.revision),
                other => unreachable!("{other:?}"),
            };
            for key in removed {
                self.scopes.remove(&key.exporter);
            }
            for scope in scopes {
                self.scopes.insert(exporter(scope.key.as_ref()), scope);
            }
            self.revision = revision.or(self.revision.take());
            true
        }
    }

    fn exporter(key: Option<&ScopeKey>) -> Vec<u8> {
        key.map(|key| key.exporter.clone()).unwrap_or_default()
    }

    fn id(number: u32) -> ScopeId {
        ScopeId { zone: "".into(), exporter: number.to_be_bytes().into(), version: 9, domain: 0 }
    }

    fn scope(number: u32, time_ms: u64) -> Scope {
        let fields = [Field { pen: 0, id: 1, length: 4, variable: false, scope: false }];
        let layout = Arc::new(Layout { kind: Kind::Data, fields: fields.into() });
        let mut scope = Scope::empty(id(number));
        scope.templates.insert((256, 1), Announced { order: Order { epoch: 0, time_ms }, layout });
        scope
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => (0..SESSIONS, 0u32..6, 0u64..9).prop_map(|(session, scope, time_ms)| Event::Learn { session, scope, time_ms }),
            3 => (0u32..6).prop_map(|scope| Event::Echo { scope }),
            1 => (0u32..6).prop_map(|scope| Event::Remove { scope }),
            4 => (0..SESSIONS).prop_map(|session| Event::Take { session }),
            1 => (0..SESSIONS).prop_map(|session| Event::Resume { session }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

        /// However sessions and changes are interleaved, who has taken all that is there knows what the view knows.
        #[test]
        fn who_is_at_the_head_knows_all(events in prop::collection::vec(event(), 0..80)) {
            let view = Arc::new(View::new(Arc::new(Counters::default())));
            view.lock().begin_history("store");
            let notices = broadcast::Sender::new(1);
            let mut next = 0;
            let mut number = || { next += 1; next };
            let mut sessions: Vec<Session> =
                (0..SESSIONS).map(|_| Session::new(&view, &notices, number(), None)).collect();
            let mut revision = 0;
            for event in events {
                match event {
                    Event::Learn { session, scope: at, time_ms } => {
                        let said = scope(at, time_ms);
                        // The node knows what it says, and says it only where it is not older than what it was told.
                        let node = &mut sessions[session];
                        let known = node.scopes.get(&exporter(said.to_message().key.as_ref()));
                        if known.is_none_or(|known| known.definitions[0].order.is_none_or(|order| order.time_ms < time_ms)) {
                            let message = said.to_message();
                            node.scopes.insert(exporter(message.key.as_ref()), message);
                            let taken = view.lock().learn(&said, node.feed.session, 1, |_| Ok::<_, ()>(()));
                            prop_assert!(taken.is_ok());
                        }
                    }
                    Event::Echo { scope: at } => {
                        revision += 1;
                        let mut state = view.lock();
                        if let Some(known) = state.entry(&id(at)).map(super::super::Entry::scope) {
                            state.take_stored(super::super::Part::Templates, &known, revision, 1);
                        }
                        state.reached(revision);
                    }
                    Event::Remove { scope } => {
                        revision += 1;
                        let mut state = view.lock();
                        state.remove(&id(scope));
                        state.reached(revision);
                    }
                    Event::Take { session } => {
                        sessions[session].take();
                    }
                    Event::Resume { session } => {
                        let before = sessions.swap_remove(session);
                        sessions.push(Session::new(&view, &notices, number(), Some(before)));
                    }
                }
            }
            for session in &mut sessions {
                while session.take() {}
                let state = view.lock();
                for (id, entry) in state.entries() {
                    let known = entry.scope().to_message();
                    let told = session.scopes.get(&exporter(known.key.as_ref()));
                    // A node that knows something later has said it, and it is in the view.
                    prop_assert_eq!(told, Some(&known), "scope {}", id);
                }
            }
        }
    }
}
