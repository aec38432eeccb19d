//! Builds capture files byte by byte.

#![allow(dead_code, reason = "each test binary uses its part")]

/// Link type: IP packets alone.
pub(crate) const RAW: u32 = 101;
/// When the packets came, seconds since 1970.
pub(crate) const SECONDS: u32 = 1_700_000_000;

#[derive(Clone, Copy)]
pub(crate) enum Order {
    Big,
    Little,
}

impl Order {
    pub(crate) fn u16(self, value: u16) -> [u8; 2] {
        match self {
            Self::Big => value.to_be_bytes(),
            Self::Little => value.to_le_bytes(),
        }
    }

    pub(crate) fn u32(self, value: u32) -> [u8; 4] {
        match self {
            Self::Big => value.to_be_bytes(),
            Self::Little => value.to_le_bytes(),
        }
    }
}

/// A classic pcap whose packets carry the fraction 5.
pub(crate) fn pcap(order: Order, magic: u32, link: u32, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = order.u32(magic).to_vec();
    file.extend([order.u16(2), order.u16(4)].concat());
    file.extend([order.u32(0), order.u32(0), order.u32(65_535), order.u32(link)].concat());
    for frame in frames {
        let len = frame.len() as u32;
        file.extend([order.u32(SECONDS), order.u32(5), order.u32(len), order.u32(len)].concat());
        file.extend(frame);
    }
    file
}

pub(crate) fn micros(link: u32, frames: &[Vec<u8>]) -> Vec<u8> {
    pcap(Order::Little, 0xa1b2_c3d4, link, frames)
}

pub(crate) fn udp(payload: &[u8]) -> Vec<u8> {
    let len = (8 + payload.len()) as u16;
    [&50_000u16.to_be_bytes()[..], &2055u16.to_be_bytes(), &len.to_be_bytes(), &[0, 0], payload].concat()
}

/// An IPv4 packet, or the part of one at `offset`.
pub(crate) fn ipv4(id: u16, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let total = (20 + payload.len()) as u16;
    let flags = (offset / 8) | if more { 0x2000 } else { 0 };
    let mut packet = vec![0x45, 0];
    packet.extend([total.to_be_bytes(), id.to_be_bytes(), flags.to_be_bytes()].concat());
    packet.extend([64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 254]);
    packet.extend(payload);
    packet
}
