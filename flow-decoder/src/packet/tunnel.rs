//! Tunnel headers.
//!
//! ```text
//! GRE (RFC 2784, 2890): C R K S ... version 3 | type 2 | [checksum 4] | [key 4] | [sequence 4]
//! VXLAN (RFC 7348):     flags (0x08: id is valid) | 3 | id 3 | 1 | Ethernet frame
//! Geneve (RFC 8926):    version 2, option length 6 | flags | type 2 | id 3 | 1 | options, in units of 4 octets
//! GTP-U (TS 29.281):    version 3, PT 1, 0, E S PN | message | length 2 | TEID 4 | [sequence 2, N-PDU 1, next 1 | extensions]
//! ```
//!
//! A header that is cut or of another version is no tunnel: the record then shows only the packet around it.

use super::{Inside, Layer, Layers, Next, array, bytes};

/// UDP destination port of VXLAN.
pub(super) const VXLAN_PORT: u16 = 4789;
/// UDP destination port of Geneve.
pub(super) const GENEVE_PORT: u16 = 6081;
/// UDP destination port of GTP-U.
pub(super) const GTPU_PORT: u16 = 2152;
/// Ethernet type of an Ethernet frame in GRE and Geneve.
const BRIDGING: u16 = 0x6558;

/// A tunnel's protocol; the discriminants are `TunnelType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TunnelKind {
    /// Generic Routing Encapsulation.
    Gre = 1,
    /// IP in IP, of any versions.
    IpIp = 2,
    /// VXLAN.
    Vxlan = 3,
    /// Geneve.
    Geneve = 4,
    /// GTP user plane.
    GtpU = 5,
}

/// The tunnel around the inner packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Its protocol.
    pub kind: TunnelKind,
    /// Key, network identifier or TEID; 0 where there is none.
    pub id: u64,
}

const NO_TUNNEL: Next = Next::End;

pub(super) fn gre(layers: &mut Layers, rest: &mut &[u8]) -> Next {
    gre_header(layers, rest).unwrap_or(NO_TUNNEL)
}

fn gre_header(layers: &mut Layers, rest: &mut &[u8]) -> Option<Next> {
    const CHECKSUM: u8 = 0x80;
    const ROUTING: u8 = 0x40;
    const KEY: u8 = 0x20;
    const SEQUENCE: u8 = 0x10;
    let &[flags, version, high, low] = array(rest)?;
    if flags & ROUTING != 0 || version & 7 != 0 {
        return None; // RFC 1701 source routes; PPTP
    }
    let mut size = 4;
    let mut optional = |flag: u8| -> Option<u32> {
        if flags & flag == 0 {
            return Some(0);
        }
        size += 4;
        array(rest).copied().map(u32::from_be_bytes)
    };
    optional(CHECKSUM)?;
    let key = optional(KEY)?;
    optional(SEQUENCE)?;
    layers.push(Layer::Gre, size);
    let inside = Inside::EtherType(u16::from_be_bytes([high, low]));
    Some(Next::Inside(TunnelKind::Gre, u64::from(key), inside))
}

pub(super) fn vxlan(layers: &mut Layers, rest: &mut &[u8]) -> Next {
    const ID_IS_VALID: u8 = 0x08;
    match array::<8>(rest) {
        Some(&[flags, _, _, _, a, b, c, _]) if flags & ID_IS_VALID != 0 => {
            layers.push(Layer::Vxlan, 8);
            Next::Inside(TunnelKind::Vxlan, number24([a, b, c]), Inside::EtherType(BRIDGING))
        }
        _ => NO_TUNNEL,
    }
}

pub(super) fn geneve(layers: &mut Layers, rest: &mut &[u8]) -> Next {
    let Some(&[version, _, high, low, a, b, c, _]) = array::<8>(rest) else { return NO_TUNNEL };
    let options = 4 * usize::from(version & 0x3f);
    if version >> 6 != 0 || bytes(rest, options).is_none() {
        return NO_TUNNEL;
    }
    layers.push(Layer::Geneve, 8 + options);
    let inside = Inside::EtherType(u16::from_be_bytes([high, low]));
    Next::Inside(TunnelKind::Geneve, number24([a, b, c]), inside)
}

pub(super) fn gtp(layers: &mut Layers, rest: &mut &[u8]) -> Next {
    gtp_header(layers, rest).unwrap_or(NO_TUNNEL)
}

fn gtp_header(layers: &mut Layers, rest: &mut &[u8]) -> Option<Next> {
    const VERSION_1_GTP: u8 = 0x30;
    const USER_PACKET: u8 = 255;
    const EXTENSION: u8 = 0x04;
    const OPTIONAL: u8 = 0x07;
    let before = rest.len();
    let &[flags, message, _, _, a, b, c, d] = array(rest)?;
    if flags & 0xf0 != VERSION_1_GTP {
        return None;
    }
    if flags & OPTIONAL != 0 {
        let &[_, _, _, mut next] = array(rest)?;
        while flags & EXTENSION != 0 && next != 0 {
            let size = 4 * usize::from(*rest.first()?);
            next = *bytes(rest, size)?.last()?; // a size of 0 has no last octet: the chain ends
        }
    }
    layers.push(Layer::Gtp, before - rest.len());
    let inside = if message == USER_PACKET { Inside::Ip } else { Inside::Unknown };
    Some(Next::Inside(TunnelKind::GtpU, u64::from(u32::from_be_bytes([a, b, c, d])), inside))
}

fn number24([a, b, c]: [u8; 3]) -> u64 {
    u64::from(u32::from_be_bytes([0, a, b, c]))
}
