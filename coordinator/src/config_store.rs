//! The cluster's configuration and its last revisions.

use std::sync::Arc;

use catchment_proto::cluster::v1::{ClusterConfig, ConfigRevision};
use prost::Message as _;

use crate::keys::Key;
use crate::kv::{Change, Expect};
use crate::mirror::{Held, config_number};
use crate::store::{Store, StoreError, seconds_now};
use crate::validate::{self, Invalid};

/// Revisions that are kept.
pub const HISTORY: u64 = 50;
/// Octets of a document, at most.
pub const MAX_DOCUMENT: usize = 256 * 1024;

/// A change of the configuration.
#[derive(Clone, Debug, Default)]
pub struct NewConfig {
    /// The whole document. What it says is the caller's to check.
    pub yaml: String,
    /// The revision that it was made from; none: whatever there is.
    pub expected: Option<u64>,
    /// Who.
    pub author: String,
    /// Why.
    pub comment: String,
    /// The revision whose content it restores; 0: none.
    pub rollback_of: u64,
}

impl Store {
    /// Stores a new revision of the configuration, and gives it. [`StoreError::Conflict`] where another one was stored first.
    pub async fn set_config(&self, new: NewConfig) -> Result<ConfigRevision, StoreError> {
        let shared = self.shared();
        if new.yaml.len() > MAX_DOCUMENT {
            let (count, limit) = (new.yaml.len(), MAX_DOCUMENT);
            return Err(Invalid::TooMany { what: "octets of a document", count, limit }.into());
        }
        for text in [&new.author, &new.comment] {
            validate::name(text)?;
        }
        let key = shared.keys.write(&Key::Config);
        let (pair, _) = shared.kv.get(&key).await?;
        let stored = pair.as_ref().and_then(|pair| config(&pair.value).ok());
        // A store that was restored may have fallen back behind what nodes run with.
        let known = shared.mirror.config().map_or(0, |config| config_number(&config));
        let revision = stored.as_ref().map_or(0, config_number).max(known);
        if new.expected.is_some_and(|expected| expected != revision) {
            return Err(StoreError::Conflict { revision });
        }
        let next = ConfigRevision {
            config: Some(ClusterConfig { revision: revision + 1, yaml: new.yaml }),
            time_seconds: seconds_now(),
            author: new.author,
            comment: new.comment,
            rollback_of: new.rollback_of,
        };
        let value = next.encode_to_vec();
        let expect = Expect::last_seen(pair.map_or(0, |pair| pair.revision));
        let history = |revision| shared.keys.write(&Key::ConfigHistory(revision));
        let mut changes = vec![
            Change::put(key, expect, value.clone()),
            Change::put(history(revision + 1), Expect::Any, value),
        ];
        let outdated = shared.mirror.history_before((revision + 1).saturating_sub(HISTORY - 1));
        changes.extend(outdated.into_iter().take(8).map(|old| Change::delete(history(old), Expect::Any)));
        let (done, moment) = shared.kv.change_all(changes).await?;
        if !done {
            return Err(StoreError::Conflict { revision: revision + 1 });
        }
        shared.counters.config_writes.increment();
        let held = Held { value: Arc::new(next.clone()), revision: moment.revision };
        shared.mirror.update(|mirror| mirror.take_config(held));
        Ok(next)
    }
}

/// A revision of the configuration as the store holds it.
pub(crate) fn config(value: &[u8]) -> Result<ConfigRevision, Invalid> {
    if value.len() > MAX_DOCUMENT + 4096 {
        return Err(Invalid::Size(value.len()));
    }
    let revision = ConfigRevision::decode(value).map_err(|error| Invalid::Encoding(error.to_string()))?;
    match &revision.config {
        Some(config) if config.revision > 0 => Ok(revision),
        _ => Err(Invalid::Empty("configuration")),
    }
}
