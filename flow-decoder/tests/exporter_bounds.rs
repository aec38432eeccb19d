//! What one exporter can take of the memory for all, and from whom.

mod rig;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};

use flow_decoder::{Datagram, Reason, StoreLimits, Verdict};
use rig::{RECEIVED_NS, Rig, datagram, exporter};
use wire::{Field, Message, field, put32};

const LIMIT: usize = 4 << 20;
const SECOND: u64 = 1_000_000_000;

fn small_store() -> Rig {
    Rig::with_limits(StoreLimits { bytes: LIMIT, ..StoreLimits::default() })
}

fn take_at(rig: &mut Rig, seconds: u64, source: SocketAddr, payload: &[u8]) -> Verdict {
    let received_ns = RECEIVED_NS + seconds * SECOND;
    rig.kept.clear();
    let verdict = rig.decoder.decode(&Datagram { received_ns, ..datagram(payload, source) }, &mut rig.kept);
    assert!(rig.store.bytes() <= LIMIT, "{} octets", rig.store.bytes());
    verdict
}

/// Options data, of one template a domain, fills no more memory than templates may.
#[test]
fn names_stay_in_the_bound_of_templates() {
    let mut rig = small_store();
    let announced = Message::ipfix().options_template(300, &[field(10, 4)], &[field(82, 200)]);
    for domain in 0..50 {
        for part in 0..10 {
            let mut records = Vec::new();
            for index in 0..200 {
                put32(&mut records, part * 200 + index);
                records.extend([b'n'; 200]);
            }
            let names = announced.clone().domain(domain).set(300, records).build();
            assert_eq!(take_at(&mut rig, 1, exporter(2055), &names), Verdict::Decoded);
            assert_eq!(rig.kept.options().len(), 200, "its records are decoded, kept or not");
        }
    }
    assert!(rig.store.scopes_evicted() > 0);
}

/// Ids that are known take no place among those that may be known, but memory all the same.
#[test]
fn large_templates_of_many_ports_stay_in_the_bound() {
    let mut rig = small_store();
    for port in 0..20u16 {
        for id in 0..200u16 {
            // A layout that no other port and id has.
            let mut layout: Vec<Field> = vec![field(5, 1); 1000];
            (layout[0], layout[1]) = (field(port, 1), field(id, 1));
            take_at(&mut rig, 0, exporter(port), &Message::v9().templates(&[(256 + id, &layout)]).build());
        }
    }
    assert!(
        rig.statistics().malformed[Reason::TemplateLimit] > 0,
        "what has no room is refused, and counted"
    );
}

/// An exporter with any number of domains that all go on, beside others that are quiet for a minute.
#[test]
fn an_exporter_of_many_domains_takes_its_memory_from_itself() {
    let mut rig = small_store();
    let layout = [field(1, 4), field(2, 4)];
    let record = [0, 0, 0, 9, 0, 0, 0, 1];
    let others: Vec<SocketAddr> = (1..100).map(|at| (Ipv4Addr::new(192, 0, 2, at), 2055).into()).collect();
    let announced = Message::v9().templates(&[(256, &layout)]).set(256, record).build();
    let data = Message::v9().set(256, record).build();
    for source in &others {
        take_at(&mut rig, 0, *source, &announced);
        take_at(&mut rig, 11, *source, &data);
    }
    let hostile: SocketAddr = (Ipv4Addr::new(203, 0, 113, 66), 2055).into();
    for seconds in (12..72).step_by(11) {
        for domain in 0..20_000 {
            let message = Message::v9().domain(domain).templates(&[(256, &layout)]).set(256, record);
            take_at(&mut rig, seconds, hostile, &message.build());
        }
    }
    assert!(rig.store.scopes_evicted() > 10_000);
    for source in &others {
        assert_eq!(take_at(&mut rig, 73, *source, &data), Verdict::Decoded);
        assert_eq!(rig.kept.flows().len(), 1, "{source} is remembered");
    }
}

/// Spoofed addresses that come again and again, with data, look like exporters that go on: until there is so little room for
/// newcomers that none of them is remembered for long enough. What is not promised: that nobody leaves who is silent for longer
/// than a patient flood of few new addresses takes to fill the memory.
#[test]
fn spoofed_addresses_that_go_on_push_out_themselves() {
    let mut rig = small_store();
    let layout = [field(1, 4), field(2, 4)];
    let record = [0, 0, 0, 9, 0, 0, 0, 1];
    let announced = Message::v9().templates(&[(256, &layout)]).set(256, record).build();
    let data = Message::v9().set(256, record).build();
    let [often, silent]: [SocketAddr; 2] = [1, 2].map(|at| (Ipv4Addr::new(192, 0, 2, at), 2055).into());
    for source in [often, silent] {
        take_at(&mut rig, 0, source, &announced);
        take_at(&mut rig, 11, source, &data);
    }
    for seconds in 12..200 {
        // Few enough that most come again before they are forgotten, and more than there is memory for.
        for number in 0..1000 {
            let mixed = (seconds as u32 * 1000 + number).wrapping_mul(2_654_435_761) >> 8;
            let spoofed = 0x0a00_0000 + mixed % 12_000;
            take_at(&mut rig, seconds, (Ipv4Addr::from(spoofed), 2055).into(), &announced);
        }
        take_at(&mut rig, seconds, often, &data);
        assert_eq!(rig.kept.flows().len(), 1, "after {seconds} s");
    }
    assert!(rig.store.scopes_evicted() > 1000, "{}", rig.store.scopes_evicted());
    assert_eq!(take_at(&mut rig, 201, silent, &data), Verdict::Decoded);
    assert_eq!(rig.kept.flows().len(), 1, "who was silent for three minutes");
}
