//! What nodes tell each other of a scope, and what they make of it.
//!
//! Rules of [`ExporterStore::import`], by which all nodes end with the same definitions in whichever order they hear of them:
//! - Of two definitions of one (template id, source port) the one with the greater [`Order`] stays; of two with an equal order
//!   the greater template. Epochs of one boot, which nodes measure a little differently, count as the later of the two. What is known and not mentioned stays: over UDP nothing is withdrawn.
//! - What comes is checked like wire input. Nothing that is in use here makes room for it.
//! - A scope gets one new snapshot an import, whatever the number of definitions; decoders go on meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::definitions::{Definition, Definitions, Mark, Templates};
use crate::error::Reason;
use crate::exporter_store::{ExporterStore, ScopeKey};
use crate::options::{OptionsState, SharedOptions};
use crate::order::{Order, seconds};
use crate::scope::{Note, Scope, ScopeState, Standing};
use crate::template::{FIRST_TEMPLATE, Template, TemplateKind, VARIABLE};

/// How far in the future an order may lie: nodes' clocks differ, and headers are believed within five minutes.
const AHEAD_MS: u64 = 10 * 60 * 1000;

/// Which definitions to export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Those that may be shared with other nodes: data has decoded by them, their exporter is trusted, or they were asked
    /// for.
    Proven,
    /// All, for this node's own memory.
    Everything,
}

/// One scope's content as nodes tell each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedScope {
    /// Definitions, by template id, in the order in which ports announced them.
    pub definitions: Vec<SharedDefinition>,
    /// Options state.
    pub options: SharedOptions,
}

/// One template as a source port announced it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedDefinition {
    /// Template id, from 256 on.
    pub id: u16,
    /// Source port.
    pub port: u16,
    /// When this layout was first announced.
    pub order: Order,
    /// Whether it may be shared; see [`Share::Proven`].
    pub proven: bool,
    /// The layout.
    pub template: Arc<Template>,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Definitions that are new here or have another layout than before.
    pub changed: usize,
    /// Definitions with another layout than is known here, but older.
    pub older: usize,
    /// Whether the options state has changed.
    pub options_changed: bool,
    /// Names and rates of options data that were not taken, because their domain has no room or they were learnt in the future.
    pub options_left_out: usize,
    /// Definitions that were not taken, by template id.
    pub refused: Vec<(u16, Refused)>,
    /// Whether a definition of this node was later than what came, but had an earlier measure of the same boot. It has the
    /// later one now and its scope is among the changes, because others may hold the older definition for the later one.
    pub restamped: bool,
    /// Template ids on which source ports disagree, or that have two layouts of the same order; each once, sorted.
    pub conflicts: Vec<u16>,
}

/// Why a shared definition is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    /// Its id is below 256, or a field of it cannot be in a template of this protocol.
    Invalid(Reason),
    /// Its order is in the future.
    Future,
    /// The scope is not one of NetFlow v9 or IPFIX.
    Version,
    /// The scope or the store has no room for it.
    Full,
}

impl Refused {
    /// The word for logs and counters.
    pub fn label(self) -> &'static str {
        match self {
            Self::Invalid(reason) => reason.label(),
            Self::Future => "order_in_the_future",
            Self::Version => "version",
            Self::Full => "store_full",
        }
    }
}

impl SharedDefinition {
    fn check(&self, key: &ScopeKey, now_ms: u64) -> Result<(), Refused> {
        if !matches!(key.version, 9 | 10) {
            return Err(Refused::Version);
        }
        if self.id < FIRST_TEMPLATE {
            return Err(Refused::Invalid(Reason::TemplateId));
        }
        let limit = now_ms.saturating_add(AHEAD_MS);
        if self.order.time > limit || u64::from(self.order.epoch) * 1000 > limit {
            return Err(Refused::Future);
        }
        let fields = self.template.fields();
        let scopes = fields.iter().take_while(|field| field.scope).count();
        let scopes_lead = fields[scopes..].iter().all(|field| !field.scope);
        if !scopes_lead || (self.template.kind() == TemplateKind::Data && scopes > 0) {
            return Err(Refused::Invalid(Reason::TemplateScope));
        }
        let possible = fields.iter().all(|field| match key.version {
            9 => field.pen == 0,
            _ => field.id < 0x8000,
        });
        let possible = possible && fields.iter().all(|field| field.variable == (field.length == VARIABLE));
        if possible { Ok(()) } else { Err(Refused::Invalid(Reason::TemplateTruncated)) }
    }
}

impl ExporterStore {
    /// What is known of a scope, to tell others.
    pub fn export(&self, key: &ScopeKey, share: Share) -> Option<SharedScope> {
        let state = self.scope(key)?.latest();
        let definitions = state.templates.iter().flat_map(|(id, definitions)| {
            definitions.all().iter().map(move |definition| SharedDefinition {
                id,
                port: definition.port,
                order: definition.order,
                proven: definition.is(Mark::Proven),
                template: definition.layout.template().clone(),
            })
        });
        let wanted = |definition: &SharedDefinition| share == Share::Everything || definition.proven;
        Some(SharedScope {
            definitions: definitions.filter(wanted).collect(),
            options: state.options.shared(),
        })
    }

    /// Takes over what others know of a scope; `now_ns` is the node's time, ns since 1970.
    pub fn import(&self, key: &ScopeKey, shared: SharedScope, now_ns: u64) -> Imported {
        let mut imported = Imported::default();
        let now_ms = now_ns / 1_000_000;
        let SharedScope { mut definitions, mut options } = shared;
        definitions.retain(|definition| match definition.check(key, now_ms) {
            Ok(()) => true,
            Err(why) => {
                imported.refused.push((definition.id, why));
                false
            }
        });
        imported.options_left_out = options.without_later(now_ms.saturating_add(AHEAD_MS));
        let options_usable = !options.is_empty() && matches!(key.version, 9 | 10);
        if definitions.is_empty() && !options_usable {
            return imported;
        }
        // A scope may make room for another between look-up and lock: the second time it is a new one.
        // Nothing that is in use here makes room; what others told of and nobody uses does where data waits.
        let most = if self.pending().waits_for(key) { Standing::Told } else { Standing::Proven };
        let merged = (0..2).any(|_| {
            self.scope_for_import(key, most).is_some_and(|scope| {
                self.merge(&scope, &definitions, options_usable.then_some(&options), &mut imported)
            })
        });
        if merged {
            // Also what was not taken: data may wait for what another import has brought in the same moment.
            definitions.iter().for_each(|definition| self.pending().wake(key, definition.id));
            if imported.restamped {
                self.changed(key);
            }
        } else {
            let full = definitions.iter().map(|definition| (definition.id, Refused::Full));
            imported.refused.extend(full);
        }
        imported
    }

    /// Merges into a scope; false where it is gone.
    fn merge(
        &self,
        scope: &Scope,
        definitions: &[SharedDefinition],
        options: Option<&SharedOptions>,
        imported: &mut Imported,
    ) -> bool {
        let _learning = scope.lock();
        if scope.is_evicted() {
            return false;
        }
        scope.note(Note::Told);
        let before = scope.latest();
        let mut next = ScopeState::clone(&before);
        let mut publish = false;
        for definition in definitions {
            publish |= self.merge_definition(&mut next.templates, definition, imported);
        }
        if let Some(options) = options {
            let mut merged = OptionsState::clone(&next.options);
            let change = merged.merge(options);
            imported.options_left_out += change.left_out;
            let grown = merged.octets().saturating_sub(next.options.octets());
            if grown > 0 && self.lacks(grown) {
                imported.options_left_out += options.len();
            } else if change.any() {
                imported.options_changed = true;
                self.names_evicted.fetch_add(change.evicted as u64, Ordering::Relaxed);
                next.options = Arc::new(merged);
                publish = true;
            }
        }
        if publish {
            next.templates.shrink();
            self.publish(scope, &before, next);
        }
        imported.conflicts.sort_unstable();
        imported.conflicts.dedup();
        true
    }

    /// Takes over one definition where it wins; says whether anything is different then.
    fn merge_definition(
        &self,
        templates: &mut Templates,
        shared: &SharedDefinition,
        imported: &mut Imported,
    ) -> bool {
        let SharedDefinition { id, port, order, proven, template } = shared;
        let limits = self.limits();
        let ports = templates.get(*id);
        let known = ports.and_then(|ports| ports.of_port(*port));
        let same_layout = known.is_some_and(|known| known.layout.template() == template);
        let fresh = |seen, order| {
            let definition = Definition::new(*port, self.layouts().intern(template), order, seen);
            if *proven {
                definition.mark(Mark::Proven);
            }
            definition
        };
        let definition = match known {
            Some(known) if same_layout => {
                if *proven {
                    known.mark(Mark::Proven);
                }
                let order = order.in_boot_of(&known.order).max(known.order.in_boot_of(order));
                if order == known.order {
                    return false;
                }
                fresh(known.seen(), order).marked_like(known)
            }
            Some(known) => {
                let (theirs, ours) = (order.in_boot_of(&known.order), known.order.in_boot_of(order));
                if theirs == ours {
                    imported.conflicts.push(*id);
                }
                if (theirs, template) < (ours, known.layout.template()) {
                    imported.older += 1;
                    if ours == known.order {
                        return false;
                    }
                    // It is later, but would not be by its epoch: those who compare the two are told.
                    imported.restamped |= known.is(Mark::Proven);
                    let layout = known.layout.clone();
                    let definition = Definition::new(*port, layout, ours, known.seen()).marked_like(known);
                    templates.announce(*id, definition, limits.ports_per_template);
                    return true;
                }
                fresh(seconds(order.time * 1_000_000), theirs)
            }
            None => {
                let full = match ports {
                    // The port that spoke first makes room, where nobody has heard it here.
                    Some(ports) => {
                        ports.all().len() >= limits.ports_per_template
                            && ports.all().first().is_some_and(|first| first.is(Mark::Received))
                    }
                    None => templates.len() >= limits.templates_per_scope || self.is_full(),
                };
                if full {
                    imported.refused.push((*id, Refused::Full));
                    return false;
                }
                fresh(seconds(order.time * 1_000_000), *order)
            }
        };
        imported.changed += usize::from(!same_layout);
        templates.announce(*id, definition, limits.ports_per_template);
        if templates.get(*id).is_some_and(Definitions::disagree) {
            imported.conflicts.push(*id);
        }
        true
    }

    /// Scopes whose shareable content has changed here since they were last taken, `max` at most. What is imported is no
    /// change. A scope may be gone by the time it is exported.
    pub fn take_changes(&self, max: usize) -> Vec<ScopeKey> {
        self.changes().take_scopes(max)
    }

    /// The same of scopes of which only names have changed that options data gives. A table of them comes in many datagrams, so who
    /// tells others may wait for more.
    pub fn take_name_changes(&self, max: usize) -> Vec<ScopeKey> {
        self.changes().take_names(max)
    }

    /// Templates that data of this node waits for, `max` at most; each again once a second at most, while data for it comes.
    pub fn take_wanted(&self, max: usize) -> Vec<(ScopeKey, u16)> {
        self.changes().take_wanted(max)
    }

    /// Whom to wake when there is something to take by [`Self::take_changes`], [`Self::take_name_changes`] or
    /// [`Self::take_wanted`] and was nothing before. It is called by workers, so it must be quick. It can be set once; false where it was set before.
    pub fn on_change(&self, hook: Box<dyn Fn() + Send + Sync>) -> bool {
        self.changes().set_hook(hook)
    }

    /// Notes that somebody else waits for a template: where it is known it may be shared from now on, and its scope is among
    /// the changes. Says whether it is known.
    pub fn want(&self, key: &ScopeKey, id: u16) -> bool {
        let Some(scope) = self.scope(key) else { return false };
        let state = scope.latest();
        let Some(definitions) = state.templates.get(id) else { return false };
        for definition in definitions.all() {
            definition.mark(Mark::Proven);
        }
        self.changed(key);
        true
    }
}
