//! What one session is sent: a snapshot or what it lacks, then the deltas, and what other nodes look for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use catchment_proto::cluster::v1::{StateRevision, SyncStateResponse, Wanted, sync_state_response};
use tokio::sync::{broadcast, watch};

use super::wire::{EncodedResponse, Part};
use super::{State, View};
use crate::scope::ScopeId;

/// Octets of a message, at most.
const MAX_MESSAGE: usize = 1024 * 1024 - 4096;
/// Positions that are looked at in one go, so that the lock is short.
const STEP: usize = 4096;
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
        let head = view.head.subscribe();
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
                None if self.phase == Phase::Deltas => part.removed(id),
                // A snapshot says what there is.
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
