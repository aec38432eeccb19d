//! What an agent did with a packet: the queue, filter, function and overlay that it met (sFlow Dropped Packet Notification,
//! Transit Delay, Tunnel and Broadcom Peak Buffer Utilization Structures).
//!
//! ```text
//! 0:1036 egress queue: queue 4        0:1037 ACL: number 4 | name opaque<> | direction 4 (0 unknown, 1 ingress, 2 egress)
//! 0:1038 function: name opaque<>      0:1039 transit delay: ns 4, all ones: as long or longer
//! 0:1040 queue depth: octets 4        0:1041 hardware trap: group opaque<> | trap opaque<>
//! 0:1029 VNI on egress: VNI 4         0:1030 VNI on ingress: VNI 4
//! 4413:1 egress queue: queue 4
//! ```

use super::fields::drops;
use super::xdr;
use crate::cursor::{Cursor, EndOfInput};
use crate::protobuf::RecordWriter;
use crate::record::flow;

/// Broadcom's record of the egress queue.
pub(super) const BST_EGRESS_QUEUE: u32 = 4413 << 12 | 1;

#[derive(Default)]
pub(super) struct Circumstances<'a> {
    egress_queue: Option<u32>,
    acl: Option<Acl<'a>>,
    function: Option<&'a [u8]>,
    transit_delay_ns: Option<u32>,
    queue_depth: Option<u32>,
    vni: Option<u32>,
}

struct Acl<'a> {
    number: u32,
    name: &'a [u8],
    direction: u32,
}

impl<'a> Circumstances<'a> {
    /// Takes in one record of these; the first of a kind counts.
    #[cold]
    pub(super) fn read(&mut self, data_format: u32, body: &mut Cursor<'a>) -> Result<(), EndOfInput> {
        match data_format {
            1029 | 1030 => drop(self.vni.get_or_insert(body.u32()?)),
            1036 | BST_EGRESS_QUEUE => drop(self.egress_queue.get_or_insert(body.u32()?)),
            1037 => {
                let acl = Acl { number: body.u32()?, name: xdr::opaque(body)?, direction: body.u32()? };
                self.acl.get_or_insert(acl);
            }
            1038 => drop(self.function.get_or_insert(xdr::opaque(body)?)),
            1039 => drop(self.transit_delay_ns.get_or_insert(body.u32()?)),
            1040 => drop(self.queue_depth.get_or_insert(body.u32()?)),
            _ => {
                xdr::opaque(body)?; // the group, which a drop's reason tells already
                self.function.get_or_insert(xdr::opaque(body)?);
            }
        }
        Ok(())
    }

    /// Writes the fields of a drop record.
    pub(super) fn write_drop(&self, writer: &mut RecordWriter<'_>) {
        writer.uint(drops::EGRESS_QUEUE, self.egress_queue.map_or(0, u64::from));
        if let Some(acl) = &self.acl {
            writer.uint(drops::ACL_NUMBER, u64::from(acl.number));
            writer.text(drops::ACL_NAME, acl.name);
            writer.uint(drops::ACL_DIRECTION, u64::from(acl.direction));
        }
        writer.text(drops::FUNCTION, self.function.unwrap_or_default());
        writer.uint(drops::TRANSIT_DELAY_NS, self.transit_delay_ns.map_or(0, u64::from));
        writer.uint(drops::QUEUE_DEPTH, self.queue_depth.map_or(0, u64::from));
    }

    /// Writes the fields of a flow record; of an overlay's identifier the one in a sampled header is the packet's own.
    #[cold]
    pub(super) fn write_flow(&self, writer: &mut RecordWriter<'_>, has_tunnel: bool) {
        if !has_tunnel {
            writer.uint(flow::TUNNEL_ID, self.vni.map_or(0, u64::from));
        }
        if let Some(acl) = &self.acl {
            writer.uint(flow::ACL_NUMBER, u64::from(acl.number));
            writer.text(flow::ACL_NAME, acl.name);
            writer.uint(flow::ACL_DIRECTION, u64::from(acl.direction));
        }
        writer.text(flow::FORWARDING_FUNCTION, self.function.unwrap_or_default());
        writer.uint(flow::EGRESS_QUEUE, self.egress_queue.map_or(0, u64::from));
        writer.uint(flow::TRANSIT_DELAY_NS, self.transit_delay_ns.map_or(0, u64::from));
        writer.uint(flow::QUEUE_DEPTH, self.queue_depth.map_or(0, u64::from));
    }
}
