//! Sampled headers held against etherparse, at every length, and the malformed packets that collectors have died of.

#![allow(clippy::unwrap_used, reason = "a test panics where it must")]

use catchment_proto::flow::v1::{FlowRecord, TunnelType};
use etherparse::{
    LaxPacketHeaders, LinkExtHeader, NetHeaders, PacketBuilder, PacketBuilderStep, TransportHeader, UdpHeader,
};
use flow_decoder::packet::{Addresses, Headers, LinkType, parse};
use flow_decoder::{Delimiting, RecordBuffer};
use proptest::prelude::*;
use prost::Message;

fn record(link: LinkType, bytes: &[u8]) -> FlowRecord {
    let mut buffer = RecordBuffer::new(1024, Delimiting::Length);
    let mut writer = buffer.begin();
    parse(link, bytes).write(&mut writer);
    writer.finish();
    FlowRecord::decode(buffer.iter().next().unwrap()).unwrap()
}

fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total = (20 + payload.len()) as u16;
    let mut packet = vec![0x45, 0x08, (total >> 8) as u8, total as u8, 0, 7, 0x40, 0, 63, protocol, 0, 0];
    packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend(payload);
    packet
}

fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet =
        vec![0x6a, 0xb1, 0x23, 0x45, (payload.len() >> 8) as u8, payload.len() as u8, next_header, 9];
    packet.extend([0x20; 16]);
    packet.extend([0x21; 16]);
    packet.extend(payload);
    packet
}

fn udp(destination: u16, payload: &[u8]) -> Vec<u8> {
    let mut segment = vec![0x30, 0x39];
    segment.extend(destination.to_be_bytes());
    segment.extend((8 + payload.len() as u16).to_be_bytes());
    segment.extend([0, 0]);
    segment.extend(payload);
    segment
}

fn ethernet(etype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    frame.extend(etype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Everything that etherparse and we both know about `bytes` is the same.
fn assert_same(ours: &Headers<'_>, bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(theirs) = LaxPacketHeaders::from_ethernet(bytes) else {
        prop_assert_eq!(ours.outer.etype, 0);
        return Ok(());
    };
    let link = theirs.link.unwrap().ethernet2().unwrap();
    prop_assert_eq!(ours.outer.src_mac, Some(link.source));
    prop_assert_eq!(ours.outer.dst_mac, Some(link.destination));
    let vlans = theirs.link_exts.iter().filter_map(|extension| match extension {
        LinkExtHeader::Vlan(vlan) => Some(vlan.vlan_id.value()),
        LinkExtHeader::Macsec(_) => None,
    });
    let (vlans, ours_all) = (vlans.collect::<Vec<_>>(), ours.outer.vlan_ids().collect::<Vec<_>>());
    // A tag whose following type is cut is one to us and none to etherparse.
    prop_assert!(ours_all.starts_with(&vlans) && (ours_all == vlans || ours.outer.etype == 0));
    match (&theirs.net, &ours.outer.ip) {
        (Some(NetHeaders::Ipv4(header, _)), Some(ip)) => {
            prop_assert_eq!(ip.addresses, Addresses::V4 { src: header.source, dst: header.destination });
            prop_assert_eq!((ip.protocol, ip.ttl), (header.protocol.0, header.time_to_live));
            let fragment = ip.fragment.unwrap();
            prop_assert_eq!(fragment.id, u32::from(header.identification));
            prop_assert_eq!(fragment.offset, header.fragment_offset.value());
        }
        (Some(NetHeaders::Ipv6(header, _)), Some(ip)) => {
            prop_assert_eq!(ip.addresses, Addresses::V6 { src: header.source, dst: header.destination });
            prop_assert_eq!((ip.tos, ip.ttl), (header.traffic_class, header.hop_limit));
            prop_assert_eq!(ip.flow_label, header.flow_label.value());
        }
        // Of IPv4 with options that are cut we show the fixed part, etherparse nothing.
        (None, Some(ip)) => prop_assert!(ip.fragment.is_some(), "IPv4"),
        (theirs, ours) => prop_assert!(theirs.is_none() && ours.is_none(), "{theirs:?} {ours:?}"),
    }
    match &theirs.transport {
        Some(TransportHeader::Udp(header)) => {
            prop_assert_eq!(ours.outer.ports, Some((header.source_port, header.destination_port)));
        }
        Some(TransportHeader::Tcp(header)) => {
            prop_assert_eq!(ours.outer.ports, Some((header.source_port, header.destination_port)));
            let flags = [
                header.fin, header.syn, header.rst, header.psh, header.ack, header.urg, header.ece,
                header.cwr,
            ];
            let flags = flags.iter().enumerate().fold(0, |all, (bit, &set)| all | u8::from(set) << bit);
            prop_assert_eq!(ours.outer.tcp_flags, flags);
        }
        Some(TransportHeader::Icmpv4(header)) => {
            prop_assert_eq!(ours.outer.icmp.map(|(kind, _)| kind), Some(header.to_bytes()[0]));
        }
        Some(TransportHeader::Icmpv6(header)) => {
            prop_assert_eq!(ours.outer.icmp.map(|(kind, _)| kind), Some(header.to_bytes()[0]));
        }
        _ => {} // cut short: we may have the ports already
    }
    Ok(())
}

#[derive(Clone, Debug)]
enum Transport {
    Udp,
    Tcp(u16),
    Echo,
}

prop_compose! {
    fn packets()(
        macs in any::<([u8; 6], [u8; 6])>(),
        vlans in prop::collection::vec(0u16..4096, 0..3),
        v6 in any::<bool>(),
        addresses in any::<([u8; 16], [u8; 16])>(),
        ttl in any::<u8>(),
        ports in any::<(u16, u16)>(),
        transport in prop_oneof![Just(Transport::Udp), any::<u16>().prop_map(Transport::Tcp), Just(Transport::Echo)],
        payload in prop::collection::vec(any::<u8>(), 0..40),
    ) -> Vec<u8> {
        let vlan = |id| etherparse::VlanId::try_new(id).unwrap();
        let link = PacketBuilder::ethernet2(macs.0, macs.1);
        let four = |bytes: [u8; 16]| [bytes[0], bytes[1], bytes[2], bytes[3]];
        let (src4, dst4) = (four(addresses.0), four(addresses.1));
        let ip = match (vlans.as_slice(), v6) {
            ([], false) => link.ipv4(src4, dst4, ttl),
            ([], true) => link.ipv6(addresses.0, addresses.1, ttl),
            ([id], false) => link.single_vlan(vlan(*id)).ipv4(src4, dst4, ttl),
            ([id], true) => link.single_vlan(vlan(*id)).ipv6(addresses.0, addresses.1, ttl),
            ([outer, inner, ..], false) => link.double_vlan(vlan(*outer), vlan(*inner)).ipv4(src4, dst4, ttl),
            ([outer, inner, ..], true) => link.double_vlan(vlan(*outer), vlan(*inner)).ipv6(addresses.0, addresses.1, ttl),
        };
        let mut out = Vec::new();
        match transport {
            Transport::Udp => {
                let step: PacketBuilderStep<UdpHeader> = ip.udp(ports.0, ports.1);
                step.write(&mut out, &payload).unwrap();
            }
            Transport::Tcp(window) => ip.tcp(ports.0, ports.1, 1, window).syn().ack(2).write(&mut out, &payload).unwrap(),
            Transport::Echo if v6 => ip.icmpv6_echo_request(1, 2).write(&mut out, &payload).unwrap(),
            Transport::Echo => ip.icmpv4_echo_request(1, 2).write(&mut out, &payload).unwrap(),
        }
        out
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_etherparse_at_every_length(packet in packets()) {
        for len in 0..=packet.len() {
            assert_same(&parse(LinkType::Ethernet, &packet[..len]), &packet[..len])?;
        }
    }

    #[test]
    fn any_bytes_are_survived(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        head in prop_oneof![Just(vec![]), Just(ethernet(0x0800, &[0x45])), Just(ethernet(0x86dd, &[0x60])), Just(ethernet(0x8847, &[]))],
    ) {
        bytes.splice(0..0, head);
        for link in [LinkType::Ethernet, LinkType::Ip, LinkType::Mpls, LinkType::Ppp] {
            let headers = parse(link, &bytes);
            let sizes: usize = headers.layers.iter().map(|(_, size)| usize::from(size)).sum();
            prop_assert!(sizes <= bytes.len() + 60, "only the innermost layer may be cut");
            record(link, &bytes);
        }
    }
}

#[test]
fn fields_of_a_record() {
    let mut tcp = vec![0x00, 0x50, 0xc0, 0x01];
    tcp.extend([0; 8]);
    tcp.extend([0x50, 0x12, 0, 0, 0, 0, 0, 0]);
    let tagged = [&[0xc0, 0x64, 0x81, 0x00, 0x00, 0xc8, 0x08, 0x00][..], &ipv4(6, &tcp)].concat();
    let got = record(LinkType::Ethernet, &ethernet(0x88a8, &tagged));
    let want = FlowRecord {
        dst_mac: 0x010203040506,
        src_mac: 0x0708090a0b0c,
        vlan_id: 100,
        vlan_stack: vec![100, 200],
        etype: 0x0800,
        src_addr: vec![10, 0, 0, 1],
        dst_addr: vec![10, 0, 0, 2],
        proto: 6,
        ip_tos: 8,
        ip_ttl: 63,
        fragment_id: 7,
        ip_flags: 2,
        src_port: 80,
        dst_port: 49153,
        tcp_flags: 0x12,
        layer_stack: vec![0, 6, 6, 1, 3],
        layer_size: vec![14, 4, 4, 20, 20],
        ..FlowRecord::default()
    };
    assert_eq!(got, want);
}

#[test]
fn mpls_labels_and_what_they_carry() {
    let packet = [&[0x00, 0x01, 0x00, 0x40, 0x00, 0x02, 0x01, 0x3f][..], &ipv6(17, &udp(53, &[]))].concat();
    let got = record(LinkType::Ethernet, &ethernet(0x8847, &packet));
    assert_eq!((got.mpls_label, got.mpls_ttl), (vec![16, 32], vec![64, 63]));
    assert_eq!((got.etype, got.proto, got.dst_port), (0x86dd, 17, 53));
    assert_eq!((got.ip_tos, got.ipv6_flow_label, got.ip_ttl), (0xab, 0x12345, 9));
    assert_eq!((got.layer_stack, got.layer_size), (vec![0, 5, 2, 4], vec![14, 8, 40, 8]));
}

#[test]
fn ipv6_extension_chains_and_their_length_units() {
    let mut chain = vec![43, 1]; // hop-by-hop, 16 octets; then routing
    chain.extend([0; 14]);
    chain.extend([51, 4, 4, 1, 1, 0, 0, 0]); // segment routing, 2 segments; then AH
    chain.extend([0x31; 16]);
    chain.extend([0x32; 16]);
    chain.extend([60, 4]); // AH: (4 + 2) * 4 = 24 octets; then destination options
    chain.extend([0; 22]);
    chain.extend([17, 0, 0, 0, 0, 0, 0, 0]); // destination options, 8 octets; then UDP
    chain.extend(udp(53, &[]));
    let got = record(LinkType::Ip, &ipv6(0, &chain));
    assert_eq!((got.proto, got.src_port, got.dst_port), (17, 12345, 53));
    assert_eq!(got.ipv6_routing_header_addresses, [vec![0x31; 16], vec![0x32; 16]]);
    assert_eq!(got.ipv6_routing_header_seg_left, 1);
    assert_eq!(got.layer_size, [40, 16, 40, 24, 8, 8]);
    assert_eq!(got.layer_stack, [2, 99, 10, 99, 99, 4]);
}

#[test]
fn an_endless_looking_extension_chain_ends_with_the_bytes() {
    let chain = [0u8; 4000]; // hop-by-hop after hop-by-hop, eight octets each
    let got = record(LinkType::Ip, &ipv6(0, &chain));
    assert_eq!((got.proto, got.src_port), (0, 0));
}

#[test]
fn fragments_but_the_first_have_no_ports() {
    let mut first = ipv4(17, &udp(53, &[]));
    first[6..8].copy_from_slice(&[0x20, 0]);
    let got = record(LinkType::Ip, &first);
    assert_eq!((got.dst_port, got.fragment_offset, got.ip_flags), (53, 0, 1));
    let mut later = first.clone();
    later[6..8].copy_from_slice(&[0x20, 185]);
    let got = record(LinkType::Ip, &later);
    assert_eq!((got.proto, got.dst_port, got.fragment_offset), (17, 0, 185));
    let fragment = |offset: u16| {
        let [high, low] = (offset << 3 | 1).to_be_bytes();
        ipv6(44, &[&[17, 99, high, low, 0, 1, 0, 0][..], &udp(53, &[])].concat())
    };
    let got = record(LinkType::Ip, &fragment(0));
    assert_eq!((got.dst_port, got.fragment_id, got.ip_flags, got.proto), (53, 0x10000, 1, 17));
    let got = record(LinkType::Ip, &fragment(3));
    assert_eq!((got.dst_port, got.fragment_offset, got.proto), (0, 3, 17));
}

#[test]
fn ihl_below_5_is_no_ipv4_header() {
    let mut packet = ipv4(17, &udp(53, &[]));
    packet[0] = 0x44;
    let got = record(LinkType::Ip, &packet);
    assert_eq!((got.src_addr, got.dst_port), (vec![], 0));
}

#[test]
fn total_length_below_the_header_leaves_the_payload_alone() {
    let mut packet = ipv4(17, &udp(53, &[]));
    packet[2..4].copy_from_slice(&19u16.to_be_bytes());
    let got = record(LinkType::Ip, &packet);
    assert_eq!((got.src_addr, got.proto, got.dst_port), (vec![10, 0, 0, 1], 17, 0));
    packet[2..4].copy_from_slice(&0u16.to_be_bytes()); // segmentation offload
    assert_eq!(record(LinkType::Ip, &packet).dst_port, 53);
}

#[test]
fn ethernet_padding_is_no_payload() {
    let mut frame = ethernet(0x0800, &ipv4(17, &[0, 53]));
    frame.resize(60, 0xff);
    assert_eq!(record(LinkType::Ethernet, &frame).src_port, 0);
}

fn check_inner(got: &FlowRecord, kind: TunnelType, id: u64) {
    assert_eq!((got.tunnel_type(), got.tunnel_id), (kind, id));
    assert_eq!((&got.inner_src_addr[..], got.inner_proto), (&[10, 0, 0, 1][..], 17));
    assert_eq!((got.inner_src_port, got.inner_dst_port, got.inner_etype), (12345, 53, 0x0800));
}

#[test]
fn tunnels_fill_the_inner_fields() {
    let inner = ipv4(17, &udp(53, &[]));
    let frame = ethernet(0x8100, &[&[0x60, 0x05, 0x08, 0x00][..], &inner].concat());

    let gre = [&[0xb0, 0, 0x08, 0x00, 9, 9, 0, 0, 0, 0, 0x02, 0x9a, 0, 0, 0, 1][..], &inner].concat();
    let got = record(LinkType::Ip, &ipv4(47, &gre));
    check_inner(&got, TunnelType::TunnelGre, 666);
    assert_eq!((got.proto, got.layer_size), (47, vec![20, 16, 20, 8]));

    check_inner(&record(LinkType::Ip, &ipv4(4, &inner)), TunnelType::TunnelIpip, 0);
    check_inner(&record(LinkType::Ip, &ipv6(4, &inner)), TunnelType::TunnelIpip, 0);
    let six_in_four = record(LinkType::Ip, &ipv4(41, &ipv6(17, &udp(53, &[]))));
    assert_eq!((six_in_four.inner_etype, six_in_four.inner_dst_addr), (0x86dd, vec![0x21; 16]));

    let vxlan = [&[0x08, 0, 0, 0, 0, 1, 0, 0][..], &frame].concat();
    let got = record(LinkType::Ip, &ipv6(17, &udp(4789, &vxlan)));
    check_inner(&got, TunnelType::TunnelVxlan, 256);
    assert_eq!((got.inner_vlan_id, got.inner_src_mac, got.dst_port), (5, 0x0708090a0b0c, 4789));
    assert_eq!((got.vlan_id, got.src_mac), (0, 0), "the inner frame's are not the outer's");

    let geneve = [&[0x01, 0, 0x65, 0x58, 0, 0, 7, 0, 1, 2, 3, 4][..], &frame].concat();
    check_inner(&record(LinkType::Ip, &ipv4(17, &udp(6081, &geneve))), TunnelType::TunnelGeneve, 7);

    let gtp = [&[0x34, 255, 0, 0, 0, 0, 0, 77, 0, 0, 0, 0x85, 1, 0x10, 9, 0][..], &inner].concat();
    let got = record(LinkType::Ip, &ipv4(17, &udp(2152, &gtp)));
    check_inner(&got, TunnelType::TunnelGtpu, 77);
    assert_eq!(got.layer_stack, [1, 4, 201, 1, 4]);
}

#[test]
fn tunnel_nesting_is_bounded_and_the_first_inner_packet_counts() {
    let mut packet = ipv4(17, &udp(53, &[]));
    for _ in 0..200 {
        packet = ipv4(4, &packet);
    }
    let got = record(LinkType::Ip, &packet);
    assert_eq!((got.inner_proto, got.inner_dst_port, got.layer_stack.len()), (4, 0, 5));
}

#[test]
fn a_gtp_extension_of_length_0_ends_the_chain() {
    let gtp = [0x34, 255, 0, 0, 0, 0, 0, 77, 0, 0, 0, 0x85, 0, 0, 0, 0];
    let got = record(LinkType::Ip, &ipv4(17, &udp(2152, &gtp)));
    assert_eq!((got.dst_port, got.tunnel_type()), (2152, TunnelType::TunnelNone));
}
