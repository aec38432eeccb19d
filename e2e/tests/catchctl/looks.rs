//! What is shown: nodes, exporters, templates, health, accounts, and mistakes of the person who asks.

use std::io::{BufRead as _, BufReader};

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::catchctl::Catchctl;
use catchment_e2e::node::Node;
use catchment_e2e::wait::until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::{cluster, fault, ok, send};

#[test]
fn a_cluster_is_seen_as_it_is() -> Result<()> {
    let (_coordinator, nodes, catchctl) = cluster(["node-1", "node-2"])?;
    let listed = catchctl.json(&["nodes"])?;
    ensure!(listed["nodes"][1]["id"] == "node-2", "{listed}");
    ok(&catchctl.run(&["health"])?)?;

    let _exporter = send(&nodes[0], 0..5)?;
    catchctl.wait_json("the records in the accounts", &["stats"], |answer| {
        let streams = answer["total"]["ledger"]["streams"].as_array();
        let flow = streams.and_then(|streams| streams.iter().find(|stream| stream["stream"] == "flow"));
        flow.is_some_and(|flow| flow["delivered"] == 5) && answer["total"]["ledger"]["balanced"] == true
    })?;
    let templates =
        catchctl.wait_json("the template in the cluster", &["templates", "--fields"], |answer| {
            answer["templates"].as_array().is_some_and(|templates| !templates.is_empty())
        })?;
    let template = &templates["templates"][0];
    ensure!(template["key"]["exporter"] == "127.0.0.1" && template["id"] == 256, "{template}");
    ensure!(template["fields"][0]["specifier"]["id"] == 8, "{template}");
    let here = ["exporters", "--prefix", "127.0.0.0/8"];
    catchctl.wait_json("the exporter", &here, |answer| answer["exporters"][0]["address"] == "127.0.0.1")?;
    let elsewhere = catchctl.json(&["exporters", "--prefix", "192.0.2.0/24"])?;
    ensure!(elsewhere["exporters"] == json!([]), "{elsewhere}");
    let top = catchctl.run(&["top", "--once"])?;
    ok(&top)?;
    ensure!(top.out.contains("node-1") && top.out.contains("node-2"), "{top:?}");
    let prom = catchctl.run(&["health", "-o", "prom"])?;
    ensure!(prom.out.contains("catchctl_node_health{node=\"node-1\",status=\"ok\"} 1\n"), "{prom:?}");

    fault(&catchctl.run(&["node", "nod-1"])?, 2, "did you mean `node-1`?")?;
    fault(&catchctl.run(&["stats", "node-3"])?, 2, "did you mean `node-")?;
    every_look_has_every_form(&catchctl)?;
    nodes.into_iter().try_for_each(|node| node.stop().map(drop))
}

fn every_look_has_every_form(catchctl: &Catchctl) -> Result<()> {
    for command in [
        &["nodes"][..],
        &["node", "node-1"],
        &["exporters"],
        &["templates"],
        &["stats"],
        &["stats", "node-1"],
        &["listeners"],
        &["health"],
        &["config", "history"],
        &["version"],
    ] {
        for form in ["table", "yaml", "json"] {
            let ended = catchctl.run(&[command, &["-o", form]].concat())?;
            ok(&ended)?;
            ensure!(!ended.out.is_empty(), "{command:?} -o {form}");
        }
    }
    Ok(())
}

#[test]
fn without_a_terminal_top_is_a_line_for_each_look() -> Result<()> {
    let (_coordinator, nodes, catchctl) = cluster(["node-1"])?;
    let mut top = catchctl.start(&["top", "--interval", "200ms"])?;
    let lines = BufReader::new(top.stdout.take().context("a pipe")?).lines();
    let lines: Vec<String> = lines.take(3).collect::<Result<_, _>>()?;
    ensure!(lines.iter().all(|line| !line.is_empty() && !line.contains('\u{1b}')), "{lines:?}");
    kill(Pid::from_raw(top.id().cast_signed()), Signal::SIGINT)?;
    let status = until("top to end", || Ok(top.try_wait()?.ok_or_else(|| "it runs".to_owned())))?;
    ensure!(status.code() == Some(0), "{status}");
    nodes.into_iter().try_for_each(|node| node.stop().map(drop))
}

#[test]
fn mistakes_of_the_command_are_said_in_one_line_with_what_was_meant() -> Result<()> {
    let (coordinator, nodes, catchctl) = cluster(["node-1"])?;
    for (command, said) in [
        (&["nods"][..], "did you mean `nodes`?"),
        (&["exproters"], "did you mean `exporters`?"),
        (&["node", "nod-1"], "did you mean `node-1`?"),
        (&["pause", "noed-1"], "did you mean `node-1`?"),
        (&["log-level", "node-1", "debgu"], "did you mean `debug`?"),
        (&["config", "set", "log.levle=warn"], "did you mean `log.level`?"),
        (&["exporters", "--prefix", "192.0.2.1/24"], "192.0.2.0/24"),
        (&["tail", "--protocol", "tpc"], "tcp"),
    ] {
        fault(&catchctl.run(command)?, 2, said)?;
    }
    for shell in ["bash", "zsh", "fish"] {
        let completion = catchctl.run(&["completion", shell])?;
        ok(&completion)?;
        ensure!(completion.out.contains("exporters"), "{shell}: {completion:?}");
    }
    let folder = tempfile::tempdir()?;
    let contexts = folder.path().join("context.yaml");
    let text =
        format!("current: lab\ncontexts:\n  - name: lab\n    endpoints: [http://{}]\n", coordinator.grpc());
    std::fs::write(&contexts, text)?;
    let file = contexts.to_str().context("UTF-8")?;
    let by_context = Catchctl::of_context(file);
    ensure!(by_context.json(&["nodes"])?["nodes"][0]["id"] == "node-1");
    fault(&by_context.run(&["nodes", "--context-name", "lba"])?, 2, "did you mean `lab`?")?;
    nodes.into_iter().try_for_each(|node| node.stop().map(drop))
}

#[test]
fn a_node_is_looked_at_without_a_coordinator() -> Result<()> {
    let node = Node::start(&["node.id=alone", "node.grpc=127.0.0.1:0"])?;
    let catchctl = Catchctl::of_node(node.grpc()?);
    let _exporter = send(&node, 0..4)?;
    node.wait_ledger("records", |ledger| ledger.flow().is_ok_and(|flow| flow.delivered == 4))?;
    let stats = catchctl.json(&["stats"])?;
    ensure!(stats["node_id"] == "alone" && stats["statistics"]["ledger"]["balanced"] == true, "{stats}");
    let exporters = catchctl.json(&["exporters"])?;
    ensure!(exporters["exporters"][0]["address"] == "127.0.0.1", "{exporters}");
    let templates = catchctl.json(&["templates", "--id", "256", "--fields"])?;
    ensure!(templates["templates"][0]["origin"] == "wire", "{templates}");
    ensure!(catchctl.json(&["listeners"])?["listeners"][0]["address"] == node.udp()?.to_string());
    ok(&catchctl.run(&["health"])?)?;
    let config = catchctl.run(&["config", "get"])?;
    ensure!(config.out.contains("id: alone"), "{config:?}");
    let set = catchctl.run(&["config", "set", "log.level=debug"])?;
    ensure!(set.code == Some(0) && set.out.contains("debug"), "{set:?}");
    fault(&catchctl.run(&["config", "set", "log.levle=debug"])?, 2, "did you mean `log.level`?")?;
    ok(&catchctl.run(&["pause"])?)?;
    catchctl
        .wait_json("the pause", &["health"], |answer| answer["health"]["sources"][0]["state"] == "paused")?;
    ok(&catchctl.run(&["resume"])?)?;
    catchctl.wait_json("the resume", &["health"], |answer| {
        answer["health"]["sources"][0]["state"] == "running"
    })?;
    let nodes = catchctl.json(&["nodes"])?;
    ensure!(nodes["nodes"][0]["id"] == "alone" && nodes["nodes"][0]["coordinator"] == "", "{nodes}");
    fault(&catchctl.run(&["node", "alone"])?, 2, "--node-endpoint")?;
    let live = node.check_live()?;
    ok(&catchctl.run(&["drain"])?)?;
    node.ended(&live)?;
    fault(&catchctl.run(&["health"])?, 3, "onnection refused")?;
    Ok(())
}
