//! Outputs other than Kafka: JSON lines on standard output and in files that rotate, and nothing at all.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::binaries::binary;
use catchment_e2e::node::{Node, Settings};
use catchment_e2e::udp::Exporter;
use catchment_e2e::wait::until;
use catchment_e2e::{loadtest, testdata};
use serde_json::Value;

#[test]
fn standard_output_gets_what_decode_prints() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("stdout");
    let node = Settings::new(&["output=stdout"])?.stdout_to(fs::File::create(&path)?).start()?;
    replay(node)?;
    same_lines(&fs::read_to_string(&path)?)
}

#[test]
fn files_rotate_and_lose_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("flows.json");
    let setting = format!("file.path={}", path.display());
    let node = Node::start(&[
        "output=file",
        &setting,
        "file.rotate_bytes=64KiB",
        "file.keep=1000",
        "batch.bytes=4KiB",
    ])?;
    replay(node)?;
    let files = files(folder.path())?;
    ensure!(files.len() > 10, "{} files", files.len());
    let mut all = String::new();
    for file in files {
        let text = fs::read_to_string(&file)?;
        ensure!(text.len() <= 64 << 10, "{} has {} octets", file.display(), text.len());
        ensure!(text.ends_with('\n'), "{} is torn", file.display());
        all.push_str(&text);
    }
    same_lines(&all)
}

#[test]
fn only_so_many_old_files_are_kept() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let setting = format!("file.path={}", folder.path().join("flows.json").display());
    let node = Node::start(&[
        "output=file",
        &setting,
        "file.rotate_bytes=64KiB",
        "file.keep=2",
        "batch.bytes=4KiB",
    ])?;
    replay(node)?;
    let files = files(folder.path())?;
    ensure!(files.len() == 3, "{files:?}");
    Ok(())
}

#[test]
fn discard_takes_everything() -> Result<()> {
    replay(Node::start(&["output=discard", "udp.gro=off"])?)
}

#[test]
fn a_reader_of_standard_output_that_leaves_ends_the_node_quietly() -> Result<()> {
    let mut node = Settings::new(&["output=stdout"])?.pipe_stdout().start()?;
    let exporter = Exporter::new(node.udp()?)?;
    let datagrams = testdata::datagrams(&testdata::capture("v5-softflowd.pcap"))?;
    let datagram = datagrams.first().context("an empty capture")?;
    exporter.send(datagram)?;
    let mut reader = BufReader::new(node.take_stdout().context("standard output is a pipe")?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    serde_json::from_str::<Value>(&line)?;
    let live = node.check_live()?;
    drop(reader);
    until("the node to notice", || {
        exporter.send(datagram)?;
        let stops = node.log().contains("the reader of the output has left");
        Ok(if stops { Ok(()) } else { Err(node.log()) })
    })?;
    let stopped = node.ended(&live)?;
    ensure!(stopped.ledger.flow()?.dropped_reasons.contains_key("write_error"), "{:?}", stopped.ledger);
    ensure!(!stopped.log.contains("ERROR") && !stopped.log.contains("panic"), "{}", stopped.log);
    Ok(())
}

/// Replays all captures into the node and stops it: everything is decoded and delivered.
fn replay(node: Node) -> Result<()> {
    let captures = testdata::captures()?;
    let datagrams = loadtest::replay(node.udp()?, &captures)?;
    node.wait_received(datagrams)?;
    let ledger = node.stop()?.ledger;
    ensure!(ledger.datagrams.decoded == datagrams, "{ledger:?}");
    let flow = ledger.flow()?;
    ensure!(flow.delivered == flow.produced && flow.produced > 0, "{flow:?}");
    Ok(())
}

fn files(folder: &Path) -> Result<BTreeSet<std::path::PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

/// The lines say what `ingest-node decode` says, but for what depends on how and when the datagrams came.
fn same_lines(printed: &str) -> Result<()> {
    let output = Command::new(binary("ingest-node")?).arg("decode").args(testdata::captures()?).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = comparable(&String::from_utf8(output.stdout)?)?;
    let found = comparable(printed)?;
    ensure!(found.len() == expected.len(), "{} lines, not {}", found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        ensure!(found == expected, "found {found}\nexpected {expected}");
    }
    Ok(())
}

fn comparable(lines: &str) -> Result<Vec<String>> {
    let mut lines: Vec<_> = lines
        .lines()
        .map(|line| {
            let mut line: serde_json::Map<String, Value> = serde_json::from_str(line)?;
            for name in ["time_received_ns", "sampler_address", "agent_address"] {
                line.remove(name);
            }
            if line["type"] == "SFLOW_5" {
                for name in ["time_flow_start_ns", "time_flow_end_ns"] {
                    line.remove(name);
                }
            }
            Ok(Value::Object(line).to_string())
        })
        .collect::<Result<_>>()?;
    lines.sort();
    Ok(lines)
}
