//! The coordinator: a stateless replica over etcd that shares templates and options state between the nodes of a cluster,
//! keeps their registry, and lets people steer them.
//!
//! ```text
//! nodes --NodeSession--> session --learned--> store (merge, limits) --compare-and-swap--> etcd
//!                           ^                                                              |
//!                           +------------- deltas ------ view <------ reflector <--watch---+
//!                                                         ^ push: what the store lacks yet, between replicas
//! people --ClusterAdmin--> admin --desired state, configuration--> etcd
//! ```

#![forbid(unsafe_code)]

pub mod admin;
pub mod app;
pub mod build;
pub mod cli;
pub mod config;
pub mod config_store;
mod counters;
mod desired;
mod filter;
pub mod fuzzing;
pub mod http;
pub mod keys;
pub mod kv;
mod leader;
mod lease;
pub mod limits;
pub mod merge;
pub mod metrics;
mod mirror;
pub mod peers;
mod push;
mod reflector;
mod registry;
pub mod replica;
pub mod scope;
pub mod sequences;
pub mod services;
pub mod session;
mod store;
mod templates;
pub mod validate;
mod view;
mod wanted;
mod writer;

pub use self::counters::{Count, Counted, Counters};
pub use self::mirror::Mirror;
pub use self::registry::Registration;
pub use self::store::{Connection, Store, StoreError, StoreOptions};
pub use self::templates::Exchange;
pub use self::view::{EncodedResponse, Feed, View, ViewSize};
