//! What needs no template is decoded by any node that gets it, coordinator or not: the cluster's parts that are there first.

use ::loadtest::raw::{Family, RawError, RawSender};
use ::loadtest::spread::{SpreadArgs, SpreadMode, Spreader};
use anyhow::{Context as _, Result, ensure};
use catchment_e2e::cluster::{Plan, Store};
use catchment_e2e::kafka::brokers;
use catchment_e2e::loadtest;

const WORKLOAD: [&str; 6] = ["--protocol", "v5,sflow", "--exporters", "6", "--records", "30000"];

fn plan(purpose: &'static str) -> Plan {
    Plan { coordinators: 0, nodes: 3, store: Store::Memory, ..Plan::new(purpose) }
}

/// Sends the workload to `target`, verifies the topic over all nodes, and holds the nodes to what was sent.
fn arrives(
    plan: &Plan,
    target: impl FnOnce(&[std::net::SocketAddr]) -> Result<(String, Finish)>,
) -> Result<()> {
    let cluster = plan.start()?;
    let (target, finish) = target(&cluster.udp())?;
    let send = ["--target", &target, "--spread", "random", "--rate", "20000", "--send", "plain"];
    let run = loadtest::run("run", &[&WORKLOAD[..], &send].concat())?;
    finish(run["datagrams"].as_u64().context("datagrams sent")?)?;
    let nodes: Vec<_> = cluster.running().map(|node| node.http().to_string()).collect();
    let (brokers, nodes) = (brokers()?, nodes.join(","));
    let read = ["--brokers", &brokers, "--topic", &cluster.topic.name, "--node", &nodes];
    let verified = loadtest::run("verify", &[&WORKLOAD[..], &read].concat())?;
    let shares = verified["nodes"].as_object().context("records by node")?;
    ensure!(shares.len() == 3, "{shares:?}");
    ensure!(shares.values().all(|share| share.as_u64().is_some_and(|share| share > 5_000)), "{shares:?}");
    let sent = run["datagrams"].as_u64().context("datagrams sent")?;
    cluster.stop()?.check_all_decoded(sent, 30_000)
}

/// What is to be checked once so many datagrams were sent.
type Finish = Box<dyn FnOnce(u64) -> Result<()>>;

#[test]
fn a_run_spreads_each_exporters_datagrams_itself() -> Result<()> {
    arrives(&plan("targets"), |nodes| {
        let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
        Ok((nodes.join(","), Box::new(|_| Ok(()))))
    })
}

#[test]
fn a_virtual_address_spreads_them_under_their_exporters_addresses() -> Result<()> {
    if let Err(RawError::NotAllowed(error)) = RawSender::open(Family::V4) {
        println!("NOT RUN: {error}");
        return Ok(());
    }
    arrives(&plan("virtual"), |nodes| {
        let args = SpreadArgs {
            listen: vec![([127, 0, 0, 1], 0).into()],
            to: nodes.to_vec(),
            mode: SpreadMode::Random,
            seed: 1,
        };
        let spreading = Spreader::open(&args)?.start();
        let address = spreading.addresses()[0].to_string();
        let finish = move |sent| {
            let ledger = spreading.stop()?;
            ensure!(ledger.is_balanced() && ledger.forwarded == sent, "{sent} sent: {ledger:?}");
            Ok(())
        };
        Ok((address, Box::new(finish)))
    })
}
