//! What the tests of the store have in common: scopes, replicas, sessions, waiting.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod etcd;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use catchment_proto::cluster::v1::sync_state_response::Message;
use catchment_proto::cluster::v1::{
    Definition, FieldSpecifier, Hello, Layout, Order, ScopeKey, ScopeState, StateRevision, TemplateKind,
};
use coordinator::keys::{Key, Keys};
use coordinator::kv::Kv;
use coordinator::limits::Standing;
use coordinator::validate;
use coordinator::{Exchange, Feed, Store, StoreOptions};

/// No condition takes longer than this.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < DEADLINE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A scope's key for the exporter number `number`.
pub fn key(number: u32) -> ScopeKey {
    let [_, b, c, d] = number.to_be_bytes();
    ScopeKey { zone: String::new(), exporter: vec![10, b, c, d], version: 10, domain: 0 }
}

/// A scope with one template of `fields` fields, announced at `time_ms`.
pub fn scope(number: u32, template: u32, fields: u32, time_ms: u64) -> ScopeState {
    let fields = (1..=fields)
        .map(|id| FieldSpecifier { pen: 0, id, length: 4, variable: false, scope: false })
        .collect();
    ScopeState {
        key: Some(key(number)),
        layouts: vec![Layout { kind: TemplateKind::Data.into(), fields }],
        definitions: vec![Definition {
            id: template,
            port: 2055,
            order: Some(Order { epoch: 1, time_ms }),
            layout: 0,
        }],
        options: vec![],
        content_hash: 0,
    }
}

/// A replica with quick leases.
pub fn options(id: &str) -> StoreOptions {
    let mut options = StoreOptions::new("test", id);
    options.lease_ttl = Duration::from_secs(2);
    options
}

/// A replica over `kv` that has read the store.
pub async fn replica(kv: &Kv, id: &str) -> Store {
    replica_with(kv, options(id)).await
}

/// The same with options of the test's own.
pub async fn replica_with(kv: &Kv, options: StoreOptions) -> Store {
    let store = begin(kv, options);
    store.loaded().await;
    store
}

/// A replica that begins though its store may be away.
pub fn begin(kv: &Kv, options: StoreOptions) -> Store {
    Store::start(kv.clone(), options).unwrap()
}

/// What the store holds under a key.
pub async fn stored(kv: &Kv, key: &Key) -> Option<Vec<u8>> {
    let (pair, _) = kv.get(&Keys::new("test").write(key)).await.unwrap();
    pair.map(|pair| pair.value)
}

/// The scope as the store holds it.
pub async fn stored_scope(kv: &Kv, scope: &ScopeState) -> Option<ScopeState> {
    let id = validate::scope_id(scope.key.as_ref().unwrap()).unwrap();
    let value = stored(kv, &Key::Templates(id.clone())).await?;
    Some(validate::stored_scope(&id, &value).unwrap().to_message())
}

/// Waits until the store holds the scope so.
pub async fn until_stored(kv: &Kv, scope: &ScopeState) {
    let began = Instant::now();
    loop {
        let id = validate::scope_id(scope.key.as_ref().unwrap()).unwrap();
        let key = Keys::new("test").write(&Key::Templates(id.clone()));
        if let Ok((Some(pair), _)) = kv.get(&key).await
            && validate::stored_scope(&id, &pair.value).is_ok_and(|stored| stored.to_message() == *scope)
        {
            return;
        }
        assert!(began.elapsed() < DEADLINE, "waited in vain until it is stored: {scope:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a node says first.
pub fn hello(node: &str, incarnation: u64) -> Hello {
    Hello { cluster: "test".into(), node_id: node.into(), incarnation, contract: 1, ..Hello::default() }
}

/// A node's session: what it was sent.
pub struct Node {
    pub exchange: Exchange,
    pub feed: Feed,
    pub scopes: BTreeMap<String, ScopeState>,
    pub wanted: Vec<ScopeKey>,
    pub revision: Option<StateRevision>,
    pub snapshots: u32,
    pub messages: u32,
}

/// How a scope is told apart.
pub fn name(key: &ScopeKey) -> String {
    format!("{key:?}")
}

impl Node {
    /// A new session, with its snapshot.
    pub async fn join(store: &Store, resume: Option<&StateRevision>) -> Self {
        let exchange = store.exchange();
        let feed = exchange.feed(resume);
        let mut node = Self {
            exchange,
            feed,
            scopes: BTreeMap::new(),
            wanted: vec![],
            revision: resume.cloned(),
            snapshots: 0,
            messages: 0,
        };
        if resume.is_none() {
            while node.snapshots == 0 {
                node.step().await;
            }
        }
        node
    }

    pub fn learned(&self, scope: &ScopeState) {
        let refused = self.exchange.learned(std::slice::from_ref(scope), Standing::Open);
        assert_eq!(refused, [], "refused");
    }

    /// Takes one message in.
    pub async fn step(&mut self) {
        let message = tokio::time::timeout(DEADLINE, self.feed.next()).await.expect("a message").decode();
        self.messages += 1;
        match message.message.expect("a message") {
            Message::Snapshot(chunk) => {
                for scope in chunk.scopes {
                    self.scopes.insert(name(scope.key.as_ref().unwrap()), scope);
                }
                if chunk.last {
                    self.snapshots += 1;
                    self.revision = chunk.revision;
                }
            }
            Message::Delta(delta) => {
                for scope in delta.scopes {
                    self.scopes.insert(name(scope.key.as_ref().unwrap()), scope);
                }
                for key in delta.removed {
                    self.scopes.remove(&name(&key));
                }
                self.revision = delta.revision.or(self.revision.take());
            }
            Message::Wanted(wanted) => {
                self.wanted.extend(wanted.scopes.into_iter().filter_map(|wanted| wanted.key));
            }
            Message::Refused(_) => unreachable!("refusals are the service's to send"),
        }
    }

    /// Takes messages in until it has this scope.
    pub async fn has(&mut self, scope: &ScopeState) {
        while self.scopes.get(&name(scope.key.as_ref().unwrap())) != Some(scope) {
            self.step().await;
        }
    }
}
