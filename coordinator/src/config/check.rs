//! Settings that are right by themselves and wrong together.

use std::net::SocketAddr;

use catchment_settings::{Problem, Reading};

use super::model::{Config, Store};

/// Reports contradictions to `reading` and returns what is only doubtful.
pub(super) fn check(config: &Config, reading: &mut Reading) -> Vec<Problem> {
    addresses(config, reading);
    config.tls.check("tls", reading);
    config.peers.tls.check("peers.tls", reading);
    etcd(config, reading)
}

fn addresses(config: &Config, reading: &mut Reading) {
    let tcp =
        [("grpc", Some(config.grpc)), ("http", Some(config.http)), ("health.listen", config.health.listen)];
    for (index, (key, address)) in tcp.iter().enumerate() {
        let same = |(_, other): &&(&str, Option<SocketAddr>)| {
            address.is_some_and(|at| at.port() != 0) && other == address
        };
        if let Some((other, _)) = tcp[..index].iter().find(same) {
            reading.conflict([key, other], format!("the same address as {other}"));
        }
    }
}

fn etcd(config: &Config, reading: &mut Reading) -> Vec<Problem> {
    let mut warnings = Vec::new();
    let etcd = &config.etcd;
    match config.store {
        Store::Etcd if etcd.endpoints.is_empty() => {
            reading.conflict(["etcd.endpoints", "store"], "store is etcd, but no endpoint is named");
        }
        Store::Memory if !etcd.endpoints.is_empty() => {
            warnings.push(reading.doubt("etcd.endpoints", "has no effect while store is memory"));
        }
        Store::Etcd | Store::Memory => {}
    }
    etcd.tls.check("etcd.tls", reading);
    let tls = etcd.endpoints.iter().filter(|endpoint| endpoint.is_tls()).count();
    if tls != 0 && tls != etcd.endpoints.len() {
        let what = "some are https:// and some http://; members of one cluster are reached in one way";
        reading.conflict(["etcd.endpoints", "etcd.endpoints"], what);
    }
    if tls != 0 && etcd.tls.ca_file.is_none() {
        let what = "https:// needs the authority that signs etcd's certificates";
        reading.conflict(["etcd.tls.ca_file", "etcd.endpoints"], what);
    }
    match (&etcd.username, &etcd.password) {
        (Some(_), None) => {
            let what = "a user is set, but no password (or etcd.password_file)";
            reading.conflict(["etcd.password", "etcd.username"], what);
        }
        (None, Some(_)) => {
            let set = if etcd.password_file.is_some() { "etcd.password_file" } else { "etcd.password" };
            reading.conflict(["etcd.username", set], "a password is set, but no user");
        }
        (Some(_), Some(_)) if tls == 0 && !etcd.endpoints.is_empty() => {
            warnings.push(reading.doubt("etcd.username", "http:// sends the password in clear"));
        }
        _ => {}
    }
    warnings
}
