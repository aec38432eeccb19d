//! Exporters that restart: remembered templates wait to be announced again, and nobody else's do.

mod rig;
mod wire;

use flow_decoder::{Datagram, PendingLimits, Reason, ScopeKey, Share, StoreLimits, Verdict, ZoneId};
use rig::{Rig, datagram, exporter};
use wire::{DOMAIN, EXPORT_TIME, Field, Message, field};

const SECOND: u64 = 1_000_000_000;
const LAYOUT: [Field; 2] = [field(1, 4), field(2, 4)];
/// Packets come first after the restart.
const OTHER: [Field; 2] = [field(2, 4), field(1, 4)];
const TWO: [u8; 8] = [0, 0, 0, 9, 0, 0, 0, 4];

/// When something is sent: seconds behind the first datagram, seconds since the exporter's boot, its sequence.
#[derive(Clone, Copy)]
struct At(u32, u32, u32);

/// Up for a day.
const DAY: u32 = 86_400;
const BEFORE: At = At(0, DAY, 100_000);
const AFTER: At = At(600, 30, 1);

fn v9(at: At) -> Message {
    Message::v9().export_time(EXPORT_TIME + at.0).uptime(at.1 * 1000).sequence(at.2)
}

fn ipfix(seconds: u32, sequence: u32) -> Message {
    Message::ipfix().export_time(EXPORT_TIME + seconds).sequence(sequence)
}

/// Decodes what a port sent, when it was sent.
fn take(rig: &mut Rig, port: u16, message: Message) -> Verdict {
    let payload = message.build();
    let at = if payload[1] == 9 { 8 } else { 4 };
    let seconds = u32::from_be_bytes([payload[at], payload[at + 1], payload[at + 2], payload[at + 3]]);
    take_at(rig, port, &payload, u64::from(seconds) * SECOND)
}

fn take_at(rig: &mut Rig, port: u16, payload: &[u8], received_ns: u64) -> Verdict {
    let verdict =
        rig.decoder.decode(&Datagram { received_ns, ..datagram(payload, exporter(port)) }, &mut rig.kept);
    rig.decoder.decode_released(usize::MAX, &mut rig.kept);
    assert!(rig.statistics().check());
    verdict
}

fn octets(rig: &Rig) -> Vec<u64> {
    rig.kept.flows().iter().map(|flow| flow.bytes).collect()
}

fn pending(rig: &Rig) -> u64 {
    rig.settled().sets.pending
}

/// An exporter that has announced a template and sent data, before it restarts.
fn v9_before() -> Rig {
    let mut rig = Rig::new();
    take(&mut rig, 2055, v9(BEFORE).templates(&[(256, &LAYOUT)]).set(256, TWO));
    assert_eq!(octets(&rig), [9]);
    rig
}

#[test]
fn data_after_a_restart_waits_until_its_template_is_announced_again() {
    let mut rig = v9_before();
    assert_eq!(take(&mut rig, 2055, v9(AFTER).set(256, TWO)), Verdict::Decoded);
    assert_eq!((octets(&rig), pending(&rig)), (vec![9], 1));
    let At(seconds, uptime, sequence) = AFTER;
    take(
        &mut rig,
        2055,
        v9(At(seconds + 5, uptime + 5, sequence + 1)).templates(&[(256, &LAYOUT)]).set(256, TWO),
    );
    assert_eq!((octets(&rig), pending(&rig)), (vec![9, 9, 9], 0));
    assert_eq!(rig.statistics().templates.changed, 1, "the same layout as before");
    assert_eq!(rig.store.take_changes(9).len(), 1, "others learn that it is announced again");
}

#[test]
fn a_layout_that_changed_with_the_restart_is_that_of_the_data_that_waited() {
    let mut rig = v9_before();
    take(&mut rig, 2055, v9(AFTER).set(256, TWO));
    take(&mut rig, 2055, v9(At(605, 35, 2)).templates(&[(256, &OTHER)]));
    assert_eq!(octets(&rig), [9, 4]);
    let key = ScopeKey { zone: ZoneId(0), exporter: exporter(0).ip(), version: 9, domain: DOMAIN };
    let known = rig.store.export(&key, Share::Everything).expect("a scope").definitions;
    assert_eq!(known[0].order.epoch, EXPORT_TIME + 570, "the new boot");
}

#[test]
fn a_changed_layout_without_a_restart_takes_effect_in_the_order_of_the_wire() {
    let mut rig = v9_before();
    let both = v9(At(1, DAY + 1, 100_001)).set(256, TWO).templates(&[(256, &OTHER)]).set(256, TWO);
    take(&mut rig, 2055, both);
    assert_eq!(octets(&rig), [9, 9, 4]);
}

#[test]
fn other_templates_of_the_exporter_wait_for_their_own_announcement() {
    let mut rig = Rig::new();
    take(&mut rig, 2055, v9(BEFORE).templates(&[(256, &LAYOUT), (257, &LAYOUT)]));
    take(&mut rig, 2055, v9(AFTER).templates(&[(256, &LAYOUT)]).set(256, TWO).set(257, TWO));
    assert_eq!((octets(&rig), pending(&rig)), (vec![9], 1));
    let suspect: Vec<bool> =
        rig.store.scope_views(None, 1)[0].templates.iter().map(|known| known.suspect).collect();
    assert_eq!(suspect, [false, true]);
}

#[test]
fn where_nothing_may_wait_data_of_a_suspect_template_is_rejected() {
    let limits = PendingLimits { bytes: 0, ..PendingLimits::default() };
    let mut rig = Rig::with_limits(StoreLimits { pending: limits, ..StoreLimits::default() });
    take(&mut rig, 2055, v9(BEFORE).templates(&[(256, &LAYOUT)]));
    take(&mut rig, 2055, v9(AFTER).set(256, TWO));
    assert_eq!(rig.statistics().sets.rejected[Reason::TemplateSuspect], 1);
}

/// Ports of one address that booted at different times, taking turns: neither makes the other's templates wait.
#[test]
fn two_devices_behind_one_address_go_on_beside_each_other() {
    let mut rig = Rig::new();
    let (old, young) = (|n| At(n, DAY + n, 50_000 + n), |n| At(n, 300 + n, 10 + n));
    take(&mut rig, 1, v9(old(0)).templates(&[(256, &LAYOUT)]));
    take(&mut rig, 2, v9(young(1)).templates(&[(256, &OTHER)]));
    for n in 2..20 {
        take(&mut rig, 1, v9(old(n)).set(256, TWO));
        take(&mut rig, 2, v9(young(n)).set(256, TWO));
    }
    assert_eq!((octets(&rig), pending(&rig)), ([9, 4].repeat(18), 0));
    // One of them restarts: the other goes on.
    take(&mut rig, 2, v9(At(900, 5, 1)).set(256, TWO));
    take(&mut rig, 1, v9(old(901)).set(256, TWO));
    assert_eq!((octets(&rig).len(), pending(&rig)), (37, 1));
    take(&mut rig, 2, v9(At(910, 15, 2)).templates(&[(256, &OTHER)]));
    assert_eq!((octets(&rig).pop(), pending(&rig)), (Some(4), 0));
}

/// An exporter whose data comes from another port than its templates, as the other port's announcement says.
#[test]
fn data_of_a_port_without_templates_waits_for_the_port_that_has_them() {
    let mut rig = Rig::new();
    take(&mut rig, 1, v9(BEFORE).templates(&[(256, &LAYOUT)]));
    take(&mut rig, 2, v9(At(1, DAY + 1, 500)).set(256, TWO));
    assert_eq!(octets(&rig), [9]);
    take(&mut rig, 2, v9(At(600, 30, 1)).set(256, TWO));
    assert_eq!(pending(&rig), 1);
    take(&mut rig, 1, v9(At(601, 31, 1)).templates(&[(256, &LAYOUT)]));
    assert_eq!((octets(&rig), pending(&rig)), (vec![9, 9], 0));
}

/// After a restart an exporter sends from another port: there nothing is remembered but by its scope.
#[test]
fn a_restart_is_seen_on_a_port_that_was_never_heard() {
    let mut rig = v9_before();
    take(&mut rig, 4000, v9(AFTER).set(256, TWO));
    assert_eq!((octets(&rig), pending(&rig)), (vec![9], 1));
    take(&mut rig, 4000, v9(At(601, 31, 2)).templates(&[(256, &OTHER)]));
    assert_eq!((octets(&rig), pending(&rig)), (vec![9, 4], 0));
    take(&mut rig, 4001, v9(At(602, 32, 1)).set(256, TWO));
    assert_eq!(octets(&rig), [9, 4, 4], "what was announced before the restart disagrees with nobody");
}

/// A node that begins with what others, or its own disk, know.
#[test]
fn a_restart_is_seen_by_a_node_that_begins() {
    let rig = v9_before();
    let key = ScopeKey { zone: ZoneId(0), exporter: exporter(0).ip(), version: 9, domain: DOMAIN };
    let known = rig.store.export(&key, Share::Everything).expect("a scope");
    let now_ns = u64::from(EXPORT_TIME + 600) * SECOND;
    let mut same = Rig::new();
    same.store.import(&key, known.clone(), now_ns);
    take(&mut same, 2055, v9(At(600, DAY + 600, 100_500)).set(256, TWO));
    assert_eq!(octets(&same), [9]);
    let mut restarted = Rig::new();
    restarted.store.import(&key, known, now_ns);
    take(&mut restarted, 2055, v9(AFTER).set(256, TWO));
    assert_eq!((octets(&restarted).len(), pending(&restarted)), (0, 1));
}

/// A router whose clock begins in 1970 at each boot, until it is set.
#[test]
fn a_clock_that_falls_back_at_a_boot_does_not_keep_old_layouts() {
    let mut rig = v9_before();
    let received = |seconds: u32| u64::from(EXPORT_TIME + seconds) * SECOND;
    let message = |seconds: u32| Message::v9().export_time(seconds).uptime(seconds * 1000).sequence(seconds);
    take_at(&mut rig, 2055, &message(30).set(256, TWO).build(), received(600));
    assert_eq!(pending(&rig), 1);
    take_at(&mut rig, 2055, &message(31).templates(&[(256, &OTHER)]).set(256, TWO).build(), received(601));
    assert_eq!((octets(&rig), pending(&rig)), (vec![9, 4, 4], 0));
    // Other nodes take the new layout for the later one.
    let key = ScopeKey { zone: ZoneId(0), exporter: exporter(0).ip(), version: 9, domain: DOMAIN };
    let shared = rig.store.export(&key, Share::Proven).expect("a scope");
    let other = v9_before();
    assert_eq!(other.store.import(&key, shared, received(602)).changed, 1);
}

fn ipfix_before() -> Rig {
    let mut rig = Rig::new();
    take(&mut rig, 4739, ipfix(0, 100_000).templates(&[(256, &LAYOUT), (257, &LAYOUT)]).set(256, TWO));
    rig
}

#[test]
fn ipfix_data_waits_from_the_second_low_sequence_on() {
    let mut rig = ipfix_before();
    take(&mut rig, 4739, ipfix(100, 0).set(256, TWO));
    assert_eq!((octets(&rig).len(), pending(&rig)), (2, 0), "one alone is no restart");
    take(&mut rig, 4739, ipfix(101, 1).set(256, TWO));
    assert_eq!((octets(&rig).len(), pending(&rig)), (2, 1));
    take(&mut rig, 4739, ipfix(102, 2).templates(&[(256, &OTHER)]));
    assert_eq!((octets(&rig), pending(&rig)), (vec![9, 9, 4], 0));
}

/// Exporters announce their templates with the first datagram after a restart, before it is sure that it was one.
#[test]
fn ipfix_templates_in_the_first_datagram_after_a_restart_count_as_announced_again() {
    let mut rig = ipfix_before();
    take(&mut rig, 4739, ipfix(100, 0).templates(&[(256, &LAYOUT)]).set(256, TWO));
    take(&mut rig, 4739, ipfix(101, 1).set(256, TWO).set(257, TWO));
    assert_eq!((octets(&rig).len(), pending(&rig)), (3, 1), "257 was not announced");
    assert_eq!(rig.store.scope_views(None, 1)[0].templates[1].id, 257);
}

#[test]
fn ipfix_reordered_and_repeated_datagrams_are_no_restart() {
    let mut rig = ipfix_before();
    for (seconds, sequence) in [(1, 100_020), (0, 3), (0, 4), (0, 5), (2, 100_040), (2, 7), (3, 100_060)] {
        // Header times of the low ones are older, or a single one is low.
        let seconds = if sequence < 100 && seconds == 0 { 0 } else { seconds };
        let message = Message::ipfix().export_time(EXPORT_TIME + seconds).sequence(sequence);
        take(&mut rig, 4739, message.set(256, TWO));
    }
    assert_eq!((octets(&rig).len(), pending(&rig)), (8, 0));
}
