//! NetFlow version 5 (Cisco, "NetFlow Export Datagram Formats").
//!
//! ```text
//! header, 24 bytes: version count | sysUptime | unix_secs | unix_nsecs | flow_sequence | engine_type engine_id sampling
//! record, 48 bytes: src dst next_hop | in out | packets octets | first last | ports | pad flags proto tos | as as | masks pad
//! ```
//! `sampling` is two bits of mode and 14 bits of interval: here the rate of the exporter's first sampler.

use super::Put;
use super::fixed::Fixed;
use crate::exporter::Exporter;
use crate::model::{Addresses, GeneratedFlow, Sampler};
use crate::train::Train;

const RANDOM_SAMPLING: u16 = 2 << 14;

pub(super) fn append(exporter: &Exporter, datagram: u64, records: u64, train: &mut Train) {
    let first = datagram * exporter.records_per_datagram;
    train.datagram(|bytes| {
        bytes.put_u16(5);
        bytes.put_u16(records as u16);
        bytes.put_u32(exporter.uptime_ms(datagram));
        bytes.put_u32(exporter.clock(datagram));
        bytes.put_u32(0);
        bytes.put_u32(exporter.sequence(datagram));
        bytes.put_u8(0);
        bytes.put_u8(exporter.domain as u8);
        bytes.put_u16(RANDOM_SAMPLING | exporter.rate(Sampler::First) as u16);
        for number in first..first + records {
            bytes.extend_from_slice(record(&exporter.flow(number)).bytes());
        }
    });
}

#[inline(always)]
fn record(flow: &GeneratedFlow) -> Fixed<48> {
    let (src, dst, next_hop) = match flow.addresses {
        Addresses::V4 { src, dst, next_hop } => (src, dst, next_hop),
        Addresses::V6 { .. } => unreachable!("the model gives NetFlow v5 no IPv6 flows"),
    };
    let mut record = Fixed::new();
    record
        .put(src.to_be_bytes())
        .put(dst.to_be_bytes())
        .put(next_hop.to_be_bytes())
        .put(flow.in_if.to_be_bytes())
        .put(flow.out_if.to_be_bytes())
        .put(flow.packets.to_be_bytes())
        .put(flow.octets.to_be_bytes())
        .put(flow.start_ms.to_be_bytes())
        .put(flow.end_ms.to_be_bytes())
        .put(flow.src_port.to_be_bytes())
        .put(flow.dst_port.to_be_bytes())
        .put([0, flow.tcp_flags, flow.proto, flow.tos])
        .put(flow.src_as.to_be_bytes())
        .put(flow.dst_as.to_be_bytes())
        .put([flow.src_mask, flow.dst_mask, 0, 0]);
    record
}

#[cfg(test)]
mod tests {
    use super::super::tests::{datagrams, u16_at, u32_at};
    use super::*;

    #[test]
    fn the_header_and_the_first_record_are_laid_out_as_cisco_says() {
        let (exporter, sent) = datagrams("--protocol v5", 24);
        let [datagram] = &sent[..] else { panic!("{} datagrams", sent.len()) };
        assert_eq!(datagram.len(), 24 + 24 * 48);
        assert_eq!(datagram[..4], [0, 5, 0, 24]);
        assert_eq!(u32_at(datagram, 8) - u32_at(datagram, 4) / 1_000, exporter.boot_time);
        assert_eq!(u16_at(datagram, 22) & 0x3fff, exporter.rate(Sampler::First) as u16);
        let flow = exporter.flow(0);
        assert_eq!(u32_at(datagram, 24 + 16), flow.packets);
        assert_eq!(u32_at(datagram, 24 + 20), flow.octets);
        assert_eq!(u16_at(datagram, 24 + 32), flow.src_port);
        assert_eq!(datagram[24 + 38], flow.proto);
        assert_eq!(u16_at(datagram, 24 + 42), flow.dst_as);
    }
}
