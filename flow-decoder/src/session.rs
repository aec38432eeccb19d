//! One decoder's view of one exporter port: the plans it has looked up in the scope, and where its counters stood.
//!
//! It holds no snapshot of the scope: memory that the store gives up must not stay here.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use crate::clock::Clock;
use crate::data_set::MessageHeader;
use crate::definitions::{Lookup, Mark};
use crate::error::Reason;
use crate::exporter_store::{ExporterStore, Learned, ScopeKey};
use crate::layouts::Layout;
use crate::lists_in_set::ListsInSet;
use crate::options::{OptionsState, Said, Standing};
use crate::options_record::Meaning;
use crate::order::Stamp;
use crate::overrides::{Overrides, Sampling, Treatment};
use crate::plan::Plan;
use crate::restart::{Restarts, is_suspect, same_boot};
use crate::scope::Scope;
use crate::structured::InnerTemplates;
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
    /// Which state of the scope was looked at last.
    version: u64,
    /// What options data has said in it, while a message is decoded: nothing where the session rests.
    options: Arc<OptionsState>,
    /// Whether there is more than that.
    rests: bool,
    /// Plans looked up in it, by template id, so that a data set costs no hashing.
    resolved: Vec<Known>,
    /// How the exporter's records are made, as of this turn of the settings; 0: not looked up yet.
    treatment: Treatment,
    turn: u64,
    restarts: Restarts,
    /// Templates that were announced while it was not sure whether the exporter had restarted; few.
    unsure: Vec<u16>,
}

/// A template that data of this session has come by.
#[derive(Debug)]
struct Known {
    id: u16,
    plan: Arc<Plan>,
    /// Whose plan it is, unless the store has forgotten it.
    layout: Weak<Layout>,
    /// Whether it is known that data decodes by it.
    proven: bool,
}

/// What the options records of a set say that is not known.
#[derive(Debug, Default)]
pub(crate) struct News {
    state: Option<OptionsState>,
    /// How much of it finds no room.
    left_out: usize,
}

impl News {
    pub(crate) fn is_empty(&self) -> bool {
        self.state.is_none() && self.left_out == 0
    }
}

/// Where the plan of a data set is in the session, or why there is none yet.
pub(crate) enum Resolved {
    At(usize),
    Waits(Reason),
}

impl Session {
    pub(crate) fn new(key: SessionKey) -> Self {
        Self {
            key,
            scope: None,
            version: 0,
            options: OptionsState::nothing(),
            rests: false,
            resolved: Vec::new(),
            treatment: Treatment::default(),
            turn: 0,
            restarts: Restarts::default(),
            unsure: Vec::new(),
        }
    }

    /// Takes the scope, where anything is known of it now, in place of one that is gone.
    pub(crate) fn enter(&mut self, scope: Option<Arc<Scope>>) {
        if scope.is_none() && self.scope.is_none() {
            return;
        }
        self.scope = scope;
        self.look();
    }

    pub(crate) fn is_known(&self) -> bool {
        self.scope.as_ref().is_some_and(|scope| !scope.is_evicted())
    }

    pub(crate) fn used_at(&self, now_ns: u64) {
        if let Some(scope) = &self.scope {
            scope.used_at(now_ns);
        }
    }

    /// Follows the settings, which are in their `turn`.
    #[inline]
    pub(crate) fn treat_by(&mut self, overrides: &Overrides, turn: u64) {
        if self.turn != turn {
            self.turn = turn;
            self.treatment = overrides.of(self.key.scope.zone, self.key.scope.exporter).clone();
            self.resolved.clear();
        }
    }

    pub(crate) fn sampling(&self) -> Sampling {
        self.treatment.sampling
    }

    /// What options data has said.
    pub(crate) fn options(&self) -> &OptionsState {
        &self.options
    }

    /// Gives up the plans that it has looked up; it looks them up again when data comes.
    pub(crate) fn forget_plans(&mut self) {
        self.resolved = Vec::new();
    }

    /// Octets of the plans that it holds, of those that other sessions hold too only its part, and of its places for them.
    pub(crate) fn plan_octets(&self) -> usize {
        let plan = |known: &Known| known.plan.octets() / Arc::strong_count(&known.plan);
        self.resolved.capacity() * size_of::<Known>() + self.resolved.iter().map(plan).sum::<usize>()
    }

    pub(crate) fn plan(&self, at: usize) -> &Plan {
        &self.resolved[at].plan
    }

    /// The templates of the domain as they are now.
    #[cold]
    pub(crate) fn inner_templates(&self) -> InnerTemplates {
        let new =
            |scope: &Arc<Scope>| InnerTemplates::new(scope.latest(), self.key.port, self.restarts.epoch());
        self.scope.as_ref().map(new).unwrap_or_default()
    }

    /// Takes a datagram's header, and gives it the epoch that its exporter is in.
    #[inline]
    pub(crate) fn observe(
        &mut self,
        store: &ExporterStore,
        header: &MessageHeader,
        clock: &Clock,
        mut stamp: Stamp,
    ) -> Stamp {
        let before = self.restarts.epoch();
        let (scope, port) = (&self.scope, self.key.port);
        let known = || scope.as_ref()?.state().templates.known_of(port);
        self.restarts.observe(header, clock.origin, &stamp, known);
        stamp.epoch = self.restarts.epoch();
        if stamp.epoch != before {
            self.resolved.clear();
        }
        if !self.unsure.is_empty() {
            self.settle_unsure(store, &stamp);
        }
        stamp
    }

    /// Now it is sure whether the exporter had restarted before the last datagram: what was announced there is announced again.
    #[cold]
    fn settle_unsure(&mut self, store: &ExporterStore, stamp: &Stamp) {
        if self.restarts.is_unsure() {
            return;
        }
        let mut unsure = std::mem::take(&mut self.unsure);
        for id in unsure.drain(..) {
            let Some(scope) = &self.scope else { continue };
            let known = scope.state().announced(id, self.key.port).cloned();
            if let Some(known) = known
                && is_suspect(known.order.epoch, stamp.epoch)
            {
                let template = known.layout.template().clone();
                // Known ids are not refused.
                let _ = store.learn_template(&self.key.scope, scope, self.key.port, id, &template, stamp);
            }
        }
        self.unsure = unsure;
        self.follow();
    }

    /// Looks at the scope as in this epoch; says which it was before.
    pub(crate) fn enter_epoch(&mut self, epoch: u32) -> u32 {
        let before = self.restarts.set_epoch(epoch);
        if before != epoch {
            self.resolved.clear();
        }
        before
    }

    /// Whether its exporter is in the boot that it was in then.
    pub(crate) fn is_in_epoch(&self, epoch: u32) -> bool {
        same_boot(self.restarts.epoch(), epoch)
    }

    /// Takes over the scope's latest state.
    pub(crate) fn follow(&mut self) {
        match &self.scope {
            Some(scope) if scope.version() != self.version => self.look(),
            Some(scope) if self.rests => {
                self.options = scope.state().options.clone();
                self.rests = false;
            }
            _ => {}
        }
    }

    /// The message is decoded: what options data has said is the store's to keep, and may be forgotten or replaced there.
    #[inline]
    pub(crate) fn rest(&mut self) {
        if self.options.octets() > 0 {
            self.options = OptionsState::nothing();
            self.rests = true;
        }
    }

    /// Looks at the scope anew.
    fn look(&mut self) {
        self.resolved.clear();
        self.rests = false;
        match &self.scope {
            Some(scope) => {
                // The version first: at worst the same state is looked at again.
                self.version = scope.version();
                self.options = scope.state().options.clone();
            }
            None => self.options = OptionsState::nothing(),
        }
    }

    /// The plan of a data set; `looked_up` counts octets of plans that were not known in the session.
    pub(crate) fn resolve(&mut self, set: u16, looked_up: &mut usize) -> Resolved {
        let at = match self.resolved.binary_search_by_key(&set, |known| known.id) {
            Ok(at) => return Resolved::At(at),
            Err(at) => at,
        };
        let Some(scope) = &self.scope else { return Resolved::Waits(Reason::NoTemplate) };
        match scope.state().lookup(set, self.key.port, self.restarts.epoch()) {
            Lookup::Found(definition) => {
                let layout = Arc::downgrade(&definition.layout);
                let proven = definition.is(Mark::Proven);
                let plan = match &self.treatment.rules {
                    None => definition.layout.plan(),
                    Some(rules) => rules.plan(definition.layout.template()),
                };
                *looked_up += plan.octets() + size_of::<Known>();
                self.resolved.insert(at, Known { id: set, plan, layout, proven });
                Resolved::At(at)
            }
            Lookup::Conflict => Resolved::Waits(Reason::TemplateConflict),
            Lookup::Suspect => Resolved::Waits(Reason::TemplateSuspect),
            Lookup::Unknown => Resolved::Waits(Reason::NoTemplate),
        }
    }

    /// The plan of a template that the exporter has replaced since.
    #[cold]
    pub(crate) fn plan_of(&self, template: &Arc<Template>) -> Arc<Plan> {
        match &self.treatment.rules {
            None => Arc::new(Plan::compile(template.clone())),
            Some(rules) => rules.plan(template),
        }
    }

    /// Notes that a set has decoded by the plan at `at`.
    #[inline]
    pub(crate) fn prove(&mut self, store: &ExporterStore, at: usize) {
        if !self.resolved[at].proven {
            self.prove_first(store, at);
        }
    }

    #[cold]
    fn prove_first(&mut self, store: &ExporterStore, at: usize) {
        let known = &mut self.resolved[at];
        known.proven = true;
        if let Some(scope) = &self.scope {
            store.proven(&self.key.scope, scope, known.id, &known.layout);
        }
    }

    /// Notes that records in a list have decoded by a template.
    #[cold]
    pub(crate) fn prove_in_list(&self, store: &ExporterStore, lists: &ListsInSet) {
        if let (Some(id), Some(scope)) = (lists.unproven, &self.scope)
            && let Some(definition) = lists.templates.definition(id)
        {
            store.proven(&self.key.scope, scope, id, &Arc::downgrade(&definition.layout));
        }
    }

    /// Whose session it is.
    pub(crate) fn scope_key(&self) -> &ScopeKey {
        &self.key.scope
    }

    /// Takes a template record off the wire. A refresh that changes nothing takes no lock and allocates nothing.
    pub(crate) fn announce(
        &mut self,
        store: &ExporterStore,
        stamp: &Stamp,
        id: u16,
        kind: TemplateKind,
        fields: &[FieldSpecifier],
    ) -> Result<Learned, Reason> {
        let state = self.scope.as_ref().map(|scope| scope.state());
        if let Some(definition) = state.as_ref().and_then(|state| state.announced(id, self.key.port))
            && definition.layout.template().kind() == kind
            && definition.layout.template().fields() == fields
            && !is_suspect(definition.order.epoch, stamp.epoch)
        {
            definition.seen_at(stamp.received_s());
            definition.mark(Mark::Received);
            self.restarts.note_unsure(id, &mut self.unsure);
            return Ok(Learned::Unchanged);
        }
        let template = Arc::new(Template::new(kind, fields)?);
        self.restarts.note_unsure(id, &mut self.unsure);
        let key = &self.key.scope;
        let scope = self.scope.get_or_insert_with(|| store.scope_or_new(key, stamp.received_ns));
        let learned = store.learn_template(key, scope, self.key.port, id, &template, stamp);
        self.follow();
        learned
    }

    /// Adds to `news` what an options record says, from the first on that says something new. They are learnt together, so
    /// that a set of records which contradict each other costs no more than one.
    pub(crate) fn note(&self, news: &mut News, meaning: &Meaning<'_>, stamp: &Stamp) {
        let hear = || self.options.hear(meaning, stamp.time);
        let standing = if news.state.is_some() { Standing::News } else { hear() };
        match standing {
            Standing::Known => {}
            Standing::News => news.state.get_or_insert_default().apply(meaning, stamp.time),
            Standing::WithoutRoom(count) => news.left_out += count,
        }
    }

    /// Lets all decoders know what the options records of a set have said, or had said when it came. Gives how much of it found no
    /// room.
    pub(crate) fn learn(&self, store: &ExporterStore, news: &News, said: Said) -> usize {
        let learnt = match (&news.state, &self.scope) {
            (Some(state), Some(scope)) => store.learn_options(&self.key.scope, scope, state, said),
            _ => 0,
        };
        news.left_out + learnt
    }
}
