//! Whose numbers: a sequence space is one counter of one exporter.

use std::net::IpAddr;

/// What a sequence number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// Datagrams: NetFlow v9 (RFC 3954 5.1), sFlow v5.
    Datagrams,
    /// Flow records: NetFlow v5 counts the flows sent before.
    Flows,
    /// Data records, options records included: IPFIX (RFC 7011 3.1) counts those sent before.
    DataRecords,
    /// Samples of one data source: sFlow v5.
    Samples,
}

impl Unit {
    /// The word for it in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Datagrams => "datagrams",
            Self::Flows => "flows",
            Self::DataRecords => "data_records",
            Self::Samples => "samples",
        }
    }

    /// How many numbers a lost datagram takes with it at most; `None` where nothing bounds it but the datagram's size.
    pub(crate) const fn per_datagram(self) -> Option<u64> {
        match self {
            Self::Datagrams => Some(1),
            Self::Flows => Some(30),
            Self::DataRecords | Self::Samples => None,
        }
    }
}

/// One counter of an exporter: numbers are comparable inside of it only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Space {
    /// Zone of the listener.
    pub zone: Box<str>,
    /// The exporter's address; sFlow: the agent's.
    pub exporter: IpAddr,
    /// UDP source port; 0 for sFlow.
    pub port: u16,
    /// 5, 9, 10, or 6343 for sFlow v5.
    pub version: u16,
    /// Source id, observation domain, v5 engine type and id, sFlow sub-agent.
    pub domain: u32,
    /// sFlow: data source of a sample sequence; 0 for datagrams.
    pub data_source: u32,
    /// What is counted.
    pub unit: Unit,
}
