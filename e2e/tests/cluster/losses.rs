//! What a cluster says of numbers that are missing.

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::cluster::Cluster;
use catchment_e2e::wait::until;
use serde_json::Value;

/// What the cluster's sequence accounts say, in records.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    /// Lost, whoever lost them.
    pub(crate) records: u64,
    /// Received by any node, and reported.
    pub(crate) received: u64,
    pub(crate) upstream: u64,
    pub(crate) waiting: u64,
    pub(crate) notes: Vec<String>,
}

impl Losses {
    /// As they are when no number may come any more.
    pub(crate) fn settled(cluster: &Cluster) -> Result<Self> {
        let produced = cluster.totals()?.produced;
        until("the losses to be settled", || {
            let losses = Self::of(&cluster.ask(&["exporters"])?)?;
            let is_reported = losses.records + losses.received >= produced;
            Ok(if losses.waiting == 0 && is_reported { Ok(losses) } else { Err(format!("{losses:?}")) })
        })
    }

    pub(crate) fn of(exporters: &Value) -> Result<Self> {
        /// Of v9, whose sequence counts datagrams.
        const RECORDS: u64 = 24;
        let mut sum = Self::default();
        let list = exporters["exporters"].as_array().context("exporters")?;
        for account in list.iter().flat_map(|exporter| exporter["sequences"].as_array()).flatten() {
            let size = if account["unit"] == "datagrams" { RECORDS } else { 1 };
            let count = |name: &str| account[name].as_u64().with_context(|| format!("{name} in {account}"));
            let lost = count("lost_upstream")? + count("lost_here")? + count("lost_unknown")?;
            ensure!(count("span")? == count("received")? + lost + count("waiting")?, "{account}");
            sum.records += lost * size;
            sum.received += count("received")? * size;
            sum.upstream += count("lost_upstream")?;
            sum.waiting += count("waiting")?;
            let notes = account["notes"].as_array().into_iter().flatten();
            sum.notes.extend(notes.filter_map(|note| Some(note.as_str()?.to_owned())));
        }
        Ok(sum)
    }
}
