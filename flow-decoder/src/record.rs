//! The fields of `FlowRecord` as tags, and the fields that all records of a datagram share.
//!
//! Names and numbers are those of `catchment.flow.v1.FlowRecord`; a test decodes every tag with prost's generated type.

use crate::protobuf::Tag;

/// Tags of `catchment.flow.v1.FlowRecord`.
#[allow(missing_docs)]
pub mod flow {
    use super::Tag;

    pub const TYPE: Tag = Tag::varint(1);
    pub const SAMPLING_RATE: Tag = Tag::varint(3);
    pub const SEQUENCE_NUM: Tag = Tag::varint(4);
    pub const SRC_ADDR: Tag = Tag::delimited(6);
    pub const DST_ADDR: Tag = Tag::delimited(7);
    pub const BYTES: Tag = Tag::varint(9);
    pub const PACKETS: Tag = Tag::varint(10);
    pub const SAMPLER_ADDRESS: Tag = Tag::delimited(11);
    pub const NEXT_HOP: Tag = Tag::delimited(12);
    pub const NEXT_HOP_AS: Tag = Tag::varint(13);
    pub const SRC_AS: Tag = Tag::varint(14);
    pub const DST_AS: Tag = Tag::varint(15);
    pub const SRC_NET: Tag = Tag::varint(16);
    pub const DST_NET: Tag = Tag::varint(17);
    pub const IN_IF: Tag = Tag::varint(18);
    pub const OUT_IF: Tag = Tag::varint(19);
    pub const PROTO: Tag = Tag::varint(20);
    pub const SRC_PORT: Tag = Tag::varint(21);
    pub const DST_PORT: Tag = Tag::varint(22);
    pub const IP_TOS: Tag = Tag::varint(23);
    pub const FORWARDING_STATUS: Tag = Tag::varint(24);
    pub const IP_TTL: Tag = Tag::varint(25);
    pub const TCP_FLAGS: Tag = Tag::varint(26);
    pub const SRC_MAC: Tag = Tag::varint(27);
    pub const DST_MAC: Tag = Tag::varint(28);
    pub const VLAN_ID: Tag = Tag::varint(29);
    pub const ETYPE: Tag = Tag::varint(30);
    pub const ICMP_TYPE: Tag = Tag::varint(31);
    pub const ICMP_CODE: Tag = Tag::varint(32);
    pub const SRC_VLAN: Tag = Tag::varint(33);
    pub const DST_VLAN: Tag = Tag::varint(34);
    pub const FRAGMENT_ID: Tag = Tag::varint(35);
    pub const FRAGMENT_OFFSET: Tag = Tag::varint(36);
    pub const IPV6_FLOW_LABEL: Tag = Tag::varint(37);
    pub const IP_FLAGS: Tag = Tag::varint(38);
    pub const INGRESS_VRF_ID: Tag = Tag::varint(39);
    pub const EGRESS_VRF_ID: Tag = Tag::varint(40);
    pub const BI_FLOW_DIRECTION: Tag = Tag::varint(41);
    pub const FLOW_DIRECTION: Tag = Tag::varint(42);
    pub const OBSERVATION_DOMAIN_ID: Tag = Tag::varint(70);
    pub const OBSERVATION_POINT_ID: Tag = Tag::varint(71);
    pub const MPLS_TTL: Tag = Tag::delimited(80);
    pub const MPLS_LABEL: Tag = Tag::delimited(81);
    pub const MPLS_IP: Tag = Tag::delimited(82);
    pub const BGP_NEXT_HOP: Tag = Tag::delimited(100);
    pub const BGP_COMMUNITIES: Tag = Tag::delimited(101);
    pub const AS_PATH: Tag = Tag::delimited(102);
    pub const LAYER_STACK: Tag = Tag::delimited(103);
    pub const LAYER_SIZE: Tag = Tag::delimited(104);
    pub const IPV6_ROUTING_HEADER_ADDRESSES: Tag = Tag::delimited(105);
    pub const IPV6_ROUTING_HEADER_SEG_LEFT: Tag = Tag::varint(106);
    pub const TIME_RECEIVED_NS: Tag = Tag::varint(110);
    pub const TIME_FLOW_START_NS: Tag = Tag::varint(111);
    pub const TIME_FLOW_END_NS: Tag = Tag::varint(112);
    pub const ZONE: Tag = Tag::delimited(200);
    pub const SRC_SGT: Tag = Tag::varint(201);
    pub const DST_SGT: Tag = Tag::varint(202);
    pub const SRC_SGT_NAME: Tag = Tag::delimited(203);
    pub const DST_SGT_NAME: Tag = Tag::delimited(204);
    pub const APPLICATION_ID: Tag = Tag::delimited(205);
    pub const APPLICATION_NAME: Tag = Tag::delimited(206);
    pub const IN_IF_NAME: Tag = Tag::delimited(207);
    pub const OUT_IF_NAME: Tag = Tag::delimited(208);
    pub const INGRESS_VRF_NAME: Tag = Tag::delimited(209);
    pub const EGRESS_VRF_NAME: Tag = Tag::delimited(210);
    pub const POST_NAT_SRC_ADDR: Tag = Tag::delimited(211);
    pub const POST_NAT_DST_ADDR: Tag = Tag::delimited(212);
    pub const POST_NAT_SRC_PORT: Tag = Tag::varint(213);
    pub const POST_NAT_DST_PORT: Tag = Tag::varint(214);
    pub const NAT_EVENT: Tag = Tag::varint(215);
    pub const FLOW_END_REASON: Tag = Tag::varint(216);
    pub const FIREWALL_EVENT: Tag = Tag::varint(217);
    pub const REVERSE_BYTES: Tag = Tag::varint(218);
    pub const REVERSE_PACKETS: Tag = Tag::varint(219);
    pub const REVERSE_TCP_FLAGS: Tag = Tag::varint(220);
    pub const TUNNEL_TYPE: Tag = Tag::varint(221);
    pub const TUNNEL_ID: Tag = Tag::varint(222);
    pub const INNER_SRC_ADDR: Tag = Tag::delimited(223);
    pub const INNER_DST_ADDR: Tag = Tag::delimited(224);
    pub const INNER_PROTO: Tag = Tag::varint(225);
    pub const INNER_SRC_PORT: Tag = Tag::varint(226);
    pub const INNER_DST_PORT: Tag = Tag::varint(227);
    pub const INNER_ETYPE: Tag = Tag::varint(228);
    pub const INNER_SRC_MAC: Tag = Tag::varint(229);
    pub const INNER_DST_MAC: Tag = Tag::varint(230);
    pub const INNER_VLAN_ID: Tag = Tag::varint(231);
    pub const VLAN_STACK: Tag = Tag::delimited(232);
    pub const SRC_PRIORITY: Tag = Tag::varint(233);
    pub const DST_PRIORITY: Tag = Tag::varint(234);
    pub const SRC_USER: Tag = Tag::delimited(235);
    pub const DST_USER: Tag = Tag::delimited(236);
    pub const SRC_PEER_AS: Tag = Tag::varint(237);
    pub const BGP_LOCAL_PREF: Tag = Tag::varint(238);
    pub const MPLS_OUT_LABEL: Tag = Tag::delimited(239);
    pub const COLLECTOR_NODE: Tag = Tag::delimited(240);
    pub const AGENT_ADDRESS: Tag = Tag::delimited(241);
    pub const EXTRA: Tag = Tag::delimited(250);
}
