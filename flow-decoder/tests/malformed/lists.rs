//! Row 11: structured data. The record around it is kept, and what of the list is whole.

use flow_decoder::{Reason, Verdict};

use crate::damage;
use crate::rig::Rig;
use crate::wire::{Field, Message, field, varlen};

/// A record with a list in it.
const OUTER: &[Field] = &[field(8, 4), varlen(291), varlen(292), varlen(293)];
const ADDRESS: [u8; 4] = [10, 0, 0, 1];

/// What the inner template 300 holds: an interface and a name.
const INNER: &[Field] = &[field(10, 2), varlen(96)];

fn lists(basic: &[u8], sub_template: &[u8], multi: &[u8]) -> (Rig, Verdict) {
    let mut rig = Rig::new();
    rig.take(Message::ipfix().templates(&[(256, OUTER), (300, INNER)]).build());
    let mut record = ADDRESS.to_vec();
    for list in [basic, sub_template, multi] {
        record.push(list.len() as u8);
        record.extend(list);
    }
    let verdict = rig.take(Message::ipfix().set(256, record).build());
    let flows = rig.kept.flows();
    assert_eq!(flows.len(), 1, "the record is kept");
    assert_eq!(flows[0].src_addr, ADDRESS);
    assert_eq!(rig.statistics().sets.decoded, 1, "and its set is decoded");
    (rig, verdict)
}

fn assert_damaged(kind: usize, list: &[u8], reason: Reason, in_if: u32) {
    let mut all: [&[u8]; 3] = [&[]; 3];
    all[kind] = list;
    let (rig, verdict) = lists(all[0], all[1], all[2]);
    assert_eq!((verdict, damage(&rig)), (Verdict::PartlyDecoded, vec![(reason, 1)]), "{list:?}");
    assert_eq!(rig.kept.flows()[0].in_if, in_if, "{list:?}");
}

#[test]
fn whole_lists_fill_what_is_free() {
    let sub_template = [3, 1, 44, 0, 7, 3, b'd', b'n', b's', 0, 8, 0];
    let (rig, verdict) = lists(&[3, 0, 14, 0, 1, 5], &sub_template, &[]);
    assert_eq!((verdict, damage(&rig)), (Verdict::Decoded, vec![]));
    let flow = &rig.kept.flows()[0];
    assert_eq!((flow.out_if, flow.in_if, flow.application_name.as_str()), (5, 7, "dns"));
}

#[test]
fn empty_lists_say_nothing() {
    for multi in [&[][..], &[255], &[3, 1, 44, 0, 4]] {
        let (rig, verdict) = lists(&[3, 0, 10, 0, 4], &[3, 1, 44], multi);
        assert_eq!((verdict, damage(&rig)), (Verdict::Decoded, vec![]), "{multi:?}");
    }
}

#[test]
fn headers_that_are_cut() {
    for list in [&[3][..], &[3, 0, 10, 0], &[3, 0x80, 10, 0, 2, 0, 0, 0]] {
        assert_damaged(0, list, Reason::ListDamaged, 0);
    }
    assert_damaged(1, &[3, 1], Reason::ListDamaged, 0);
    assert_damaged(2, &[3, 1, 44, 0], Reason::ListDamaged, 0);
}

#[test]
fn values_of_no_octets_or_beyond_the_list() {
    assert_damaged(0, &[3, 0, 10, 0, 0, 1, 2], Reason::ListDamaged, 0);
    assert_damaged(0, &[3, 0, 10, 0, 2, 0, 9, 1], Reason::ListDamaged, 9);
    assert_damaged(0, &[3, 0, 10, 255, 255, 2, 0, 9, 7, 1], Reason::ListDamaged, 9);
    assert_damaged(0, &[3, 0, 10, 255, 255, 255, 255, 255], Reason::ListDamaged, 0);
}

#[test]
fn groups_shorter_than_their_header_or_beyond_the_list() {
    assert_damaged(2, &[3, 1, 44, 0, 0, 0, 9, 0], Reason::ListDamaged, 0);
    assert_damaged(2, &[3, 1, 44, 0, 3, 0, 9, 0], Reason::ListDamaged, 0);
    assert_damaged(2, &[3, 1, 44, 0, 7, 0, 9, 0, 1, 44, 255, 255], Reason::ListDamaged, 9);
    assert_damaged(2, &[3, 1, 44, 0, 6, 0, 9, 1, 44, 0, 7, 0, 8, 0], Reason::ListDamaged, 8);
}

#[test]
fn a_record_cut_in_a_list_keeps_those_before() {
    assert_damaged(1, &[3, 1, 44, 0, 9, 0, 0, 8, 9, b'x'], Reason::ListDamaged, 9);
}

#[test]
fn records_of_a_template_that_nobody_announced() {
    // No template has such an id, so nothing waits for it.
    assert_damaged(1, &[3, 0, 255, 0, 9, 0], Reason::ListTemplate, 0);
    // The group behind it is read.
    assert_damaged(2, &[3, 0, 0, 0, 6, 1, 2, 1, 44, 0, 7, 0, 9, 0], Reason::ListTemplate, 9);
    // Where the template may come the record waits: see the tests of lists that wait.
    let mut rig = Rig::new();
    rig.take(Message::ipfix().templates(&[(256, &[field(8, 4), varlen(292)])]).build());
    let record = [&ADDRESS[..], &[6, 3, 3, 231, 0, 9, 0]].concat();
    assert_eq!(rig.take(Message::ipfix().set(256, record).build()), Verdict::Decoded);
    assert_eq!((damage(&rig), rig.kept.flows().len()), (vec![], 0));
    rig.store.finish_pending();
    rig.decoder.decode_released(usize::MAX, &mut rig.kept);
    assert_eq!((damage(&rig), rig.kept.flows().len()), (vec![(Reason::ListTemplate, 1)], 1));
}

#[test]
fn a_template_that_holds_itself_is_followed_so_far() {
    let mut rig = Rig::new();
    rig.take(Message::ipfix().templates(&[(256, &[field(10, 1), varlen(292)])]).build());
    let nested = |depth: u8| {
        let innermost = vec![depth, 0];
        (0..depth).rev().fold(innermost, |inner, at| {
            let list = [&[3, 1, 0][..], &inner].concat();
            [&[at, list.len() as u8][..], &list].concat()
        })
    };
    assert_eq!(rig.take(Message::ipfix().set(256, nested(8)).build()), Verdict::Decoded);
    assert_eq!(rig.take(Message::ipfix().set(256, nested(9)).build()), Verdict::PartlyDecoded);
    assert_eq!(damage(&rig), [(Reason::ListDamaged, 1)]);
    let in_if: Vec<_> = rig.kept.flows().iter().map(|flow| flow.in_if).collect();
    assert_eq!(in_if, [0, 0], "both are kept");
}

/// Work is bounded by the octets: nothing here takes longer than other datagrams of the size.
#[test]
fn lists_of_many_empty_values_end() {
    let mut rig = Rig::new();
    rig.take(Message::ipfix().templates(&[(256, &[varlen(291)]), (300, &[varlen(96)])]).build());
    let values = [&[3, 0, 96, 255, 255][..], &[0; 60_000]].concat();
    let record = [&[255, (values.len() >> 8) as u8, values.len() as u8][..], &values].concat();
    assert_eq!(rig.take(Message::ipfix().set(256, record).build()), Verdict::Decoded);
    assert_eq!((rig.kept.flows().len(), damage(&rig)), (1, vec![]));
}

#[test]
fn an_error_in_a_list_says_where_its_record_is() {
    let (rig, _) = lists(&[3], &[], &[]);
    assert_eq!(
        rig.errors(),
        ["at byte 20: in set 1: in template 256: in record 1: structured data is damaged or nested too deep"]
    );
}
