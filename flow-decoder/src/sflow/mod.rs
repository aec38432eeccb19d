//! sFlow version 5 (sflow.org, `sflow_version_5.txt`): samples of packets, counters and drops.
//!
//! ```text
//! datagram -> samples -> records       each of them a length-delimited structure in XDR (RFC 4506)
//!   flow sample      raw header, switch, router, gateway ...  -> FlowRecord
//!   counter sample   interface, Ethernet, processor ...       -> SflowCounters
//!   drop sample      as a flow sample, and why                -> SflowDrop
//! ```
//!
//! Lengths delimit: a damaged or unknown record costs that record, a damaged sample that sample. Loops end with the bytes that
//! are there, whatever a count says.

mod circumstances;
mod counter_layout;
mod counter_sample;
mod datagram;
mod drop_sample;
mod extended;
mod fields;
mod flow_record;
mod flow_sample;
mod gateway;
mod records;
mod sampled;
mod xdr;

#[cfg(test)]
pub(crate) use counter_layout::typed as typed_counters;
pub(crate) use datagram::decode;
pub(crate) use records::bodies;
