//! A flow record as a line of columns. Widths are fixed, since nobody knows what comes: what is longer than its column moves the
//! rest of its line.

use std::net::IpAddr;

use catchment_proto::flow::v1::FlowRecord;
use catchment_proto::flow::v1::flow_record::FlowType;
use catchment_proto::json::{Address, ToJson as _};

use crate::output::{bytes, count, moment, printable};

/// The heads, as a line.
pub(super) fn head() -> String {
    columns(
        ["TIME (UTC)", "EXPORTER", "FROM", "PROTOCOL", "SOURCE", "DESTINATION", "PACKETS", "BYTES"]
            .map(str::to_owned),
    )
}

/// The record, as a line.
pub(super) fn line(record: &FlowRecord) -> String {
    let received = moment(record.time_received_ns as f64 / 1e9);
    let time = received.rsplit(' ').next().unwrap_or_default().to_owned();
    columns([
        time,
        printable(&Address(&record.sampler_address).to_string()),
        export_protocol(record.r#type()).to_owned(),
        protocol(record),
        endpoint(&record.src_addr, record.src_port),
        endpoint(&record.dst_addr, record.dst_port),
        count(record.packets),
        bytes(record.bytes),
    ])
}

fn columns([time, exporter, from, protocol, source, destination, packets, bytes]: [String; 8]) -> String {
    format!(
        "{time:<10}  {exporter:<15}  {from:<10}  {protocol:<9}  {source:<21}  {destination:<21}  {packets:>7}  {bytes:>10}\n"
    )
}

/// As the JSON rendering names it, which names are the contract for.
fn protocol(record: &FlowRecord) -> String {
    let alone = FlowRecord { proto: record.proto, ..FlowRecord::default() }.to_json();
    let shown: serde_json::Value = serde_json::from_str(&alone).unwrap_or_default();
    match &shown["proto"] {
        serde_json::Value::String(name) => name.clone(),
        _ => record.proto.to_string(),
    }
}

fn export_protocol(kind: FlowType) -> &'static str {
    match kind {
        FlowType::Flowunknown => "?",
        FlowType::Sflow5 => "sFlow v5",
        FlowType::NetflowV1 => "NetFlow v1",
        FlowType::NetflowV5 => "NetFlow v5",
        FlowType::NetflowV7 => "NetFlow v7",
        FlowType::NetflowV9 => "NetFlow v9",
        FlowType::Ipfix => "IPFIX",
    }
}

/// Address and port; the address alone where there is no port, `-` where there is no address.
fn endpoint(octets: &[u8], port: u32) -> String {
    let address = match octets.len() {
        4 | 16 => Address(octets).to_string().parse::<IpAddr>().ok(),
        _ => None,
    };
    match (address, port) {
        (None, _) => "-".to_owned(),
        (Some(address), 0) => address.to_string(),
        (Some(IpAddr::V4(address)), port) => format!("{address}:{port}"),
        (Some(IpAddr::V6(address)), port) => format!("[{address}]:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_a_line_each() {
        let record = FlowRecord {
            r#type: FlowType::NetflowV9.into(),
            time_received_ns: 1_795_269_152_000_000_000,
            sampler_address: vec![192, 0, 2, 1],
            src_addr: vec![198, 51, 100, 7],
            src_port: 50_000,
            dst_addr: vec![0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            dst_port: 443,
            proto: 6,
            packets: 12,
            bytes: 1_536,
            ..FlowRecord::default()
        };
        let wanted = "\
TIME (UTC)  EXPORTER         FROM        PROTOCOL   SOURCE                 DESTINATION            PACKETS       BYTES
13:52:32    192.0.2.1        NetFlow v9  TCP        198.51.100.7:50000     [2001:db8::1]:443           12     1.5 KiB
";
        assert_eq!(head() + &line(&record), wanted);
        let nothing = line(&FlowRecord { proto: 61, ..FlowRecord::default() });
        assert!(nothing.contains("?           61         -                      -"), "{nothing}");
    }
}
