//! Defaults that depend on the host or on other keys, and secrets in files.

use catchment_settings::{HostPort, Label, Reading, Value as _, host_name, secret_from_file};

use super::model::{Config, Store};

/// Fills in what the declarations leave open.
pub(super) fn resolve(config: &mut Config, reading: &mut Reading) {
    let (host, port) = (host_name(), config.grpc.port());
    if let Some(host) = &host {
        // The port tells replicas on one host apart.
        if !reading.is_set("id")
            && let Some(id) = Label::from_any(&format!("{host}-{port}"))
        {
            config.id = id;
        }
        if !reading.is_set("advertise")
            && let Ok(advertise) = HostPort::parse(&format!("{host}:{port}"))
        {
            config.advertise = advertise;
        }
    }
    if !reading.is_set("store") && !config.etcd.endpoints.is_empty() {
        config.store = Store::Etcd;
    }
    let etcd = &mut config.etcd;
    secret_from_file(&mut etcd.password, etcd.password_file.as_ref(), "etcd.password", reading);
}
