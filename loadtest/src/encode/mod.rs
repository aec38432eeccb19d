//! Export datagrams as real exporters send them, one file per protocol.
//!
//! Each protocol's `append` writes data datagram `datagram` of an exporter to the end of a [`Train`], `announce` the one with
//! templates before it. Sequence numbers and clocks come from [`Exporter`], so that a verifier knows them too.

mod fixed;
mod ipfix;
pub(crate) mod packet;
pub(crate) mod sflow;
pub(crate) mod spoofed;
mod v5;
mod v9;

use crate::exporter::Exporter;
use crate::train::Train;
use crate::workload::Protocol;

/// Appends data datagram `datagram` with its first `records` records, and what is due before it.
pub fn append(exporter: &Exporter, datagram: u64, records: u64, train: &mut Train) {
    if exporter.refreshes_at(datagram) {
        announce(exporter, datagram, train);
    }
    data(exporter, datagram, records, train);
}

/// Appends a datagram with templates and options data, as it goes out before data datagram `datagram`; nothing for
/// protocols without templates.
pub fn announce(exporter: &Exporter, datagram: u64, train: &mut Train) {
    match exporter.protocol {
        Protocol::V9 => v9::announce(exporter, datagram, train),
        Protocol::Ipfix => ipfix::announce(exporter, datagram, train),
        Protocol::V5 | Protocol::Sflow => {}
    }
}

/// Appends data datagram `datagram` with its first `records` records; sFlow has its counters in it.
pub fn data(exporter: &Exporter, datagram: u64, records: u64, train: &mut Train) {
    match exporter.protocol {
        Protocol::V5 => v5::append(exporter, datagram, records, train),
        Protocol::V9 => v9::append(exporter, datagram, records, train),
        Protocol::Ipfix => ipfix::append(exporter, datagram, records, train),
        Protocol::Sflow => sflow::append(exporter, datagram, records, train),
    }
}

/// Big-endian numbers at the end of a datagram.
trait Put {
    fn put_u8(&mut self, value: u8);
    fn put_u16(&mut self, value: u16);
    fn put_u32(&mut self, value: u32);
    fn put_u64(&mut self, value: u64);
}

impl Put for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }

    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_be_bytes());
    }
}

/// `bytes` with its fields, of these lengths, in reverse order.
fn reversed<const N: usize>(bytes: &[u8; N], fields: &[(u16, u16)]) -> [u8; N] {
    let mut reversed = [0; N];
    let (mut at, mut to) = (0, N);
    for (_, length) in fields {
        let length = usize::from(*length);
        to -= length;
        reversed[to..to + length].copy_from_slice(&bytes[at..at + length]);
        at += length;
    }
    reversed
}

/// Writes the distance from `from` to the end of `bytes` over the 16-bit length at `at`.
fn patch_u16_length(bytes: &mut [u8], at: usize, from: usize) {
    let length = (bytes.len() - from) as u16;
    bytes[at..at + 2].copy_from_slice(&length.to_be_bytes());
}

/// As [`patch_u16_length`], for a 32-bit length.
fn patch_u32_length(bytes: &mut [u8], at: usize, from: usize) {
    let length = (bytes.len() - from) as u32;
    bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// A set of NetFlow v9 or IPFIX: id and length, then what `body` writes, then zeros up to a multiple of four
/// (RFC 3954 5.2, RFC 7011 3.3.1).
fn set(bytes: &mut Vec<u8>, id: u16, body: impl FnOnce(&mut Vec<u8>)) {
    let start = bytes.len();
    bytes.put_u16(id);
    bytes.put_u16(0);
    body(bytes);
    let length = bytes.len() - start;
    bytes.resize(start + length.next_multiple_of(4), 0);
    patch_u16_length(bytes, start + 2, start);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::tests::workload;

    /// The datagrams of an exporter's first turn.
    pub(super) fn datagrams(options: &str, records: u64) -> (Exporter, Vec<Vec<u8>>) {
        let exporter = workload(options).unwrap().exporters().next().unwrap();
        let mut train = Train::default();
        append(&exporter, 0, records, &mut train);
        (exporter, train.datagrams().map(<[u8]>::to_vec).collect())
    }

    pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
        u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap())
    }

    pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn reversed_fields_keep_their_octets() {
        let fields = [(8, 4), (7, 2), (4, 1)];
        assert_eq!(reversed(&[1, 2, 3, 4, 5, 6, 7], &fields), [7, 5, 6, 1, 2, 3, 4]);
    }

    #[test]
    fn a_set_is_padded_and_its_length_covers_the_padding() {
        let mut bytes = vec![0xff];
        set(&mut bytes, 256, |bytes| bytes.extend_from_slice(&[1, 2, 3]));
        assert_eq!(bytes, [0xff, 1, 0, 0, 8, 1, 2, 3, 0]);
    }
}
