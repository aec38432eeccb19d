//! The node's configuration: YAML file < environment < `--set`, into types that cannot be wrong.
//!
//! ```text
//!  file --yaml--> tree --overlay (environment, --set)--> tree --section!--> model --resolve, check--> Loaded
//! ```
//!
//! - [`model`](self::Config) declares every key once; all else follows from it (see `section.rs`).
//! - A problem names its place, the full key and what was expected; all problems are reported, not the first.
//! - A loaded [`Config`] never changes.

mod address;
mod catalogue;
mod check;
mod choice;
mod later;
mod load;
mod model;
mod names;
mod origin;
mod overlay;
mod print;
mod properties;
#[cfg(test)]
mod reference;
mod resolve;
mod section;
mod size;
mod suggest;
mod tree;
mod value;
mod yaml;

pub use address::{Endpoint, HostPort, Prefix};
pub use choice::{
    Acks, Compression, ExporterName, FileFormat, Framing, LogFormat, LogLevel, Output, PartitionBy,
    SaslMechanism, SpoolPolicy, Steering,
};
pub use load::{Loaded, Sources};
pub use model::{
    Batch, Config, Coordinator, Exporter, File, FlowSource, Health, Kafka, Listener, Log, Node, Pending,
    Sasl, SourceSettings, Spool, State, Templates, Tls, Udp,
};
pub use names::{Label, Secret, Topic};
pub use origin::{ConfigErrors, Origin, Problem};
pub use properties::Properties;
pub use size::ByteSize;
