//! Sampled headers as fields of a flow record.

use super::{Addresses, Fragment, Headers, Ip, Packet, Tunnel};
use crate::protobuf::RecordWriter;
use crate::record::flow;

impl Headers<'_> {
    /// Writes every field that the headers fill, and none else.
    pub fn write(&self, writer: &mut RecordWriter<'_>) {
        self.outer.write(writer);
        if let Some(tunnel) = self.tunnel {
            tunnel.write(writer);
            self.inner.write_inner(writer);
        }
        // Zipped twice rather than collected: both are at most a few dozen entries in registers and on the stack.
        writer.packed(flow::LAYER_STACK, self.layers.iter().map(|(layer, _)| layer as u64));
        writer.packed(flow::LAYER_SIZE, self.layers.iter().map(|(_, size)| u64::from(size)));
    }
}

impl Packet<'_> {
    /// Writes the fields of the packet on the wire.
    fn write(&self, writer: &mut RecordWriter<'_>) {
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
    fn write_inner(&self, writer: &mut RecordWriter<'_>) {
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
    fn write(&self, writer: &mut RecordWriter<'_>) {
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
    fn write(self, writer: &mut RecordWriter<'_>) {
        writer.uint(flow::TUNNEL_TYPE, self.kind as u64);
        writer.uint(flow::TUNNEL_ID, self.id);
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
