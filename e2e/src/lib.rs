//! Black-box tests of the real binaries against real Kafka, and what they share.

#![forbid(unsafe_code)]

pub mod binaries;
pub mod broker;
pub mod catchctl;
pub mod certificates;
pub mod cluster;
pub mod consumer;
pub mod coordinator;
pub mod datagrams;
pub mod decoded;
pub mod device;
pub mod etcd;
pub mod exporters;
pub mod grpcurl;
pub mod http;
pub mod kafka;
pub mod ledger;
pub mod live;
pub mod load;
pub mod loadtest;
mod log;
pub mod metrics;
pub mod node;
pub mod options_data;
mod process;
pub mod proxy;
pub mod record_batch;
pub mod scale;
mod services;
pub mod testdata;
pub mod udp;
pub mod usage;
pub mod wait;
