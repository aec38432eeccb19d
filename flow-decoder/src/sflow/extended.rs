//! Records about the way of a sampled packet through the agent, but for BGP's (`gateway.rs`).
//!
//! ```text
//! 0:1001 switch:    source VLAN 4 | source priority 4 | destination VLAN 4 | destination priority 4     all ones: not known
//! 0:1002 router:    next hop address | source mask 4 | destination mask 4
//! 0:1004 user:      source charset 4 | source user opaque<> | destination charset 4 | destination user opaque<>
//! 0:1006 MPLS:      next hop address | stack on input <> | stack on output <>      entries as in RFC 3032
//! 0:1007 NAT:       source address | destination address
//! 0:1020 NAT ports: source port 4 | destination port 4
//! ```

use super::xdr;
use crate::cursor::{Cursor, EndOfInput};
use crate::protobuf::RecordWriter;
use crate::record::flow;

pub(super) struct Switch {
    src_vlan: u32,
    src_priority: u32,
    dst_vlan: u32,
    dst_priority: u32,
}

impl Switch {
    pub(super) fn read(body: &mut Cursor<'_>) -> Result<Self, EndOfInput> {
        let mut known = || body.u32().map(|value| if value == u32::MAX { 0 } else { value });
        Ok(Self { src_vlan: known()?, src_priority: known()?, dst_vlan: known()?, dst_priority: known()? })
    }

    pub(super) fn write(&self, writer: &mut RecordWriter<'_>) {
        writer.uint(flow::SRC_VLAN, u64::from(self.src_vlan));
        writer.uint(flow::DST_VLAN, u64::from(self.dst_vlan));
        writer.uint(flow::SRC_PRIORITY, u64::from(self.src_priority));
        writer.uint(flow::DST_PRIORITY, u64::from(self.dst_priority));
    }
}

pub(super) struct Router<'a> {
    next_hop: &'a [u8],
    src_mask: u32,
    dst_mask: u32,
}

impl<'a> Router<'a> {
    pub(super) fn read(body: &mut Cursor<'a>) -> Result<Self, EndOfInput> {
        Ok(Self { next_hop: xdr::address(body)?, src_mask: body.u32()?, dst_mask: body.u32()? })
    }

    pub(super) fn write(&self, writer: &mut RecordWriter<'_>) {
        writer.bytes(flow::NEXT_HOP, self.next_hop);
        writer.uint(flow::SRC_NET, u64::from(self.src_mask));
        writer.uint(flow::DST_NET, u64::from(self.dst_mask));
    }
}

pub(super) struct User<'a> {
    src: &'a [u8],
    dst: &'a [u8],
}

impl<'a> User<'a> {
    pub(super) fn read(body: &mut Cursor<'a>) -> Result<Self, EndOfInput> {
        // Character sets are IANA MIBenums; agents send ASCII or UTF-8, and other bytes become U+FFFD.
        let mut user = || {
            body.u32()?;
            xdr::opaque(body)
        };
        Ok(Self { src: user()?, dst: user()? })
    }

    pub(super) fn write(&self, writer: &mut RecordWriter<'_>) {
        writer.text(flow::SRC_USER, self.src);
        writer.text(flow::DST_USER, self.dst);
    }
}

pub(super) struct Mpls<'a> {
    next_hop: &'a [u8],
    input: &'a [[u8; 4]],
    output: &'a [[u8; 4]],
}

impl<'a> Mpls<'a> {
    pub(super) fn read(body: &mut Cursor<'a>) -> Result<Self, EndOfInput> {
        Ok(Self { next_hop: xdr::address(body)?, input: xdr::words(body)?, output: xdr::words(body)? })
    }

    /// Writes what neither a router record nor the labels of the sampled header have written.
    pub(super) fn write(&self, writer: &mut RecordWriter<'_>, has_router: bool, has_labels: bool) {
        if !has_router {
            writer.bytes(flow::NEXT_HOP, self.next_hop);
        }
        let label = |entry: &[u8; 4]| u64::from(u32::from_be_bytes(*entry) >> 12);
        if !has_labels {
            writer.packed(flow::MPLS_TTL, self.input.iter().map(|entry| u64::from(entry[3])));
            writer.packed(flow::MPLS_LABEL, self.input.iter().map(label));
        }
        writer.packed(flow::MPLS_OUT_LABEL, self.output.iter().map(label));
    }
}

pub(super) struct Nat<'a> {
    src: &'a [u8],
    dst: &'a [u8],
}

impl<'a> Nat<'a> {
    pub(super) fn read(body: &mut Cursor<'a>) -> Result<Self, EndOfInput> {
        Ok(Self { src: xdr::address(body)?, dst: xdr::address(body)? })
    }

    pub(super) fn write(&self, writer: &mut RecordWriter<'_>) {
        writer.bytes(flow::POST_NAT_SRC_ADDR, self.src);
        writer.bytes(flow::POST_NAT_DST_ADDR, self.dst);
    }
}

pub(super) struct NatPorts {
    src: u32,
    dst: u32,
}

impl NatPorts {
    pub(super) fn read(body: &mut Cursor<'_>) -> Result<Self, EndOfInput> {
        Ok(Self { src: body.u32()?, dst: body.u32()? })
    }

    pub(super) fn write(&self, writer: &mut RecordWriter<'_>) {
        writer.uint(flow::POST_NAT_SRC_PORT, u64::from(self.src));
        writer.uint(flow::POST_NAT_DST_PORT, u64::from(self.dst));
    }
}
