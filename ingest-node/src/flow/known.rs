//! What a node knows of exporters: the store that all workers share, and the zones of its listeners.
//!
//! It is there before the first socket is open, so that what is remembered on disk and what the cluster knows can be in it
//! when the first datagram comes.

use std::sync::Arc;

use flow_decoder::{ExporterStore, StoreLimits, ZoneId};

use super::pending_limits;
use crate::config::{Config, Label};

/// Templates and options state, and what their zones are called. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Known {
    /// Templates and options state.
    pub store: Arc<ExporterStore>,
    /// Zones of the listeners.
    pub zones: Zones,
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
            pending: pending_limits(&config.pending),
            ..StoreLimits::default()
        };
        Self { store: Arc::new(ExporterStore::new(limits)), zones: Zones::of(config) }
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
