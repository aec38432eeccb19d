//! The keys of a cluster in etcd.
//!
//! ```text
//! /catchment/<cluster>/store-id                                         made once; another one is another store
//!                     /collectors/<node>                                Collector, under the coordinator's lease
//!                     /coordinators/<coordinator>                       Replica, under its lease
//!                     /wanted/<coordinator>                             WantedList, under its lease
//!                     /leader/coordinator                               the leader's id, under its lease
//!                     /desired/<node>                                   DesiredState
//!                     /config                                           ConfigRevision, the present one
//!                     /config-history/<revision, 20 digits>             ConfigRevision, the last 50
//!                     /templates/<zone>/<exporter>/<version>/<domain>   ScopeState without options
//!                     /exporters/<zone>/<exporter>/<version>/<domain>/options   ScopeState without templates
//!                     /exporters/<zone>/<exporter>/<version>/<domain>/seen      seconds since 1970, decimal
//! ```
//!
//! Names are percent-encoded, so that any label is one part of a path; the empty zone is `-`, and a zone `-` is `%2D`. A key
//! has one spelling: what [`Keys::parse`] takes, [`Keys`] writes the same again.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::scope::ScopeId;
use crate::validate;

/// What a key is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// `store-id`.
    StoreId,
    /// A node's registration.
    Collector(String),
    /// A replica.
    Coordinator(String),
    /// What a replica's nodes look for.
    Wanted(String),
    /// The leader.
    Leader,
    /// What is desired of a node.
    Desired(String),
    /// The present configuration.
    Config,
    /// An older revision of it.
    ConfigHistory(u64),
    /// Templates of a scope.
    Templates(ScopeId),
    /// Options state of a scope.
    Options(ScopeId),
    /// When a scope was last seen.
    Seen(ScopeId),
}

/// The keys of one cluster.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: String,
}

impl Keys {
    /// The keys of `cluster`.
    pub fn new(cluster: &str) -> Self {
        let mut prefix = String::from("/catchment/");
        encode(cluster, &mut prefix);
        prefix.push('/');
        Self { prefix }
    }

    /// What all of them begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A key as it is written.
    pub fn write(&self, key: &Key) -> String {
        match key {
            Key::StoreId => self.plain("store-id"),
            Key::Collector(id) => self.named("collectors/", id),
            Key::Coordinator(id) => self.named("coordinators/", id),
            Key::Wanted(id) => self.named("wanted/", id),
            Key::Leader => self.plain("leader/coordinator"),
            Key::Desired(id) => self.named("desired/", id),
            Key::Config => self.plain("config"),
            Key::ConfigHistory(revision) => self.plain(&format!("config-history/{revision:020}")),
            Key::Templates(id) => self.templates(id),
            Key::Options(id) => self.scope("exporters/", id) + "/options",
            Key::Seen(id) => self.scope("exporters/", id) + "/seen",
        }
    }

    /// `templates/...` of a scope.
    pub fn templates(&self, id: &ScopeId) -> String {
        self.scope("templates/", id)
    }

    /// What the key is of; `None` where it is none of this cluster's.
    pub fn parse(&self, key: &[u8]) -> Option<Key> {
        let text = std::str::from_utf8(key).ok()?;
        let rest = text.strip_prefix(&self.prefix)?;
        let parts: Vec<&str> = rest.split('/').collect();
        let parsed = match *parts {
            ["store-id"] => Key::StoreId,
            ["collectors", id] => Key::Collector(decode_id(id)?),
            ["coordinators", id] => Key::Coordinator(decode_id(id)?),
            ["wanted", id] => Key::Wanted(decode_id(id)?),
            ["leader", "coordinator"] => Key::Leader,
            ["desired", id] => Key::Desired(decode_id(id)?),
            ["config"] => Key::Config,
            ["config-history", revision] => Key::ConfigHistory(revision.parse().ok()?),
            ["templates", zone, exporter, version, domain] => {
                Key::Templates(parse_scope(zone, exporter, version, domain)?)
            }
            ["exporters", zone, exporter, version, domain, "options"] => {
                Key::Options(parse_scope(zone, exporter, version, domain)?)
            }
            ["exporters", zone, exporter, version, domain, "seen"] => {
                Key::Seen(parse_scope(zone, exporter, version, domain)?)
            }
            _ => return None,
        };
        // One spelling only: two keys of one scope would overwrite one another.
        (self.write(&parsed) == text).then_some(parsed)
    }

    fn plain(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn named(&self, folder: &str, name: &str) -> String {
        let mut key = self.plain(folder);
        encode(name, &mut key);
        key
    }

    fn scope(&self, folder: &str, id: &ScopeId) -> String {
        let mut key = self.plain(folder);
        if id.zone.is_empty() {
            key.push('-');
        } else {
            encode(&id.zone, &mut key);
        }
        key.push('/');
        encode(&id.exporter.to_string(), &mut key);
        let _ = write!(key, "/{}/{}", id.version, id.domain);
        key
    }
}

fn parse_scope(zone: &str, exporter: &str, version: &str, domain: &str) -> Option<ScopeId> {
    let zone = if zone == "-" { String::new() } else { decode(zone)? };
    validate::name(&zone).ok()?;
    let exporter: IpAddr = decode(exporter)?.parse().ok()?;
    let version = version.parse().ok().filter(|version| matches!(version, 9 | 10))?;
    Some(ScopeId { zone: zone.into(), exporter, version, domain: domain.parse().ok()? })
}

fn decode_id(text: &str) -> Option<String> {
    let id = decode(text)?;
    validate::id("id", &id).ok()?;
    Some(id)
}

/// Octets that stand for themselves; all others are `%XX`. A name of one or two dots, or of `-`, is encoded whole.
fn encode(text: &str, out: &mut String) {
    let special = matches!(text, "-" | "." | "..");
    for octet in text.bytes() {
        if !special && (octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.' | b'~')) {
            out.push(char::from(octet));
        } else {
            let _ = write!(out, "%{octet:02X}");
        }
    }
}

fn decode(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet == b'%' {
            let digit = |octet: Option<u8>| char::from(octet?).to_digit(16).map(|digit| digit as u8);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            octets.push(high << 4 | low);
        } else {
            octets.push(octet);
        }
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scope(zone: &str, exporter: &str) -> ScopeId {
        ScopeId { zone: zone.into(), exporter: exporter.parse().unwrap(), version: 10, domain: 7 }
    }

    #[test]
    fn keys_are_as_documented() {
        let keys = Keys::new("lab");
        assert_eq!(keys.templates(&scope("", "192.0.2.1")), "/catchment/lab/templates/-/192.0.2.1/10/7");
        assert_eq!(
            keys.templates(&scope("-", "2001:db8::1")),
            "/catchment/lab/templates/%2D/2001%3Adb8%3A%3A1/10/7"
        );
        assert_eq!(keys.write(&Key::Collector("a/../b".into())), "/catchment/lab/collectors/a%2F..%2Fb");
        assert_eq!(keys.write(&Key::ConfigHistory(3)), "/catchment/lab/config-history/00000000000000000003");
    }

    #[test]
    fn a_second_spelling_is_no_key() {
        let keys = Keys::new("lab");
        for other in [
            "/catchment/lab/templates/-/192.0.2.1/010/7",
            "/catchment/lab/templates/-/192.0.2.1/10/07",
            "/catchment/lab/templates/-/192.0.2.1/5/7",
            "/catchment/lab/templates//192.0.2.1/10/7",
            "/catchment/lab/templates/%61/192.0.2.1/10/7",
            "/catchment/lab/templates/-/2001:db8::1/10/7",
            "/catchment/lab/templates/-/192.0.2.1/10/4294967296",
            "/catchment/lab/collectors/",
            "/catchment/lab/collectors/%",
            "/catchment/lab/config-history/3",
            "/catchment/other/config",
        ] {
            assert_eq!(keys.parse(other.as_bytes()), None, "{other}");
        }
        assert_eq!(keys.parse(b"/catchment/lab/collectors/\xff"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(cluster in "\\PC{1,8}", zone in "\\PC{0,12}", address: IpAddr, domain: u32) {
            let keys = Keys::new(&cluster);
            let id = ScopeId { zone: zone.into(), exporter: address, version: 9, domain };
            for key in [Key::Templates(id.clone()), Key::Options(id.clone()), Key::Seen(id)] {
                let written = keys.write(&key);
                prop_assert_eq!(keys.parse(written.as_bytes()), Some(key));
            }
        }
    }
}
