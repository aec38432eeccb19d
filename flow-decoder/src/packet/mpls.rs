//! MPLS label stacks (RFC 3032).
//!
//! ```text
//! entry: label 20 | traffic class 3 | bottom of stack 1 | TTL 8
//! ```
//!
//! Nothing says what a stack carries. As routers do when they balance load (RFC 4928), a first nibble of 4 or 6 is taken for IP;
//! anything else (pseudo-wires begin with 0) is left alone.

use super::ethernet::{IPV4, IPV6};
use super::{Layer, Layers, Next, Packet};

/// A stack from its top; one without a bottom ends with its last whole entry.
pub(super) fn stack<'a>(packet: &mut Packet<'a>, layers: &mut Layers, rest: &mut &'a [u8]) -> Next {
    let (entries, _) = rest.as_chunks::<4>();
    let bottom = entries.iter().position(|entry| entry[2] & 1 == 1);
    let height = bottom.map_or(entries.len(), |at| at + 1);
    if height > 0 {
        packet.labels = &entries[..height];
        layers.push(Layer::Mpls, 4 * height);
    }
    *rest = &rest[4 * height..];
    match (bottom, rest.first().map(|byte| byte >> 4)) {
        (Some(_), Some(4)) => {
            packet.etype = IPV4;
            Next::Ipv4
        }
        (Some(_), Some(6)) => {
            packet.etype = IPV6;
            Next::Ipv6
        }
        _ => Next::End,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LinkType, parse};

    #[test]
    fn a_stack_without_bottom_ends_with_the_sample() {
        let stack = [[0, 1, 0x00, 64]; 30].concat();
        let headers = parse(LinkType::Mpls, &stack[..119]);
        assert_eq!((headers.outer.labels.len(), headers.outer.ip), (29, None));
    }

    #[test]
    fn more_than_sixteen_labels_and_reserved_labels_inside() {
        let mut packet = [[0, 0x10, 0x00, 63]; 20].concat();
        packet.extend([0, 0, 0x70, 0]); // entropy label indicator, not the bottom
        packet.extend([0, 0x20, 0x01, 0]);
        packet.extend([0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        let headers = parse(LinkType::Mpls, &packet);
        assert_eq!(headers.outer.labels.len(), 22);
        assert_eq!((headers.outer.etype, headers.outer.ip.map(|ip| ip.protocol)), (0x0800, Some(6)));
    }
}
