//! What every reader can be asked for of a record.

use std::collections::BTreeMap;
use std::net::IpAddr;

use catchment_proto::flow::v1::FlowRecord;
use catchment_proto::flow::v1::flow_record::FlowType;

/// A data record or flow sample. What a record does not say is 0 or `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are those of the record's fields")]
pub struct Flow {
    pub source: Option<IpAddr>,
    pub destination: Option<IpAddr>,
    pub protocol: u64,
    pub source_port: u64,
    pub destination_port: u64,
    pub octets: u64,
    pub packets: u64,
    pub reverse_octets: u64,
    pub reverse_packets: u64,
    pub tos: u64,
    pub tcp_flags: u64,
    pub input: u64,
    pub output: u64,
    /// Milliseconds since 1970; sFlow has no times of its own.
    pub start: u64,
    pub end: u64,
    /// Of the sample; flow records are not asked for theirs.
    pub sampling_rate: u64,
}

impl From<&FlowRecord> for Flow {
    fn from(record: &FlowRecord) -> Self {
        let sflow = record.r#type() == FlowType::Sflow5;
        let ms = |ns: u64| if sflow { 0 } else { ns / 1_000_000 };
        Self {
            source: address(&record.src_addr),
            destination: address(&record.dst_addr),
            protocol: record.proto.into(),
            source_port: record.src_port.into(),
            destination_port: record.dst_port.into(),
            octets: record.bytes,
            packets: record.packets,
            reverse_octets: record.reverse_bytes,
            reverse_packets: record.reverse_packets,
            tos: record.ip_tos.into(),
            tcp_flags: record.tcp_flags.into(),
            input: record.in_if.into(),
            output: record.out_if.into(),
            start: ms(record.time_flow_start_ns),
            end: ms(record.time_flow_end_ns),
            sampling_rate: if sflow { record.sampling_rate } else { 0 },
        }
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
        _ => None,
    }
}

/// What one has and the other has not, each as often as that, `-` for what is missed in `found`; nothing where they are the same.
pub fn differences(found: &[Flow], expected: &[Flow]) -> Vec<String> {
    let mut balance: BTreeMap<&Flow, i64> = BTreeMap::new();
    for flow in found {
        *balance.entry(flow).or_default() += 1;
    }
    for flow in expected {
        *balance.entry(flow).or_default() -= 1;
    }
    balance.retain(|_, count| *count != 0);
    balance.into_iter().map(|(flow, count)| format!("{count:+} {flow:?}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_more_less_or_different_is_found() {
        let flows = |octets: &[u64]| -> Vec<Flow> {
            octets.iter().map(|octets| Flow { octets: *octets, ..Flow::default() }).collect()
        };
        assert!(differences(&flows(&[1, 2, 2]), &flows(&[2, 1, 2])).is_empty());
        assert_eq!(differences(&flows(&[1, 2]), &flows(&[2, 1, 2])).len(), 1);
        let other = differences(&flows(&[1, 2]), &flows(&[1, 3]));
        assert!(other[0].starts_with("+1") && other[1].starts_with("-1"), "{other:?}");
    }
}
