//! `FlowRecord` as JSON, fields in the order of their numbers.

use std::fmt;

use super::object::{Hex, Object, number_or_name};
use super::{ToJson, names};
use crate::flow::v1::flow_record::{FlowType, LayerStack};
use crate::flow::v1::{FlowRecord, TunnelType};

impl ToJson for FlowRecord {
    fn write_json(&self, out: &mut Vec<u8>) {
        let mut o = Object::begin(out);
        exporter_and_counters(self, &mut o);
        packet_headers(self, &mut o);
        routing_and_times(self, &mut o);
        own_fields(self, &mut o);
        o.end();
    }
}

fn exporter_and_counters(r: &FlowRecord, o: &mut Object<'_>) {
    let flow_type = FlowType::try_from(r.r#type).ok();
    o.named("type", r.r#type as u32, flow_type.map(|t| t.as_str_name()));
    o.uint("sampling_rate", r.sampling_rate);
    o.uint("sequence_num", r.sequence_num);
    o.address("src_addr", &r.src_addr);
    o.address("dst_addr", &r.dst_addr);
    o.uint("bytes", r.bytes);
    o.uint("packets", r.packets);
    o.address("sampler_address", &r.sampler_address);
    o.address("next_hop", &r.next_hop);
    o.uint("next_hop_as", r.next_hop_as);
    o.uint("src_as", r.src_as);
    o.uint("dst_as", r.dst_as);
    o.uint("src_net", r.src_net);
    o.uint("dst_net", r.dst_net);
    o.uint("in_if", r.in_if);
    o.uint("out_if", r.out_if);
}

fn packet_headers(r: &FlowRecord, o: &mut Object<'_>) {
    o.named("proto", r.proto, names::protocol(r.proto));
    o.uint("src_port", r.src_port);
    o.uint("dst_port", r.dst_port);
    o.uint("ip_tos", r.ip_tos);
    o.uint("forwarding_status", r.forwarding_status);
    o.uint("ip_ttl", r.ip_ttl);
    o.uint("tcp_flags", r.tcp_flags);
    o.mac("src_mac", r.src_mac);
    o.mac("dst_mac", r.dst_mac);
    o.uint("vlan_id", r.vlan_id);
    o.named("etype", r.etype, names::etype(r.etype));
    o.uint("icmp_type", r.icmp_type);
    o.uint("icmp_code", r.icmp_code);
    o.uint("src_vlan", r.src_vlan);
    o.uint("dst_vlan", r.dst_vlan);
    o.uint("fragment_id", r.fragment_id);
    o.uint("fragment_offset", r.fragment_offset);
    o.uint("ipv6_flow_label", r.ipv6_flow_label);
    o.uint("ip_flags", r.ip_flags);
    o.uint("ingress_vrf_id", r.ingress_vrf_id);
    o.uint("egress_vrf_id", r.egress_vrf_id);
    o.uint("bi_flow_direction", r.bi_flow_direction);
    o.uint("flow_direction", r.flow_direction);
}

fn routing_and_times(r: &FlowRecord, o: &mut Object<'_>) {
    o.uint("observation_domain_id", r.observation_domain_id);
    o.uint("observation_point_id", r.observation_point_id);
    o.uints("mpls_ttl", &r.mpls_ttl);
    o.uints("mpls_label", &r.mpls_label);
    o.addresses("mpls_ip", &r.mpls_ip);
    o.address("bgp_next_hop", &r.bgp_next_hop);
    o.uints("bgp_communities", &r.bgp_communities);
    o.uints("as_path", &r.as_path);
    o.array("layer_stack", &r.layer_stack, |out, &layer| {
        let name = LayerStack::try_from(layer).ok().map(|layer| layer.as_str_name());
        number_or_name(out, layer as u32, name);
    });
    o.uints("layer_size", &r.layer_size);
    o.addresses("ipv6_routing_header_addresses", &r.ipv6_routing_header_addresses);
    o.uint("ipv6_routing_header_seg_left", r.ipv6_routing_header_seg_left);
    o.uint("time_received_ns", r.time_received_ns);
    o.uint("time_flow_start_ns", r.time_flow_start_ns);
    o.uint("time_flow_end_ns", r.time_flow_end_ns);
}

fn own_fields(r: &FlowRecord, o: &mut Object<'_>) {
    o.string("zone", &r.zone);
    o.uint("src_sgt", r.src_sgt);
    o.uint("dst_sgt", r.dst_sgt);
    o.string("src_sgt_name", &r.src_sgt_name);
    o.string("dst_sgt_name", &r.dst_sgt_name);
    if !r.application_id.is_empty() {
        o.text("application_id", ApplicationId(&r.application_id));
    }
    o.string("application_name", &r.application_name);
    o.string("in_if_name", &r.in_if_name);
    o.string("out_if_name", &r.out_if_name);
    o.string("ingress_vrf_name", &r.ingress_vrf_name);
    o.string("egress_vrf_name", &r.egress_vrf_name);
    o.address("post_nat_src_addr", &r.post_nat_src_addr);
    o.address("post_nat_dst_addr", &r.post_nat_dst_addr);
    o.uint("post_nat_src_port", r.post_nat_src_port);
    o.uint("post_nat_dst_port", r.post_nat_dst_port);
    o.uint("nat_event", r.nat_event);
    o.uint("flow_end_reason", r.flow_end_reason);
    o.uint("firewall_event", r.firewall_event);
    o.uint("reverse_bytes", r.reverse_bytes);
    o.uint("reverse_packets", r.reverse_packets);
    o.uint("reverse_tcp_flags", r.reverse_tcp_flags);
    let tunnel = TunnelType::try_from(r.tunnel_type).ok();
    o.named("tunnel_type", r.tunnel_type as u32, tunnel.map(|t| t.as_str_name()));
    o.uint("tunnel_id", r.tunnel_id);
    o.address("inner_src_addr", &r.inner_src_addr);
    o.address("inner_dst_addr", &r.inner_dst_addr);
    o.named("inner_proto", r.inner_proto, names::protocol(r.inner_proto));
    o.uint("inner_src_port", r.inner_src_port);
    o.uint("inner_dst_port", r.inner_dst_port);
    o.named("inner_etype", r.inner_etype, names::etype(r.inner_etype));
    o.mac("inner_src_mac", r.inner_src_mac);
    o.mac("inner_dst_mac", r.inner_dst_mac);
    o.uint("inner_vlan_id", r.inner_vlan_id);
    o.uints("vlan_stack", &r.vlan_stack);
    o.uint("src_priority", r.src_priority);
    o.uint("dst_priority", r.dst_priority);
    o.string("src_user", &r.src_user);
    o.string("dst_user", &r.dst_user);
    o.uint("src_peer_as", r.src_peer_as);
    o.uint("bgp_local_pref", r.bgp_local_pref);
    o.uints("mpls_out_label", &r.mpls_out_label);
    o.string("collector_node", &r.collector_node);
    o.address("agent_address", &r.agent_address);
    o.uint("acl_number", r.acl_number);
    o.string("acl_name", &r.acl_name);
    o.uint("acl_direction", r.acl_direction);
    o.string("forwarding_function", &r.forwarding_function);
    o.uint("egress_queue", r.egress_queue);
    o.uint("transit_delay_ns", r.transit_delay_ns);
    o.uint("queue_depth", r.queue_depth);
    o.array("extra", &r.extra, |out, element| element.write_json(out));
}

/// Classification engine whose selectors begin with an enterprise number: those of another registry (RFC 6759 4.1).
const PANA_L7_PEN: u8 = 20;

/// `engine:selector` (RFC 6759 4.1): one octet, then a number of any length; a selector beyond 64 bits as hexadecimal. With
/// [`PANA_L7_PEN`] `engine:enterprise:selector`.
struct ApplicationId<'a>(&'a [u8]);

impl fmt::Display for ApplicationId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((engine, mut selector)) = self.0.split_first() else { return Ok(()) };
        write!(f, "{engine}:")?;
        if let (PANA_L7_PEN, Some((enterprise, rest))) = (*engine, selector.split_first_chunk::<4>()) {
            write!(f, "{}:", u32::from_be_bytes(*enterprise))?;
            selector = rest;
        }
        if selector.len() > 8 {
            return write!(f, "{}", Hex(selector));
        }
        let selector = selector.iter().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
        write!(f, "{selector}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::v1::Element;

    #[test]
    fn a_record_is_one_line_in_field_order() {
        let record = FlowRecord {
            r#type: FlowType::NetflowV9 as i32,
            sampling_rate: 1000,
            src_addr: vec![10, 0, 0, 1],
            dst_addr: vec![0, 0, 0, 0],
            bytes: u64::MAX,
            proto: 58,
            src_mac: 0x1122_3344_5566,
            etype: 0x86dd,
            mpls_ip: vec![vec![192, 0, 2, 1]],
            layer_stack: vec![0, 6, 77],
            application_id: vec![3, 0, 1, 187],
            in_if_name: "Gi0/1 \"up\"\n".to_owned(),
            tunnel_type: TunnelType::TunnelVxlan as i32,
            extra: vec![Element { pen: 9, id: 1, value: vec![0xab, 0xcd], ..Element::default() }],
            ..FlowRecord::default()
        };
        let want = concat!(
            r#"{"type":"NETFLOW_V9","sampling_rate":1000,"src_addr":"10.0.0.1","dst_addr":"0.0.0.0","#,
            r#""bytes":18446744073709551615,"proto":"IPv6-ICMP","src_mac":"11:22:33:44:55:66","etype":"IPv6","#,
            r#""mpls_ip":["192.0.2.1"],"layer_stack":["Ethernet","Dot1Q",77],"application_id":"3:443","#,
            r#""in_if_name":"Gi0/1 \"up\"\n","tunnel_type":"TUNNEL_VXLAN","extra":[{"pen":9,"id":1,"value":"abcd"}]}"#,
        );
        assert_eq!(record.to_json(), want);
    }

    #[test]
    fn numbers_without_a_name_stay_numbers() {
        let record = FlowRecord { r#type: 99, proto: 61, etype: 0x8847, ..FlowRecord::default() };
        assert_eq!(record.to_json(), r#"{"type":99,"proto":61,"etype":34887}"#);
    }

    #[test]
    fn application_ids_of_any_length() {
        let show = |octets: &[u8]| ApplicationId(octets).to_string();
        assert_eq!(show(&[1]), "1:0");
        assert_eq!(show(&[13, 0, 0, 1, 0]), "13:256");
        assert_eq!(show(&[13, 1, 2, 3, 4, 5, 6, 7, 8, 9]), "13:010203040506070809");
    }

    /// As FortiGate sends them.
    #[test]
    fn an_application_id_of_another_registry_names_its_enterprise() {
        let show = |octets: &[u8]| ApplicationId(octets).to_string();
        assert_eq!(show(&[20, 0, 0, 0x30, 0x44, 0, 0, 0x40, 1]), "20:12356:16385");
        assert_eq!(show(&[20, 0, 0, 0x30, 0x44]), "20:12356:0");
        assert_eq!(show(&[20, 0, 1]), "20:1");
    }
}
