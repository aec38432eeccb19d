//! The fields of `FlowRecord` that a field map can send elements to, and which elements each can hold.
//!
//! Fields that the node itself writes (who sent the record and when it came) and those that only sampled packets fill are
//! not among them.

use std::fmt;

use crate::elements::{self, DataType, Element};
use crate::protobuf::Tag;
use crate::record::flow;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// A number of 32 bits.
    Number32,
    /// A number of 64 bits.
    Number64,
    /// Four or sixteen octets.
    Address,
    /// Octets as they are.
    Octets,
    /// UTF-8.
    Text,
    /// Nanoseconds since 1970.
    Time,
    /// A list of numbers of 32 bits; an element makes it a list of one.
    Numbers32,
    /// A list of addresses; an element makes it a list of one.
    Addresses,
}

impl Holds {
    fn takes(self, element: &Element) -> bool {
        use DataType as T;
        match (self, element.data_type) {
            (Self::Time, data_type) => data_type.is_time(),
            (Self::Octets, _) | (_, T::OctetArray) => true,
            (Self::Number32 | Self::Numbers32, data_type) => {
                matches!(data_type, T::Unsigned | T::Boolean) && element.octets <= 4
            }
            (Self::Number64, data_type) => matches!(data_type, T::Unsigned | T::Boolean | T::MacAddress),
            (Self::Address | Self::Addresses, data_type) => {
                matches!(data_type, T::Ipv4Address | T::Ipv6Address)
            }
            (Self::Text, data_type) => data_type == T::String,
        }
    }
}

struct Row {
    name: &'static str,
    tag: Tag,
    holds: Holds,
}

const fn row(name: &'static str, tag: Tag, holds: Holds) -> Row {
    Row { name, tag, holds }
}

/// In the order of their numbers.
const FIELDS: &[Row] = &[
    row("src_addr", flow::SRC_ADDR, Holds::Address),
    row("dst_addr", flow::DST_ADDR, Holds::Address),
    row("bytes", flow::BYTES, Holds::Number64),
    row("packets", flow::PACKETS, Holds::Number64),
    row("next_hop", flow::NEXT_HOP, Holds::Address),
    row("next_hop_as", flow::NEXT_HOP_AS, Holds::Number32),
    row("src_as", flow::SRC_AS, Holds::Number32),
    row("dst_as", flow::DST_AS, Holds::Number32),
    row("src_net", flow::SRC_NET, Holds::Number32),
    row("dst_net", flow::DST_NET, Holds::Number32),
    row("in_if", flow::IN_IF, Holds::Number32),
    row("out_if", flow::OUT_IF, Holds::Number32),
    row("proto", flow::PROTO, Holds::Number32),
    row("src_port", flow::SRC_PORT, Holds::Number32),
    row("dst_port", flow::DST_PORT, Holds::Number32),
    row("ip_tos", flow::IP_TOS, Holds::Number32),
    row("forwarding_status", flow::FORWARDING_STATUS, Holds::Number32),
    row("ip_ttl", flow::IP_TTL, Holds::Number32),
    row("tcp_flags", flow::TCP_FLAGS, Holds::Number32),
    row("src_mac", flow::SRC_MAC, Holds::Number64),
    row("dst_mac", flow::DST_MAC, Holds::Number64),
    row("vlan_id", flow::VLAN_ID, Holds::Number32),
    row("etype", flow::ETYPE, Holds::Number32),
    row("icmp_type", flow::ICMP_TYPE, Holds::Number32),
    row("icmp_code", flow::ICMP_CODE, Holds::Number32),
    row("src_vlan", flow::SRC_VLAN, Holds::Number32),
    row("dst_vlan", flow::DST_VLAN, Holds::Number32),
    row("fragment_id", flow::FRAGMENT_ID, Holds::Number32),
    row("fragment_offset", flow::FRAGMENT_OFFSET, Holds::Number32),
    row("ipv6_flow_label", flow::IPV6_FLOW_LABEL, Holds::Number32),
    row("ip_flags", flow::IP_FLAGS, Holds::Number32),
    row("ingress_vrf_id", flow::INGRESS_VRF_ID, Holds::Number32),
    row("egress_vrf_id", flow::EGRESS_VRF_ID, Holds::Number32),
    row("bi_flow_direction", flow::BI_FLOW_DIRECTION, Holds::Number32),
    row("flow_direction", flow::FLOW_DIRECTION, Holds::Number32),
    row("observation_point_id", flow::OBSERVATION_POINT_ID, Holds::Number32),
    row("mpls_ttl", flow::MPLS_TTL, Holds::Numbers32),
    row("mpls_ip", flow::MPLS_IP, Holds::Addresses),
    row("bgp_next_hop", flow::BGP_NEXT_HOP, Holds::Address),
    row("time_flow_start_ns", flow::TIME_FLOW_START_NS, Holds::Time),
    row("time_flow_end_ns", flow::TIME_FLOW_END_NS, Holds::Time),
    row("src_sgt", flow::SRC_SGT, Holds::Number32),
    row("dst_sgt", flow::DST_SGT, Holds::Number32),
    row("src_sgt_name", flow::SRC_SGT_NAME, Holds::Text),
    row("dst_sgt_name", flow::DST_SGT_NAME, Holds::Text),
    row("application_id", flow::APPLICATION_ID, Holds::Octets),
    row("application_name", flow::APPLICATION_NAME, Holds::Text),
    row("in_if_name", flow::IN_IF_NAME, Holds::Text),
    row("out_if_name", flow::OUT_IF_NAME, Holds::Text),
    row("ingress_vrf_name", flow::INGRESS_VRF_NAME, Holds::Text),
    row("egress_vrf_name", flow::EGRESS_VRF_NAME, Holds::Text),
    row("post_nat_src_addr", flow::POST_NAT_SRC_ADDR, Holds::Address),
    row("post_nat_dst_addr", flow::POST_NAT_DST_ADDR, Holds::Address),
    row("post_nat_src_port", flow::POST_NAT_SRC_PORT, Holds::Number32),
    row("post_nat_dst_port", flow::POST_NAT_DST_PORT, Holds::Number32),
    row("nat_event", flow::NAT_EVENT, Holds::Number32),
    row("flow_end_reason", flow::FLOW_END_REASON, Holds::Number32),
    row("firewall_event", flow::FIREWALL_EVENT, Holds::Number32),
    row("reverse_bytes", flow::REVERSE_BYTES, Holds::Number64),
    row("reverse_packets", flow::REVERSE_PACKETS, Holds::Number64),
    row("reverse_tcp_flags", flow::REVERSE_TCP_FLAGS, Holds::Number32),
    row("tunnel_id", flow::TUNNEL_ID, Holds::Number64),
    row("inner_src_addr", flow::INNER_SRC_ADDR, Holds::Address),
    row("inner_dst_addr", flow::INNER_DST_ADDR, Holds::Address),
    row("inner_proto", flow::INNER_PROTO, Holds::Number32),
    row("inner_src_port", flow::INNER_SRC_PORT, Holds::Number32),
    row("inner_dst_port", flow::INNER_DST_PORT, Holds::Number32),
    row("inner_etype", flow::INNER_ETYPE, Holds::Number32),
    row("inner_src_mac", flow::INNER_SRC_MAC, Holds::Number64),
    row("inner_dst_mac", flow::INNER_DST_MAC, Holds::Number64),
    row("inner_vlan_id", flow::INNER_VLAN_ID, Holds::Number32),
    row("src_priority", flow::SRC_PRIORITY, Holds::Number32),
    row("dst_priority", flow::DST_PRIORITY, Holds::Number32),
    row("src_user", flow::SRC_USER, Holds::Text),
    row("dst_user", flow::DST_USER, Holds::Text),
    row("src_peer_as", flow::SRC_PEER_AS, Holds::Number32),
    row("bgp_local_pref", flow::BGP_LOCAL_PREF, Holds::Number32),
];

/// A field of `FlowRecord`, by its place in the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordField(u8);

impl RecordField {
    /// The field of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|field| field.name() == name)
    }

    /// Every field there is.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..FIELDS.len() as u8).map(Self)
    }

    fn row(self) -> &'static Row {
        &FIELDS[usize::from(self.0)]
    }

    /// Its name in `FlowRecord`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    pub(crate) fn tag(self) -> Tag {
        self.row().tag
    }

    pub(crate) fn holds(self) -> Holds {
        self.row().holds
    }

    /// Whether it can hold an element's values; what nobody knows the type of is taken as what the field holds.
    ///
    /// # Errors
    /// What does not go together.
    pub fn accepts(self, pen: u32, id: u16) -> Result<(), Mismatch> {
        let element = registered(pen, id);
        let fits = match element {
            None => self.holds() != Holds::Time,
            Some(element) => self.holds().takes(element),
        };
        if fits { Ok(()) } else { Err(Mismatch { field: self, element }) }
    }
}

impl fmt::Debug for RecordField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An element as far as the registries know it: numbers of NetFlow v9 and IANA's are one space.
pub(crate) fn registered(pen: u32, id: u16) -> Option<&'static Element> {
    if pen == 0 { elements::netflow_v9(id) } else { elements::ipfix(pen, id) }
}

/// An element whose values a field cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    field: RecordField,
    element: Option<&'static Element>,
}

impl std::error::Error for Mismatch {}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = self.field.name();
        let holds = match self.field.holds() {
            Holds::Number32 => "a number of 32 bits",
            Holds::Number64 => "a number",
            Holds::Address => "an address",
            Holds::Octets => "octets",
            Holds::Text => "text",
            Holds::Time => "a time",
            Holds::Numbers32 => "numbers of 32 bits",
            Holds::Addresses => "addresses",
        };
        let Some(element) = self.element else {
            return write!(f, "{field} holds {holds}, and how this element counts time is not known");
        };
        let is = match element.data_type {
            DataType::Unsigned => "a number",
            DataType::Signed => "a signed number",
            DataType::Float => "a floating-point number",
            DataType::Boolean => "true or false",
            DataType::MacAddress => "a MAC address",
            DataType::String => "text",
            DataType::Ipv4Address | DataType::Ipv6Address => "an address",
            DataType::BasicList | DataType::SubTemplateList | DataType::SubTemplateMultiList => "a list",
            DataType::OctetArray => "octets",
            DataType::DateTimeSeconds
            | DataType::DateTimeMilliseconds
            | DataType::DateTimeMicroseconds
            | DataType::DateTimeNanoseconds => "a time",
        };
        let wide = match (element.data_type, element.octets) {
            (DataType::Unsigned, octets @ 1..) => format!(" of {} bits", 8 * u16::from(octets)),
            _ => String::new(),
        };
        write!(f, "{field} holds {holds}, and {} is {is}{wide}", element.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(field: &str, pen: u32, id: u16) -> Result<(), String> {
        RecordField::named(field).unwrap().accepts(pen, id).map_err(|mismatch| mismatch.to_string())
    }

    #[test]
    fn fields_hold_what_is_like_them() {
        assert_eq!(accepts("src_sgt", 0, 411), Ok(()));
        assert_eq!(accepts("src_sgt", 4242, 7), Ok(()), "an element that nobody knows");
        assert_eq!(accepts("application_id", 0, 8), Ok(()), "octets are octets");
        assert_eq!(accepts("bytes", 0, 231), Ok(()));
        assert_eq!(accepts("time_flow_start_ns", 0, 150), Ok(()));
        for (field, id, said) in [
            ("src_sgt", 231, "src_sgt holds a number of 32 bits, and initiatorOctets is a number of 64 bits"),
            ("src_sgt", 82, "src_sgt holds a number of 32 bits, and interfaceName is text"),
            ("src_addr", 82, "src_addr holds an address, and interfaceName is text"),
            ("src_user", 8, "src_user holds text, and sourceIPv4Address is an address"),
            (
                "time_flow_end_ns",
                1,
                "time_flow_end_ns holds a time, and octetDeltaCount is a number of 64 bits",
            ),
            (
                "time_flow_end_ns",
                32_000,
                "time_flow_end_ns holds a time, and how this element counts time is not known",
            ),
        ] {
            assert_eq!(accepts(field, 0, id), Err(said.to_owned()));
        }
    }

    #[test]
    fn names_and_numbers_stand_once() {
        for field in RecordField::all() {
            assert_eq!(RecordField::named(field.name()), Some(field));
            let same = RecordField::all().filter(|other| other.tag() == field.tag());
            assert_eq!(same.count(), 1, "{field:?}");
        }
        assert_eq!(RecordField::named("time_received_ns"), None);
    }
}
