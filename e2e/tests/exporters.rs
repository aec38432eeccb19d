//! Records that real exporters lead to, held against what tshark and nfdump read from the same datagrams.
//!
//! The exporters that this machine has (`dev/install-packages exporters`) are started, shown invented traffic, and their
//! datagrams go to a node with Kafka behind it, to nfcapd and into captures. The summary of `make test` shows how many agreed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::binaries::target_folder;
use catchment_e2e::kafka::{Framing, Topic};
use catchment_e2e::live::{
    Exporter, Flow, Nfcapd, Relay, differences, exporters, flows_by_tshark, make_traffic,
};
use catchment_e2e::node::{Node, Settings};
use catchment_e2e::wait::until;

/// Differences that are shown of one exporter.
const SHOWN: usize = 4;

/// What an exporter's datagrams came to.
struct Case {
    exporter: Exporter,
    address: IpAddr,
    datagrams: Vec<Vec<u8>>,
    /// Why it is no case.
    failure: Option<String>,
}

#[test]
fn records_are_what_tshark_and_nfdump_read() -> Result<()> {
    let mut here = exporters()?;
    let all = here.len();
    let has_ipv6 = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    here.retain(|exporter| exporter.is_here().unwrap_or(false) && (has_ipv6 || !exporter.is_ipv6()));
    if here.is_empty() || Command::new("tshark").arg("--version").output().is_err() {
        eprintln!("no exporters or no tshark on this machine: not run");
        return write_result("NOT RUN");
    }
    let folder = tempfile::tempdir()?;
    let topic = Topic::create("exporters", 1)?;
    let [output, brokers, name] = topic.settings();
    let listeners = if has_ipv6 { "listeners=127.0.0.1:0,[::1]:0" } else { "listeners=127.0.0.1:0" };
    let node = Settings::bare(&[listeners, &output, &brokers, &name])?.start()?;
    let nfcapd =
        Command::new("nfcapd").arg("-V").output().ok().map(|_| Nfcapd::start(&folder.path().join("nfcapd")));
    let nfcapd = nfcapd.transpose()?;

    let cases = run(here, &node, nfcapd.as_ref(), folder.path())?;
    let sent: u64 = cases.iter().map(|case| case.datagrams.len() as u64).sum();
    until("the node to read everything", || {
        let received = node.ledger()?.datagrams.received;
        Ok(if received == sent { Ok(()) } else { Err(format!("{received} of {sent}")) })
    })?;
    let stopped = node.stop()?;
    ensure!(stopped.ledger.datagrams.decoded == sent, "{:?}", stopped.ledger.datagrams);
    let delivered = stopped.ledger.flow()?.delivered;
    let messages = topic.with_records(Framing::Packed, usize::try_from(delivered)?)?;
    let mut found: BTreeMap<IpAddr, Vec<Flow>> = BTreeMap::new();
    for record in Framing::Packed.all(&messages)? {
        found.entry(address(&record.sampler_address)?).or_default().push(Flow::from(&record));
    }
    let stored = nfcapd.map(Nfcapd::finish).transpose()?;

    let mut agree = 0;
    let mut report = String::new();
    let mut failures = String::new();
    for case in &cases {
        let found = found.remove(&case.address).unwrap_or_default();
        if let Some(failure) = &case.failure {
            failures += &format!("; {}", failure.trim());
            continue;
        }
        let differences = differences_of(case, &found, stored.as_ref(), folder.path())?;
        agree += u64::from(differences.is_empty());
        for difference in differences.iter().take(SHOWN) {
            report += &format!("{}: {difference}\n", case.exporter.name);
        }
    }
    write_result(&format!("{agree} of {all}{failures}"))?;
    ensure!(report.is_empty(), "{report}");
    ensure!(found.is_empty(), "records of nobody: {found:?}");
    Ok(())
}

/// Runs all exporters at once, each behind a relay of its own.
fn run(exporters: Vec<Exporter>, node: &Node, nfcapd: Option<&Nfcapd>, folder: &Path) -> Result<Vec<Case>> {
    let traffic = folder.join("site.pcap");
    make_traffic(&traffic)?;
    let (Some(over_ipv4), Some(over_ipv6)) = (node.listeners().first(), node.listeners().last()) else {
        anyhow::bail!("no listeners")
    };
    let one = |number: u8, exporter: Exporter| -> Result<Case> {
        let address: IpAddr = if exporter.is_ipv6() {
            Ipv6Addr::LOCALHOST.into()
        } else {
            Ipv4Addr::new(127, 3, 0, number).into()
        };
        let mut targets = vec![if exporter.is_ipv6() { *over_ipv6 } else { *over_ipv4 }];
        targets.extend(nfcapd.filter(|_| nfdump_is_asked(&exporter)).map(Nfcapd::address));
        let relay = Relay::start(address, &targets)?;
        let ran = exporter.run(&folder.join(&exporter.name), &traffic, &relay);
        let datagrams = relay.finish()?;
        // What a machine lets no exporter do is no fault of the node; the summary names it.
        let failure = ran.err().map(|error| format!("{error:#}"));
        let failure =
            failure.or_else(|| datagrams.is_empty().then(|| format!("{} sent nothing", exporter.name)));
        Ok(Case { exporter, address, datagrams, failure })
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..)
            .zip(exporters)
            .map(|(number, exporter)| {
                let one = &one;
                scope.spawn(move || one(number, exporter))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow::anyhow!("it panicked"))?).collect()
    })
}

fn differences_of(
    case: &Case,
    found: &[Flow],
    stored: Option<&BTreeMap<IpAddr, Vec<Flow>>>,
    folder: &Path,
) -> Result<Vec<String>> {
    let Case { exporter, address, datagrams, .. } = case;
    let name = exporter.name.as_str();
    let expected = flows_by_tshark(datagrams, exporter.port, &folder.join(name))?;
    ensure!(!expected.is_empty(), "{name}: tshark read no flow");
    let mut all: Vec<_> =
        differences(found, &expected).into_iter().map(|each| format!("tshark: {each}")).collect();
    if let Some(stored) = stored.filter(|_| nfdump_is_asked(exporter)) {
        let expected = stored.get(address).with_context(|| format!("{name}: nfdump has nothing"))?;
        let common = |flows: &[Flow]| {
            flows.iter().map(|flow| in_common_with_nfdump(exporter, flow)).collect::<Vec<_>>()
        };
        let differing = differences(&common(found), &common(expected));
        all.extend(differing.into_iter().map(|each| format!("nfdump: {each}")));
    }
    println!("{name}: {} datagrams, {} records, {} differences", datagrams.len(), found.len(), all.len());
    Ok(all)
}

/// Debian's has no collector of sFlow, stores nothing of NetFlow v1, and listens on IPv4 only. Of Open vSwitch's records it takes
/// total counters for those of the flow, and leaves out what is not IP.
fn nfdump_is_asked(exporter: &Exporter) -> bool {
    let is_ovs_ipfix = exporter.name == "ipfix-openvswitch";
    !(exporter.is_sflow() || exporter.is_ipv6() || is_ovs_ipfix || exporter.name.starts_with("v1-"))
}

/// A flow without what nfdump 1.7 is known to have otherwise.
fn in_common_with_nfdump(exporter: &Exporter, flow: &Flow) -> Flow {
    let mut flow = flow.clone();
    if matches!(flow.protocol, 1 | 58) {
        // It has no ports for ICMP, and type and code are 0 where they came as the destination port.
        (flow.source_port, flow.destination_port) = (0, 0);
    }
    if exporter.name.ends_with("-biflow") {
        // The reverse direction's elements, which come later, replace these.
        (flow.tos, flow.tcp_flags) = (0, 0);
    }
    // Flows read from a file are of another time than sysUpTime: weeks after the datagram, or a wrap of 2^32 ms before that.
    for time in [&mut flow.start, &mut flow.end] {
        *time %= 1 << 32;
    }
    flow
}

fn address(octets: &[u8]) -> Result<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).context("an exporter's address")
}

fn write_result(result: &str) -> Result<()> {
    let path = target_folder()?.join("exporters.txt");
    std::fs::write(&path, format!("live exporters: {result}\n")).with_context(|| path.display().to_string())
}
