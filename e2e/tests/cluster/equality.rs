//! Four nodes behind a load balancer that knows nothing of flows publish the same records as one node alone.
//!
//! Every capture beside the repository (`CATCHMENT_SHARED`) is sent from exporter addresses of its own, all captures side by side,
//! once to one node and once with each datagram to any of four. Templates and the data that needs them then come to different nodes.
//! Generated records, of which the verifier knows every field, are sent the same way; ten million of them by `make soak`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ::loadtest::replay::{Capture, Replay};
use ::loadtest::targets::Spread;
use anyhow::{Context as _, Result, ensure};
use catchment_e2e::binaries::workspace;
use catchment_e2e::cluster::{Cluster, Plan, Store, Totals};
use catchment_e2e::decoded::without_reception;
use catchment_e2e::kafka::{Framing, brokers};
use catchment_e2e::loadtest;
use catchment_proto::flow::v1::FlowRecord;
use catchment_proto::flow::v1::flow_record::FlowType;
use prost::Message as _;

/// Between two datagrams of one capture. An exporter that defines a template anew sends data by it no sooner: what a node hears
/// is at the others in a few milliseconds, and until then they decode by what they know.
const PACE: Duration = Duration::from_millis(40);
const SETTLE: Duration = Duration::from_secs(30);

/// Of a hundred records so many may miss what options data said a moment before, at another node. Data without a template waits for
/// it; what else there is to know of an exporter may never be said, so nothing waits for that. All nodes know it in a few
/// milliseconds, none comes too late then; on a machine that is busy a few may.
const LATE_OPTIONS_PERCENT: u64 = 1;

/// How often each record came.
type Records = BTreeMap<Vec<u8>, u64>;

/// The captures; none, said aloud, where they are not.
fn captures() -> Result<Vec<PathBuf>> {
    let shared = std::env::var_os("CATCHMENT_SHARED");
    let folder = shared.map_or_else(|| workspace().join("../shared"), PathBuf::from).join("captures");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("NOT RUN: no captures at {}", folder.display());
        return Ok(Vec::new());
    };
    let mut captures = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    captures.retain(|path| path.extension().is_some_and(|extension| extension == "pcap"));
    captures.sort();
    ensure!(captures.len() < 256, "{} captures are more than there are networks", captures.len());
    Ok(captures)
}

/// Sends one datagram of each capture in turn, [`PACE`] apart; how many in total.
fn send(captures: &[PathBuf], targets: &[SocketAddr]) -> Result<u64> {
    let mut lanes = Vec::new();
    for (capture, network) in captures.iter().zip(0..) {
        let first = IpAddr::V4(Ipv4Addr::new(127, 20, network, 1));
        let replay = Replay::new(targets.to_vec(), first).spread(Spread::Random, u64::from(network));
        lanes.push((Capture::open(capture)?, replay, false));
    }
    let began = Instant::now();
    for round in 1.. {
        for (capture, replay, ended) in lanes.iter_mut().filter(|(_, _, ended)| !ended) {
            match capture.next() {
                Some(frame) => replay.send(&frame?)?,
                None => *ended = true,
            }
        }
        if lanes.iter().all(|(_, _, ended)| *ended) {
            break;
        }
        // A pace is a time, there is no condition to wait for.
        std::thread::park_timeout((PACE * round).saturating_sub(began.elapsed()));
    }
    let reports = lanes.iter().map(|(_, replay, _)| replay.report());
    let (sent, errors) =
        reports.fold((0, 0), |(sent, errors), it| (sent + it.datagrams, errors + it.send_errors));
    ensure!(errors == 0, "{errors} datagrams were not sent");
    Ok(sent)
}

/// Waits until the nodes have read all, as many sets as `pending` are left waiting, or none has come out of it for long.
fn settle(cluster: &Cluster, sent: u64, pending: u64) -> Result<Totals> {
    let read = |totals: &Totals| totals.received == sent && totals.produced == totals.delivered;
    let mut totals = cluster.wait_totals("all to be read and delivered", read)?;
    let mut changed = Instant::now();
    while totals.sets_pending > pending && changed.elapsed() < SETTLE {
        std::thread::park_timeout(Duration::from_millis(200));
        let now = cluster.wait_totals("all to be delivered", read)?;
        if now != totals {
            (totals, changed) = (now, Instant::now());
        }
    }
    Ok(totals)
}

/// The records that a cluster makes of each capture, and how many sets were left without a template.
fn records(plan: &Plan, captures: &[PathBuf], pending: u64) -> Result<(Vec<Records>, u64)> {
    let cluster = plan.start()?;
    let sent = send(captures, &cluster.udp())?;
    let left = settle(&cluster, sent, pending)?.sets_pending;
    let topic = cluster.topic.clone();
    let produced = cluster.stop()?.produced;
    let messages = topic.with_records(Framing::Packed, usize::try_from(produced)?)?;
    let mut records = vec![Records::new(); captures.len()];
    for record in Framing::Packed.all(&messages)? {
        let network = *record.sampler_address.get(2).context("an IPv4 exporter")?;
        let mut record = without_reception(record);
        record.collector_node.clear();
        let of_capture = records.get_mut(usize::from(network)).context("an exporter of ours")?;
        *of_capture.entry(record.encode_to_vec()).or_insert(0) += 1;
    }
    Ok((records, left))
}

/// Records in `ours` that are not in `theirs`.
fn beyond(ours: &Records, theirs: &Records) -> u64 {
    ours.iter().map(|(record, count)| count.saturating_sub(theirs.get(record).copied().unwrap_or(0))).sum()
}

/// The records without what options data may have said of their exporter.
fn without_options(records: &Records) -> Result<Records> {
    let mut bare = Records::new();
    for (record, count) in records {
        let mut record = FlowRecord::decode(&record[..])?;
        record.sampling_rate = 0;
        if record.r#type() == FlowType::Ipfix {
            // In milliseconds since the exporter's start, which options data says (systemInitTimeMilliseconds).
            (record.time_flow_start_ns, record.time_flow_end_ns) = (0, 0);
        }
        for name in [
            &mut record.src_sgt_name,
            &mut record.dst_sgt_name,
            &mut record.application_name,
            &mut record.in_if_name,
            &mut record.out_if_name,
            &mut record.ingress_vrf_name,
            &mut record.egress_vrf_name,
        ] {
            name.clear();
        }
        *bare.entry(record.encode_to_vec()).or_insert(0) += count;
    }
    Ok(bare)
}

#[test]
fn every_capture_gives_the_same_records_from_four_nodes_as_from_one() -> Result<()> {
    let captures = captures()?;
    if captures.is_empty() {
        return Ok(());
    }
    let alone = Plan { coordinators: 0, nodes: 1, store: Store::Memory, ..Plan::new("equality-one") };
    let (expected, left_alone) = records(&alone, &captures, 0)?;
    let (found, left) = records(&Plan::new("equality-four"), &captures, left_alone)?;
    let (mut differ, mut late, mut all) = (Vec::new(), 0, 0);
    for (capture, (expected, found)) in captures.iter().zip(expected.iter().zip(&found)) {
        let name = capture.file_stem().unwrap_or_default().to_string_lossy();
        let of: u64 = expected.values().sum();
        all += of;
        let not_exact = beyond(expected, found);
        if not_exact > 0 {
            println!("{name}: {not_exact} of {of} records without what options data had said just before");
            late += not_exact;
        }
        let (expected, found) = (without_options(expected)?, without_options(found)?);
        let (missing, more) = (beyond(&expected, &found), beyond(&found, &expected));
        if missing + more > 0 {
            differ.push(format!("{name}: {missing} of {of} missing, {more} others"));
        }
    }
    let equal = captures.len() - differ.len();
    println!(
        "equality: {equal} of {} captures, {all} records, {late} of them before their options data",
        captures.len()
    );
    ensure!(differ.is_empty(), "{}", differ.join("\n"));
    ensure!(
        late * 100 <= all * LATE_OPTIONS_PERCENT,
        "{late} of {all} records came before their options data"
    );
    ensure!(left == left_alone, "{left} sets were left without a template, {left_alone} with one node");
    Ok(())
}

/// Templates and options come once, to any one node; the verifier compares every field of every record.
fn generated(records: u64) -> Result<()> {
    let cluster = Plan::new("equality-generated").start()?;
    let targets: Vec<_> = cluster.udp().iter().map(ToString::to_string).collect();
    let (count, targets) = (records.to_string(), targets.join(","));
    let workload = [
        ["--protocol", "v9,ipfix,v5,sflow"],
        ["--exporters", "64"],
        ["--templates-every", "once"],
        ["--records", &count],
    ];
    let workload = workload.concat();
    let send = ["--target", &targets, "--spread", "random", "--rate", "50000", "--send", "plain"];
    let run = loadtest::run("run", &[&workload[..], &send].concat())?;
    let nodes: Vec<_> = cluster.running().map(|node| node.http().to_string()).collect();
    let (brokers, nodes) = (brokers()?, nodes.join(","));
    let read = ["--brokers", &brokers, "--topic", &cluster.topic.name, "--node", &nodes];
    loadtest::run("verify", &[&workload[..], &read].concat())?;
    let sent = run["datagrams"].as_u64().context("datagrams sent")?;
    let totals = cluster.stop()?;
    totals.check_all_decoded(sent, records)?;
    println!(
        "figure: {records} records of 64 exporters over 4 nodes, templates once: all on Kafka, equal in every field; {} s",
        run["seconds"].as_f64().context("seconds")?.round()
    );
    Ok(())
}

#[test]
fn generated_records_over_four_nodes_are_equal_in_every_field() -> Result<()> {
    generated(200_000)
}

#[test]
#[ignore = "minutes: `make soak` runs it"]
fn ten_million_records_over_four_nodes_are_equal_in_every_field() -> Result<()> {
    generated(10_000_000)
}
