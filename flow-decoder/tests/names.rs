//! Names that options data gives to interfaces, VRFs and applications, in the records that come after.

mod rig;
mod wire;

use std::sync::Arc;

use flow_decoder::{
    Datagram, Decoder, DecoderOptions, NameKind, NamesInRecords, ScopeKey, Share, StoreLimits, ZoneId,
};
use rig::{RECEIVED_NS, Rig, datagram, exporter};
use wire::{DOMAIN, EXPORT_TIME, Field, Message, field};

const DATA: &[Field] = &[field(10, 4), field(14, 2), field(234, 4), field(235, 4), field(95, 4), field(1, 1)];
const RECORD: [u8; 19] = [0, 0, 0, 7, 0, 8, 0x60, 0, 0, 1, 0x60, 0, 0, 2, 3, 0, 0, 80, 9];

fn key(version: u16) -> ScopeKey {
    ScopeKey { zone: ZoneId(0), exporter: exporter(0).ip(), version, domain: DOMAIN }
}

fn padded(name: &str, length: usize) -> Vec<u8> {
    let mut octets = name.as_bytes().to_vec();
    octets.resize(length, 0);
    octets
}

/// Cisco: interface, VRF and application tables as options data.
fn tables(message: Message, v9: bool) -> Message {
    let system = if v9 { field(1, 4) } else { field(144, 4) };
    let interfaces =
        [&[0; 4][..], &[0, 0, 0, 7], &padded("Gi0/7", 32), &[0; 4], &[0, 0, 0, 8], &padded("Te0/8", 32)];
    let vrfs =
        [&[0; 4][..], &[0x60, 0, 0, 1], &padded("red", 16), &[0; 4], &[0x60, 0, 0, 2], &padded("blue", 16)];
    let applications = [&[0; 4][..], &[3, 0, 0, 80], &padded("http", 24), &padded("HyperText", 16)];
    message
        .options_template(300, &[system], &[field(10, 4), field(82, 32)])
        .set(300, interfaces.concat())
        .options_template(301, &[system], &[field(234, 4), field(236, 16)])
        .set(301, vrfs.concat())
        .options_template(302, &[system], &[field(95, 4), field(96, 24), field(94, 16)])
        .set(302, applications.concat())
}

fn shown(rig: &Rig) -> [String; 5] {
    let flow = rig.kept.flows().pop().expect("a flow");
    [flow.in_if_name, flow.out_if_name, flow.ingress_vrf_name, flow.egress_vrf_name, flow.application_name]
}

#[test]
fn tables_name_what_records_number() {
    for v9 in [true, false] {
        let message = || if v9 { Message::v9() } else { Message::ipfix() };
        let mut rig = Rig::new();
        rig.take(message().templates(&[(256, DATA)]).set(256, RECORD).build());
        assert_eq!(shown(&rig), ["", "", "", "", ""], "nothing is named yet");
        rig.take(tables(message(), v9).build());
        rig.take(message().set(256, RECORD).build());
        assert_eq!(shown(&rig), ["Gi0/7", "Te0/8", "red", "blue", "http"]);
        rig.take(message().domain(99).templates(&[(256, DATA)]).set(256, RECORD).build());
        assert_eq!(shown(&rig), ["", "", "", "", ""], "another domain's names are not these");
    }
}

#[test]
fn an_interface_may_be_the_scope() {
    let mut rig = Rig::new();
    let v9 = Message::v9().options_template(300, &[field(2, 4)], &[field(82, 5)]);
    rig.take(v9.set(300, [&[0, 0, 0, 7][..], b"eth-7"].concat()).templates(&[(256, DATA)]).build());
    rig.take(Message::v9().set(256, RECORD).build());
    assert_eq!(shown(&rig)[0], "eth-7");
    let ipfix = Message::ipfix().options_template(300, &[field(10, 4)], &[field(82, 5)]);
    rig.take(ipfix.set(300, [&[0, 0, 0, 7][..], b"eth-8"].concat()).templates(&[(256, DATA)]).build());
    rig.take(Message::ipfix().set(256, RECORD).build());
    assert_eq!(shown(&rig)[0], "eth-8");
}

#[test]
fn the_latest_name_counts_and_a_record_knows_its_own_better() {
    let mut rig = Rig::new();
    rig.take(tables(Message::ipfix(), false).build());
    let renamed = Message::ipfix().set(301, [&[0; 4][..], &[0x60, 0, 0, 1], &padded("green", 16)].concat());
    rig.take(renamed.build());
    let own = [field(234, 4), field(236, 4)];
    let message = Message::ipfix().templates(&[(256, DATA), (257, &own)]).set(256, RECORD);
    rig.take(message.build());
    assert_eq!(shown(&rig)[2], "green");
    rig.take(Message::ipfix().set(257, [&[0x60, 0, 0, 1][..], b"mine"].concat()).build());
    assert_eq!(shown(&rig)[2], "mine");
}

#[test]
fn names_can_be_left_out() {
    let mut rig = Rig::new();
    let options = DecoderOptions { names: NamesInRecords::LeftOut, ..DecoderOptions::default() };
    rig.decoder = Decoder::new(Arc::clone(&rig.store), options);
    rig.take(tables(Message::v9(), true).build());
    rig.take(Message::v9().templates(&[(256, DATA)]).set(256, RECORD).build());
    assert_eq!(shown(&rig), ["", "", "", "", ""]);
}

/// A table that is sent again and again is learnt once.
#[test]
fn a_table_that_says_nothing_new_changes_nothing() {
    let mut rig = Rig::new();
    rig.take(tables(Message::v9(), true).build());
    let generation = rig.store.generation();
    rig.take(tables(Message::v9(), true).build());
    assert_eq!(rig.store.generation(), generation);
}

/// An exporter that names without end takes no more than its domain may.
#[test]
fn names_without_end_stay_in_their_bounds() {
    let mut rig = Rig::new();
    rig.take(Message::ipfix().options_template(300, &[field(10, 4)], &[field(82, 60)]).build());
    for part in 0..200u32 {
        let names = (0..50).flat_map(|at| [&(part * 50 + at).to_be_bytes()[..], &[b'x'; 60]].concat());
        rig.take(Message::ipfix().set(300, names.collect::<Vec<u8>>()).build());
        rig.kept.clear();
    }
    assert!(rig.store.bytes() < 1 << 20, "{} octets", rig.store.bytes());
    let kept = rig.store.export(&key(10), Share::Proven).expect("a scope").options.names.len() as u64;
    assert_eq!(rig.decoder.statistics().options_left_out, 10_000 - kept, "what is left out is counted");
    assert!(kept > 3000);
}

/// A router whose interfaces come and go would else have new names for none, once it has had so many.
#[test]
fn names_that_are_no_longer_heard_make_room() {
    let mut rig = Rig::new();
    let told = |rig: &Rig| (rig.store.take_name_changes(9).len(), rig.store.names_evicted());
    let say = |rig: &mut Rig, minutes: u64, ids: std::ops::Range<u32>| {
        for id in ids.step_by(64) {
            let names = (id..id + 64).flat_map(|id| [&id.to_be_bytes()[..], &padded("ge", 8)].concat());
            let message = Message::ipfix().options_template(300, &[field(10, 4)], &[field(82, 8)]);
            let message = message.export_time(EXPORT_TIME + 60 * minutes as u32);
            let payload = message.set(300, names.collect::<Vec<u8>>()).build();
            let received_ns = RECEIVED_NS + minutes * 60_000_000_000;
            rig.decoder.decode(&Datagram { received_ns, ..datagram(&payload, exporter(0)) }, &mut rig.kept);
        }
    };
    say(&mut rig, 0, 0..4096);
    assert_eq!(told(&rig), (1, 0));
    say(&mut rig, 30, 0..1024);
    let generation = rig.store.generation();
    say(&mut rig, 59, 4096..4160);
    assert_eq!((told(&rig), rig.store.generation()), ((0, 0), generation), "all were heard within the hour");
    assert_eq!(rig.statistics().options_left_out, 64);
    say(&mut rig, 61, 4096..4160);
    assert_eq!(told(&rig), (1, 64));
    let names = rig.store.export(&key(10), Share::Proven).expect("a scope").options.names;
    let heard_again = names.iter().filter(|name| name.id < 1024).count();
    assert_eq!((names.len(), heard_again), (4096, 1024));
    assert!(names.iter().any(|name| name.id == 4159) && rig.statistics().options_left_out == 64);
}

/// Cisco says both of an interface in one record, and a domain may have a name.
#[test]
fn descriptions_and_the_exporter_s_name_are_kept_though_no_record_shows_them() {
    let mut rig = Rig::new();
    let both = [field(83, 20), field(82, 8)];
    let message = Message::ipfix().options_template(300, &[field(10, 4), field(14, 4)], &both);
    let interface = [&[0, 0, 0, 7, 0, 0, 0, 7][..], &padded("to the core", 20), &padded("Gi0/7", 8)];
    let message = message.set(300, interface.concat());
    let message = message.options_template(301, &[field(149, 4)], &[field(300, 6)]);
    rig.take(message.set(301, [&[0, 0, 0, 1][..], b"edge-1"].concat()).build());
    rig.take(Message::ipfix().templates(&[(256, DATA)]).set(256, RECORD).build());
    assert_eq!(shown(&rig)[0], "Gi0/7");
    let names = rig.store.export(&key(10), Share::Proven).expect("a scope").options.names;
    let texts: Vec<_> = names.iter().map(|name| (name.kind, name.id, &*name.text)).collect();
    assert_eq!(
        texts,
        [
            (NameKind::Interface, 7, "Gi0/7"),
            (NameKind::InterfaceDescription, 7, "to the core"),
            (NameKind::Exporter, 0, "edge-1")
        ]
    );
}

#[test]
fn names_are_shared_with_their_times() {
    let mut rig = Rig::new();
    rig.take(tables(Message::v9(), true).build());
    assert_eq!(rig.store.take_changes(9), [key(9)], "the templates of the tables are proven");
    let mut shared = rig.store.export(&key(9), Share::Proven).expect("a scope");
    assert!(shared.options.names.iter().all(|name| name.time == u64::from(EXPORT_TIME) * 1000));
    let mut other = Rig::new();
    assert!(other.store.import(&key(9), shared.clone(), RECEIVED_NS).options_changed);
    other.take(Message::v9().templates(&[(256, DATA)]).set(256, RECORD).build());
    assert_eq!(shown(&other), ["Gi0/7", "Te0/8", "red", "blue", "http"]);
    let generation = other.store.generation();
    assert!(!other.store.import(&key(9), shared.clone(), RECEIVED_NS).options_changed, "again is nothing");
    assert_eq!(other.store.generation(), generation);
    shared.options.names.truncate(1);
    shared.options.names[0].text = "old".into();
    shared.options.names[0].time -= 1;
    assert!(!other.store.import(&key(9), shared.clone(), RECEIVED_NS).options_changed, "older");
    shared.options.names[0].time += 2;
    assert!(other.store.import(&key(9), shared.clone(), RECEIVED_NS).options_changed);
    shared.options.names[0].time += 3_600_000;
    let imported = other.store.import(&key(9), shared, RECEIVED_NS);
    assert_eq!((imported.options_changed, imported.options_left_out), (false, 1), "in the future");
}

#[test]
fn a_table_that_says_nothing_new_is_told_to_nobody() {
    let mut rig = Rig::new();
    rig.take(tables(Message::v9(), true).build());
    rig.store.take_changes(9);
    rig.store.take_name_changes(9);
    rig.take(tables(Message::v9(), true).build());
    assert!(rig.store.take_changes(9).is_empty() && rig.store.take_name_changes(9).is_empty());
    let renamed = [&[0; 4][..], &[0x60, 0, 0, 1], &padded("green", 16)].concat();
    rig.take(Message::v9().set(301, renamed).build());
    assert!(rig.store.take_changes(9).is_empty());
    assert_eq!(rig.store.take_name_changes(9), [key(9)], "only names have changed");
}

/// Names that others tell take no more memory than there is, however many exporters they are of.
#[test]
fn what_others_tell_stays_in_the_memory_that_there_is() {
    const BYTES: usize = 1 << 20;
    let mut rig = Rig::new();
    rig.take(Message::ipfix().options_template(300, &[field(10, 4)], &[field(82, 60)]).build());
    for part in 0..20u32 {
        let names = (0..50).flat_map(|at| [&(part * 50 + at).to_be_bytes()[..], &[b'x'; 60]].concat());
        rig.take(Message::ipfix().set(300, names.collect::<Vec<u8>>()).build());
    }
    let shared = rig.store.export(&key(10), Share::Proven).expect("a scope");
    assert_eq!(shared.options.names.len(), 1000);
    let other = Rig::with_limits(StoreLimits { bytes: BYTES, ..StoreLimits::default() });
    let imported: Vec<_> = (0..20)
        .map(|domain| other.store.import(&ScopeKey { domain, ..key(10) }, shared.clone(), RECEIVED_NS))
        .collect();
    assert!(other.store.bytes() <= BYTES, "{} octets", other.store.bytes());
    assert!(imported[0].options_changed && imported[0].options_left_out == 0, "{:?}", imported[0]);
    let refused = imported.iter().filter(|imported| imported.options_left_out == 1000).count();
    assert!(refused > 10, "{refused} scopes");
}
