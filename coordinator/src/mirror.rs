//! What the store holds beside scopes, as this replica knows it: registrations, replicas, desired states, the configuration and
//! its history, the leader.
//!
//! Who waits for a change takes a [`watch::Receiver`] of the generation and reads again when it moves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use catchment_proto::cluster::v1::{Collector, ConfigRevision, DesiredState, Replica};
use tokio::sync::watch;

/// A value with the revision of its last change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Held<T> {
    pub(crate) value: T,
    pub(crate) revision: i64,
}

/// The mirror.
#[derive(Debug)]
pub struct Mirror {
    state: Mutex<MirrorState>,
    generation: watch::Sender<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct MirrorState {
    pub(crate) collectors: BTreeMap<String, Held<Arc<Collector>>>,
    pub(crate) replicas: BTreeMap<String, Held<Arc<Replica>>>,
    pub(crate) desired: BTreeMap<String, Held<Arc<DesiredState>>>,
    pub(crate) config: Option<Held<Arc<ConfigRevision>>>,
    pub(crate) history: BTreeMap<u64, Held<Arc<ConfigRevision>>>,
    pub(crate) leader: Option<Held<String>>,
}

impl Default for Mirror {
    fn default() -> Self {
        Self { state: Mutex::default(), generation: watch::Sender::new(0) }
    }
}

impl Mirror {
    pub(crate) fn lock(&self) -> MutexGuard<'_, MirrorState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut MirrorState) -> R) -> R {
        let result = change(&mut self.lock());
        self.generation.send_modify(|generation| *generation += 1);
        result
    }

    /// Moves with each change of anything here.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// The nodes that have a session with any coordinator, by id.
    pub fn collectors(&self) -> Vec<Arc<Collector>> {
        self.lock().collectors.values().map(|held| Arc::clone(&held.value)).collect()
    }

    /// One node's registration.
    pub fn collector(&self, node: &str) -> Option<Arc<Collector>> {
        self.lock().collectors.get(node).map(|held| Arc::clone(&held.value))
    }

    /// The coordinator replicas, by id.
    pub fn replicas(&self) -> Vec<Arc<Replica>> {
        self.lock().replicas.values().map(|held| Arc::clone(&held.value)).collect()
    }

    /// The leader's id.
    pub fn leader(&self) -> Option<String> {
        self.lock().leader.as_ref().map(|held| held.value.clone())
    }

    /// What is desired of each node that anything is desired of.
    pub fn desired_of_all(&self) -> BTreeMap<String, Arc<DesiredState>> {
        self.lock().desired.iter().map(|(node, held)| (node.clone(), Arc::clone(&held.value))).collect()
    }

    /// What is desired of a node.
    pub fn desired(&self, node: &str) -> Option<Arc<DesiredState>> {
        self.lock().desired.get(node).map(|held| Arc::clone(&held.value))
    }

    /// The present configuration; none: nothing was ever set.
    pub fn config(&self) -> Option<Arc<ConfigRevision>> {
        self.lock().config.as_ref().map(|held| Arc::clone(&held.value))
    }

    /// A revision of the configuration, as long as it is kept.
    pub fn config_revision(&self, revision: u64) -> Option<Arc<ConfigRevision>> {
        self.lock().history.get(&revision).map(|held| Arc::clone(&held.value))
    }

    /// Numbers of kept revisions before `number`.
    pub(crate) fn history_before(&self, number: u64) -> Vec<u64> {
        self.lock().history.range(..number).map(|(number, _)| *number).collect()
    }

    /// The latest revisions of the configuration, the latest first.
    pub fn config_history(&self, limit: usize) -> Vec<Arc<ConfigRevision>> {
        self.lock().history.values().rev().take(limit).map(|held| Arc::clone(&held.value)).collect()
    }
}

impl MirrorState {
    /// Takes a desired state over unless a later one is known. One that the store lacks has revision 0 here.
    pub(crate) fn take_desired(&mut self, node: &str, held: Held<Arc<DesiredState>>) {
        match self.desired.get_mut(node) {
            Some(known) if known.value.revision > held.value.revision => known.revision = 0,
            _ => {
                self.desired.insert(node.to_owned(), held);
            }
        }
    }

    /// Takes a configuration over unless a later one is known; the same for its history.
    pub(crate) fn take_config(&mut self, held: Held<Arc<ConfigRevision>>) {
        match &mut self.config {
            Some(known) if config_number(&known.value) > config_number(&held.value) => known.revision = 0,
            config => *config = Some(held),
        }
    }

    /// Nothing of what is to last counts as stored.
    pub(crate) fn begin_history(&mut self) {
        self.desired.values_mut().for_each(|held| held.revision = 0);
        self.history.values_mut().for_each(|held| held.revision = 0);
        self.config.iter_mut().for_each(|held| held.revision = 0);
    }
}

/// The number of a revision of the configuration.
pub(crate) fn config_number(revision: &ConfigRevision) -> u64 {
    revision.config.as_ref().map_or(0, |config| config.revision)
}
