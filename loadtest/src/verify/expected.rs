//! The record that must come out for a generated one: what the contract (`flow.proto`) says of each field, applied to
//! what the generator put into the datagram.

use std::net::IpAddr;

use catchment_proto::flow::v1::FlowRecord;
use catchment_proto::flow::v1::flow_record::{FlowType, LayerStack};

use crate::encode::packet::{
    ETHERNET_LENGTH, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4_LENGTH, IPV6_LENGTH, TAG_LENGTH, TCP_LENGTH,
    UDP_LENGTH, destination_mac, source_mac,
};
use crate::encode::sflow::{Extended, LOCAL_PREFERENCE};
use crate::exporter::Exporter;
use crate::model::{Addresses, GeneratedFlow, Sampler, TCP};
use crate::workload::Protocol;

/// The three bits above IPv4's fragment offset with "don't fragment" set.
const DONT_FRAGMENT: u32 = 2;

/// The record of `exporter`'s flow `number`, except for what only the node knows: when it received it, and its own name.
/// `received_ns` stands in where a record's times are those of its reception (sFlow).
pub(super) fn record(exporter: &Exporter, number: u64, received_ns: u64) -> FlowRecord {
    let flow = exporter.flow(number);
    let mut record = common(exporter, &flow);
    record.sequence_num = exporter.sequence(number / exporter.records_per_datagram);
    record.time_received_ns = received_ns;
    if exporter.protocol == Protocol::Sflow {
        record.time_flow_start_ns = received_ns;
        record.time_flow_end_ns = received_ns;
        sampled(&mut record, exporter, &flow);
    } else {
        let boot_time = exporter.life_of(number / exporter.records_per_datagram).boot_time;
        let boot_ns = u64::from(boot_time) * 1_000_000_000;
        record.time_flow_start_ns = boot_ns + u64::from(flow.start_ms) * 1_000_000;
        record.time_flow_end_ns = boot_ns + u64::from(flow.end_ms) * 1_000_000;
        record.bytes = flow.octets.into();
        record.packets = flow.packets.into();
        record.dst_as = flow.dst_as.into();
        accounted(&mut record, exporter, &flow);
    }
    record
}

/// What every protocol says.
fn common(exporter: &Exporter, flow: &GeneratedFlow) -> FlowRecord {
    let kind = match exporter.protocol {
        Protocol::V5 => FlowType::NetflowV5,
        Protocol::V9 => FlowType::NetflowV9,
        Protocol::Ipfix => FlowType::Ipfix,
        Protocol::Sflow => FlowType::Sflow5,
    };
    let (src_addr, dst_addr, next_hop, etype) = match flow.addresses {
        Addresses::V4 { src, dst, next_hop } => {
            let octets = |address: u32| address.to_be_bytes().to_vec();
            (octets(src), octets(dst), octets(next_hop), ETHERTYPE_IPV4)
        }
        Addresses::V6 { src, dst, next_hop } => {
            let octets = |address: u128| address.to_be_bytes().to_vec();
            (octets(src), octets(dst), octets(next_hop), ETHERTYPE_IPV6)
        }
    };
    FlowRecord {
        r#type: kind.into(),
        sampler_address: match exporter.address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        },
        observation_domain_id: exporter.domain,
        src_addr,
        dst_addr,
        next_hop,
        etype: etype.into(),
        src_net: flow.src_mask.into(),
        dst_net: flow.dst_mask.into(),
        in_if: flow.in_if.into(),
        out_if: flow.out_if.into(),
        src_as: flow.src_as.into(),
        proto: flow.proto.into(),
        src_port: flow.src_port.into(),
        dst_port: flow.dst_port.into(),
        tcp_flags: flow.tcp_flags.into(),
        ip_tos: flow.tos.into(),
        ..FlowRecord::default()
    }
}

/// What NetFlow and IPFIX add.
fn accounted(record: &mut FlowRecord, exporter: &Exporter, flow: &GeneratedFlow) {
    match exporter.protocol {
        // The header has one sampler only.
        Protocol::V5 => record.sampling_rate = exporter.rate(Sampler::First).into(),
        Protocol::V9 => {
            record.sampling_rate = exporter.rate(flow.sampler).into();
            record.flow_direction = flow.direction.into();
            record.forwarding_status = flow.forwarding_status.into();
        }
        Protocol::Ipfix => {
            record.sampling_rate = exporter.rate(flow.sampler).into();
            record.flow_direction = flow.direction.into();
            record.flow_end_reason = flow.end_reason.into();
            record.src_sgt = flow.src_sgt.into();
            record.dst_sgt = flow.dst_sgt.into();
            record.application_name = flow.application.to_owned();
            if matches!(flow.addresses, Addresses::V6 { .. }) {
                record.ipv6_flow_label = flow.flow_label;
            }
        }
        Protocol::Sflow => {}
    }
}

/// What a sampled packet and the records around it say.
fn sampled(record: &mut FlowRecord, exporter: &Exporter, flow: &GeneratedFlow) {
    let extended = Extended::of(flow);
    record.sampling_rate = exporter.rate(flow.sampler).into();
    record.bytes = flow.frame_length.into();
    record.packets = 1;
    record.src_mac = source_mac(flow);
    record.dst_mac = destination_mac(flow);
    record.ip_ttl = flow.ttl.into();
    record.src_vlan = extended.src_vlan;
    record.src_priority = extended.src_priority;
    record.dst_vlan = extended.dst_vlan;
    record.dst_priority = extended.dst_priority;
    record.bgp_next_hop.clone_from(&record.next_hop);
    record.next_hop_as = extended.as_path[0];
    record.dst_as = extended.as_path[1];
    record.as_path = extended.as_path.to_vec();
    record.src_peer_as = extended.src_peer_as;
    record.bgp_communities = extended.communities.to_vec();
    record.bgp_local_pref = LOCAL_PREFERENCE;
    let mut layer = |kind: LayerStack, size: u16| {
        record.layer_stack.push(kind.into());
        record.layer_size.push(size.into());
    };
    layer(LayerStack::Ethernet, ETHERNET_LENGTH);
    if flow.vlan.is_some() {
        layer(LayerStack::Dot1Q, TAG_LENGTH);
    }
    match flow.addresses {
        Addresses::V4 { .. } => layer(LayerStack::IPv4, IPV4_LENGTH),
        Addresses::V6 { .. } => layer(LayerStack::IPv6, IPV6_LENGTH),
    }
    match flow.proto {
        TCP => layer(LayerStack::Tcp, TCP_LENGTH),
        _ => layer(LayerStack::Udp, UDP_LENGTH),
    }
    record.vlan_id = flow.vlan.unwrap_or(0).into();
    match flow.addresses {
        Addresses::V4 { .. } => {
            record.fragment_id = flow.fragment_id.into();
            record.ip_flags = DONT_FRAGMENT;
        }
        Addresses::V6 { .. } => record.ipv6_flow_label = flow.flow_label,
    }
}
