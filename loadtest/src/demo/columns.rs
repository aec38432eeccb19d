//! A flow record as a person reads it: one text per column.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use catchment_proto::flow::v1::FlowRecord;
use catchment_proto::flow::v1::flow_record::FlowType;

/// Heads of the columns of [`of`].
pub(super) const HEADS: [&str; 8] =
    ["exporter", "protocol", "source", "destination", "ip", "packets", "bytes", "sampled"];

/// The columns of one record.
pub(super) fn of(record: &FlowRecord) -> [String; 8] {
    [
        address(&record.sampler_address).map_or_else(String::new, |address| address.to_string()),
        export_protocol(record.r#type()).to_owned(),
        endpoint(&record.src_addr, record.src_port),
        endpoint(&record.dst_addr, record.dst_port),
        ip_protocol(record.proto),
        grouped(record.packets),
        grouped(record.bytes),
        if record.sampling_rate > 1 { format!("1:{}", record.sampling_rate) } else { String::new() },
    ]
}

/// A number with a comma between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
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

fn ip_protocol(number: u32) -> String {
    let name = match number {
        1 => "ICMP",
        2 => "IGMP",
        4 => "IPIP",
        6 => "TCP",
        17 => "UDP",
        41 => "IPv6",
        47 => "GRE",
        50 => "ESP",
        58 => "ICMPv6",
        89 => "OSPF",
        132 => "SCTP",
        _ => return number.to_string(),
    };
    name.to_owned()
}

/// Address and port; the address alone where there is no port, nothing where there is no address.
fn endpoint(octets: &[u8], port: u32) -> String {
    match (address(octets), u16::try_from(port)) {
        (None, _) => String::new(),
        (Some(address), Ok(port)) if port > 0 => SocketAddr::new(address, port).to_string(),
        (Some(address), _) => address.to_string(),
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(octets).ok().map(Ipv6Addr::from).map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_readable() {
        let record = FlowRecord {
            r#type: FlowType::NetflowV9.into(),
            sampler_address: vec![127, 2, 0, 1],
            src_addr: vec![10, 0, 0, 1],
            dst_addr: Ipv6Addr::LOCALHOST.octets().to_vec(),
            dst_port: 443,
            proto: 6,
            packets: 12,
            bytes: 1_234_567,
            sampling_rate: 10,
            ..FlowRecord::default()
        };
        assert_eq!(
            of(&record),
            ["127.2.0.1", "NetFlow v9", "10.0.0.1", "[::1]:443", "TCP", "12", "1,234,567", "1:10"]
        );
        assert_eq!(of(&FlowRecord::default())[2], "");
    }

    #[test]
    fn thousands_are_set_apart() {
        let grouped = [0, 999, 1_000, 1_000_000].map(grouped);
        assert_eq!(grouped, ["0", "999", "1,000", "1,000,000"]);
    }
}
