//! `FlowRecord` is wire-compatible with goflow2's `FlowMessage`: the same numbers and types, and nothing else below 200.

use std::collections::BTreeMap;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FileDescriptorSet};

/// goflow2's fields: number, name, type.
const SINGULAR: &[(i32, &str, Type)] = {
    use Type::{Bytes, Enum, Uint32, Uint64};
    &[
        (1, "type", Enum),
        (3, "sampling_rate", Uint64),
        (4, "sequence_num", Uint32),
        (6, "src_addr", Bytes),
        (7, "dst_addr", Bytes),
        (9, "bytes", Uint64),
        (10, "packets", Uint64),
        (11, "sampler_address", Bytes),
        (12, "next_hop", Bytes),
        (13, "next_hop_as", Uint32),
        (14, "src_as", Uint32),
        (15, "dst_as", Uint32),
        (16, "src_net", Uint32),
        (17, "dst_net", Uint32),
        (18, "in_if", Uint32),
        (19, "out_if", Uint32),
        (20, "proto", Uint32),
        (21, "src_port", Uint32),
        (22, "dst_port", Uint32),
        (23, "ip_tos", Uint32),
        (24, "forwarding_status", Uint32),
        (25, "ip_ttl", Uint32),
        (26, "tcp_flags", Uint32),
        (27, "src_mac", Uint64),
        (28, "dst_mac", Uint64),
        (29, "vlan_id", Uint32),
        (30, "etype", Uint32),
        (31, "icmp_type", Uint32),
        (32, "icmp_code", Uint32),
        (33, "src_vlan", Uint32),
        (34, "dst_vlan", Uint32),
        (35, "fragment_id", Uint32),
        (36, "fragment_offset", Uint32),
        (37, "ipv6_flow_label", Uint32),
        (38, "ip_flags", Uint32),
        (39, "ingress_vrf_id", Uint32),
        (40, "egress_vrf_id", Uint32),
        (41, "bi_flow_direction", Uint32),
        (42, "flow_direction", Uint32),
        (70, "observation_domain_id", Uint32),
        (71, "observation_point_id", Uint32),
        (100, "bgp_next_hop", Bytes),
        (106, "ipv6_routing_header_seg_left", Uint32),
        (110, "time_received_ns", Uint64),
        (111, "time_flow_start_ns", Uint64),
        (112, "time_flow_end_ns", Uint64),
    ]
};

/// goflow2's repeated fields.
const REPEATED: &[(i32, &str, Type)] = {
    use Type::{Bytes, Enum, Uint32};
    &[
        (80, "mpls_ttl", Uint32),
        (81, "mpls_label", Uint32),
        (82, "mpls_ip", Bytes),
        (101, "bgp_communities", Uint32),
        (102, "as_path", Uint32),
        (103, "layer_stack", Enum),
        (104, "layer_size", Uint32),
        (105, "ipv6_routing_header_addresses", Bytes),
    ]
};

/// The first number of our own.
const OURS: i32 = 200;

fn flow_record() -> DescriptorProto {
    let files = FileDescriptorSet::decode(catchment_proto::FILE_DESCRIPTOR_SET).expect("the build wrote it");
    let messages = files.file.into_iter().flat_map(|file| file.message_type);
    messages.into_iter().find(|message| message.name() == "FlowRecord").expect("the message is there")
}

#[test]
fn fields_below_200_are_goflow2s() {
    let found: BTreeMap<_, _> = flow_record()
        .field
        .iter()
        .filter(|field| field.number() < OURS)
        .map(|field| (field.number(), (field.name().to_owned(), field.r#type(), field.label())))
        .collect();
    let row = |label: Label| {
        move |&(number, name, kind): &(i32, &str, Type)| (number, (name.to_owned(), kind, label))
    };
    let singular = SINGULAR.iter().map(row(Label::Optional));
    let expected: BTreeMap<_, _> = singular.chain(REPEATED.iter().map(row(Label::Repeated))).collect();
    assert_eq!(found, expected);
}

#[test]
fn numbers_below_200_that_are_not_used_are_reserved() {
    let record = flow_record();
    let is_field = |number| record.field.iter().any(|field| field.number() == number);
    // The end of a range is the first number behind it.
    let is_reserved =
        |number| record.reserved_range.iter().any(|range| (range.start()..range.end()).contains(&number));
    for number in 1..OURS {
        assert!(is_field(number) != is_reserved(number), "{number} must be a field or reserved");
    }
}

#[test]
fn enums_have_goflow2s_numbers() {
    let record = flow_record();
    let values = |name: &str| -> BTreeMap<String, i32> {
        let found = record.enum_type.iter().find(|found| found.name() == name).unwrap();
        found.value.iter().map(|value| (value.name().to_owned(), value.number())).collect()
    };
    let types = [("FLOWUNKNOWN", 0), ("SFLOW_5", 1), ("NETFLOW_V5", 2), ("NETFLOW_V9", 3), ("IPFIX", 4)];
    let layers = [
        ("Ethernet", 0),
        ("IPv4", 1),
        ("IPv6", 2),
        ("TCP", 3),
        ("UDP", 4),
        ("MPLS", 5),
        ("Dot1Q", 6),
        ("ICMP", 7),
        ("ICMPv6", 8),
        ("GRE", 9),
        ("IPv6HeaderRouting", 10),
        ("IPv6HeaderFragment", 11),
        ("Geneve", 12),
        ("Teredo", 13),
        ("Custom", 99),
    ];
    for (name, expected) in [("FlowType", &types[..]), ("LayerStack", &layers[..])] {
        let found = values(name);
        for (value, number) in expected {
            assert_eq!(found.get(*value), Some(number), "{name}.{value}");
        }
        let known: Vec<_> = expected.iter().map(|(value, _)| *value).collect();
        let ours = found.iter().filter(|(value, _)| !known.contains(&value.as_str()));
        assert!(ours.clone().all(|(_, number)| *number >= OURS), "{name}: {ours:?}");
    }
}
