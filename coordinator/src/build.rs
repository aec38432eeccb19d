//! The store and the services as the configuration describes them.

use std::sync::Arc;

use catchment_serving::VERSION;
use catchment_serving::grpc::ClientTls;
use tonic::transport::Endpoint;

use crate::config::{Config, Store as StoreKind};
use crate::kv::{Etcd, EtcdOptions, EtcdTls, Kv, Memory};
use crate::limits::{Limits, Rate};
use crate::peers::{Dial, plain};
use crate::services::Services;
use crate::session::SessionOptions;
use crate::{Store, StoreError, StoreOptions};

/// Begins to mirror the store. Must be called within a tokio runtime.
///
/// # Errors
/// Where names or certificates are not valid.
pub fn store(config: &Config) -> Result<Store, StoreError> {
    let kv = match config.store {
        StoreKind::Memory => Kv::Memory(Memory::new()),
        StoreKind::Etcd => Kv::Etcd(Etcd::new(etcd_options(config))?),
    };
    let rate = |burst: std::num::NonZeroU32, per_second: std::num::NonZeroU32| Rate {
        burst: burst.get(),
        per_second: per_second.get(),
    };
    let uplink = &config.uplink;
    let limits = Limits {
        exporter: rate(uplink.exporter_burst, uplink.exporter_rate),
        node: rate(uplink.node_burst, uplink.node_rate),
        new_scopes: rate(uplink.total_burst, uplink.total_rate),
        changes: rate(uplink.change_burst, uplink.change_rate),
        max_scopes: config.templates.max_domains.get(),
        max_bytes: config.templates.max_bytes.bytes(),
        transactions: rate(uplink.writes, uplink.writes),
    };
    Store::start(
        kv,
        StoreOptions {
            grpc_address: config.advertise.to_string(),
            version: VERSION.to_owned(),
            limits,
            retention: config.templates.retention,
            lease_ttl: config.lease.ttl,
            relist: config.etcd.relist,
            ..StoreOptions::new(config.cluster.to_string(), config.id.to_string())
        },
    )
}

fn etcd_options(config: &Config) -> EtcdOptions {
    let etcd = &config.etcd;
    let user = etcd.username.clone().zip(etcd.password.as_ref().map(|password| password.expose().to_owned()));
    let identity = etcd.tls.cert_file.clone().zip(etcd.tls.key_file.clone());
    let server_name = etcd.tls.server_name.clone();
    EtcdOptions {
        user,
        tls: etcd.tls.ca_file.clone().map(|ca| EtcdTls { ca, identity, server_name }),
        timeout: etcd.timeout,
        ..EtcdOptions::new(etcd.endpoints.iter().map(ToString::to_string))
    }
}

/// Begins to serve. Must be called within a tokio runtime.
pub fn services(config: &Config, store: Store) -> Services {
    let sessions = SessionOptions {
        ttl: config.lease.ttl,
        heartbeat: config.lease.ttl / 3,
        ..SessionOptions::default()
    };
    Services::start(store, dial(config), sessions, catchment_sequence::Limits::default())
}

/// How other replicas are reached: as this one is.
fn dial(config: &Config) -> Arc<Dial> {
    if config.tls.cert_file.is_none() {
        return Arc::new(plain);
    }
    let (own, peers) = (&config.tls, &config.peers.tls);
    let tls = ClientTls {
        ca_file: peers.ca_file.clone().or_else(|| own.client_ca_file.clone()),
        cert_file: peers.cert_file.clone().or_else(|| own.cert_file.clone()),
        key_file: peers.key_file.clone().or_else(|| own.key_file.clone()),
        server_name: peers.server_name.clone(),
    };
    Arc::new(move |address: &str| {
        let endpoint =
            Endpoint::from_shared(format!("https://{address}")).map_err(|error| error.to_string())?;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let config = tls.config(host.trim_matches(['[', ']'])).map_err(|error| error.to_string())?;
        endpoint.tls_config(config).map_err(|error| error.to_string())
    })
}
