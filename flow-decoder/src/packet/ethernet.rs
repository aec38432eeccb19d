//! Ethernet II and 802.3 frames, VLAN tags, and what Ethernet types stand for.
//!
//! ```text
//! destination 6 | source 6 | type 2                                  type >= 0x0600: Ethernet II
//! destination 6 | source 6 | length 2 | DSAP | SSAP | control        802.3 with LLC (802.2)
//!                            ... AA AA 03 | OUI 3 | type 2           802.3 with SNAP (RFC 1042)
//! tag: TPID 2 (0x8100, 0x88a8, 0x9100, ...) | TCI 2: priority 3, DEI 1, VLAN id 12
//! ```
//!
//! A tag's TPID stands where the untagged frame has its type, so the tags of a frame lie between the addresses and the type.

use super::{Layer, Layers, Next, Packet, array};

/// IPv4.
pub(super) const IPV4: u16 = 0x0800;
/// IPv6.
pub(super) const IPV6: u16 = 0x86dd;
/// MPLS, and MPLS with an upstream-assigned label (RFC 5332).
const MPLS: [u16; 2] = [0x8847, 0x8848];
/// An Ethernet frame, inside of a tunnel.
const BRIDGING: u16 = 0x6558;
/// PPPoE session stage (RFC 2516).
const PPPOE_SESSION: u16 = 0x8864;
/// Below this a type field is an 802.3 length.
const MIN_TYPE: u16 = 0x0600;

fn is_tag(etype: u16) -> bool {
    matches!(etype, 0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x9300)
}

/// A frame from its destination address on.
pub(super) fn frame<'a>(packet: &mut Packet<'a>, layers: &mut Layers, rest: &mut &'a [u8]) -> Next {
    frame_fields(packet, layers, rest).unwrap_or(Next::End)
}

fn frame_fields<'a>(packet: &mut Packet<'a>, layers: &mut Layers, rest: &mut &'a [u8]) -> Option<Next> {
    packet.dst_mac = Some(*array(rest)?);
    packet.src_mac = Some(*array(rest)?);
    let start = *rest;
    let etype = u16::from_be_bytes(*array(rest)?);
    layers.push(Layer::Ethernet, 14);
    Some(if is_tag(etype) { tags(packet, layers, rest, start) } else { Next::EtherType(etype) })
}

/// The tags from `start`, where the first TPID stands.
fn tags<'a>(packet: &mut Packet<'a>, layers: &mut Layers, rest: &mut &'a [u8], start: &'a [u8]) -> Next {
    let (slots, _) = start.as_chunks::<4>();
    let tag_count = slots.iter().take_while(|tag| is_tag(u16::from_be_bytes([tag[0], tag[1]]))).count();
    packet.tags = &slots[..tag_count];
    for _ in packet.tags {
        layers.push(Layer::Dot1q, 4);
    }
    *rest = &start[4 * tag_count..];
    array::<2>(rest).map_or(Next::End, |&etype| Next::EtherType(u16::from_be_bytes(etype)))
}

/// What follows an Ethernet type.
pub(super) fn payload<'a>(
    packet: &mut Packet<'a>,
    layers: &mut Layers,
    rest: &mut &'a [u8],
    etype: u16,
) -> Next {
    if etype < MIN_TYPE {
        return llc(rest);
    }
    if etype == BRIDGING {
        return Next::Ethernet;
    }
    packet.etype = etype;
    match etype {
        IPV4 => Next::Ipv4,
        IPV6 => Next::Ipv6,
        PPPOE_SESSION => pppoe(layers, rest),
        etype if MPLS.contains(&etype) => Next::Mpls,
        _ => Next::End,
    }
}

/// 802.2 LLC; only SNAP with an Ethernet type says what follows.
fn llc(rest: &mut &[u8]) -> Next {
    match array::<8>(rest) {
        Some(&[0xaa, 0xaa, 0x03, 0, 0, 0, high, low]) => match u16::from_be_bytes([high, low]) {
            etype if etype >= MIN_TYPE => Next::EtherType(etype),
            _ => Next::End,
        },
        _ => Next::End,
    }
}

/// The six octets between a PPPoE session's Ethernet type and the PPP protocol number.
fn pppoe(layers: &mut Layers, rest: &mut &[u8]) -> Next {
    match array::<6>(rest) {
        Some([0x11, 0, ..]) => {
            layers.push(Layer::Custom, 6);
            Next::Ppp
        }
        _ => Next::End,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LinkType, parse};

    const MACS: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

    #[test]
    fn vlan_stacks_of_any_height() {
        for height in [1usize, 2, 3, 40] {
            let mut frame = MACS.to_vec();
            for id in 0..height {
                frame.extend([if id == 0 { 0x88 } else { 0x81 }, if id == 0 { 0xa8 } else { 0 }]);
                frame.extend((0xe000 | (id as u16 + 100)).to_be_bytes());
            }
            frame.extend([0x08, 0x06]);
            let headers = parse(LinkType::Ethernet, &frame);
            assert_eq!(headers.outer.tags.len(), height);
            assert_eq!(headers.outer.vlan_id(), Some(100), "priority bits are not part of the id");
            assert_eq!(headers.outer.vlan_ids().last(), Some(99 + height as u16));
            assert_eq!(headers.outer.etype, 0x0806);
        }
    }

    #[test]
    fn snap_has_an_ethernet_type_and_llc_has_none() {
        let snap = [&MACS[..], &[0, 40, 0xaa, 0xaa, 3, 0, 0, 0, 0x86, 0xdd]].concat();
        assert_eq!(parse(LinkType::Ethernet, &snap).outer.etype, 0x86dd);
        let spanning_tree = [&MACS[..], &[0, 39, 0x42, 0x42, 3, 0, 0, 0, 0, 0]].concat();
        let headers = parse(LinkType::Ethernet, &spanning_tree);
        assert_eq!((headers.outer.etype, headers.outer.src_mac), (0, Some([7, 8, 9, 10, 11, 12])));
    }

    #[test]
    fn a_pppoe_session_shows_what_it_carries() {
        let mut frame = [&MACS[..], &[0x88, 0x64, 0x11, 0, 0, 1, 0, 22, 0x00, 0x21]].concat();
        frame.extend([0x45, 0, 0, 20, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        let headers = parse(LinkType::Ethernet, &frame);
        assert_eq!(headers.outer.etype, 0x0800);
        assert_eq!(headers.outer.ip.unwrap().protocol, 1);
    }
}
