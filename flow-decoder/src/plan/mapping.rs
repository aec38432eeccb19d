//! Which element fills which field of `FlowRecord`, and how its value is converted.
//!
//! One row an element and field. Where several elements of a template fill one field, the order of rows is the order of
//! preference: the first whose value is not zero wins. NetFlow v9 types and IANA elements share numbers up to 32767, and
//! NetFlow v9's own numbers from 32768 on cannot occur in IPFIX (there the top bit means "enterprise"), so one table
//! serves both.

use super::step::Op;
use crate::protobuf::Tag;
use crate::record::flow;

/// Enterprise number of reverse elements (RFC 5103).
pub(super) const REVERSE: u32 = 29305;
/// CERT's (YAF), and what it adds to the number of an element of its own for that of the reverse direction.
pub(super) const CERT: u32 = 6871;
pub(super) const CERT_REVERSE: u16 = 0x4000;
/// CERT's flags of a flow's first TCP packet, and of all others.
pub(super) const CERT_FLAGS: [u16; 2] = [14, 15];
/// Cisco's enterprise number.
pub(super) const CISCO: u32 = 9;

/// One row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapping {
    pub(super) pen: u32,
    pub(super) id: u16,
    pub(super) tag: Tag,
    pub(super) op: Op,
}

const fn iana(id: u16, tag: Tag, op: Op) -> Mapping {
    Mapping { pen: 0, id, tag, op }
}

const fn vendor(pen: u32, id: u16, tag: Tag, op: Op) -> Mapping {
    Mapping { pen, id, tag, op }
}

/// Rows for an element's first occurrence in a template.
pub(super) const FIRST: &[Mapping] = &[
    iana(1, flow::BYTES, Op::U64),
    iana(85, flow::BYTES, Op::U64),
    iana(23, flow::BYTES, Op::U64),
    iana(231, flow::BYTES, Op::U64),
    iana(312, flow::BYTES, Op::U64),
    iana(2, flow::PACKETS, Op::U64),
    iana(86, flow::PACKETS, Op::U64),
    iana(24, flow::PACKETS, Op::U64),
    iana(298, flow::PACKETS, Op::U64),
    iana(8, flow::SRC_ADDR, Op::Address),
    iana(27, flow::SRC_ADDR, Op::Address),
    iana(12, flow::DST_ADDR, Op::Address),
    iana(28, flow::DST_ADDR, Op::Address),
    iana(15, flow::NEXT_HOP, Op::Address),
    iana(62, flow::NEXT_HOP, Op::Address),
    iana(128, flow::NEXT_HOP_AS, Op::U32),
    iana(16, flow::SRC_AS, Op::U32),
    iana(17, flow::DST_AS, Op::U32),
    iana(129, flow::SRC_PEER_AS, Op::U32),
    iana(9, flow::SRC_NET, Op::U32),
    iana(29, flow::SRC_NET, Op::U32),
    iana(13, flow::DST_NET, Op::U32),
    iana(30, flow::DST_NET, Op::U32),
    iana(10, flow::IN_IF, Op::U32),
    iana(252, flow::IN_IF, Op::U32),
    iana(14, flow::OUT_IF, Op::U32),
    iana(253, flow::OUT_IF, Op::U32),
    iana(4, flow::PROTO, Op::U32),
    iana(193, flow::PROTO, Op::U32),
    iana(7, flow::SRC_PORT, Op::U32),
    iana(180, flow::SRC_PORT, Op::U32),
    iana(182, flow::SRC_PORT, Op::U32),
    iana(11, flow::DST_PORT, Op::U32),
    iana(181, flow::DST_PORT, Op::U32),
    iana(183, flow::DST_PORT, Op::U32),
    iana(5, flow::IP_TOS, Op::U32),
    iana(89, flow::FORWARDING_STATUS, Op::U32),
    iana(192, flow::IP_TTL, Op::U32),
    iana(52, flow::IP_TTL, Op::U32),
    iana(6, flow::TCP_FLAGS, Op::U32),
    vendor(CERT, CERT_FLAGS[0], flow::TCP_FLAGS, Op::Flags),
    vendor(CERT, CERT_FLAGS[1], flow::TCP_FLAGS, Op::Flags),
    iana(56, flow::SRC_MAC, Op::U64),
    iana(81, flow::SRC_MAC, Op::U64),
    iana(80, flow::DST_MAC, Op::U64),
    iana(57, flow::DST_MAC, Op::U64),
    iana(58, flow::VLAN_ID, Op::U32),
    iana(243, flow::VLAN_ID, Op::U32),
    iana(58, flow::SRC_VLAN, Op::U32),
    iana(59, flow::DST_VLAN, Op::U32),
    iana(254, flow::DST_VLAN, Op::U32),
    iana(256, flow::ETYPE, Op::U32),
    iana(60, flow::ETYPE, Op::EtypeOfIpVersion),
    iana(176, flow::ICMP_TYPE, Op::U32),
    iana(178, flow::ICMP_TYPE, Op::U32),
    iana(32, flow::ICMP_TYPE, Op::HighByte),
    iana(139, flow::ICMP_TYPE, Op::HighByte),
    iana(177, flow::ICMP_CODE, Op::U32),
    iana(179, flow::ICMP_CODE, Op::U32),
    iana(32, flow::ICMP_CODE, Op::LowByte),
    iana(139, flow::ICMP_CODE, Op::LowByte),
    iana(54, flow::FRAGMENT_ID, Op::U32),
    iana(88, flow::FRAGMENT_OFFSET, Op::U32),
    iana(31, flow::IPV6_FLOW_LABEL, Op::U32),
    iana(197, flow::IP_FLAGS, Op::U32),
    iana(234, flow::INGRESS_VRF_ID, Op::U32),
    iana(235, flow::EGRESS_VRF_ID, Op::U32),
    iana(236, flow::INGRESS_VRF_NAME, Op::Text),
    iana(239, flow::BI_FLOW_DIRECTION, Op::U32),
    iana(61, flow::FLOW_DIRECTION, Op::U32),
    iana(138, flow::OBSERVATION_POINT_ID, Op::U32),
    iana(200, flow::MPLS_TTL, Op::PackedOne),
    iana(47, flow::MPLS_IP, Op::Address),
    iana(140, flow::MPLS_IP, Op::Address),
    iana(18, flow::BGP_NEXT_HOP, Op::Address),
    iana(63, flow::BGP_NEXT_HOP, Op::Address),
    iana(156, flow::TIME_FLOW_START_NS, Op::NtpNanoseconds),
    iana(154, flow::TIME_FLOW_START_NS, Op::NtpMicroseconds),
    iana(152, flow::TIME_FLOW_START_NS, Op::Milliseconds),
    iana(150, flow::TIME_FLOW_START_NS, Op::Seconds),
    iana(158, flow::TIME_FLOW_START_NS, Op::MicrosecondsBeforeExport),
    iana(22, flow::TIME_FLOW_START_NS, Op::Uptime),
    iana(325, flow::TIME_FLOW_START_NS, Op::NtpNanoseconds),
    iana(324, flow::TIME_FLOW_START_NS, Op::NtpMicroseconds),
    iana(323, flow::TIME_FLOW_START_NS, Op::Milliseconds),
    iana(322, flow::TIME_FLOW_START_NS, Op::Seconds),
    iana(157, flow::TIME_FLOW_END_NS, Op::NtpNanoseconds),
    iana(155, flow::TIME_FLOW_END_NS, Op::NtpMicroseconds),
    iana(153, flow::TIME_FLOW_END_NS, Op::Milliseconds),
    iana(151, flow::TIME_FLOW_END_NS, Op::Seconds),
    iana(159, flow::TIME_FLOW_END_NS, Op::MicrosecondsBeforeExport),
    iana(21, flow::TIME_FLOW_END_NS, Op::Uptime),
    iana(325, flow::TIME_FLOW_END_NS, Op::NtpNanoseconds),
    iana(324, flow::TIME_FLOW_END_NS, Op::NtpMicroseconds),
    iana(323, flow::TIME_FLOW_END_NS, Op::Milliseconds),
    iana(322, flow::TIME_FLOW_END_NS, Op::Seconds),
    iana(34000, flow::SRC_SGT, Op::U32),
    vendor(CISCO, 1232, flow::SRC_SGT, Op::U32),
    iana(34001, flow::DST_SGT, Op::U32),
    vendor(CISCO, 1233, flow::DST_SGT, Op::U32),
    iana(34002, flow::SRC_SGT_NAME, Op::Text),
    vendor(CISCO, 1234, flow::SRC_SGT_NAME, Op::Text),
    iana(34003, flow::DST_SGT_NAME, Op::Text),
    vendor(CISCO, 1235, flow::DST_SGT_NAME, Op::Text),
    iana(95, flow::APPLICATION_ID, Op::Bytes),
    iana(96, flow::APPLICATION_NAME, Op::Text),
    iana(225, flow::POST_NAT_SRC_ADDR, Op::Address),
    iana(281, flow::POST_NAT_SRC_ADDR, Op::Address),
    iana(40001, flow::POST_NAT_SRC_ADDR, Op::Address),
    iana(226, flow::POST_NAT_DST_ADDR, Op::Address),
    iana(282, flow::POST_NAT_DST_ADDR, Op::Address),
    iana(40002, flow::POST_NAT_DST_ADDR, Op::Address),
    iana(227, flow::POST_NAT_SRC_PORT, Op::U32),
    iana(40003, flow::POST_NAT_SRC_PORT, Op::U32),
    iana(228, flow::POST_NAT_DST_PORT, Op::U32),
    iana(40004, flow::POST_NAT_DST_PORT, Op::U32),
    iana(230, flow::NAT_EVENT, Op::U32),
    iana(136, flow::FLOW_END_REASON, Op::U32),
    iana(233, flow::FIREWALL_EVENT, Op::U32),
    iana(40005, flow::FIREWALL_EVENT, Op::U32),
    vendor(REVERSE, 1, flow::REVERSE_BYTES, Op::U64),
    vendor(REVERSE, 85, flow::REVERSE_BYTES, Op::U64),
    iana(232, flow::REVERSE_BYTES, Op::U64),
    vendor(REVERSE, 2, flow::REVERSE_PACKETS, Op::U64),
    vendor(REVERSE, 86, flow::REVERSE_PACKETS, Op::U64),
    iana(299, flow::REVERSE_PACKETS, Op::U64),
    vendor(REVERSE, 6, flow::REVERSE_TCP_FLAGS, Op::U32),
    vendor(CERT, CERT_FLAGS[0] | CERT_REVERSE, flow::REVERSE_TCP_FLAGS, Op::Flags),
    vendor(CERT, CERT_FLAGS[1] | CERT_REVERSE, flow::REVERSE_TCP_FLAGS, Op::Flags),
    iana(351, flow::TUNNEL_TYPE, Op::SegmentTunnel),
    iana(507, flow::TUNNEL_TYPE, Op::TunnelGtpU),
    iana(351, flow::TUNNEL_ID, Op::Segment),
    iana(507, flow::TUNNEL_ID, Op::U64),
    iana(371, flow::SRC_USER, Op::Text),
    iana(40000, flow::SRC_USER, Op::Text),
    iana(498, flow::IPV6_ROUTING_HEADER_SEG_LEFT, Op::U32),
];

/// Rows for an element's second occurrence: the inner packet of a tunnel (RFC 7011 8: outer first).
pub(super) const SECOND: &[Mapping] = &[
    iana(8, flow::INNER_SRC_ADDR, Op::Address),
    iana(27, flow::INNER_SRC_ADDR, Op::Address),
    iana(12, flow::INNER_DST_ADDR, Op::Address),
    iana(28, flow::INNER_DST_ADDR, Op::Address),
    iana(4, flow::INNER_PROTO, Op::U32),
    iana(7, flow::INNER_SRC_PORT, Op::U32),
    iana(11, flow::INNER_DST_PORT, Op::U32),
    iana(56, flow::INNER_SRC_MAC, Op::U64),
    iana(80, flow::INNER_DST_MAC, Op::U64),
    iana(58, flow::INNER_VLAN_ID, Op::U32),
    iana(256, flow::INNER_ETYPE, Op::U32),
];

/// Elements that count initiator octets and packets: a stand-in for the flow's counters only where a template has none
/// of those, because there they count something else.
pub(super) const STAND_INS: &[u16] = &[231, 298, 312];

/// When a flow was observed: a stand-in for its start and end.
pub(super) const OBSERVED: &[u16] = &[322, 323, 324, 325];

/// Labels of an MPLS stack, top first.
pub(super) const MPLS_LABELS: std::ops::RangeInclusive<u16> = 70..=79;
