//! sFlow counters and drops as JSON.

use super::ToJson;
use super::object::Object;
use crate::flow::v1::{
    SflowCounters, SflowDrop, SflowEthernetCounters, SflowInterfaceCounters, SflowProcessor, SflowStructure,
    SflowVlanCounters,
};

impl ToJson for SflowCounters {
    fn write_json(&self, out: &mut Vec<u8>) {
        let mut o = Object::begin(out);
        o.uint("time_received_ns", self.time_received_ns);
        o.address("exporter", &self.exporter);
        o.address("agent_address", &self.agent_address);
        o.uint("sub_agent_id", self.sub_agent_id);
        o.uint("datagram_sequence_num", self.datagram_sequence_num);
        o.uint("sequence_num", self.sequence_num);
        o.uint("source_id_type", self.source_id_type);
        o.uint("source_id_index", self.source_id_index);
        o.uint("uptime_ms", self.uptime_ms);
        o.string("zone", &self.zone);
        o.string("collector_node", &self.collector_node);
        o.array("structures", &self.structures, |out, structure| structure.write_json(out));
        o.optional("interface", self.interface.as_ref(), |out, counters| counters.write_json(out));
        o.optional("ethernet", self.ethernet.as_ref(), |out, counters| counters.write_json(out));
        o.optional("vlan", self.vlan.as_ref(), |out, counters| counters.write_json(out));
        o.optional("processor", self.processor.as_ref(), |out, counters| counters.write_json(out));
        o.optional("lag", self.lag.as_ref(), |out, counters| counters.write_json(out));
        o.optional("slow_path", self.slow_path.as_ref(), |out, counters| counters.write_json(out));
        o.optional("optics", self.optics.as_ref(), |out, counters| counters.write_json(out));
        o.optional("radio", self.radio.as_ref(), |out, counters| counters.write_json(out));
        o.optional("openflow_port", self.openflow_port.as_ref(), |out, counters| counters.write_json(out));
        o.optional("port_name", self.port_name.as_ref(), |out, counters| counters.write_json(out));
        o.optional("host", self.host.as_ref(), |out, counters| counters.write_json(out));
        o.optional("adapters", self.adapters.as_ref(), |out, counters| counters.write_json(out));
        o.optional("parent", self.parent.as_ref(), |out, counters| counters.write_json(out));
        o.optional("host_cpu", self.host_cpu.as_ref(), |out, counters| counters.write_json(out));
        o.optional("host_memory", self.host_memory.as_ref(), |out, counters| counters.write_json(out));
        o.optional("host_disk", self.host_disk.as_ref(), |out, counters| counters.write_json(out));
        o.optional("host_network", self.host_network.as_ref(), |out, counters| counters.write_json(out));
        o.optional("ip", self.ip.as_ref(), |out, counters| counters.write_json(out));
        o.optional("icmp", self.icmp.as_ref(), |out, counters| counters.write_json(out));
        o.optional("tcp", self.tcp.as_ref(), |out, counters| counters.write_json(out));
        o.optional("udp", self.udp.as_ref(), |out, counters| counters.write_json(out));
        o.optional("virtual_node", self.virtual_node.as_ref(), |out, counters| counters.write_json(out));
        o.optional("virtual_cpu", self.virtual_cpu.as_ref(), |out, counters| counters.write_json(out));
        o.optional("virtual_memory", self.virtual_memory.as_ref(), |out, counters| counters.write_json(out));
        o.optional("virtual_disk", self.virtual_disk.as_ref(), |out, counters| counters.write_json(out));
        o.optional("virtual_network", self.virtual_network.as_ref(), |out, counters| {
            counters.write_json(out);
        });
        o.optional("jvm", self.jvm.as_ref(), |out, counters| counters.write_json(out));
        o.optional("jvm_statistics", self.jvm_statistics.as_ref(), |out, counters| counters.write_json(out));
        o.optional("http", self.http.as_ref(), |out, counters| counters.write_json(out));
        o.optional("application", self.application.as_ref(), |out, counters| counters.write_json(out));
        o.optional("app_resources", self.app_resources.as_ref(), |out, counters| counters.write_json(out));
        o.optional("app_workers", self.app_workers.as_ref(), |out, counters| counters.write_json(out));
        o.optional("ovs_datapath", self.ovs_datapath.as_ref(), |out, counters| counters.write_json(out));
        o.optional("gpu", self.gpu.as_ref(), |out, counters| counters.write_json(out));
        o.optional("token_ring", self.token_ring.as_ref(), |out, counters| counters.write_json(out));
        o.optional("vg", self.vg.as_ref(), |out, counters| counters.write_json(out));
        o.optional("wireless", self.wireless.as_ref(), |out, counters| counters.write_json(out));
        o.optional("memcache", self.memcache.as_ref(), |out, counters| counters.write_json(out));
        o.optional("buffers", self.buffers.as_ref(), |out, counters| counters.write_json(out));
        o.optional("port_buffers", self.port_buffers.as_ref(), |out, counters| counters.write_json(out));
        o.optional("hardware_tables", self.hardware_tables.as_ref(), |out, counters| {
            counters.write_json(out);
        });
        o.end();
    }
}

impl ToJson for SflowDrop {
    fn write_json(&self, out: &mut Vec<u8>) {
        let mut o = Object::begin(out);
        o.uint("time_received_ns", self.time_received_ns);
        o.address("exporter", &self.exporter);
        o.address("agent_address", &self.agent_address);
        o.uint("sub_agent_id", self.sub_agent_id);
        o.uint("datagram_sequence_num", self.datagram_sequence_num);
        o.uint("sequence_num", self.sequence_num);
        o.uint("source_id_type", self.source_id_type);
        o.uint("source_id_index", self.source_id_index);
        o.uint("drops", self.drops);
        o.uint("in_if", self.in_if);
        o.uint("out_if", self.out_if);
        o.uint("reason", self.reason);
        o.string("reason_name", &self.reason_name);
        o.optional("packet", self.packet.as_ref(), |out, packet| packet.write_json(out));
        o.uint("egress_queue", self.egress_queue);
        o.string("function", &self.function);
        o.uint("acl_number", self.acl_number);
        o.string("acl_name", &self.acl_name);
        o.uint("acl_direction", self.acl_direction);
        o.string("zone", &self.zone);
        o.string("collector_node", &self.collector_node);
        o.array("structures", &self.structures, |out, structure| structure.write_json(out));
        o.uint("transit_delay_ns", self.transit_delay_ns);
        o.uint("queue_depth", self.queue_depth);
        o.string("linux_drop_reason", &self.linux_drop_reason);
        o.end();
    }
}

impl ToJson for SflowStructure {
    fn write_json(&self, out: &mut Vec<u8>) {
        let mut o = Object::begin(out);
        o.uint("enterprise", self.enterprise);
        o.uint("format", self.format);
        o.string("name", &self.name);
        o.hex("body", &self.body);
        o.end();
    }
}

impl ToJson for SflowInterfaceCounters {
    fn write_json(&self, out: &mut Vec<u8>) {
        let mut o = Object::begin(out);
        o.uint("if_index", self.if_index);
        o.uint("if_type", self.if_type);
        o.uint("if_speed", self.if_speed);
        o.uint("if_direction", self.if_direction);
        o.uint("if_status", self.if_status);
        o.uint("in_octets", self.in_octets);
        o.uint("in_ucast_packets", self.in_ucast_packets);
        o.uint("in_multicast_packets", self.in_multicast_packets);
        o.uint("in_broadcast_packets", self.in_broadcast_packets);
        o.uint("in_discards", self.in_discards);
        o.uint("in_errors", self.in_errors);
        o.uint("in_unknown_protos", self.in_unknown_protos);
        o.uint("out_octets", self.out_octets);
        o.uint("out_ucast_packets", self.out_ucast_packets);
        o.uint("out_multicast_packets", self.out_multicast_packets);
        o.uint("out_broadcast_packets", self.out_broadcast_packets);
        o.uint("out_discards", self.out_discards);
        o.uint("out_errors", self.out_errors);
        o.uint("promiscuous_mode", self.promiscuous_mode);
        o.end();
    }
}

impl ToJson for SflowEthernetCounters {
    fn write_json(&self, out: &mut Vec<u8>) {
        let mut o = Object::begin(out);
        o.uint("alignment_errors", self.alignment_errors);
        o.uint("fcs_errors", self.fcs_errors);
        o.uint("single_collision_frames", self.single_collision_frames);
        o.uint("multiple_collision_frames", self.multiple_collision_frames);
        o.uint("sqe_test_errors", self.sqe_test_errors);
        o.uint("deferred_transmissions", self.deferred_transmissions);
        o.uint("late_collisions", self.late_collisions);
        o.uint("excessive_collisions", self.excessive_collisions);
        o.uint("internal_mac_transmit_errors", self.internal_mac_transmit_errors);
        o.uint("carrier_sense_errors", self.carrier_sense_errors);
        o.uint("frame_too_longs", self.frame_too_longs);
        o.uint("internal_mac_receive_errors", self.internal_mac_receive_errors);
        o.uint("symbol_errors", self.symbol_errors);
        o.end();
    }
}

impl ToJson for SflowVlanCounters {
    fn write_json(&self, out: &mut Vec<u8>) {
        let mut o = Object::begin(out);
        o.uint("vlan_id", self.vlan_id);
        o.uint("octets", self.octets);
        o.uint("ucast_packets", self.ucast_packets);
        o.uint("multicast_packets", self.multicast_packets);
        o.uint("broadcast_packets", self.broadcast_packets);
        o.uint("discards", self.discards);
        o.end();
    }
}

impl ToJson for SflowProcessor {
    fn write_json(&self, out: &mut Vec<u8>) {
        let mut o = Object::begin(out);
        o.uint("cpu_5s", self.cpu_5s);
        o.uint("cpu_1m", self.cpu_1m);
        o.uint("cpu_5m", self.cpu_5m);
        o.uint("total_memory", self.total_memory);
        o.uint("free_memory", self.free_memory);
        o.end();
    }
}
