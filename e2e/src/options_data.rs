//! Options data written by hand: an exporter's tables of interfaces and applications, and records that only number them.
//!
//! ```text
//! options template, v9:     id | octets of scopes | octets of options | (type | length) x scopes | (element | length) x options
//! options template, IPFIX:  id | fields | scopes | (element | length) x fields
//! interfaces:               index 4 | name 16 | sampling interval 4       scope INTERFACE, or ingressInterface
//! applications:             scope 4 | id 4 | name 16                      scope SYSTEM, or exportingProcessId
//! records:                  input 4 | output 4 | application 4 | octets 4
//! ```

use crate::datagrams::Protocol;

const RECORDS: u16 = 256;
const INTERFACES: u16 = 300;
const APPLICATIONS: u16 = 301;
const NAME: usize = 16;

/// Elements: octets, input and output interface, sampling interval, interface's name, application and its name.
const OCTETS: (u16, u16) = (1, 4);
const INPUT: (u16, u16) = (10, 4);
const OUTPUT: (u16, u16) = (14, 4);
const INTERVAL: (u16, u16) = (34, 4);
const INTERFACE_NAME: (u16, u16) = (82, NAME as u16);
const APPLICATION: (u16, u16) = (95, 4);
const APPLICATION_NAME: (u16, u16) = (96, NAME as u16);

/// An interface as an exporter announces it.
#[derive(Clone, Copy, Debug)]
pub struct Interface {
    /// SNMP index.
    pub index: u32,
    /// At most 16 octets.
    pub name: &'static str,
    /// One packet of so many is looked at.
    pub interval: u32,
}

/// A record: interfaces, application and octets.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Where the packets came in.
    pub input: u32,
    /// Where they went out.
    pub output: u32,
    /// Application id.
    pub application: u32,
    /// How many octets they had.
    pub octets: u32,
}

impl Protocol {
    /// A datagram with the template of [`Record`]s.
    pub fn numbering_template(self, sequence: u32, clock: u32) -> Vec<u8> {
        let fields = [INPUT, OUTPUT, APPLICATION, OCTETS];
        let body = [words([RECORDS, fields.len() as u16]), specifiers(&fields)].concat();
        self.message(sequence, clock, 1, if self == Self::V9 { 0 } else { 2 }, &body)
    }

    /// A datagram with records.
    pub fn numbering(self, records: &[Record], sequence: u32, clock: u32) -> Vec<u8> {
        let fields = records.iter().flat_map(|it| [it.input, it.output, it.application, it.octets]);
        let body: Vec<u8> = fields.flat_map(u32::to_be_bytes).collect();
        self.message(sequence, clock, records.len() as u16, RECORDS, &body)
    }

    /// Datagrams with the options template of interfaces, and with them.
    pub fn interfaces(self, interfaces: &[Interface], sequence: u32, clock: u32) -> [Vec<u8>; 2] {
        let scope = if self == Self::V9 { (2, 4) } else { INPUT };
        let rows = interfaces
            .iter()
            .map(|it| [&it.index.to_be_bytes()[..], &padded(it.name), &it.interval.to_be_bytes()].concat());
        let rows: Vec<_> = rows.collect();
        self.table(INTERFACES, scope, &[INTERFACE_NAME, INTERVAL], &rows, (sequence, clock))
    }

    /// Datagrams with the options template of applications, and with them: ids and names.
    pub fn applications(self, applications: &[(u32, &str)], sequence: u32, clock: u32) -> [Vec<u8>; 2] {
        let scope = if self == Self::V9 { (1, 4) } else { (144, 4) };
        let rows =
            applications.iter().map(|(id, name)| [&[0; 4][..], &id.to_be_bytes(), &padded(name)].concat());
        let rows: Vec<_> = rows.collect();
        self.table(APPLICATIONS, scope, &[APPLICATION, APPLICATION_NAME], &rows, (sequence, clock))
    }

    fn table(
        self,
        id: u16,
        scope: (u16, u16),
        options: &[(u16, u16)],
        rows: &[Vec<u8>],
        (sequence, clock): (u32, u32),
    ) -> [Vec<u8>; 2] {
        let fields = [&[scope][..], options].concat();
        let (set, head) = match self {
            Self::V9 => (1, words([id, 4, 4 * options.len() as u16])),
            Self::Ipfix => (3, words([id, fields.len() as u16, 1])),
        };
        let template = self.message(sequence, clock, 1, set, &[head, specifiers(&fields)].concat());
        [template, self.message(sequence, clock, rows.len() as u16, id, &rows.concat())]
    }
}

fn words<const N: usize>(words: [u16; N]) -> Vec<u8> {
    words.into_iter().flat_map(u16::to_be_bytes).collect()
}

fn specifiers(fields: &[(u16, u16)]) -> Vec<u8> {
    fields.iter().flat_map(|(element, length)| words([*element, *length])).collect()
}

fn padded(name: &str) -> Vec<u8> {
    let mut octets = name.as_bytes().to_vec();
    octets.resize(NAME, 0);
    octets
}
