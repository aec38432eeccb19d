//! Names the fields in which two records differ.

use std::fmt::Debug;

use catchment_proto::flow::v1::FlowRecord;

/// One field that is not as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The field's name in `flow.proto`.
    pub field: &'static str,
    /// What was sent.
    pub expected: String,
    /// What was consumed.
    pub found: String,
}

/// Compares field by field. The pattern names every field of the message, so that a new one does not compile until it is
/// compared here.
macro_rules! compare_all {
    ($expected:expr, $found:expr, $($field:ident),* $(,)?) => {{
        let FlowRecord { $($field),* } = $expected;
        let mut differences = Vec::new();
        $(push_difference(&mut differences, stringify!($field), $field, &$found.$field);)*
        differences
    }};
}

/// The fields in which `found` is not `expected`, in the order of their numbers.
#[rustfmt::skip]
pub fn differences(expected: &FlowRecord, found: &FlowRecord) -> Vec<Difference> {
    compare_all!(
        expected, found,
        r#type, sampling_rate, sequence_num, src_addr, dst_addr, bytes, packets, sampler_address, next_hop, next_hop_as,
        src_as, dst_as, src_net, dst_net, in_if, out_if, proto, src_port, dst_port, ip_tos, forwarding_status, ip_ttl,
        tcp_flags, src_mac, dst_mac, vlan_id, etype, icmp_type, icmp_code, src_vlan, dst_vlan, fragment_id,
        fragment_offset, ipv6_flow_label, ip_flags, ingress_vrf_id, egress_vrf_id, bi_flow_direction, flow_direction,
        observation_domain_id, observation_point_id, mpls_ttl, mpls_label, mpls_ip, bgp_next_hop, bgp_communities,
        as_path, layer_stack, layer_size, ipv6_routing_header_addresses, ipv6_routing_header_seg_left,
        time_received_ns, time_flow_start_ns, time_flow_end_ns, zone, src_sgt, dst_sgt, src_sgt_name, dst_sgt_name,
        application_id, application_name, in_if_name, out_if_name, ingress_vrf_name, egress_vrf_name,
        post_nat_src_addr, post_nat_dst_addr, post_nat_src_port, post_nat_dst_port, nat_event, flow_end_reason,
        firewall_event, reverse_bytes, reverse_packets, reverse_tcp_flags, tunnel_type, tunnel_id, inner_src_addr,
        inner_dst_addr, inner_proto, inner_src_port, inner_dst_port, inner_etype, inner_src_mac, inner_dst_mac,
        inner_vlan_id, vlan_stack, src_priority, dst_priority, src_user, dst_user, src_peer_as, bgp_local_pref,
        mpls_out_label, collector_node, agent_address, acl_number, acl_name, acl_direction, forwarding_function,
        egress_queue, transit_delay_ns, queue_depth, extra,
    )
}

fn push_difference<T: PartialEq + Debug>(
    into: &mut Vec<Difference>,
    field: &'static str,
    expected: &T,
    found: &T,
) {
    if expected != found {
        let field = field.trim_start_matches("r#");
        into.push(Difference { field, expected: format!("{expected:?}"), found: format!("{found:?}") });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_differing_fields_are_named() {
        let expected =
            FlowRecord { r#type: 3, packets: 4, src_addr: vec![10, 0, 0, 1], ..FlowRecord::default() };
        assert_eq!(differences(&expected, &expected), []);
        let found = FlowRecord { r#type: 4, packets: 5, ..expected.clone() };
        let named: Vec<_> =
            differences(&expected, &found).into_iter().map(|d| (d.field, d.expected, d.found)).collect();
        assert_eq!(named, [("type", "3".into(), "4".into()), ("packets", "4".into(), "5".into())]);
    }
}
