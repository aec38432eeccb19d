//! Link layers of captures: from a frame to the IP packet in it.
//!
//! ```text
//! Ethernet          destination 6 | source 6 | type 2 | payload          IEEE 802.3; tags 802.1Q, 802.1ad: TCI 2 | type 2
//! MPLS              label 20, class 3, bottom 1, TTL 8; up to the bottom of the stack           RFC 3032; payload by its version
//! PPPoE             0x11 | code | session 2 | length 2 | PPP protocol 2 | payload                                     RFC 2516
//! Linux cooked v1   packet type 2 | ARPHRD 2 | length 2 | address 8 | protocol 2 | payload
//! Linux cooked v2   protocol 2 | 0 2 | interface 4 | ARPHRD 2 | packet type 1 | length 1 | address 8 | payload
//! raw IP            payload
//! null, loop        address family 4 (null: the writer's byte order; loop: network order) | payload
//! ```

/// Ethernet types of IPv4 and IPv6.
const IP: [u16; 2] = [0x0800, 0x86dd];
/// Ethernet types of VLAN tags: 802.1Q, 802.1ad, and two that older switches use for the outer tag.
const VLAN: [u16; 4] = [0x8100, 0x88a8, 0x9100, 0x9200];
/// Ethernet types of MPLS.
const MPLS: [u16; 2] = [0x8847, 0x8848];
/// Ethernet type of PPPoE's session stage, and the octets in front of the PPP protocol.
const PPPOE: (u16, usize) = (0x8864, 6);
/// PPP protocols of IPv4 and IPv6.
const PPP_IP: [[u8; 2]; 2] = [[0, 0x21], [0, 0x57]];
/// A length instead of a type (IEEE 802.3), then LLC and SNAP with a zero organisation: a type follows.
const SNAP: [u8; 6] = [0xaa, 0xaa, 0x03, 0, 0, 0];

/// How frames of an interface begin (numbers of the tcpdump group's link-layer header types).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkType {
    Ethernet,
    LinuxCooked,
    LinuxCookedV2,
    RawIp,
    /// Address family first: NULL and LOOP.
    AddressFamily,
    Other(u32),
}

impl LinkType {
    /// From the number in a file. The high half of pcap's field carries other things (length of the frame check sequence).
    pub(super) fn from_number(number: u32) -> Self {
        match number & 0xffff {
            0 | 108 => Self::AddressFamily,
            1 => Self::Ethernet,
            // 12 and 14 are what some BSDs write for raw IP.
            12 | 14 | 101 | 228 | 229 => Self::RawIp,
            113 => Self::LinuxCooked,
            276 => Self::LinuxCookedV2,
            other => Self::Other(other),
        }
    }

    /// The IP packet in a frame, where there is one.
    pub(super) fn ip_packet(self, frame: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Ethernet => payload(split(frame, 12)?.1),
            Self::LinuxCooked => payload(split(frame, 14)?.1),
            Self::LinuxCookedV2 => {
                let (head, body) = split(frame, 20)?;
                typed(u16::from_be_bytes([head[0], head[1]]), body)
            }
            Self::RawIp => Some(frame),
            Self::AddressFamily => family(frame),
            Self::Other(_) => None,
        }
    }
}

/// The IP packet behind an Ethernet type.
fn payload(from_type: &[u8]) -> Option<&[u8]> {
    let (head, body) = split(from_type, 2)?;
    typed(u16::from_be_bytes([head[0], head[1]]), body)
}

fn typed(mut ethertype: u16, mut body: &[u8]) -> Option<&[u8]> {
    loop {
        match ethertype {
            known if IP.contains(&known) => return Some(body),
            tag if VLAN.contains(&tag) => body = split(body, 2)?.1,
            label if MPLS.contains(&label) => return under_labels(body),
            session if session == PPPOE.0 => {
                let (protocol, packet) = split(body, PPPOE.1)?.1.split_first_chunk()?;
                return PPP_IP.contains(protocol).then_some(packet);
            }
            ..0x600 if body.starts_with(&SNAP) => body = &body[SNAP.len()..],
            _ => return None,
        }
        let (head, rest) = split(body, 2)?;
        ethertype = u16::from_be_bytes([head[0], head[1]]);
        body = rest;
    }
}

/// The IP packet under a stack of labels, which does not say what it carries.
fn under_labels(mut stack: &[u8]) -> Option<&[u8]> {
    loop {
        let (label, rest) = split(stack, 4)?;
        stack = rest;
        if label[2] & 1 == 1 {
            return matches!(stack.first()? >> 4, 4 | 6).then_some(stack);
        }
    }
}

/// AF_INET is 2 everywhere; AF_INET6 is 10 on Linux, 24 on NetBSD and OpenBSD, 28 on FreeBSD, 30 on macOS.
fn family(frame: &[u8]) -> Option<&[u8]> {
    let (head, body) = split(frame, 4)?;
    let word = [head[0], head[1], head[2], head[3]];
    let is_ip = [u32::from_be_bytes(word), u32::from_le_bytes(word)]
        .iter()
        .any(|family| matches!(family, 2 | 10 | 24 | 28 | 30));
    is_ip.then_some(body)
}

fn split(bytes: &[u8], at: usize) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_layer_leads_to_the_packet() {
        let packet = [0x45, 1, 2, 3];
        let frame = |head: &[u8]| [head, &packet[..]].concat();
        let macs = [0u8; 12];
        let cases = [
            (1, frame(&[&macs[..], &[8, 0]].concat())),
            (1, frame(&[&macs[..], &[0x81, 0, 0, 5, 8, 0]].concat())),
            (1, frame(&[&macs[..], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0]].concat())),
            (1, frame(&[&macs[..], &[0, 60, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0]].concat())),
            (1, frame(&[&macs[..], &[0x88, 0x47, 0, 1, 0, 64, 0, 2, 1, 64]].concat())),
            (1, frame(&[&macs[..], &[0x81, 0, 0, 5, 0x88, 0x64, 0x11, 0, 0, 1, 0, 6, 0, 0x21]].concat())),
            (1 | 0x2400_0000, frame(&[&macs[..], &[8, 0]].concat())),
            (113, frame(&[&[0u8; 14][..], &[8, 0]].concat())),
            (113, frame(&[&[0u8; 14][..], &[0x81, 0, 0, 5, 8, 0]].concat())),
            (276, frame(&[&[8, 0][..], &[0u8; 18]].concat())),
            (101, frame(&[])),
            (228, frame(&[])),
            (229, frame(&[])),
            (0, frame(&[2, 0, 0, 0])),
            (0, frame(&[0, 0, 0, 2])),
            (108, frame(&[0, 0, 0, 30])),
        ];
        for (number, bytes) in cases {
            let link = LinkType::from_number(number);
            assert_eq!(link.ip_packet(&bytes), Some(&packet[..]), "{link:?} {bytes:?}");
            for cut in 0..bytes.len() - packet.len() {
                if link != LinkType::RawIp {
                    assert_eq!(link.ip_packet(&bytes[..cut]), None, "{link:?} cut to {cut}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_ip_is_passed_over() {
        let arp = [&[0u8; 12][..], &[8, 6, 0, 1]].concat();
        assert_eq!(LinkType::Ethernet.ip_packet(&arp), None);
        assert_eq!(LinkType::from_number(0).ip_packet(&[7, 0, 0, 0, 1]), None);
        assert_eq!(LinkType::from_number(220), LinkType::Other(220));
    }
}
