//! What publishing a record into Kafka costs this process, without receiving and decoding.
//!
//! ```text
//! dev/services run kafka -- cargo run --release -p ingest-node --example publish_cost -- [RECORDS [FRAMING COMPRESSION]]
//! ```
//!
//! One worker hands synthetic 20-field records to the output as fast as it takes them. The table shows CPU time per record,
//! of the worker's thread (batching, handing over, reports) and of librdkafka's threads (compression, sockets).

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use flow_decoder::protobuf::Tag;
use flow_decoder::{Delimiting, RecordBuffer, Sink, Stream};
use ingest_node::config::{Config, Sources};
use ingest_node::output::{Origin, Output};

/// Distinct records, so that compression has something to do.
const DISTINCT: u64 = 20_000;
/// Records between two looks at the clock, as a worker does between two reads.
const TICK: u64 = 500;
const DEADLINE: Duration = Duration::from_secs(120);
/// Nanoseconds in one tick of the kernel's CPU accounting (USER_HZ is 100 on every Linux).
const CPU_TICK_NS: u64 = 10_000_000;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let records = arguments.first().map_or(Ok(5_000_000), |text| text.parse()).context("RECORDS")?;
    let brokers = std::env::var("CATCHMENT_TEST_KAFKA").context("CATCHMENT_TEST_KAFKA names no broker")?;
    let cases = match arguments.get(1..3) {
        Some([framing, compression]) => vec![(framing.as_str(), compression.as_str())],
        _ => vec![
            ("packed", "none"),
            ("packed", "lz4"),
            ("packed", "zstd"),
            ("list", "lz4"),
            ("single", "none"),
            ("single", "lz4"),
        ],
    };
    println!(
        "{:<8} {:<8} {:>10} {:>12} {:>14} {:>12}",
        "framing", "codec", "records/s", "worker ns", "librdkafka ns", "dropped"
    );
    for (framing, compression) in cases {
        measure(&brokers, framing, compression, records)?;
    }
    Ok(())
}

fn measure(brokers: &str, framing: &str, compression: &str, records: u64) -> Result<()> {
    let set = [
        "output=kafka".to_owned(),
        "node.workers=1".to_owned(),
        format!("kafka.brokers={brokers}"),
        format!("kafka.topic=publish-cost-{framing}-{compression}"),
        format!("kafka.framing={framing}"),
        format!("kafka.compression={compression}"),
    ];
    let config = Config::load(&Sources { set: set.into(), ..Sources::default() })?.config;
    let output = Output::open(&config, Origin { node: "bench".into(), incarnation: 1 })?;
    let start = Instant::now();
    while !output.health().is_ready() {
        ensure!(start.elapsed() < DEADLINE, "no broker: {}", output.health().reason);
        std::thread::park_timeout(Duration::from_millis(10));
    }
    let delimiting = if framing == "list" { Delimiting::ListItem } else { Delimiting::Length };
    let (samples, lengths) = samples(delimiting);

    let mut sink = output.sink(0);
    let (start, process, worker) =
        (Instant::now(), cpu_ns("/proc/self/stat")?, cpu_ns("/proc/thread-self/stat")?);
    let (mut at, mut next) = (0, 0);
    for number in 0..records {
        let len = lengths[next];
        if let Some(batch) = sink.batch(Stream::Flow) {
            batch.append(&samples.as_bytes()[at..at + len], 1);
            sink.written(Stream::Flow, len);
        }
        (at, next) = if next + 1 == lengths.len() { (0, 0) } else { (at + len, next + 1) };
        if number % TICK == 0 {
            sink.tick(Instant::now());
        }
    }
    drop(sink);
    output.close(Instant::now() + DEADLINE);
    let seconds = start.elapsed().as_secs_f64();
    let worker = cpu_ns("/proc/thread-self/stat")? - worker;
    let others = cpu_ns("/proc/self/stat")? - process - worker;
    let account = output.streams()[Stream::Flow as usize];
    println!(
        "{framing:<8} {compression:<8} {:>10.0} {:>12.0} {:>14.0} {:>12}",
        records as f64 / seconds,
        worker as f64 / records as f64,
        others as f64 / records as f64,
        account.dropped.total()
    );
    ensure!(account.is_balanced() && account.in_flight == 0, "{account:?}");
    Ok(())
}

/// Records of about 100 bytes, and the length of each with its prefix.
fn samples(delimiting: Delimiting) -> (RecordBuffer, Vec<usize>) {
    let mut records = RecordBuffer::new(0, delimiting);
    // A linear congruential generator is random enough for addresses and counters.
    let mut state = 1u64;
    let mut random = |bits: u32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> (64 - bits)
    };
    let lengths = (0..DISTINCT)
        .map(|_| {
            let mut record = records.begin();
            record.uint(Tag::varint(1), 3);
            for field in [6, 7, 11] {
                record.bytes4(Tag::delimited(field), (0x0a00_0000 + random(12) as u32).to_be_bytes());
            }
            for (field, bits) in [(9, 20), (10, 10), (14, 16), (15, 16), (16, 4), (17, 4), (18, 8), (19, 8)] {
                record.uint(Tag::varint(field), random(bits));
            }
            for (field, bits) in [(20, 3), (21, 16), (22, 10), (23, 2), (26, 5)] {
                record.uint(Tag::varint(field), random(bits));
            }
            for field in [110, 111, 112] {
                record.uint(Tag::varint(field), 1_767_225_600_000_000_000 + random(34));
            }
            record.finish()
        })
        .collect();
    (records, lengths)
}

/// User and system time in a `stat` file of /proc (fields 14 and 15, counted from 1; the second may hold blanks).
fn cpu_ns(path: &str) -> Result<u64> {
    let stat = fs::read_to_string(path)?;
    let behind_name = stat.rsplit_once(')').context("stat has no name")?.1;
    let ticks: Vec<u64> =
        behind_name.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<u64>() * CPU_TICK_NS)
}
