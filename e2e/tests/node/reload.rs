//! Allow lists, and SIGHUP: what can change without a restart is taken over from the file.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::node::{Node, Settings};
use catchment_e2e::testdata;
use catchment_e2e::udp::Exporter;
use catchment_e2e::wait::until;
use nix::sys::signal::Signal;

const TRUSTED: [u8; 4] = [127, 0, 0, 2];
const STRANGER: [u8; 4] = [127, 0, 0, 3];

#[test]
fn an_allow_list_refuses_strangers_until_a_reload_lets_them_in() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("node.yaml");
    write(&file, "127.0.0.2/32", "info")?;
    let node = Settings::new(&[])?.config(&file).start()?;
    let datagrams = testdata::datagrams(&testdata::capture("v5-softflowd.pcap"))?;
    let datagram = datagrams.first().context("an empty capture")?;
    let exporter = |address: [u8; 4]| Exporter::at(address.into(), node.udp()?);
    let (trusted, stranger) = (exporter(TRUSTED)?, exporter(STRANGER)?);

    trusted.send(datagram)?;
    stranger.send(datagram)?;
    let ledger = node.wait_received(2)?;
    ensure!(ledger.datagrams.decoded == 1, "{ledger:?}");
    ensure!(ledger.datagrams.rejected_reasons.get("not_allowed") == Some(&1), "{ledger:?}");

    // The level goes first, so that nothing is said of a reload that lets errors only through.
    write(&file, "127.0.0.0/8", "error")?;
    node.signal(Signal::SIGHUP)?;
    until("the stranger to be let in", || {
        stranger.send(datagram)?;
        let decoded = node.ledger()?.datagrams.decoded;
        Ok(if decoded > 1 { Ok(()) } else { Err(format!("{decoded} decoded")) })
    })?;
    ensure!(!node.log().contains("configuration reloaded"), "{}", node.log());

    write(&file, "127.0.0.2/32", "info")?;
    node.signal(Signal::SIGHUP)?;
    node.wait_log("configuration reloaded")?;
    node.stop()?;
    Ok(())
}

#[test]
fn a_reload_that_cannot_be_changes_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("node.yaml");
    write(&file, "127.0.0.2/32", "info")?;
    let node = Settings::new(&[])?.config(&file).start()?;

    fs::write(&file, "sources:\n  flow:\n    listenres: []\n")?;
    node.signal(Signal::SIGHUP)?;
    let line = node.wait_log("configuration not reloaded")?;
    ensure!(line.contains("node.yaml:3:") && line.contains("sources.flow.listeners"), "{line}");

    fs::write(&file, "sources:\n  flow:\n    listeners: [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n")?;
    node.signal(Signal::SIGHUP)?;
    node.wait_log("needs a restart")?;
    check_still_refusing(&node)?;
    node.stop()?;
    Ok(())
}

fn check_still_refusing(node: &Node) -> Result<()> {
    let before = node.ledger()?.datagrams.rejected;
    Exporter::at(STRANGER.into(), node.udp()?)?.send(b"anything")?;
    node.wait_ledger("the stranger to be refused", |ledger| ledger.datagrams.rejected == before + 1)?;
    Ok(())
}

fn write(file: &Path, allow: &str, level: &str) -> Result<()> {
    let text = format!(
        "log:\n  level: {level}\n\
         sources:\n  flow:\n    listeners:\n      - address: \"127.0.0.1:0\"\n        allow: [{allow}]\n"
    );
    fs::write(file, text)?;
    Ok(())
}
