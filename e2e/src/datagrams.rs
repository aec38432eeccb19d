//! Datagrams written by hand, octet by octet: NetFlow v9 and IPFIX with templates and data apart, and what no capture has.

use std::net::Ipv4Addr;
use std::ops::Range;

/// Source address, destination address, octets, packets.
const RECORD: [(u16, u16); 4] = [(8, 4), (12, 4), (1, 4), (2, 4)];
const TEMPLATE_ID: u16 = 256;
const DOMAIN: u32 = 7;
const EXPORT_TIME: u32 = 1_767_225_600;

/// How the one template of these datagrams lays out its records. Both are equally long: what is read by the other one is wrong,
/// and no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Source address, destination address, octets, packets.
    Usual,
    /// The same from behind.
    Reversed,
}

/// A protocol with templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// NetFlow v9 (RFC 3954).
    V9,
    /// IPFIX (RFC 7011).
    Ipfix,
}

impl Protocol {
    /// A datagram with the template.
    pub fn template(self) -> Vec<u8> {
        self.template_in(Layout::Usual, 0, EXPORT_TIME)
    }

    /// A datagram with the template in a layout, its sequence number, and the exporter's clock, seconds since 1970.
    pub fn template_in(self, layout: Layout, sequence: u32, clock: u32) -> Vec<u8> {
        let mut body = Vec::new();
        for word in [TEMPLATE_ID, RECORD.len() as u16] {
            body.extend(word.to_be_bytes());
        }
        for (element, length) in layout.of(RECORD) {
            body.extend(element.to_be_bytes());
            body.extend(length.to_be_bytes());
        }
        let set = match self {
            Self::V9 => 0,
            Self::Ipfix => 2,
        };
        self.message(sequence, clock, 1, set, &body)
    }

    /// A datagram with one record for each number: from 10.0.0.0 + number, with so many octets.
    pub fn data(self, numbers: Range<u32>) -> Vec<u8> {
        self.data_in(Layout::Usual, numbers.clone(), numbers.start, EXPORT_TIME)
    }

    /// The same in a layout, with its sequence number, and the exporter's clock, seconds since 1970.
    pub fn data_in(self, layout: Layout, numbers: Range<u32>, sequence: u32, clock: u32) -> Vec<u8> {
        let mut body = Vec::new();
        for number in numbers.clone() {
            let fields = [source(number).to_bits(), u32::from_be_bytes([192, 0, 2, 1]), number, 1];
            layout.of(fields).into_iter().for_each(|field| body.extend(field.to_be_bytes()));
        }
        self.message(sequence, clock, numbers.len() as u16, TEMPLATE_ID, &body)
    }

    /// ```text
    /// v9:    version | count | sysUpTime | seconds | sequence | source id      20 octets
    /// IPFIX: version | length | seconds | sequence | domain                    16 octets
    /// set:   id | length | body
    /// ```
    pub(crate) fn message(self, sequence: u32, clock: u32, records: u16, set: u16, body: &[u8]) -> Vec<u8> {
        let set_length = 4 + body.len() as u16;
        let mut message = Vec::new();
        match self {
            Self::V9 => {
                message.extend([9_u16, records].map(u16::to_be_bytes).concat());
                message.extend([60_000, clock, sequence, DOMAIN].map(u32::to_be_bytes).concat());
            }
            Self::Ipfix => {
                message.extend([10, 16 + set_length].map(u16::to_be_bytes).concat());
                message.extend([clock, sequence, DOMAIN].map(u32::to_be_bytes).concat());
            }
        }
        message.extend([set, set_length].map(u16::to_be_bytes).concat());
        message.extend(body);
        message
    }
}

impl Layout {
    fn of<T, const N: usize>(self, mut fields: [T; N]) -> [T; N] {
        if self == Self::Reversed {
            fields.reverse();
        }
        fields
    }
}

/// An sFlow datagram from the agent 192.0.2.9 with one drop notification (sFlow 0:5, discarded_packet), of input interface 3 and
/// with so many notifications lost before.
///
/// ```text
/// datagram: version | address type | agent | sub-agent | sequence | uptime | samples
/// sample:   format | length | sequence | source class | source index | drops | input | output | reason | records
/// ```
pub fn sflow_drop(drops: u32) -> Vec<u8> {
    const NET_UNREACHABLE: u32 = 0;
    let agent = u32::from(Ipv4Addr::new(192, 0, 2, 9));
    let datagram = [5, 1, agent, 0, 1, 60_000, 1];
    let sample = [1, 0, 3, drops, 3, 0, NET_UNREACHABLE, 0];
    let head = [5, 4 * sample.len() as u32];
    [&datagram[..], &head, &sample].concat().into_iter().flat_map(u32::to_be_bytes).collect()
}

/// A NetFlow v5 datagram with a record for each (protocol, source port, destination port), from 192.0.2.1 to 192.0.2.2.
///
/// ```text
/// header: version | count | sysUpTime | seconds | nanoseconds | sequence | engine | sampling      24 octets
/// record: addresses 4 + 4 + 4 | interfaces 2 + 2 | packets, octets, first, last 4 each
///         | ports 2 + 2 | padding, TCP flags, protocol, ToS 1 each | 8                            48 octets
/// ```
pub fn v5(records: &[(u8, u16, u16)]) -> Vec<u8> {
    let mut datagram = [5, records.len() as u16].map(u16::to_be_bytes).concat();
    datagram.extend([60_000, EXPORT_TIME, 0, 1, 0].map(u32::to_be_bytes).concat());
    for (protocol, source, destination) in records {
        datagram.extend([[192, 0, 2, 1], [192, 0, 2, 2], [0; 4], [0, 1, 0, 2]].concat());
        datagram.extend([1_u32, 100, 59_000, 59_500].map(u32::to_be_bytes).concat());
        datagram.extend([*source, *destination].map(u16::to_be_bytes).concat());
        datagram.extend([0, 0, *protocol, 0]);
        datagram.extend([0; 8]);
    }
    datagram
}

/// The source address of a record.
pub fn source(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0000 + number)
}
