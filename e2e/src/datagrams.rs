//! Datagrams written by hand, octet by octet: NetFlow v9 and IPFIX with templates and data apart, and what no capture has.

use std::net::Ipv4Addr;

/// Octets of the one layout of these datagrams: source address, destination address, octets, packets.
const RECORD: [(u16, u16); 4] = [(8, 4), (12, 4), (1, 4), (2, 4)];
const TEMPLATE_ID: u16 = 256;
const DOMAIN: u32 = 7;
const EXPORT_TIME: u32 = 1_767_225_600;

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
        let mut body = Vec::new();
        for word in [TEMPLATE_ID, RECORD.len() as u16] {
            body.extend(word.to_be_bytes());
        }
        for (element, length) in RECORD {
            body.extend(element.to_be_bytes());
            body.extend(length.to_be_bytes());
        }
        let set = match self {
            Self::V9 => 0,
            Self::Ipfix => 2,
        };
        self.message(0, 1, set, &body)
    }

    /// A datagram with one record for each number: from 10.0.0.0 + number, with so many octets.
    pub fn data(self, numbers: std::ops::Range<u32>) -> Vec<u8> {
        let mut body = Vec::new();
        for number in numbers.clone() {
            body.extend(source(number).octets());
            body.extend([192, 0, 2, 1]);
            body.extend(number.to_be_bytes());
            body.extend(1_u32.to_be_bytes());
        }
        self.message(numbers.start, numbers.len() as u16, TEMPLATE_ID, &body)
    }

    /// ```text
    /// v9:    version | count | sysUpTime | seconds | sequence | source id      20 octets
    /// IPFIX: version | length | seconds | sequence | domain                    16 octets
    /// set:   id | length | body
    /// ```
    fn message(self, sequence: u32, records: u16, set: u16, body: &[u8]) -> Vec<u8> {
        let set_length = 4 + body.len() as u16;
        let mut message = Vec::new();
        match self {
            Self::V9 => {
                message.extend([9_u16, records].map(u16::to_be_bytes).concat());
                message.extend([60_000, EXPORT_TIME, sequence, DOMAIN].map(u32::to_be_bytes).concat());
            }
            Self::Ipfix => {
                message.extend([10, 16 + set_length].map(u16::to_be_bytes).concat());
                message.extend([EXPORT_TIME, sequence, DOMAIN].map(u32::to_be_bytes).concat());
            }
        }
        message.extend([set, set_length].map(u16::to_be_bytes).concat());
        message.extend(body);
        message
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

/// The source address of a record.
pub fn source(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0000 + number)
}
