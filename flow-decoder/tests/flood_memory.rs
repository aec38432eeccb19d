//! What a flood of spoofed templates may take in memory, and what it may not push out.

mod counting;
mod rig;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};

use flow_decoder::{Datagram, StoreLimits, ZoneId};
use rig::{Rig, datagram};
use wire::{Field, Message, field};

const LIMIT: usize = 4 << 20;
const SECOND: u64 = 1_000_000_000;
const FLOOD: u32 = 60_000;
/// Sessions, sequence spaces and the allocator's rest, which the store's bound does not count.
const BESIDE: isize = 24 << 20;

/// Ten fields in an order of their own.
fn spoofed(number: u32) -> [Field; 10] {
    std::array::from_fn(|at| field(1 + (number >> at & 1) as u16 + 2 * at as u16, 4))
}

fn take(rig: &mut Rig, source: SocketAddr, at: u64, payload: &[u8]) {
    let received = Datagram { received_ns: at, zone: ZoneId(0), ..datagram(payload, source) };
    rig.decoder.decode(&received, &mut rig.kept);
}

fn source(number: u32) -> SocketAddr {
    (Ipv4Addr::from(0x0a00_0000 + number.wrapping_mul(40_503) % (1 << 24)), 2055).into()
}

/// A datagram of eight templates from a source that is hardly met again; with data it has a record of each.
fn flood(number: u32, with_data: bool) -> Vec<u8> {
    let layouts: Vec<_> = (0..8).map(|at| (256 + at as u16, spoofed(number * 8 + at))).collect();
    let templates: Vec<(u16, &[Field])> = layouts.iter().map(|(id, fields)| (*id, &fields[..])).collect();
    let message = Message::v9().domain(number % 16).templates(&templates);
    let ids = (256..264).filter(|_| with_data);
    ids.fold(message, |message, id| message.set(id, [1; 40])).build()
}

fn check(with_data: bool) {
    let mut rig = Rig::with_limits(StoreLimits { bytes: LIMIT, ..StoreLimits::default() });
    let before = counting::held();
    let now = 1_800_000_000 * SECOND;
    let good: Vec<SocketAddr> =
        (0..50).map(|number| (Ipv4Addr::from(0xc000_0200 + number), 2055).into()).collect();
    let announced = Message::v9().templates(&[(256, &[field(1, 4), field(2, 4)])]).build();
    let data = Message::v9().set(256, [0, 0, 0, 9, 0, 0, 0, 1]).build();
    for source in &good {
        take(&mut rig, *source, now, &announced);
        take(&mut rig, *source, now, &data);
        take(&mut rig, *source, now + 11 * SECOND, &data);
    }
    let mut most = 0;
    for number in 0..FLOOD {
        take(&mut rig, source(number), now + 12 * SECOND, &flood(number, with_data));
        if number % 1_000 == 0 {
            rig.kept.clear();
            most = most.max(counting::held() - before);
        }
        // A thousand newcomers there may always be.
        assert!(rig.store.bytes() <= LIMIT, "{}", rig.store.bytes());
    }
    let before_data = rig.statistics().sets.decoded;
    good.iter().for_each(|source| take(&mut rig, *source, now + 13 * SECOND, &data));
    assert_eq!(rig.statistics().sets.decoded - before_data, 50, "the good ones' templates are there");
    println!("{} MiB at most with a store of {} MiB", most >> 20, LIMIT >> 20);
    assert!(most < LIMIT as isize * 5 / 4 + BESIDE, "{most} octets");
    assert!(rig.store.scopes_evicted() > u64::from(FLOOD) / 2);
}

#[test]
fn templates_alone() {
    check(false);
}

#[test]
fn templates_with_a_record_of_each() {
    check(true);
}

/// A layout that no other template has.
fn distinct(number: u32) -> [Field; 10] {
    std::array::from_fn(|at| field(1 + (number >> (2 * at) & 3) as u16 + 4 * at as u16, 4))
}

#[test]
fn a_full_store_of_distinct_layouts_stays_full() {
    let mut rig = Rig::with_limits(StoreLimits { bytes: LIMIT, ..StoreLimits::default() });
    let now = 1_800_000_000 * SECOND;
    let mut most = 0;
    for number in 0..2_000 {
        let layouts: Vec<_> = (0..8).map(|at| (256 + at as u16, distinct(number * 8 + at))).collect();
        let templates: Vec<(u16, &[Field])> = layouts.iter().map(|(id, fields)| (*id, &fields[..])).collect();
        take(&mut rig, source(number), now, &Message::v9().templates(&templates).build());
        take(&mut rig, source(number), now, &Message::v9().set(256, [1; 40]).build());
        let known = rig.store.templates();
        most = most.max(known);
        assert!(known > most * 7 / 8, "{known} are left of {most}");
    }
    assert!(rig.store.scopes_evicted() > 0, "it was never full");
}
