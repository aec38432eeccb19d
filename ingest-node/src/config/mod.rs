//! The node's configuration: what `catchment-settings` makes of the declarations in `model/`.
//!
//! - [`model`](self::Config) declares every key once; all else follows from it.
//! - `resolve` fills in what depends on the host or on other keys, `check` holds settings against each other, `later` says
//!   what does nothing yet.
//! - A loaded [`Config`] never changes.

mod check;
mod choice;
mod later;
mod model;
mod properties;
#[cfg(test)]
mod reference;
mod resolve;
mod topic;

pub use catchment_serving::logging::{LogFormat, LogLevel};
pub use catchment_settings::{
    ByteSize, ConfigErrors, Endpoint, HostPort, Label, Origin, Prefix, Problem, Secret, Sources,
};
pub use choice::{
    Acks, Compression, ExporterName, FileFormat, Framing, Output, PartitionBy, SaslMechanism, SpoolPolicy,
    Steering,
};
pub use model::{
    Batch, Config, Coordinator, Exporter, FieldMapping, FieldName, File, FlowSource, Kafka, Listener, Log,
    Metrics, Node, Override, Pending, ProbePort, Sasl, ServerTls, SourceSettings, Spool, State, Templates,
    Tls, Udp,
};
pub use properties::Properties;
pub use topic::Topic;

use catchment_settings::{Configuration, Program, Reading, program};

/// A node's configuration, and what there is to say about it.
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
    const PROGRAM: &'static Program = &program::INGEST_NODE;

    fn resolve(&mut self, reading: &mut Reading) {
        resolve::resolve(self, reading);
    }

    fn check(&self, reading: &mut Reading) -> Vec<Problem> {
        let mut warnings = check::check(self, reading);
        warnings.extend(later::warnings(self, &reading.origins));
        warnings
    }
}
