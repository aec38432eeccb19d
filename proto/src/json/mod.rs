//! The JSON rendering of the contracts: what stdout and file outputs, `decode` and `catchctl tail` print.
//!
//! One object on one line; the protobuf field names; addresses and MACs as text; `type`, `etype`, `proto`, layers and
//! tunnels by name, or by number where there is none; 64-bit numbers as numbers; octets as hexadecimal; absent fields
//! (0, empty) left out. A test walks the descriptors, so that no field can be forgotten.

mod flow;
mod names;
mod object;
mod sflow;
mod sflow_counters;

pub use object::{Address, Hex, Object};

use crate::flow::v1::{Element, OptionsRecord};

/// A message that has a JSON rendering.
pub trait ToJson {
    /// Appends the message as one object, without a line feed.
    fn write_json(&self, out: &mut Vec<u8>);

    /// The message as one object.
    fn to_json(&self) -> String {
        let mut out = Vec::new();
        self.write_json(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

impl ToJson for OptionsRecord {
    fn write_json(&self, out: &mut Vec<u8>) {
        let mut o = Object::begin(out);
        o.uint("time_received_ns", self.time_received_ns);
        o.address("exporter", &self.exporter);
        o.uint("port", self.port);
        o.uint("version", self.version);
        o.uint("observation_domain_id", self.observation_domain_id);
        o.uint("sequence_num", self.sequence_num);
        o.uint("template_id", self.template_id);
        o.array("elements", &self.elements, |out, element| element.write_json(out));
        o.uint("export_time", self.export_time);
        o.string("zone", &self.zone);
        o.string("collector_node", &self.collector_node);
        o.end();
    }
}

impl ToJson for Element {
    fn write_json(&self, out: &mut Vec<u8>) {
        let mut o = Object::begin(out);
        o.uint("pen", self.pen);
        o.uint("id", self.id);
        o.string("name", &self.name);
        o.hex("value", &self.value);
        o.string("text", &self.text);
        o.flag("scope", self.scope);
        o.end();
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost::encoding::{WireType, encode_key, encode_varint};
    use prost_types::field_descriptor_proto::Type;
    use prost_types::{DescriptorProto, FileDescriptorSet};
    use serde_json::Value;

    use super::ToJson;
    use crate::flow::v1::{
        Element, FlowRecord, OptionsRecord, SflowAdapter, SflowAdapters, SflowAppResources, SflowAppWorkers,
        SflowApplication, SflowBuffers, SflowCounters, SflowDrop, SflowEthernetCounters, SflowGpu,
        SflowHardwareTables, SflowHost, SflowHostCpu, SflowHostDisk, SflowHostMemory, SflowHostNetwork,
        SflowHttp, SflowIcmp, SflowInterfaceCounters, SflowIp, SflowJvm, SflowJvmStatistics, SflowLag,
        SflowMemcache, SflowOpenflowPort, SflowOpticalLane, SflowOptics, SflowOvsDatapath, SflowParent,
        SflowPortBuffers, SflowPortName, SflowProcessor, SflowRadio, SflowSlowPath, SflowStructure, SflowTcp,
        SflowTokenRing, SflowUdp, SflowVg, SflowVirtualCpu, SflowVirtualDisk, SflowVirtualMemory,
        SflowVirtualNetwork, SflowVirtualNode, SflowVlanCounters, SflowWireless,
    };

    /// Sets each field of `M` alone and wants its name, and nothing else, in the rendering.
    fn every_field_is_rendered<M: Message + Default + ToJson>(name: &str, messages: &[DescriptorProto]) {
        let message = messages.iter().find(|message| message.name() == name).expect(name);
        for field in &message.field {
            let mut wire = Vec::new();
            let tag = field.number() as u32;
            match field.r#type() {
                Type::Uint32 | Type::Uint64 | Type::Int32 | Type::Enum | Type::Bool => {
                    encode_key(tag, WireType::Varint, &mut wire);
                    encode_varint(1, &mut wire);
                }
                Type::Float => {
                    encode_key(tag, WireType::ThirtyTwoBit, &mut wire);
                    wire.extend(1.5f32.to_le_bytes());
                }
                Type::Bytes | Type::String => {
                    encode_key(tag, WireType::LengthDelimited, &mut wire);
                    wire.extend(b"\x04abcd");
                }
                Type::Message => {
                    encode_key(tag, WireType::LengthDelimited, &mut wire);
                    wire.push(0);
                }
                other => panic!("{name}.{}: the JSON rendering knows no {other:?}", field.name()),
            }
            let json = M::decode(wire.as_slice()).expect("made above").to_json();
            let shown: Value = serde_json::from_str(&json).expect(&json);
            let keys: Vec<_> = shown.as_object().expect(&json).keys().collect();
            assert_eq!(keys, [field.name()], "{name}: {json}");
        }
    }

    #[test]
    fn every_field_of_every_message_is_rendered() {
        let descriptors = FileDescriptorSet::decode(crate::FILE_DESCRIPTOR_SET).unwrap();
        let messages: Vec<_> = descriptors.file.into_iter().flat_map(|file| file.message_type).collect();
        every_field_is_rendered::<FlowRecord>("FlowRecord", &messages);
        every_field_is_rendered::<Element>("Element", &messages);
        every_field_is_rendered::<SflowCounters>("SflowCounters", &messages);
        every_field_is_rendered::<SflowStructure>("SflowStructure", &messages);
        every_field_is_rendered::<SflowInterfaceCounters>("SflowInterfaceCounters", &messages);
        every_field_is_rendered::<SflowEthernetCounters>("SflowEthernetCounters", &messages);
        every_field_is_rendered::<SflowVlanCounters>("SflowVlanCounters", &messages);
        every_field_is_rendered::<SflowProcessor>("SflowProcessor", &messages);
        every_field_is_rendered::<SflowLag>("SflowLag", &messages);
        every_field_is_rendered::<SflowSlowPath>("SflowSlowPath", &messages);
        every_field_is_rendered::<SflowOptics>("SflowOptics", &messages);
        every_field_is_rendered::<SflowOpticalLane>("SflowOpticalLane", &messages);
        every_field_is_rendered::<SflowRadio>("SflowRadio", &messages);
        every_field_is_rendered::<SflowOpenflowPort>("SflowOpenflowPort", &messages);
        every_field_is_rendered::<SflowPortName>("SflowPortName", &messages);
        every_field_is_rendered::<SflowHost>("SflowHost", &messages);
        every_field_is_rendered::<SflowAdapters>("SflowAdapters", &messages);
        every_field_is_rendered::<SflowAdapter>("SflowAdapter", &messages);
        every_field_is_rendered::<SflowParent>("SflowParent", &messages);
        every_field_is_rendered::<SflowHostCpu>("SflowHostCpu", &messages);
        every_field_is_rendered::<SflowHostMemory>("SflowHostMemory", &messages);
        every_field_is_rendered::<SflowHostDisk>("SflowHostDisk", &messages);
        every_field_is_rendered::<SflowHostNetwork>("SflowHostNetwork", &messages);
        every_field_is_rendered::<SflowIp>("SflowIp", &messages);
        every_field_is_rendered::<SflowIcmp>("SflowIcmp", &messages);
        every_field_is_rendered::<SflowTcp>("SflowTcp", &messages);
        every_field_is_rendered::<SflowUdp>("SflowUdp", &messages);
        every_field_is_rendered::<SflowVirtualNode>("SflowVirtualNode", &messages);
        every_field_is_rendered::<SflowVirtualCpu>("SflowVirtualCpu", &messages);
        every_field_is_rendered::<SflowVirtualMemory>("SflowVirtualMemory", &messages);
        every_field_is_rendered::<SflowVirtualDisk>("SflowVirtualDisk", &messages);
        every_field_is_rendered::<SflowVirtualNetwork>("SflowVirtualNetwork", &messages);
        every_field_is_rendered::<SflowJvm>("SflowJvm", &messages);
        every_field_is_rendered::<SflowJvmStatistics>("SflowJvmStatistics", &messages);
        every_field_is_rendered::<SflowHttp>("SflowHttp", &messages);
        every_field_is_rendered::<SflowApplication>("SflowApplication", &messages);
        every_field_is_rendered::<SflowAppResources>("SflowAppResources", &messages);
        every_field_is_rendered::<SflowAppWorkers>("SflowAppWorkers", &messages);
        every_field_is_rendered::<SflowOvsDatapath>("SflowOvsDatapath", &messages);
        every_field_is_rendered::<SflowGpu>("SflowGpu", &messages);
        every_field_is_rendered::<SflowTokenRing>("SflowTokenRing", &messages);
        every_field_is_rendered::<SflowVg>("SflowVg", &messages);
        every_field_is_rendered::<SflowWireless>("SflowWireless", &messages);
        every_field_is_rendered::<SflowMemcache>("SflowMemcache", &messages);
        every_field_is_rendered::<SflowBuffers>("SflowBuffers", &messages);
        every_field_is_rendered::<SflowPortBuffers>("SflowPortBuffers", &messages);
        every_field_is_rendered::<SflowHardwareTables>("SflowHardwareTables", &messages);
        every_field_is_rendered::<SflowDrop>("SflowDrop", &messages);
        every_field_is_rendered::<OptionsRecord>("OptionsRecord", &messages);
    }
}
