//! Transport headers: ports, TCP flags, ICMP type and code; and the tunnels that IP protocols and UDP ports stand for.
//!
//! ```text
//! TCP:   source port 2 | destination port 2 | sequence 4 | acknowledgement 4 | data offset 4, ... | flags | ...   20 octets and options
//! UDP:   source port 2 | destination port 2 | length 2 | checksum 2
//! SCTP, DCCP, UDP-Lite: source port 2 | destination port 2 | ...
//! ICMP, ICMPv6: type | code | checksum 2 | 4 octets by type
//! ```

use super::tunnel::{GENEVE_PORT, GTPU_PORT, TunnelKind, VXLAN_PORT};
use super::{Inside, Layer, Layers, Next, Packet, bytes};

/// What follows IP, by protocol number.
pub(super) fn segment(packet: &mut Packet<'_>, layers: &mut Layers, rest: &mut &[u8], protocol: u8) -> Next {
    match protocol {
        1 => icmp(packet, layers, rest, Layer::Icmp),
        58 => icmp(packet, layers, rest, Layer::Icmpv6),
        6 => tcp(packet, layers, rest),
        17 => udp(packet, layers, rest),
        33 | 132 | 136 => {
            packet.ports = ports(rest);
            Next::End
        }
        4 | 41 => Next::Inside(TunnelKind::IpIp, 0, Inside::Ip),
        47 => Next::Gre,
        _ => Next::End,
    }
}

fn ports(rest: &[u8]) -> Option<(u16, u16)> {
    let &[a, b, c, d] = rest.first_chunk()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

fn icmp(packet: &mut Packet<'_>, layers: &mut Layers, rest: &[u8], layer: Layer) -> Next {
    if let Some(&[kind, code]) = rest.first_chunk() {
        packet.icmp = Some((kind, code));
        layers.push(layer, 8);
    }
    Next::End
}

fn tcp(packet: &mut Packet<'_>, layers: &mut Layers, rest: &[u8]) -> Next {
    packet.ports = ports(rest);
    packet.tcp_flags = rest.get(13).copied().unwrap_or(0);
    if let Some(header) = rest.first_chunk::<20>() {
        layers.push(Layer::Tcp, 4 * usize::from(header[12] >> 4).max(5));
    }
    Next::End
}

fn udp(packet: &mut Packet<'_>, layers: &mut Layers, rest: &mut &[u8]) -> Next {
    packet.ports = ports(rest);
    let Some((_, destination)) = packet.ports else { return Next::End };
    if bytes(rest, 8).is_none() {
        return Next::End;
    }
    layers.push(Layer::Udp, 8);
    match destination {
        VXLAN_PORT => Next::Vxlan,
        GENEVE_PORT => Next::Geneve,
        GTPU_PORT => Next::Gtp,
        _ => Next::End,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_set_as_far_as_their_bytes_go() {
        let segment_bytes: Vec<u8> = (1..=20).collect();
        for len in 0..=20 {
            let mut packet = Packet::default();
            segment(&mut packet, &mut Layers::default(), &mut &segment_bytes[..len], 6);
            assert_eq!(packet.ports.is_some(), len >= 4);
            assert_eq!(packet.tcp_flags, if len >= 14 { 14 } else { 0 });
            let mut packet = Packet::default();
            segment(&mut packet, &mut Layers::default(), &mut &segment_bytes[..len], 1);
            assert_eq!(packet.icmp, (len >= 2).then_some((1, 2)));
        }
    }

    #[test]
    fn sctp_has_ports_and_esp_has_none() {
        let mut packet = Packet::default();
        segment(&mut packet, &mut Layers::default(), &mut &[0, 80, 1, 0][..], 132);
        assert_eq!(packet.ports, Some((80, 256)));
        let mut packet = Packet::default();
        segment(&mut packet, &mut Layers::default(), &mut &[0, 80, 1, 0][..], 50);
        assert_eq!(packet.ports, None);
    }
}
