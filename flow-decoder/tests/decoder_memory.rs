//! What a decoder remembers of each session and sequence space for itself, beside the store, and how little strangers can make of it.

mod counting;
mod rig;
mod wire;

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
