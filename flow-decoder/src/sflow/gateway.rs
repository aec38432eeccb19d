//! The BGP record of a flow sample.
//!
//! ```text
//! 0:1003 gateway: next hop address | own AS 4 | source AS 4 | source peer AS 4
//!                 | segments 4: (type 4 (1 set, 2 sequence) | length 4 | AS 4 ...) ...
//!                 | communities <> | local preference 4
//! ```
//!
//! As in goflow2: the destination AS is the last of the path and the next hop's the first; without a path the destination is in
//! the agent's own AS. A source AS of 0 is the agent's own.

use super::xdr;
use crate::cursor::{Cursor, EndOfInput};
use crate::protobuf::RecordWriter;
use crate::record::flow;

pub(super) struct Gateway<'a> {
    next_hop: &'a [u8],
    own_as: u32,
    src_as: u32,
    src_peer_as: u32,
    /// The segments from their first type word on; checked when read.
    segments: &'a [u8],
    communities: &'a [[u8; 4]],
    local_pref: u32,
}

impl<'a> Gateway<'a> {
    pub(super) fn read(body: &mut Cursor<'a>) -> Result<Self, EndOfInput> {
        Ok(Self {
            next_hop: xdr::address(body)?,
            own_as: body.u32()?,
            src_as: body.u32()?,
            src_peer_as: body.u32()?,
            segments: segments(body)?,
            communities: xdr::words(body)?,
            local_pref: body.u32()?,
        })
    }

    /// The AS numbers of all segments, towards the destination.
    fn path(&self) -> impl Iterator<Item = u32> {
        let mut cursor = Cursor::new(self.segments, 0);
        let segments = std::iter::from_fn(move || {
            cursor.u32().ok()?;
            xdr::words(&mut cursor).ok()
        });
        segments.flatten().map(|number| u32::from_be_bytes(*number))
    }

    pub(super) fn write(&self, writer: &mut RecordWriter<'_>) {
        let or_own = |number: u32| u64::from(if number == 0 { self.own_as } else { number });
        writer.bytes(flow::BGP_NEXT_HOP, self.next_hop);
        writer.uint(flow::NEXT_HOP_AS, self.path().next().map_or(0, u64::from));
        writer.uint(flow::SRC_AS, or_own(self.src_as));
        writer.uint(flow::DST_AS, u64::from(self.path().last().unwrap_or(self.own_as)));
        writer.uint(flow::SRC_PEER_AS, u64::from(self.src_peer_as));
        writer.packed(flow::AS_PATH, self.path().map(u64::from));
        let communities = self.communities.iter().map(|community| u64::from(u32::from_be_bytes(*community)));
        writer.packed(flow::BGP_COMMUNITIES, communities);
        writer.uint(flow::BGP_LOCAL_PREF, u64::from(self.local_pref));
    }
}

/// The bytes of all path segments; each takes eight bytes at least, so the count cannot outrun them.
fn segments<'a>(body: &mut Cursor<'a>) -> Result<&'a [u8], EndOfInput> {
    let count = body.u32()?;
    let all = body.rest();
    for _ in 0..count {
        body.u32()?;
        xdr::words(body)?;
    }
    Ok(&all[..all.len() - body.remaining()])
}
