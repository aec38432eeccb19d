//! What people want of nodes: kept over restarts of node and coordinator.

use catchment_proto::cluster::v1::DesiredState;
use prost::Message as _;
use std::sync::Arc;

use crate::keys::Key;
use crate::kv::{Change, Expect};
use crate::mirror::Held;
use crate::store::{Store, StoreError};
use crate::validate;

/// Tries against others who change the same; each fails only because another one succeeded.
const TRIES: usize = 32;

impl Store {
    /// Changes what is desired of a node, by what is desired now; gives what is desired then. Its revision is set here. A
    /// change that changes nothing writes nothing.
    pub async fn change_desired(
        &self,
        node: &str,
        change: impl Fn(&mut DesiredState) + Send,
    ) -> Result<DesiredState, StoreError> {
        let shared = self.shared();
        let node = validate::id("node id", node)?;
        let key = shared.keys.write(&Key::Desired(node.to_owned()));
        let mut last = 0;
        for _ in 0..TRIES {
            let (pair, _) = shared.kv.get(&key).await?;
            let stored = pair.as_ref().and_then(|pair| desired(&pair.value).ok()).unwrap_or_default();
            let mut next = stored.clone();
            change(&mut next);
            next.revision = stored.revision;
            if next == stored {
                return Ok(stored);
            }
            // After whatever is known here: a store that was restored may have fallen back.
            let known = shared.mirror.desired(node).map_or(0, |desired| desired.revision);
            next.revision = stored.revision.max(known) + 1;
            check(&next)?;
            let expect = Expect::last_seen(pair.map_or(0, |pair| pair.revision));
            let put = Change::put(key.clone(), expect, next.encode_to_vec());
            let (done, moment) = shared.kv.change_all(vec![put]).await?;
            if done {
                shared.counters.desired_writes.increment();
                let held = Held { value: Arc::new(next.clone()), revision: moment.revision };
                shared.mirror.update(|mirror| mirror.take_desired(node, held));
                return Ok(next);
            }
            last = stored.revision;
        }
        Err(StoreError::Conflict { revision: last })
    }
}

/// A desired state as the store holds it.
pub(crate) fn desired(value: &[u8]) -> Result<DesiredState, validate::Invalid> {
    let desired =
        DesiredState::decode(value).map_err(|error| validate::Invalid::Encoding(error.to_string()))?;
    check(&desired)?;
    Ok(desired)
}

/// Sources of a node, at most.
const MAX_SOURCES: usize = 64;

fn check(desired: &DesiredState) -> Result<(), validate::Invalid> {
    let count = desired.paused_sources.len();
    if count > MAX_SOURCES {
        return Err(validate::Invalid::TooMany { what: "sources", count, limit: MAX_SOURCES });
    }
    for source in &desired.paused_sources {
        validate::id("source", source)?;
    }
    match desired.log_level.as_str() {
        "" | "error" | "warn" | "info" | "debug" | "trace" => Ok(()),
        other => Err(validate::Invalid::LogLevel(other.chars().take(32).collect())),
    }
}
