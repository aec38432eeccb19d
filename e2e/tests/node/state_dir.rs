//! `state.dir`: what a node knows of exporters outlives it, however it ends, and a file that is damaged does not stop it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::datagrams::Protocol;
use catchment_e2e::node::{Node, Settings};
use catchment_e2e::udp::Exporter;
use catchment_e2e::wait::until;
use nix::sys::signal::Signal;
use tempfile::TempDir;

const FILE: &str = "exporters.state";

fn setting(folder: &Path) -> String {
    format!("state.dir={}", folder.display())
}

/// A node that has learnt a template and saved it.
fn learnt(folder: &TempDir) -> Result<Node> {
    let node = Node::start(&[&setting(folder.path())])?;
    Exporter::new(node.udp()?)?.send(&Protocol::Ipfix.template())?;
    until("the file", || {
        let saved = node.metrics()?.count("catchment_state_saves_total", &[("outcome", "done")])?;
        Ok(if saved >= 1 { Ok(()) } else { Err(format!("{saved} saves: {}", node.log())) })
    })?;
    Ok(node)
}

/// Data alone, to a node that remembers its template.
fn decodes_data_alone(folder: &Path) -> Result<()> {
    let node = Node::start(&[&setting(folder)])?;
    Exporter::new(node.udp()?)?.send(&Protocol::Ipfix.data(1..11))?;
    node.wait_ledger("the data to be decoded", |ledger| ledger.sets.decoded == 1)?;
    let ledger = node.stop()?.ledger;
    ensure!(ledger.datagrams.decoded == 1, "{ledger:?}");
    Ok(())
}

#[test]
fn a_node_that_was_told_to_stop_remembers() -> Result<()> {
    let folder = TempDir::new()?;
    learnt(&folder)?.stop()?;
    decodes_data_alone(folder.path())
}

#[test]
fn what_is_learnt_shortly_before_the_end_is_saved_at_the_end() -> Result<()> {
    let folder = TempDir::new()?;
    let node = learnt(&folder)?;
    Exporter::new(node.udp()?)?.send(&Protocol::V9.template())?;
    node.wait_received(2)?;
    node.stop()?;
    let node = Node::start(&[&setting(folder.path())])?;
    let templates = node.metrics()?.count("catchment_templates", &[])?;
    ensure!(templates == 2, "{templates} templates");
    node.stop()?;
    Ok(())
}

/// Once after a save, once while the next file was being written, once before it got its name.
#[test]
fn a_node_that_was_killed_remembers() -> Result<()> {
    let folder = TempDir::new()?;
    let node = learnt(&folder)?;
    node.signal(Signal::SIGKILL)?;
    drop(node);
    decodes_data_alone(folder.path())?;
    let whole = fs::read(folder.path().join(FILE))?;
    for left in [&whole[..whole.len() - 9], &whole[..]] {
        fs::write(folder.path().join("exporters.state.new"), left)?;
        decodes_data_alone(folder.path())?;
    }
    Ok(())
}

#[test]
fn a_damaged_file_is_named_and_set_aside() -> Result<()> {
    let folder = TempDir::new()?;
    learnt(&folder)?.stop()?;
    let path = folder.path().join(FILE);
    let mut octets = fs::read(&path)?;
    octets[20] ^= 1;
    fs::write(&path, &octets)?;
    let node = Node::start(&[&setting(folder.path())])?;
    let line = node.wait_log("state file cannot be used")?;
    for part in [path.to_str().context("a path in UTF-8")?, "\"offset\":16", "checksum", "ERROR"] {
        ensure!(line.contains(part), "{part} is not in {line}");
    }
    ensure!(node.metrics()?.count("catchment_templates", &[])? == 0, "it was used all the same");
    node.stop()?;
    ensure!(fs::read(folder.path().join("exporters.state.damaged"))? == octets, "it was not kept");
    Ok(())
}

#[test]
fn a_folder_that_cannot_be_used_is_refused_with_its_key() -> Result<()> {
    let folder = TempDir::new()?;
    let file = folder.path().join("file");
    fs::write(&file, "")?;
    let refused = |setting: &str| -> Result<String> {
        let (status, text) = Settings::new(&[setting])?.refuse()?;
        ensure!(status.code() == Some(64), "{status}: {text}");
        Ok(text)
    };
    let text = refused(&setting(&file.join("below")))?;
    ensure!(text.contains("--set state.dir: state.dir: cannot write in"), "{text}");
    let node = Node::start(&[&setting(folder.path())])?;
    let text = refused(&setting(folder.path()))?;
    ensure!(text.contains("in use by another process"), "{text}");
    node.stop()?;
    Ok(())
}
