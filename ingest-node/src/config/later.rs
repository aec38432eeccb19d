//! Keys that are accepted and checked although the part behind them comes in a later release.
//!
//! A configuration can so be written once for a fleet of mixed releases; whoever sets such a key is told at start-up and by
//! `check-config` what it does not do yet. A row goes when its part arrives.

use std::collections::BTreeMap;

use catchment_settings::{Entry, Origin, Problem};

use super::model::Config;

/// Keys (a whole one, or all below a section that ends in a dot) and what is not there yet.
const LATER: &[(&str, &str)] = &[(
    "spool.",
    "this release has no spool: batches that Kafka does not take in time are dropped and counted",
)];

/// What `key` does not do yet, if that is so.
pub(super) fn missing(key: &str) -> Option<&'static str> {
    let named = |(name, _): &&(&str, &str)| key == *name || (name.ends_with('.') && key.starts_with(name));
    LATER.iter().find(named).map(|(_, what)| *what)
}

/// One warning for each part that is asked for (set to something else than the default) and not there.
pub(super) fn warnings(config: &Config, origins: &BTreeMap<String, Origin>) -> Vec<Problem> {
    let (mut settings, mut defaults) = (Vec::new(), Vec::new());
    config.show(String::new(), &mut settings);
    Config::default().show(String::new(), &mut defaults);
    let mut warnings: Vec<Problem> = Vec::new();
    for (setting, _) in settings.iter().zip(&defaults).filter(|(setting, default)| setting != default) {
        let (Some(what), Some(origin)) = (missing(&setting.path), origins.get(&setting.path)) else {
            continue;
        };
        let what = format!("has no effect: {what}");
        if !warnings.iter().any(|warning| warning.what == what) {
            warnings.push(Problem { origin: origin.clone(), key: setting.path.clone(), what });
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use catchment_settings::Catalogue;

    #[test]
    fn every_row_is_about_a_key() {
        let catalogue = Catalogue::of::<Config>();
        for (name, _) in LATER {
            assert!(catalogue.keys().iter().any(|key| missing(&key.path) == missing(name)), "{name}");
        }
    }
}
