//! Black-box tests of the real binaries against real Kafka, and what they share.

#![forbid(unsafe_code)]

pub mod binaries;
