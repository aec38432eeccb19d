//! Data that comes before its template: held as it came, decoded when the template comes, whoever learns it, and counted.

mod rig;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use catchment_proto::flow::v1::FlowRecord;
use flow_decoder::template::{FieldSpecifier, Template, TemplateKind};
use flow_decoder::{
    Datagram, Decoder, DecoderOptions, ExporterStore, HeldOrigin, Order, PendingLimits, Reason, RecordBuffer,
    ScopeKey, SharedDefinition, SharedScope, Sink, Statistics, StoreLimits, Stream, Verdict, WireRecord,
    ZoneId,
};
use rig::{Kept, RECEIVED_NS, Rig, datagram, exporter};
use wire::{DOMAIN, EXPORT_TIME, Field, Message, UPTIME, field};

const SECOND: u64 = 1_000_000_000;
const LAYOUT: [Field; 2] = [field(1, 4), field(2, 4)];

fn template(id: u16) -> Vec<u8> {
    Message::v9().templates(&[(id, &LAYOUT)]).build()
}

fn record(bytes: u8) -> [u8; 8] {
    [0, 0, 0, bytes, 0, 0, 0, 1]
}

fn data(id: u16, bytes: u8) -> Vec<u8> {
    Message::v9().set(id, record(bytes)).build()
}

/// Octet counts of the flow records so far, by which the tests tell records apart.
fn octets(rig: &Rig) -> Vec<u64> {
    rig.kept.flows().iter().map(|flow| flow.bytes).collect()
}

/// Decodes a datagram that is received at this time, and what it releases.
fn take_at(rig: &mut Rig, received_ns: u64, payload: &[u8]) {
    let datagram = Datagram { received_ns, ..datagram(payload, exporter(2055)) };
    rig.decoder.decode(&datagram, &mut rig.kept);
    rig.decoder.decode_released(usize::MAX, &mut rig.kept);
}

fn account(statistics: &Statistics) -> [u64; 6] {
    let sets = &statistics.sets;
    [sets.seen, sets.decoded, sets.pending, sets.expired, sets.evicted, sets.rejected.total()]
}

#[test]
fn data_is_decoded_when_its_template_comes() {
    let mut rig = Rig::new();
    assert_eq!(rig.take(data(256, 1)), Verdict::Decoded, "nothing is wrong with it");
    assert_eq!(account(&rig.settled()), [1, 0, 1, 0, 0, 0]);
    rig.take(template(256));
    assert_eq!(octets(&rig), [1]);
    assert_eq!(account(&rig.settled()), [1, 1, 0, 0, 0, 0]);
    assert_eq!(rig.statistics().malformed.total(), 0);
}

/// Also a template that comes behind it in the same datagram.
#[test]
fn the_rest_of_the_datagram_is_decoded_at_once() {
    let mut rig = Rig::new();
    rig.take(template(256));
    rig.take(
        Message::v9()
            .set(300, record(1))
            .set(256, record(2))
            .templates(&[(301, &LAYOUT)])
            .set(301, record(3))
            .build(),
    );
    assert_eq!(octets(&rig), [2, 3]);
    rig.take(Message::v9().set(256, record(4)).templates(&[(300, &LAYOUT)]).set(300, record(5)).build());
    assert_eq!(octets(&rig), [2, 3, 4, 5, 1]);
}

#[test]
fn it_keeps_its_times_its_sequence_and_its_sampling_rate() {
    let options = |rate: u8| {
        let message = Message::v9().options_template(400, &[field(1, 4)], &[field(34, 4)]);
        message.set(400, [0, 0, 0, 0, 0, 0, 0, rate]).build()
    };
    let fields = [field(1, 4), field(22, 4)];
    let held =
        Message::v9().uptime(50_000).export_time(EXPORT_TIME - 9).set(256, [0, 0, 0, 1, 0, 0, 0x9c, 0x40]);
    let mut rig = Rig::new();
    rig.take(options(100));
    take_at(&mut rig, RECEIVED_NS - 9 * SECOND, &held.build());
    rig.take(options(200));
    rig.take(Message::v9().templates(&[(256, &fields)]).build());
    let flow: &FlowRecord = &rig.kept.flows()[0];
    assert_eq!((flow.time_received_ns, flow.sampling_rate), (RECEIVED_NS - 9 * SECOND, 100));
    let start = u64::from(EXPORT_TIME - 9) * SECOND - 10 * SECOND;
    assert_eq!((flow.time_flow_start_ns, flow.sequence_num), (start, 1));
}

#[test]
fn a_rate_that_is_said_after_data_of_an_unknown_one_holds_for_it() {
    let mut rig = Rig::new();
    rig.take(data(256, 1));
    let options = Message::v9().options_template(400, &[field(1, 4)], &[field(34, 4)]);
    rig.take(options.set(400, [0, 0, 0, 0, 0, 0, 0, 100]).templates(&[(256, &LAYOUT)]).build());
    assert_eq!(rig.kept.flows()[0].sampling_rate, 100);
}

#[test]
fn options_data_that_had_to_wait_does_not_undo_what_was_said_since() {
    let rate = |rate: u8| [0, 0, 0, 0, 0, 0, 0, rate];
    let mut rig = Rig::new();
    rig.take(Message::v9().export_time(EXPORT_TIME - 60).set(401, rate(100)).build());
    let scope = [field(1, 4)];
    rig.take(Message::v9().options_template(400, &scope, &[field(34, 4)]).set(400, rate(200)).build());
    rig.take(Message::v9().options_template(401, &scope, &[field(34, 4)]).build());
    assert_eq!(rig.kept.options().len(), 2);
    rig.take(Message::v9().templates(&[(256, &LAYOUT)]).set(256, record(1)).build());
    assert_eq!(rig.kept.flows()[0].sampling_rate, 200);
}

#[test]
fn a_template_that_others_have_learnt_releases_it() {
    let mut rig = Rig::new();
    rig.take(data(256, 1));
    assert!(!rig.decoder.has_released());
    let key = ScopeKey { zone: ZoneId(0), exporter: exporter(0).ip(), version: 9, domain: DOMAIN };
    let fields = [FieldSpecifier::iana(1, 4), FieldSpecifier::iana(2, 4)];
    let template = Arc::new(Template::new(TemplateKind::Data, fields).expect("a layout"));
    let order = Order { epoch: EXPORT_TIME - UPTIME / 1000, time: 1 };
    let definitions = vec![SharedDefinition { id: 256, port: 9, order, proven: true, template }];
    rig.store.import(&key, SharedScope { definitions, ..SharedScope::default() }, RECEIVED_NS);
    assert!(rig.decoder.has_released());
    assert_eq!(rig.decoder.decode_released(usize::MAX, &mut rig.kept), 1);
    assert_eq!(octets(&rig), [1]);
    assert!(!rig.decoder.has_released());
}

#[test]
fn data_of_a_port_waits_until_the_ports_agree_or_its_own_template_comes() {
    let mut rig = Rig::new();
    rig.take_from(exporter(1), template(256));
    rig.take_from(exporter(2), Message::v9().templates(&[(256, &LAYOUT[..1])]).build());
    rig.take_from(exporter(3), data(256, 1));
    rig.take_from(exporter(4), data(256, 2));
    assert_eq!((rig.settled().sets.pending, rig.statistics().templates.conflicts), (2, 2));
    rig.take_from(exporter(3), template(256));
    assert_eq!(octets(&rig), [1], "its own port's");
    rig.take_from(exporter(2), template(256));
    assert_eq!(octets(&rig), [1, 2], "all agree");
}

#[test]
fn the_oldest_comes_first_and_only_so_many_at_a_time() {
    let mut rig = Rig::new();
    for n in 0..100 {
        rig.take(data(256 + u16::from(n % 3), n));
    }
    let templates = Message::v9().templates(&[(258, &LAYOUT), (256, &LAYOUT), (257, &LAYOUT)]).build();
    rig.decoder.decode(&datagram(&templates, exporter(2055)), &mut rig.kept);
    assert_eq!(rig.decoder.decode_released(10, &mut rig.kept), 10);
    assert_eq!(rig.settled().sets.pending, 90);
    assert_eq!(rig.decoder.decode_released(1000, &mut rig.kept), 90);
    assert_eq!(octets(&rig), (0..100).collect::<Vec<_>>());
}

#[test]
fn what_is_damaged_is_rejected_when_it_is_decoded_and_says_where_it_was() {
    let mut rig = Rig::new();
    rig.take(Message::v9().templates(&[(300, &LAYOUT)]).set(300, record(1)).set(256, [1, 2, 3]).build());
    rig.take(template(256));
    assert_eq!(rig.settled().sets.rejected[Reason::RecordTruncated], 1);
    assert_eq!(rig.errors(), ["at byte 52: in set 3: in template 256: record goes beyond its set"]);
    // Longer than what is left of its message: the whole records are decoded.
    rig.take(Message::v9().set_that_says(257, 60, [record(7), record(8)].concat()).build());
    rig.take(template(257));
    assert_eq!(octets(&rig), [1, 7, 8]);
    assert_eq!(rig.settled().sets.rejected[Reason::SetLength], 1);
    assert_eq!(rig.settled().sets.pending, 0);
}

#[test]
fn what_waits_too_long_expires_and_what_has_no_room_is_evicted() {
    let pending = PendingLimits { bytes: 8 << 10, per_exporter_bytes: 4 << 10, age_ns: Some(60 * SECOND) };
    let mut rig = Rig::with_limits(StoreLimits { pending, ..StoreLimits::default() });
    for n in 0..50 {
        rig.take(data(256, n));
    }
    let evicted = rig.settled().sets.evicted;
    assert!(evicted > 30 && rig.store.pending_counts().bytes <= 4 << 10, "{evicted}");
    rig.store.expire_pending(RECEIVED_NS + 59 * SECOND);
    assert_eq!(rig.settled().sets.expired, 0);
    rig.store.expire_pending(RECEIVED_NS + 60 * SECOND);
    assert_eq!(account(&rig.settled()), [50, 0, 0, 50 - evicted, evicted, 0]);
    rig.take(template(256));
    assert!(octets(&rig).is_empty());
}

/// Strangers' data may push out what waits, but neither memory nor time grows with it.
#[test]
fn a_flood_of_data_without_templates_stays_within_the_bounds() {
    let mut rig = Rig::new();
    let began = std::time::Instant::now();
    for n in 0..100_000u32 {
        let source = (std::net::Ipv4Addr::from(n), n as u16).into();
        let message = Message::v9().domain(n).set(256 + n as u16 % 99, [1; 40]).build();
        rig.decoder.decode(&datagram(&message, source), &mut rig.kept);
    }
    let counts = rig.store.pending_counts();
    assert!(counts.bytes <= PendingLimits::default().bytes && counts.evicted > 0, "{counts:?}");
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(rig.statistics().check());
}

/// What a printer sees of records that had to wait.
#[derive(Default)]
struct Printed {
    number: u64,
    lines: Vec<(u64, u16)>,
}

impl Sink for Printed {
    const OBSERVES: bool = true;

    fn batch(&mut self, _stream: Stream) -> Option<&mut RecordBuffer> {
        None
    }

    fn written(&mut self, _stream: Stream, _len: usize) {}

    fn datagram_number(&self) -> u64 {
        self.number
    }

    fn begin_held(&mut self, origin: &HeldOrigin) {
        assert_eq!(origin.source, exporter(2000 + origin.number as u16));
        self.number = origin.number;
    }

    fn observe_record(&mut self, record: &WireRecord<'_>) {
        self.lines.push((self.number, record.set.unwrap_or_default()));
    }
}

#[test]
fn records_keep_the_number_of_their_datagram() {
    let mut decoder =
        Decoder::new(Arc::new(ExporterStore::new(StoreLimits::default())), DecoderOptions::default());
    let mut printed = Printed::default();
    for (number, payload) in [(1, data(256, 1)), (2, data(257, 2)), (3, data(256, 3)), (4, template(256))] {
        printed.number = number;
        decoder.decode(&datagram(&payload, exporter(2000 + number as u16)), &mut printed);
        decoder.decode_released(usize::MAX, &mut printed);
    }
    assert_eq!(printed.lines, [(1, 256), (3, 256)]);
}

/// Data and templates of many ids on several workers at once, each template once: in the end every record is there once,
/// and the sums hold at every moment.
#[test]
fn workers_release_what_others_hold() {
    const WORKERS: u16 = 3;
    const IDS: u16 = 300;
    let store = Arc::new(ExporterStore::new(StoreLimits::default()));
    let done = AtomicBool::new(false);
    let (flows, statistics) = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (store, done) = (store.clone(), &done);
                scope.spawn(move || {
                    let mut decoder = Decoder::new(store, DecoderOptions::default());
                    let mut kept = Kept::new();
                    for id in 256..256 + IDS {
                        decoder.decode(&datagram(&data(id, worker as u8 + 1), exporter(2000)), &mut kept);
                        if id % WORKERS == worker {
                            decoder.decode(&datagram(&template(id), exporter(2000)), &mut kept);
                        }
                        decoder.decode_released(2, &mut kept);
                    }
                    while !done.load(Ordering::Relaxed) {
                        decoder.decode_released(2, &mut kept);
                        thread::yield_now();
                    }
                    assert!(decoder.statistics().check());
                    (kept.flows().len(), *decoder.statistics())
                })
            })
            .collect();
        let began = std::time::Instant::now();
        while store.templates() < usize::from(IDS) || store.has_pending() {
            assert!(began.elapsed().as_secs() < 60, "{:?} wait", store.pending_counts());
            thread::yield_now();
        }
        done.store(true, Ordering::Relaxed);
        workers.into_iter().map(|worker| worker.join().expect("no worker panics")).fold(
            (0, Statistics::default()),
            |(flows, mut sum), (more, statistics)| {
                sum.add(&statistics);
                (flows + more, sum)
            },
        )
    });
    let mut sum = statistics;
    sum.settle_pending(&store.pending_counts());
    let sets = u64::from(WORKERS * IDS);
    assert_eq!((flows as u64, account(&sum)), (sets, [sets, sets, 0, 0, 0, 0]));
}
