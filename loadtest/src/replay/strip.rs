//! From a captured frame to the UDP datagram in it.
//!
//! Knows the link layers that captures of exporters have: Ethernet (with any number of 802.1Q/802.1ad tags), Linux
//! cooked (v1, v2), raw IP and loopback. Offsets into a frame are checked by slicing; a short frame is [`Skipped`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use pcap_file::DataLink;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad and the two that came before it.
const ETHERTYPES_OF_TAGS: [u16; 4] = [0x8100, 0x88a8, 0x9100, 0x9200];
const UDP: u8 = 17;
/// Extension headers that may stand before UDP: hop-by-hop, routing, destination options.
const IPV6_EXTENSIONS: [u8; 3] = [0, 43, 60];
const IPV6_FRAGMENT: u8 = 44;

/// A UDP datagram in a frame.
#[derive(Debug, PartialEq, Eq)]
pub struct Stripped<'a> {
    /// Who sent it.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// Its payload.
    pub payload: &'a [u8],
}

/// Why a frame gives no datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped {
    /// Another link layer, network protocol or transport.
    NotUdp,
    /// Part of a fragmented packet.
    Fragment,
    /// The frame ends before its datagram does.
    Short,
}

/// The datagram in a frame of this link layer.
pub fn strip(link: DataLink, frame: &[u8]) -> Result<Stripped<'_>, Skipped> {
    match link {
        DataLink::ETHERNET => ethernet(frame),
        DataLink::LINUX_SLL => of_ethertype(u16_at(frame, 14)?, from(frame, 16)?),
        DataLink::LINUX_SLL2 => of_ethertype(u16_at(frame, 0)?, from(frame, 20)?),
        DataLink::RAW | DataLink::IPV4 | DataLink::IPV6 => ip(frame),
        // The family's number differs between systems, and so does its byte order; the IP version does not.
        DataLink::NULL | DataLink::LOOP => ip(from(frame, 4)?),
        _ => Err(Skipped::NotUdp),
    }
}

fn ethernet(frame: &[u8]) -> Result<Stripped<'_>, Skipped> {
    let mut at = 12;
    while ETHERTYPES_OF_TAGS.contains(&u16_at(frame, at)?) {
        at += 4;
    }
    of_ethertype(u16_at(frame, at)?, from(frame, at + 2)?)
}

fn of_ethertype(ethertype: u16, packet: &[u8]) -> Result<Stripped<'_>, Skipped> {
    match ethertype {
        ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => ip(packet),
        _ => Err(Skipped::NotUdp),
    }
}

fn ip(packet: &[u8]) -> Result<Stripped<'_>, Skipped> {
    match byte(packet, 0)? >> 4 {
        4 => ipv4(packet),
        6 => ipv6(packet),
        _ => Err(Skipped::NotUdp),
    }
}

fn ipv4(packet: &[u8]) -> Result<Stripped<'_>, Skipped> {
    if byte(packet, 9)? != UDP {
        return Err(Skipped::NotUdp);
    }
    const MORE_FRAGMENTS_AND_OFFSET: u16 = 0x3fff;
    if u16_at(packet, 6)? & MORE_FRAGMENTS_AND_OFFSET != 0 {
        return Err(Skipped::Fragment);
    }
    let header = usize::from(byte(packet, 0)? & 0xf) * 4;
    let source = Ipv4Addr::from(array::<4>(packet, 12)?);
    let destination = Ipv4Addr::from(array::<4>(packet, 16)?);
    udp(source.into(), destination.into(), from(packet, header)?)
}

fn ipv6(packet: &[u8]) -> Result<Stripped<'_>, Skipped> {
    let source = Ipv6Addr::from(array::<16>(packet, 8)?);
    let destination = Ipv6Addr::from(array::<16>(packet, 24)?);
    let (mut next, mut at) = (byte(packet, 6)?, 40);
    while IPV6_EXTENSIONS.contains(&next) {
        next = byte(packet, at)?;
        at += 8 + usize::from(byte(packet, at + 1)?) * 8;
    }
    match next {
        UDP => udp(source.into(), destination.into(), from(packet, at)?),
        IPV6_FRAGMENT => Err(Skipped::Fragment),
        _ => Err(Skipped::NotUdp),
    }
}

fn udp(source: IpAddr, destination: IpAddr, segment: &[u8]) -> Result<Stripped<'_>, Skipped> {
    const HEADER: usize = 8;
    let source = SocketAddr::new(source, u16_at(segment, 0)?);
    let destination = SocketAddr::new(destination, u16_at(segment, 2)?);
    // The length says where the payload ends: Ethernet pads short frames.
    let payload = segment.get(HEADER..usize::from(u16_at(segment, 4)?)).ok_or(Skipped::Short)?;
    Ok(Stripped { source, destination, payload })
}

fn from(bytes: &[u8], at: usize) -> Result<&[u8], Skipped> {
    bytes.get(at..).ok_or(Skipped::Short)
}

fn byte(bytes: &[u8], at: usize) -> Result<u8, Skipped> {
    bytes.get(at).copied().ok_or(Skipped::Short)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Skipped> {
    bytes.get(at..at + N).and_then(|part| part.try_into().ok()).ok_or(Skipped::Short)
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Skipped> {
    array(bytes, at).map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// UDP 192.0.2.1:5 -> 192.0.2.9:2055 with payload "hi" and two bytes of padding behind it.
    fn ipv4_packet() -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 30, 0, 0, 0x40, 0, 64, UDP, 0, 0, 192, 0, 2, 1, 192, 0, 2, 9];
        packet.extend([0, 5, 8, 7, 0, 10, 0, 0, b'h', b'i', 0, 0]);
        packet
    }

    fn stripped(link: DataLink, head: &[u8], packet: &[u8]) -> Result<(String, String, Vec<u8>), Skipped> {
        let frame = [head, packet].concat();
        strip(link, &frame).map(|s| (s.source.to_string(), s.destination.to_string(), s.payload.to_vec()))
    }

    #[test]
    fn the_payload_is_found_under_every_link_layer() {
        let want = Ok(("192.0.2.1:5".to_owned(), "192.0.2.9:2055".to_owned(), b"hi".to_vec()));
        let packet = ipv4_packet();
        assert_eq!(stripped(DataLink::RAW, &[], &packet), want);
        assert_eq!(stripped(DataLink::NULL, &[2, 0, 0, 0], &packet), want);
        let macs = [0; 12];
        assert_eq!(stripped(DataLink::ETHERNET, &[&macs[..], &[8, 0]].concat(), &packet), want);
        let tagged = [&macs[..], &[0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 8, 0]].concat();
        assert_eq!(stripped(DataLink::ETHERNET, &tagged, &packet), want);
        assert_eq!(stripped(DataLink::LINUX_SLL, &[&[0; 14][..], &[8, 0]].concat(), &packet), want);
        assert_eq!(stripped(DataLink::LINUX_SLL2, &[&[8, 0][..], &[0; 18]].concat(), &packet), want);
    }

    #[test]
    fn ipv6_extension_headers_are_stepped_over() {
        let mut packet = vec![0x60, 0, 0, 0, 0, 18, 60, 64];
        packet.extend([[0; 15].as_slice(), &[1], &[0; 15], &[2]].concat());
        packet.extend([UDP, 0, 0, 0, 0, 0, 0, 0]);
        packet.extend([0, 5, 8, 7, 0, 10, 0, 0, b'h', b'i']);
        let want = Ok(("[::1]:5".to_owned(), "[::2]:2055".to_owned(), b"hi".to_vec()));
        assert_eq!(stripped(DataLink::RAW, &[], &packet), want);
        packet[6] = IPV6_FRAGMENT;
        assert_eq!(stripped(DataLink::RAW, &[], &packet), Err(Skipped::Fragment));
    }

    #[test]
    fn what_is_no_whole_udp_datagram_is_skipped_with_a_reason() {
        let mut fragment = ipv4_packet();
        fragment[6] = 0x20;
        assert_eq!(stripped(DataLink::RAW, &[], &fragment), Err(Skipped::Fragment));
        let mut tcp = ipv4_packet();
        tcp[9] = 6;
        assert_eq!(stripped(DataLink::RAW, &[], &tcp), Err(Skipped::NotUdp));
        assert_eq!(stripped(DataLink::RAW, &[], &ipv4_packet()[..29]), Err(Skipped::Short));
        assert_eq!(stripped(DataLink::PPP, &[], &ipv4_packet()), Err(Skipped::NotUdp));
    }

    proptest! {
        #[test]
        fn no_frame_panics(frame: Vec<u8>, link in 0u32..300) {
            let _ = strip(DataLink::from(link), &frame);
        }
    }
}
