//! Catchment's load tests: an exporter simulator, a replayer and an end-to-end verifier.
//!
//! The generator and the verifier never talk to each other. Both compute the same records from the same options
//! ([`workload`], [`model`]), so the verifier knows each value that must come out of Kafka without having seen what was
//! sent; it knows only the published protobuf contract and none of the node's code.

#![forbid(unsafe_code)]

pub mod cli;
pub mod daemon;
pub mod demo;
pub mod duration;
pub mod encode;
pub mod exporter;
pub mod flood;
pub mod generate;
pub mod http;
pub mod identity;
pub mod kernel_drops;
pub mod measure;
pub mod model;
pub mod network;
pub mod node_ledger;
pub mod node_process;
pub mod pacer;
pub mod probe;
pub mod process_time;
pub mod random;
pub mod raw;
pub mod replay;
pub mod spread;
pub mod targets;
pub mod topic;
pub mod train;
pub mod transmit;
pub mod verify;
pub mod workload;
