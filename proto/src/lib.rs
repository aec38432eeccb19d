//! Catchment's contracts: the protobuf messages that leave on Kafka, as generated types.
//!
//! The `.proto` files beside this crate are the source; every message and field there says its unit and where it comes
//! from; [`json`] is their rendering for people. Nothing here knows of sockets, Kafka or the cluster.

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

/// The compiled `FileDescriptorSet` of all contracts, for reflection and for consumers without the `.proto` files.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
