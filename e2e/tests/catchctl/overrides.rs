//! What people know of exporters better than they say it, told to all nodes while they decode.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::catchctl::Catchctl;
use catchment_e2e::datagrams::{Protocol, v5};
use catchment_e2e::node::{Node, Settings};
use catchment_e2e::udp::Exporter;
use catchment_e2e::wait::until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{coordinator, fault, node, ok, wait_for_nodes};

/// Records of one datagram of the exporter.
const RECORDS: u32 = 8;

/// The lines of a file that are whole, as JSON.
fn records(path: &std::path::Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Sends datagrams until one of their records satisfies `seen`; says how many were sent.
fn send_until(
    exporter: &Exporter,
    path: &std::path::Path,
    what: &str,
    seen: impl Fn(&Value) -> bool,
) -> Result<u64> {
    let mut sent = 0;
    until(what, || {
        exporter.send(&Protocol::Ipfix.data(0..RECORDS))?;
        sent += 1;
        let records = records(path)?;
        Ok(records.iter().any(&seen).then_some(()).ok_or_else(|| format!("{:?}", records.last())))
    })?;
    Ok(sent)
}

#[test]
fn the_cluster_changes_rates_and_field_maps_while_nodes_decode_and_loses_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let coordinator = coordinator(&[])?;
    let catchctl = Catchctl::of_coordinators(&[coordinator.grpc()]);
    let paths = ["node-1", "node-2"].map(|id| folder.path().join(id));
    let nodes: Vec<Node> = ["node-1", "node-2"]
        .iter()
        .zip(&paths)
        .map(|(id, path)| node(id, &coordinator, &["output=file", &format!("file.path={}", path.display())]))
        .collect::<Result<_>>()?;
    wait_for_nodes(&catchctl, 2)?;
    let exporters: Vec<Exporter> = nodes
        .iter()
        .map(|node| {
            let exporter = Exporter::new(node.udp()?)?;
            exporter.send(&Protocol::Ipfix.template())?;
            Ok(exporter)
        })
        .collect::<Result<_>>()?;
    let mut sent = [1_u64; 2];
    let mut each_sees = |what: &str, seen: &dyn Fn(&Value) -> bool| -> Result<()> {
        for (at, (exporter, path)) in exporters.iter().zip(&paths).enumerate() {
            sent[at] += send_until(exporter, path, what, seen)?;
        }
        Ok(())
    };
    each_sees("records as they are", &|record| record["packets"] == 1 && record["sampling_rate"].is_null())?;

    let wanted = "exporter.overrides=[{prefix: 127.0.0.0/8, sampling_rate: 4242, fields: [2=tunnel_id]}]";
    let set = catchctl.run(&["config", "set", wanted, "-m", "routers say no rate"])?;
    ok(&set)?;
    ensure!(set.out.contains("+") && set.out.contains("sampling_rate: 4242"), "{set:?}");
    each_sees("records with what is known", &|record| {
        record["sampling_rate"] == 4242 && record["tunnel_id"] == 1 && record["packets"].is_null()
    })?;
    for (wrong, said) in [
        ("exporter.overrides=[{prefix: 127.0.0.0/8, fields: [2=src_sgtt]}]", "did you mean `src_sgt`?"),
        ("exporter.overrides=[{prefix: 127.0.0.1/8}]", "the network is 127.0.0.0/8"),
        ("exporter.overrides=[{prefix: 127.0.0.0/8, fields: [82=src_sgt]}]", "interfaceName is text"),
    ] {
        let refused = catchctl.run(&["config", "set", wrong])?;
        ensure!(refused.code == Some(1), "{refused:?}");
        ensure!(refused.err.contains("node-1") && refused.err.contains(said), "{refused:?}");
    }
    let misspelt = "exporter.overrides=[{prefix: 127.0.0.0/8, sampling_rat: 1}]";
    fault(
        &catchctl.run(&["config", "set", misspelt])?,
        2,
        "did you mean `exporter.overrides[].sampling_rate`?",
    )?;
    ensure!(catchctl.json(&["node", "node-2"])?["config_revision"] == 1, "a refused change left something");
    ok(&catchctl.run(&["config", "set", "--unset", "exporter.overrides", "exporter.keep_unknown=on"])?)?;
    let last = |path: &std::path::Path| records(path).map(|records| records.last().cloned());
    for (at, (exporter, path)) in exporters.iter().zip(&paths).enumerate() {
        sent[at] += until("records as they were", || {
            exporter.send(&Protocol::Ipfix.data(0..RECORDS))?;
            let last = last(path)?.unwrap_or_default();
            sent[at] += 1;
            Ok(if last["sampling_rate"].is_null() && last["packets"] == 1 {
                Ok(0)
            } else {
                Err(last.to_string())
            })
        })?;
    }
    for ((node, path), sent) in nodes.into_iter().zip(&paths).zip(sent) {
        let ended = node.stop()?;
        let datagrams = &ended.ledger.datagrams;
        ensure!((datagrams.received, datagrams.kernel_dropped, datagrams.decoded) == (sent, 0, sent));
        let records = records(path)?;
        ensure!(records.len() as u64 == (sent - 1) * u64::from(RECORDS), "{} of {sent}", records.len());
        // Each record is made by one of the two ways, none half by one and half by the other.
        let ways: BTreeSet<(bool, bool)> = records
            .iter()
            .map(|record| (record["sampling_rate"] == 4242, record["tunnel_id"] == 1))
            .collect();
        ensure!(ways == BTreeSet::from([(false, false), (true, true)]), "{ways:?}");
    }
    Ok(())
}

#[test]
fn a_file_that_is_read_again_changes_them_too() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (config, output) = (folder.path().join("node.yaml"), folder.path().join("records"));
    let write = |exporter: &str| -> Result<()> {
        let text = format!(
            "node: {{workers: 1}}\nlisteners: ['127.0.0.1:0']\noutput: file\nfile: {{path: '{}'}}\n{exporter}",
            output.display()
        );
        Ok(fs::write(&config, text)?)
    };
    write("")?;
    let node = Settings::bare(&[])?.config(&config).start()?;
    let exporter = Exporter::new(node.udp()?)?;
    let rate_seen = |rate: Option<u64>| {
        until("the rate", || {
            exporter.send(&v5(&[(6, 1, 2)]))?;
            let last = records(&output)?.last().cloned().context("no record").unwrap_or_default();
            let seen = last.is_object() && last["sampling_rate"].as_u64() == rate;
            Ok(if seen { Ok(()) } else { Err(last.to_string()) })
        })
    };
    rate_seen(None)?;
    write("exporter: {overrides: [127.0.0.1 sampling_rate=77]}\n")?;
    kill(Pid::from_raw(node.pid().cast_signed()), Signal::SIGHUP)?;
    rate_seen(Some(77))?;
    write("exporter: {overrides: [127.0.0.1 sampling_rate=many]}\n")?;
    kill(Pid::from_raw(node.pid().cast_signed()), Signal::SIGHUP)?;
    node.wait_log("exporter.overrides[0].sampling_rate")?;
    rate_seen(Some(77))?;
    write("")?;
    kill(Pid::from_raw(node.pid().cast_signed()), Signal::SIGHUP)?;
    rate_seen(None)?;
    node.stop().map(drop)
}
