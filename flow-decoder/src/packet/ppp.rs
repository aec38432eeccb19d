//! PPP and Cisco HDLC frames.
//!
//! ```text
//! [FF 03] | protocol 2 (one octet where it is odd) | payload      PPP (RFC 1661, RFC 1662)
//! 0F or 8F | 00 | Ethernet type 2 | payload                       Cisco HDLC
//! ```

use super::ethernet::{IPV4, IPV6};
use super::{Next, Packet, array};

/// A frame from its address octet, or its protocol number where the address is left out.
pub(super) fn frame(packet: &mut Packet<'_>, rest: &mut &[u8]) -> Next {
    if let [0x0f | 0x8f, 0x00, ..] = rest {
        return match array::<4>(rest) {
            Some(&[_, _, high, low]) => Next::EtherType(u16::from_be_bytes([high, low])),
            None => Next::End,
        };
    }
    if let [0xff, 0x03, tail @ ..] = rest {
        *rest = tail;
    }
    let protocol = match **rest {
        [low, ..] if low & 1 == 1 => array::<1>(rest).map(|&[low]| u16::from(low)),
        _ => array::<2>(rest).map(|&protocol| u16::from_be_bytes(protocol)),
    };
    match protocol {
        Some(0x0021) => {
            packet.etype = IPV4;
            Next::Ipv4
        }
        Some(0x0057) => {
            packet.etype = IPV6;
            Next::Ipv6
        }
        Some(0x0281 | 0x0283) => Next::Mpls,
        _ => Next::End,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LinkType, parse};

    #[test]
    fn framed_unframed_compressed_and_cisco() {
        let ip = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 50, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        for head in [&[0xff, 3, 0, 0x21][..], &[0, 0x21], &[0x21], &[0x0f, 0, 8, 0]] {
            let frame = [head, &ip].concat();
            let headers = parse(LinkType::Ppp, &frame);
            assert_eq!(headers.outer.ip.map(|ip| ip.protocol), Some(50), "{head:02x?}");
            assert_eq!(headers.outer.etype, 0x0800);
        }
        for cut in [&[][..], &[0xff], &[0xff, 3], &[0], &[0x0f, 0, 8]] {
            assert_eq!(parse(LinkType::Ppp, cut).outer.ip, None);
        }
    }
}
