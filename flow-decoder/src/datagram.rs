//! A datagram as it comes from the receiver, and what every protocol's decoder is given.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::error::{Malformed, Path, Reason};
use crate::held_message::HeldMessage;
use crate::overrides::{Overrides, Treatment};
use crate::sequences::{SequenceKey, Sequences};
use crate::sink::Sink;
use crate::statistics::Statistics;

/// Which of [`DecoderOptions::zones`] a datagram came by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZoneId(pub u16);

/// One received datagram.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// UDP payload.
    pub payload: &'a [u8],
    /// Exporter's address and port; IPv4-mapped addresses are IPv4 here.
    pub source: SocketAddr,
    /// Zone of the listener.
    pub zone: ZoneId,
    /// When the kernel received it, ns since 1970 UTC.
    pub received_ns: u64,
    /// Whether the receive buffer cut it: then what is left is decoded.
    pub truncated: bool,
}

/// What `FlowRecord.sampler_address` shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExporterName {
    /// The datagram's source address.
    #[default]
    Address,
    /// sFlow's agent address; the source address where there is none.
    Agent,
}

/// Settings of a decoder.
#[derive(Clone, Debug)]
pub struct DecoderOptions {
    /// Labels of the zones; [`ZoneId`] counts from 0. The default is one zone with an empty label.
    pub zones: Vec<Arc<str>>,
    /// Node name for `collector_node`; empty leaves it out.
    pub collector_node: Arc<str>,
    /// What `sampler_address` shows.
    pub exporter_name: ExporterName,
    /// What is known of exporters better than they say it.
    pub overrides: Arc<Overrides>,
    /// Whether records show names that options data gives.
    pub names: NamesInRecords,
}

/// Whether records show the names that options data gives to interfaces, VRFs and applications: they cost octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamesInRecords {
    /// They do.
    #[default]
    Shown,
    /// They do not.
    LeftOut,
}

impl Default for DecoderOptions {
    fn default() -> Self {
        Self {
            zones: vec!["".into()],
            collector_node: "".into(),
            exporter_name: ExporterName::default(),
            overrides: Arc::default(),
            names: NamesInRecords::default(),
        }
    }
}

impl DecoderOptions {
    /// Label of a zone.
    pub fn zone(&self, zone: ZoneId) -> &str {
        self.zones.get(usize::from(zone.0)).map_or("", |label| label)
    }
}

/// How much of a datagram was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// Something was damaged or had no template; it is counted.
    Partly,
}

/// What a protocol's decoder works with, for one datagram.
pub(crate) struct Context<'a, S> {
    pub datagram: &'a Datagram<'a>,
    pub options: &'a DecoderOptions,
    pub statistics: &'a mut Statistics,
    pub sink: &'a mut S,
    pub extent: Extent,
    /// Octets of the message that were left out before what is decoded: offsets in errors are those of the message.
    pub skipped: usize,
    /// The message, where a set of it waits and its sequence numbers are those of its records.
    pub held: Option<Arc<HeldMessage>>,
    pub sequences: &'a mut Sequences,
}

impl<S: Sink> Context<'_, S> {
    /// How the exporter's records are made.
    pub(crate) fn treatment(&self) -> &Treatment {
        self.options.overrides.of(self.datagram.zone, self.datagram.source.ip())
    }

    /// The space that the datagram's own sequence number is of.
    pub(crate) fn sequence_key(&self, version: u16, domain: u32) -> SequenceKey {
        let Datagram { source, zone, .. } = *self.datagram;
        let (exporter, port) = (source.ip(), source.port());
        SequenceKey { zone, exporter, port, version, domain, data_source: None }
    }

    /// Notes damage that does not end the datagram.
    #[cold]
    pub(crate) fn damaged(&mut self, error: Malformed, path: Path) {
        self.extent = Extent::Partly;
        self.statistics.malformed[error.reason] += 1;
        if S::OBSERVES {
            let error = Malformed { offset: error.offset + self.skipped, ..error };
            self.sink.observe_malformed(&error.within(path));
        }
    }

    /// Notes that a header announces more or fewer octets than there are, unless the rest was cut.
    #[cold]
    pub(crate) fn wrong_length(&mut self, announced: usize, present: usize) {
        if announced < present || !self.datagram.truncated {
            self.damaged(Malformed::at(Reason::HeaderLength, 2), Path::default());
        }
    }

    /// Notes a data set that is given up.
    #[cold]
    pub(crate) fn set_rejected(&mut self, error: Malformed, path: Path) {
        self.statistics.sets.rejected[error.reason] += 1;
        self.damaged(error, path);
    }
}

/// An address as the bytes of a record.
pub(crate) fn octets(address: &IpAddr) -> AddressOctets {
    match address {
        IpAddr::V4(v4) => AddressOctets { bytes: v4.to_ipv6_mapped().octets(), from: 12 },
        IpAddr::V6(v6) => AddressOctets { bytes: v6.octets(), from: 0 },
    }
}

/// Four or sixteen octets.
#[derive(Clone, Copy)]
pub(crate) struct AddressOctets {
    bytes: [u8; 16],
    from: usize,
}

impl AsRef<[u8]> for AddressOctets {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.from..]
    }
}
