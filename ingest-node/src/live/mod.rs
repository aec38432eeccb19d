//! Configuration that changes while the node runs.
//!
//! ```text
//! file < cluster's document < environment < --set < documents set over gRPC
//! ```
//!
//! Whoever changes something (SIGHUP, the cluster, a person) changes one of these layers; then all of them are loaded and
//! checked as at the start, and what came out is taken over as a whole or not at all. A change of a key that a running node
//! cannot take over ([`keys::LIVE`]) refuses the whole, with line and key.

pub mod keys;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use catchment_serving::logging::Logging;
use catchment_settings::{Layer, Place};

use crate::config::{Config, ConfigErrors, Loaded, LogLevel, Problem, Sources};

/// The configuration in force.
#[derive(Debug)]
pub struct LiveConfig {
    logging: Logging,
    /// As the node started.
    started: Loaded,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    sources: Sources,
    loaded: Arc<Loaded>,
    /// Wanted by somebody whatever the configuration says.
    log_level: Option<LogLevel>,
}

/// Why a configuration was not taken over; then nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is wrong.
    #[error(transparent)]
    Wrong(#[from] ConfigErrors),
    /// It has keys that a running node cannot change.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    RestartNeeded(Vec<Problem>),
}

/// A configuration that was taken over, or would be.
#[derive(Debug)]
pub struct Change {
    /// What was in force before.
    pub before: Arc<Loaded>,
    /// What is in force after it.
    pub after: Arc<Loaded>,
}

impl LiveConfig {
    /// The configuration that the node starts with, and where it is from.
    pub fn new(loaded: Loaded, sources: Sources, logging: Logging) -> Self {
        let state = State { sources, loaded: Arc::new(loaded.clone()), log_level: None };
        Self { logging, started: loaded, state: Mutex::new(state) }
    }

    /// The configuration in force.
    pub fn loaded(&self) -> Arc<Loaded> {
        self.lock().loaded.clone()
    }

    /// The configuration in force, and the revision of the cluster's document in it; 0: none.
    pub fn in_force(&self) -> (Arc<Loaded>, u64) {
        let revision = |layer: &Layer| match layer.place {
            Place::Cluster { revision } => Some(revision),
            Place::File(_) | Place::Control => None,
        };
        let state = self.lock();
        (state.loaded.clone(), state.sources.layers.iter().find_map(revision).unwrap_or(0))
    }

    /// Revision of the cluster's document; 0: none.
    pub fn cluster_revision(&self) -> u64 {
        self.in_force().1
    }

    /// Which log lines are written whatever the configuration says; `None`: as configured.
    pub fn set_log_level(&self, level: Option<LogLevel>) {
        let mut state = self.lock();
        if state.log_level == level {
            return;
        }
        tracing::info!(
            level = level.map_or("as configured", LogLevel::as_str),
            "log level is set from outside"
        );
        state.log_level = level;
        self.logging.set_level(level.unwrap_or(state.loaded.config.log.level));
    }

    /// Loads the node's own file again. The other layers stay.
    ///
    /// # Errors
    /// Why it is not taken over.
    pub fn reload(&self, apply: impl FnOnce(&Config)) -> Result<Change, Refused> {
        let mut state = self.lock();
        let sources = state.sources.clone();
        self.put(&mut state, sources, apply)
    }

    /// Whether the cluster's document could be taken over.
    ///
    /// # Errors
    /// Why not.
    pub fn check_cluster(&self, yaml: &str) -> Result<Change, Refused> {
        let state = self.lock();
        let after = self.load(&with_cluster(&state.sources, 0, yaml)?)?;
        Ok(Change { before: state.loaded.clone(), after: Arc::new(after) })
    }

    /// Takes over the cluster's document in place of the one before. What was set over gRPC gives way to it: from now on the
    /// cluster's configuration is the place.
    ///
    /// # Errors
    /// Why it is not taken over.
    pub fn set_cluster(
        &self,
        revision: u64,
        yaml: &str,
        apply: impl FnOnce(&Config),
    ) -> Result<Change, Refused> {
        let mut state = self.lock();
        let sources = with_cluster(&state.sources, revision, yaml)?;
        self.put(&mut state, sources, apply)
    }

    /// Whether a document could be set over gRPC.
    ///
    /// # Errors
    /// Why not.
    pub fn check_own(&self, yaml: &str) -> Result<Change, Refused> {
        let state = self.lock();
        let after = self.load(&with_own(&state.sources, yaml)?)?;
        Ok(Change { before: state.loaded.clone(), after: Arc::new(after) })
    }

    /// Lays a document above all others until the node ends, or the cluster sends one.
    ///
    /// # Errors
    /// Why it is not taken over.
    pub fn set_own(&self, yaml: &str, apply: impl FnOnce(&Config)) -> Result<Change, Refused> {
        let mut state = self.lock();
        let sources = with_own(&state.sources, yaml)?;
        self.put(&mut state, sources, apply)
    }

    /// All layers, checked as a whole and against what the node started with.
    fn load(&self, sources: &Sources) -> Result<Loaded, Refused> {
        let new = Config::load(sources)?;
        let fixed = keys::fixed(&self.started, &new);
        if !fixed.is_empty() {
            return Err(Refused::RestartNeeded(fixed));
        }
        // What the node works out at its start stays as it was then.
        let mut config = self.started.config.clone();
        keys::take(&mut config, &new.config);
        Ok(Loaded { config, ..new })
    }

    fn put(
        &self,
        state: &mut State,
        sources: Sources,
        apply: impl FnOnce(&Config),
    ) -> Result<Change, Refused> {
        let after = Arc::new(self.load(&sources)?);
        apply(&after.config);
        self.logging.set_level(state.log_level.unwrap_or(after.config.log.level));
        state.sources = sources;
        let before = std::mem::replace(&mut state.loaded, after.clone());
        Ok(Change { before, after })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sources with another document of the cluster, and none that was set over gRPC.
fn with_cluster(sources: &Sources, revision: u64, yaml: &str) -> Result<Sources, Refused> {
    let layer = Layer { place: Place::Cluster { revision }, text: yaml.to_owned() };
    check_keys(&layer)?;
    Ok(Sources { layers: vec![layer], ..sources.clone() })
}

/// The sources with one more document that was set over gRPC. Those of which nothing is left to see are dropped, so that there
/// are never more than there are keys.
fn with_own(sources: &Sources, yaml: &str) -> Result<Sources, Refused> {
    let layer = Layer { place: Place::Control, text: yaml.to_owned() };
    let mut seen: Vec<String> = check_keys(&layer)?;
    let mut layers = vec![layer];
    for layer in sources.layers.iter().rev() {
        if layer.place != Place::Control {
            layers.push(layer.clone());
            continue;
        }
        let keys = check_keys(layer)?;
        if keys.iter().any(|key| !seen.contains(key)) {
            layers.push(layer.clone());
        }
        seen.extend(keys);
    }
    layers.reverse();
    Ok(Sources { layers, ..sources.clone() })
}

/// The keys of a document in which all can be changed while the node runs.
fn check_keys(layer: &Layer) -> Result<Vec<String>, Refused> {
    let keys = layer.keys::<Config>()?;
    let fixed = keys::not_live(&keys);
    if fixed.is_empty() { Ok(keys.into_keys().collect()) } else { Err(Refused::RestartNeeded(fixed)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(set: &[&str], file: Option<&std::path::Path>) -> LiveConfig {
        let set = set.iter().map(|text| (*text).to_owned()).collect();
        let sources = Sources { file: file.map(Into::into), set, ..Sources::default() };
        let loaded = Config::load(&sources).unwrap();
        let logging = Logging::start(&loaded.config.log);
        LiveConfig::new(loaded, sources, logging)
    }

    fn level(live: &LiveConfig) -> &'static str {
        live.loaded().config.log.level.as_str()
    }

    #[test]
    fn a_reload_of_the_file_keeps_the_clusters_document() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("node.yaml");
        std::fs::write(&file, "log: {level: error}\n").unwrap();
        let live = live(&[], Some(&file));
        let mut applied = None;
        live.set_cluster(3, "log:\n  level: debug\n", |config| applied = Some(config.log.level)).unwrap();
        assert_eq!((applied, level(&live), live.cluster_revision()), (Some(LogLevel::Debug), "debug", 3));
        std::fs::write(&file, "log: {level: warn}\nexporter: {name: agent}\n").unwrap();
        live.reload(|_| {}).unwrap();
        assert_eq!((level(&live), live.cluster_revision()), ("debug", 3));
        assert_eq!(live.loaded().config.exporter.name, crate::config::ExporterName::Agent);
        assert!(live.loaded().to_yaml().contains("  level: debug  # cluster revision 3, line 2:10\n"));
        live.set_cluster(4, "", |_| {}).unwrap();
        assert_eq!((level(&live), live.cluster_revision()), ("warn", 4));
    }

    #[test]
    fn arguments_win_over_the_cluster() {
        let live = live(&["log.level=trace"], None);
        live.set_cluster(1, "log: {level: debug}\nexporter: {name: agent}\n", |_| {}).unwrap();
        assert_eq!(level(&live), "trace");
    }

    #[test]
    fn a_refused_document_changes_nothing_and_names_line_and_key() {
        let live = live(&["listeners=127.0.0.1:2055"], None);
        live.set_cluster(1, "log: {level: debug}\n", |_| {}).unwrap();
        for (yaml, said) in [
            (
                "log: {level: warn}\nkafka:\n  topic: x\n",
                "line 3:10: kafka.topic: needs a restart of the node",
            ),
            (
                "log: {level: warn}\nexporter:\n  nmae: agent\n",
                "line 3:3: exporter.nmae: unknown key; did you mean `exporter.name`?",
            ),
            ("log:\n  level: loud\n", "line 2:10: log.level: expected one of error warn info debug trace"),
            (
                "exporter:\n  allow: [10.0.0.1/8]\n",
                "line 2:11: exporter.allow[0]: \"10.0.0.1/8\": has bits set",
            ),
        ] {
            let checked = live.check_cluster(yaml).unwrap_err().to_string();
            assert!(checked.starts_with("cluster configuration, ") && checked.contains(said), "{checked}");
            let set = live.set_cluster(2, yaml, |_| panic!("half applied")).unwrap_err().to_string();
            assert!(set.starts_with("cluster revision 2, ") && set.contains(said), "{set}");
            assert_eq!((level(&live), live.cluster_revision()), ("debug", 1));
        }
    }

    #[test]
    fn checking_changes_nothing() {
        let live = live(&[], None);
        let change = live.check_cluster("log: {level: warn}\n").unwrap();
        assert_eq!(change.after.config.log.level, LogLevel::Warn);
        assert_eq!((level(&live), live.cluster_revision()), ("info", 0));
        assert!(live.check_own("log: {level: warn}\n").is_ok());
        assert_eq!(level(&live), "info");
    }

    #[test]
    fn what_a_person_sets_wins_until_the_cluster_sets_something_and_stays_bounded() {
        let live = live(&["log.level=error"], None);
        for turn in 0..100 {
            let level = if turn % 2 == 0 { "debug" } else { "warn" };
            live.set_own(&format!("log: {{level: {level}}}\n"), |_| {}).unwrap();
        }
        live.set_own("exporter: {name: agent}\n", |_| {}).unwrap();
        assert_eq!((level(&live), live.lock().sources.layers.len()), ("warn", 2));
        live.set_cluster(1, "metrics: {top_exporters: 3}\n", |_| {}).unwrap();
        assert_eq!((level(&live), live.loaded().config.metrics.top_exporters), ("error", 3));
    }

    #[test]
    fn allow_lists_of_listeners_change_and_their_sockets_do_not() {
        let live = live(&["listeners=127.0.0.1:0"], None);
        let refused = live.check_cluster("sources: {flow: {listeners: [\"127.0.0.1:0\"]}}").unwrap_err();
        assert!(refused.to_string().contains("of which it is the short form"), "{refused}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("node.yaml");
        let listener = |address: &str, allow: &str| {
            format!(
                "sources:\n  flow:\n    listeners:\n      - address: \"{address}\"\n        allow: [{allow}]\n"
            )
        };
        std::fs::write(&file, listener("127.0.0.1:7", "10.0.0.0/8")).unwrap();
        let live = self::live(&[], Some(&file));
        live.set_cluster(1, &listener("127.0.0.1:7", "192.0.2.0/24"), |_| {}).unwrap();
        assert_eq!(live.loaded().config.sources.flow.listeners[0].allow[0].to_string(), "192.0.2.0/24");
        let refused = live.check_cluster(&listener("127.0.0.1:8", "")).unwrap_err().to_string();
        assert!(
            refused.ends_with("sources.flow.listeners: needs a restart of the node, but for `allow`"),
            "{refused}"
        );
    }

    #[test]
    fn a_log_level_from_outside_outlives_a_change_of_the_configured_one() {
        let live = live(&[], None);
        live.set_log_level(Some(LogLevel::Trace));
        live.set_own("log: {level: warn}\n", |_| {}).unwrap();
        assert_eq!(live.lock().log_level, Some(LogLevel::Trace));
        live.set_log_level(None);
        assert_eq!(level(&live), "warn");
    }
}
