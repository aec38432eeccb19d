//! Sampled headers as fields of a flow record.

use super::layers::MAX_LAYERS;
use super::{Addresses, Fragment, Headers, Ip, Layers, Packet, Tunnel};
use crate::protobuf::FieldWriter;
use crate::record::flow;

impl Headers<'_> {
    /// Writes every field that the headers fill, and none else.
    pub fn write(&self, writer: &mut impl FieldWriter) {
        self.outer.write(writer);
        if let Some(tunnel) = self.tunnel {
            tunnel.write(writer);
            self.inner.write_inner(writer);
        }
        self.layers.write(writer);
    }
}

impl Packet<'_> {
    /// Writes the fields of the packet on the wire.
    fn write(&self, writer: &mut impl FieldWriter) {
        writer.uint(flow::SRC_MAC, self.src_mac.map_or(0, number48));
        writer.uint(flow::DST_MAC, self.dst_mac.map_or(0, number48));
        writer.uint(flow::VLAN_ID, self.vlan_id().map_or(0, u64::from));
        writer.uint(flow::ETYPE, u64::from(self.etype));
        if self.tags.len() > 1 {
            writer.packed(flow::VLAN_STACK, self.vlan_ids().map(u64::from));
        }
        if !self.labels.is_empty() {
            writer.packed(flow::MPLS_TTL, self.labels.iter().map(|entry| u64::from(entry[3])));
            writer.packed(flow::MPLS_LABEL, self.labels.iter().map(|entry| label(*entry)));
        }
        if let Some(ip) = &self.ip {
            ip.write(writer);
        }
        if let Some((src, dst)) = self.ports {
            writer.uint(flow::SRC_PORT, u64::from(src));
            writer.uint(flow::DST_PORT, u64::from(dst));
            writer.uint(flow::TCP_FLAGS, u64::from(self.tcp_flags));
        }
        if let Some((kind, code)) = self.icmp {
            writer.uint(flow::ICMP_TYPE, u64::from(kind));
            writer.uint(flow::ICMP_CODE, u64::from(code));
        }
    }

    /// Writes the fields of the packet inside of a tunnel.
    fn write_inner(&self, writer: &mut impl FieldWriter) {
        writer.uint(flow::INNER_SRC_MAC, self.src_mac.map_or(0, number48));
        writer.uint(flow::INNER_DST_MAC, self.dst_mac.map_or(0, number48));
        writer.uint(flow::INNER_VLAN_ID, self.vlan_id().map_or(0, u64::from));
        writer.uint(flow::INNER_ETYPE, u64::from(self.etype));
        if let Some(ip) = &self.ip {
            match ip.addresses {
                Addresses::V4 { src, dst } => {
                    writer.bytes4(flow::INNER_SRC_ADDR, src);
                    writer.bytes4(flow::INNER_DST_ADDR, dst);
                }
                Addresses::V6 { src, dst } => {
                    writer.bytes16(flow::INNER_SRC_ADDR, src);
                    writer.bytes16(flow::INNER_DST_ADDR, dst);
                }
            }
            writer.uint(flow::INNER_PROTO, u64::from(ip.protocol));
        }
        if let Some((src, dst)) = self.ports {
            writer.uint(flow::INNER_SRC_PORT, u64::from(src));
            writer.uint(flow::INNER_DST_PORT, u64::from(dst));
        }
    }
}

impl Ip<'_> {
    fn write(&self, writer: &mut impl FieldWriter) {
        match self.addresses {
            Addresses::V4 { src, dst } => {
                writer.bytes4(flow::SRC_ADDR, src);
                writer.bytes4(flow::DST_ADDR, dst);
            }
            Addresses::V6 { src, dst } => {
                writer.bytes16(flow::SRC_ADDR, src);
                writer.bytes16(flow::DST_ADDR, dst);
            }
        }
        writer.uint(flow::PROTO, u64::from(self.protocol));
        writer.uint(flow::IP_TOS, u64::from(self.tos));
        writer.uint(flow::IP_TTL, u64::from(self.ttl));
        writer.uint(flow::IPV6_FLOW_LABEL, u64::from(self.flow_label));
        if let Some(Fragment { id, offset, flags }) = self.fragment {
            writer.uint(flow::FRAGMENT_ID, u64::from(id));
            writer.uint(flow::FRAGMENT_OFFSET, u64::from(offset));
            writer.uint(flow::IP_FLAGS, u64::from(flags));
        }
        if let Some(routing) = self.routing {
            for &address in routing.addresses {
                writer.bytes16(flow::IPV6_ROUTING_HEADER_ADDRESSES, address);
            }
            writer.uint(flow::IPV6_ROUTING_HEADER_SEG_LEFT, u64::from(routing.segments_left));
        }
    }
}

impl Tunnel {
    fn write(self, writer: &mut impl FieldWriter) {
        writer.uint(flow::TUNNEL_TYPE, self.kind as u64);
        writer.uint(flow::TUNNEL_ID, self.id);
    }
}

impl Layers {
    /// Writes the two packed fields. They are small and in every record, so each is encoded on the stack and copied once.
    fn write(&self, writer: &mut impl FieldWriter) {
        let (mut kinds, mut sizes) = (Packed::default(), Packed::default());
        for (layer, size) in self.iter() {
            kinds.push(layer as u16);
            sizes.push(size);
        }
        writer.bytes(flow::LAYER_STACK, kinds.as_bytes());
        writer.bytes(flow::LAYER_SIZE, sizes.as_bytes());
    }
}

/// The body of a packed field with a small number for each layer.
struct Packed {
    bytes: [u8; 3 * MAX_LAYERS],
    len: usize,
}

impl Default for Packed {
    fn default() -> Self {
        Self { bytes: [0; 3 * MAX_LAYERS], len: 0 }
    }
}

impl Packed {
    /// Adds a varint, of three bytes at most.
    fn push(&mut self, mut value: u16) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A MAC address as a big-endian number.
fn number48([a, b, c, d, e, f]: [u8; 6]) -> u64 {
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

/// The label of a label stack entry.
fn label(entry: [u8; 4]) -> u64 {
    u64::from(u32::from_be_bytes(entry) >> 12)
}
