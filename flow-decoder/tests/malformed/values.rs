//! Rows 7 and 8: variable lengths and odd values.

use catchment_proto::flow::v1::FlowRecord;
use flow_decoder::{Reason, Verdict};

use crate::damage;
use crate::rig::Rig;
use crate::wire::{Field, Message, field, varlen};

fn ipfix(fields: &[Field], body: impl AsRef<[u8]>) -> (Rig, Verdict) {
    let mut rig = Rig::new();
    let verdict = rig.take(Message::ipfix().templates(&[(256, fields)]).set(256, body).build());
    (rig, verdict)
}

const NAMED: &[Field] = &[varlen(96), field(2, 1)];

#[test]
fn every_way_to_say_a_length() {
    let long = [&[255, 1, 0][..], &[b'x'; 256], &[4]].concat();
    let body = [b"\x00\x01\x03dns\x02\xff\x00\x03ftp\x03".as_slice(), &long].concat();
    let (rig, verdict) = ipfix(NAMED, body);
    assert_eq!(verdict, Verdict::Decoded);
    let names: Vec<_> =
        rig.kept.flows().iter().map(|flow| (flow.application_name.len(), flow.packets)).collect();
    assert_eq!(names, [(0, 1), (3, 2), (3, 3), (256, 4)]);
}

#[test]
fn a_length_beyond_the_set_keeps_the_records_before() {
    for tail in [&b"\x09dns"[..], b"\xff", b"\xff\x00", b"\xff\xff\xff\x01", b"\x03dns"] {
        let (rig, verdict) = ipfix(NAMED, [b"\x03dns\x02", tail].concat());
        assert_eq!(
            verdict,
            if tail.len() < 2 { Verdict::Decoded } else { Verdict::PartlyDecoded },
            "{tail:?}"
        );
        assert_eq!(rig.kept.flows().len(), 1);
        if verdict == Verdict::PartlyDecoded {
            assert_eq!(damage(&rig), [(Reason::RecordTruncated, 1)]);
            assert_eq!(
                rig.errors(),
                ["at byte 41: in set 2: in template 256: in record 2: record goes beyond its set"]
            );
        }
    }
}

#[test]
fn a_length_as_the_last_octet_of_its_set() {
    for (tail, names, verdict) in [
        (&[0][..], vec!["dns", ""], Verdict::Decoded),
        (&[1], vec!["dns"], Verdict::PartlyDecoded),
        (&[255], vec!["dns"], Verdict::PartlyDecoded),
    ] {
        let (rig, got) = ipfix(&[varlen(96)], [b"\x03dns", tail].concat());
        let got_names: Vec<_> = rig.kept.flows().iter().map(|flow| flow.application_name.clone()).collect();
        assert_eq!((got, got_names.iter().map(String::as_str).collect()), (verdict, names), "{tail:?}");
        let counted = u64::from(verdict != Verdict::Decoded);
        assert_eq!(rig.statistics().malformed.total(), counted);
        assert_eq!(rig.statistics().sets.rejected[Reason::RecordTruncated], counted);
    }
}

/// Reduced and extended sizes (RFC 7011 6.2) of elements that are one to four octets by the book.
#[test]
fn integers_of_any_element_may_have_one_to_eight_octets() {
    let read = |flow: &FlowRecord| {
        [flow.src_port, flow.dst_port, flow.proto, flow.ip_tos, flow.tcp_flags, flow.src_as, flow.src_net]
    };
    for length in 1..=8 {
        let fields = [7, 11, 4, 5, 6, 16, 9].map(|id| field(id, length));
        let values = (1..=7).flat_map(|value: u64| value.to_be_bytes()[8 - usize::from(length)..].to_vec());
        let (rig, verdict) = ipfix(&fields, values.collect::<Vec<u8>>());
        assert_eq!((verdict, damage(&rig)), (Verdict::Decoded, vec![]));
        assert_eq!(read(&rig.kept.flows()[0]), [1, 2, 3, 4, 5, 6, 7], "{length} octets");
    }
}

#[test]
fn integers_of_one_to_eight_octets() {
    for length in 1..=8 {
        let value: Vec<u8> = (1..=length).collect();
        let want = value.iter().fold(0, |number, &octet| number << 8 | u64::from(octet));
        let fields = [field(1, u16::from(length)), field(10, u16::from(length)), field(8, 4)];
        let (rig, verdict) = ipfix(&fields, [&value[..], &value, &[10, 0, 0, 1]].concat());
        assert_eq!(verdict, Verdict::Decoded);
        let flow = &rig.kept.flows()[0];
        assert_eq!((flow.bytes, flow.in_if), (want, want as u32), "{length} octets");
    }
}

#[test]
fn counters_wider_than_64_bits_stop_at_the_greatest() {
    let (rig, _) = ipfix(&[field(1, 16), field(2, 16)], [&[0; 15][..], &[9], &[1; 16]].concat());
    assert_eq!((rig.kept.flows()[0].bytes, rig.kept.flows()[0].packets), (9, u64::MAX));
}

#[test]
fn addresses_of_other_lengths_are_left_out() {
    let (rig, verdict) = ipfix(&[field(8, 5), field(12, 16), field(2, 1)], [1; 22]);
    let flow = &rig.kept.flows()[0];
    assert_eq!(
        (verdict, flow.src_addr.len(), flow.dst_addr.len(), flow.packets),
        (Verdict::Decoded, 0, 16, 1)
    );
}

#[test]
fn text_with_nuls_or_without_utf8_is_made_valid() {
    let (rig, verdict) = ipfix(&[field(96, 8), field(2, 1)], b"dns\0\0\0\0\0\x01a\0b\xff\xfe\0\0\0\x02");
    assert_eq!(verdict, Verdict::Decoded);
    let names: Vec<_> = rig.kept.flows().iter().map(|flow| flow.application_name.clone()).collect();
    assert_eq!(names, ["dns", "a\0b\u{fffd}\u{fffd}"]);
}
