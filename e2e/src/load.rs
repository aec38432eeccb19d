//! Generated traffic for a whole cluster, and the account of it: what was sent, and what of it is on the topic.

use std::net::SocketAddr;
use std::ops::AddAssign;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::kafka::brokers;
use crate::loadtest::{self, Running};

/// A `loadtest` workload: its options but for where it goes, at what pace, and how long.
#[derive(Clone, Debug)]
pub struct Load {
    options: String,
}

/// A load that is being sent.
#[derive(Debug)]
pub struct Sending {
    options: String,
    run: Running,
}

/// A load that was sent, whole or as far as it came.
#[derive(Clone, Debug)]
pub struct Sent {
    /// How much it was.
    pub tally: Tally,
    /// The workload with the records that were sent.
    options: String,
}

/// Datagrams that left, and the flow records in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Datagrams, those with templates among them.
    pub datagrams: u64,
    /// Flow records.
    pub records: u64,
}

/// What of a load is on the topic.
#[derive(Clone, Debug)]
pub struct Found {
    /// Records that were sent and are not there.
    pub missing: u64,
    /// Records that are there once more.
    pub repeated: u64,
    /// Records that are not as they were sent.
    pub different: u64,
    /// All that `loadtest verify` says, for people and for records by node.
    pub report: Value,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.datagrams += other.datagrams;
        self.records += other.records;
    }
}

impl Load {
    /// A workload as `loadtest` describes it: `--protocol v9 --exporters 4`, ...
    pub fn new(options: &str) -> Self {
        Self { options: options.to_owned() }
    }

    /// Templates once, at the start, from as many exporters of v9 and IPFIX, whose addresses no other `number` has.
    pub fn once(number: u8, exporters: u32) -> Self {
        Self::new(&format!(
            "--protocol v9,ipfix --exporters {exporters} --templates-every once --seed {number} --source-base 127.2.{number}.1"
        ))
    }

    /// Sends so many records to any of the targets, and waits until they have left.
    ///
    /// # Errors
    /// Where the kernel refuses some.
    pub fn send(&self, targets: &[SocketAddr], records: u64, rate: u64) -> Result<Sent> {
        self.begin(targets, &["--records", &records.to_string()], rate)?.finish()
    }

    /// Begins to send until it is stopped.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start(&self, targets: &[SocketAddr], rate: u64) -> Result<Sending> {
        self.begin(targets, &["--duration", "5m"], rate)
    }

    fn begin(&self, targets: &[SocketAddr], until: &[&str], rate: u64) -> Result<Sending> {
        let targets = targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let rate = rate.to_string();
        // Plain: a train that leaves as one is dropped as one where a socket is full.
        let how = ["--target", &targets, "--spread", "random", "--send", "plain", "--rate", &rate];
        let arguments: Vec<&str> = self.options.split_whitespace().chain(how).collect();
        let run = loadtest::start("run", &[&arguments, until].concat())?;
        Ok(Sending { options: self.options.clone(), run })
    }
}

impl Sending {
    /// Ends it now.
    ///
    /// # Errors
    /// Where the kernel refused some.
    pub fn stop(self) -> Result<Sent> {
        Sent::new(&self.options, &self.run.stop()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Where the kernel refused some.
    pub fn finish(self) -> Result<Sent> {
        Sent::new(&self.options, &self.run.finish()?)
    }
}

impl Sent {
    fn new(options: &str, report: &Value) -> Result<Self> {
        let count = |name: &str| report[name].as_u64().with_context(|| format!("{name} in {report}"));
        let tally = Tally { datagrams: count("datagrams")?, records: count("records")? };
        Ok(Self { options: format!("{options} --records {}", tally.records), tally })
    }

    /// Looks for its records among all that the cluster has published.
    ///
    /// # Errors
    /// Where the topic cannot be read.
    pub fn find(&self, cluster: &Cluster) -> Result<Found> {
        let brokers = brokers()?;
        let read = ["--brokers", &brokers, "--topic", &cluster.topic.name, "--idle", "3s"];
        let arguments: Vec<&str> = self.options.split_whitespace().chain(read).collect();
        let report = loadtest::account("verify", &arguments)?;
        let count = |name: &str| report[name].as_u64().with_context(|| format!("{name} in {report}"));
        let (missing, repeated) = (count("missing")?, count("repeated")?);
        Ok(Found { missing, repeated, different: count("different")?, report })
    }

    /// Holds the topic to it: every record once, as it was sent. The topic may hold other records as well.
    ///
    /// # Errors
    /// What is missing or different.
    pub fn check_whole(&self, cluster: &Cluster) -> Result<Found> {
        let found = self.find(cluster)?;
        ensure!(found.missing + found.repeated + found.different == 0, "{:#}", found.report);
        Ok(found)
    }
}

impl Found {
    /// Records on the topic by the node that published them.
    ///
    /// # Errors
    /// Where the report does not say it.
    pub fn by_node(&self) -> Result<Vec<(String, u64)>> {
        let nodes = self.report["nodes"].as_object().context("records by node")?;
        nodes.iter().map(|(node, records)| Ok((node.clone(), records.as_u64().context("a count")?))).collect()
    }
}
