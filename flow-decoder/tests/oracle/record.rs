//! What elements mean, by flow.proto's comments: prost structs filled field by field.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use catchment_proto::flow::v1::flow_record::FlowType;
use catchment_proto::flow::v1::{Element as WrittenElement, FlowRecord, OptionsRecord, TunnelType};
use flow_decoder::elements::{self, DataType, Rendered};
use flow_decoder::template::FieldSpecifier;

use super::beside;
use super::overrides::{Known, Mapped};
use super::parse::{Announced, Element};

const REVERSE: u32 = 29305;
const CISCO: u32 = 9;
const CERT: u32 = 6871;

/// A message's header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) version: u16,
    pub(crate) source: SocketAddr,
    pub(crate) received_ns: u64,
    pub(crate) seconds: u32,
    pub(crate) nanoseconds: u32,
    pub(crate) uptime_ms: Option<u32>,
    pub(crate) sequence: u32,
    pub(crate) domain: u32,
}

impl Default for Header {
    fn default() -> Self {
        Self {
            version: 0,
            source: (Ipv4Addr::UNSPECIFIED, 0).into(),
            received_ns: 0,
            seconds: 0,
            nanoseconds: 0,
            uptime_ms: None,
            sequence: 0,
            domain: 0,
        }
    }
}

fn address_octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// A big-endian number; what is wider than 64 bits is the greatest there is.
pub(crate) fn big_endian(value: &[u8]) -> u64 {
    let mut number: u64 = 0;
    for &byte in value {
        if number > u64::MAX >> 8 {
            return u64::MAX;
        }
        number = number << 8 | u64::from(byte);
    }
    number
}

fn iana(ids: &[u16]) -> Vec<(u32, u16)> {
    ids.iter().map(|&id| (0, id)).collect()
}

pub(super) fn nth<'a>(elements: &[Element<'a>], pen: u32, id: u16, n: usize) -> Option<&'a [u8]> {
    elements.iter().filter(|e| (e.pen, e.id) == (pen, id) && !e.scope).nth(n).map(|e| e.value)
}

/// First occurrence of an element as a number, 0 where there is none.
pub(crate) fn number(elements: &[Element<'_>], pen: u32, id: u16) -> u64 {
    let found = elements.iter().find(|e| (e.pen, e.id) == (pen, id));
    found.map_or(0, |e| big_endian(e.value))
}

/// Sampler or selector id that a record names.
pub(crate) fn selector(elements: &[Element<'_>]) -> Option<u64> {
    let found = elements.iter().find(|e| e.pen == 0 && matches!(e.id, 48 | 302) && !e.value.is_empty());
    found.map(|e| big_endian(e.value))
}

/// The sampling rate that a record's elements say themselves; 0 where they say none.
pub(crate) fn rate_said(elements: &[Element<'_>]) -> u64 {
    let elements: Vec<_> = elements.iter().filter(|e| !e.value.is_empty()).copied().collect();
    let value = |id| number(&elements, 0, id);
    let has = |id| elements.iter().any(|e| e.pen == 0 && e.id == id);
    let rounded =
        |whole: u64, part: u64| ((u128::from(whole) + u128::from(part) / 2) / u128::from(part)) as u64;
    let (interval, space) = (value(305), value(306));
    let (size, population) = (value(309), value(310));
    let probability = elements.iter().find(|e| e.pen == 0 && e.id == 311).map_or(0.0, |e| match *e.value {
        [a, b, c, d] => f64::from(f32::from_be_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => f64::from_be_bytes([a, b, c, d, e, f, g, h]),
        _ => 0.0,
    });
    if interval > 0 && has(306) {
        rounded(interval.saturating_add(space), interval)
    } else if size > 0 && population >= size {
        rounded(population, size)
    } else if probability > 0.0 && probability <= 1.0 {
        (1.0 / probability).round() as u64
    } else if value(50) > 0 {
        value(50)
    } else {
        value(34)
    }
}

/// What can have a name: the element of the name, and the number of what has it.
pub(crate) type Thing = (u16, u64);

/// The interface that an options record is of: v9's scope, or an element.
pub(crate) fn interface(version: u16, elements: &[Element<'_>]) -> Option<u64> {
    let is_interface = |e: &&Element<'_>| {
        let scope = version == 9 && e.scope;
        scope && e.id == 2 || !scope && e.pen == 0 && matches!(e.id, 10 | 14 | 252 | 253)
    };
    let said = elements.iter().filter(|e| !e.value.is_empty());
    said.clone().find(is_interface).map(|e| big_endian(e.value))
}

/// An application as a number, where it is none of more than 64 bits.
pub(crate) fn application(id: &[u8]) -> Option<u64> {
    let significant: Vec<u8> = id.iter().skip_while(|&&octet| octet == 0).copied().collect();
    (significant.len() <= 8).then(|| big_endian(&significant))
}

/// What an options record gives names to, and the names.
pub(crate) fn named(version: u16, elements: &[Element<'_>]) -> Vec<(Thing, String)> {
    let said = || elements.iter().filter(|e| !e.value.is_empty());
    let plain = || said().filter(|e| e.pen == 0 && !(version == 9 && e.scope));
    let interface = interface(version, elements);
    let vrf = plain().find(|e| matches!(e.id, 234 | 235)).map(|e| big_endian(e.value));
    let application = plain().find(|e| e.id == 95).and_then(|e| application(e.value));
    let all = [(82, interface), (83, interface), (236, vrf), (96, application), (300, Some(0))];
    let names = all.into_iter().filter_map(|(id, number)| {
        let value = plain().find(|e| e.id == id)?.value;
        let end = value.iter().rposition(|&octet| octet != 0)?;
        Some(((id, number?), String::from_utf8_lossy(&value[..=end]).into_owned()))
    });
    names.collect()
}

/// An options record.
pub(crate) fn options(header: Header, template: u16, elements: &[Element<'_>]) -> OptionsRecord {
    let written = |e: &Element<'_>| {
        let specifier = FieldSpecifier { pen: e.pen, id: e.id, length: 0, variable: false, scope: e.scope };
        let known = elements::of_field(header.version, &specifier);
        WrittenElement {
            pen: e.pen,
            id: u32::from(e.id),
            name: known.map(|known| known.name.to_owned()).unwrap_or_default(),
            value: e.value.to_vec(),
            text: known.map_or(String::new(), |known| {
                Rendered { data_type: known.data_type, value: e.value }.to_string()
            }),
            scope: e.scope,
        }
    };
    OptionsRecord {
        time_received_ns: header.received_ns,
        exporter: address_octets(header.source.ip()),
        port: u32::from(header.source.port()),
        version: u32::from(header.version),
        observation_domain_id: header.domain,
        sequence_num: header.sequence,
        template_id: u32::from(template),
        elements: elements.iter().map(written).collect(),
        export_time: header.seconds,
        ..OptionsRecord::default()
    }
}

/// A data record, field by field in the order of flow.proto.
pub(crate) fn flow(
    header: Header,
    all: &[Element<'_>],
    lists: &[(u16, Vec<Element<'_>>)],
    announced: &Announced,
    known: &Known,
) -> FlowRecord {
    let elements: Vec<_> = all.iter().filter(|e| !known.maps(e)).copied().collect();
    let mapped = known.mapped(all);
    let record = Reading { header, elements: &elements, announced, known, mapped };
    let (icmp_type, icmp_code) = record.icmp();
    let mut filled = FlowRecord {
        r#type: match header.version {
            1 => FlowType::NetflowV1,
            5 => FlowType::NetflowV5,
            7 => FlowType::NetflowV7,
            9 => FlowType::NetflowV9,
            _ => FlowType::Ipfix,
        } as i32,
        sampling_rate: record.sampling_rate(),
        sequence_num: header.sequence,
        src_addr: record.address("src_addr", &[8, 27]),
        dst_addr: record.address("dst_addr", &[12, 28]),
        bytes: record.counter("bytes", &[1, 85, 23], &[231, 312]),
        packets: record.counter("packets", &[2, 86, 24], &[298]),
        sampler_address: address_octets(header.source.ip()),
        next_hop: record.address("next_hop", &[15, 62]),
        next_hop_as: record.u32("next_hop_as", &[128]),
        src_as: record.u32("src_as", &[16]),
        dst_as: record.u32("dst_as", &[17]),
        src_net: record.u32("src_net", &[9, 29]),
        dst_net: record.u32("dst_net", &[13, 30]),
        in_if: record.u32("in_if", &[10, 252]),
        out_if: record.u32("out_if", &[14, 253]),
        proto: record.u32("proto", &[4, 193]),
        src_port: record.u32("src_port", &[7, 180, 182]),
        dst_port: record.u32("dst_port", &[11, 181, 183]),
        ip_tos: record.u32("ip_tos", &[5]),
        forwarding_status: record.u32("forwarding_status", &[89]),
        ip_ttl: record.u32("ip_ttl", &[192, 52]),
        tcp_flags: record.flags("tcp_flags", (0, 6), [14, 15]),
        src_mac: record.u64("src_mac", &[56, 81]),
        dst_mac: record.u64("dst_mac", &[80, 57]),
        vlan_id: record.u32("vlan_id", &[58, 243]),
        etype: record.etype(),
        icmp_type,
        icmp_code,
        src_vlan: record.u32("src_vlan", &[58]),
        dst_vlan: record.u32("dst_vlan", &[59, 254]),
        fragment_id: record.u32("fragment_id", &[54]),
        fragment_offset: record.u32("fragment_offset", &[88]),
        ipv6_flow_label: record.u32("ipv6_flow_label", &[31]),
        ip_flags: record.u32("ip_flags", &[197]),
        ingress_vrf_id: record.u32("ingress_vrf_id", &[234]),
        egress_vrf_id: record.u32("egress_vrf_id", &[235]),
        bi_flow_direction: record.u32("bi_flow_direction", &[239]),
        flow_direction: record.u32("flow_direction", &[61]),
        observation_domain_id: header.domain,
        observation_point_id: record.u32("observation_point_id", &[138]),
        mpls_ttl: Some(record.u32("mpls_ttl", &[200])).filter(|ttl| *ttl != 0).into_iter().collect(),
        mpls_label: record.mpls_labels(),
        mpls_ip: Some(record.address("mpls_ip", &[47, 140]))
            .filter(|address| !address.is_empty())
            .into_iter()
            .collect(),
        bgp_next_hop: record.address("bgp_next_hop", &[18, 63]),
        time_received_ns: header.received_ns,
        time_flow_start_ns: record.time("time_flow_start_ns", [156, 154, 152, 150, 158, 22]),
        time_flow_end_ns: record.time("time_flow_end_ns", [157, 155, 153, 151, 159, 21]),
        src_sgt: record.number32("src_sgt", &[(0, 34000), (CISCO, 1232)]),
        dst_sgt: record.number32("dst_sgt", &[(0, 34001), (CISCO, 1233)]),
        src_sgt_name: record.text("src_sgt_name", &[(0, 34002), (CISCO, 1234)]),
        dst_sgt_name: record.text("dst_sgt_name", &[(0, 34003), (CISCO, 1235)]),
        application_id: record.octets("application_id", &[(0, 95)]).to_vec(),
        application_name: record.text("application_name", &[(0, 96)]),
        in_if_name: record.text("in_if_name", &[]),
        out_if_name: record.text("out_if_name", &[]),
        egress_vrf_name: record.text("egress_vrf_name", &[]),
        ingress_vrf_name: record.text("ingress_vrf_name", &[(0, 236)]),
        post_nat_src_addr: record.address("post_nat_src_addr", &[225, 281, 40001]),
        post_nat_dst_addr: record.address("post_nat_dst_addr", &[226, 282, 40002]),
        post_nat_src_port: record.u32("post_nat_src_port", &[227, 40003]),
        post_nat_dst_port: record.u32("post_nat_dst_port", &[228, 40004]),
        nat_event: record.u32("nat_event", &[230]),
        flow_end_reason: record.u32("flow_end_reason", &[136]),
        firewall_event: record.u32("firewall_event", &[233, 40005]),
        reverse_bytes: record.either("reverse_bytes", &[(REVERSE, 1), (REVERSE, 85), (0, 232)]),
        reverse_packets: record.either("reverse_packets", &[(REVERSE, 2), (REVERSE, 86), (0, 299)]),
        reverse_tcp_flags: record.flags("reverse_tcp_flags", (REVERSE, 6), [16398, 16399]),
        tunnel_type: record.tunnel_type(),
        tunnel_id: record.tunnel_id(),
        inner_src_addr: record.inner_address("inner_src_addr", &[8, 27]),
        inner_dst_addr: record.inner_address("inner_dst_addr", &[12, 28]),
        inner_proto: record.inner("inner_proto", 4) as u32,
        inner_src_port: record.inner("inner_src_port", 7) as u32,
        inner_dst_port: record.inner("inner_dst_port", 11) as u32,
        inner_etype: record.inner("inner_etype", 256) as u32,
        inner_src_mac: record.inner("inner_src_mac", 56),
        inner_dst_mac: record.inner("inner_dst_mac", 80),
        inner_vlan_id: record.inner("inner_vlan_id", 58) as u32,
        src_user: record.text("src_user", &[(0, 371), (0, 40000)]),
        dst_user: record.text("dst_user", &[]),
        src_priority: record.u32("src_priority", &[]),
        dst_priority: record.u32("dst_priority", &[]),
        bgp_local_pref: record.u32("bgp_local_pref", &[]),
        extra: known.extra(all),
        src_peer_as: record.u32("src_peer_as", &[129]),
        ipv6_routing_header_seg_left: record.u32("", &[498]),
        ..FlowRecord::default()
    };
    let said = |field, ids| record.said(field, ids);
    let times = (
        said("time_flow_start_ns", [156, 154, 152, 150, 158, 22]),
        said("time_flow_end_ns", [157, 155, 153, 151, 159, 21]),
    );
    beside::add(known, all, times, &mut filled);
    // When the exporter started is said for the elements in lists as well.
    let boot = elements.iter().find(|e| (e.pen, e.id, e.scope) == (0, 160, false)).copied();
    // Numbers in lists have no names.
    let mut nameless = announced.clone();
    nameless.names.clear();
    let alone = |e: &Element<'_>| {
        let both: Vec<_> = boot.into_iter().chain([*e]).collect();
        flow(header, &both, &[], &nameless, known)
    };
    lists.iter().for_each(|(list, members)| beside::add_list(known, all, *list, members, alone, &mut filled));
    beside::add_names(known, all, announced, &mut filled);
    filled
}

/// A record being read.
struct Reading<'a> {
    header: Header,
    /// Those that nobody sends elsewhere.
    elements: &'a [Element<'a>],
    announced: &'a Announced,
    known: &'a Known,
    /// Values that are sent to fields, in order of preference.
    mapped: Vec<Mapped<'a>>,
}

impl<'a> Reading<'a> {
    fn first(&self, id: u16) -> Option<&'a [u8]> {
        nth(self.elements, 0, id, 0)
    }

    /// What may fill a field: what is sent there, then the elements that belong there.
    fn candidates(&self, field: &str, ids: &[(u32, u16)], n: usize) -> Vec<&'a [u8]> {
        let own = ids.iter().filter_map(|&(pen, id)| nth(self.elements, pen, id, n));
        self.sent(field).into_iter().chain(own).collect()
    }

    fn sent(&self, field: &str) -> Vec<&'a [u8]> {
        self.mapped.iter().filter(|mapped| mapped.field == field).map(|mapped| mapped.value).collect()
    }

    /// The first of several elements that is not 0.
    fn either(&self, field: &str, ids: &[(u32, u16)]) -> u64 {
        let values = self.candidates(field, ids, 0).into_iter().map(big_endian);
        values.into_iter().find(|&value| value != 0).unwrap_or(0)
    }

    fn number32(&self, field: &str, ids: &[(u32, u16)]) -> u32 {
        let values = self.candidates(field, ids, 0).into_iter().map(|value| big_endian(value) as u32);
        values.into_iter().find(|&value| value != 0).unwrap_or(0)
    }

    /// Flags of all packets, else CERT's of the first and of the others.
    fn flags(&self, field: &str, of_all: (u32, u16), of_some: [u16; 2]) -> u32 {
        match self.number32(field, &[of_all]) {
            0 => of_some.iter().fold(0, |flags, &id| flags | self.number32(field, &[(CERT, id)])),
            flags => flags,
        }
    }

    fn u64(&self, field: &str, ids: &[u16]) -> u64 {
        self.either(field, &iana(ids))
    }

    fn u32(&self, field: &str, ids: &[u16]) -> u32 {
        self.number32(field, &iana(ids))
    }

    /// A counter; `stand_ins` count only where the template has none of the others.
    fn counter(&self, field: &str, ids: &[u16], stand_ins: &[u16]) -> u64 {
        let has_any = !self.sent(field).is_empty() || ids.iter().any(|&id| self.first(id).is_some());
        self.u64(field, if has_any { ids } else { stand_ins })
    }

    /// The first address that is not all zeros, else the first there is.
    fn pick(candidates: Vec<&[u8]>) -> Vec<u8> {
        let valid: Vec<_> = candidates.into_iter().filter(|value| matches!(value.len(), 4 | 16)).collect();
        let said = valid.iter().find(|value| value.iter().any(|&byte| byte != 0));
        said.or(valid.first()).map(|value| value.to_vec()).unwrap_or_default()
    }

    fn address(&self, field: &str, ids: &[u16]) -> Vec<u8> {
        Self::pick(self.candidates(field, &iana(ids), 0))
    }

    fn inner_address(&self, field: &str, ids: &[u16]) -> Vec<u8> {
        Self::pick(self.candidates(field, &iana(ids), 1))
    }

    fn inner(&self, field: &str, id: u16) -> u64 {
        let is_64 = field.ends_with("_mac");
        let values = self.candidates(field, &[(0, id)], 1).into_iter().map(big_endian);
        let values = values.map(|value| if is_64 { value } else { value & 0xffff_ffff });
        values.into_iter().find(|&value| value != 0).unwrap_or(0)
    }

    fn text(&self, field: &str, ids: &[(u32, u16)]) -> String {
        let values = self.candidates(field, ids, 0).into_iter();
        let texts = values.map(|value| String::from_utf8_lossy(value).trim_end_matches('\0').to_owned());
        texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
    }

    /// The first that says something; all zeros are kept where no other element could say more.
    fn octets(&self, field: &str, ids: &[(u32, u16)]) -> &'a [u8] {
        let values = self.candidates(field, ids, 0);
        match values[..] {
            [only] => only,
            _ => values.into_iter().find(|value| value.iter().any(|&byte| byte != 0)).unwrap_or_default(),
        }
    }

    /// Said by an element, else the family of the first address that is not all zeros.
    fn etype(&self) -> u32 {
        let sent = self.sent("etype");
        if !sent.is_empty() || self.first(256).is_some() || self.first(60).is_some() {
            let of_version = match self.u64("", &[60]) {
                4 => 0x0800,
                6 => 0x86dd,
                _ => 0,
            };
            return Some(self.u32("etype", &[256])).filter(|said| *said != 0).unwrap_or(of_version);
        }
        let addresses = [
            self.candidates("src_addr", &iana(&[8, 27]), 0),
            self.candidates("dst_addr", &iana(&[12, 28]), 0),
        ];
        match Self::pick(addresses.concat()).len() {
            4 => 0x0800,
            16 => 0x86dd,
            _ => 0,
        }
    }

    fn icmp(&self) -> (u32, u32) {
        let sent = ["icmp_type", "icmp_code"].iter().any(|field| !self.sent(field).is_empty());
        let has_element = sent || [176, 178, 32, 139, 177, 179].iter().any(|&id| self.first(id).is_some());
        let proto = self.first(4).map_or(0, big_endian);
        if !has_element && matches!(proto, 1 | 58) {
            let port = self.first(11).map_or(0, big_endian);
            return ((port >> 8 & 0xff) as u32, (port & 0xff) as u32);
        }
        let of = |field: &str, plain: [u16; 2], shift: u32| {
            let both = [32, 139].map(|id| (self.u64("", &[id]) >> shift & 0xff) as u32);
            let plain = self.u32(field, &plain);
            std::iter::once(plain).chain(both).find(|&value| value != 0).unwrap_or(0)
        };
        (of("icmp_type", [176, 178], 8), of("icmp_code", [177, 179], 0))
    }

    fn mpls_labels(&self) -> Vec<u32> {
        let of_id = |id: u16| self.elements.iter().filter(move |e| (e.pen, e.id, e.scope) == (0, id, false));
        let entries = (70..=79).flat_map(of_id).map(|e| big_endian(e.value));
        entries.filter(|&entry| entry != 0).map(|entry| (entry >> 4 & 0xf_ffff) as u32).collect()
    }

    fn sampling_rate(&self) -> u64 {
        self.known.rate(self.rate_said())
    }

    fn rate_said(&self) -> u64 {
        let plain: Vec<_> = self.elements.iter().filter(|e| !e.scope).copied().collect();
        let said = rate_said(&plain);
        if said != 0 {
            return said;
        }
        let by_selector = selector(&plain).and_then(|id| self.announced.rate_by_selector.get(&id));
        by_selector.copied().unwrap_or_else(|| self.rate_where_observed())
    }

    /// The rate of the interface where it was observed, else the domain's.
    fn rate_where_observed(&self) -> u64 {
        let domain = self.known.rate(self.announced.rate);
        let index = |field, ids: &[u16]| u64::from(self.number32(field, &iana(ids)));
        let mut interfaces = [index("in_if", &[10, 252]), index("out_if", &[14, 253])];
        if self.u64("flow_direction", &[61]) == 1 {
            interfaces.reverse();
        }
        let of = |index| self.announced.rate_by_interface.get(&index).copied();
        let [here, there] = interfaces.map(of);
        here.or(there.filter(|_| domain == 0)).unwrap_or(domain)
    }

    /// The kind of a layer 2 segment is in its top octet.
    fn segment(&self) -> (u64, u64) {
        match self.u64("", &[351]) {
            id if matches!(id >> 56, 1 | 2) => (id >> 56, id & 0xff_ffff),
            id => (0, id),
        }
    }

    fn tunnel_type(&self) -> i32 {
        let gtpu = self.first(507).map_or(TunnelType::TunnelNone, |_| TunnelType::TunnelGtpu);
        match self.segment() {
            (1, _) => TunnelType::TunnelVxlan as i32,
            (2, _) => TunnelType::TunnelGre as i32,
            _ => gtpu as i32,
        }
    }

    fn tunnel_id(&self) -> u64 {
        let ids = [self.either("tunnel_id", &[]), self.segment().1, self.u64("", &[507])];
        ids.into_iter().find(|&id| id != 0).unwrap_or(0)
    }

    /// Absolute times in order of precision, then the delta to the export time, then sysUpTime; where a flow has none of
    /// these, when it was observed. What is sent there comes before all of them.
    fn time(&self, field: &str, ids: [u16; 6]) -> u64 {
        let seconds = |id, units: u64| self.u64("", &[id]).saturating_mul(units);
        let ways = [
            self.said(field, ids),
            self.ntp_ns(self.first(325)),
            self.ntp_us(self.first(324)),
            seconds(323, 1_000_000),
            seconds(322, 1_000_000_000),
        ];
        ways.into_iter().find(|&time| time != 0).unwrap_or(0)
    }

    fn said(&self, field: &str, [nano, micro, milli, second, delta, uptime]: [u16; 6]) -> u64 {
        let seconds = |id, units: u64| self.u64("", &[id]).saturating_mul(units);
        let ways = [
            self.ntp_ns(self.first(nano)),
            self.ntp_us(self.first(micro)),
            seconds(milli, 1_000_000),
            seconds(second, 1_000_000_000),
            self.before_export(delta),
            self.at_uptime(uptime),
        ];
        let sent = self.mapped.iter().filter(|mapped| mapped.field == field);
        let sent = sent.map(|mapped| match elements::ipfix(mapped.pen, mapped.id).map(|e| e.data_type) {
            Some(DataType::DateTimeSeconds) => big_endian(mapped.value).saturating_mul(1_000_000_000),
            Some(DataType::DateTimeMilliseconds) => big_endian(mapped.value).saturating_mul(1_000_000),
            Some(DataType::DateTimeMicroseconds) => self.ntp_us(Some(mapped.value)),
            Some(DataType::DateTimeNanoseconds) => self.ntp_ns(Some(mapped.value)),
            other => panic!("{other:?} is no time"),
        });
        sent.chain(ways).find(|&time| time != 0).unwrap_or(0)
    }

    /// An NTP time stamp: seconds since 1900 (since 2036 where that is before 1970), and a binary fraction.
    fn ntp(value: Option<&[u8]>, units: u128) -> Option<(u64, u64)> {
        let stamp = value.filter(|value| value.len() == 8).map(big_endian).filter(|&s| s != 0)?;
        let since_1900 = stamp >> 32;
        let era = if since_1900 < 2_208_988_800 { 1 << 32 } else { 0 };
        // To the nearest unit: exporters cut the binary fraction off.
        let fraction = (u128::from(stamp & 0xffff_ffff) * units + (1 << 31)) >> 32;
        Some((since_1900 + era - 2_208_988_800, fraction as u64))
    }

    fn ntp_ns(&self, value: Option<&[u8]>) -> u64 {
        Self::ntp(value, 1_000_000_000).map_or(0, |(seconds, ns)| seconds * 1_000_000_000 + ns)
    }

    fn ntp_us(&self, value: Option<&[u8]>) -> u64 {
        Self::ntp(value, 1_000_000).map_or(0, |(seconds, us)| seconds * 1_000_000_000 + us * 1000)
    }

    fn export_ns(&self) -> i128 {
        i128::from(self.header.seconds) * 1_000_000_000 + i128::from(self.header.nanoseconds)
    }

    fn before_export(&self, id: u16) -> u64 {
        let Some(value) = self.first(id).filter(|value| !value.is_empty()) else { return 0 };
        (self.export_ns() - i128::from(big_endian(value)) * 1000).try_into().unwrap_or(0)
    }

    /// sysUpTime of a v5 or v9 header wraps after 49 days: a time is the one nearest to the header's.
    fn at_uptime(&self, id: u16) -> u64 {
        let ms = self.u64("", &[id]);
        if ms == 0 {
            return 0;
        }
        let ns = match self.header.uptime_ms {
            Some(now) => {
                let ago = (i64::from(now) - i64::from(ms as u32)).rem_euclid(1 << 32);
                let ago = if ago >= 1 << 31 { ago - (1 << 32) } else { ago };
                self.export_ns() - i128::from(ago) * 1_000_000
            }
            None => match [self.u64("", &[160]), self.announced.boot_ms] {
                [0, 0] => return 0,
                [0, boot_ms] | [boot_ms, _] => (i128::from(boot_ms) + i128::from(ms)) * 1_000_000,
            },
        };
        ns.try_into().unwrap_or(0)
    }
}
