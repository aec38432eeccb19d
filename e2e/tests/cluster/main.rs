//! The cluster as its users see it: real coordinators over a real etcd, real nodes, a real Kafka, and faults.
//!
//! One test program, so that all tests run beside each other; each has ports, an etcd and a topic of its own.

mod coordinator;
mod coordinator_faults;
mod demo;
mod devices;
mod equality;
mod etcd;
mod layouts;
mod losses;
mod node_faults;
mod options;
mod partitions;
mod refusals;
mod sharing;
mod spreading;
mod store_faults;
