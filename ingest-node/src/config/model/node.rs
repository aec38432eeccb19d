//! The node itself: its name and ports, the bounds of what it remembers, and the cluster it belongs to.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use catchment_serving::grpc::ClientTls;
use catchment_settings::{ByteSize, Endpoint, HostPort, Label, section};

use crate::config::choice::{Compression, SpoolPolicy};

section! {
    /// The node itself.
    Node {
        /// The node's name in the cluster, in batch headers and in records. It must be unique and should stay the same
        /// over a restart.
        id: Label = "localhost" (as "the host's name"),
        /// Where HTTP is served: `/metrics`, `/metrics.json`, `/livez`, `/readyz`, `/health`.
        http: SocketAddr = "0.0.0.0:8081",
        /// Where gRPC (`NodeControl`, health, reflection) is served.
        grpc: SocketAddr = "0.0.0.0:7401",
        /// Where others reach this node's gRPC, `host:port`; empty: the port of `node.grpc`, at the address by which the node reaches
        /// the coordinator.
        advertise_grpc: Option<HostPort> = "",
        /// Where others reach this node's HTTP, `host:port`; empty: as `node.advertise_grpc`, with the port of `node.http`.
        advertise_http: Option<HostPort> = "",
        /// Receive threads; each has one socket per listener.
        workers: NonZeroUsize = "1" in "1" to "1024" (as "the CPUs the process may use"),
        /// How long a shutdown may take, from the signal to the end of the process.
        shutdown_timeout: Duration = "20s" in "0" to "1h",
        /// Whether each record carries this node's name (`collector_node`). It costs the name's length in every record.
        stamp_records: bool = "off",
    }
}

section! {
    /// What is measured.
    Metrics {
        /// How many exporters have metrics of their own: those with the most records. 0: none.
        top_exporters: usize = "20" in "0" to "1000",
    }
}

section! {
    /// Bounds of the template store. A template beyond a bound is not learnt, and counted.
    Templates {
        /// Templates of one exporter, for each observation domain (IPFIX) or source id (NetFlow v9) apart.
        max_per_exporter: NonZeroUsize = "4096" in "1" to "65536",
        /// Templates of all exporters.
        max_total: NonZeroUsize = "1000000" in "1" to "100000000",
        /// Memory for templates and options state of all exporters. At the bound strangers are forgotten first, then exporters with more than an eighth of it, then who was not heard for longest.
        bytes: ByteSize = "112MiB",
        /// How long the cluster keeps the templates of an exporter that is not seen.
        retention: Duration = "7d" in "1m" to "3650d",
    }
}

section! {
    /// Data sets that came before their template, or before that of records in a list (RFC 6313), wait here. What lacks only a list
    /// is not lost: for want of time or room it is decoded without the list.
    Pending {
        /// Memory for all exporters; 0: nothing waits, data that comes before its template is rejected.
        bytes: ByteSize = "16MiB",
        /// Memory for one exporter.
        per_exporter_bytes: ByteSize = "1MiB",
        /// How long a set waits.
        age: Duration = "5m" in "1s" to "7d",
    }
}

section! {
    /// A bounded queue on disk for batches that Kafka does not take in time.
    Spool {
        /// The directory; empty: no spool.
        dir: Option<PathBuf> = "",
        /// Disk space per topic.
        bytes: ByteSize = "10GiB" in "16MiB" to "1024TiB",
        /// How long a batch is kept.
        age: Duration = "7d" in "1m" to "3650d",
        /// Compression on disk (`none`, `lz4` or `zstd`).
        compression: Compression = "lz4",
        /// What happens when the space is used up.
        policy: SpoolPolicy = "drop_oldest",
    }
}

section! {
    /// What the node remembers over a restart. It is needed without a coordinator, and does no harm with one.
    State {
        /// The directory for templates and options state; empty: nothing is remembered. It is made where there is none, and
        /// is one node's alone.
        dir: Option<PathBuf> = "",
    }
}

section! {
    /// The cluster.
    Coordinator {
        /// Coordinators, any of which will do; empty: the node works alone.
        endpoints: Vec<Endpoint> = "",
        /// The cluster's name. Coordinators of another cluster refuse the node.
        cluster: Label = "default",
        /// How long a node that starts waits for what the cluster knows of exporters before it opens its sockets.
        startup_timeout: Duration = "5s" in "0" to "10m",
        /// Certificates, where the endpoints are `https://`.
        tls: ClientTls,
    }
}
