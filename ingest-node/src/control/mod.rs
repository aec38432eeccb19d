//! The node's gRPC side: what it tells people and coordinators, and what they can ask of it.

pub mod messages;
