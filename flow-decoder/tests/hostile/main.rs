//! Exporters that do their worst, all at once, beside some that behave: memory stays in its configured bounds, and those that
//! behave lose nothing.
//!
//! A short run with small bounds is in `make test`. Ten million datagrams with the default bounds are a step of `make soak`:
//!
//! ```text
//! cargo test -p flow-decoder --test hostile -- --ignored --nocapture ten_million
//! ```

#[path = "../batches/mod.rs"]
mod batches;
#[path = "../counting/mod.rs"]
mod counting;
#[path = "../rig/mod.rs"]
mod rig;
#[path = "../wire/mod.rs"]
mod wire;

mod chaos;
mod victims;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flow_decoder::{Datagram, Decoder, DecoderOptions, ExporterStore, PendingLimits, StoreLimits, ZoneId};

use batches::Batches;
use chaos::Chaos;
use victims::Victims;

const MIB: usize = 1 << 20;
const SECOND: u64 = 1_000_000_000;
/// When the first datagram comes, ns since 1970.
const START: u64 = 1_700_000_000 * SECOND;
/// How long a run seems to take: long enough for strangers to go on, for data to wait too long, for exporters to be idle.
const SPAN: u64 = 600 * SECOND;
/// Decoders of the one store, as a node has workers.
const WORKERS: usize = 2;
/// What a decoder may take for itself: 14,336 sessions and 16 MiB of their plans, 16,384 sequence spaces and 12 MiB of their ranges.
const PER_WORKER: usize = 40 * MIB;
/// What the bounds are allowed to be off by: counted is what the allocator takes for most things, but not for all.
const INEXACT_PERCENT: usize = 10;
/// Templates that nodes are asked for in a second, at most, whatever comes.
const WANTED_A_SECOND: usize = 8192;

/// A store and its decoders, as a node has them.
struct Node {
    limits: StoreLimits,
    store: Arc<ExporterStore>,
    decoders: Vec<Decoder>,
    batches: Batches,
    /// Templates that data waited for, in the busiest second.
    wanted: usize,
}

impl Node {
    fn new(limits: StoreLimits) -> Self {
        let store = Arc::new(ExporterStore::new(limits));
        let decoder = || Decoder::new(store.clone(), DecoderOptions::default());
        Self {
            limits,
            decoders: (0..WORKERS).map(|_| decoder()).collect(),
            store,
            batches: Batches::new(),
            wanted: 0,
        }
    }

    fn take(&mut self, worker: usize, source: SocketAddr, payload: &[u8], now: u64) {
        let decoder = &mut self.decoders[worker];
        decoder.decode(&datagram(source, payload, now), &mut self.batches);
        decoder.decode_released(8, &mut self.batches);
    }

    /// What workers and the session with the coordinator do every second.
    fn tick(&mut self, now: u64) {
        self.store.expire_pending(now);
        for decoder in &mut self.decoders {
            decoder.take_sequences(|_, _| {});
            decoder.decode_released(256, &mut self.batches);
            assert!(decoder.statistics().check(), "{:?}", decoder.statistics());
        }
        self.store.take_changes(usize::MAX);
        self.wanted = self.wanted.max(self.store.take_wanted(usize::MAX).len());
    }

    /// What the store itself says of its bounds.
    fn check_bounds(&self) {
        let (store, limits) = (&self.store, &self.limits);
        assert!(store.bytes() <= limits.bytes, "{} octets", store.bytes());
        assert!(store.templates() <= limits.templates, "{} templates", store.templates());
        let pending = store.pending_counts().bytes;
        assert!(pending <= limits.pending.bytes, "{pending} octets wait");
    }

    /// How far it went, `peak` octets at most.
    fn figures(&self, peak: usize) -> String {
        let (limits, waiting) = (&self.limits, self.store.pending_counts());
        format!(
            "at most {} MiB, bound {} MiB; store {} of {} MiB, {} scopes evicted; {} sets waited, {} of {} MiB; \
             {} templates wanted in a second",
            peak / MIB,
            self.bound() / MIB,
            self.store.bytes() / MIB,
            limits.bytes / MIB,
            self.store.scopes_evicted(),
            waiting.held,
            waiting.bytes / MIB,
            limits.pending.bytes / MIB,
            self.wanted,
        )
    }

    /// Octets that it may take in all.
    fn bound(&self) -> usize {
        let configured = self.limits.bytes + self.limits.pending.bytes;
        configured / 100 * (100 + INEXACT_PERCENT) + WORKERS * PER_WORKER
    }
}

fn datagram(source: SocketAddr, payload: &[u8], received_ns: u64) -> Datagram<'_> {
    Datagram { payload, source, zone: ZoneId(0), received_ns, truncated: false }
}

/// CPU time of this thread: the first number of its schedstat, ns.
fn cpu_time() -> Duration {
    let schedstat =
        std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says what a thread ran");
    Duration::from_nanos(schedstat.split(' ').next().and_then(|ns| ns.parse().ok()).expect("a number"))
}

/// The most memory of this process that was resident: what holes between allocations cost is in it.
fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says how large a process is");
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the most that was resident");
    line.trim().to_owned()
}

/// Lets so many datagrams of chaos come, and those of exporters that behave in between.
fn run(datagrams: u64, limits: StoreLimits) {
    let mut node = Node::new(limits);
    counting::reset_peak();
    let before = counting::held();
    let began = cpu_time();
    let mut victims = Victims::new(&mut node, START);
    let mut chaos = Chaos::new();
    let mut ticked = START;
    for number in 0..datagrams {
        let now = START + 20 * SECOND + SPAN * number / datagrams;
        let (source, payload) = chaos.next(now);
        node.take(number as usize % WORKERS, source, payload, now);
        victims.speak(&mut node, now);
        if number % 64 == 0 {
            node.check_bounds();
        }
        if now >= ticked + SECOND {
            ticked = now;
            node.tick(now);
        }
    }
    let took = cpu_time() - began;
    let peak = (counting::peak() - before) as usize;
    println!(
        "\nfigure: {datagrams} datagrams, {} octets each, {} s of CPU; {} records of those who behave; {}; {} resident",
        chaos.octets / datagrams,
        took.as_secs(),
        victims.records,
        node.figures(peak),
        resident(),
    );
    assert!(peak <= node.bound(), "{peak} octets, not {}", node.bound());
    assert!(node.wanted <= WANTED_A_SECOND, "{}", node.wanted);
    let evicted = (node.store.scopes_evicted(), node.store.pending_counts().evicted);
    assert!(evicted.0 > 0 && evicted.1 > 0, "the bounds were never reached: {evicted:?}");
    victims.check(SPAN);
}

#[test]
fn memory_stays_in_its_bounds_and_those_who_behave_lose_nothing() {
    let pending = PendingLimits { bytes: 2 * MIB, per_exporter_bytes: 256 << 10, ..PendingLimits::default() };
    run(200_000, StoreLimits { bytes: 8 * MIB, pending, ..StoreLimits::default() });
}

#[test]
#[ignore = "a step of make soak"]
fn ten_million() {
    run(10_000_000, StoreLimits::default());
}
