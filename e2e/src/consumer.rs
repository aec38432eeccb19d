//! The consumer that knows goflow2's numbers alone (`consumer/goflow2.py`), and what it must say of a record.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use catchment_proto::flow::v1::FlowRecord;
use serde_json::{Value, json};

use crate::kafka::{Framing, Message};

/// A record as field number -> value; what is 0 or empty is left out, as proto3 leaves it out.
pub type Fields = BTreeMap<u32, Value>;

/// Debian's own interpreter, which has Debian's protobuf package, whichever python3 comes first in PATH.
const PYTHON: &str = "/usr/bin/python3";

/// Gives the messages to the consumer and reads what it prints.
///
/// # Errors
/// Where it cannot run, or cannot read the messages.
pub fn consume(framing: Framing, messages: &[Message]) -> Result<Vec<Fields>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("consumer/goflow2.py");
    let mut child = Command::new(PYTHON)
        .arg(script)
        .arg(framing.as_str())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("python3 does not start: dev/install-packages test installs what the tests need")?;
    let mut stdin = child.stdin.take().context("standard input is a pipe")?;
    let messages = messages.to_vec();
    let writer = std::thread::spawn(move || -> Result<()> {
        for message in &messages {
            stdin.write_all(&u32::try_from(message.payload.len())?.to_be_bytes())?;
            stdin.write_all(&message.payload)?;
        }
        Ok(())
    });
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "the consumer failed: {}", output.status);
    writer.join().map_err(|_| anyhow::anyhow!("the consumer's input"))??;
    let lines = String::from_utf8(output.stdout)?;
    lines.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// What a consumer of goflow2's numbers must find in a record: design section 4, in the same words.
pub fn goflow2_fields(record: &FlowRecord) -> Fields {
    let hex = |bytes: &Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let hexes = |list: &[Vec<u8>]| json!(list.iter().map(hex).collect::<Vec<_>>());
    let r = record;
    let all = [
        (1, json!(r.r#type)),
        (3, json!(r.sampling_rate)),
        (4, json!(r.sequence_num)),
        (6, json!(hex(&r.src_addr))),
        (7, json!(hex(&r.dst_addr))),
        (9, json!(r.bytes)),
        (10, json!(r.packets)),
        (11, json!(hex(&r.sampler_address))),
        (12, json!(hex(&r.next_hop))),
        (13, json!(r.next_hop_as)),
        (14, json!(r.src_as)),
        (15, json!(r.dst_as)),
        (16, json!(r.src_net)),
        (17, json!(r.dst_net)),
        (18, json!(r.in_if)),
        (19, json!(r.out_if)),
        (20, json!(r.proto)),
        (21, json!(r.src_port)),
        (22, json!(r.dst_port)),
        (23, json!(r.ip_tos)),
        (24, json!(r.forwarding_status)),
        (25, json!(r.ip_ttl)),
        (26, json!(r.tcp_flags)),
        (27, json!(r.src_mac)),
        (28, json!(r.dst_mac)),
        (29, json!(r.vlan_id)),
        (30, json!(r.etype)),
        (31, json!(r.icmp_type)),
        (32, json!(r.icmp_code)),
        (33, json!(r.src_vlan)),
        (34, json!(r.dst_vlan)),
        (35, json!(r.fragment_id)),
        (36, json!(r.fragment_offset)),
        (37, json!(r.ipv6_flow_label)),
        (38, json!(r.ip_flags)),
        (39, json!(r.ingress_vrf_id)),
        (40, json!(r.egress_vrf_id)),
        (41, json!(r.bi_flow_direction)),
        (42, json!(r.flow_direction)),
        (70, json!(r.observation_domain_id)),
        (71, json!(r.observation_point_id)),
        (80, json!(r.mpls_ttl)),
        (81, json!(r.mpls_label)),
        (82, hexes(&r.mpls_ip)),
        (100, json!(hex(&r.bgp_next_hop))),
        (101, json!(r.bgp_communities)),
        (102, json!(r.as_path)),
        (103, json!(r.layer_stack)),
        (104, json!(r.layer_size)),
        (105, hexes(&r.ipv6_routing_header_addresses)),
        (106, json!(r.ipv6_routing_header_seg_left)),
        (110, json!(r.time_received_ns)),
        (111, json!(r.time_flow_start_ns)),
        (112, json!(r.time_flow_end_ns)),
    ];
    all.into_iter()
        .filter(|(_, value)| *value != json!(0) && *value != json!("") && *value != json!([]))
        .collect()
}
