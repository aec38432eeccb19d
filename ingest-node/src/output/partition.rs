//! What a record's partition is chosen by.
//!
//! Every node must choose alike, so the hash is fixed here: 64-bit FNV-1a with a finaliser, because FNV's low bits
//! alone spread short keys badly over few partitions.

use std::net::IpAddr;

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// The hash of an exporter's address.
pub(super) fn exporter_key(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => hash(FNV_OFFSET, &v4.octets()),
        IpAddr::V6(v6) => hash(FNV_OFFSET, &v6.octets()),
    }
}

/// The hash of the addresses, ports and protocol in an encoded `FlowRecord`. Both directions of a conversation are
/// different flows. What the record does not have counts as empty.
pub(super) fn flow_key(record: &[u8]) -> u64 {
    const SRC_ADDR: u64 = 6;
    const DST_ADDR: u64 = 7;
    const PROTO: u64 = 20;
    const SRC_PORT: u64 = 21;
    const DST_PORT: u64 = 22;

    let (mut addresses, mut numbers) = ([&[][..]; 2], [0u64; 3]);
    for (field, value) in Fields(record) {
        match (field, value) {
            (SRC_ADDR, Value::Bytes(bytes)) => addresses[0] = bytes,
            (DST_ADDR, Value::Bytes(bytes)) => addresses[1] = bytes,
            (PROTO, Value::Number(number)) => numbers[0] = number,
            (SRC_PORT, Value::Number(number)) => numbers[1] = number,
            (DST_PORT, Value::Number(number)) => numbers[2] = number,
            _ => {}
        }
    }
    let [proto, src_port, dst_port] = numbers.map(|number| number as u16);
    let [[a, b], [c, d]] = [src_port, dst_port].map(u16::to_be_bytes);
    let mut key = hash(FNV_OFFSET, addresses[0]);
    key = hash(key, addresses[1]);
    hash(key, &[proto as u8, a, b, c, d])
}

/// Which of `count` buckets a key belongs to.
pub(super) fn bucket(key: u64, count: usize) -> usize {
    let mut mixed = key;
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^= mixed >> 33;
    // Scales the hash to 0..count without a division.
    ((u128::from(mixed) * count as u128) >> 64) as usize
}

fn hash(seed: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(seed, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of an encoded message; our own encoder writes varints and length-delimited fields only. Ends early at
/// anything else.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.varint()?;
        let number = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(number),
            2 => {
                let (bytes, rest) = self.0.split_at_checked(usize::try_from(number).ok()?)?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            _ => return None,
        };
        Some((key >> 3, value))
    }
}

impl Fields<'_> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use catchment_proto::flow::v1::FlowRecord;
    use prost::Message;

    use super::*;

    fn record(src_port: u32) -> FlowRecord {
        FlowRecord {
            src_addr: vec![10, 0, 0, 1],
            dst_addr: vec![10, 0, 0, 2],
            proto: 17,
            src_port,
            dst_port: 53,
            ..FlowRecord::default()
        }
    }

    #[test]
    fn the_key_is_the_five_tuple_and_nothing_else() {
        let bare = flow_key(&record(1000).encode_to_vec());
        let more = FlowRecord { bytes: 1 << 40, time_received_ns: 99, zone: "z".into(), ..record(1000) };
        assert_eq!(flow_key(&more.encode_to_vec()), bare);
        assert_ne!(flow_key(&record(1001).encode_to_vec()), bare);
        let reverse = FlowRecord { src_addr: vec![10, 0, 0, 2], dst_addr: vec![10, 0, 0, 1], ..record(1000) };
        assert_ne!(flow_key(&reverse.encode_to_vec()), bare);
    }

    #[test]
    fn keys_do_not_change_between_releases() {
        assert_eq!(exporter_key("192.0.2.1".parse().expect("an address")), 0x492d_47c0_4621_4554);
        assert_eq!(flow_key(&record(1000).encode_to_vec()), 0xfd7d_3584_5e11_adc7);
    }

    #[test]
    fn keys_spread_evenly() {
        let mut counts = [0u32; 12];
        for host in 0..12_000u32 {
            let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + host);
            counts[bucket(exporter_key(address.into()), counts.len())] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn damaged_records_have_a_key_too() {
        let whole = record(1000).encode_to_vec();
        for len in 0..whole.len() {
            flow_key(&whole[..len]);
        }
        flow_key(&[0xff; 40]);
    }
}
