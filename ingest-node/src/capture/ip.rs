//! IPv4 and IPv6 headers of captured packets, and the UDP header behind them.
//!
//! Captures are cut by snap lengths and show lengths of 0 where the sending host leaves them to its network card. So each
//! layer hands on both what is there and how much its header declares.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Protocol numbers (IANA).
const HOP_BY_HOP: u8 = 0;
const UDP: u8 = 17;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// Octets of a header that are there, and how many it declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Payload<'a> {
    pub(super) bytes: &'a [u8],
    /// Never less than `bytes` holds.
    pub(super) declared: usize,
}

impl<'a> Payload<'a> {
    /// The first `declared` octets of `bytes`, or as many as there are.
    pub(super) fn new(bytes: &'a [u8], declared: usize) -> Self {
        Self { bytes: &bytes[..declared.min(bytes.len())], declared }
    }

    fn skip(self, n: usize) -> Option<Self> {
        Some(Self { bytes: self.bytes.get(n..)?, declared: self.declared - n })
    }
}

/// One IP packet, or one fragment of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IpPacket<'a> {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// Protocol of the payload; IPv6: of the first header behind the fragment header.
    pub(super) protocol: u8,
    pub(super) payload: Payload<'a>,
    pub(super) fragment: Option<Fragment>,
}

/// Which part of a packet a fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fragment {
    pub(super) id: u32,
    /// In octets.
    pub(super) offset: usize,
    pub(super) more: bool,
}

impl<'a> IpPacket<'a> {
    /// Reads the headers of a packet of either version.
    pub(super) fn parse(packet: &'a [u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::v4(packet),
            6 => Self::v6(packet),
            _ => None,
        }
    }

    /// RFC 791 3.1.
    fn v4(packet: &'a [u8]) -> Option<Self> {
        let head = packet.first_chunk::<20>()?;
        let header_len = usize::from(head[0] & 15) * 4;
        let total = match be16(head[2], head[3]) {
            0 => packet.len(),
            total => usize::from(total),
        };
        if header_len < 20 || total < header_len {
            return None;
        }
        let payload = Payload::new(packet, total).skip(header_len)?;
        let flags = be16(head[6], head[7]);
        let offset = usize::from(flags & 0x1fff) * 8;
        let more = flags & 0x2000 != 0;
        let id = u32::from(be16(head[4], head[5]));
        Some(Self {
            source: IpAddr::V4(Ipv4Addr::new(head[12], head[13], head[14], head[15])),
            destination: IpAddr::V4(Ipv4Addr::new(head[16], head[17], head[18], head[19])),
            protocol: head[9],
            payload,
            fragment: (more || offset > 0).then_some(Fragment { id, offset, more }),
        })
    }

    /// RFC 8200 3 and 4.
    fn v6(packet: &'a [u8]) -> Option<Self> {
        let (head, rest) = packet.split_first_chunk::<40>()?;
        let declared = match be16(head[4], head[5]) {
            0 => rest.len(),
            declared => usize::from(declared),
        };
        let (protocol, payload) = skip_extensions(head[6], Payload::new(rest, declared))?;
        let mut ip = Self {
            source: v6_address(&head[8..24])?,
            destination: v6_address(&head[24..40])?,
            protocol,
            payload,
            fragment: None,
        };
        if protocol == FRAGMENT {
            let head = payload.bytes.first_chunk::<8>()?;
            let word = be16(head[2], head[3]);
            let (offset, more) = (usize::from(word & 0xfff8), word & 1 != 0);
            let id = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
            ip.protocol = head[0];
            ip.payload = payload.skip(8)?;
            ip.fragment = (more || offset > 0).then_some(Fragment { id, offset, more });
        }
        Some(ip)
    }
}

fn v6_address(octets: &[u8]) -> Option<IpAddr> {
    let octets: [u8; 16] = octets.try_into().ok()?;
    Some(IpAddr::V6(Ipv6Addr::from(octets)).to_canonical())
}

/// Passes over IPv6 extension headers, up to a fragment header or what is none.
fn skip_extensions(mut protocol: u8, mut payload: Payload<'_>) -> Option<(u8, Payload<'_>)> {
    loop {
        let unit = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => 8,
            AUTHENTICATION => 4,
            _ => return Some((protocol, payload)),
        };
        let [next, length] = *payload.bytes.first_chunk::<2>()?;
        // Lengths count units beyond the first eight octets; the authentication header's (RFC 4302 2.2) does as well.
        payload = payload.skip(8 + usize::from(length) * unit)?;
        protocol = next;
    }
}

/// A UDP datagram without its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Udp<'a> {
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    pub(super) payload: Payload<'a>,
}

impl<'a> Udp<'a> {
    /// Reads the UDP header (RFC 768) of a whole packet's payload.
    pub(super) fn parse(protocol: u8, payload: Payload<'a>) -> Option<Self> {
        let (protocol, payload) = skip_extensions(protocol, payload)?;
        if protocol != UDP {
            return None;
        }
        let head = payload.bytes.first_chunk::<8>()?;
        let length = match be16(head[4], head[5]) {
            0 => payload.declared,
            length => usize::from(length).min(payload.declared),
        };
        Some(Self {
            source_port: be16(head[0], head[1]),
            destination_port: be16(head[2], head[3]),
            payload: Payload::new(&payload.bytes[8..], length.checked_sub(8)?),
        })
    }
}

fn be16(high: u8, low: u8) -> u16 {
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4_udp(total: u16, udp_len: u16, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, UDP, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet.extend([0xc3, 0x50, 8, 7]);
        packet.extend(udp_len.to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(payload);
        packet
    }

    fn udp(packet: &[u8]) -> Option<Udp<'_>> {
        let ip = IpPacket::parse(packet)?;
        Udp::parse(ip.protocol, ip.payload)
    }

    #[test]
    fn ethernet_padding_is_no_payload_and_a_cut_shows() {
        let padded = v4_udp(32, 12, &[1, 2, 3, 4, 0, 0, 0]);
        let datagram = udp(&padded).unwrap();
        assert_eq!((datagram.source_port, datagram.destination_port), (50_000, 2055));
        assert_eq!(datagram.payload, Payload { bytes: &[1, 2, 3, 4], declared: 4 });
        let cut = udp(&padded[..30]).unwrap();
        assert_eq!(cut.payload, Payload { bytes: &[1, 2], declared: 4 });
    }

    #[test]
    fn lengths_of_0_mean_what_is_there() {
        let offloaded = v4_udp(0, 0, &[1, 2]);
        assert_eq!(udp(&offloaded).unwrap().payload, Payload { bytes: &[1, 2], declared: 2 });
    }

    #[test]
    fn impossible_lengths_are_no_datagram() {
        assert_eq!(udp(&v4_udp(19, 12, &[0; 4])), None, "total below the header");
        assert_eq!(udp(&v4_udp(32, 7, &[0; 4])), None, "UDP length below its header");
        let mut short_header = v4_udp(32, 12, &[0; 4]);
        short_header[0] = 0x44;
        assert_eq!(udp(&short_header), None);
        let whole = v4_udp(32, 12, &[0; 4]);
        for cut in 0..28 {
            assert_eq!(udp(&whole[..cut]), None, "cut to {cut}");
        }
    }

    #[test]
    fn ipv6_extension_headers_are_passed_over() {
        let mut packet = vec![0x60, 0, 0, 0, 0, 38, HOP_BY_HOP, 64];
        packet.extend([0u8; 31]);
        packet.push(1);
        packet.extend([DESTINATION_OPTIONS, 0, 0, 0, 0, 0, 0, 0]);
        packet.extend([FRAGMENT, 0, 0, 0, 0, 0, 0, 0]);
        packet.extend([UDP, 0, 0, 0, 0, 0, 0, 9]);
        packet.extend([0xc3, 0x50, 8, 7, 0, 14, 0, 0]);
        packet.extend([1, 2, 3, 4, 5, 6]);
        let ip = IpPacket::parse(&packet).unwrap();
        assert_eq!(ip.fragment, None, "an atomic fragment is a whole packet (RFC 6946)");
        assert_eq!(udp(&packet).unwrap().payload.bytes, [1, 2, 3, 4, 5, 6]);
        for cut in 0..72 {
            assert_eq!(udp(&packet[..cut]), None, "cut to {cut}");
        }
    }
}
