//! Configuration that changes while the node runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use catchment_serving::logging::Logging;

use crate::config::{Config, Loaded, LogLevel};
use crate::source::RestartNeeded;

/// The configuration in force.
#[derive(Debug)]
pub struct LiveConfig {
    logging: Logging,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    loaded: Arc<Loaded>,
    /// Wanted by somebody whatever the configuration says.
    log_level: Option<LogLevel>,
}

/// Why a configuration was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It changes what a running node cannot change.
    #[error(transparent)]
    RestartNeeded(#[from] RestartNeeded),
    /// A cluster's configuration, which this build does not take over yet.
    #[error("this node cannot take over a cluster's configuration yet")]
    NoCluster,
}

impl LiveConfig {
    /// The configuration that the node starts with.
    pub fn new(loaded: Loaded, logging: Logging) -> Self {
        let state = State { loaded: Arc::new(loaded), log_level: None };
        Self { logging, state: Mutex::new(state) }
    }

    /// The configuration in force.
    pub fn loaded(&self) -> Arc<Loaded> {
        self.lock().loaded.clone()
    }

    /// Which log lines are written whatever the configuration says; `None`: as configured.
    pub fn set_log_level(&self, level: Option<LogLevel>) {
        let mut state = self.lock();
        if state.log_level != level {
            tracing::info!(
                level = level.map_or("as configured", LogLevel::as_str),
                "log level is set from outside"
            );
        }
        state.log_level = level;
        self.logging.set_level(level.unwrap_or(state.loaded.config.log.level));
    }

    /// Takes over what `apply` can.
    ///
    /// # Errors
    /// What `apply` refused; then nothing has changed.
    pub fn replace(
        &self,
        loaded: Loaded,
        apply: impl FnOnce(&Config) -> Result<(), RestartNeeded>,
    ) -> Result<(), Refused> {
        let mut state = self.lock();
        apply(&loaded.config)?;
        self.logging.set_level(state.log_level.unwrap_or(loaded.config.log.level));
        state.loaded = Arc::new(loaded);
        Ok(())
    }

    /// Whether a configuration of the cluster could be taken over.
    ///
    /// # Errors
    /// Why not.
    pub fn check_cluster(&self, _yaml: &str) -> Result<(), Refused> {
        Err(Refused::NoCluster)
    }

    /// Takes over a configuration of the cluster.
    ///
    /// # Errors
    /// Why not; then nothing has changed.
    pub fn set_cluster(
        &self,
        _revision: u64,
        _yaml: &str,
        _apply: impl FnOnce(&Config) -> Result<(), RestartNeeded>,
    ) -> Result<(), Refused> {
        Err(Refused::NoCluster)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
