//! What nodes say of templates and options state: checked, limited, merged into the view, and put down to be written.
//!
//! Sessions are told at once, before the store has it. What holds nothing new ends here and costs no write.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use catchment_proto::cluster::v1::learned_refused::Refusal;
use catchment_proto::cluster::v1::{ScopeKey, ScopeState, StateRevision, WantedTemplates};
use tokio::time::Instant;

use crate::limits::{Admission, Bucket, Limit, Limits, News, Standing};
use crate::scope::{Scope, ScopeId};
use crate::store::{Shared, Store, now};
use crate::validate;
use crate::view::{Answers, Entry, Feed};
use crate::writer::Urgency;

/// After how long a node should try a scope again that was refused for a limit.
const RETRY: Duration = Duration::from_secs(30);

/// What admission remembers of all sessions.
#[derive(Debug)]
pub(crate) struct Templates {
    admission: Mutex<Admission>,
}

impl Templates {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { admission: Mutex::new(Admission::new(limits, Instant::now())) }
    }
}

/// One session's part in the exchange of shared state. Its feed and what its node sends up may be served by different tasks.
#[derive(Debug)]
pub struct Exchange {
    shared: Arc<Shared>,
    session: u32,
    node: Mutex<Bucket>,
    answers: Answers,
}

impl Store {
    /// Begins a session's exchange.
    pub fn exchange(&self) -> Exchange {
        let shared = Arc::clone(self.shared());
        let session = shared.next_session();
        let node = Mutex::new(Bucket::full(shared.options.limits.node, Instant::now()));
        Exchange { shared, session, node, answers: Answers::default() }
    }
}

impl Exchange {
    /// What the session is sent: all, or what came after `resume` where that is still known.
    pub fn feed(&self, resume: Option<&StateRevision>) -> Feed {
        let notices = self.shared.notices.subscribe();
        Feed::new(&self.shared.view, self.session, notices, self.answers.clone(), resume)
    }

    /// Takes what the node learnt. Gives what was not taken, and why.
    pub fn learned(&self, scopes: &[ScopeState], standing: Standing) -> Vec<Refusal> {
        self.shared.counters.learned_scopes.add(scopes.len() as u64);
        let refused = scopes.iter().filter_map(|scope| self.learn(scope, standing).err()).collect();
        let head = self.shared.view.lock().head();
        self.shared.view.wake(head);
        refused
    }

    /// Notes that these scopes are still heard.
    pub fn seen(&self, keys: &[ScopeKey]) {
        let now = now();
        for id in keys.iter().filter_map(|key| validate::scope_id(key).ok()) {
            let due = {
                let mut state = self.shared.view.lock();
                let entry = state.entry_mut(&id);
                entry.is_some_and(|entry| {
                    entry.seen = now;
                    entry.seen_is_due(self.shared.seen_interval())
                })
            };
            if due {
                self.shared.enqueue(&id, Urgency::Whenever);
            }
        }
    }

    /// Asks for templates: what is known here the feed brings at once, for the rest the other nodes are asked.
    pub fn wanted(&self, scopes: &[WantedTemplates]) {
        let mut unknown = Vec::new();
        for wanted in scopes {
            let Some(Ok(id)) = wanted.key.as_ref().map(validate::scope_id) else { continue };
            match self.answer(&id, &wanted.ids) {
                ids if ids.is_empty() => {}
                ids => unknown.push((id, ids)),
            }
        }
        let head = self.shared.view.lock().head();
        self.shared.view.wake_all(head);
        self.shared.ask(self.session, unknown);
    }

    /// The ids that other nodes are to be asked for: those that are not known here, and those that ports disagree on, because the
    /// asker's data may be of yet another port. Where one is known, the scope is put down for the feed.
    fn answer(&self, id: &ScopeId, ids: &[u32]) -> Vec<u16> {
        let ids = ids.iter().filter_map(|id| u16::try_from(*id).ok());
        let (known, shared_id) = {
            let state = self.shared.view.lock();
            (state.entry(id).map(Entry::scope), state.shared_id(id))
        };
        let (Some(scope), Some(shared_id)) = (known, shared_id) else { return ids.collect() };
        let mut some_known = false;
        let mut unsettled = Vec::new();
        for id in ids {
            let mut layouts = scope.templates.range((id, 0)..=(id, u16::MAX)).map(|(_, said)| &said.layout);
            let first = layouts.next();
            some_known |= first.is_some();
            if !first.is_some_and(|first| layouts.all(|other| other == first)) {
                unsettled.push(id);
            }
        }
        if some_known {
            self.answers.push(shared_id);
        }
        unsettled
    }

    fn learn(&self, message: &ScopeState, standing: Standing) -> Result<(), Refusal> {
        let refused = |reason: String, retry: Duration| Refusal {
            key: message.key.clone(),
            reason,
            retry_after_ms: retry.as_millis() as u32,
        };
        let counters = &self.shared.counters;
        let scope = validate::scope(message).map_err(|invalid| {
            counters.refused_invalid.increment();
            refused(invalid.to_string(), Duration::ZERO)
        })?;
        let urgency = self.merge(&scope, standing).map_err(|limit| {
            match limit {
                Limit::Full | Limit::TooLarge => counters.refused_full.increment(),
                _ => counters.refused_rate.increment(),
            }
            refused(limit.to_string(), RETRY)
        })?;
        match urgency {
            Some(urgency) => self.shared.enqueue(&scope.id, urgency),
            None => counters.learned_known.increment(),
        }
        Ok(())
    }

    /// Merges into the view; gives how urgent it is to write, or nothing where there is nothing new.
    fn merge(&self, scope: &Scope, standing: Standing) -> Result<Option<Urgency>, Limit> {
        let limits = &self.shared.options.limits;
        let exporter = (scope.id.zone.clone(), scope.id.exporter);
        let mut news = News::OfKnown;
        let mut state = self.shared.view.lock();
        let changed = state.learn(scope, self.session, now(), |state| {
            limits.room(state.len(), state.bytes(), state.entry(&scope.id).is_some())?;
            if standing == Standing::Open && !state.knows_exporter(&scope.id) {
                news = News::OfStranger;
            }
            let mut admission = lock(&self.shared.templates.admission);
            admission.admit(limits, exporter, &mut lock(&self.node), news, Instant::now())
        })?;
        let due = state.entry(&scope.id).is_some_and(|entry| entry.seen_is_due(self.shared.seen_interval()));
        Ok(match (changed.any(), news) {
            (true, News::OfKnown) => Some(Urgency::Soon),
            (true, News::OfStranger) => Some(Urgency::AfterOthers),
            (false, _) => due.then_some(Urgency::Whenever),
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
