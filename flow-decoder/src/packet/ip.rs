//! IPv4 (RFC 791) and IPv6 (RFC 8200) headers, with the extension headers that a transport header may stand behind.
//!
//! ```text
//! IPv4: version 4, IHL 4 | ToS | total length 2 | id 2 | flags 3, offset 13 | TTL | protocol | checksum 2 | addresses 4 + 4 | options
//! IPv6: version 4, class 8, label 20 | payload length 2 | next header | hop limit | addresses 16 + 16
//! extension: next header | length | ...     in 8 octets beyond the first 8; AH in 4 octets beyond the first 8; fragment always 8
//! ```
//!
//! Payload ends where the header says (what follows is Ethernet padding); a length of 0 is offloaded segmentation or a jumbogram
//! and says nothing.

use super::ethernet::{IPV4, IPV6};
use super::{Layer, Layers, Next, Packet, array, bytes};

/// Source and destination address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Addresses {
    V4 { src: [u8; 4], dst: [u8; 4] },
    V6 { src: [u8; 16], dst: [u8; 16] },
}

/// The network layer of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip<'a> {
    /// Source and destination address.
    pub addresses: Addresses,
    /// IPv4 protocol, or the next header of IPv6 behind all extension headers that are there.
    pub protocol: u8,
    /// Type of service or traffic class.
    pub tos: u8,
    /// Time to live or hop limit; 0 where it is not known.
    pub ttl: u8,
    /// IPv6 flow label.
    pub flow_label: u32,
    /// Fragmentation fields: always there for IPv4, with a fragment header for IPv6.
    pub fragment: Option<Fragment>,
    /// Octets of the packet as its header says; 0 where it does not.
    pub length: u32,
    /// The first IPv6 routing header.
    pub routing: Option<Routing<'a>>,
}

/// Fragmentation fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Identification: 16 bits in IPv4, 32 in IPv6.
    pub id: u32,
    /// Offset in units of 8 octets.
    pub offset: u16,
    /// IPv4: reserved, don't fragment, more fragments; IPv6: two reserved bits, more fragments.
    pub flags: u8,
}

/// An IPv6 routing header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routing<'a> {
    /// Segments left.
    pub segments_left: u8,
    /// Addresses, in the order of the packet: of source routes (types 0 and 2) and segment routing (type 4, RFC 8754).
    pub addresses: &'a [[u8; 16]],
}

/// A packet without a link layer that says its version.
pub(super) fn by_version(packet: &mut Packet<'_>, rest: &[u8]) -> Next {
    match rest.first().map(|byte| byte >> 4) {
        Some(4) => {
            packet.etype = IPV4;
            Next::Ipv4
        }
        Some(6) => {
            packet.etype = IPV6;
            Next::Ipv6
        }
        _ => Next::End,
    }
}

pub(super) fn v4<'a>(packet: &mut Packet<'a>, layers: &mut Layers, rest: &mut &'a [u8]) -> Next {
    let Some(header) = rest.first_chunk::<20>() else { return Next::End };
    let size = 4 * usize::from(header[0] & 0xf);
    if header[0] >> 4 != 4 || size < 20 {
        return Next::End;
    }
    let [b0, b1] = [header[6], header[7]];
    let fragment = Fragment {
        id: u32::from(u16::from_be_bytes([header[4], header[5]])),
        offset: u16::from_be_bytes([b0, b1]) & 0x1fff,
        flags: b0 >> 5,
    };
    let [src, dst] = [12, 16].map(|at| [header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let protocol = header[9];
    let total = u16::from_be_bytes([header[2], header[3]]);
    packet.ip = Some(Ip {
        addresses: Addresses::V4 { src, dst },
        protocol,
        tos: header[1],
        ttl: header[8],
        flow_label: 0,
        fragment: Some(fragment),
        length: u32::from(total),
        routing: None,
    });
    layers.push(Layer::Ipv4, size);
    let total = usize::from(total);
    let Some(payload) = rest.get(size..) else { return Next::End };
    *rest = match total.checked_sub(size) {
        Some(len) => &payload[..len.min(payload.len())],
        None if total == 0 => payload,
        None => return Next::End,
    };
    if fragment.offset == 0 { Next::Transport(protocol) } else { Next::End }
}

pub(super) fn v6<'a>(packet: &mut Packet<'a>, layers: &mut Layers, rest: &mut &'a [u8]) -> Next {
    let Some((header, payload)) = rest.split_first_chunk::<40>() else { return Next::End };
    if header[0] >> 4 != 6 {
        return Next::End;
    }
    let word = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    let (mut src, mut dst) = ([0; 16], [0; 16]);
    src.copy_from_slice(&header[8..24]);
    dst.copy_from_slice(&header[24..]);
    let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let ip = packet.ip.insert(Ip {
        addresses: Addresses::V6 { src, dst },
        protocol: header[6],
        tos: (word >> 20) as u8,
        ttl: header[7],
        flow_label: word & 0xf_ffff,
        fragment: None,
        length: if len == 0 { 0 } else { 40 + len as u32 },
        routing: None,
    });
    layers.push(Layer::Ipv6, 40);
    *rest = if len == 0 { payload } else { &payload[..len.min(payload.len())] };
    extensions(ip, layers, rest)
}

/// Extension headers in any order and number; each is at least eight octets, so the chain ends.
fn extensions<'a>(ip: &mut Ip<'a>, layers: &mut Layers, rest: &mut &'a [u8]) -> Next {
    loop {
        let (layer, unit) = match ip.protocol {
            HOP_BY_HOP | DESTINATION_OPTIONS => (Layer::Custom, 8),
            ROUTING => (Layer::Ipv6Routing, 8),
            FRAGMENT => (Layer::Ipv6Fragment, 0),
            AUTHENTICATION => (Layer::Custom, 4),
            protocol => return Next::Transport(protocol),
        };
        let Some(head) = rest.first_chunk::<8>() else { return Next::End };
        let size = 8 + unit * usize::from(head[1]);
        match layer {
            Layer::Ipv6Routing if ip.routing.is_none() => ip.routing = Some(routing(rest, size)),
            Layer::Ipv6Fragment => {
                ip.fragment.get_or_insert(Fragment {
                    id: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
                    offset: u16::from_be_bytes([head[2], head[3]]) >> 3,
                    flags: head[3] & 7,
                });
            }
            _ => {}
        }
        let next = head[0];
        if bytes(rest, size).is_none() {
            return Next::End;
        }
        layers.push(layer, size);
        ip.protocol = next;
        if ip.fragment.is_some_and(|fragment| fragment.offset != 0) {
            return Next::End;
        }
    }
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// An IPv6 routing header by itself (srhIPv6Section, RFC 9487), as far as it is there.
pub(crate) fn segments(header: &[u8]) -> Routing<'_> {
    routing(header, header.len())
}

/// A routing header of `size` octets, of which `rest` may hold fewer.
fn routing(rest: &[u8], size: usize) -> Routing<'_> {
    let mut body = &rest[..size.min(rest.len())];
    let Some(&[_, _, kind, segments_left, last, ..]) = array::<8>(&mut body) else {
        return Routing { segments_left: 0, addresses: &[] };
    };
    let (addresses, _) = body.as_chunks::<16>();
    let count = match kind {
        0 | 2 => addresses.len(),
        4 => addresses.len().min(usize::from(last) + 1),
        _ => 0,
    };
    Routing { segments_left, addresses: &addresses[..count] }
}
