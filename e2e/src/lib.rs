//! Black-box tests of the real binaries against real Kafka.

#![forbid(unsafe_code)]
