//! What fills fields otherwise than one element by itself, read a second time: durations, segment lists, packet sections.
//!
//! Sections are read by the decoder's own parser of sampled headers, which is held to etherparse elsewhere; which fields
//! they may fill is judged here.

use catchment_proto::flow::v1::FlowRecord;
use flow_decoder::packet::{Addresses, Headers, LinkType, Packet, parse};

use super::overrides::Known;
use super::parse::{Announced, Element};
use super::record::{big_endian, nth};

/// Stands for 29305/6, which no element of IANA's is like.
const REVERSE_FLAGS: u16 = u16::MAX;
const STARTS: &[u16] = &[156, 154, 152, 150, 158, 22];
const OBSERVED: &[u16] = &[322, 323, 324, 325];
const ENDS: &[u16] = &[157, 155, 153, 151, 159, 21];
/// Section, what it begins with, the element with its offset.
const SECTIONS: [(u16, LinkType, u16); 4] = [
    (315, LinkType::Ethernet, 409),
    (104, LinkType::Ethernet, 102),
    (313, LinkType::Ip, 409),
    (316, LinkType::Mpls, 409),
];

/// Whether the element at `before` others of its kind means something beside the tables.
pub(crate) fn uses(known: &Known, all: &[Element<'_>], e: &Element<'_>, before: usize) -> bool {
    if e.pen != 0 || known.maps(e) {
        return false;
    }
    let has = |id: u16| all.iter().any(|e| (e.pen, e.id) == (0, id) && !e.scope && !known.maps(e));
    let ethernet = has(315) || has(104);
    match e.id {
        494 | 495 | 497 => true,
        104 | 160 | 313 | 315 | 316 | 499 => before == 0,
        102 => before == 0 && has(104),
        408 => before == 0 && ethernet,
        409 => before == 0 && (has(315) || has(313) || has(316)),
        161 | 162 => before == 0 && duration(known, all).is_some_and(|(id, _)| id == e.id),
        _ => false,
    }
}

/// Whether an element fills a time: one that is sent there, or one of the usual that can be read.
fn says(known: &Known, all: &[Element<'_>], field: &str, ids: &[u16]) -> bool {
    known.mapped(all).iter().any(|mapped| mapped.field == field)
        || all.iter().any(|e| {
            let readable = e.variable || !(154..=157).contains(&e.id) || e.value.len() == 8;
            e.pen == 0 && !e.scope && !known.maps(e) && ids.contains(&e.id) && readable && is_first(all, e)
        })
}

fn is_first(all: &[Element<'_>], e: &Element<'_>) -> bool {
    let first = all.iter().find(|other| (other.pen, other.id, other.scope) == (e.pen, e.id, false));
    first.is_some_and(|first| std::ptr::eq(first, e))
}

/// The duration's element, and whether it gives the end, where one of a flow's times is not said.
fn duration(known: &Known, all: &[Element<'_>]) -> Option<(u16, bool)> {
    let of = |id: u16| all.iter().any(|e| (e.pen, e.id) == (0, id) && !e.scope && !known.maps(e));
    let id = [162, 161].into_iter().find(|&id| of(id))?;
    let start = says(known, all, "time_flow_start_ns", STARTS);
    let end = says(known, all, "time_flow_end_ns", ENDS);
    (start != end).then_some((id, start))
}

/// Adds to a record what its elements say beside the tables; `times` are those that elements say, without when it was
/// observed.
pub(crate) fn add(known: &Known, all: &[Element<'_>], times: (u64, u64), record: &mut FlowRecord) {
    let free: Vec<_> = all.iter().filter(|e| !known.maps(e)).copied().collect();
    if let Some((id, gives_end)) = duration(known, all)
        && let Some(octets) = nth(&free, 0, id, 0).filter(|octets| !octets.is_empty())
    {
        let took = big_endian(octets).saturating_mul(if id == 162 { 1000 } else { 1_000_000 });
        match (gives_end, times) {
            (true, (start @ 1.., _)) => record.time_flow_end_ns = start.saturating_add(took),
            (false, (_, end @ 1..)) if end > took => record.time_flow_start_ns = end - took,
            _ => {}
        }
    }
    segments(&free, record);
    let candidates = Filled::by(known, all);
    for (id, link, offset) in SECTIONS {
        let Some(bytes) = nth(&free, 0, id, 0).filter(|bytes| !bytes.is_empty()) else { continue };
        let number = |id: u16| nth(&free, 0, id, 0).map(big_endian);
        if number(offset).unwrap_or(0) != 0 || link == LinkType::Ethernet && number(408) == Some(2) {
            continue;
        }
        let headers = parse(link, bytes);
        section(&headers, link, bytes.len() as u64, &candidates, record);
    }
}

fn segments(free: &[Element<'_>], record: &mut FlowRecord) {
    let lists = [497, 494, 495].map(|id| {
        let octets = free.iter().filter(|e| (e.pen, e.id, e.scope) == (0, id, false)).map(|e| e.value);
        octets.flat_map(|octets| octets.chunks_exact(16)).map(<[u8]>::to_vec).collect::<Vec<_>>()
    });
    if let Some(list) = lists.into_iter().find(|list| !list.is_empty()) {
        record.ipv6_routing_header_addresses = list;
    }
    if let Some(header) = nth(free, 0, 499, 0).filter(|header| header.len() >= 8) {
        let count = match header[2] {
            0 | 2 => usize::MAX,
            4 => usize::from(header[4]) + 1,
            _ => 0,
        };
        if record.ipv6_routing_header_addresses.is_empty() {
            let addresses = header[8..].chunks_exact(16).take(count).map(<[u8]>::to_vec);
            record.ipv6_routing_header_addresses = addresses.collect();
        }
        if nth(free, 0, 498, 0).is_none() {
            record.ipv6_routing_header_seg_left = u32::from(header[3]);
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Adds what the elements in a list say: of each field that nothing else fills the first, of TCP flags all. `alone` is a record with one
/// element.
pub(crate) fn add_list(
    known: &Known,
    all: &[Element<'_>],
    list: u16,
    members: &[Element<'_>],
    alone: impl Fn(&Element<'_>) -> FlowRecord,
    record: &mut FlowRecord,
) {
    let numbers = || members.iter().map(|e| big_endian(e.value) as u32).collect();
    match list {
        484 | 511 => return,
        485 => return record.bgp_communities = numbers(),
        512 => return record.as_path = numbers(),
        _ => {}
    }
    let filled = Filled::by(known, all);
    // A time that follows from the duration, or could, is nobody else's.
    let times = (record.time_flow_start_ns, record.time_flow_end_ns);
    let mut segments = Vec::new();
    let (mut flags, mut reverse_flags) = (0, 0);
    for e in members.iter().filter(|e| !e.scope && e.takes_octets && e.value.iter().any(|&octet| octet != 0))
    {
        // Those mean something only beside others.
        let skipped = [231, 298, 312, 322, 323, 324, 325, 104, 313, 315, 316, 495, 497, 499];
        if e.pen == 0 && !known.maps(e) && skipped.contains(&e.id) {
            continue;
        }
        if (e.pen, e.id) == (0, 494) && e.value.len() == 16 {
            segments.push(e.value.to_vec());
        }
        let one = alone(e);
        flags |= one.tcp_flags;
        reverse_flags |= one.reverse_tcp_flags;
        if !filled.twice(4) && !filled.any("inner_proto", &[]) {
            record.inner_proto = if record.inner_proto == 0 { one.inner_proto } else { record.inner_proto };
        }
        macro_rules! fill {
            ($($field:ident: $ids:expr,)*) => {$(
                if is_default(&record.$field) && !filled.any(stringify!($field), $ids) {
                    record.$field = one.$field.clone();
                }
            )*};
        }
        fill! {
            src_addr: &[8, 27], dst_addr: &[12, 28], next_hop: &[15, 62], bytes: &[1, 85, 23, 231, 312],
            packets: &[2, 86, 24, 298], next_hop_as: &[128], src_as: &[16], dst_as: &[17], src_net: &[9, 29],
            dst_net: &[13, 30], in_if: &[10, 252], out_if: &[14, 253], proto: &[4, 193],
            src_port: &[7, 180, 182], dst_port: &[11, 181, 183], ip_tos: &[5], forwarding_status: &[89],
            ip_ttl: &[192, 52], src_mac: &[56, 81], dst_mac: &[80, 57], vlan_id: &[58, 243],
            src_vlan: &[58], dst_vlan: &[59, 254], fragment_id: &[54], fragment_offset: &[88],
            ipv6_flow_label: &[31], ip_flags: &[197], ingress_vrf_id: &[234], egress_vrf_id: &[235],
            bi_flow_direction: &[239], flow_direction: &[61], observation_point_id: &[138], mpls_ttl: &[200],
            mpls_ip: &[47, 140], bgp_next_hop: &[18, 63], time_flow_start_ns: &[STARTS, OBSERVED].concat(),
            time_flow_end_ns: &[ENDS, OBSERVED].concat(),
            application_id: &[95], application_name: &[96], ingress_vrf_name: &[236],
            post_nat_src_addr: &[225, 281, 40001], post_nat_dst_addr: &[226, 282, 40002],
            post_nat_src_port: &[227, 40003], post_nat_dst_port: &[228, 40004], nat_event: &[230],
            flow_end_reason: &[136], firewall_event: &[233, 40005], src_user: &[371, 40000],
            ipv6_routing_header_seg_left: &[498], tunnel_type: &[351, 507], tunnel_id: &[351, 507],
            src_peer_as: &[129], src_sgt: &[34000], dst_sgt: &[34001], src_sgt_name: &[34002],
            dst_sgt_name: &[34003], reverse_bytes: &[232], reverse_packets: &[299],
            dst_user: &[], bgp_local_pref: &[], src_priority: &[], dst_priority: &[], in_if_name: &[],
            out_if_name: &[], egress_vrf_name: &[],
        }
        match duration(known, all) {
            Some((_, true)) => record.time_flow_end_ns = times.1,
            Some((_, false)) => record.time_flow_start_ns = times.0,
            None => {}
        }
        let icmp_by_port = filled.icmp_by_port();
        if !icmp_by_port {
            fill! { icmp_type: &[176, 178, 32, 139], icmp_code: &[177, 179, 32, 139], }
        }
        let says_etype = known.maps(e) || e.pen == 0 && matches!(e.id, 60 | 256);
        if says_etype && one.src_addr.is_empty() && one.dst_addr.is_empty() && !filled.addressed() {
            fill! { etype: &[256, 60], }
        }
    }
    if record.ipv6_routing_header_addresses.is_empty() {
        record.ipv6_routing_header_addresses = segments;
    }
    if record.tcp_flags == 0 && !filled.any("tcp_flags", &[6]) {
        record.tcp_flags = flags;
    }
    if record.reverse_tcp_flags == 0 && !filled.any("reverse_tcp_flags", &[REVERSE_FLAGS]) {
        record.reverse_tcp_flags = reverse_flags;
    }
}

/// Adds the names that options data gives, where no element of the template fills the field.
pub(crate) fn add_names(known: &Known, all: &[Element<'_>], announced: &Announced, record: &mut FlowRecord) {
    let filled = Filled::by(known, all);
    let name = |kind: u16, number: u32| {
        let name = announced.names.get(&(kind, u64::from(number))).filter(|_| number != 0);
        name.map(|(_, name)| name.clone()).unwrap_or_default()
    };
    // Numbers that come from lists only have no name.
    let of = |field: &str, ids: &[u16], kind, number| {
        if filled.any(field, ids) { name(kind, number) } else { String::new() }
    };
    macro_rules! fill {
        ($field:ident, $ids:expr, $name:expr) => {
            if record.$field.is_empty() && !filled.any(stringify!($field), $ids) {
                record.$field = $name;
            }
        };
    }
    fill!(in_if_name, &[], of("in_if", &[10, 252], 82, record.in_if));
    fill!(out_if_name, &[], of("out_if", &[14, 253], 82, record.out_if));
    fill!(ingress_vrf_name, &[236], of("ingress_vrf_id", &[234], 236, record.ingress_vrf_id));
    fill!(egress_vrf_name, &[], of("egress_vrf_id", &[235], 236, record.egress_vrf_id));
    if filled.any("application_id", &[95]) {
        let octets = &record.application_id;
        let number = super::record::application(octets).filter(|&number| number != 0);
        let name = number.and_then(|number| announced.names.get(&(96, number)));
        fill!(application_name, &[96], name.map(|(_, name)| name.clone()).unwrap_or_default());
    }
}

/// Which fields elements fill, whatever their value.
struct Filled {
    ids: Vec<u16>,
    /// Which occur more than once.
    repeated: Vec<u16>,
    sent: Vec<&'static str>,
}

impl Filled {
    fn by(known: &Known, all: &[Element<'_>]) -> Self {
        let readable = |e: &&Element<'_>| match e.id {
            8 | 12 | 15 | 18 | 27 | 28 | 47 | 62 | 63 | 140 | 225 | 226 | 281 | 282 | 40001 | 40002 => {
                e.variable || matches!(e.value.len(), 4 | 16)
            }
            154..=157 | 324 | 325 => e.variable || e.value.len() == 8,
            _ => true,
        };
        let free = all.iter().filter(|e| e.pen == 0 && !e.scope && !known.maps(e) && is_first(all, e));
        let mut ids: Vec<_> = free.filter(readable).map(|e| e.id).collect();
        // Enterprises' elements that fill what these fill.
        let of_enterprises = [
            (9, 1232, 34000),
            (9, 1233, 34001),
            (9, 1234, 34002),
            (9, 1235, 34003),
            (29305, 1, 232),
            (29305, 85, 232),
            (29305, 2, 299),
            (29305, 86, 299),
            (29305, 6, REVERSE_FLAGS),
            (6871, 14, 6),
            (6871, 15, 6),
            (6871, 16398, REVERSE_FLAGS),
            (6871, 16399, REVERSE_FLAGS),
        ];
        let has = |pen, id| all.iter().any(|e| (e.pen, e.id, e.scope) == (pen, id, false) && !known.maps(e));
        ids.extend(of_enterprises.iter().filter(|(pen, id, _)| has(*pen, *id)).map(|(.., same)| *same));
        let again = all.iter().filter(|e| e.pen == 0 && !e.scope && !known.maps(e) && !is_first(all, e));
        let repeated = again.map(|e| e.id).collect();
        Self { ids, repeated, sent: known.mapped(all).iter().map(|mapped| mapped.field).collect() }
    }

    /// Whether type and code are read from the destination port.
    fn icmp_by_port(&self) -> bool {
        let said = self.any("icmp_type", &[176, 178, 32, 139]) || self.any("icmp_code", &[177, 179, 32, 139]);
        !said && self.any("proto", &[4]) && self.any("dst_port", &[11])
    }

    /// Whether an address says the Ethernet type.
    fn addressed(&self) -> bool {
        self.any("src_addr", &[8, 27]) || self.any("dst_addr", &[12, 28])
    }

    fn twice(&self, id: u16) -> bool {
        self.repeated.contains(&id)
    }

    fn any(&self, field: &str, ids: &[u16]) -> bool {
        self.sent.contains(&field) || ids.iter().any(|id| self.ids.contains(id))
    }
}

fn section(headers: &Headers<'_>, link: LinkType, len: u64, filled: &Filled, record: &mut FlowRecord) {
    let Packet { src_mac, dst_mac, tags, etype, labels, ip, ports, tcp_flags, icmp } = &headers.outer;
    let mac = |mac: &Option<[u8; 6]>| mac.map_or(0, |mac| big_endian(&mac));
    // What an earlier section has filled is left alone too.
    macro_rules! fill {
        ($field:ident, $ids:expr, $value:expr) => {
            let free = is_default(&record.$field);
            if free && !filled.any(stringify!($field), $ids) {
                record.$field = $value;
            }
        };
    }
    let by_port = filled.icmp_by_port();
    fill!(src_mac, &[56, 81], mac(src_mac));
    fill!(dst_mac, &[80, 57], mac(dst_mac));
    fill!(vlan_id, &[58, 243], headers.outer.vlan_id().map_or(0, u32::from));
    if !filled.addressed() {
        fill!(etype, &[256, 60], u32::from(*etype));
    }
    if tags.len() > 1 {
        fill!(vlan_stack, &[], headers.outer.vlan_ids().map(u32::from).collect());
    }
    let all: Vec<u16> = (70..=79).collect();
    fill!(mpls_ttl, &[200], labels.iter().map(|entry| u32::from(entry[3])).collect());
    fill!(mpls_label, &all, labels.iter().map(|entry| u32::from_be_bytes(*entry) >> 12).collect());
    if let Some(ip) = ip {
        let (src, dst) = match ip.addresses {
            Addresses::V4 { src, dst } => (src.to_vec(), dst.to_vec()),
            Addresses::V6 { src, dst } => (src.to_vec(), dst.to_vec()),
        };
        fill!(src_addr, &[8, 27], src);
        fill!(dst_addr, &[12, 28], dst);
        fill!(proto, &[4, 193], u32::from(ip.protocol));
        fill!(ip_tos, &[5], u32::from(ip.tos));
        fill!(ip_ttl, &[192, 52], u32::from(ip.ttl));
        fill!(ipv6_flow_label, &[31], ip.flow_label);
        if let Some(fragment) = ip.fragment {
            fill!(fragment_id, &[54], fragment.id);
            fill!(fragment_offset, &[88], u32::from(fragment.offset));
            fill!(ip_flags, &[197], u32::from(fragment.flags));
        }
        if let Some(routing) = ip.routing {
            fill!(ipv6_routing_header_addresses, &[], routing.addresses.iter().map(|a| a.to_vec()).collect());
            fill!(ipv6_routing_header_seg_left, &[498], u32::from(routing.segments_left));
        }
    }
    if let Some((src, dst)) = *ports {
        fill!(src_port, &[7, 180, 182], u32::from(src));
        fill!(dst_port, &[11, 181, 183], u32::from(dst));
        fill!(tcp_flags, &[6], u32::from(*tcp_flags));
    }
    if let Some((kind, code)) = *icmp
        && !by_port
    {
        fill!(icmp_type, &[176, 178, 32, 139], u32::from(kind));
        fill!(icmp_code, &[177, 179, 32, 139], u32::from(code));
    }
    if let Some(tunnel) = headers.tunnel {
        fill!(tunnel_type, &[351, 507], tunnel.kind as i32);
        fill!(tunnel_id, &[351, 507], tunnel.id);
        let Packet { src_mac, dst_mac, etype, ip, ports, .. } = &headers.inner;
        fill!(inner_src_mac, &[], mac(src_mac));
        fill!(inner_dst_mac, &[], mac(dst_mac));
        fill!(inner_etype, &[], u32::from(*etype));
        fill!(inner_vlan_id, &[], headers.inner.vlan_id().map_or(0, u32::from));
        if let Some(ip) = ip {
            let (src, dst) = match ip.addresses {
                Addresses::V4 { src, dst } => (src.to_vec(), dst.to_vec()),
                Addresses::V6 { src, dst } => (src.to_vec(), dst.to_vec()),
            };
            fill!(inner_src_addr, &[], src);
            fill!(inner_dst_addr, &[], dst);
            fill!(inner_proto, &[], u32::from(ip.protocol));
        }
        if let Some((src, dst)) = *ports {
            fill!(inner_src_port, &[], u32::from(src));
            fill!(inner_dst_port, &[], u32::from(dst));
        }
    }
    if headers.layers.iter().next().is_some() {
        fill!(layer_stack, &[], headers.layers.iter().map(|(layer, _)| layer as i32).collect());
        fill!(layer_size, &[], headers.layers.iter().map(|(_, size)| u32::from(size)).collect());
    }
    if link != LinkType::Mpls {
        fill!(packets, &[2, 86, 24, 298], 1);
        fill!(bytes, &[1, 85, 23, 231, 312], headers.octets_on_wire().max(len));
    }
}
