//! How long it takes until what an exporter announces to one node can be used at another.
//!
//! ```text
//! dev/services run etcd -- cargo run --release -p ingest-node --example sync_latency -- [TEMPLATES [INTERVAL_MS]]
//! ```
//!
//! Two nodes and their coordinators in this process, each with its own threads and real sockets, over a real etcd (in memory
//! where `CATCHMENT_TEST_ETCD` is not set). Each template is of another exporter, a NetFlow v9 datagram with the template and one
//! with a record by it; the clock runs from the first one's sending until the other node's store has the template.

#![allow(clippy::unwrap_used, reason = "a measurement ends where something fails")]

#[allow(dead_code, reason = "shared with the tests")]
#[path = "../tests/cluster/replica.rs"]
mod replica;
#[allow(dead_code, reason = "shared with the tests")]
#[path = "../tests/cluster/rig.rs"]
mod rig;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use coordinator::kv::{Etcd, EtcdOptions, Kv};
use flow_decoder::{ScopeKey, Share, ZoneId};

use replica::{Replica, memory};
use rig::{TestNode, data, template};

/// No template takes longer.
const DEADLINE: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK: Duration = Duration::from_micros(50);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().unwrap());
    let (templates, interval) = (arguments.next().unwrap_or(400), arguments.next().unwrap_or(50));
    println!("store: {}, {templates} templates, one each {interval} ms", store().name());
    println!("| nodes are with | p50 | p90 | p99 | most |\n|---|---|---|---|---|");
    for (name, replicas) in [("one coordinator", 1), ("two coordinators", 2)] {
        let mut coordinators = Vec::new();
        let kv = store();
        for number in 0..replicas {
            // A connection lives on the runtime of the replica that opened it.
            let kv = if kv.name() == "etcd" { store() } else { kv.clone() };
            coordinators.push(Replica::start(&kv, &format!("c-{number}")).await);
        }
        let at: Vec<SocketAddr> = coordinators.iter().map(|replica| replica.address).collect();
        let a = TestNode::start("a", &at[..1], &[]).await;
        let b = TestNode::start("b", &at[replicas - 1..], &[]).await;
        let listener = a.node.flow().listeners()[0].address;
        let known = b.prepared.known.clone();
        let measuring = tokio::task::spawn_blocking(move || {
            measure(listener, &known.store, templates, Duration::from_millis(interval))
        });
        let mut times = measuring.await.unwrap();
        times.sort_unstable();
        let part = |part: f64| {
            let at = ((times.len() as f64 * part).ceil() as usize).clamp(1, times.len()) - 1;
            format!("{:.2} ms", times[at].as_secs_f64() * 1e3)
        };
        println!("| {name} | {} | {} | {} | {} |", part(0.5), part(0.9), part(0.99), part(1.0));
    }
}

fn store() -> Kv {
    match std::env::var("CATCHMENT_TEST_ETCD") {
        Ok(url) => Kv::Etcd(Etcd::new(EtcdOptions::new([url])).unwrap()),
        Err(_) => memory(),
    }
}

fn measure(
    listener: SocketAddr,
    store: &flow_decoder::ExporterStore,
    templates: u64,
    interval: Duration,
) -> Vec<Duration> {
    // Another one in each run: an etcd may still know the last.
    let domain = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32;
    (0..templates)
        .map(|number| {
            let address = Ipv4Addr::new(127, 1, (number >> 8) as u8, number as u8);
            let exporter = UdpSocket::bind((address, 0)).unwrap();
            let key = ScopeKey { zone: ZoneId(0), exporter: IpAddr::V4(address), version: 9, domain };
            let began = Instant::now();
            exporter.send_to(&template(domain), listener).unwrap();
            exporter.send_to(&data(domain), listener).unwrap();
            while store.export(&key, Share::Everything).is_none_or(|scope| scope.definitions.is_empty()) {
                assert!(began.elapsed() < DEADLINE, "template {number} did not arrive");
                std::thread::park_timeout(LOOK);
            }
            let took = began.elapsed();
            std::thread::park_timeout(interval.saturating_sub(took));
            took
        })
        .collect()
}
