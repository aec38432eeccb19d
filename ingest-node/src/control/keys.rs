//! Keys of listed things: in the order of the store, and as page tokens.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use flow_decoder::{ScopeKey, ZoneId};

/// An exporter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ExporterKey {
    pub(super) zone: ZoneId,
    pub(super) exporter: IpAddr,
}

impl ExporterKey {
    pub(super) fn of(scope: &ScopeKey) -> Self {
        Self { zone: scope.zone, exporter: scope.exporter }
    }
}

impl fmt::Display for ExporterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.zone.0, self.exporter)
    }
}

impl FromStr for ExporterKey {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let (zone, exporter) = text.split_once('/').ok_or(NoKey)?;
        Ok(Self { zone: ZoneId(part(zone)?), exporter: part(exporter)? })
    }
}

/// A template as one source port announced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TemplateKey {
    pub(super) scope: ScopeKey,
    pub(super) id: u16,
    pub(super) port: u16,
}

impl fmt::Display for TemplateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ScopeKey { zone, exporter, version, domain } = self.scope;
        write!(f, "{}/{exporter}/{version}/{domain}/{}/{}", zone.0, self.id, self.port)
    }
}

impl FromStr for TemplateKey {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let parts: Vec<&str> = text.split('/').collect();
        let [zone, exporter, version, domain, id, port] = parts[..] else { return Err(NoKey) };
        let scope = ScopeKey {
            zone: ZoneId(part(zone)?),
            exporter: part(exporter)?,
            version: part(version)?,
            domain: part(domain)?,
        };
        Ok(Self { scope, id: part(id)?, port: part(port)? })
    }
}

/// A text that is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoKey;

fn part<T: FromStr>(text: &str) -> Result<T, NoKey> {
    text.parse().map_err(|_| NoKey)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_is_its_key(
            zone in any::<u16>(), exporter in any::<IpAddr>(), version in any::<u16>(), domain in any::<u32>(),
            id in any::<u16>(), port in any::<u16>(),
        ) {
            let scope = ScopeKey { zone: ZoneId(zone), exporter, version, domain };
            let key = TemplateKey { scope, id, port };
            prop_assert_eq!(key.to_string().parse(), Ok(key));
            let key = ExporterKey::of(&scope);
            prop_assert_eq!(key.to_string().parse(), Ok(key));
        }

        #[test]
        fn no_text_panics(text in "[0-9/:.a-z]{0,40}") {
            let _ = text.parse::<TemplateKey>();
            let _ = text.parse::<ExporterKey>();
        }
    }
}
