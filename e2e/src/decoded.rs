//! What `ingest-node decode` makes of captures, for comparison with what the running node makes of the same datagrams.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use catchment_proto::flow::v1::FlowRecord;
use catchment_proto::flow::v1::flow_record::FlowType;
use prost::Message as _;

use crate::binaries::binary;
use crate::kafka::delimited;

/// The messages of one kind (`flow`, `counters`, `drops`, `options`) in the captures.
///
/// # Errors
/// Where they cannot be decoded.
pub fn decode<M: prost::Message + Default>(kind: &str, captures: &[PathBuf]) -> Result<Vec<M>> {
    let mut command = Command::new(binary("ingest-node")?);
    command.args(["decode", "--format", "protobuf", "--kinds", kind]).args(captures);
    let output = command.output().context("ingest-node decode")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    delimited(&output.stdout)
}

/// The records without what depends on how and when they were received, in an order of their own.
pub fn comparable(records: Vec<FlowRecord>) -> Vec<FlowRecord> {
    let mut records: Vec<_> = records.into_iter().map(without_reception).collect();
    records.sort_by_cached_key(FlowRecord::encode_to_vec);
    records
}

/// The record without what depends on how and when it was received.
pub fn without_reception(mut record: FlowRecord) -> FlowRecord {
    record.time_received_ns = 0;
    // `loadtest replay` sends from loopback addresses, so that the agent's own stands beside the exporter's.
    record.sampler_address.clear();
    record.agent_address.clear();
    if record.r#type() == FlowType::Sflow5 {
        // sFlow has no time of its own: these are when it was received.
        (record.time_flow_start_ns, record.time_flow_end_ns) = (0, 0);
    }
    record
}

/// Fails with the first record that differs, not with two thousand.
///
/// # Errors
/// Where the records are not the same.
pub fn same(found: Vec<FlowRecord>, expected: Vec<FlowRecord>) -> Result<()> {
    let (found, expected) = (comparable(found), comparable(expected));
    ensure!(found.len() == expected.len(), "{} records, not {}", found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        ensure!(found == expected, "found {found:#?}\nexpected {expected:#?}");
    }
    Ok(())
}
