//! The cluster as it should be every day: an exporter's templates and sampling reach one node, its data all of them.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::cluster::Plan;
use catchment_e2e::load::Load;

const RECORDS: u64 = 48_000;
const EXPORTERS: u32 = 12;

/// Sampling is among what `check_whole` holds each record to: it is announced once, with the templates.
#[test]
fn any_node_decodes_any_datagram() -> Result<()> {
    let cluster = Plan::new("sharing").start()?;
    let sent = Load::once(1, EXPORTERS).send(&cluster.udp(), RECORDS, 12_000)?;
    let found = sent.check_whole(&cluster)?;
    let shares = found.by_node()?;
    ensure!(shares.len() == 4 && shares.iter().all(|(_, share)| *share > RECORDS / 8), "{shares:?}");

    let listed = cluster.ask(&["templates"])?;
    let templates = listed["templates"].as_array().context("templates")?;
    let exporters: BTreeSet<_> =
        templates.iter().map(|template| template["key"]["exporter"].to_string()).collect();
    ensure!(exporters.len() == EXPORTERS as usize, "{listed:#}");
    ensure!(templates.iter().all(|template| template["conflict"] == false), "{listed:#}");
    cluster.stop()?.check_all_decoded(sent.tally.datagrams, RECORDS)
}
