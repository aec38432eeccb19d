//! Ports: one that is taken is refused and its holder named; without any configuration the three known ports are opened.

use std::net::{Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::node::{Node, Settings};
use catchment_e2e::testdata;
use catchment_e2e::udp::Exporter;

/// NetFlow, IPFIX, sFlow.
const DEFAULT_PORTS: [u16; 3] = [2055, 4739, 6343];
const DEFAULT_HTTP: u16 = 8081;
const DEFAULT_GRPC: u16 = 7401;

#[test]
fn a_taken_port_is_refused_and_its_holder_named() -> Result<()> {
    let holder = UdpSocket::bind("127.0.0.1:0")?;
    let command = std::fs::read_to_string("/proc/self/comm")?;
    refused_for(holder.local_addr()?, &format!("pid {} ({})", std::process::id(), command.trim()))
}

#[test]
fn a_holder_with_so_reuseport_is_named_too() -> Result<()> {
    let holder = Node::start(&["node.workers=2"])?;
    refused_for(holder.udp()?, &format!("pid {} (ingest-node)", holder.pid()))?;
    // With both asking for it, the port is shared.
    let sharing = ["listeners_shared=on", "output=discard"];
    let first = Node::start(&sharing)?;
    let listener = format!("listeners={}", first.udp()?);
    let second = Settings::bare(&[&sharing[..], &[&listener]].concat())?.start()?;
    for node in [holder, first, second] {
        node.stop()?;
    }
    Ok(())
}

fn refused_for(address: SocketAddr, holder: &str) -> Result<()> {
    let (status, log) = Settings::bare(&["output=discard", &format!("listeners={address}")])?.refuse()?;
    ensure!(!status.success(), "{status}");
    let complaint = format!("udp {address} is in use by {holder}");
    ensure!(log.contains(&complaint), "not {complaint:?} but {log}");
    Ok(())
}

#[test]
fn a_taken_tcp_port_names_the_key_and_the_holder() -> Result<()> {
    let holder = TcpListener::bind("127.0.0.1:0")?;
    let address = holder.local_addr()?;
    for key in ["node.http", "node.grpc", "health.listen"] {
        let (status, log) = Settings::new(&[&format!("{key}={address}")])?.refuse()?;
        let said = format!("{key}: tcp {address} is in use by pid {} (", std::process::id());
        ensure!(!status.success() && log.contains(&said), "{status}: not {said:?} but {log}");
    }
    Ok(())
}

#[test]
fn without_any_configuration_it_listens_and_prints_json_lines() -> Result<()> {
    if let Err(error) = default_ports_are_free() {
        eprintln!("not run: the node's default ports are not free: {error:#}");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let printed = folder.path().join("stdout");
    let http = SocketAddr::from(([127, 0, 0, 1], DEFAULT_HTTP));
    let node = Settings::nothing(http)?.stdout_to(std::fs::File::create(&printed)?).start()?;
    // Any listener takes any protocol.
    let mut records = 0;
    for port in DEFAULT_PORTS {
        let datagrams = testdata::datagrams(&testdata::capture("v5-softflowd.pcap"))?;
        let datagram = datagrams.first().context("an empty capture")?;
        records += usize::from(u16::from_be_bytes([datagram[2], datagram[3]]));
        Exporter::new(([127, 0, 0, 1], port).into())?.send(datagram)?;
    }
    let v6 = testdata::datagrams(&testdata::capture("v1-softflowd.pcap"))?;
    let datagram = v6.first().context("an empty capture")?;
    records += usize::from(u16::from_be_bytes([datagram[2], datagram[3]]));
    Exporter::at(Ipv6Addr::LOCALHOST.into(), (Ipv6Addr::LOCALHOST, DEFAULT_PORTS[0]).into())?
        .send(datagram)?;

    node.wait_received(4)?;
    let ledger = node.stop()?.ledger;
    ensure!(ledger.flow()?.delivered == records as u64, "{records} sent: {ledger:?}");
    let printed = std::fs::read_to_string(printed)?;
    let lines: Vec<serde_json::Value> =
        printed.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(lines.len() == records, "{} lines", lines.len());
    // IPv4 exporters are shown as IPv4, though the socket is an IPv6 one.
    let samplers: Vec<_> = lines.iter().filter_map(|line| line["sampler_address"].as_str()).collect();
    ensure!(samplers.contains(&"127.0.0.1") && samplers.contains(&"::1"), "{samplers:?}");
    Ok(())
}

fn default_ports_are_free() -> Result<()> {
    for port in DEFAULT_PORTS {
        UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).with_context(|| format!("udp {port}"))?;
    }
    for port in [DEFAULT_HTTP, DEFAULT_GRPC] {
        TcpListener::bind(("0.0.0.0", port)).with_context(|| format!("tcp {port}"))?;
    }
    Ok(())
}
