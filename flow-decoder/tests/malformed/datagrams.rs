//! Rows 1, 2, 3, 9 and 17: headers, lengths, sets, padding.

use flow_decoder::{Reason, Statistics, Verdict};

use crate::rig::{Rig, datagram, exporter};
use crate::wire::{Message, v5, v5_record};
use crate::{GOOD_RECORD, Moved, assert_beside_good_sets, damage, moved, prepared};

/// The header of each protocol without anything behind it.
fn headers() -> [Vec<u8>; 6] {
    let with_version = |version: u8, len: usize| [&[0, version][..], &vec![0; len - 2]].concat();
    let sflow = [&[0, 0, 0, 5, 0, 0, 0, 1][..], &[0; 20]].concat();
    [
        Message::v9().build(),
        Message::ipfix().build(),
        v5(0, &[]),
        with_version(1, 16),
        with_version(7, 24),
        sflow,
    ]
}

/// What moved from nothing.
fn moved_by(rig: &Rig) -> Vec<Moved> {
    moved(&Statistics::default(), rig.statistics())
}

fn rejected(reason: Reason) -> [Moved; 2] {
    [Moved::Damage(reason, 1), Moved::Datagram(reason)]
}

#[test]
fn a_datagram_shorter_than_its_version_or_header_is_rejected() {
    for header in headers() {
        for len in 0..header.len() {
            let mut rig = Rig::new();
            // Of sFlow four octets are the version.
            let reason = if header[..4] == [0, 0, 0, 5] && (2..4).contains(&len) {
                Reason::UnknownVersion
            } else {
                Reason::ShortHeader
            };
            assert_eq!(rig.take(&header[..len]), Verdict::Rejected(reason), "{len} octets");
            assert_eq!(moved_by(&rig), rejected(reason));
        }
    }
}

#[test]
fn a_header_alone_is_a_whole_datagram() {
    for header in headers() {
        let mut rig = Rig::new();
        assert_eq!(rig.take(&header), Verdict::Decoded, "{header:?}");
        assert_eq!((moved_by(&rig), rig.kept.len()), (vec![], 0));
    }
}

#[test]
fn versions_that_are_no_protocol_are_rejected() {
    for version in [0u16, 2, 3, 4, 6, 8, 11, 65_535] {
        let mut rig = Rig::new();
        let payload = [&version.to_be_bytes()[..], &[1; 60]].concat();
        assert_eq!(rig.take(payload), Verdict::Rejected(Reason::UnknownVersion), "version {version}");
        assert_eq!(moved_by(&rig), rejected(Reason::UnknownVersion));
        assert_eq!(rig.statistics().protocols, [0; 6]);
    }
}

/// The first `len` octets of a message, cut by the receive buffer.
fn take_cut(rig: &mut Rig, message: &[u8], len: usize) -> Verdict {
    let cut = flow_decoder::Datagram { truncated: true, ..datagram(&message[..len], exporter(2055)) };
    rig.decoder.decode(&cut, &mut rig.kept)
}

#[test]
fn what_the_receive_buffer_left_of_a_datagram_is_decoded() {
    for message in [Message::v9(), Message::ipfix()] {
        let mut rig = prepared();
        let whole = message.set(256, GOOD_RECORD).set(256, GOOD_RECORD.repeat(3)).build();
        assert_eq!(take_cut(&mut rig, &whole, whole.len() - 4), Verdict::PartlyDecoded);
        let cut = [(Reason::Truncated, 1), (Reason::SetLength, 1)];
        assert_eq!(damage(&rig), cut, "no other length is wrong");
        assert_eq!(rig.kept.flows().len(), 3);
        assert!(rig.statistics().check());
    }
}

#[test]
fn what_the_receive_buffer_left_of_a_v5_datagram_is_decoded() {
    let mut rig = Rig::new();
    let whole = [&[0, 5, 0, 3][..], &[0; 20], &[1; 3 * 48]].concat();
    assert_eq!(take_cut(&mut rig, &whole, whole.len() - 1), Verdict::PartlyDecoded);
    assert_eq!((rig.kept.flows().len(), damage(&rig)), (2, vec![(Reason::Truncated, 1)]));
    assert_eq!(take_cut(&mut rig, &whole, 24 + 47), Verdict::Rejected(Reason::Truncated));
}

#[test]
fn a_datagram_that_the_receive_buffer_cut_in_its_header_is_rejected() {
    for message in [Message::v9(), Message::ipfix()] {
        let mut rig = prepared();
        let payload = message.set(256, GOOD_RECORD).build();
        assert_eq!(take_cut(&mut rig, &payload, 15), Verdict::Rejected(Reason::Truncated));
        assert_eq!(moved_by(&rig), rejected(Reason::Truncated));
        assert!(rig.kept.flows().is_empty() && rig.statistics().check());
    }
}

#[test]
fn sixty_four_kibibytes_are_decoded() {
    let mut rig = prepared();
    let records = 6_500;
    assert_eq!(rig.take(Message::ipfix().set(256, GOOD_RECORD.repeat(records)).build()), Verdict::Decoded);
    assert_eq!(rig.kept.flows().len(), records);
}

#[test]
fn an_ipfix_length_below_the_header_rejects_the_message() {
    for length in [0, 15] {
        let mut rig = prepared();
        let message = Message::ipfix().set(256, GOOD_RECORD).header_says(length);
        assert_eq!(rig.take(message.build()), Verdict::Rejected(Reason::HeaderLength));
        assert_eq!(moved_by(&rig), rejected(Reason::HeaderLength));
        assert_eq!(rig.errors(), ["at byte 2: header length or count does not fit the datagram"]);
    }
}

#[test]
fn an_ipfix_length_beyond_the_datagram_costs_nothing_that_is_there() {
    let mut rig = prepared();
    let message = Message::ipfix().set(256, GOOD_RECORD).header_says(1000);
    assert_eq!(rig.take(message.build()), Verdict::PartlyDecoded);
    assert_eq!((rig.kept.flows().len(), damage(&rig)), (1, vec![(Reason::HeaderLength, 1)]));
}

#[test]
fn what_is_behind_an_ipfix_message_is_not_read() {
    let mut rig = prepared();
    let message = Message::ipfix().set(256, GOOD_RECORD).set(256, GOOD_RECORD).header_says(16 + 14);
    assert_eq!(rig.take(message.build()), Verdict::PartlyDecoded);
    assert_eq!((rig.kept.flows().len(), damage(&rig)), (1, vec![(Reason::HeaderLength, 1)]));
}

#[test]
fn a_v9_count_is_not_believed() {
    for count in [0, 1, 2, 65_535] {
        let mut rig = prepared();
        let message = Message::v9().set(256, GOOD_RECORD.repeat(2)).set(256, GOOD_RECORD).header_says(count);
        assert_eq!(rig.take(message.build()), Verdict::Decoded, "count {count}");
        assert_eq!(rig.kept.flows().len(), 3);
    }
}

#[test]
fn a_set_length_below_four_ends_the_message() {
    for length in 0..4 {
        let mut rig = prepared();
        let message = Message::v9().set(256, GOOD_RECORD).set_that_says(256, length, GOOD_RECORD);
        assert_eq!(rig.take(message.build()), Verdict::PartlyDecoded, "length {length}");
        assert_eq!(rig.kept.flows().len(), 1, "the set before is kept");
        assert_eq!(rig.errors(), ["at byte 34: in set 2: set length does not fit the message"]);
        assert_eq!(moved_by(&rig), [Moved::Damage(Reason::SetLength, 1)]);
        assert_eq!(rig.statistics().sets.seen, 1, "what cannot be a set is none");
    }
}

#[test]
fn a_set_beyond_the_message_keeps_its_whole_records() {
    let mut rig = prepared();
    let message = Message::v9().set(256, GOOD_RECORD).set_that_says(256, 500, GOOD_RECORD);
    assert_eq!(rig.take(message.build()), Verdict::PartlyDecoded);
    assert_eq!(rig.kept.flows().len(), 2);
    assert_eq!(rig.errors(), ["at byte 36: in set 2: in template 256: set length does not fit the message"]);
    assert_eq!(moved_by(&rig), [Moved::Damage(Reason::SetLength, 1), Moved::Set(Reason::SetLength, 1)]);
}

#[test]
fn a_set_of_odd_length_is_decoded() {
    let mut rig = prepared();
    let body = [&GOOD_RECORD[..], &[0; 1]].concat();
    let message = Message::ipfix().set(256, &body).set(256, GOOD_RECORD);
    assert_eq!(rig.take(message.build()), Verdict::Decoded);
    assert_eq!(rig.kept.flows().len(), 2);
}

#[test]
fn reserved_set_ids_cost_themselves() {
    let reserved = |message: fn() -> Message, ids: [u16; 2]| {
        for id in ids.into_iter().chain(4..256) {
            let mut rig = prepared();
            let set = |message: Message| message.set(id, [1, 0, 0, 1, 0, 1, 0, 4]);
            assert_beside_good_sets(&mut rig, message(), set, &[Moved::Damage(Reason::ReservedSet, 1)]);
            assert_eq!(rig.statistics().sets.seen, 2, "a reserved set is no data set");
        }
    };
    reserved(Message::ipfix, [0, 1]);
    reserved(Message::v9, [2, 3]);
}

#[test]
fn one_to_seven_zeros_behind_templates_are_padding() {
    for padding in 0..8 {
        let mut rig = Rig::new();
        let body = [crate::wire::template(256, crate::GOOD), vec![0; padding]].concat();
        assert_eq!(rig.take(Message::ipfix().set(2, body).build()), Verdict::Decoded, "{padding} octets");
        assert_eq!((rig.store.templates(), rig.statistics().templates.withdrawn), (1, 0));
    }
}

/// NX-OS fills datagrams up.
#[test]
fn zeros_behind_the_last_set_are_padding() {
    for padding in [1, 3, 4, 24, 36] {
        let mut rig = prepared();
        let message = Message::v9().set(256, GOOD_RECORD).raw(vec![0; padding]);
        assert_eq!(rig.take(message.build()), Verdict::Decoded, "{padding} octets");
        assert_eq!(rig.kept.flows().len(), 1);
    }
}

#[test]
fn other_octets_behind_the_last_set_are_damage() {
    let mut rig = prepared();
    let message = Message::v9().set(256, GOOD_RECORD).raw([0, 0, 0, 7]);
    assert_eq!(rig.take(message.build()), Verdict::PartlyDecoded);
    assert_eq!((rig.kept.flows().len(), damage(&rig)), (1, vec![(Reason::SetLength, 1)]));
}

#[test]
fn octets_too_few_for_a_record_are_padding_whatever_they_are() {
    let mut rig = prepared();
    let body = [&GOOD_RECORD[..], &[9; 7]].concat();
    assert_eq!(rig.take(Message::v9().set(256, body).build()), Verdict::Decoded);
    assert_eq!(rig.kept.flows().len(), 1);
}

#[test]
fn a_set_too_short_for_any_record_is_rejected() {
    let mut rig = prepared();
    let counters = [Moved::Damage(Reason::RecordTruncated, 1), Moved::Set(Reason::RecordTruncated, 1)];
    assert_beside_good_sets(&mut rig, Message::v9(), |message| message.set(256, [1; 9]), &counters);
    assert_eq!(rig.errors(), ["at byte 38: in set 2: in template 256: record goes beyond its set"]);
}

#[test]
fn an_empty_data_set_is_nothing_bad() {
    let mut rig = prepared();
    assert_beside_good_sets(&mut rig, Message::v9(), |message| message.set(256, []), &[]);
    assert_eq!(rig.statistics().sets.decoded, 3);
}

#[test]
fn v5_counts_that_do_not_match_the_length() {
    let two = v5_record().repeat(2);
    let cases = [
        (0u16, 0, Verdict::Decoded),
        (0, 2, Verdict::PartlyDecoded),
        (1, 2, Verdict::PartlyDecoded),
        (2, 2, Verdict::Decoded),
        (30, 2, Verdict::PartlyDecoded),
        (55_582, 2, Verdict::PartlyDecoded),
        (1, 0, Verdict::Rejected(Reason::HeaderLength)),
    ];
    for (count, records, verdict) in cases {
        let mut rig = Rig::new();
        assert_eq!(rig.take(v5(count, &two[..records * 48])), verdict, "{count} announced, {records} there");
        assert_eq!(rig.kept.flows().len(), records.min(usize::from(count)));
        let damaged = u64::from(verdict != Verdict::Decoded);
        assert_eq!(rig.statistics().malformed[Reason::HeaderLength], damaged);
    }
}

#[test]
fn a_v5_count_above_thirty_is_believed_where_the_records_are_there() {
    let mut rig = Rig::new();
    assert_eq!(rig.take(v5(100, &v5_record().repeat(100))), Verdict::Decoded);
    assert_eq!(rig.kept.flows().len(), 100);
}
