//! The node as its users see it: real binaries, real sockets, a real Kafka.
//!
//! One test program, so that all tests run beside each other; most of their time is waiting. Each has ports and topics
//! of its own, and every node is held to the ledger when it stops (`catchment_e2e::ledger`).

mod contents;
mod goflow2;
mod partitions;
mod streams;
