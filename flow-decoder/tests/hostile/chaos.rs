//! Datagrams of hostile exporters: one that has an address and any number of domains, and any number of spoofed ones.
//!
//! The same in every run. Most of it is cheap to make, so that a run is the decoder's time.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::SECOND;
use crate::wire::{Field, Message, field, put32, template, v5, v5_record, varlen, vendor};

/// Addresses and domains that come again and again, so that they are taken for exporters that go on.
const RECURRING: u64 = 20_000;
/// Octets of a datagram, at most.
const LARGEST: usize = 65_507;

pub(crate) struct Chaos {
    random: Random,
    datagram: Vec<u8>,
    pub(crate) octets: u64,
}

impl Chaos {
    pub(crate) fn new() -> Self {
        Self { random: Random(0x9e37_79b9_7f4a_7c15), datagram: Vec::new(), octets: 0 }
    }

    /// The next datagram, and who is said to have sent it.
    pub(crate) fn next(&mut self, now: u64) -> (SocketAddr, &[u8]) {
        let random = &mut self.random;
        let (mut source, domain) = (source(random), domain(random));
        self.datagram = match random.below(1000) {
            0..250 => announced(random, domain),
            250..450 => {
                let recurring = random.below(RECURRING);
                source = (Ipv4Addr::new(203, 0, 113, (recurring % 8) as u8), 2055).into();
                recurring_domain(random, recurring as u32)
            }
            450..560 => never_announced(random, domain),
            560..640 => options(random, domain),
            640..700 => structured(random, domain),
            700..760 => sflow(random),
            760..800 => v5(random.below(40) as u16, &v5_record().repeat(random.below(31) as usize)),
            800..940 => message(random, domain).build(),
            940..990 => garbage(random),
            990..998 => wide_templates(random, domain),
            998 => full_of_short_records(random, domain),
            _ => full_of_samples(random),
        };
        let (patched, length) = (random.below(8), self.datagram.len() as u64);
        if patched == 0 && length > 0 {
            let at = random.below(length) as usize;
            self.datagram[at] ^= 1 << random.below(8);
        }
        if self.datagram.len() >= 20 && random.below(3) > 0 {
            // Most of them have a clock that can be believed.
            let at = if self.datagram[1] == 10 { 4 } else { 8 };
            self.datagram[at..at + 4].copy_from_slice(&((now / SECOND) as u32).to_be_bytes());
        }
        self.datagram.truncate(LARGEST);
        self.octets += self.datagram.len() as u64;
        (source, &self.datagram)
    }
}

/// Who sends: the hostile exporter, an address that hardly comes again, or one of those that do.
fn source(random: &mut Random) -> SocketAddr {
    let port = if random.below(2) == 0 { 2055 } else { random.next() as u16 };
    match random.below(10) {
        0..4 => (Ipv4Addr::new(203, 0, 113, 66), port).into(),
        4..7 => (Ipv4Addr::from(0x0a00_0000 | random.below(1 << 24) as u32), port).into(),
        7 => (Ipv6Addr::from(0x2001_0db8_u128 << 96 | u128::from(random.next())), port).into(),
        _ => (Ipv4Addr::from(0xac10_0000 | random.below(RECURRING) as u32), 2055).into(),
    }
}

fn domain(random: &mut Random) -> u32 {
    match random.below(4) {
        0 => random.next() as u32,
        1 => random.below(4) as u32,
        _ => random.below(RECURRING) as u32,
    }
}

/// A message without sets whose numbers and times jump.
fn message(random: &mut Random, domain: u32) -> Message {
    let message = if random.below(2) == 0 { Message::v9() } else { Message::ipfix() };
    let message = match random.below(4) {
        0 => message.sequence(random.next() as u32),
        1 => message.sequence(random.below(1000) as u32),
        2 => message.sequence(u32::MAX - random.below(1000) as u32),
        _ => message.sequence(random.below(1 << 24) as u32),
    };
    // Of IPFIX this changes the export time.
    message.domain(domain).uptime(random.next() as u32)
}

fn fields(random: &mut Random, most: u64) -> Vec<Field> {
    let field = |random: &mut Random| match random.below(8) {
        0 => vendor(random.next() as u32, random.next() as u16 & 0x7fff, random.below(40) as u16),
        1 => varlen(random.below(512) as u16),
        2 => field(random.next() as u16, random.next() as u16),
        _ => field(random.below(512) as u16, 1 + random.below(16) as u16),
    };
    (0..=random.below(most)).map(|_| field(random)).collect()
}

/// New templates, mostly with data of each.
fn announced(random: &mut Random, domain: u32) -> Vec<u8> {
    let ids: Vec<u16> = (0..=random.below(8)).map(|_| random.next() as u16).collect();
    let layouts: Vec<(u16, Vec<Field>)> = ids.iter().map(|id| (*id, fields(random, 30))).collect();
    let templates: Vec<(u16, &[Field])> = layouts.iter().map(|(id, fields)| (*id, &fields[..])).collect();
    let mut message = message(random, domain).templates(&templates);
    if random.below(4) > 0 {
        for id in ids {
            message = message.set(id, random.bytes(400));
        }
    }
    message.build()
}

/// A domain that announces the same each time, with data by it: it goes on.
fn recurring_domain(random: &mut Random, number: u32) -> Vec<u8> {
    let layout: Vec<Field> = (0..12).map(|at| field(1 + (number >> at & 1) as u16 + 2 * at, 4)).collect();
    let message = Message::v9().domain(number).templates(&[(256, &layout), (257, &layout[1..])]);
    message.set(256, [random.next() as u8; 48]).build()
}

/// Data that waits for a template which never comes.
fn never_announced(random: &mut Random, domain: u32) -> Vec<u8> {
    if random.below(100) == 0 {
        let length = random.below(60_000);
        return message(random, domain).set(random.next() as u16 | 0x8000, vec![1; length as usize]).build();
    }
    (0..=random.below(6))
        .fold(message(random, domain), |message, _| {
            let length = random.below(200) as usize;
            message.set(256 + random.below(60_000) as u16, vec![7; length])
        })
        .build()
}

/// Names and sampling rates of more things than anybody has.
fn options(random: &mut Random, domain: u32) -> Vec<u8> {
    let name = random.below(200) as u16;
    let kinds =
        [(field(10, 4), field(82, name)), (field(234, 4), field(236, name)), (field(95, 4), field(96, name))];
    let (thing, named) = kinds[random.below(3) as usize];
    let message = message(random, domain).options_template(
        400,
        &[field(149, 1)],
        &[thing, named, field(302, 4), field(34, 4)],
    );
    let length = 1 + 4 + usize::from(name) + 4 + 4;
    let records = 1 + random.below(10) as usize;
    let octets: Vec<u8> = random.bytes(length * records);
    message.set(400, octets).build()
}

/// Lists in lists, most of them damaged.
fn structured(random: &mut Random, domain: u32) -> Vec<u8> {
    let layout = [varlen(291), varlen(292), varlen(293)];
    let message =
        Message::ipfix().domain(domain).templates(&[(300, &[field(10, 2), varlen(292)]), (301, &layout)]);
    let mut record = Vec::new();
    for head in [&[3, 0, 10, 0, 4][..], &[3, 1, 44], &[3, 1, 45, 0, 9]] {
        let list = [head, &random.bytes(60)].concat();
        record.push(list.len() as u8);
        record.extend(list);
    }
    message.set(301, record).build()
}

fn sflow(random: &mut Random) -> Vec<u8> {
    let mut datagram = Vec::new();
    let samples = random.below(20) as u32;
    for word in [5, 1, random.next() as u32, random.below(50) as u32, random.next() as u32, 1, samples] {
        put32(&mut datagram, word);
    }
    for _ in 0..samples {
        put32(&mut datagram, 1 + random.below(5) as u32);
        put32(&mut datagram, 32 + 48);
        for word in [random.next() as u32, random.below(100) as u32, 1, 2, 3, 4, 5, 1] {
            put32(&mut datagram, word);
        }
        put32(&mut datagram, [1, 1001, 1003, 1004, 1006][random.below(5) as usize]);
        put32(&mut datagram, 40);
        datagram.extend(random.bytes(40));
    }
    datagram
}

/// Octets at random behind a version that there is.
fn garbage(random: &mut Random) -> Vec<u8> {
    let version = [1, 5, 7, 9, 10, 0][random.below(6) as usize];
    let length = random.below(600) as usize;
    [&[0, version][..], &random.bytes(length)].concat()
}

/// Templates with as many fields as there can be, or with too many; or as many templates as a datagram holds.
fn wide_templates(random: &mut Random, domain: u32) -> Vec<u8> {
    let body = match random.below(3) {
        0 => template(256 + random.below(100) as u16, &vec![field(random.below(500) as u16, 2); 1024]),
        1 => template(256, &vec![field(1, 1); 16_000]),
        _ => {
            let first = random.next() as u16;
            let layout = [field(random.below(500) as u16, 1)];
            (0..1000).flat_map(|at| template(first.wrapping_add(at), &layout)).collect()
        }
    };
    let message = message(random, domain);
    let set = if message.clone().build()[1] == 9 { 0 } else { 2 };
    message.set(set, body).build()
}

/// As many records as a datagram can hold.
fn full_of_short_records(random: &mut Random, domain: u32) -> Vec<u8> {
    let layout = [[field(4, 1)], [varlen(96)]][random.below(2) as usize];
    Message::ipfix().domain(domain).templates(&[(256, &layout)]).set(256, vec![0; 60_000]).build()
}

/// As many flow samples as a datagram can hold, their numbers with gaps.
fn full_of_samples(random: &mut Random) -> Vec<u8> {
    let mut datagram = Vec::new();
    let (data_source, first) = (random.below(1000) as u32, random.next() as u32);
    for word in [5, 1, 0x0a00_0001, 0, 1, 0, 1600] {
        put32(&mut datagram, word);
    }
    for number in 0..1600 {
        for word in [1, 32, first.wrapping_add(2 * number), data_source, 1, 0, 0, 0, 0, 0] {
            put32(&mut datagram, word);
        }
    }
    datagram
}

/// xorshift64: the same sequence in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit.max(1)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend(self.next().to_be_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}
