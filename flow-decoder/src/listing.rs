//! What is known of exporters, for people: pages of scopes and exporters in the order of their keys.
//!
//! A page is made of snapshots, so whoever reads it holds up nobody; a shard is locked for as long as its keys take to compare.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::datagram::ZoneId;
use crate::definitions::Mark;
use crate::exporter_store::{ExporterStore, ScopeKey};
use crate::options::SharedOptions;
use crate::order::Order;
use crate::restart::is_suspect;
use crate::template::Template;

/// A scope at one moment.
#[derive(Clone, Debug)]
pub struct ScopeView {
    /// Whose.
    pub key: ScopeKey,
    /// When a decoder last used it, ns since 1970, to the second; 0 where none has.
    pub last_used_ns: u64,
    /// Templates by id, for each source port that announced them.
    pub templates: Vec<TemplateView>,
    /// Template ids on which the source ports disagree.
    pub conflicts: Vec<u16>,
    /// What options data said.
    pub options: SharedOptions,
}

/// A template as one source port announced it.
#[derive(Clone, Debug)]
pub struct TemplateView {
    /// Template id.
    pub id: u16,
    /// Source port.
    pub port: u16,
    /// When this layout was first announced.
    pub order: Order,
    /// Its fields.
    pub template: Arc<Template>,
    /// When it was last announced, as far as this node knows: receive time, seconds since 1970.
    pub last_seen: u32,
    /// Whether it may be shared with other nodes.
    pub proven: bool,
    /// Whether its port has announced others since the exporter restarted, but not this one: data for it waits.
    pub suspect: bool,
    /// Who told this node.
    pub heard: Heard,
}

/// How a node came to know a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// From the exporter.
    FromExporter,
    /// From other nodes, or from this node's own memory on disk.
    FromOthers,
}

/// Sums over the scopes of one exporter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExporterView {
    /// Zone of its listener.
    pub zone: ZoneId,
    /// Its address.
    pub exporter: IpAddr,
    /// Observation domains and protocol versions.
    pub scopes: usize,
    /// Template ids, over all scopes.
    pub templates: usize,
    /// Template ids on which its source ports disagree.
    pub conflicts: usize,
    /// When a decoder last used any of it, ns since 1970, to the second.
    pub last_used_ns: u64,
    /// Data sets that wait for their template.
    pub pending_sets: usize,
    /// Octets of memory that they take.
    pub pending_bytes: usize,
}

impl ExporterStore {
    /// Keys of at most `max` scopes behind `after`, in order.
    pub fn scope_keys(&self, after: Option<&ScopeKey>, max: usize) -> Vec<ScopeKey> {
        let mut page = BTreeSet::new();
        self.each_key(|key| {
            if after.is_some_and(|after| key <= after) {
                return;
            }
            if page.len() < max || page.last().is_some_and(|last| key < last) {
                page.insert(*key);
                if page.len() > max {
                    page.pop_last();
                }
            }
        });
        page.into_iter().collect()
    }

    /// A scope at this moment.
    pub fn scope_view(&self, key: &ScopeKey) -> Option<ScopeView> {
        let scope = self.scope(key)?;
        let state = scope.latest();
        let mut epochs: HashMap<u16, u32> = HashMap::new();
        for definition in state.templates.iter().flat_map(|(_, definitions)| definitions.all()) {
            let epoch = epochs.entry(definition.port).or_default();
            *epoch = definition.order.epoch.max(*epoch);
        }
        let epochs = &epochs;
        let templates = state.templates.iter().flat_map(|(id, definitions)| {
            definitions.all().iter().map(move |definition| TemplateView {
                suspect: is_suspect(definition.order.epoch, epochs[&definition.port]),
                id,
                port: definition.port,
                order: definition.order,
                template: definition.layout.template().clone(),
                last_seen: definition.seen(),
                proven: definition.is(Mark::Proven),
                heard: if definition.is(Mark::Received) { Heard::FromExporter } else { Heard::FromOthers },
            })
        });
        let conflicts = state.templates.iter().filter(|(_, definitions)| definitions.disagree());
        Some(ScopeView {
            key: *key,
            last_used_ns: scope.last_used_ns(),
            templates: templates.collect(),
            conflicts: conflicts.map(|(id, _)| id).collect(),
            options: state.options.shared(),
        })
    }

    /// At most `max` scopes behind `after`, in order.
    pub fn scope_views(&self, after: Option<&ScopeKey>, max: usize) -> Vec<ScopeView> {
        self.scope_keys(after, max).iter().filter_map(|key| self.scope_view(key)).collect()
    }

    /// At most `max` exporters behind `after`, in order.
    pub fn exporter_views(&self, after: Option<(ZoneId, IpAddr)>, max: usize) -> Vec<ExporterView> {
        let mut page: BTreeSet<(ZoneId, IpAddr)> = BTreeSet::new();
        self.each_key(|key| {
            let exporter = (key.zone, key.exporter);
            if after.is_none_or(|after| exporter > after)
                && (page.len() < max || page.last().is_some_and(|last| exporter < *last))
            {
                page.insert(exporter);
                if page.len() > max {
                    page.pop_last();
                }
            }
        });
        let mut views: Vec<ExporterView> = page
            .into_iter()
            .map(|(zone, exporter)| ExporterView {
                zone,
                exporter,
                scopes: 0,
                templates: 0,
                conflicts: 0,
                last_used_ns: 0,
                pending_sets: 0,
                pending_bytes: 0,
            })
            .collect();
        self.each_scope(|key, scope| {
            let at = views.binary_search_by_key(&(key.zone, key.exporter), |view| (view.zone, view.exporter));
            let Ok(at) = at else { return };
            let (view, state) = (&mut views[at], scope.latest());
            view.scopes += 1;
            view.templates += state.templates.len();
            view.conflicts +=
                state.templates.iter().filter(|(_, definitions)| definitions.disagree()).count();
            view.last_used_ns = view.last_used_ns.max(scope.last_used_ns());
        });
        views.retain(|view| view.scopes > 0);
        for view in &mut views {
            (view.pending_sets, view.pending_bytes) = self.pending().of_exporter(view.zone, view.exporter);
        }
        views
    }
}
