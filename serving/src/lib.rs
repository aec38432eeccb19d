//! What the daemons of Catchment have in common: how they serve, how they connect to each other, how they log and stop.
//!
//! - [`grpc`]: a gRPC port with health and reflection on it, TLS from files, and connections over several endpoints that
//!   come back.
//! - [`http`]: the probes, `/metrics`, `/health`; [`healthcheck`] asks them.
//! - [`logging`], [`LogLimit`], [`Signals`]: log lines, the bound on repeated ones, and what ends or reloads a process.
//!
//! What a daemon says about itself (its status, its services) is its own; nothing here knows of flows or templates.

#![forbid(unsafe_code)]

pub mod grpc;
pub mod healthcheck;
pub mod http;
mod log_limit;
pub mod logging;
pub mod metrics;
mod reason;
mod signals;

pub use log_limit::LogLimit;
pub use reason::{reason, status_reason};
pub use signals::{Signal, Signals};

/// Version and commit, such as `0.1.0 (84aa58d9c0de)`; all programs of one build have the same.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("CATCHMENT_COMMIT"), ")");
