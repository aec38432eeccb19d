//! Records that show the sampled packet itself.
//!
//! ```text
//! 0:1 sampled_header:   header protocol 4 | frame length 4 | stripped 4 | header opaque<>
//! 0:2 sampled_ethernet: length 4 | source MAC 6, padding 2 | destination MAC 6, padding 2 | type 4
//! 0:3 sampled_ipv4:     length 4 | protocol 4 | addresses 4 + 4 | source port 4 | destination port 4 | TCP flags 4 | ToS 4
//! 0:4 sampled_ipv6:     length 4 | protocol 4 | addresses 16 + 16 | source port 4 | destination port 4 | TCP flags 4 | class 4
//! ```

use super::flow_record::{Length, SampledPacket};
use super::xdr;
use crate::cursor::{Cursor, EndOfInput};
use crate::packet::{Addresses, Ip, LinkType, Packet};

pub(super) const HEADER: u32 = 1;
pub(super) const ETHERNET: u32 = 2;
pub(super) const IPV4: u32 = 3;
pub(super) const IPV6: u32 = 4;

/// What a header protocol begins with; none for those that are not parsed (token ring, FDDI, 802.11 ...).
fn link_type(header_protocol: u32) -> Option<LinkType> {
    match header_protocol {
        1 => Some(LinkType::Ethernet),
        7 | 14 => Some(LinkType::Ppp),
        10..=12 => Some(LinkType::Ip),
        13 => Some(LinkType::Mpls),
        _ => None,
    }
}

pub(super) fn header<'a>(packet: &mut SampledPacket<'a>, body: &mut Cursor<'a>) -> Result<(), EndOfInput> {
    let (protocol, frame_length) = (body.u32()?, body.u32()?);
    body.u32()?; // octets stripped from the end, or tags from the front: the length has them
    let bytes = xdr::opaque(body)?;
    parse(packet, protocol, frame_length, bytes);
    Ok(())
}

/// A header whose length passes the record: what is there.
pub(super) fn cut_header<'a>(packet: &mut SampledPacket<'a>, mut body: Cursor<'a>) {
    if let (Ok(protocol), Ok(frame_length), Ok(_)) = (body.u32(), body.u32(), body.u64()) {
        parse(packet, protocol, frame_length, body.rest());
    }
}

fn parse<'a>(packet: &mut SampledPacket<'a>, protocol: u32, frame_length: u32, bytes: &'a [u8]) {
    if matches!(packet.length, Length::Frame(_)) {
        return; // the first header counts
    }
    let before = packet.length != Length::Unknown; // fields from another record
    packet.length.offer(Length::Frame(frame_length));
    if let Some(link) = link_type(protocol) {
        let fields = before.then(|| std::mem::take(&mut packet.headers.outer));
        packet.headers.read(link, bytes);
        if let Some(fields) = fields {
            fill(&mut packet.headers.outer, &fields);
        }
    }
}

/// Sets what another record knows and `outer` lacks.
fn fill<'a>(outer: &mut Packet<'a>, fields: &Packet<'a>) {
    outer.src_mac = outer.src_mac.or(fields.src_mac);
    outer.dst_mac = outer.dst_mac.or(fields.dst_mac);
    if outer.ip.is_none() && fields.ip.is_some() {
        outer.ip = fields.ip;
        outer.etype = fields.etype;
        outer.ports = fields.ports;
        outer.tcp_flags = fields.tcp_flags;
    } else if outer.etype == 0 {
        outer.etype = fields.etype;
    }
}

pub(super) fn ethernet(packet: &mut SampledPacket<'_>, body: &mut Cursor<'_>) -> Result<(), EndOfInput> {
    packet.length.offer(Length::Ethernet(body.u32()?));
    let [src, dst] =
        [body.array::<8>()?, body.array::<8>()?].map(|[a, b, c, d, e, f, _, _]| [a, b, c, d, e, f]);
    let etype = body.u32()? as u16;
    let fields = Packet { src_mac: Some(src), dst_mac: Some(dst), etype, ..Packet::default() };
    fill(&mut packet.headers.outer, &fields);
    Ok(())
}

pub(super) fn ipv4(packet: &mut SampledPacket<'_>, body: &mut Cursor<'_>) -> Result<(), EndOfInput> {
    let (length, protocol) = (body.u32()?, body.u32()?);
    let addresses = Addresses::V4 { src: body.array()?, dst: body.array()? };
    ip(packet, length, protocol, addresses, body)
}

pub(super) fn ipv6(packet: &mut SampledPacket<'_>, body: &mut Cursor<'_>) -> Result<(), EndOfInput> {
    let (length, protocol) = (body.u32()?, body.u32()?);
    let addresses = Addresses::V6 { src: body.array()?, dst: body.array()? };
    ip(packet, length, protocol, addresses, body)
}

fn ip(
    packet: &mut SampledPacket<'_>,
    length: u32,
    protocol: u32,
    addresses: Addresses,
    body: &mut Cursor<'_>,
) -> Result<(), EndOfInput> {
    let [source_port, destination_port, tcp_flags, tos] =
        [body.u32()?, body.u32()?, body.u32()?, body.u32()?];
    packet.length.offer(Length::Packet(length));
    let etype = match addresses {
        Addresses::V4 { .. } => 0x0800,
        Addresses::V6 { .. } => 0x86dd,
    };
    let (protocol, tos) = (protocol as u8, tos as u8);
    let ip = Ip { addresses, protocol, tos, ttl: 0, flow_label: 0, fragment: None, length, routing: None };
    let fields = Packet {
        etype,
        ip: Some(ip),
        ports: Some((source_port as u16, destination_port as u16)),
        tcp_flags: tcp_flags as u8,
        ..Packet::default()
    };
    fill(&mut packet.headers.outer, &fields);
    Ok(())
}
