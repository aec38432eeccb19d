//! `catchctl` against real coordinators and real nodes: what it shows is what they did, and what it asks for is done.

mod certificates;
mod control;
mod looks;
mod overrides;
mod tail;

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use catchment_e2e::catchctl::{Catchctl, Ended};
use catchment_e2e::coordinator::Coordinator;
use catchment_e2e::datagrams::Protocol;
use catchment_e2e::node::Node;
use catchment_e2e::udp::Exporter;
use catchment_e2e::wait::until;
use serde_json::Value;

const CLUSTER: &str = "typed";

fn coordinator(more: &[&str]) -> Result<Coordinator> {
    let own = [format!("cluster={CLUSTER}"), "store=memory".to_owned()];
    let settings: Vec<String> = own.into_iter().chain(more.iter().map(ToString::to_string)).collect();
    let mut coordinator = Coordinator::prepare(&settings)?;
    coordinator.start()?;
    Ok(coordinator)
}

fn node(id: &str, coordinator: &Coordinator, more: &[&str]) -> Result<Node> {
    let own = [
        format!("node.id={id}"),
        format!("coordinator.endpoints=http://{}", coordinator.grpc()),
        format!("coordinator.cluster={CLUSTER}"),
        "node.stamp_records=on".to_owned(),
    ];
    Node::start(&[&own.each_ref().map(String::as_str)[..], more].concat())
}

/// A coordinator, these nodes with a session there, and who asks them.
fn cluster<const N: usize>(ids: [&str; N]) -> Result<(Coordinator, [Node; N], Catchctl)> {
    let coordinator = coordinator(&[])?;
    let nodes: Vec<Node> = ids.iter().map(|id| node(id, &coordinator, &[])).collect::<Result<_>>()?;
    let catchctl = Catchctl::of_coordinators(&[coordinator.grpc()]);
    wait_for_nodes(&catchctl, N)?;
    let Ok(nodes) = nodes.try_into() else { unreachable!("one for each id") };
    Ok((coordinator, nodes, catchctl))
}

/// Waits until so many nodes are well and have a session, and all else of the cluster is well: a leader takes a moment to be found.
fn wait_for_nodes(catchctl: &Catchctl, count: usize) -> Result<()> {
    catchctl.wait_json("the nodes' sessions", &["nodes"], |answer| {
        let nodes = answer["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let well = |node: &&Value| node["coordinator"] != "" && node["health"]["status"] == "ok";
        nodes.iter().filter(well).count() == count
    })?;
    until("the cluster to be well", || {
        let ended = catchctl.run(&["health"])?;
        Ok(if ended.code == Some(0) { Ok(()) } else { Err(format!("{ended:?}")) })
    })
}

/// A template, then a record by it for each number.
fn send(node: &Node, numbers: std::ops::Range<u32>) -> Result<Exporter> {
    let exporter = Exporter::at(Ipv4Addr::LOCALHOST.into(), node.udp()?)?;
    exporter.send(&Protocol::V9.template())?;
    exporter.send(&Protocol::V9.data(numbers))?;
    Ok(exporter)
}

/// Waits until the node's flow source is in this state, by its own account.
fn wait_state(catchctl: &Catchctl, id: &str, wanted: &str) -> Result<()> {
    until(&format!("{id} to be {wanted}"), || {
        let node = catchctl.json(&["node", id])?;
        let state = &node["health"]["sources"][0]["state"];
        Ok(if state == wanted { Ok(()) } else { Err(node.to_string()) })
    })
}

fn ok(ended: &Ended) -> Result<()> {
    ensure!(ended.code == Some(0), "{ended:?}");
    Ok(())
}

/// An error of one line, with this status.
fn fault(ended: &Ended, code: i32, said: &str) -> Result<()> {
    ensure!(ended.code == Some(code), "{ended:?}");
    ensure!(ended.err.lines().count() == 1 && ended.err.contains(said), "{ended:?} has no {said:?}");
    Ok(())
}
