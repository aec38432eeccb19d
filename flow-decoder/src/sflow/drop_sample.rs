//! Drop notifications: a packet that the agent discarded, and why (sFlow Dropped Packet Notification Structures).
//!
//! ```text
//! discarded packet (0:5): sequence 4 | source class 4 | source index 4 | drops 4 | input ifIndex 4 | output ifIndex 4
//!                         | reason 4 | records 4
//! 0:1042 Linux drop reason: name opaque<>      (Host sFlow's; in drop samples alone)
//! ```

use super::circumstances::BST_EGRESS_QUEUE;
use super::datagram::{Origin, Sample};
use super::fields::{Source, drops, write_structure};
use super::flow_record::SampledPacket;
use super::flow_sample::record_path;
use super::records::{Record, Records};
use super::xdr;
use crate::cursor::EndOfInput;
use crate::datagram::Context;
use crate::elements;
use crate::error::{Malformed, Reason};
use crate::sink::{Sink, Stream};

/// The record with the kernel's own name of the reason.
const LINUX_DROP_REASON: u32 = 1042;

struct Head {
    source: Source,
    drops: u32,
    input: u32,
    output: u32,
    reason: u32,
}

fn head(sample: &Sample<'_>) -> Result<Head, EndOfInput> {
    let mut cursor = sample.head;
    Ok(Head {
        source: Source { sequence: cursor.u32()?, class: cursor.u32()?, index: cursor.u32()? },
        drops: cursor.u32()?,
        input: cursor.u32()?,
        output: cursor.u32()?,
        reason: cursor.u32()?,
    })
}

/// Writes the drop record of a sample.
pub(super) fn decode<S: Sink>(context: &mut Context<'_, S>, origin: &Origin<'_>, sample: &Sample<'_>) {
    let head = match head(sample) {
        Ok(head) => head,
        Err(end) => return context.damaged(Malformed::end(Reason::SampleMalformed, end), sample.path),
    };
    let mut packet = SampledPacket::default();
    let mut linux_reason: &[u8] = &[];
    let records = || Records::new(sample.records, sample.record_count);
    for record in records() {
        let read = record.and_then(|record| match record.data_format {
            LINUX_DROP_REASON => linux_drop_reason(&record).map(|name| linux_reason = name),
            _ => packet.read(&record).map(drop),
        });
        if let Err(error) = read {
            context.damaged(error, sample.path);
        }
    }
    context.statistics.records[Stream::Drops as usize] += 1;
    let Some(batch) = context.sink.batch(Stream::Drops) else { return };
    let mut writer = batch.begin();
    origin.write_sample(&mut writer, &head.source);
    writer.uint(drops::DROPS, u64::from(head.drops));
    writer.uint(drops::IN_IF, u64::from(head.input));
    writer.uint(drops::OUT_IF, u64::from(head.output));
    writer.uint(drops::REASON, u64::from(head.reason));
    writer.bytes(drops::REASON_NAME, reason_name(head.reason).as_bytes());
    let nested = writer.begin_nested(drops::PACKET);
    packet.write(&mut writer);
    writer.end_nested(nested);
    if let Some(circumstances) = &packet.circumstances {
        circumstances.write_drop(&mut writer);
    }
    writer.text(drops::LINUX_DROP_REASON, linux_reason);
    writer.bytes(drops::ZONE, origin.zone.as_bytes());
    writer.bytes(drops::COLLECTOR_NODE, origin.collector_node.as_bytes());
    for record in records().flatten().filter(|record| !has_fields(record)) {
        let name = elements::sflow_flow_record(record.enterprise(), record.format());
        write_structure(&mut writer, drops::STRUCTURES, &record, name, record.body.rest());
    }
    let len = writer.finish();
    context.sink.written(Stream::Drops, len);
}

fn linux_drop_reason<'a>(record: &Record<'a>) -> Result<&'a [u8], Malformed> {
    let mut body = record.body;
    xdr::opaque(&mut body)
        .map_err(|end| Malformed::end(Reason::SampleRecord, end).within(record_path(record.number)))
}

/// Whether a record of this format fills fields of a drop record; a damaged one does not come a second time as bytes.
fn has_fields(record: &Record<'_>) -> bool {
    matches!(
        record.data_format,
        1..=4 | 1001..=1004 | 1006 | 1007 | 1012 | 1020 | 1036..=1042 | BST_EGRESS_QUEUE
    )
}

/// Name of a drop reason; empty where it has none. Below 256 they are ICMP "destination unreachable" codes, but for the two
/// that Host sFlow's table has without their last digit.
fn reason_name(reason: u32) -> &'static str {
    let (names, first): (&[&str], u32) = match reason {
        33 => (&["dev_hdr"], 33),
        36 => (&["tc_egress"], 36),
        ..256 => (&UNREACHABLE, 0),
        _ => (&DISCARDED, 256),
    };
    names.get((reason - first) as usize).copied().unwrap_or_default()
}

/// Reasons from 0 on.
const UNREACHABLE: [&str; 16] = [
    "net_unreachable",
    "host_unreachable",
    "protocol_unreachable",
    "port_unreachable",
    "frag_needed",
    "src_route_failed",
    "dst_net_unknown",
    "dst_host_unknown",
    "src_host_isolated",
    "dst_net_prohibited",
    "dst_host_prohibited",
    "dst_net_tos_unreachable",
    "dst_host_tos_unreachable",
    "comm_admin_prohibited",
    "host_precedence_violation",
    "precedence_cutoff",
];

/// Reasons from 256 on: to 303 sFlow.org's, then Host sFlow's.
const DISCARDED: [&str; 117] = [
    "unknown",
    "ttl_exceeded",
    "acl",
    "no_buffer_space",
    "red",
    "traffic_shaping",
    "pkt_too_big",
    "src_mac_is_multicast",
    "vlan_tag_mismatch",
    "ingress_vlan_filter",
    "ingress_spanning_tree_filter",
    "port_list_is_empty",
    "port_loopback_filter",
    "blackhole_route",
    "non_ip",
    "uc_dip_over_mc_dmac",
    "dip_is_loopback_address",
    "sip_is_mc",
    "sip_is_loopback_address",
    "ip_header_corrupted",
    "ipv4_sip_is_limited_bc",
    "ipv6_mc_dip_reserved_scope",
    "ipv6_mc_dip_interface_local_scope",
    "unresolved_neigh",
    "mc_reverse_path_forwarding",
    "non_routable_packet",
    "decap_error",
    "overlay_smac_is_mc",
    "unknown_l2",
    "unknown_l3",
    "unknown_l3_exception",
    "unknown_buffer",
    "unknown_tunnel",
    "unknown_l4",
    "sip_is_unspecified",
    "mlag_port_isolation",
    "blackhole_arp_neigh",
    "src_mac_is_dmac",
    "dmac_is_reserved",
    "sip_is_class_e",
    "mc_dmac_mismatch",
    "sip_is_dip",
    "dip_is_local_network",
    "dip_is_link_local",
    "overlay_smac_is_dmac",
    "egress_vlan_filter",
    "uc_reverse_path_forwarding",
    "split_horizon",
    "locked_port",
    "dmac_filter",
    "blackhole_nexthop",
    "vxlan_parsing",
    "llc_snap_parsing",
    "vlan_parsing",
    "pppoe_ppp_parsing",
    "mpls_parsing",
    "arp_parsing",
    "ip_1_parsing",
    "ip_n_parsing",
    "gre_parsing",
    "udp_parsing",
    "tcp_parsing",
    "ipsec_parsing",
    "sctp_parsing",
    "dccp_parsing",
    "gtp_parsing",
    "esp_parsing",
    "unknown_parsing",
    "pkt_too_small",
    "unhandled_proto",
    "ipv6disabled",
    "invalid_proto",
    "ip_noproto",
    "skb_csum",
    "skb_ucopy_fault",
    "dev_ready",
    "dev_hdr",
    "dup_frag",
    "skb_gso_seg",
    "reverse_path_forwarding",
    "icmp_parsing",
    "tcp_md5notfound",
    "tcp_md5unexpected",
    "tcp_md5failure",
    "tcp_flags",
    "tcp_zerowindow",
    "tcp_old_data",
    "tcp_overwindow",
    "tcp_ofomerge",
    "tcp_rfc7323_paws",
    "tcp_invalid_sequence",
    "tcp_reset",
    "tcp_invalid_syn",
    "tcp_close",
    "tcp_fastopen",
    "tcp_old_ack",
    "tcp_too_old_ack",
    "tcp_ack_unsent_data",
    "tcp_ofo_queue_prune",
    "tcp_ofo_drop",
    "tcp_minttl",
    "ipv6_bad_exthdr",
    "ipv6_ndisc_frag",
    "ipv6_ndisc_hop_limit",
    "ipv6_ndisc_bad_code",
    "ipv6_ndisc_bad_options",
    "ipv6_ndisc_ns_otherhost",
    "tap_filter",
    "tap_txfilter",
    "tc_ingress",
    "tc_egress",
    "xdp",
    "cpu_backlog",
    "bpf_cgroup_egress",
    "xfrm_policy",
    "socket_filter",
    "bgp_flowspec",
];
