//! Each kind of sample and record, with the fields it fills.

use std::sync::Arc;

use catchment_proto::flow::v1::*;
use flow_decoder::{DecoderOptions, ExporterName, Otherwise, Overrides, Stream, elements};

use super::counters::counters_of;
use super::*;

fn header_flow() -> FlowRecord {
    FlowRecord {
        r#type: flow_record::FlowType::Sflow5 as i32,
        sequence_num: 1234,
        sampler_address: vec![192, 0, 2, 10],
        agent_address: vec![10, 0, 0, 1],
        observation_domain_id: 7,
        time_received_ns: RECEIVED_NS,
        time_flow_start_ns: RECEIVED_NS,
        time_flow_end_ns: RECEIVED_NS,
        sampling_rate: 1024,
        in_if: 3,
        out_if: 4,
        packets: 1,
        ..FlowRecord::default()
    }
}

fn frame_flow() -> FlowRecord {
    FlowRecord {
        bytes: 1500,
        dst_mac: 0x0200_0000_0001,
        src_mac: 0x0200_0000_0002,
        etype: 0x0800,
        src_addr: vec![10, 1, 1, 1],
        dst_addr: vec![10, 2, 2, 2],
        proto: 17,
        ip_ttl: 64,
        fragment_id: 1,
        src_port: 1000,
        dst_port: 53,
        layer_stack: vec![0, 1, 4],
        layer_size: vec![14, 20, 8],
        ..header_flow()
    }
}

#[test]
fn a_raw_header() {
    let outcome = decode(&datagram_of(&[flow_sample(&[raw_header()])]));
    outcome.assert_whole();
    assert_eq!(outcome.flows, [frame_flow()]);
    assert_eq!(outcome.samples, [(1, Some(55), Some(1024), vec![1])]);
    assert_eq!(outcome.statistics.records[Stream::Flow as usize], 1);
}

#[test]
fn expanded_samples_and_interfaces_that_are_no_index() {
    let expanded = |input: [u32; 2], output: [u32; 2]| {
        let head = [55, 0, 3, 1024, 9999, 0, input[0], input[1], output[0], output[1], 0];
        block(3, &words(&head))
    };
    let compact = |input, output| block(1, &words(&[55, 3, 1024, 9999, 0, input, output, 0]));
    let outcome = decode(&datagram_of(&[
        expanded([0, 70_000_000], [2, 3]),
        compact(0x3fff_ffff, 0x8000_0003),
        expanded([0, 1], [1, 258]),
        compact(1, 0x4000_0102),
    ]));
    outcome.assert_whole();
    let interfaces: Vec<_> = outcome.flows.iter().map(|flow| (flow.in_if, flow.out_if)).collect();
    let (several, dropped) = (0x8000_0003, 0x4000_0102);
    assert_eq!(interfaces, [(70_000_000, several), (0x3fff_ffff, several), (1, dropped), (1, dropped)]);
}

#[test]
fn extended_records() {
    let v6 = [0x20; 16];
    let records = [
        raw_header(),
        block(1001, &words(&[10, 1, 20, u32::MAX])),
        block(1002, &words(&[1, 0x0a09_0909, 24, 16])),
        block(
            1003,
            &[
                &words(&[2])[..],
                &v6,
                &words(&[65000, 65001, 65002, 2, 2, 2, 100, 200, 1, 1, 300, 2, 11, 12, 150]),
            ]
            .concat(),
        ),
        block(1004, &[words(&[106]), opaque(b"alice"), words(&[106]), opaque(b"bob\0")].concat()),
        block(1006, &words(&[1, 0x0a08_0808, 1, 0x0001_0140, 2, 0x0002_0040, 0x0003_0140])),
        block(1007, &words(&[1, 0xc000_0201, 1, 0xc000_0202])),
        block(1020, &words(&[4000, 5000])),
        block(1012, &words(&[2, 0x88a8_0064, 0x8100_e0c8])),
        block(1005, &[1; 12]),
        block(4413 << 12 | 1, &words(&[7])),
    ];
    let outcome = decode(&datagram_of(&[flow_sample(&records)]));
    outcome.assert_whole();
    let want = FlowRecord {
        egress_queue: 7,
        src_vlan: 10,
        src_priority: 1,
        dst_vlan: 20,
        next_hop: vec![10, 9, 9, 9],
        src_net: 24,
        dst_net: 16,
        bgp_next_hop: v6.to_vec(),
        next_hop_as: 100,
        src_as: 65001,
        dst_as: 300,
        src_peer_as: 65002,
        as_path: vec![100, 200, 300],
        bgp_communities: vec![11, 12],
        bgp_local_pref: 150,
        src_user: "alice".into(),
        dst_user: "bob".into(),
        mpls_label: vec![16],
        mpls_ttl: vec![64],
        mpls_out_label: vec![32, 48],
        post_nat_src_addr: vec![192, 0, 2, 1],
        post_nat_dst_addr: vec![192, 0, 2, 2],
        post_nat_src_port: 4000,
        post_nat_dst_port: 5000,
        vlan_id: 100,
        vlan_stack: vec![100, 200],
        ..frame_flow()
    };
    assert_eq!(outcome.flows, [want]);
}

#[test]
fn a_gateway_without_a_path_names_its_own_as() {
    let gateway = block(1003, &words(&[1, 0x0a09_0909, 65000, 0, 0, 0, 0, 100]));
    let outcome = decode(&datagram_of(&[flow_sample(&[gateway])]));
    outcome.assert_whole();
    let flow = &outcome.flows[0];
    assert_eq!((flow.src_as, flow.dst_as, flow.next_hop_as), (65000, 65000, 0));
}

#[test]
fn fields_instead_of_a_header() {
    let ethernet = words(&[98, 0x0200_0000, 0x0002_0000, 0x0200_0000, 0x0001_0000, 0x0800]);
    let ipv4 = words(&[84, 6, 0x0a01_0101, 0x0a02_0202, 1000, 443, 0x12, 8]);
    let outcome = decode(&datagram_of(&[flow_sample(&[block(3, &ipv4), block(2, &ethernet)])]));
    outcome.assert_whole();
    let want = FlowRecord {
        bytes: 98,
        dst_mac: 0x0200_0000_0001,
        src_mac: 0x0200_0000_0002,
        etype: 0x0800,
        src_addr: vec![10, 1, 1, 1],
        dst_addr: vec![10, 2, 2, 2],
        proto: 6,
        ip_tos: 8,
        tcp_flags: 0x12,
        src_port: 1000,
        dst_port: 443,
        ..header_flow()
    };
    assert_eq!(outcome.flows, [want]);

    let mut ipv6 = words(&[1280, 17]);
    ipv6.extend([0x31; 16]);
    ipv6.extend([0x32; 16]);
    ipv6.extend(words(&[1, 2, 0, 4]));
    let flow = &decode(&datagram_of(&[flow_sample(&[block(4, &ipv6)])])).flows[0];
    assert_eq!((flow.etype, flow.bytes, &flow.src_addr[..], flow.ip_tos), (0x86dd, 1280, &[0x31; 16][..], 4));

    let both = decode(&datagram_of(&[flow_sample(&[block(3, &ipv4), raw_header()])]));
    assert_eq!(both.flows, [frame_flow()], "a header says more, whatever the order");
}

#[test]
fn header_protocols() {
    let ip = &frame()[14..];
    let framed = |head: &[u8]| [head, ip].concat();
    for (protocol, bytes) in [
        (1, frame()),
        (7, framed(&[0xff, 3, 0, 0x21])),
        (11, ip.to_vec()),
        (13, framed(&[0, 1, 1, 64])),
        (14, framed(&[0x0f, 0, 8, 0])),
    ] {
        let record = block(1, &[&words(&[protocol, 1500, 0])[..], &opaque(&bytes)].concat());
        let flow = &decode(&datagram_of(&[flow_sample(&[record])])).flows[0];
        assert_eq!((flow.dst_port, flow.etype, flow.bytes), (53, 0x0800, 1500), "header protocol {protocol}");
    }
    let wireless = block(1, &[&words(&[15, 1500, 0])[..], &opaque(&frame())].concat());
    let outcome = decode(&datagram_of(&[flow_sample(&[wireless])]));
    outcome.assert_whole();
    assert_eq!(outcome.flows, [FlowRecord { bytes: 1500, ..header_flow() }]);
}

#[test]
fn counters_become_messages_and_all_else_is_kept() {
    let interface: Vec<u32> = (1..=22).collect();
    let records = [
        block(1, &words(&interface)),
        block(2, &words(&[5; 13])),
        block(5, &words(&[100, 0, 1, 2, 3, 4, 5])),
        block(1001, &words(&[1, 2, 3, 0, 4, 1, 0])),
        block(9, &[1, 2, 3, 4]),
        block(9 << 12 | 77, &[5, 6]),
    ];
    let head = [66, 0x0200_0011, records.len() as u32];
    let outcome = decode(&datagram_of(&[block(2, &[&words(&head)[..], &records.concat()].concat())]));
    outcome.assert_whole();
    let [got] = &outcome.counters[..] else { panic!("one counters record") };
    assert_eq!((got.sequence_num, got.source_id_type, got.source_id_index), (66, 2, 17));
    assert_eq!((got.uptime_ms, got.datagram_sequence_num, got.sub_agent_id), (99_000, 1234, 7));
    assert_eq!((&got.exporter[..], &got.agent_address[..]), (&[192, 0, 2, 10][..], &[10, 0, 0, 1][..]));
    let interface = got.interface.unwrap();
    assert_eq!((interface.if_index, interface.if_speed, interface.if_direction), (1, 3 << 32 | 4, 5));
    assert_eq!(
        (interface.in_octets, interface.in_ucast_packets, interface.out_octets),
        (7 << 32 | 8, 9, 15 << 32 | 16)
    );
    assert_eq!(
        (interface.in_unknown_protos, interface.out_ucast_packets, interface.promiscuous_mode),
        (14, 17, 22)
    );
    assert_eq!(got.ethernet.unwrap().symbol_errors, 5);
    let vlan = got.vlan.unwrap();
    assert_eq!((vlan.vlan_id, vlan.octets, vlan.discards), (100, 1, 5));
    let processor = got.processor.unwrap();
    assert_eq!((processor.cpu_5m, processor.total_memory, processor.free_memory), (3, 4, 1 << 32));
    let structures: Vec<_> =
        got.structures.iter().map(|s| (s.enterprise, s.format, s.name.as_str(), &s.body[..])).collect();
    let want: [(u32, u32, &str, &[u8]); 6] = [
        (0, 1, "if_counters", &[]),
        (0, 2, "ethernet_counters", &[]),
        (0, 5, "vlan_counters", &[]),
        (0, 1001, "processor", &[]),
        (0, 9, "ib_counters", &[1, 2, 3, 4]),
        (9, 77, "", &[5, 6]),
    ];
    assert_eq!(structures, want);
    assert_eq!(outcome.samples[0].0, 2);

    let expanded = decode(&datagram_of(&[block(4, &words(&[66, 0, 70_000_000, 0]))]));
    assert_eq!(expanded.counters[0].source_id_index, 70_000_000);
}

#[test]
fn hosts_and_their_virtual_machines() {
    let mac = [2, 0, 0, 0, 0, 1, 0, 0];
    let name = |name: &[u8]| opaque(name);
    let got = counters_of(&[
        block(2000, &[name(b"web-1"), vec![7; 16], words(&[3, 2]), name(b"6.1.0")].concat()),
        block(2001, &[words(&[2, 1, 1]), mac.to_vec(), words(&[2, 0])].concat()),
        block(2002, &words(&[2, 1])),
        block(2003, &[&1.5f32.to_be_bytes()[..], &words(&(2..=17).collect::<Vec<_>>())].concat()),
        block(2004, &words(&[0, 8, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4])),
        block(2005, &words(&[1, 0, 0, 9, 50, 1, 0, 2, 3, 4, 0, 5, 6])),
        block(2006, &words(&[0, 100, 1, 2, 3, 0, 200, 4, 5, 6])),
        block(2009, &words(&(1..=14).collect::<Vec<_>>())),
        block(2101, &words(&[1, 5000, 4])),
        block(2102, &words(&[0, 10, 0, 20])),
        block(2103, &words(&[0, 1, 0, 2, 0, 3, 4, 0, 5, 6, 0, 7, 8])),
        block(2104, &words(&[0, 1, 2, 3, 4, 0, 5, 6, 7, 8])),
    ]);
    let host = got.host.unwrap();
    assert_eq!((host.hostname.as_str(), &host.uuid[..], host.os_name), ("web-1", &[7; 16][..], 2));
    assert_eq!(host.os_release, "6.1.0");
    let adapters = got.adapters.unwrap().adapter;
    assert_eq!((adapters[0].if_index, &adapters[0].mac_addresses[..]), (1, &[0x0200_0000_0001][..]));
    assert_eq!((adapters[1].if_index, adapters[1].mac_addresses.len()), (2, 0));
    assert_eq!(got.parent.unwrap().container_index, 1);
    let cpu = got.host_cpu.unwrap();
    assert_eq!((cpu.load_1m, cpu.processes_running, cpu.context_switches, cpu.steal), (1.5, 4, 17, 0));
    let memory = got.host_memory.unwrap();
    assert_eq!((memory.total, memory.free, memory.swap_pages_out), (8, 4, 4));
    assert_eq!(got.host_disk.unwrap().bytes_written, 5);
    assert_eq!(got.host_network.unwrap().bytes_out, 200);
    let tcp = got.tcp.unwrap();
    assert_eq!((tcp.out_rsts, tcp.in_csum_errors), (14, 0), "older agents have no checksum errors");
    assert_eq!(got.virtual_cpu.unwrap().cpu_time, 5000);
    assert_eq!(got.virtual_memory.unwrap().max_memory, 20);
    assert_eq!(got.virtual_disk.unwrap().errors, 8);
    assert_eq!(got.virtual_network.unwrap().drops_out, 8);
    assert!(got.structures.iter().all(|structure| structure.body.is_empty()));
}

#[test]
fn optics_have_lanes_and_a_temperature() {
    let lane: Vec<u32> = (1..=10).collect();
    let head = words(&[17, 4, 3300, -1250i32 as u32, 2]);
    let got = counters_of(&[block(10, &[head, words(&lane), words(&[5; 10])].concat())]);
    let optics = got.optics.unwrap();
    assert_eq!((optics.module_id, optics.supply_voltage, optics.temperature), (17, 3300, -1250));
    assert_eq!(optics.lane.len(), 2);
    assert_eq!((optics.lane[0].tx_wavelength, optics.lane[0].rx_wavelength), (6, 10));
}

#[test]
fn counters_that_are_cut_show_what_is_there() {
    for (format, body) in [
        (10, words(&[17, 4, 3300, 0, u32::MAX, 1, 2])),
        (2001, words(&[u32::MAX, 1, u32::MAX, 0])),
        (2000, [words(&[u32::MAX]), b"web".to_vec()].concat()),
        (2003, words(&[0, 0, 0, 4])),
    ] {
        let head = [66, 0x0200_0011, 1];
        let sample = block(2, &[&words(&head)[..], &block(format, &body)].concat());
        let outcome = decode(&datagram_of(&[sample]));
        assert_eq!(outcome.counters.len(), 1, "format {format}");
        assert_eq!(outcome.statistics.malformed[Reason::SampleRecord], 1, "format {format}");
    }
}

#[test]
fn what_a_switch_did_with_a_packet_is_in_its_flow_record() {
    let records = [
        raw_header(),
        block(1036, &words(&[3])),
        block(1037, &[words(&[42]), opaque(b"permit-web"), words(&[2])].concat()),
        block(1038, &opaque(b"l3_route")),
        block(1039, &words(&[1500])),
        block(1040, &words(&[4096])),
        block(1030, &words(&[5000])),
    ];
    let outcome = decode(&datagram_of(&[flow_sample(&records)]));
    outcome.assert_whole();
    let want = FlowRecord {
        egress_queue: 3,
        acl_number: 42,
        acl_name: "permit-web".to_owned(),
        acl_direction: 2,
        forwarding_function: "l3_route".to_owned(),
        transit_delay_ns: 1500,
        queue_depth: 4096,
        tunnel_id: 5000,
        ..frame_flow()
    };
    assert_eq!(outcome.flows, [want]);
}

#[test]
fn drops_say_why() {
    let records = [
        raw_header(),
        block(1036, &words(&[3])),
        block(1037, &[words(&[42]), opaque(b"deny-all"), words(&[1])].concat()),
        block(1041, &[opaque(b"l3_drops"), opaque(b"ttl_value_is_too_small")].concat()),
        block(1042, &opaque(b"SKB_DROP_REASON_NO_SOCKET")),
        block(1043, &words(&[1, 2])),
    ];
    let sample = |reason| {
        let head = [77, 0, 5, 2, 3, 4, reason, records.len() as u32];
        block(5, &[&words(&head)[..], &records.concat()].concat())
    };
    let reasons = [257, 3, 303, 304, 331, 332, 366, 372, 373, 33, 36, 16, 255, u32::MAX];
    let outcome = decode(&datagram_of(&reasons.map(sample)));
    outcome.assert_whole();
    let names: Vec<_> = outcome.drops.iter().map(|drop| drop.reason_name.as_str()).collect();
    let first = ["ttl_exceeded", "port_unreachable", "split_horizon", "locked_port", "dev_ready", "dev_hdr"];
    assert_eq!(names[..6], first);
    assert_eq!(names[6..], ["tc_egress", "bgp_flowspec", "", "dev_hdr", "tc_egress", "", "", ""]);
    let got = &outcome.drops[0];
    assert_eq!((got.sequence_num, got.source_id_index, got.drops, got.in_if, got.out_if), (77, 5, 2, 3, 4));
    assert_eq!((got.egress_queue, got.acl_number, got.acl_direction), (3, 42, 1));
    assert_eq!((got.acl_name.as_str(), got.function.as_str()), ("deny-all", "ttl_value_is_too_small"));
    let packet = got.packet.as_ref().unwrap();
    assert_eq!((packet.dst_port, packet.bytes, packet.time_received_ns), (53, 1500, 0));
    let [structure] = &got.structures[..] else { panic!("one structure without fields") };
    assert_eq!((structure.format, structure.name.as_str()), (1043, "extended_timestamp"));
    assert_eq!(got.linux_drop_reason, "SKB_DROP_REASON_NO_SOCKET");
}

#[test]
fn exporter_name_zone_and_node() {
    let options = DecoderOptions {
        zones: vec!["north".into()],
        collector_node: "node-1".into(),
        exporter_name: ExporterName::Agent,
        ..DecoderOptions::default()
    };
    let flow = &decode_with(options, &datagram_of(&[flow_sample(&[])])).flows[0];
    assert_eq!((&flow.sampler_address[..], &flow.agent_address[..]), (&[10, 0, 0, 1][..], &[][..]));
    assert_eq!((flow.zone.as_str(), flow.collector_node.as_str()), ("north", "node-1"));
}

#[test]
fn ipv6_agents() {
    let mut datagram = words(&[5, 2]);
    datagram.extend([0x20; 16]);
    datagram.extend(words(&[7, 1234, 99_000, 1]));
    datagram.extend(flow_sample(&[raw_header()]));
    let outcome = decode(&datagram);
    outcome.assert_whole();
    assert_eq!(outcome.flows[0].agent_address, [0x20; 16]);
}

#[test]
fn records_that_fill_no_field_are_kept_where_that_is_wanted() {
    let [url, linux] = [(1005, &[7_u8; 8][..]), (1042, &opaque(b"SKB!"))];
    let [odd, empty] = [(4413 << 12 | 9, &b"odd!"[..]), (999, b"")];
    let records = [url, linux, odd, empty].map(|(format, body)| block(format, body));
    let payload = datagram_of(&[flow_sample(&[&records[..], &[raw_header()]].concat())]);
    let otherwise = Otherwise { keep_unknown: true, ..Otherwise::default() };
    let options =
        DecoderOptions { overrides: Arc::new(Overrides::new([], otherwise)), ..DecoderOptions::default() };
    let kept = decode_with(options, &payload);
    kept.assert_whole();
    let shown = |element: &Element| (element.pen, element.id, element.name.clone(), element.value.clone());
    let extra: Vec<_> = kept.flows[0].extra.iter().map(shown).collect();
    let name = |format| elements::sflow_flow_record(0, format).expect("a structure with a name").to_owned();
    let linux = (0, 1042, name(1042), opaque(b"SKB!"));
    let odd = (4413, 9, String::new(), b"odd!".to_vec());
    assert_eq!(extra, [(0, 1005, name(1005), vec![7; 8]), linux, odd]);
    assert!(decode(&payload).flows[0].extra.is_empty());
}
