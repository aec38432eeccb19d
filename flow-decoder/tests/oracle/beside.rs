//! What fills fields otherwise than one element by itself, read a second time: durations, segment lists, packet sections.
//!
//! Sections are read by the decoder's own parser of sampled headers, which is held to etherparse elsewhere; which fields
//! they may fill is judged here.

use catchment_proto::flow::v1::FlowRecord;
use flow_decoder::packet::{Addresses, Headers, LinkType, Packet, parse};

use super::overrides::Known;
use super::parse::Element;
use super::record::{big_endian, nth};

const STARTS: &[u16] = &[156, 154, 152, 150, 158, 22];
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

/// Which fields elements fill, whatever their value.
struct Filled {
    ids: Vec<u16>,
    sent: Vec<&'static str>,
}

impl Filled {
    fn by(known: &Known, all: &[Element<'_>]) -> Self {
        let readable = |e: &&Element<'_>| match e.id {
            8 | 12 | 15 | 27 | 28 => e.variable || matches!(e.value.len(), 4 | 16),
            _ => true,
        };
        let free = all.iter().filter(|e| e.pen == 0 && !e.scope && !known.maps(e) && is_first(all, e));
        let ids = free.filter(readable).map(|e| e.id).collect();
        Self { ids, sent: known.mapped(all).iter().map(|mapped| mapped.field).collect() }
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
    let said = filled.any("icmp_type", &[176, 178, 32, 139]) || filled.any("icmp_code", &[177, 179, 32, 139]);
    let by_port = !said && filled.any("proto", &[4]) && filled.any("dst_port", &[11]);
    let addressed = filled.any("src_addr", &[8, 27]) || filled.any("dst_addr", &[12, 28]);
    fill!(src_mac, &[56, 81], mac(src_mac));
    fill!(dst_mac, &[80, 57], mac(dst_mac));
    fill!(vlan_id, &[58, 243], headers.outer.vlan_id().map_or(0, u32::from));
    if !addressed {
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
