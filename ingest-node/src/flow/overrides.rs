//! `exporter.overrides` and `exporter.names` as the decoder takes them.

use flow_decoder::{FieldRule, NamesInRecords, Otherwise, Override, Overrides, Sampling};

use super::Zones;
use crate::config;

/// What is known of exporters better than they say it. What is said of a zone that this node does not listen in is left out.
pub fn overrides(exporter: &config::Exporter, zones: &Zones) -> Overrides {
    let known = exporter.overrides.iter().filter_map(|known| {
        let zone = match &known.zone {
            Some(label) => Some(zones.id(label.as_str())?),
            None => None,
        };
        Some(Override {
            zone,
            address: known.prefix.address(),
            length: known.prefix.length(),
            sampling: match (known.sampling_rate, known.sampling_default) {
                (Some(rate), _) => Sampling::Fixed(rate),
                (None, Some(rate)) => Sampling::Default(rate),
                (None, None) => Sampling::AsSaid,
            },
            fields: known.fields.iter().map(rule).collect(),
            keep_unknown: known.keep_unknown.unwrap_or(exporter.keep_unknown),
            split_biflows: known.split_biflows.unwrap_or(exporter.split_biflows),
        })
    });
    let (keep_unknown, split_biflows) = (exporter.keep_unknown, exporter.split_biflows);
    Overrides::new(known, Otherwise { keep_unknown, split_biflows })
}

/// Whether records show the names that exporters give.
pub fn names(exporter: &config::Exporter) -> NamesInRecords {
    if exporter.names { NamesInRecords::Shown } else { NamesInRecords::LeftOut }
}

fn rule(mapping: &config::FieldMapping) -> FieldRule {
    FieldRule { pen: mapping.pen, id: mapping.element, to: mapping.field.destination() }
}
