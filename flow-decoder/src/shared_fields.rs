//! Fields that all records of a datagram, or of a set, share: encoded once.

use crate::data_set::MessageHeader;
use crate::datagram::{Datagram, DecoderOptions, octets};
use crate::plan::Plan;
use crate::protobuf::{Delimiting, RecordBuffer, RecordWriter};
use crate::protocol::Protocol;
use crate::record::flow;

/// Encoded shared fields, in memory that is used again for each datagram.
#[derive(Debug)]
pub(crate) struct SharedFields {
    /// Fields of the datagram, then of the set.
    bytes: Vec<u8>,
    /// Where those of the set begin.
    of_datagram: usize,
    scratch: RecordBuffer,
}

impl SharedFields {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), of_datagram: 0, scratch: RecordBuffer::new(512, Delimiting::Length) }
    }

    /// Encodes the fields of a datagram.
    pub(crate) fn begin(
        &mut self,
        datagram: &Datagram<'_>,
        options: &DecoderOptions,
        protocol: Protocol,
        header: &MessageHeader,
    ) {
        self.encode(|writer| {
            writer.uint(flow::TYPE, protocol.flow_type());
            writer.uint(flow::SEQUENCE_NUM, u64::from(header.sequence));
            writer.bytes(flow::SAMPLER_ADDRESS, octets(&datagram.source.ip()).as_ref());
            writer.uint(flow::OBSERVATION_DOMAIN_ID, u64::from(header.domain));
            writer.uint(flow::TIME_RECEIVED_NS, datagram.received_ns);
            writer.bytes(flow::ZONE, options.zone(datagram.zone).as_bytes());
            writer.bytes(flow::COLLECTOR_NODE, options.collector_node.as_bytes());
        });
    }

    /// Takes what `write` writes for the fields of a datagram.
    pub(crate) fn encode(&mut self, write: impl FnOnce(&mut RecordWriter<'_>)) {
        self.scratch.clear();
        let mut writer = self.scratch.begin();
        write(&mut writer);
        writer.finish();
        self.bytes.clear();
        self.bytes.extend_from_slice(self.scratch.iter().next().unwrap_or_default());
        self.of_datagram = self.bytes.len();
    }

    /// Adds the fields of a set: what is constant by its plan, and the sampling rate where records do not say it.
    pub(crate) fn for_set(&mut self, plan: &Plan, sampling_rate: u64) {
        self.bytes.truncate(self.of_datagram);
        self.bytes.extend_from_slice(plan.constants());
        if sampling_rate != 0 && !plan.says_sampling() {
            self.scratch.clear();
            let mut writer = self.scratch.begin();
            writer.uint(flow::SAMPLING_RATE, sampling_rate);
            writer.finish();
            self.bytes.extend_from_slice(self.scratch.iter().next().unwrap_or_default());
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}
