//! The ingest daemon: receives datagrams, decodes them and publishes the records.
//!
//! This library holds the whole of the program, so that tests and benchmarks reach its parts; `main.rs` is
//! only the entry. The modules in the order of a datagram's life are described in docs/architecture.md.

#![forbid(unsafe_code)]

pub mod app;
pub mod capture;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod control;
pub mod decode_command;
pub mod flow;
pub mod fuzzing;
pub mod http;
pub mod ledger;
pub mod live;
pub mod metrics;
pub mod node;
pub mod output;
pub mod process;
pub mod sequences;
pub mod shared_scope;
pub mod source;
pub mod state;
pub mod status;
pub mod tail;
