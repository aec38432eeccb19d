//! Templates that nodes wait for and that are not known here: the other nodes are asked.
//!
//! Sessions of this replica are told at once, the other replicas by one key that holds what was asked in the last quarter of a
//! second. It is written only while something is asked, at most four times a second, and it is bounded: what does not fit is
//! dropped and counted, since a node asks again while it waits. Each write is a new list, which the
//! other replicas pass on once.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use catchment_proto::cluster::v1::{Wanted, WantedList, WantedTemplates};
use prost::Message as _;
use tokio::sync::Notify;

use crate::keys::Key;
use crate::kv::{Change, Expect};
use crate::scope::ScopeId;
use crate::store::Shared;
use crate::validate;
use crate::view::Notice;
use crate::writer::Urgency;

/// Scopes in one list.
const MAX_SCOPES: usize = 1024;
/// Ids of one scope in one list.
const MAX_IDS: usize = 256;
/// How long what is asked is gathered.
const PERIOD: Duration = Duration::from_millis(250);

/// What was asked here and the other replicas do not know of.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    gathered: Mutex<BTreeMap<ScopeId, BTreeSet<u16>>>,
    some: Notify,
}

impl Shared {
    /// Asks the other nodes.
    pub(crate) fn ask(&self, asker: u32, unknown: Vec<(ScopeId, Vec<u16>)>) {
        if unknown.is_empty() {
            return;
        }
        let mut told = Vec::new();
        {
            let mut gathered = self.wants.gathered.lock().unwrap_or_else(PoisonError::into_inner);
            for (id, templates) in unknown {
                if gathered.len() >= MAX_SCOPES && !gathered.contains_key(&id) {
                    self.counters.wanted_dropped.increment();
                    continue;
                }
                let ids = gathered.entry(id.clone()).or_default();
                // What was asked a moment ago need not be asked again.
                let new: Vec<u16> =
                    templates.into_iter().filter(|id| ids.len() < MAX_IDS && ids.insert(*id)).collect();
                if !new.is_empty() {
                    told.push(message(&id, new));
                }
            }
        }
        if !told.is_empty() {
            self.tell(asker, told);
            self.wants.some.notify_one();
        }
    }

    /// Passes on what nodes of another replica look for. Where it is known here, and that replica could not read what the store
    /// has, it is written again.
    pub(crate) fn pass_on(&self, list: WantedList) {
        let scopes: Vec<WantedTemplates> = list
            .scopes
            .into_iter()
            .take(MAX_SCOPES)
            .filter_map(|wanted| {
                let id = validate::scope_id(wanted.key.as_ref()?).ok()?;
                let mut state = self.view.lock();
                if state.is_missed(&id) {
                    self.enqueue_in(&mut state, &id, Urgency::Soon);
                }
                drop(state);
                let ids = wanted.ids.iter().filter_map(|id| u16::try_from(*id).ok()).take(MAX_IDS).collect();
                Some(message(&id, ids))
            })
            .collect();
        if !scopes.is_empty() {
            self.tell(0, scopes);
        }
    }

    fn tell(&self, asker: u32, scopes: Vec<WantedTemplates>) {
        self.counters.wanted_told.add(scopes.len() as u64);
        // No session to tell is no error.
        let _ = self.notices.send(Notice { asker, wanted: Arc::new(Wanted { scopes }) });
    }
}

fn message(id: &ScopeId, ids: Vec<u16>) -> WantedTemplates {
    WantedTemplates { key: Some(id.to_message()), ids: ids.into_iter().map(u32::from).collect() }
}

/// Tells the other replicas.
pub(crate) async fn run(shared: Arc<Shared>) {
    let key = shared.keys.write(&Key::Wanted(shared.options.coordinator.clone()));
    loop {
        shared.wants.some.notified().await;
        tokio::time::sleep(PERIOD).await;
        let gathered =
            std::mem::take(&mut *shared.wants.gathered.lock().unwrap_or_else(PoisonError::into_inner));
        let others = shared.mirror.lock().replicas.len() > 1;
        let Some(lease) = shared.tenancy.lease().filter(|_| others) else { continue };
        let scopes = gathered.into_iter().map(|(id, ids)| message(&id, ids.into_iter().collect())).collect();
        let value = WantedList { scopes }.encode_to_vec();
        let change = Change::put(key.clone(), Expect::Any, value).under(lease);
        // Asked in vain: the node asks again.
        match shared.kv.change_each(vec![change]).await {
            Ok(_) => shared.counters.wanted_writes.increment(),
            Err(_) => shared.counters.failed_calls.increment(),
        }
    }
}
