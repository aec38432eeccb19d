//! The ledger that every end-to-end test is held to.
//!
//! A [`Ledger`] is read from what the node prints at exit and from `/metrics.json`. [`Ledger::check`] holds one to the
//! invariants; [`check_live`] holds a running node's ledger to its own metrics; [`check_final`] holds the ledger at exit to
//! the one before. [`Node::stop`](crate::node::Node::stop) calls all three, so that no test can forget.
//!
//! ```text
//! datagrams:  arrived  = received + kernel_dropped
//!             received = decoded + partly_decoded + rejected{reason}
//! sets:       seen     = decoded + pending + expired + evicted + rejected{reason}
//! stream:     produced + recovered = delivered + in_flight + on_disk + dropped{reason}
//! ```

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::metrics::Scrape;

type Reasons = BTreeMap<String, u64>;

/// Everything that came in, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Datagrams.
    pub datagrams: Datagrams,
    /// Data sets of NetFlow v9 and IPFIX.
    pub sets: Sets,
    /// Records, by stream.
    pub streams: BTreeMap<String, Stream>,
}

/// Datagrams.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names are those of the design's equations")]
pub struct Datagrams {
    pub arrived: u64,
    pub kernel_dropped: u64,
    pub received: u64,
    pub decoded: u64,
    pub partly_decoded: u64,
    pub rejected: u64,
    pub rejected_reasons: Reasons,
}

/// Data sets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names are those of the design's equations")]
pub struct Sets {
    pub seen: u64,
    pub decoded: u64,
    pub held: u64,
    pub released: u64,
    pub pending: u64,
    pub expired: u64,
    pub evicted: u64,
    pub rejected: u64,
    pub rejected_reasons: Reasons,
}

/// Records of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names are those of the design's equations")]
pub struct Stream {
    pub produced: u64,
    pub recovered: u64,
    pub delivered: u64,
    pub in_flight: u64,
    pub on_disk: u64,
    pub dropped: u64,
    pub dropped_reasons: Reasons,
}

impl Ledger {
    /// Reads the object under the key `ledger` of a JSON text.
    ///
    /// # Errors
    /// Where there is none, or its shape is another.
    pub fn parse(json: &str) -> Result<Self> {
        let mut whole: serde_json::Value = serde_json::from_str(json)?;
        serde_json::from_value(whole["ledger"].take()).context("the ledger's shape")
    }

    /// The account of one stream.
    ///
    /// # Errors
    /// Where there is no such stream.
    pub fn stream(&self, name: &str) -> Result<&Stream> {
        self.streams.get(name).with_context(|| format!("the ledger has no stream {name}"))
    }

    /// The account of flow records.
    ///
    /// # Errors
    /// Where it is missing.
    pub fn flow(&self) -> Result<&Stream> {
        self.stream("flow")
    }

    /// Whether every invariant holds.
    ///
    /// # Errors
    /// The first that does not, with both sides.
    pub fn check(&self) -> Result<()> {
        let Self { datagrams, sets, streams } = self;
        equal("arrived", datagrams.arrived, datagrams.received + datagrams.kernel_dropped)?;
        equal(
            "received",
            datagrams.received,
            datagrams.decoded + datagrams.partly_decoded + datagrams.rejected,
        )?;
        equal("datagrams rejected", datagrams.rejected, total(&datagrams.rejected_reasons))?;
        equal(
            "sets seen",
            sets.seen,
            sets.decoded + sets.pending + sets.expired + sets.evicted + sets.rejected,
        )?;
        equal("sets rejected", sets.rejected, total(&sets.rejected_reasons))?;
        equal("streams", streams.len() as u64, 4)?;
        for (name, stream) in streams {
            let settled = stream.delivered + stream.on_disk + stream.dropped;
            equal(name, stream.produced + stream.recovered, settled.saturating_add(stream.in_flight))?;
            equal(&format!("{name} dropped"), stream.dropped, total(&stream.dropped_reasons))?;
        }
        Ok(())
    }
}

/// Holds a running node's ledger to its metrics: each counter of `scrape` lies between the ledgers drawn before and after
/// it, and is equal where these are.
///
/// # Errors
/// The first counter that does not, or that is missing.
pub fn check_live(before: &Ledger, scrape: &Scrape, after: &Ledger) -> Result<()> {
    before.check().context("in /metrics.json")?;
    after.check().context("in /metrics.json")?;
    let (old, new) = (counters(before), counters(after));
    for (series, least) in &old {
        let most = new.get(series).copied().unwrap_or_default();
        let labels: Vec<_> = series.labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let count = scrape.count(series.name, &labels)?;
        ensure!(
            (*least..=most).contains(&count),
            "{series:?} is {count} in /metrics, and in /metrics.json {least} before and {most} after"
        );
    }
    Ok(())
}

/// Holds the ledger at exit to the invariants, to the last one while the node ran (nothing counts backwards), and to a
/// node that has ended: nothing in flight.
///
/// # Errors
/// What does not hold.
pub fn check_final(live: &Ledger, last: &Ledger) -> Result<()> {
    last.check().context("at exit")?;
    for (name, stream) in &last.streams {
        equal(&format!("{name} in flight at exit"), stream.in_flight, 0)?;
    }
    let now = counters(last);
    for (series, before) in counters(live) {
        let after = now.get(&series).copied().unwrap_or_default();
        ensure!(before <= after, "{series:?} was {before} and is {after} at exit");
    }
    Ok(())
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    name: &'static str,
    labels: Vec<(&'static str, String)>,
}

/// The ledger's numbers under the names of the metrics that show them.
fn counters(ledger: &Ledger) -> BTreeMap<Series, u64> {
    let Ledger { datagrams, sets, streams } = ledger;
    let mut counters = BTreeMap::new();
    let mut add = |name, labels: &[(&'static str, &str)], value| {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        counters.insert(Series { name, labels }, value);
    };
    add("catchment_datagrams_received_total", &[], datagrams.received);
    add("catchment_kernel_dropped_total", &[], datagrams.kernel_dropped);
    add("catchment_source_dropped_total", &[("reason", "kernel")], datagrams.kernel_dropped);
    add("catchment_datagrams_decoded_total", &[("extent", "whole")], datagrams.decoded);
    add("catchment_datagrams_decoded_total", &[("extent", "partly")], datagrams.partly_decoded);
    for (reason, count) in &datagrams.rejected_reasons {
        add("catchment_source_dropped_total", &[("source", "flow"), ("reason", reason)], *count);
    }
    add("catchment_source_dropped_total", &[], datagrams.rejected + datagrams.kernel_dropped);
    add("catchment_sets_seen_total", &[], sets.seen);
    add("catchment_sets_decoded_total", &[], sets.decoded);
    add("catchment_sets_rejected_total", &[], sets.rejected);
    for (reason, count) in &sets.rejected_reasons {
        add("catchment_sets_rejected_total", &[("reason", reason)], *count);
    }
    for (name, stream) in streams {
        add("catchment_records_produced_total", &[("stream", name)], stream.produced);
        add("catchment_records_delivered_total", &[("stream", name)], stream.delivered);
        add("catchment_records_dropped_total", &[("stream", name)], stream.dropped);
        for (reason, count) in &stream.dropped_reasons {
            add("catchment_records_dropped_total", &[("stream", name), ("reason", reason)], *count);
        }
    }
    counters
}

fn total(reasons: &Reasons) -> u64 {
    reasons.values().sum()
}

fn equal(what: &str, left: u64, right: u64) -> Result<()> {
    ensure!(left == right, "the ledger differs: {what}: {left} on one side, {right} on the other");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balanced() -> Ledger {
        let stream = r#"{"produced":7,"recovered":1,"delivered":5,"in_flight":2,"on_disk":0,"dropped":1,
                         "dropped_reasons":{"queue_full":1}}"#;
        let datagrams = r#"{"arrived":9,"kernel_dropped":2,"received":7,"decoded":4,"partly_decoded":1,"rejected":2,
                            "rejected_reasons":{"not_allowed":2}}"#;
        let sets = r#"{"seen":5,"decoded":4,"held":3,"released":3,"pending":0,"expired":0,"evicted":0,"rejected":1,
                       "rejected_reasons":{"no_template":1}}"#;
        let streams = ["flow", "counters", "drops", "options"].map(|name| format!("\"{name}\":{stream}"));
        let json = format!(
            r#"{{"ledger":{{"datagrams":{datagrams},"sets":{sets},"streams":{{{}}}}}}}"#,
            streams.join(",")
        );
        Ledger::parse(&json).unwrap()
    }

    #[test]
    fn every_broken_equation_is_found() {
        type Damage = fn(&mut Ledger);
        let damages: [Damage; 8] = [
            |ledger| ledger.datagrams.arrived += 1,
            |ledger| ledger.datagrams.decoded += 1,
            |ledger| ledger.datagrams.rejected_reasons.clear(),
            |ledger| ledger.sets.pending += 1,
            |ledger| ledger.sets.rejected_reasons.clear(),
            |ledger| ledger.streams.values_mut().for_each(|stream| stream.delivered -= 1),
            |ledger| ledger.streams.values_mut().for_each(|stream| stream.dropped_reasons.clear()),
            |ledger| drop(ledger.streams.remove("drops")),
        ];
        balanced().check().unwrap();
        for (index, damage) in damages.into_iter().enumerate() {
            let mut ledger = balanced();
            damage(&mut ledger);
            assert!(ledger.check().is_err(), "damage {index}");
        }
    }

    #[test]
    fn records_in_flight_at_exit_and_counters_that_fall_are_found() {
        let live = balanced();
        assert!(check_final(&live, &live).is_err(), "in flight");
        let mut last = balanced();
        for stream in last.streams.values_mut() {
            stream.delivered += std::mem::take(&mut stream.in_flight);
        }
        check_final(&live, &last).unwrap();
        last.sets.seen -= 1;
        last.sets.decoded -= 1;
        assert!(check_final(&live, &last).is_err(), "backwards");
    }
}
