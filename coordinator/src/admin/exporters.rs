//! Exporters of the whole cluster: what is shared of them, their sequence accounts, what they sent lately.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use catchment_proto::cluster::v1::{
    ExporterKey, ListExportersRequest, ListExportersResponse, ListSequencesRequest, ListSequencesResponse,
    ScopeState, SequenceTotals,
};
use catchment_proto::node::v1::{Exporter, ExporterFilter, ExporterLoad, ExporterScope};
use tonic::Status;

use super::Admin;
use crate::filter::{Exporter as Key, ExporterMatch, page};
use crate::peers::timed;
use crate::scope::ScopeId;
use crate::sequences::{address, octets};
use crate::validate;

/// Scopes that are looked at in one go.
const STEP: usize = 4096;

impl Admin {
    pub(super) async fn exporters(
        &self,
        request: ListExportersRequest,
    ) -> Result<ListExportersResponse, Status> {
        let ListExportersRequest { filter, page: asked } = request;
        let wanted = ExporterMatch::new(filter.as_ref())?;
        let (size, token) = page(asked.as_ref());
        let after = match token {
            "" => None,
            token => Some(read_token(token).ok_or_else(|| {
                Status::invalid_argument(format!("page.token: `{token}` is none that was given out"))
            })?),
        };
        let mut remarks = Vec::new();
        // One more than asked for, to know whether there are more.
        let mut found = self.shared(&wanted, after.as_ref(), size + 1);
        match self.sequences_of(filter.as_ref(), after.as_ref(), size + 1).await {
            Ok(accounts) => {
                for exporter in accounts.exporters {
                    let Some(key) = exporter.exporter.as_ref().and_then(key_of) else { continue };
                    let known = found.entry(key).or_insert_with_key(empty);
                    known.sequences = exporter.sequences;
                }
            }
            Err(status) => remarks.push(format!("sequence accounts are missing: {}", status.message())),
        }
        let gathered = self.gather("").await;
        let missing = gathered.unanswered.iter();
        remarks.extend(
            missing.map(|id| format!("coordinator {id} did not answer: the load of its nodes is missing")),
        );
        let mut loads = loads(gathered.connected().flat_map(|node| &node.top_exporters));
        for (key, exporter) in &mut found {
            exporter.load = loads.remove(key);
        }
        let next = if found.len() > size { found.keys().nth(size - 1).map(write_token) } else { None };
        let exporters = found.into_values().take(size).collect();
        Ok(ListExportersResponse { exporters, next_page_token: next.unwrap_or_default(), remarks })
    }

    /// Totals of the sequence accounts, where a leader answers.
    pub(super) async fn sequence_totals(&self) -> Option<SequenceTotals> {
        self.sequences_of(None, None, 0).await.ok()?.totals
    }

    /// The leader's accounts.
    async fn sequences_of(
        &self,
        filter: Option<&ExporterFilter>,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<ListSequencesResponse, Status> {
        let wanted = ExporterMatch::new(filter)?;
        let here = self.sequences.list(|zone, exporter| wanted.takes(zone, exporter), after, limit);
        if let Ok((exporters, totals)) = here {
            return Ok(ListSequencesResponse { exporters, totals: Some(totals) });
        }
        let request = ListSequencesRequest {
            cluster: self.store.options().cluster.clone(),
            filter: filter.cloned(),
            after: after
                .map(|(zone, exporter)| ExporterKey { zone: zone.to_string(), address: octets(*exporter) }),
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
        };
        Ok(self.peers.leader()?.list_sequences(timed(request)).await?.into_inner())
    }

    /// The first `limit` exporters that something is shared of, behind `after`.
    fn shared(&self, wanted: &ExporterMatch, after: Option<&Key>, limit: usize) -> BTreeMap<Key, Exporter> {
        let mut found: BTreeMap<Key, Exporter> = BTreeMap::new();
        let last_of = |(zone, exporter): &Key| ScopeId {
            zone: zone.clone(),
            exporter: *exporter,
            version: u8::MAX,
            domain: u32::MAX,
        };
        let mut at = after.map(last_of);
        loop {
            let scopes = self.store.view().scopes_after(at.as_ref(), STEP);
            for scope in &scopes {
                let Some(id) = scope.key.as_ref().and_then(|key| validate::scope_id(key).ok()) else {
                    continue;
                };
                let key = (id.zone.clone(), id.exporter);
                at = Some(id.clone());
                if !wanted.takes(&id.zone, id.exporter) {
                    continue;
                }
                if found.len() == limit && !found.contains_key(&key) {
                    return found;
                }
                let exporter = found.entry(key).or_insert_with_key(empty);
                let seen = self.store.view().lock().entry(&id).map_or(0, |entry| u64::from(entry.seen));
                exporter.last_seen_ns = exporter.last_seen_ns.max(seen * 1_000_000_000);
                let scope = describe(&id, scope);
                exporter.templates += scope.templates;
                exporter.scopes.push(scope);
            }
            if scopes.len() < STEP {
                return found;
            }
        }
    }
}

fn empty((zone, exporter): &Key) -> Exporter {
    Exporter { zone: zone.to_string(), address: octets(*exporter), ..Exporter::default() }
}

fn key_of(key: &ExporterKey) -> Option<Key> {
    Some((key.zone.as_str().into(), address(&key.address)?))
}

fn write_token((zone, exporter): &Key) -> String {
    format!("{exporter} {zone}")
}

fn read_token(text: &str) -> Option<Key> {
    let (exporter, zone) = text.split_once(' ')?;
    Some((zone.into(), exporter.parse().ok()?))
}

fn describe(id: &ScopeId, scope: &ScopeState) -> ExporterScope {
    let mut layouts: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for definition in &scope.definitions {
        layouts.entry(definition.id).or_default().insert(definition.layout);
    }
    let epochs = scope.definitions.iter().filter_map(|definition| definition.order).map(|order| order.epoch);
    ExporterScope {
        version: u32::from(id.version),
        domain: id.domain,
        templates: layouts.len() as u64,
        epoch: epochs.max().unwrap_or(0),
        options: scope.options.clone(),
        conflicts: layouts.iter().filter(|(_, layouts)| layouts.len() > 1).map(|(id, _)| *id).collect(),
    }
}

/// What nodes said of each exporter, added up.
fn loads<'n>(said: impl Iterator<Item = &'n ExporterLoad>) -> HashMap<Key, ExporterLoad> {
    let mut loads: HashMap<Key, ExporterLoad> = HashMap::new();
    for load in said {
        let Some(exporter) = address(&load.exporter) else { continue };
        let sum = loads.entry((load.zone.as_str().into(), exporter)).or_insert_with(|| ExporterLoad {
            zone: load.zone.clone(),
            exporter: octets(exporter),
            ..ExporterLoad::default()
        });
        sum.datagrams += load.datagrams;
        sum.bytes += load.bytes;
        sum.records += load.records;
    }
    loads
}
