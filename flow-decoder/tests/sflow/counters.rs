//! Counter structures with a published layout: each field at its place, with its width.

use catchment_proto::flow::v1::SflowCounters;
use catchment_proto::json::ToJson;

use super::*;

/// Structures of fixed width: enterprise and format, the field of `SflowCounters`, and the structure's fields in the order of
/// its specification; a counter takes 4 octets where it does not say 8.
const FIXED: [(u32, &str, &str); 34] = [
    (
        1,
        "interface",
        "if_index if_type if_speed:8 if_direction if_status in_octets:8 in_ucast_packets in_multicast_packets \
         in_broadcast_packets in_discards in_errors in_unknown_protos out_octets:8 out_ucast_packets \
         out_multicast_packets out_broadcast_packets out_discards out_errors promiscuous_mode",
    ),
    (
        2,
        "ethernet",
        "alignment_errors fcs_errors single_collision_frames multiple_collision_frames sqe_test_errors \
         deferred_transmissions late_collisions excessive_collisions internal_mac_transmit_errors \
         carrier_sense_errors frame_too_longs internal_mac_receive_errors symbol_errors",
    ),
    (
        3,
        "token_ring",
        "line_errors burst_errors ac_errors abort_trans_errors internal_errors lost_frame_errors \
         receive_congestions frame_copied_errors token_errors soft_errors hard_errors signal_loss \
         transmit_beacons recoveries lobe_wires removes singles freq_errors",
    ),
    (
        4,
        "vg",
        "in_high_priority_frames in_high_priority_octets:8 in_norm_priority_frames in_norm_priority_octets:8 \
         in_ipm_errors in_oversize_frame_errors in_data_errors in_null_addressed_frames \
         out_high_priority_frames out_high_priority_octets:8 transition_into_trainings \
         hc_in_high_priority_octets:8 hc_in_norm_priority_octets:8 hc_out_high_priority_octets:8",
    ),
    (5, "vlan", "vlan_id octets:8 ucast_packets multicast_packets broadcast_packets discards"),
    (
        6,
        "wireless",
        "transmitted_fragments multicast_transmitted_frames failed retries multiple_retries frame_duplicates \
         rts_successes rts_failures ack_failures received_fragments multicast_received_frames fcs_errors \
         transmitted_frames wep_undecryptable qos_discarded_fragments associated_stations \
         qos_cf_polls_received qos_cf_polls_unused qos_cf_polls_unusable qos_cf_polls_lost",
    ),
    (8, "slow_path", "unknown other cam_miss cam_full no_hardware_support control"),
    (1001, "processor", "cpu_5s cpu_1m cpu_5m total_memory:8 free_memory:8"),
    (1002, "radio", "elapsed_time on_channel_time on_channel_busy_time"),
    (1004, "openflow_port", "datapath_id:8 port"),
    (2002, "parent", "container_type container_index"),
    (
        2004,
        "host_memory",
        "total:8 free:8 shared:8 buffers:8 cached:8 swap_total:8 swap_free:8 pages_in pages_out \
         swap_pages_in swap_pages_out",
    ),
    (
        2005,
        "host_disk",
        "total:8 free:8 partition_max_used reads bytes_read:8 read_time writes bytes_written:8 write_time",
    ),
    (
        2006,
        "host_network",
        "bytes_in:8 packets_in errors_in drops_in bytes_out:8 packets_out errors_out drops_out",
    ),
    (
        2007,
        "ip",
        "forwarding default_ttl in_receives in_hdr_errors in_addr_errors forw_datagrams in_unknown_protos \
         in_discards in_delivers out_requests out_discards out_no_routes reasm_timeout reasm_reqds reasm_o_ks \
         reasm_fails frag_o_ks frag_fails frag_creates",
    ),
    (
        2008,
        "icmp",
        "in_msgs in_errors in_dest_unreachs in_time_excds in_param_probs in_src_quenchs in_redirects in_echos \
         in_echo_reps in_timestamps in_addr_masks in_addr_mask_reps out_msgs out_errors out_dest_unreachs \
         out_time_excds out_param_probs out_src_quenchs out_redirects out_echos out_echo_reps out_timestamps \
         out_timestamp_reps out_addr_masks out_addr_mask_reps",
    ),
    (
        2009,
        "tcp",
        "rto_algorithm rto_min rto_max max_conn active_opens passive_opens attempt_fails estab_resets \
         curr_estab in_segs out_segs retrans_segs in_errs out_rsts in_csum_errors",
    ),
    (2010, "udp", "in_datagrams no_ports in_errors out_datagrams rcvbuf_errors sndbuf_errors in_csum_errors"),
    (2100, "virtual_node", "mhz cpus memory:8 memory_free:8 domains"),
    (2101, "virtual_cpu", "state cpu_time cpus"),
    (2102, "virtual_memory", "memory:8 max_memory:8"),
    (
        2103,
        "virtual_disk",
        "capacity:8 allocation:8 available:8 reads bytes_read:8 writes bytes_written:8 errors",
    ),
    (
        2104,
        "virtual_network",
        "bytes_in:8 packets_in errors_in drops_in bytes_out:8 packets_out errors_out drops_out",
    ),
    (
        2106,
        "jvm_statistics",
        "heap_initial:8 heap_used:8 heap_committed:8 heap_max:8 non_heap_initial:8 non_heap_used:8 \
         non_heap_committed:8 non_heap_max:8 gc_count gc_time classes_loaded classes_total classes_unloaded \
         compilation_time threads_live threads_daemon threads_started files_open files_max",
    ),
    (
        2201,
        "http",
        "method_option method_get method_head method_post method_put method_delete method_trace \
         method_connect method_other status_1xx status_2xx status_3xx status_4xx status_5xx status_other",
    ),
    (
        2203,
        "app_resources",
        "user_time system_time memory_used:8 memory_max:8 files_open files_max connections_open \
         connections_max",
    ),
    (
        2204,
        "memcache",
        "cmd_set cmd_touch cmd_flush get_hits get_misses delete_hits delete_misses incr_hits incr_misses \
         decr_hits decr_misses cas_hits cas_misses cas_badval auth_cmds auth_errors threads conn_yields \
         listen_disabled_num curr_connections rejected_connections total_connections connection_structures \
         evictions reclaimed curr_items total_items bytes_read:8 bytes_written:8 bytes:8 limit_maxbytes:8",
    ),
    (2206, "app_workers", "active idle max requests_delayed requests_dropped"),
    (2207, "ovs_datapath", "hits misses lost mask_hits flows masks"),
    (4413 << 12 | 1, "buffers", "unicast multicast"),
    (
        4413 << 12 | 3,
        "hardware_tables",
        "host_entries host_entries_max ipv4_entries ipv4_entries_max ipv6_entries ipv6_entries_max \
         ipv4_ipv6_entries ipv4_ipv6_entries_max long_ipv6_entries long_ipv6_entries_max total_routes \
         total_routes_max ecmp_nexthops ecmp_nexthops_max mac_entries mac_entries_max ipv4_neighbors \
         ipv6_neighbors ipv4_routes ipv6_routes acl_ingress_entries acl_ingress_entries_max \
         acl_ingress_counters acl_ingress_counters_max acl_ingress_meters acl_ingress_meters_max \
         acl_ingress_slices acl_ingress_slices_max acl_egress_entries acl_egress_entries_max \
         acl_egress_counters acl_egress_counters_max acl_egress_meters acl_egress_meters_max \
         acl_egress_slices acl_egress_slices_max",
    ),
    (
        5703 << 12 | 1,
        "gpu",
        "devices processes gpu_time memory_time memory_total:8 memory_free:8 ecc_errors energy temperature \
         fan_speed",
    ),
    (
        7,
        "lag",
        "actor_system_id:mac partner_system_id:mac attached_aggregation_id port_state lacp_pdus_rx \
         marker_pdus_rx marker_response_pdus_rx unknown_rx illegal_rx lacp_pdus_tx marker_pdus_tx \
         marker_response_pdus_tx",
    ),
    (
        2003,
        "host_cpu",
        "load_1m:float load_5m:float load_15m:float processes_running processes_total cpus cpu_mhz uptime user \
         nice system idle io_wait interrupt soft_interrupt interrupts context_switches steal guest guest_nice",
    ),
];

/// The octets of a structure whose fields are numbered from 1, and what it is to become.
fn numbered(fields: &str) -> (Vec<u8>, String) {
    let (mut body, mut want) = (Vec::new(), Vec::new());
    for (number, field) in (1_u32..).zip(fields.split_whitespace()) {
        let (name, kind) = field.split_once(':').unwrap_or((field, "4"));
        let (octets, value) = match kind {
            "4" => (words(&[number]), number.to_string()),
            // Above 32 bits, so that no half can be taken for the whole.
            "8" => (words(&[number, number]), (u64::from(number) << 32 | u64::from(number)).to_string()),
            "mac" => (words(&[number << 16, 0x0102_0000]), format!("\"00:{number:02x}:00:00:01:02\"")),
            "float" => (f32::from(number as u8).to_be_bytes().to_vec(), number.to_string()),
            other => panic!("{other}"),
        };
        body.extend(octets);
        want.push(format!("\"{name}\":{value}"));
    }
    (body, format!("{{{}}}", want.join(",")))
}

/// The counters record of a sample with these structures.
pub(super) fn counters_of(records: &[Vec<u8>]) -> SflowCounters {
    let head = [66, 0x0200_0011, records.len() as u32];
    let outcome = decode(&datagram_of(&[block(2, &[&words(&head)[..], &records.concat()].concat())]));
    outcome.assert_whole();
    outcome.counters[0].clone()
}

#[test]
fn each_counter_is_in_its_field() {
    for (data_format, field, fields) in FIXED {
        let (body, want) = numbered(fields);
        let counters = counters_of(&[block(data_format, &body)]);
        let shown = counters.to_json();
        let (_, found) = shown.split_once(&format!("\"{field}\":")).expect(field);
        assert_eq!(found, format!("{want}}}"), "{}:{}", data_format >> 12, data_format & 0xfff);
        assert!(counters.structures[0].body.is_empty(), "{field} is kept as octets, too");
    }
}

#[test]
fn queues_of_a_port_have_their_own_use_of_buffers() {
    let body = words(&[1, 2, 3, 4, 8, 11, 12, 13, 14, 15, 16, 17, 18, 2, 21, u32::MAX]);
    let buffers = counters_of(&[block(4413 << 12 | 2, &body)]).port_buffers.expect("port buffers");
    assert_eq!((buffers.ingress_unicast, buffers.egress_multicast), (1, 4));
    assert_eq!(buffers.egress_queue_unicast, [11, 12, 13, 14, 15, 16, 17, 18]);
    assert_eq!(buffers.egress_queue_multicast, [21, u32::MAX]);
}

#[test]
fn structures_with_names() {
    let counters = counters_of(&[
        block(1005, &opaque(b"swp1")),
        block(2105, &[opaque(b"web"), opaque(b"vendor"), opaque(b"21.0.1")].concat()),
        block(2202, &[opaque(b"payment"), words(&(1..=11).collect::<Vec<_>>())].concat()),
    ]);
    assert_eq!(counters.port_name.expect("a port's name").name, "swp1");
    let jvm = counters.jvm.expect("a virtual machine");
    assert_eq!((&jvm.name[..], &jvm.vendor[..], &jvm.version[..]), ("web", "vendor", "21.0.1"));
    let application = counters.application.expect("an application");
    assert_eq!((&application.name[..], application.success, application.other), ("payment", 1, 2));
    let later = [
        application.timeout,
        application.internal_error,
        application.bad_request,
        application.forbidden,
        application.too_large,
        application.not_implemented,
        application.not_found,
        application.unavailable,
        application.unauthorized,
    ];
    assert_eq!(later, [3, 4, 5, 6, 7, 8, 9, 10, 11]);
}

#[test]
fn counts_that_outrun_a_structure_end_with_it() {
    for count in [9, 0x4000_0000, u32::MAX] {
        let body = words(&[1, 2, 3, 4, count, 11, 12]);
        let sample = block(2, &[words(&[66, 0x0200_0011, 1]), block(4413 << 12 | 2, &body)].concat());
        let outcome = decode(&datagram_of(&[sample]));
        assert_eq!(outcome.statistics.malformed[Reason::SampleRecord], 1, "{count}");
        assert_eq!(
            outcome.counters[0].port_buffers.as_ref().map(|buffers| buffers.egress_multicast),
            Some(4)
        );
    }
}
