//! One store, several decoders on threads of their own: what one learns all know.

mod rig;
mod wire;

use std::sync::{Arc, Barrier};
use std::thread;

use flow_decoder::{Decoder, DecoderOptions, ExporterStore, StoreLimits, Verdict};
use rig::{Kept, datagram, exporter};
use wire::{Field, Message, field};

const WORKERS: u16 = 4;
const TEMPLATES_PORT: u16 = 2000;

/// Bytes and packets, in a layout that differs by template.
fn layout(id: u16) -> [Field; 2] {
    if id.is_multiple_of(2) { [field(1, 4), field(2, 4)] } else { [field(2, 4), field(1, 4)] }
}

fn data(id: u16) -> Vec<u8> {
    let (bytes, packets) = (1000 + u32::from(id), 10u32);
    let values = if id.is_multiple_of(2) { [bytes, packets] } else { [packets, bytes] };
    Message::v9().set(id, values.map(u32::to_be_bytes).concat()).build()
}

/// Templates come from one source port to one worker, data from other ports to all workers.
#[test]
fn data_is_decoded_by_workers_that_never_saw_its_template() {
    let store = Arc::new(ExporterStore::new(StoreLimits::default()));
    let step = Barrier::new(usize::from(WORKERS));
    let decoded: u64 = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (store, step) = (store.clone(), &step);
                scope.spawn(move || {
                    let mut decoder = Decoder::new(store, DecoderOptions::default());
                    let mut kept = Kept::new();
                    for id in 256..356 {
                        if id % WORKERS == worker {
                            let templates = Message::v9().templates(&[(id, &layout(id))]).build();
                            decoder.decode(&datagram(&templates, exporter(TEMPLATES_PORT)), &mut kept);
                        }
                        step.wait();
                        let port = TEMPLATES_PORT + 1 + worker;
                        let verdict = decoder.decode(&datagram(&data(id), exporter(port)), &mut kept);
                        assert_eq!(verdict, Verdict::Decoded, "worker {worker}, template {id}");
                        step.wait();
                    }
                    for (flow, id) in kept.flows().iter().zip(256u64..) {
                        assert_eq!((flow.bytes, flow.packets), (1000 + id, 10));
                    }
                    assert!(decoder.statistics().check());
                    decoder.statistics().sets.decoded
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("no worker panics")).sum()
    });
    assert_eq!(decoded, 100 * u64::from(WORKERS));
    assert_eq!(store.templates(), 100);
}

/// All workers announce the same templates over and over while they decode: no record is lost or read by another layout.
#[test]
fn announcing_again_at_the_same_time_loses_nothing() {
    let store = Arc::new(ExporterStore::new(StoreLimits::default()));
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let store = store.clone();
            scope.spawn(move || {
                let mut decoder = Decoder::new(store, DecoderOptions::default());
                let mut kept = Kept::new();
                for round in 0..2_000u16 {
                    let id = 256 + round % 16;
                    let templates = Message::v9().templates(&[(id, &layout(id))]).build();
                    let source = exporter(TEMPLATES_PORT + worker);
                    decoder.decode(&datagram(&templates, source), &mut kept);
                    kept.clear();
                    let verdict = decoder.decode(&datagram(&data(id), source), &mut kept);
                    assert_eq!(verdict, Verdict::Decoded);
                    let flow = &kept.flows()[0];
                    assert_eq!((flow.bytes, flow.packets), (1000 + u64::from(id), 10));
                }
                assert!(decoder.statistics().check());
            });
        }
    });
    assert_eq!(store.templates(), 16);
}

/// Exporters that come and go beyond the bound, on all workers at once: the store stays within it and its count is right.
#[test]
fn making_room_at_the_same_time_keeps_the_bounds() {
    let limits = StoreLimits { scopes: 64, ..StoreLimits::default() };
    let store = Arc::new(ExporterStore::new(limits));
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let store = store.clone();
            scope.spawn(move || {
                let mut decoder = Decoder::new(store, DecoderOptions::default());
                let mut kept = Kept::new();
                for round in 0..3_000u32 {
                    let domain = round * 7 % 500 + u32::from(worker);
                    let message =
                        Message::v9().domain(domain).templates(&[(256, &layout(256)), (257, &layout(257))]);
                    decoder.decode(&datagram(&message.build(), exporter(2055)), &mut kept);
                }
                assert!(decoder.statistics().check());
            });
        }
    });
    assert!(store.scopes() <= 64, "{} scopes", store.scopes());
    assert!(
        store.templates() <= 2 * store.scopes(),
        "{} templates of {} scopes",
        store.templates(),
        store.scopes()
    );
}
