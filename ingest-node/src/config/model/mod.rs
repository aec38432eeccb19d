//! The configuration as types: an immutable tree of plain structs, one per section of the file.
//!
//! Doc comments here are the text of docs/configuration.md, so they say what a key does to someone who has never seen
//! this code. Defaults and limits stand beside the fields they belong to.

mod exporter;
mod kafka;
mod node;
mod output;
mod sources;

pub use catchment_serving::grpc::ServerTls;
pub use catchment_serving::http::ProbePort;
pub use catchment_serving::logging::Log;
pub use exporter::{Exporter, FieldMapping, FieldName, Override};
pub use kafka::{Kafka, Sasl, Tls};
pub use node::{Coordinator, Metrics, Node, Pending, Spool, State, Templates};
pub use output::{Batch, File};
pub use sources::{FlowSource, Listener, SourceSettings, Udp};

use std::net::SocketAddr;

use catchment_settings::section;

use super::choice::Output;

section! {
    /// The configuration of a node.
    ///
    /// `default()` is the node without configuration, apart from what the host decides and only `load` fills in: the name is
    /// `localhost`, and there is one worker and one producer.
    Config {
        /// This node.
        node: Node,
        /// Log lines, on standard error.
        log: Log,
        /// Probes without certificates.
        health: ProbePort,
        /// Certificates of `node.grpc`.
        tls: ServerTls,
        /// What is measured.
        metrics: Metrics,
        /// Short form of `sources.flow.listeners`: addresses only. Once loaded they stand there, and this list is empty.
        listeners: Vec<SocketAddr> = "",
        /// Whether another process may share the listeners' ports. The kernel would silently give it a part of the
        /// datagrams, so this is refused unless asked for.
        listeners_shared: bool = "off",
        /// Sockets.
        udp: Udp,
        /// Where telemetry comes from.
        sources: SourceSettings,
        /// All exporters.
        exporter: Exporter,
        /// Bounds of the template store.
        templates: Templates,
        /// Data that waits for its template.
        pending: Pending,
        /// Where records go.
        output: Output = "stdout" (as "`kafka` when `kafka.brokers` is set, else `stdout`"),
        /// Output into files.
        file: File,
        /// Batches of encoded records.
        batch: Batch,
        /// Output into Kafka.
        kafka: Kafka,
        /// What Kafka does not take in time, on disk.
        spool: Spool,
        /// What the node remembers over a restart.
        state: State,
        /// The cluster.
        coordinator: Coordinator,
    }
}
