//! One decoder's view of one exporter port: the scope's snapshot, and the plans it has looked up there.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::error::Reason;
use crate::exporter_store::{ExporterStore, Learned, Lookup, Scope, ScopeKey, ScopeState};
use crate::options::{Meaning, OptionsState};
use crate::plan::Plan;
use crate::template::{FieldSpecifier, Template, TemplateKind};

/// Who sends: a scope and a source port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey {
    pub(crate) scope: ScopeKey,
    pub(crate) port: u16,
}

impl SessionKey {
    pub(crate) fn new(datagram: &crate::Datagram<'_>, version: u16, domain: u32) -> Self {
        let source: SocketAddr = datagram.source;
        Self {
            scope: ScopeKey { zone: datagram.zone, exporter: source.ip(), version, domain },
            port: source.port(),
        }
    }
}

/// The view. It follows the scope: [`Session::follow`] once a datagram, and after everything learnt.
#[derive(Debug)]
pub(crate) struct Session {
    key: SessionKey,
    scope: Option<Arc<Scope>>,
    state: Arc<ScopeState>,
    /// Plans looked up in `state`, so that a data set costs no hashing.
    resolved: Vec<(u16, Arc<Plan>)>,
}

/// Why a data set has no plan, or where it is in the session.
pub(crate) enum Resolved {
    At(usize),
    Rejected(Reason),
}

impl Session {
    pub(crate) fn new(key: SessionKey, scope: Option<Arc<Scope>>) -> Self {
        let mut session = Self { key, scope, state: Arc::default(), resolved: Vec::new() };
        session.follow();
        session
    }

    pub(crate) fn is_known(&self) -> bool {
        self.scope.as_ref().is_some_and(|scope| !scope.is_evicted())
    }

    pub(crate) fn used_at(&self, now_ns: u64) {
        if let Some(scope) = &self.scope {
            scope.used_at(now_ns);
        }
    }

    pub(crate) fn state(&self) -> &ScopeState {
        &self.state
    }

    pub(crate) fn plan(&self, at: usize) -> &Plan {
        &self.resolved[at].1
    }

    /// Takes over the scope's latest state.
    pub(crate) fn follow(&mut self) {
        let Some(scope) = &self.scope else { return };
        let latest = scope.state();
        if !Arc::ptr_eq(&latest, &self.state) {
            self.state = arc_swap::Guard::into_inner(latest);
            self.resolved.clear();
        }
    }

    /// The plan of a data set.
    pub(crate) fn resolve(&mut self, set: u16) -> Resolved {
        if let Some(at) = self.resolved.iter().position(|(id, _)| *id == set) {
            return Resolved::At(at);
        }
        match self.state.lookup(set, self.key.port) {
            Lookup::Plan(plan) => {
                self.resolved.push((set, plan.clone()));
                Resolved::At(self.resolved.len() - 1)
            }
            Lookup::Conflict => Resolved::Rejected(Reason::TemplateConflict),
            Lookup::Unknown => Resolved::Rejected(Reason::NoTemplate),
        }
    }

    /// Takes a template record off the wire. A refresh that changes nothing takes no lock and allocates nothing.
    pub(crate) fn announce(
        &mut self,
        store: &ExporterStore,
        now_ns: u64,
        id: u16,
        kind: TemplateKind,
        fields: &[FieldSpecifier],
    ) -> Result<Learned, Reason> {
        if let Some(plan) = self.state.announced(id, self.key.port)
            && plan.template().kind() == kind
            && plan.template().fields() == fields
        {
            return Ok(Learned::Unchanged);
        }
        let template = Template::new(kind, fields)?;
        let scope = self.scope.get_or_insert_with(|| store.scope_or_new(&self.key.scope, now_ns));
        let learned = store.learn_template(&self.key.scope, scope, self.key.port, id, &template);
        self.follow();
        learned
    }

    /// Adds to `news` what an options record says, from the first on that says something new. They are learnt together, so
    /// that a set of records which contradict each other costs no more than one.
    pub(crate) fn note(&self, news: &mut Option<OptionsState>, meaning: &Meaning) {
        if news.is_some() || !self.state.options.knows(meaning) {
            news.get_or_insert_default().apply(meaning);
        }
    }

    /// Lets all decoders know what the options records of a set have said.
    pub(crate) fn learn(&self, store: &ExporterStore, news: &OptionsState) {
        if let Some(scope) = &self.scope {
            store.learn_options(scope, news);
        }
    }
}
