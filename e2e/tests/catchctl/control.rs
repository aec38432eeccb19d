//! What is asked for: pauses, log levels, configuration, the end of a node.

use anyhow::{Result, ensure};
use catchment_e2e::catchctl::Catchctl;
use catchment_e2e::datagrams::Protocol;
use catchment_e2e::udp::Exporter;

use super::{cluster, coordinator, fault, node, ok, send, wait_for_nodes, wait_state};

#[test]
fn a_node_is_paused_and_resumed_and_what_it_did_not_read_is_counted() -> Result<()> {
    let coordinator = coordinator(&[])?;
    // Room for few datagrams while nobody reads.
    let node = node("node-1", &coordinator, &["udp.receive_buffer=64KiB", "udp.gro=off"])?;
    let catchctl = Catchctl::of_coordinators(&[coordinator.grpc()]);
    wait_for_nodes(&catchctl, 1)?;
    let exporter = send(&node, 0..3)?;
    node.wait_ledger("records before the pause", |ledger| {
        ledger.flow().is_ok_and(|flow| flow.delivered == 3)
    })?;
    ok(&catchctl.run(&["pause", "node-1", "--source", "flow"])?)?;
    wait_state(&catchctl, "node-1", "paused")?;
    fault(&catchctl.run(&["pause", "node-1", "--source", "flwo"])?, 2, "did you mean `flow`?")?;
    ensure!(catchctl.run(&["health"])?.out.contains("paused"));
    // More than the buffer can hold, whatever the kernel makes of 64 KiB.
    let datagrams = 4_000;
    for _ in 0..datagrams {
        exporter.send(&Protocol::V9.data(0..30))?;
    }
    let lost = catchctl.wait_json("what was not read in the accounts", &["stats", "node-1"], |stats| {
        stats["total"]["ledger"]["datagrams"]["kernel_dropped"].as_u64().is_some_and(|lost| lost > 0)
    })?;
    ensure!(lost["total"]["ledger"]["balanced"] == true, "{lost}");
    ok(&catchctl.run(&["resume", "--all"])?)?;
    wait_state(&catchctl, "node-1", "running")?;
    let arrived = |ledger: &catchment_e2e::ledger::Ledger| {
        let counted = &ledger.datagrams;
        counted.received + counted.kernel_dropped == datagrams + 2 && counted.received > 2
    };
    node.wait_ledger("every datagram to be read or counted", arrived)?;
    node.stop().map(drop)
}

#[test]
fn levels_of_log_lines_change_and_go_back() -> Result<()> {
    let (_coordinator, nodes, catchctl) = cluster(["node-1"])?;
    let taken_over = |wanted: &str| {
        catchctl.wait_json("the log level to be taken over", &["node", "node-1"], |node| {
            let level = node["desired"]["log_level"].as_str().unwrap_or_default();
            level == wanted && node["desired_revision"] == node["desired"]["revision"]
        })
    };
    ok(&catchctl.run(&["log-level", "node-1", "debug"])?)?;
    taken_over("debug")?;
    nodes[0].wait_log("log level is set from outside")?;
    ok(&catchctl.run(&["log-level", "--all", "default"])?)?;
    taken_over("")?;
    nodes.into_iter().try_for_each(|node| node.stop().map(drop))
}

#[test]
fn the_configuration_has_revisions_and_is_everyones_or_nobodys() -> Result<()> {
    let (_coordinator, nodes, catchctl) = cluster(["node-1", "node-2"])?;
    let get = || catchctl.run(&["config", "get"]).map(|ended| ended.out);
    let empty = "# the cluster's configuration is empty: nodes run with their own\n";
    let checked = catchctl.run(&["config", "set", "log.level=warn", "--check"])?;
    ok(&checked)?;
    ensure!(checked.out.contains("+  level: warn") && get()? == empty, "{checked:?}");

    let set = catchctl.run(&["config", "set", "log.level=warn", "-m", "too loud"])?;
    ok(&set)?;
    ensure!(set.out.contains("+  level: warn") && set.out.contains("node-2: takes it"), "{set:?}");
    ensure!(get()? == "log:\n  level: warn\n");
    ok(&catchctl.run(&["config", "set", "metrics.top_exporters=7"])?)?;

    let refused = catchctl.run(&["config", "set", "log.level=loud"])?;
    ensure!(
        refused.code == Some(1) && refused.err.contains("node-1") && refused.err.contains("log.level"),
        "{refused:?}"
    );
    let fixed = catchctl.run(&["config", "set", "kafka.topic=x"])?;
    ensure!(fixed.code == Some(1) && fixed.err.contains("needs a restart of the node"), "{fixed:?}");
    ensure!(get()? == "log:\n  level: warn\nmetrics:\n  top_exporters: 7\n", "{}", get()?);
    for node in ["node-1", "node-2"] {
        let node = catchctl.json(&["node", node])?;
        ensure!(node["config_revision"] == 2, "{node}");
    }

    let history = catchctl.json(&["config", "history"])?;
    let revisions = history["revisions"].as_array().map(Vec::as_slice).unwrap_or_default();
    ensure!(revisions.len() == 2 && revisions[1]["comment"] == "too loud", "{history}");
    let first = catchctl.run(&["config", "get", "--revision", "1"])?;
    ensure!(first.out == "log:\n  level: warn\n", "{first:?}");
    fault(&catchctl.run(&["config", "get", "--revision", "99"])?, 2, "99")?;
    let late = catchctl.run(&["config", "set", "log.level=info", "--expect-revision", "1"])?;
    ensure!(late.code == Some(1) && late.err.contains("revision"), "{late:?}");
    ok(&catchctl.run(&["config", "set", "--unset", "log.level", "--unset", "metrics.top_exporters"])?)?;
    ensure!(get()? == empty, "{}", get()?);
    nodes.into_iter().try_for_each(|node| node.stop().map(drop))
}

#[test]
fn a_drained_node_delivers_and_ends() -> Result<()> {
    let (_coordinator, [node], catchctl) = cluster(["node-1"])?;
    let _exporter = send(&node, 0..5)?;
    fault(&catchctl.run(&["drain", "node-2"])?, 2, "did you mean `node-1`?")?;
    let live = node.check_live()?;
    ok(&catchctl.run(&["drain", "node-1", "-m", "new disk"])?)?;
    let ended = node.ended(&live)?;
    ensure!(
        ended.log.contains("the cluster wants it") && ended.ledger.flow()?.delivered == 5,
        "{}",
        ended.log
    );
    Ok(())
}

#[test]
fn what_waits_for_its_template_gets_less_room_without_a_restart() -> Result<()> {
    let (_coordinator, [node], catchctl) = cluster(["node-1"])?;
    let exporter = Exporter::new(node.udp()?)?;
    exporter.send(&Protocol::Ipfix.data(0..5))?;
    node.wait_ledger("a set that waits", |ledger| ledger.sets.pending == 1)?;
    ok(&catchctl.run(&["config", "set", "pending.bytes=0"])?)?;
    node.wait_ledger("no room", |ledger| (ledger.sets.pending, ledger.sets.evicted) == (0, 1))?;
    exporter.send(&Protocol::Ipfix.data(5..9))?;
    node.wait_ledger("a set that may not wait", |ledger| ledger.sets.rejected == 1)?;
    ok(&catchctl.run(&["config", "set", "--unset", "pending.bytes"])?)?;
    exporter.send(&Protocol::Ipfix.data(9..12))?;
    node.wait_ledger("a set that waits again", |ledger| ledger.sets.pending == 1)?;
    exporter.send(&Protocol::Ipfix.template())?;
    let stopped = node.stop()?;
    ensure!(stopped.ledger.flow()?.delivered == 3, "{:?}", stopped.ledger);
    Ok(())
}
