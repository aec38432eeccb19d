//! What the kernel drops is counted: sent = received + kernel dropped, exactly where GRO is off.

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::node::Node;
use catchment_e2e::testdata;
use catchment_e2e::udp::Exporter;
use nix::sys::signal::Signal;

const SENT: u64 = 2_000;

#[test]
fn datagrams_that_a_halted_node_cannot_take_are_counted() -> Result<()> {
    let node = Node::start(&["udp.gro=off", "udp.receive_buffer=64KiB"])?;
    let exporter = Exporter::new(node.udp()?)?;
    let datagrams = testdata::datagrams(&testdata::capture("v5-pmacctd.pcap"))?;
    let datagram = datagrams.first().context("an empty capture")?;
    node.signal(Signal::SIGSTOP)?;
    for _ in 0..SENT {
        exporter.send(datagram)?;
    }
    node.signal(Signal::SIGCONT)?;
    node.wait_ledger("all datagrams to be accounted for", |ledger| ledger.datagrams.arrived == SENT)?;
    let datagrams = node.stop()?.ledger.datagrams;
    ensure!(datagrams.arrived == SENT, "{datagrams:?}");
    ensure!(datagrams.kernel_dropped > 0 && datagrams.received > 0, "{datagrams:?}");
    Ok(())
}
