//! What a decoder remembers of each session and sequence space for itself, beside the store, and how little strangers can make of it.

mod counting;
mod rig;
mod wire;

use std::net::Ipv4Addr;

use flow_decoder::{PendingLimits, StoreLimits};
use rig::{Rig, exporter};
use wire::{Field, Message, field, put32, template};

const MIB: isize = 1 << 20;

/// Octets held beside what the store counts, since `before`.
fn beside_the_store(rig: &Rig, before: isize) -> isize {
    counting::held() - before - rig.store.bytes() as isize
}

/// Each session looks up each of its domain's templates, all of one layout: the plan is one, but the look-ups are many.
#[test]
fn ports_that_use_thousands_of_templates_of_one_layout() {
    const IDS: u16 = 4096;
    let mut rig = Rig::new();
    let before = counting::held();
    let layout = [field(1, 1)];
    let templates: Vec<_> = (0..IDS).map(|id| (256 + id, &layout[..])).collect();
    rig.take(Message::ipfix().templates(&templates).build());
    let data = (0..IDS).fold(Message::ipfix(), |message, id| message.set(256 + id, [1])).build();
    for port in 3000..3500 {
        rig.take_from(exporter(port), &data);
        rig.kept.clear();
    }
    assert_eq!(rig.statistics().sets.decoded, 500 * u64::from(IDS));
    let beside = beside_the_store(&rig, before);
    assert!(beside < 24 * MIB, "{} MiB", beside / MIB);
}

/// An IPFIX sequence that is low for once looks like a restart: what is announced then is remembered until the next datagram.
#[test]
fn templates_announced_while_it_is_not_sure_whether_the_exporter_has_restarted() {
    let layout: [Field; 1] = [field(1, 1)];
    let many: Vec<u8> = (0..8000u16).flat_map(|at| template(256 + at % 16, &layout)).collect();
    let mut rig = Rig::new();
    let before = counting::held();
    for port in 0..4000 {
        rig.take_from(exporter(port), Message::ipfix().sequence(100_000).build());
        rig.take_from(exporter(port), Message::ipfix().sequence(1).set(2, &many).build());
    }
    let beside = beside_the_store(&rig, before);
    assert!(beside < 16 * MIB, "{} MiB", beside / MIB);
}

/// A name of an interface, as a record of options template 300.
fn named(index: u32, name: u8) -> Vec<u8> {
    let mut record = Vec::new();
    put32(&mut record, index);
    record.extend([name; 64]);
    record
}

/// Each port hears of other names, because they change before the next one speaks.
#[test]
fn ports_that_each_knew_other_names() {
    let mut rig = Rig::new();
    let names: Vec<u8> = (0..800).flat_map(|index| named(index, b'a')).collect();
    let announced = Message::ipfix().options_template(300, &[field(10, 4)], &[field(82, 64)]);
    rig.take(announced.clone().set(300, &names).build());
    let before = counting::held();
    for port in 0..500u16 {
        rig.take_from(exporter(3000 + port), Message::ipfix().set(300, named(7, port as u8 | 1)).build());
        rig.kept.clear();
    }
    let held = counting::held() - before;
    assert!(held < 4 * MIB, "{} MiB", held / MIB);
}

/// What waits is charged what it takes, of many exporters and templates as of one.
#[test]
fn data_that_waits_is_charged_what_it_takes() {
    for (name, exporters, ids, octets) in
        [("one exporter", 1, 1, 1400), ("many templates", 1, 1000, 100), ("many exporters", 4000, 7, 20)]
    {
        let pending = PendingLimits { per_exporter_bytes: 16 << 20, ..PendingLimits::default() };
        let mut rig = Rig::with_limits(StoreLimits { pending, ..StoreLimits::default() });
        for number in 0..4000u32 {
            let source = (Ipv4Addr::from(0x0a00_0000 + number % exporters), 2055).into();
            let message = Message::ipfix().set(300 + (number % ids) as u16, vec![1; octets]);
            rig.take_from(source, message.build());
        }
        let (held, charged) = (counting::held(), rig.store.pending_counts().bytes as isize);
        rig.store.set_pending_limits(PendingLimits { bytes: 0, ..pending });
        let held = held - counting::held();
        println!("{name}: {held} octets, {charged} charged");
        assert!(charged * 2 / 3 < held && held < charged * 5 / 4, "{name}: {held} octets, {charged} charged");
    }
}

/// Options state is charged what it takes, however little an exporter says and however much.
#[test]
fn options_state_is_charged_what_it_takes() {
    let announced = Message::ipfix().options_template(300, &[field(10, 4)], &[field(82, 64)]);
    for (domains, names) in [(4000u32, 1u32), (1000, 10), (100, 500), (10, 4000)] {
        let mut rig = Rig::new();
        for domain in 0..domains {
            rig.take(announced.clone().domain(domain).build());
        }
        let (before, counted) = (counting::held(), rig.store.bytes());
        for domain in 0..domains {
            for part in 0..names.div_ceil(500) {
                let indices = part * 500..names.min((part + 1) * 500);
                let records: Vec<u8> = indices.flat_map(|index| named(index, b'a')).collect();
                rig.take(Message::ipfix().domain(domain).set(300, records).build());
                rig.kept.clear();
            }
        }
        let held = counting::held() - before;
        let charged = (rig.store.bytes() - counted) as isize;
        println!("{domains} domains of {names} names: {held} octets, {charged} charged");
        assert!(charged * 3 / 4 < held && held < charged * 5 / 4, "{names} names: {held}, {charged} charged");
    }
}

/// A datagram of sFlow samples of one data source, without records, whose numbers leave every other one out.
fn samples(data_source: u32, first: u32, count: u32) -> Vec<u8> {
    let mut datagram = Vec::new();
    for word in [5, 1, 0x0a00_0001, 0, 1, 0, count] {
        put32(&mut datagram, word);
    }
    for number in 0..count {
        for word in [1, 32, first + 2 * number, data_source, 1, 0, 0, 0, 0, 0] {
            put32(&mut datagram, word);
        }
    }
    datagram
}

#[test]
fn sample_numbers_with_gaps_in_space_after_space() {
    let mut rig = Rig::new();
    let before = counting::held();
    counting::reset_peak();
    for data_source in 0..1000 {
        for part in 0..4 {
            rig.take(samples(data_source, part * 3200, 1600));
            rig.kept.clear();
        }
        // As a worker does every second.
        if data_source % 100 == 99 {
            rig.decoder.take_sequences(|_, _| {});
        }
    }
    let (held, peak) = (counting::held() - before, counting::peak() - before);
    assert!(held < 24 * MIB && peak < 32 * MIB, "{} MiB, at most {} MiB", held / MIB, peak / MIB);
}
