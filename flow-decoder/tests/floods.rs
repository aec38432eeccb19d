//! Datagrams made to cost more than their octets are worth (malformed-inputs 4, 7 and 12).
//!
//! Each test sends a few datagrams of the greatest size that UDP allows. What they cost must grow with their octets and not
//! with the product of two of their numbers. Costs are CPU time, so that a busy machine changes nothing.

mod rig;
mod wire;

use std::time::Duration;

use flow_decoder::{Reason, Verdict};
use rig::Rig;
use wire::{Field, Message, field, varlen};

/// Octets of the largest UDP payload.
const LARGEST: usize = 65_507;

/// What a largest datagram may take. Honest ones take about 3 ms.
const BOUND: Duration = Duration::from_millis(150);

/// CPU time of this thread: the first number of its schedstat, ns.
fn cpu_time() -> Duration {
    let schedstat =
        std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says what a thread ran");
    let ns = schedstat.split(' ').next().and_then(|number| number.parse().ok());
    Duration::from_nanos(ns.expect("a number"))
}

fn take_in_time(rig: &mut Rig, datagram: &[u8]) -> Verdict {
    assert!(datagram.len() <= LARGEST, "{}", datagram.len());
    rig.kept.clear();
    let began = cpu_time();
    let verdict = rig.take(datagram);
    let took = cpu_time() - began;
    assert!(took < BOUND, "{took:?}");
    verdict
}

/// `count` templates of one field each, from id 256 on.
fn many_templates(count: u16, length: u16) -> Vec<u8> {
    let fields = [field(1, length)];
    let templates: Vec<_> = (0..count).map(|index| (256 + index, &fields[..])).collect();
    Message::ipfix().templates(&templates).build()
}

#[test]
fn learning_many_templates_copies_few() {
    let mut rig = Rig::new();
    for length in [1, 2, 3, 4] {
        assert_eq!(take_in_time(&mut rig, &many_templates(4096, length)), Verdict::Decoded);
    }
    assert_eq!(rig.statistics().templates.changed, 4 * 4096);
    assert_eq!(rig.store.templates(), 4096);
}

#[test]
fn a_rate_that_alternates_is_learnt_once_a_set() {
    let mut rig = Rig::new();
    rig.take(many_templates(4000, 4));
    rig.take(Message::ipfix().options_template(5000, &[field(149, 0)], &[field(34, 1)]).build());
    let rates: Vec<u8> = (0..65_000).map(|record| 1 + record as u8 % 2).collect();
    assert_eq!(take_in_time(&mut rig, &Message::ipfix().set(5000, &rates).build()), Verdict::Decoded);
    let data = Message::ipfix().set(256, [0, 0, 0, 1]).build();
    rig.kept.clear();
    rig.take(data);
    assert_eq!(rig.kept.flows()[0].sampling_rate, 2, "the last one counts");
}

#[test]
fn a_template_with_very_many_fields_is_refused_in_time() {
    let mut rig = Rig::new();
    let fields: Vec<Field> = (0..16_000).map(|id| field(id, 1)).collect();
    let datagram = Message::ipfix().templates(&[(256, &fields)]).build();
    assert_eq!(take_in_time(&mut rig, &datagram), Verdict::PartlyDecoded);
    assert_eq!(rig.statistics().malformed[Reason::TemplateTooLong], 1);
    assert_eq!(rig.store.templates(), 0);
}

#[test]
fn fields_without_octets_do_not_multiply_short_records() {
    let mut rig = Rig::new();
    let empty = vec![field(1, 0); 1000];
    let data: Vec<Field> = empty.iter().copied().chain([varlen(82)]).collect();
    let options: Vec<Field> = empty.iter().copied().chain([field(34, 1)]).collect();
    rig.take(Message::ipfix().templates(&[(256, &data)]).build());
    rig.take(Message::ipfix().options_template(257, &[field(149, 0)], &options).build());
    let records = vec![0; 65_000];
    take_in_time(&mut rig, &Message::ipfix().set(256, &records).build());
    take_in_time(&mut rig, &Message::ipfix().set(257, &records).build());
    assert_eq!(rig.statistics().malformed[Reason::TemplateEmpty], 2);
}

#[test]
fn many_short_sets_are_found_in_time() {
    let mut rig = Rig::new();
    rig.take(many_templates(4096, 1));
    let sets = (0..13_000u16).fold(Message::ipfix(), |message, index| message.set(256 + index % 4096, [1]));
    assert_eq!(take_in_time(&mut rig, &sets.build()), Verdict::Decoded);
    assert_eq!(rig.statistics().sets.decoded, 13_000);
}

/// An address whose ports have announced as many templates as may be remembered, and then a port that was never heard after the
/// other: each looks for what is known of it.
#[test]
fn ports_that_were_never_heard_look_at_little() {
    let mut rig = Rig::new();
    let layout = [field(1, 4)];
    let templates: Vec<_> = (256..1256).map(|id| (id, &layout[..])).collect();
    let announced = Message::ipfix().templates(&templates).build();
    for port in 0..32 {
        rig.take_from(rig::exporter(port), &announced);
    }
    let empty = Message::ipfix().build();
    let began = cpu_time();
    for port in 1000..3000 {
        rig.take_from(rig::exporter(port), &empty);
    }
    let each = (cpu_time() - began) / 2000;
    assert!(each < Duration::from_micros(20), "{each:?} a datagram");
}

/// A domain with as many names as are kept, and one of them that changes with each datagram.
#[test]
fn a_name_that_changes_with_each_datagram_copies_no_other() {
    let mut rig = Rig::new();
    let named = |index: u32, name: u8| [&index.to_be_bytes()[..], &[name; 16]].concat();
    rig.take(Message::ipfix().options_template(300, &[field(10, 4)], &[field(82, 16)]).build());
    for part in 0..8 {
        let records: Vec<u8> = (part * 512..(part + 1) * 512).flat_map(|index| named(index, b'a')).collect();
        rig.take(Message::ipfix().set(300, records).build());
    }
    let began = cpu_time();
    for change in 0..1000u32 {
        rig.take(Message::ipfix().set(300, named(7, b'b' + (change % 2) as u8)).build());
        rig.kept.clear();
    }
    let each = (cpu_time() - began) / 1000;
    assert!(each < Duration::from_micros(100), "{each:?} a datagram");
}
