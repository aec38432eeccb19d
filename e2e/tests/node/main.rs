//! The node as its users see it: real binaries, real sockets, a real Kafka.
//!
//! One test program, so that all tests run beside each other; most of their time is waiting. Each has ports and topics
//! of its own, and every node is held to the ledger when it stops (`catchment_e2e::ledger`).

mod broker_outage;
mod contents;
mod control;
mod goflow2;
mod health;
mod hostile_input;
mod kernel_drops;
mod outputs;
mod partitions;
mod ports;
mod reload;
mod security;
mod shutdown;
mod state_dir;
mod streams;
mod templates;
