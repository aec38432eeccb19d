//! Counters of hosts, virtual machines, applications, ports and optics as JSON.

use super::ToJson;
use super::object::Object;
use crate::flow::v1::{
    SflowAdapter, SflowAdapters, SflowAppResources, SflowAppWorkers, SflowApplication, SflowBuffers,
    SflowGpu, SflowHardwareTables, SflowHost, SflowHostCpu, SflowHostDisk, SflowHostMemory, SflowHostNetwork,
    SflowHttp, SflowIcmp, SflowIp, SflowJvm, SflowJvmStatistics, SflowLag, SflowMemcache, SflowOpenflowPort,
    SflowOpticalLane, SflowOptics, SflowOvsDatapath, SflowParent, SflowPortBuffers, SflowPortName,
    SflowRadio, SflowSlowPath, SflowTcp, SflowTokenRing, SflowUdp, SflowVg, SflowVirtualCpu,
    SflowVirtualDisk, SflowVirtualMemory, SflowVirtualNetwork, SflowVirtualNode, SflowWireless,
};

/// A message's fields in their order, each with the kind of its value.
macro_rules! rendered {
    ($($message:ident { $($kind:ident $field:ident),* })*) => {$(
        impl ToJson for $message {
            fn write_json(&self, out: &mut Vec<u8>) {
                let mut o = Object::begin(out);
                $(rendered!(@$kind o, $field, self.$field);)*
                o.end();
            }
        }
    )*};
    (@uint $o:ident, $name:ident, $value:expr) => { $o.uint(stringify!($name), $value) };
    (@int $o:ident, $name:ident, $value:expr) => { $o.int(stringify!($name), $value) };
    (@float $o:ident, $name:ident, $value:expr) => { $o.float(stringify!($name), $value) };
    (@mac $o:ident, $name:ident, $value:expr) => { $o.mac(stringify!($name), $value) };
    (@string $o:ident, $name:ident, $value:expr) => { $o.string(stringify!($name), &$value) };
    (@hex $o:ident, $name:ident, $value:expr) => { $o.hex(stringify!($name), &$value) };
    (@uints $o:ident, $name:ident, $value:expr) => { $o.uints(stringify!($name), &$value) };
    (@macs $o:ident, $name:ident, $value:expr) => { $o.macs(stringify!($name), &$value) };
    (@list $o:ident, $name:ident, $value:expr) => {
        $o.array(stringify!($name), &$value, |out, member| member.write_json(out))
    };
}

rendered! {
    SflowLag { mac actor_system_id, mac partner_system_id, uint attached_aggregation_id, uint port_state, uint lacp_pdus_rx, uint marker_pdus_rx, uint marker_response_pdus_rx, uint unknown_rx, uint illegal_rx, uint lacp_pdus_tx, uint marker_pdus_tx, uint marker_response_pdus_tx }
    SflowSlowPath { uint unknown, uint other, uint cam_miss, uint cam_full, uint no_hardware_support, uint control }
    SflowOptics { uint module_id, uint lanes, uint supply_voltage, int temperature, list lane }
    SflowOpticalLane { uint index, uint tx_bias_current, uint tx_power, uint tx_power_min, uint tx_power_max, uint tx_wavelength, uint rx_power, uint rx_power_min, uint rx_power_max, uint rx_wavelength }
    SflowRadio { uint elapsed_time, uint on_channel_time, uint on_channel_busy_time }
    SflowOpenflowPort { uint datapath_id, uint port }
    SflowPortName { string name }
    SflowHost { string hostname, hex uuid, uint machine_type, uint os_name, string os_release }
    SflowAdapters { list adapter }
    SflowAdapter { uint if_index, macs mac_addresses }
    SflowParent { uint container_type, uint container_index }
    SflowHostCpu { float load_1m, float load_5m, float load_15m, uint processes_running, uint processes_total, uint cpus, uint cpu_mhz, uint uptime, uint user, uint nice, uint system, uint idle, uint io_wait, uint interrupt, uint soft_interrupt, uint interrupts, uint context_switches, uint steal, uint guest, uint guest_nice }
    SflowHostMemory { uint total, uint free, uint shared, uint buffers, uint cached, uint swap_total, uint swap_free, uint pages_in, uint pages_out, uint swap_pages_in, uint swap_pages_out }
    SflowHostDisk { uint total, uint free, uint partition_max_used, uint reads, uint bytes_read, uint read_time, uint writes, uint bytes_written, uint write_time }
    SflowHostNetwork { uint bytes_in, uint packets_in, uint errors_in, uint drops_in, uint bytes_out, uint packets_out, uint errors_out, uint drops_out }
    SflowIp { uint forwarding, uint default_ttl, uint in_receives, uint in_hdr_errors, uint in_addr_errors, uint forw_datagrams, uint in_unknown_protos, uint in_discards, uint in_delivers, uint out_requests, uint out_discards, uint out_no_routes, uint reasm_timeout, uint reasm_reqds, uint reasm_o_ks, uint reasm_fails, uint frag_o_ks, uint frag_fails, uint frag_creates }
    SflowIcmp { uint in_msgs, uint in_errors, uint in_dest_unreachs, uint in_time_excds, uint in_param_probs, uint in_src_quenchs, uint in_redirects, uint in_echos, uint in_echo_reps, uint in_timestamps, uint in_addr_masks, uint in_addr_mask_reps, uint out_msgs, uint out_errors, uint out_dest_unreachs, uint out_time_excds, uint out_param_probs, uint out_src_quenchs, uint out_redirects, uint out_echos, uint out_echo_reps, uint out_timestamps, uint out_timestamp_reps, uint out_addr_masks, uint out_addr_mask_reps }
    SflowTcp { uint rto_algorithm, uint rto_min, uint rto_max, uint max_conn, uint active_opens, uint passive_opens, uint attempt_fails, uint estab_resets, uint curr_estab, uint in_segs, uint out_segs, uint retrans_segs, uint in_errs, uint out_rsts, uint in_csum_errors }
    SflowUdp { uint in_datagrams, uint no_ports, uint in_errors, uint out_datagrams, uint rcvbuf_errors, uint sndbuf_errors, uint in_csum_errors }
    SflowVirtualNode { uint mhz, uint cpus, uint memory, uint memory_free, uint domains }
    SflowVirtualCpu { uint state, uint cpu_time, uint cpus }
    SflowVirtualMemory { uint memory, uint max_memory }
    SflowVirtualDisk { uint capacity, uint allocation, uint available, uint reads, uint bytes_read, uint writes, uint bytes_written, uint errors }
    SflowVirtualNetwork { uint bytes_in, uint packets_in, uint errors_in, uint drops_in, uint bytes_out, uint packets_out, uint errors_out, uint drops_out }
    SflowJvm { string name, string vendor, string version }
    SflowJvmStatistics { uint heap_initial, uint heap_used, uint heap_committed, uint heap_max, uint non_heap_initial, uint non_heap_used, uint non_heap_committed, uint non_heap_max, uint gc_count, uint gc_time, uint classes_loaded, uint classes_total, uint classes_unloaded, uint compilation_time, uint threads_live, uint threads_daemon, uint threads_started, uint files_open, uint files_max }
    SflowHttp { uint method_option, uint method_get, uint method_head, uint method_post, uint method_put, uint method_delete, uint method_trace, uint method_connect, uint method_other, uint status_1xx, uint status_2xx, uint status_3xx, uint status_4xx, uint status_5xx, uint status_other }
    SflowApplication { string name, uint success, uint other, uint timeout, uint internal_error, uint bad_request, uint forbidden, uint too_large, uint not_implemented, uint not_found, uint unavailable, uint unauthorized }
    SflowAppResources { uint user_time, uint system_time, uint memory_used, uint memory_max, uint files_open, uint files_max, uint connections_open, uint connections_max }
    SflowAppWorkers { uint active, uint idle, uint max, uint requests_delayed, uint requests_dropped }
    SflowOvsDatapath { uint hits, uint misses, uint lost, uint mask_hits, uint flows, uint masks }
    SflowGpu { uint devices, uint processes, uint gpu_time, uint memory_time, uint memory_total, uint memory_free, uint ecc_errors, uint energy, uint temperature, uint fan_speed }
    SflowTokenRing { uint line_errors, uint burst_errors, uint ac_errors, uint abort_trans_errors, uint internal_errors, uint lost_frame_errors, uint receive_congestions, uint frame_copied_errors, uint token_errors, uint soft_errors, uint hard_errors, uint signal_loss, uint transmit_beacons, uint recoveries, uint lobe_wires, uint removes, uint singles, uint freq_errors }
    SflowVg { uint in_high_priority_frames, uint in_high_priority_octets, uint in_norm_priority_frames, uint in_norm_priority_octets, uint in_ipm_errors, uint in_oversize_frame_errors, uint in_data_errors, uint in_null_addressed_frames, uint out_high_priority_frames, uint out_high_priority_octets, uint transition_into_trainings, uint hc_in_high_priority_octets, uint hc_in_norm_priority_octets, uint hc_out_high_priority_octets }
    SflowWireless { uint transmitted_fragments, uint multicast_transmitted_frames, uint failed, uint retries, uint multiple_retries, uint frame_duplicates, uint rts_successes, uint rts_failures, uint ack_failures, uint received_fragments, uint multicast_received_frames, uint fcs_errors, uint transmitted_frames, uint wep_undecryptable, uint qos_discarded_fragments, uint associated_stations, uint qos_cf_polls_received, uint qos_cf_polls_unused, uint qos_cf_polls_unusable, uint qos_cf_polls_lost }
    SflowMemcache { uint cmd_set, uint cmd_touch, uint cmd_flush, uint get_hits, uint get_misses, uint delete_hits, uint delete_misses, uint incr_hits, uint incr_misses, uint decr_hits, uint decr_misses, uint cas_hits, uint cas_misses, uint cas_badval, uint auth_cmds, uint auth_errors, uint threads, uint conn_yields, uint listen_disabled_num, uint curr_connections, uint rejected_connections, uint total_connections, uint connection_structures, uint evictions, uint reclaimed, uint curr_items, uint total_items, uint bytes_read, uint bytes_written, uint bytes, uint limit_maxbytes }
    SflowBuffers { uint unicast, uint multicast }
    SflowPortBuffers { uint ingress_unicast, uint ingress_multicast, uint egress_unicast, uint egress_multicast, uints egress_queue_unicast, uints egress_queue_multicast }
    SflowHardwareTables { uint host_entries, uint host_entries_max, uint ipv4_entries, uint ipv4_entries_max, uint ipv6_entries, uint ipv6_entries_max, uint ipv4_ipv6_entries, uint ipv4_ipv6_entries_max, uint long_ipv6_entries, uint long_ipv6_entries_max, uint total_routes, uint total_routes_max, uint ecmp_nexthops, uint ecmp_nexthops_max, uint mac_entries, uint mac_entries_max, uint ipv4_neighbors, uint ipv6_neighbors, uint ipv4_routes, uint ipv6_routes, uint acl_ingress_entries, uint acl_ingress_entries_max, uint acl_ingress_counters, uint acl_ingress_counters_max, uint acl_ingress_meters, uint acl_ingress_meters_max, uint acl_ingress_slices, uint acl_ingress_slices_max, uint acl_egress_entries, uint acl_egress_entries_max, uint acl_egress_counters, uint acl_egress_counters_max, uint acl_egress_meters, uint acl_egress_meters_max, uint acl_egress_slices, uint acl_egress_slices_max }
}
