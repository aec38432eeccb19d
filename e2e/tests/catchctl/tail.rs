//! Records as they are decoded.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use catchment_e2e::datagrams::{Protocol, v5};
use catchment_e2e::wait::{PATIENCE, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{cluster, fault, send};

/// Sends again and again until `read` has what it waits for: a stream that began after the first records sees later ones.
pub(super) fn while_sending<T>(
    send: impl Fn() -> Result<()> + Sync,
    read: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        let feeder = scope.spawn(|| -> Result<()> {
            while !enough.load(Ordering::Relaxed) {
                send()?;
                thread::park_timeout(Duration::from_millis(20));
            }
            Ok(())
        });
        let read = read();
        enough.store(true, Ordering::Relaxed);
        feeder.join().map_err(|_| anyhow!("the feeder panicked"))??;
        read
    })
}

#[test]
fn records_are_tailed_from_all_nodes() -> Result<()> {
    let (_coordinator, nodes, catchctl) = cluster(["node-1", "node-2"])?;
    let mut tail = catchctl.start(&["tail", "--exporter", "127.0.0.1", "--prefix", "10.0.0.0/30"])?;
    let lines = BufReader::new(tail.stdout.take().context("a pipe")?).lines();
    let (sender, received) = mpsc::sync_channel(1024);
    thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let exporters = [send(&nodes[0], 0..8)?, send(&nodes[1], 0..8)?];
    let again = || exporters.iter().try_for_each(|exporter| exporter.send(&Protocol::V9.data(0..8)));
    let read = while_sending(again, || from_two_nodes(&received))?;
    let in_prefix =
        |source: &String| ["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3"].contains(&source.as_str());
    ensure!(read.iter().all(in_prefix), "{read:?}");
    kill(Pid::from_raw(tail.id().cast_signed()), Signal::SIGINT)?;
    let status = until("tail to end", || Ok(tail.try_wait()?.ok_or_else(|| "it runs".to_owned())))?;
    ensure!(status.code() == Some(0), "{status}");
    nodes.into_iter().try_for_each(|node| node.stop().map(drop))
}

/// Source addresses of records until both nodes have sent some.
fn from_two_nodes(lines: &mpsc::Receiver<String>) -> Result<Vec<String>> {
    let (mut nodes, mut sources) = (BTreeSet::new(), Vec::new());
    while nodes.len() < 2 {
        let line = lines.recv_timeout(PATIENCE).with_context(|| format!("only from {nodes:?}"))?;
        let record: Value = serde_json::from_str(&line)?;
        nodes.insert(record["collector_node"].to_string());
        sources.push(record["src_addr"].as_str().unwrap_or_default().to_owned());
    }
    Ok(sources)
}

#[test]
fn filters_choose_and_a_limit_ends() -> Result<()> {
    let (_coordinator, nodes, catchctl) = cluster(["node-1"])?;
    let exporter = send(&nodes[0], 0..8)?;
    let again = || -> Result<()> {
        exporter.send(&Protocol::V9.data(0..8))?;
        exporter.send(&v5(&[(6, 50_000, 443), (17, 50_001, 53), (6, 50_002, 25)]))
    };
    let tailed = |filter: &[&str]| -> Result<Vec<Value>> {
        let arguments = [&["tail", "--limit", "4"], filter].concat();
        let ended = while_sending(again, || catchctl.run(&arguments))?;
        ensure!(ended.code == Some(0) && ended.out.lines().count() == 4, "{arguments:?}: {ended:?}");
        Ok(ended.out.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    };
    for (filter, key, value) in [
        (&["--port", "53"][..], "dst_port", Value::from(53)),
        (&["--port", "50002", "--protocol", "tcp"], "dst_port", Value::from(25)),
        (&["--protocol", "17"], "proto", Value::from("UDP")),
        (&["--template", "256"], "type", Value::from("NETFLOW_V9")),
        (&["--node", "node-1", "--zone", "", "--prefix", "10.0.0.5"], "src_addr", Value::from("10.0.0.5")),
        (&["--exporter", "127.0.0.1", "--port", "443"], "src_port", Value::from(50_000)),
    ] {
        let records = tailed(filter)?;
        ensure!(records.iter().all(|record| record[key] == value), "{filter:?}: {records:?}");
    }
    let yaml = while_sending(again, || catchctl.run(&["tail", "--limit", "1", "-o", "yaml"]))?;
    ensure!(yaml.code == Some(0) && yaml.out.contains("sampler_address: \"127.0.0.1\""), "{yaml:?}");
    fault(&catchctl.run(&["tail", "--node", "node-2"])?, 2, "did you mean `node-1`?")?;
    nodes.into_iter().try_for_each(|node| node.stop().map(drop))
}
