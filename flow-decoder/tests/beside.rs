//! What fills fields otherwise than one element by itself: packet sections, durations, segment lists, segment ids.

mod rig;
mod wire;

use catchment_proto::flow::v1::{FlowRecord, TunnelType};
use flow_decoder::Verdict;
use rig::Rig;
use wire::{EXPORT_TIME, Field, Message, field, varlen, vendor};

const SECOND: u64 = 1_000_000_000;

fn ipfix(fields: &[Field], record: impl AsRef<[u8]>) -> FlowRecord {
    let mut rig = Rig::new();
    let message = Message::ipfix().templates(&[(256, fields)]).set(256, record);
    assert_eq!(rig.take(message.build()), Verdict::Decoded);
    rig.kept.flows().remove(0)
}

/// An Ethernet frame with one tag: 10.0.0.1:1024 -> 10.0.0.2:80 by TCP, of which the IP header says 1000 octets.
fn frame() -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x81, 0, 0, 100, 8, 0];
    frame.extend(ip_packet());
    frame
}

fn ip_packet() -> Vec<u8> {
    let mut packet = vec![0x45, 0x10, 0x03, 0xe8, 0, 9, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    packet.extend([4, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 0, 0, 0, 0, 0, 0]);
    packet
}

fn with_length(octets: &[u8]) -> Vec<u8> {
    [&[octets.len() as u8], octets].concat()
}

#[test]
fn a_section_of_a_frame_is_read_like_a_sampled_header() {
    for id in [315, 104] {
        let flow = ipfix(&[varlen(id), field(10, 2)], [with_length(&frame()), vec![0, 7]].concat());
        assert_eq!((flow.src_addr, flow.dst_addr), (vec![10, 0, 0, 1], vec![10, 0, 0, 2]));
        assert_eq!((flow.src_mac, flow.dst_mac), (0x0200_0000_0001, 0x0200_0000_0002));
        assert_eq!((flow.proto, flow.src_port, flow.dst_port, flow.tcp_flags), (6, 1024, 80, 0x18));
        assert_eq!((flow.vlan_id, flow.etype, flow.ip_tos, flow.in_if), (100, 0x0800, 0x10, 7));
        assert_eq!((flow.packets, flow.bytes), (1, 1018), "one packet, as long as its IP header says");
        assert_eq!((flow.layer_stack, flow.layer_size), (vec![0, 6, 1, 3], vec![14, 4, 20, 20]));
    }
}

#[test]
fn a_section_of_an_ip_packet_fills_only_what_elements_leave_free() {
    let fields = [field(8, 4), field(1, 2), varlen(313)];
    let flow = ipfix(&fields, [&[192, 0, 2, 9, 0, 40][..], &with_length(&ip_packet())].concat());
    assert_eq!((flow.src_addr, flow.dst_addr), (vec![192, 0, 2, 9], vec![10, 0, 0, 2]));
    assert_eq!((flow.bytes, flow.packets, flow.etype, flow.proto), (40, 1, 0x0800, 6));
}

#[test]
fn a_section_of_a_label_stack_fills_labels_and_no_counter() {
    let stack = [0, 0x01, 0x00, 63, 0, 0x02, 0x01, 62];
    let flow = ipfix(&[field(316, 8)], stack);
    assert_eq!((flow.mpls_label, flow.mpls_ttl), (vec![16, 32], vec![63, 62]));
    assert_eq!((flow.packets, flow.bytes), (0, 0));
}

#[test]
fn sections_from_inside_a_packet_or_of_another_link_layer_are_not_read() {
    let section = with_length(&frame());
    for (id, value) in [(409, 4), (408, 2)] {
        let flow = ipfix(&[field(id, 1), varlen(315)], [&[value][..], &section].concat());
        assert_eq!((flow.src_addr.len(), flow.packets), (0, 0), "element {id} is {value}");
    }
    let flow = ipfix(&[field(409, 1), field(408, 1), varlen(315)], [&[0, 1][..], &section].concat());
    assert_eq!(flow.packets, 1);
}

#[test]
fn a_section_that_is_cut_shows_what_is_there() {
    let whole = frame();
    for len in 0..=whole.len() {
        let flow = ipfix(&[varlen(315), field(10, 1)], [with_length(&whole[..len]), vec![7]].concat());
        assert_eq!(flow.packets, u64::from(len > 0));
        assert_eq!(flow.src_addr.len(), if len >= 38 { 4 } else { 0 }, "{len} octets");
        assert!(flow.bytes >= len as u64);
    }
}

#[test]
fn a_tunnel_in_a_section_has_its_inner_packet() {
    let mut packet = vec![0x45, 0, 0, 60, 0, 0, 0, 0, 64, 4, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    packet.extend(ip_packet());
    let flow = ipfix(&[varlen(313)], with_length(&packet));
    assert_eq!((flow.src_addr, flow.inner_src_addr), (vec![192, 0, 2, 1], vec![10, 0, 0, 1]));
    assert_eq!((flow.tunnel_type, flow.inner_dst_port), (TunnelType::TunnelIpip as i32, 80));
}

#[test]
fn a_duration_gives_the_time_that_is_not_said() {
    let ms = |time: u64| (time / 1_000_000).to_be_bytes();
    let time = u64::from(EXPORT_TIME) * SECOND;
    let flow = ipfix(&[field(152, 8), field(161, 4)], [&ms(time)[..], &[0, 0, 0x03, 0xe8]].concat());
    assert_eq!((flow.time_flow_start_ns, flow.time_flow_end_ns), (time, time + SECOND));
    let flow = ipfix(&[field(162, 4), field(153, 8)], [&[0, 0x0f, 0x42, 0x40][..], &ms(time)].concat());
    assert_eq!((flow.time_flow_start_ns, flow.time_flow_end_ns), (time - SECOND, time));
    let both = [field(161, 4), field(152, 8), field(153, 8)];
    let flow = ipfix(&both, [&[0, 0, 0x03, 0xe8][..], &ms(time), &ms(time)].concat());
    assert_eq!((flow.time_flow_start_ns, flow.time_flow_end_ns), (time, time), "what is said counts");
    let flow = ipfix(&[field(152, 8), field(161, 4), field(323, 8)], [&[0; 12][..], &ms(time)].concat());
    assert_eq!((flow.time_flow_start_ns, flow.time_flow_end_ns), (time, time), "when it was observed");
}

/// MikroTik.
#[test]
fn a_record_that_says_when_its_exporter_started_has_times() {
    let boot_ms = u64::from(EXPORT_TIME) * 1000 - 60_000;
    let record = [&boot_ms.to_be_bytes()[..], &[0, 0, 0x03, 0xe8], &[0, 0, 0x07, 0xd0]].concat();
    let flow = ipfix(&[field(160, 8), field(22, 4), field(21, 4)], record);
    let boot = boot_ms * 1_000_000;
    assert_eq!((flow.time_flow_start_ns, flow.time_flow_end_ns), (boot + SECOND, boot + 2 * SECOND));
}

#[test]
fn segment_lists_in_every_form() {
    let (a, b) = ([0x0a; 16], [0x0b; 16]);
    let both = [a, b].concat();
    let header = [&[41, 4, 4, 1, 1, 0, 0, 0][..], &both].concat();
    for (fields, record, left) in [
        (vec![varlen(497), field(498, 1)], [with_length(&both), vec![1]].concat(), 1),
        (vec![varlen(499)], with_length(&header), 1),
        (vec![field(494, 16), field(494, 16)], both.clone(), 0),
        (vec![field(495, 16), varlen(497)], [&a[..], &with_length(&both)].concat(), 0),
    ] {
        let flow = ipfix(&fields, record);
        let list: Vec<_> = flow.ipv6_routing_header_addresses.concat();
        assert_eq!((list, flow.ipv6_routing_header_seg_left), (both.clone(), left), "{fields:?}");
    }
}

#[test]
fn the_id_of_a_segment_says_its_tunnel() {
    for (kind, tunnel) in [(1, TunnelType::TunnelVxlan), (2, TunnelType::TunnelGre)] {
        let flow = ipfix(&[field(351, 8)], [kind, 0, 0, 0, 0, 0, 0x13, 0x88]);
        assert_eq!((flow.tunnel_type, flow.tunnel_id), (tunnel as i32, 5000));
    }
    let flow = ipfix(&[field(351, 4), field(507, 4)], [0, 0, 0x13, 0x88, 0, 0, 0, 9]);
    assert_eq!((flow.tunnel_type, flow.tunnel_id), (TunnelType::TunnelGtpu as i32, 5000));
}

/// Cisco ASA.
#[test]
fn the_user_of_a_firewall_event_is_its_source_user() {
    let mut rig = Rig::new();
    let message = Message::v9().templates(&[(256, &[field(40000, 20), field(1, 1)])]);
    rig.take(message.set(256, b"CISCO\\alice\0\0\0\0\0\0\0\0\0\x07").build());
    assert_eq!(rig.kept.flows()[0].src_user, "CISCO\\alice");
}

/// YAF up to version 2 has them in a subTemplateMultiList.
#[test]
fn yafs_flags_in_a_list_are_one_value() {
    let tcp = [field(184, 4), vendor(6871, 14, 1), vendor(6871, 15, 1), vendor(6871, 16399, 1)];
    let list = [3, 1, 44, 0, 11, 0, 0, 0, 9, 2, 0x18, 0x11];
    let flow_of = |fields: &[Field], record: Vec<u8>| {
        let mut rig = Rig::new();
        rig.take(Message::ipfix().templates(&[(256, fields), (300, &tcp)]).build());
        assert_eq!(rig.take(Message::ipfix().set(256, record).build()), Verdict::Decoded);
        rig.kept.flows().remove(0)
    };
    let flow = flow_of(&[field(4, 1), varlen(293)], [vec![6], with_length(&list)].concat());
    assert_eq!((flow.tcp_flags, flow.reverse_tcp_flags), (0x1a, 0x11));
    let flow = flow_of(&[field(6, 1), varlen(293)], [vec![0x1f], with_length(&list)].concat());
    assert_eq!((flow.tcp_flags, flow.reverse_tcp_flags), (0x1f, 0x11), "the record's own element fills it");
}
