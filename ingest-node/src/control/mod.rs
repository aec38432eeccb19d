//! The node's gRPC side: what it tells people and coordinators, and what they can ask of it.

mod counts;
mod errors;
mod keys;
mod lists;
pub mod messages;
mod pages;
mod port;
mod service;
mod settings;
mod tail;

pub use counts::{CallCounts, Calls};
pub use port::ControlPort;
pub use service::Control;
