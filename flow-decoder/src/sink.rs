//! Where a decoder's output goes.
//!
//! The decoder asks for the open batch of a stream, writes one record into it and says so; whether that batch is then
//! full, which bucket it belongs to and what becomes of it is the sink's business. The observing methods show wire content
//! to those who want to see it (`decode --elements`, tests); for all others they are empty and compile to nothing.

use std::net::SocketAddr;

use crate::datagram::ZoneId;
use crate::error::Malformed;
use crate::protobuf::RecordBuffer;
use crate::sflow;
use crate::structured::{self, InnerTemplates};
use crate::template::{FieldSpecifier, TemplateKind};

/// The kinds of records, each with an output of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stream {
    /// `FlowRecord`: NetFlow and IPFIX data records, sFlow flow samples.
    Flow,
    /// `SflowCounters`: sFlow counter samples.
    Counters,
    /// `SflowDrop`: sFlow drop notifications.
    Drops,
    /// `OptionsRecord`: NetFlow v9 and IPFIX options data records.
    Options,
}

impl Stream {
    /// All streams, in the order of their discriminants.
    pub const ALL: [Self; Self::COUNT] = [Self::Flow, Self::Counters, Self::Drops, Self::Options];

    /// How many streams there are.
    pub const COUNT: usize = 4;

    /// The metric label, and the word that `decode --kinds` takes.
    pub fn label(self) -> &'static str {
        match self {
            Self::Flow => "flow",
            Self::Counters => "counters",
            Self::Drops => "drops",
            Self::Options => "options",
        }
    }
}

/// Receives what a decoder makes of datagrams.
pub trait Sink {
    /// Whether the observing methods do anything; they are not called otherwise.
    const OBSERVES: bool = false;

    /// The batch that the next record of `stream` goes to; `None` where the stream is off.
    fn batch(&mut self, stream: Stream) -> Option<&mut RecordBuffer>;

    /// One record has been added to the batch of `stream`; it took `len` bytes with its prefix.
    fn written(&mut self, stream: Stream, len: usize);

    /// What the sink calls the datagram that is decoded; given back with [`Self::begin_held`].
    fn datagram_number(&self) -> u64 {
        0
    }

    /// What comes next is of a data set that came before its template, in an earlier datagram; until the next datagram.
    fn begin_held(&mut self, _origin: &HeldOrigin) {}

    /// A data or options record as it is on the wire.
    fn observe_record(&mut self, _record: &WireRecord<'_>) {}

    /// An sFlow sample as it is on the wire.
    fn observe_sample(&mut self, _sample: &WireSample<'_>) {}

    /// Something was wrong.
    fn observe_malformed(&mut self, _error: &Malformed) {}
}

/// The datagram of a data set that has waited for its template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldOrigin {
    /// Exporter's address and port.
    pub source: SocketAddr,
    /// Zone of the listener.
    pub zone: ZoneId,
    /// When the kernel received it, ns since 1970.
    pub received_ns: u64,
    /// What [`Sink::datagram_number`] said then.
    pub number: u64,
}

/// A data or options record and the template that describes it.
#[derive(Clone, Copy, Debug)]
pub struct WireRecord<'a> {
    /// 1, 5, 7, 9 or 10.
    pub version: u16,
    /// Source id, observation domain or engine.
    pub domain: u32,
    /// Set id; `None` for the fixed layouts of NetFlow v1, v5 and v7.
    pub set: Option<u16>,
    /// Data or options.
    pub kind: TemplateKind,
    /// The template's fields; for fixed layouts those with an element, IANA's ids.
    pub fields: &'a [FieldSpecifier],
    /// The whole record.
    pub bytes: &'a [u8],
    /// Templates of records in its structured data.
    pub templates: &'a InnerTemplates,
}

impl<'a> WireRecord<'a> {
    /// Each field with its bytes (without a variable-length prefix), in wire order.
    pub fn elements(&self) -> impl Iterator<Item = (&'a FieldSpecifier, &'a [u8])> + use<'a> {
        structured::elements_of(self.fields, self.bytes)
    }
}

/// An sFlow sample of any format.
#[derive(Clone, Copy, Debug)]
pub struct WireSample<'a> {
    /// Agent address, 4 or 16 bytes.
    pub agent: &'a [u8],
    /// Sub-agent id.
    pub sub_agent: u32,
    /// Enterprise of the sample's format.
    pub enterprise: u32,
    /// Format in the enterprise.
    pub format: u32,
    /// Sequence number, where the format is known.
    pub sequence: Option<u32>,
    /// Sampling rate of flow samples.
    pub sampling_rate: Option<u32>,
    /// Sample body behind its header fields: the records, each format word, length, body. Empty where the format is not known.
    pub records: &'a [u8],
    /// How many records the sample announces.
    pub record_count: u32,
}

impl<'a> WireSample<'a> {
    /// Each record as (enterprise, format, body), in wire order, up to the announced count or the first that is cut. The body is
    /// as long as it is, where its length says less (Brocade).
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32, &'a [u8])> + use<'a> {
        sflow::bodies(self.records, self.record_count)
    }
}
