//! Data whose lists hold records of a template that has not come (RFC 6313): it waits as data does whose own template is
//! missing, but it is never lost for it.

mod rig;
mod wire;

use flow_decoder::{Datagram, PendingLimits, Reason, ScopeKey, Share, StoreLimits, Verdict, ZoneId};
use rig::{RECEIVED_NS, Rig, datagram, exporter};
use wire::{DOMAIN, Field, Message, field, varlen};

const SECOND: u64 = 1_000_000_000;
/// Octets, and a list of records.
const OUTER: &[Field] = &[field(1, 4), varlen(292)];
/// Octets, and a list of groups of records.
const GROUPS: &[Field] = &[field(1, 4), varlen(293)];

/// A set of one record by [`OUTER`], whose list holds an interface by `inner`.
fn data(octets: u8, inner: u16, interface: u8) -> Message {
    let [a, b] = inner.to_be_bytes();
    Message::ipfix().set(256, [0, 0, 0, octets, 5, 3, a, b, 0, interface])
}

fn template(id: u16, fields: &[Field]) -> Vec<u8> {
    Message::ipfix().templates(&[(id, fields)]).build()
}

fn input(id: u16) -> Vec<u8> {
    template(id, &[field(10, 2)])
}

/// A rig that knows the outer template.
fn prepared(pending: PendingLimits) -> Rig {
    let mut rig = Rig::with_limits(StoreLimits { pending, ..StoreLimits::default() });
    rig.take(template(256, OUTER));
    rig
}

fn release(rig: &mut Rig) {
    rig.decoder.decode_released(usize::MAX, &mut rig.kept);
}

/// Octets and input interface of each flow record.
fn flows(rig: &Rig) -> Vec<(u64, u32)> {
    rig.kept.flows().iter().map(|flow| (flow.bytes, flow.in_if)).collect()
}

/// Sets held, released, expired, evicted, and what waits; records whose list could not be read.
fn account(rig: &Rig) -> ([u64; 5], u64) {
    let statistics = rig.settled();
    let sets = &statistics.sets;
    let account = [sets.held, sets.released, sets.expired, sets.evicted, sets.pending];
    (account, statistics.malformed[Reason::ListTemplate])
}

#[test]
fn it_is_decoded_when_the_template_of_its_list_comes() {
    let mut rig = prepared(PendingLimits::default());
    assert_eq!(rig.take(data(1, 300, 7).build()), Verdict::Decoded, "nothing is wrong with it");
    assert_eq!((flows(&rig), account(&rig)), (vec![], ([1, 0, 0, 0, 1], 0)));
    rig.take(input(300));
    assert_eq!((flows(&rig), account(&rig)), (vec![(1, 7)], ([1, 1, 0, 0, 0], 0)));
    rig.take(data(2, 300, 8).build());
    assert_eq!((flows(&rig), account(&rig)), (vec![(1, 7), (2, 8)], ([1, 1, 0, 0, 0], 0)));
}

#[test]
fn it_waits_for_its_own_template_and_for_each_of_its_lists() {
    for order in [[256, 300, 301], [301, 300, 256], [300, 256, 301], [256, 301, 300]] {
        let mut rig = Rig::new();
        let lists = [3, 1, 44, 0, 6, 0, 7, 1, 45, 0, 6, 0, 8];
        rig.take(Message::ipfix().set(256, [&[0, 0, 0, 1, 13][..], &lists].concat()).build());
        for id in order {
            assert_eq!(flows(&rig), [], "{order:?}, before {id}");
            let fields = match id {
                256 => GROUPS,
                300 => &[field(10, 2)],
                _ => &[field(14, 2)],
            };
            rig.take(template(id, fields));
        }
        let out: Vec<_> = rig.kept.flows().iter().map(|flow| flow.out_if).collect();
        assert_eq!((flows(&rig), out), (vec![(1, 7)], vec![8]), "{order:?}");
        assert_eq!(account(&rig), ([1, 1, 0, 0, 0], 0), "{order:?}");
    }
}

#[test]
fn it_is_decoded_by_the_template_that_its_exporter_had_then() {
    let mut rig = prepared(PendingLimits::default());
    rig.take(data(1, 300, 7).build());
    rig.take(template(256, &[field(1, 2), field(2, 8)]));
    assert_eq!(flows(&rig), []);
    rig.take(input(300));
    assert_eq!((flows(&rig), account(&rig)), (vec![(1, 7)], ([1, 1, 0, 0, 0], 0)));
}

/// The set of the same message with nothing to wait for is decoded at once, and the numbers of the whole message are known.
#[test]
fn it_waits_by_itself() {
    let mut rig = prepared(PendingLimits::default());
    rig.take(input(301));
    let message = data(1, 300, 7).set(256, [0, 0, 0, 2, 5, 3, 1, 45, 0, 8]).sequence(10);
    rig.take(message.build());
    assert_eq!(flows(&rig), [(2, 8)]);
    rig.take(input(300));
    assert_eq!(flows(&rig), [(2, 8), (1, 7)]);
}

#[test]
fn what_waits_in_vain_is_decoded_without_the_list_and_the_next_does_not_wait() {
    let mut rig = prepared(PendingLimits { age_ns: Some(60 * SECOND), ..PendingLimits::default() });
    rig.take(data(1, 300, 7).build());
    rig.store.expire_pending(RECEIVED_NS + 60 * SECOND - 1);
    assert!(!rig.decoder.has_released());
    rig.store.expire_pending(RECEIVED_NS + 60 * SECOND);
    assert!(rig.decoder.has_released());
    release(&mut rig);
    assert_eq!((flows(&rig), account(&rig)), (vec![(1, 0)], ([1, 1, 0, 0, 0], 1)));

    let later = |rig: &mut Rig, payload: &[u8]| {
        let received_ns = RECEIVED_NS + 61 * SECOND;
        rig.decoder.decode(&Datagram { received_ns, ..datagram(payload, exporter(2055)) }, &mut rig.kept);
        release(rig);
    };
    later(&mut rig, &data(2, 300, 7).build());
    assert_eq!((flows(&rig).len(), account(&rig)), (2, ([1, 1, 0, 0, 0], 2)), "not waited for again");
    later(&mut rig, &data(3, 301, 7).build());
    assert_eq!((flows(&rig).len(), account(&rig)), (2, ([2, 1, 0, 0, 1], 2)), "another is");
    later(&mut rig, &input(300));
    later(&mut rig, &data(4, 300, 7).build());
    assert_eq!(flows(&rig)[2..], [(4, 7)]);
}

/// Room for three sets of one exporter.
const FEW: PendingLimits = PendingLimits { bytes: 10_000, per_exporter_bytes: 2_100, age_ns: None };

#[test]
fn without_room_it_does_not_wait() {
    let mut rig = prepared(FEW);
    for octets in 1..=5 {
        rig.take(data(octets, 300, 7).build());
    }
    assert_eq!((flows(&rig), account(&rig)), (vec![(4, 0), (5, 0)], ([3, 0, 0, 0, 3], 2)));
    rig.take(input(300));
    assert_eq!(flows(&rig)[2..], [(1, 7), (2, 7), (3, 7)]);
}

#[test]
fn where_others_need_its_room_it_is_decoded_without_the_list() {
    let mut rig = prepared(FEW);
    for octets in 1..=3 {
        rig.take(data(octets, 300, 7).build());
    }
    rig.take(Message::ipfix().set(999, [0; 8]).build());
    assert_eq!((flows(&rig), account(&rig)), (vec![(1, 0)], ([4, 1, 0, 0, 3], 1)));
    rig.store.set_pending_limits(PendingLimits { per_exporter_bytes: 700, ..FEW });
    release(&mut rig);
    assert_eq!((flows(&rig), account(&rig)), (vec![(1, 0), (2, 0), (3, 0)], ([4, 3, 0, 0, 1], 3)));
}

/// The bound of all exporters holds whatever waits for what.
#[test]
fn where_nothing_has_room_the_oldest_is_lost() {
    let mut rig = prepared(PendingLimits { bytes: 2_100, ..FEW });
    for octets in 1..=3 {
        rig.take(data(octets, 300, 7).build());
    }
    let other = std::net::SocketAddr::new([192, 0, 2, 99].into(), 2055);
    rig.take_from(other, Message::ipfix().set(999, [0; 8]).build());
    assert_eq!((flows(&rig), account(&rig)), (vec![], ([4, 0, 0, 1, 3], 0)));
}

#[test]
fn at_the_end_nothing_of_it_is_left() {
    let mut rig = prepared(PendingLimits::default());
    rig.take(data(1, 300, 7).build());
    rig.take(Message::ipfix().set(999, [0; 8]).build());
    rig.store.finish_pending();
    release(&mut rig);
    assert_eq!((flows(&rig), account(&rig)), (vec![(1, 0)], ([2, 1, 0, 0, 1], 1)));
}

#[test]
fn lists_of_nothing_need_no_template() {
    let mut rig = prepared(PendingLimits::default());
    rig.take(Message::ipfix().set(256, [0, 0, 0, 1, 3, 3, 3, 231]).build());
    assert_eq!((flows(&rig), account(&rig)), (vec![(1, 0)], ([0; 5], 0)));
}

/// So that other nodes hear of it as of any template by which data decodes.
#[test]
fn a_template_of_lists_is_proven_by_them_and_taken_from_others() {
    let key = ScopeKey { zone: ZoneId(0), exporter: exporter(0).ip(), version: 10, domain: DOMAIN };
    let mut rig = prepared(PendingLimits::default());
    rig.take(input(300));
    rig.take(data(1, 300, 7).build());
    let shared = rig.store.export(&key, Share::Proven).unwrap();
    let ids: Vec<_> = shared.definitions.iter().map(|definition| definition.id).collect();
    assert_eq!(ids, [256, 300]);

    let mut other = prepared(PendingLimits::default());
    other.take(data(2, 300, 8).build());
    assert_eq!(other.store.take_wanted(9), [(key, 300)]);
    other.store.import(&key, shared, RECEIVED_NS);
    release(&mut other);
    assert_eq!(flows(&other), [(2, 8)]);
}
