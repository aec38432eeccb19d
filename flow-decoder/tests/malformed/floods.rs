//! Row 12 and the floods of rows 7 and 10: time, output and memory stay bounded. What single fields and templates can be made
//! to cost is in `floods.rs` beside this folder.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use flow_decoder::{StoreLimits, Verdict};

use crate::rig::Rig;
use crate::wire::{Message, field, varlen};

/// What one datagram of 64 KiB may take. In the debug build on a busy machine it is a tenth of it.
const LIMIT: Duration = Duration::from_secs(2);

fn within_the_limit<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = work();
    assert!(began.elapsed() < LIMIT, "{what} took {:?}", began.elapsed());
    done
}

#[test]
fn records_of_one_octet() {
    let mut rig = Rig::new();
    rig.take(Message::ipfix().templates(&[(256, &[field(4, 1)])]).build());
    let data = Message::ipfix().set(256, vec![6; 65_000]).build();
    assert_eq!(within_the_limit("flow records", || rig.take(&data)), Verdict::Decoded);
    assert!(rig.kept.len() < 100 * data.len(), "{} octets written", rig.kept.len());
    rig.take(Message::ipfix().options_template(256, &[field(149, 1)], &[]).build());
    rig.kept.clear();
    assert_eq!(within_the_limit("options records", || rig.take(&data)), Verdict::Decoded);
    assert!(rig.kept.len() < 100 * data.len(), "{} octets written", rig.kept.len());
}

#[test]
fn empty_fields_of_variable_length() {
    let mut rig = Rig::new();
    let many = vec![varlen(96); 1000];
    rig.take(Message::ipfix().templates(&[(256, &many), (257, &[varlen(96)])]).build());
    let data = |id| Message::ipfix().set(id, vec![0; 64_000]).build();
    assert_eq!(within_the_limit("a field a record", || rig.take(data(257))), Verdict::Decoded);
    assert_eq!(rig.kept.flows().len(), 64_000);
    assert_eq!(within_the_limit("1,000 fields a record", || rig.take(data(256))), Verdict::Decoded);
    assert!(rig.kept.len() < 100 * 64_000);
}

#[test]
fn withdrawals() {
    let mut rig = Rig::new();
    let body: Vec<u8> = (0..16_000u16).flat_map(|id| [(id >> 8) as u8 | 1, id as u8, 0, 0]).collect();
    assert_eq!(
        within_the_limit("withdrawals", || rig.take(Message::ipfix().set(2, body).build())),
        Verdict::Decoded
    );
    assert_eq!(rig.statistics().templates.withdrawn, 16_000);
}

#[test]
fn templates_of_exporters_that_do_not_exist() {
    let limits = StoreLimits { scopes: 1_000, templates: 900, ..StoreLimits::default() };
    let mut rig = Rig::with_limits(limits);
    within_the_limit("20,000 exporters", || {
        for n in 0..20_000u32 {
            let source = SocketAddr::from((Ipv4Addr::from(n.wrapping_mul(2_654_435_761)), n as u16));
            let fields = [field(1, 4), field(n as u16 % 500, 4)];
            rig.take_from(
                source,
                Message::v9().domain(n % 7).templates(&[(256 + n as u16 % 99, &fields)]).build(),
            );
        }
    });
    let store = &rig.store;
    assert!(store.scopes() <= 1_000 + 16 && store.templates() <= 900, "{} scopes", store.scopes());
    assert_eq!(store.scopes_evicted(), 20_000 - store.scopes() as u64);
}

/// Data without a template is forgotten as it comes: nothing is learnt from it.
#[test]
fn data_of_exporters_that_do_not_exist() {
    let mut rig = Rig::new();
    within_the_limit("40,000 exporters", || {
        for n in 0..40_000u32 {
            let source = SocketAddr::from((Ipv4Addr::from(n), n as u16));
            rig.take_from(source, Message::v9().domain(n).set(256 + n as u16 % 99, [1; 40]).build());
        }
    });
    assert_eq!((rig.store.scopes(), rig.store.templates()), (0, 0));
}
