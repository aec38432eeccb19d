//! Registration of nodes.

use std::sync::Arc;

use catchment_proto::cluster::v1::{Collector, Hello};
use prost::Message as _;
use tokio::sync::watch;

use crate::keys::Key;
use crate::store::{Shared, Store, StoreError, seconds_now};
use crate::validate;

/// A node's place in the registry. It is given up when this is dropped.
#[derive(Debug)]
pub struct Registration {
    shared: Arc<Shared>,
    node: String,
    session: String,
    ended: watch::Receiver<bool>,
}

impl Store {
    /// Registers a node that has said hello here. An older session of it ends, wherever it is. While the store is away the node
    /// is registered here only, and in the store when that is back.
    pub async fn register(&self, hello: Hello) -> Result<Registration, StoreError> {
        let shared = self.shared();
        let node = validate::id("node id", &hello.node_id)?.to_owned();
        for text in [&hello.version, &hello.grpc_address, &hello.http_address] {
            validate::name(text)?;
        }
        let key = shared.keys.write(&Key::Collector(node.clone()));
        let mut known: Vec<Collector> = shared.tenancy.local(&node).into_iter().collect();
        known.extend(shared.mirror.collector(&node).as_deref().cloned());
        if let Ok((Some(pair), _)) = shared.kv.get(&key).await {
            known.extend(Collector::decode(&*pair.value));
        }
        let latest =
            known.iter().filter_map(|collector| collector.hello.as_ref()).map(|hello| hello.incarnation);
        if let Some(incarnation) = latest.max().filter(|incarnation| *incarnation > hello.incarnation) {
            return Err(StoreError::Taken { node, incarnation });
        }
        // After any session of the same incarnation, even where two replicas' clocks differ.
        let after = known.iter().map(|collector| collector.connected_seconds).fold(0.0, f64::max);
        let session = format!("{:032x}", rand::random::<u128>());
        let collector = Collector {
            session_id: session.clone(),
            coordinator_id: shared.options.coordinator.clone(),
            hello: Some(hello),
            connected_seconds: seconds_now().max(after + 0.001),
        };
        let ended = shared.tenancy.move_in(&node, collector);
        Ok(Registration { shared: Arc::clone(shared), node, session, ended })
    }
}

impl Registration {
    /// The session's id, as `Welcome.session_id` says it.
    pub fn session_id(&self) -> &str {
        &self.session
    }

    /// The node's id.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Comes back when the session has to end because the node has a later one.
    pub async fn superseded(&self) {
        // Where the sender is gone, its place was taken too.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.shared.tenancy.move_out(&self.node, &self.session);
    }
}
