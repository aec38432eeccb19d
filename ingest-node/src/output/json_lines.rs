//! Batches of flow records as JSON lines, for people and their scripts.
//!
//! This is the slow way out: each record is decoded again and rendered.

use catchment_proto::flow::v1::FlowRecord;
use catchment_proto::json::ToJson;
use flow_decoder::RecordBuffer;
use prost::Message;

/// Appends one line for each record to `lines`, and says how many records could not be rendered.
pub(super) fn render(records: &RecordBuffer, lines: &mut Vec<u8>) -> u64 {
    let mut unreadable = 0;
    for record in records.iter() {
        match FlowRecord::decode(record) {
            Ok(record) => {
                record.write_json(lines);
                lines.push(b'\n');
            }
            Err(_) => unreadable += 1,
        }
    }
    unreadable
}
