//! The ingest daemon: receives datagrams, decodes them and publishes the records.
//!
//! This library holds the whole of the program, so that tests and benchmarks reach its parts; `main.rs` is
//! only the entry. The modules in the order of a datagram's life are described in docs/architecture.md.

#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod healthcheck;
pub mod ledger;
pub mod output;
