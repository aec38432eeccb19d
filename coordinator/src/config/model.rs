//! The configuration as types: an immutable tree of plain structs, one per section of the file.
//!
//! Doc comments here are the text of docs/coordinator-configuration.md, so they say what a key does to someone who has never
//! seen this code. Defaults and limits stand beside the fields they belong to.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use catchment_serving::grpc::{ClientTls, ServerTls};
use catchment_serving::http::ProbePort;
use catchment_serving::logging::Log;
use catchment_settings::{ByteSize, Endpoint, HostPort, Label, Secret, choice, section};

choice! {
    /// Where the shared state is kept.
    Store {
        /// In etcd: coordinators come and go, the state stays.
        Etcd = "etcd",
        /// In the memory of this one coordinator: gone when it ends. Nodes bring what they know.
        Memory = "memory",
    }
}

section! {
    /// The configuration of a coordinator.
    ///
    /// `default()` is the coordinator without configuration, apart from what the host decides and only `load` fills in.
    Config {
        /// The name of this replica, for people. It must be unique among the coordinators of the cluster.
        id: Label = "localhost" (as "the host's name and the gRPC port"),
        /// The cluster's name. Nodes of another cluster are refused; several clusters can share an etcd.
        cluster: Label = "default",
        /// Where gRPC (`NodeSession`, `ClusterAdmin`) is served.
        grpc: SocketAddr = "0.0.0.0:7400",
        /// Where other coordinators reach this one's gRPC.
        advertise: HostPort = "localhost:7400" (as "the host's name and the gRPC port"),
        /// Where HTTP is served: `/metrics`, `/metrics.json`, `/livez`, `/readyz`, `/health`.
        http: SocketAddr = "0.0.0.0:8082",
        /// How long a shutdown may take, from the signal to the end of the process.
        shutdown_timeout: Duration = "10s" in "0" to "1h",
        /// Log lines, on standard error.
        log: Log,
        /// Probes without certificates.
        health: ProbePort,
        /// The certificate of the gRPC port.
        tls: ServerTls,
        /// Where the shared state is kept.
        store: Store = "memory" (as "`etcd` when `etcd.endpoints` is set, else `memory`"),
        /// The connection to etcd.
        etcd: Etcd,
        /// What is kept of exporters.
        templates: Templates,
        /// How much that is new is taken.
        uplink: Uplink,
        /// Registrations of nodes and coordinators.
        lease: Lease,
        /// The connections to the other coordinators.
        peers: Peers,
    }
}

section! {
    /// The connections to the other coordinators.
    Peers {
        /// Certificates of these connections, where `tls.cert_file` is set. What is empty here is taken from `tls`: the authority for
        /// clients, this port's certificate and key.
        tls: ClientTls,
    }
}

section! {
    /// The connection to etcd (`store: etcd`).
    Etcd {
        /// The members of the etcd cluster, any of which will do.
        endpoints: Vec<Endpoint> = "",
        /// User name; empty: no authentication.
        username: Option<String> = "",
        /// Password.
        password: Option<Secret> = "",
        /// A file that holds the password.
        password_file: Option<PathBuf> = "",
        /// Certificates, where the endpoints are `https://`.
        tls: ClientTls,
        /// How long etcd may take to answer before another member is asked.
        timeout: Duration = "5s" in "100ms" to "1m",
        /// How often everything is read again, as a check of what was watched.
        relist: Duration = "5m" in "10s" to "1d",
    }
}

section! {
    /// What is kept of exporters.
    Templates {
        /// How long the templates of an exporter's domain are kept that no node sees.
        retention: Duration = "7d" in "1m" to "3650d",
        /// Domains of all exporters. One that is new beyond that is refused, and counted.
        max_domains: NonZeroUsize = "300000" in "1" to "10000000",
        /// Size of all templates and options state, as they are stored; in memory they take about three times as much.
        /// Domains that are new beyond that are refused, and counted.
        max_bytes: ByteSize = "96MiB" in "1MiB" to "64GiB",
    }
}

section! {
    /// How much that is new is taken from nodes, so that a flood of spoofed templates costs little. A refresh of what is known
    /// is never limited. What is above a rate waits at the node.
    Uplink {
        /// Changed templates of one exporter a second; nodes send no more than 4.
        exporter_rate: NonZeroU32 = "4" in "1" to "1000000",
        /// Changed templates of one exporter at once; nodes send no more than 256.
        exporter_burst: NonZeroU32 = "256" in "1" to "1000000",
        /// New domains from one node a second.
        node_rate: NonZeroU32 = "50" in "1" to "1000000",
        /// New domains from one node at once.
        node_burst: NonZeroU32 = "5000" in "1" to "1000000",
        /// New domains from all nodes a second.
        total_rate: NonZeroU32 = "100" in "1" to "1000000",
        /// New domains from all nodes at once.
        total_burst: NonZeroU32 = "10000" in "1" to "1000000",
        /// Changes of known domains a second.
        change_rate: NonZeroU32 = "1000" in "1" to "1000000",
        /// Changes of known domains at once.
        change_burst: NonZeroU32 = "10000" in "1" to "1000000",
        /// Transactions a second that write templates and options state; each takes what has gathered.
        writes: NonZeroU32 = "10" in "1" to "10000",
    }
}

section! {
    /// Registrations of nodes and coordinators.
    Lease {
        /// How long a registration outlives a coordinator that has ended, or etcd's silence.
        ttl: Duration = "15s" in "2s" to "10m",
    }
}
