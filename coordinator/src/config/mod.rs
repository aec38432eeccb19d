//! The coordinator's configuration: what `catchment-settings` makes of the declarations in `model`.
//!
//! `resolve` fills in what depends on the host or on other keys, `check` holds settings against each other. A loaded
//! [`Config`] never changes.

mod check;
mod model;
#[cfg(test)]
mod reference;
mod resolve;

pub use catchment_settings::{ConfigErrors, Endpoint, HostPort, Label, Origin, Problem, Secret, Sources};
pub use model::{Config, Etcd, Lease, Peers, Store, Templates, Uplink};

use catchment_settings::{Configuration, Program, Reading, program};

/// A coordinator's configuration, and what there is to say about it.
pub type Loaded = catchment_settings::Loaded<Config>;

impl Config {
    /// Reads all sources, fills in what depends on the host and checks that the settings agree with each other.
    ///
    /// # Errors
    ///
    /// [`ConfigErrors::Unreadable`] where the file cannot be read, else all problems in the order of the sources.
    pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
        Loaded::load(sources)
    }
}

impl Configuration for Config {
    const PROGRAM: &'static Program = &program::COORDINATOR;

    fn resolve(&mut self, reading: &mut Reading) {
        resolve::resolve(self, reading);
    }

    fn check(&self, reading: &mut Reading) -> Vec<Problem> {
        check::check(self, reading)
    }
}
