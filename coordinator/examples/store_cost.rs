//! What 200,000 stored templates cost a coordinator: memory, time to read them, time for a snapshot.
//!
//!     dev/services run etcd -- cargo run --release -p coordinator --example store_cost
//!
//! Each template is of an exporter of its own and has 20 fields that no other one has in this order.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use catchment_proto::cluster::v1::{
    Definition, FieldSpecifier, Layout, Order, ScopeKey, ScopeState, TemplateKind,
};
use coordinator::keys::Keys;
use coordinator::kv::{Change, Etcd, EtcdOptions, Expect, Kv, MAX_CHANGES};
use coordinator::{Store, StoreOptions, validate};

const TEMPLATES: u32 = 200_000;
const SESSIONS: u32 = 20;

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::var("CATCHMENT_TEST_ETCD").context("CATCHMENT_TEST_ETCD names no etcd")?;
    let kv = Kv::Etcd(Etcd::new(EtcdOptions::new([url]))?);
    let cluster = format!("cost-{:016x}", rand::random::<u64>());
    let began = Instant::now();
    fill(&kv, &cluster).await?;
    say("put into etcd", began);

    let empty = memory_mib("VmRSS")?;
    let began = Instant::now();
    let store = Store::start(kv.clone(), StoreOptions::new(&cluster, "cost"))?;
    store.loaded().await;
    say("read by the coordinator", began);
    let size = store.size();
    println!("{} scopes, {} templates, {} MiB encoded", size.scopes, size.templates, size.bytes >> 20);
    println!(
        "memory: {empty} MiB before, {} MiB now, {} MiB at most",
        memory_mib("VmRSS")?,
        memory_mib("VmHWM")?
    );

    let began = Instant::now();
    snapshot(&store).await;
    say("one snapshot", began);
    let began = Instant::now();
    let sessions: Vec<_> = (0..SESSIONS)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { snapshot(&store).await })
        })
        .collect();
    for session in sessions {
        session.await?;
    }
    say(&format!("{SESSIONS} snapshots at once"), began);
    println!("memory: {} MiB now, {} MiB at most", memory_mib("VmRSS")?, memory_mib("VmHWM")?);
    store.stop(Duration::from_secs(5)).await;
    Ok(())
}

async fn fill(kv: &Kv, cluster: &str) -> Result<()> {
    let keys = Keys::new(cluster);
    let numbers: Vec<u32> = (0..TEMPLATES).collect();
    for numbers in numbers.chunks(MAX_CHANGES) {
        let changes = numbers
            .iter()
            .map(|number| {
                let scope = validate::scope(&scope(*number))?;
                Ok(Change::put(keys.templates(&scope.id), Expect::Absent, scope.encode_stored()))
            })
            .collect::<Result<Vec<_>>>()?;
        kv.change_each(changes).await?;
    }
    Ok(())
}

fn scope(number: u32) -> ScopeState {
    let [_, b, c, d] = number.to_be_bytes();
    // The number in its digits makes the layout its own.
    let field = |at: u32| FieldSpecifier {
        pen: 0,
        id: 1 + at * 16 + (number >> (at * 4 % 20) & 15),
        length: 4,
        ..FieldSpecifier::default()
    };
    ScopeState {
        key: Some(ScopeKey { zone: String::new(), exporter: vec![10, b, c, d], version: 10, domain: 0 }),
        layouts: vec![Layout { kind: TemplateKind::Data.into(), fields: (0..20).map(field).collect() }],
        definitions: vec![Definition {
            id: 256,
            port: 2055,
            order: Some(Order { epoch: 1_700_000_000, time_ms: 1_700_000_000_000 + u64::from(number) }),
            layout: 0,
        }],
        options: vec![],
        content_hash: 0,
    }
}

async fn snapshot(store: &Store) {
    let exchange = store.exchange();
    let mut feed = exchange.feed(None);
    let id = store.size().store.into_bytes();
    let mut octets = 0;
    loop {
        let message = feed.next().await;
        octets += message.bytes().len();
        // Only the last part ends with the moment that it shows; decoding would cost more than all that is measured.
        let end = &message.bytes()[message.bytes().len().saturating_sub(id.len() + 16)..];
        if end.windows(id.len()).any(|part| part == id) {
            assert!(octets > 10_000_000, "the snapshot has {octets} octets only");
            return;
        }
    }
}

/// Says what passed since the beginning, and what this process computed until now: other work on the machine is not ours.
fn say(what: &str, began: Instant) {
    let ticks = |stat: &str| -> Option<u64> {
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
    };
    // proc(5): user and system time in hundredths of a second.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let cpu = ticks(&stat).unwrap_or(0) as f64 / 100.0;
    println!("{what}: {:.2} s; CPU time so far {cpu:.2} s", began.elapsed().as_secs_f64());
}

fn memory_mib(line: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|each| each.starts_with(line)).context("no such line")?;
    let kib: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib / 1024)
}
