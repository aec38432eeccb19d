//! Catchment's contracts as generated types: the messages that leave on Kafka, and the gRPC services of nodes and
//! coordinators.
//!
//! The `.proto` files beside this crate are the source; every message and field there says its unit and where it comes
//! from; [`json`] is the records' rendering for people. Nothing here knows of sockets, Kafka or the cluster.

#![forbid(unsafe_code)]

pub mod json;

/// Flow records, sFlow counters and drops, options records.
pub mod flow {
    /// Version 1.
    #[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/catchment.flow.v1.rs"));
    }
}

/// The cluster: sessions of nodes with coordinators, what they share, and its administration.
pub mod cluster {
    /// Version 1.
    #[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/catchment.cluster.v1.rs"));
    }
}

/// The control endpoint of a node, and what a node says about itself.
pub mod node {
    /// Version 1.
    #[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/catchment.node.v1.rs"));
    }
}

/// The compiled `FileDescriptorSet` of all contracts, for reflection and for consumers without the `.proto` files.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
