//! `ListExporters` and `ListTemplates`: what the store knows and what workers count, by exporter.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use catchment_proto::cluster::v1 as cluster;
use catchment_proto::node::v1;
use catchment_settings::Prefix;
use flow_decoder::template::TemplateKind;
use flow_decoder::{Heard, ScopeKey, ScopeView, TemplateView, ZoneId, elements};
use tonic::Status;

use super::errors::{argument, prefix};
use super::keys::{ExporterKey, TemplateKey};
use super::messages;
use super::pages::{Items, Page};
use crate::flow::{FlowSource, Zones};
use crate::sequences::Sequences;
use crate::shared_scope::{key_message, options_messages};
use crate::source::{ExporterLoad, Source as _};

const SECOND_NS: u64 = 1_000_000_000;

/// Whose exporters or templates are asked for.
#[derive(Debug)]
struct Filter {
    zone: Option<ZoneId>,
    prefix: Option<Prefix>,
}

impl Filter {
    fn read(filter: Option<v1::ExporterFilter>, labels: &[Arc<str>]) -> Result<Self, Status> {
        let v1::ExporterFilter { zone, prefix: text } = filter.unwrap_or_default();
        let zone = zone.map(|label| zone_of(&label, labels)).transpose()?;
        Ok(Self { zone, prefix: prefix("filter.prefix", &text)? })
    }

    fn takes(&self, zone: ZoneId, exporter: IpAddr) -> bool {
        self.zone.is_none_or(|wanted| wanted == zone)
            && self.prefix.is_none_or(|prefix| prefix.contains(exporter))
    }
}

/// The zone with this label.
pub(super) fn zone_of(label: &str, labels: &[Arc<str>]) -> Result<ZoneId, Status> {
    let at = labels.iter().position(|known| &**known == label);
    let known = || labels.iter().map(|label| format!("{:?}", &**label)).collect::<Vec<_>>().join(", ");
    let at = at.ok_or_else(|| {
        Status::not_found(format!("no listener has the zone {label:?}; there is: {}", known()))
    })?;
    Ok(ZoneId(at as u16))
}

/// `ListExporters`.
pub(super) fn exporters(
    flow: &FlowSource,
    sequences: Option<&Sequences>,
    request: v1::ListExportersRequest,
) -> Result<v1::ListExportersResponse, Status> {
    let labels = flow.zones();
    let filter = Filter::read(request.filter, &labels)?;
    let page = Page::<ExporterKey>::read(request.page)?;
    let mut known: BTreeMap<ExporterKey, Vec<ScopeKey>> = BTreeMap::new();
    for scope in flow.store().scope_keys(None, usize::MAX) {
        known.entry(ExporterKey::of(&scope)).or_default().push(scope);
    }
    let mut pending = HashMap::new();
    for view in flow.store().exporter_views(None, usize::MAX) {
        let key = ExporterKey { zone: view.zone, exporter: view.exporter };
        pending.insert(key, view.pending_bytes as u64);
    }
    let loads = loads(flow, &labels);
    for key in loads.keys() {
        known.entry(*key).or_default();
    }
    let mut accounts = accounts(sequences, &filter, &labels);
    for key in accounts.keys() {
        known.entry(*key).or_default();
    }
    let mut items = Items::new(&page);
    for (key, scopes) in known {
        if page.after.is_some_and(|after| key <= after) || !filter.takes(key.zone, key.exporter) {
            continue;
        }
        if items.is_full() {
            break;
        }
        let views: Vec<_> = scopes.iter().filter_map(|scope| flow.store().scope_view(scope)).collect();
        let pending_bytes = pending.get(&key).copied().unwrap_or(0);
        let sequences = accounts.remove(&key).unwrap_or_default();
        let exporter = exporter(key, &labels, &views, loads.get(&key));
        items.push(&key, v1::Exporter { pending_bytes, sequences, ..exporter });
    }
    let (exporters, next_page_token) = items.finish();
    Ok(v1::ListExportersResponse { exporters, next_page_token })
}

fn accounts(
    sequences: Option<&Sequences>,
    filter: &Filter,
    labels: &[Arc<str>],
) -> HashMap<ExporterKey, Vec<v1::SequenceAccount>> {
    let zone =
        |zone: &str| ZoneId(labels.iter().position(|label| **label == *zone).unwrap_or_default() as u16);
    let accounts =
        sequences.map(|sequences| sequences.accounts(|label, exporter| filter.takes(zone(label), exporter)));
    let keyed = |((label, exporter), accounts): ((Box<str>, IpAddr), _)| {
        (ExporterKey { zone: zone(&label), exporter }, accounts)
    };
    accounts.into_iter().flatten().map(keyed).collect()
}

fn loads(flow: &FlowSource, labels: &[Arc<str>]) -> HashMap<ExporterKey, ExporterLoad> {
    let key = |load: &ExporterLoad| {
        let zone = labels.iter().position(|label| *label == load.zone).unwrap_or_default();
        ExporterKey { zone: ZoneId(zone as u16), exporter: load.exporter }
    };
    flow.exporters().into_iter().map(|load| (key(&load), load)).collect()
}

fn exporter(
    key: ExporterKey,
    labels: &[Arc<str>],
    views: &[ScopeView],
    load: Option<&ExporterLoad>,
) -> v1::Exporter {
    let last_used = views.iter().map(|view| view.last_used_ns).max().unwrap_or(0);
    v1::Exporter {
        zone: label(key.zone, labels),
        address: messages::octets(key.exporter),
        last_seen_ns: last_used.max(load.map_or(0, |load| load.last_seen_ns)),
        templates: views.iter().map(ids).sum(),
        scopes: views.iter().map(scope).collect(),
        // The store counts it by exporter: the caller adds it.
        pending_bytes: 0,
        sequences: Vec::new(),
        load: load.map(messages::load),
    }
}

/// Template ids of a scope, each once.
fn ids(view: &ScopeView) -> u64 {
    view.templates.chunk_by(|a, b| a.id == b.id).count() as u64
}

fn scope(view: &ScopeView) -> v1::ExporterScope {
    let order = view.templates.iter().map(|template| template.order.epoch).max();
    v1::ExporterScope {
        version: u32::from(view.key.version),
        domain: view.key.domain,
        templates: ids(view),
        epoch: order.unwrap_or(0),
        options: options_messages(&view.options),
        conflicts: view.conflicts.iter().map(|id| u32::from(*id)).collect(),
    }
}

/// `ListTemplates`.
pub(super) fn templates(
    flow: &FlowSource,
    request: v1::ListTemplatesRequest,
) -> Result<v1::ListTemplatesResponse, Status> {
    let labels = flow.zones();
    let filter = Filter::read(request.filter, &labels)?;
    let page = Page::<TemplateKey>::read(request.page)?;
    let wanted = match request.id {
        0 => None,
        id @ 256..=0xffff => Some(id as u16),
        id => return Err(argument("id", format!("{id} is no template id: they are from 256 to 65535"))),
    };
    let mut items = Items::new(&page);
    'scopes: for scope in flow.store().scope_keys(None, usize::MAX) {
        if page.after.is_some_and(|after| scope < after.scope) || !filter.takes(scope.zone, scope.exporter) {
            continue;
        }
        let Some(mut view) = flow.store().scope_view(&scope) else { continue };
        view.templates.sort_unstable_by_key(|template| (template.id, template.port));
        for of in view.templates.iter().filter(|of| wanted.is_none_or(|id| of.id == id)) {
            let key = TemplateKey { scope, id: of.id, port: of.port };
            if page.after.is_some_and(|after| key <= after) {
                continue;
            }
            if items.is_full() {
                break 'scopes;
            }
            items.push(&key, template(&view, of, &flow.known().zones, request.with_fields));
        }
    }
    let (templates, next_page_token) = items.finish();
    Ok(v1::ListTemplatesResponse { templates, next_page_token })
}

fn template(scope: &ScopeView, of: &TemplateView, zones: &Zones, with_fields: bool) -> v1::Template {
    let fields = of.template.fields();
    let field = |field| v1::TemplateField {
        specifier: Some(messages::field(field)),
        name: elements::of_field(scope.key.version, field)
            .map_or(String::new(), |element| element.name.to_owned()),
    };
    v1::Template {
        key: Some(key_message(&scope.key, zones)),
        id: u32::from(of.id),
        port: u32::from(of.port),
        order: Some(cluster::Order { epoch: of.order.epoch, time_ms: of.order.time }),
        kind: match of.template.kind() {
            TemplateKind::Data => cluster::TemplateKind::Data,
            TemplateKind::Options => cluster::TemplateKind::Options,
        }
        .into(),
        field_count: fields.len() as u32,
        min_record_bytes: of.template.min_record_len() as u32,
        fields: if with_fields { fields.iter().map(field).collect() } else { Vec::new() },
        origin: match of.heard {
            Heard::FromExporter => v1::TemplateOrigin::Wire,
            Heard::FromOthers => v1::TemplateOrigin::Cluster,
        }
        .into(),
        last_seen_ns: u64::from(of.last_seen) * SECOND_NS,
        suspect: of.suspect,
        proven: of.proven,
        conflict: scope.conflicts.contains(&of.id),
    }
}

fn label(zone: ZoneId, labels: &[Arc<str>]) -> String {
    labels.get(usize::from(zone.0)).map(ToString::to_string).unwrap_or_default()
}
