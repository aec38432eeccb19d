//! What a node knows of exporters: the store that all workers share, and the zones of its listeners.
//!
//! It is there before the first socket is open, so that what is remembered on disk and what the cluster knows can be in it
//! when the first datagram comes.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use flow_decoder::{ExporterStore, StoreLimits, ZoneId};

use super::pending_limits;
use crate::config::{self, Config, Label, Prefix};

/// Templates and options state, and what their zones are called. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Known {
    /// Templates and options state.
    pub store: Arc<ExporterStore>,
    /// Zones of the listeners.
    pub zones: Zones,
    allowed: Arc<ArcSwap<Allowed>>,
}

/// The zones that a node listens in. Inside of a node a zone is a number, everywhere else its label.
#[derive(Clone, Debug)]
pub struct Zones(Arc<[Arc<str>]>);

impl Known {
    /// Nothing, for a node with this configuration.
    pub fn nothing(config: &Config) -> Self {
        let limits = StoreLimits {
            templates_per_scope: config.templates.max_per_exporter.get(),
            templates: config.templates.max_total.get(),
            bytes: config.templates.bytes.as_usize(),
            pending: pending_limits(&config.pending),
            ..StoreLimits::default()
        };
        let (store, zones) = (Arc::new(ExporterStore::new(limits)), Zones::of(config));
        let allowed = Arc::new(ArcSwap::from_pointee(Allowed::of(&config.sources.flow, &zones)));
        let trusted = allowed.clone();
        store.trust(Box::new(move |zone, exporter| trusted.load().contains(zone, exporter)));
        Self { store, zones, allowed }
    }

    /// Whether a listener's allow list names the exporter: then its templates are shared before data has proven them. A
    /// listener that lets everybody names nobody.
    pub fn is_allowed(&self, zone: ZoneId, exporter: IpAddr) -> bool {
        self.allowed.load().contains(zone, exporter)
    }

    /// Takes over changed allow lists.
    pub(super) fn set_allowed(&self, settings: &config::FlowSource) {
        self.allowed.store(Arc::new(Allowed::of(settings, &self.zones)));
    }
}

impl Zones {
    /// The zones of the configured listeners. The default zone is always there, as number 0.
    pub fn of(config: &Config) -> Self {
        let labels = config.sources.flow.listeners.iter().map(|listener| label(listener.zone.as_ref()));
        Self::named(labels)
    }

    /// Zones with these labels, beside the default zone.
    pub fn named<'l>(labels: impl IntoIterator<Item = &'l str>) -> Self {
        let mut all: Vec<Arc<str>> = vec!["".into()];
        for label in labels {
            if !all.iter().any(|known| &**known == label) {
                all.push(label.into());
            }
        }
        Self(all.into())
    }

    /// The zone with this label; `None` where nobody listens in it.
    pub fn id(&self, label: &str) -> Option<ZoneId> {
        let index = self.0.iter().position(|known| &**known == label)?;
        u16::try_from(index).ok().map(ZoneId)
    }

    /// The label of a zone; `None` where there is no such zone.
    pub fn label(&self, zone: ZoneId) -> Option<&Arc<str>> {
        self.0.get(usize::from(zone.0))
    }

    /// All labels, by zone.
    pub fn labels(&self) -> &[Arc<str>] {
        &self.0
    }
}

/// Exporters that allow lists name.
#[derive(Debug)]
struct Allowed(Vec<(ZoneId, Vec<Prefix>)>);

impl Allowed {
    fn of(settings: &config::FlowSource, zones: &Zones) -> Self {
        let named = settings.listeners.iter().filter(|listener| !listener.allow.is_empty());
        let list = |listener: &config::Listener| {
            Some((zones.id(label(listener.zone.as_ref()))?, listener.allow.clone()))
        };
        Self(named.filter_map(list).collect())
    }

    fn contains(&self, zone: ZoneId, exporter: IpAddr) -> bool {
        let named = |prefixes: &[Prefix]| prefixes.iter().any(|prefix| prefix.contains(exporter));
        self.0.iter().any(|(of, prefixes)| *of == zone && named(prefixes))
    }
}

/// The label of a listener's zone; empty for the default zone.
pub(super) fn label(zone: Option<&Label>) -> &str {
    zone.map_or("", Label::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_counted_in_the_order_of_the_listeners() {
        let zones = Zones::named(["lab", "", "dc-1", "lab"]);
        assert_eq!(zones.labels().iter().map(|label| &**label).collect::<Vec<_>>(), ["", "lab", "dc-1"]);
        assert_eq!(
            (zones.id(""), zones.id("dc-1"), zones.id("dc-2")),
            (Some(ZoneId(0)), Some(ZoneId(2)), None)
        );
        assert_eq!(
            (zones.label(ZoneId(1)).map(|label| &**label), zones.label(ZoneId(3))),
            (Some("lab"), None)
        );
    }
}
