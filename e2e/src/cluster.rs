//! A cluster of real processes: an etcd, coordinators over it, nodes beneath them, one Kafka topic for all.
//!
//! ```text
//! exporters --random--> node 0 .. M --> topic
//!                          |  way(node, coordinator): a Proxy, where asked
//!                       coordinator 0 .. N
//!                          |  way(coordinator, etcd): a Proxy, where asked
//!                        etcd
//! ```
//! Invariants: every node is held to its ledger when it is stopped, and [`Cluster::stop`] stops all that run; every port
//! stays the same while its process is down, so that restarts look as they do behind service names.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::catchctl;
use crate::coordinator::Coordinator;
use crate::etcd::Etcd;
use crate::kafka::Topic;
use crate::ledger::Ledger;
use crate::node::{Node, Settings, Stopped};
use crate::proxy::Proxy;
use crate::services::unused_port;
use crate::wait::until;

const PARTITIONS: i32 = 4;

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the test is about; part of the topic's name.
    pub purpose: &'static str,
    /// Replicas of the coordinator.
    pub coordinators: usize,
    /// Nodes.
    pub nodes: usize,
    /// Where coordinators keep what they share.
    pub store: Store,
    /// How processes reach each other.
    pub ways: Ways,
    /// Further settings of each coordinator, `key=value`.
    pub coordinator_settings: Vec<String>,
    /// Further settings of each node, `key=value`.
    pub node_settings: Vec<String>,
}

/// A coordinator's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// An etcd of the cluster's own.
    Etcd,
    /// The memory of one coordinator.
    Memory,
}

/// How nodes reach coordinators and coordinators reach etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ways {
    /// Directly.
    Direct,
    /// Through proxies that a test can make fail.
    Proxied,
}

/// A running cluster. Nodes and coordinators are known by their number, from 0.
#[derive(Debug)]
pub struct Cluster {
    /// Where all records go.
    pub topic: Topic,
    /// The store, if it is one.
    pub etcd: Option<Etcd>,
    /// The replicas.
    pub coordinators: Vec<Coordinator>,
    name: String,
    members: Vec<Member>,
    /// From each coordinator to etcd.
    etcd_ways: Vec<Proxy>,
    /// Ledgers of nodes that were stopped.
    stopped: Vec<Ledger>,
}

/// A node, running or not.
#[derive(Debug)]
struct Member {
    node: Option<Node>,
    udp: SocketAddr,
    settings: Vec<String>,
    /// To each coordinator.
    ways: Vec<Proxy>,
}

/// What all nodes together have to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Datagrams that arrived.
    pub arrived: u64,
    /// Datagrams that were read.
    pub received: u64,
    /// Data sets seen.
    pub sets_seen: u64,
    /// Data sets decoded.
    pub sets_decoded: u64,
    /// Data sets that wait for their template.
    pub sets_pending: u64,
    /// Flow records that decoding gave.
    pub produced: u64,
    /// Flow records that Kafka acknowledged.
    pub delivered: u64,
}

impl Plan {
    /// Three coordinators over etcd, four nodes, direct ways: what is normal.
    pub fn new(purpose: &'static str) -> Self {
        Self {
            purpose,
            coordinators: 3,
            nodes: 4,
            store: Store::Etcd,
            ways: Ways::Direct,
            coordinator_settings: Vec::new(),
            node_settings: Vec::new(),
        }
    }

    /// Starts all of it and waits until all of it is ready.
    ///
    /// # Errors
    /// Where some part is not in time.
    pub fn start(&self) -> Result<Cluster> {
        let topic = Topic::create(self.purpose, PARTITIONS)?;
        let etcd = match self.store {
            Store::Etcd if self.coordinators > 0 => Some(Etcd::start_empty()?),
            Store::Etcd | Store::Memory => None,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let name = format!("{}-{now}", self.purpose);
        let mut cluster = Cluster {
            topic,
            etcd,
            coordinators: Vec::new(),
            name,
            members: Vec::new(),
            etcd_ways: Vec::new(),
            stopped: Vec::new(),
        };
        for _ in 0..self.coordinators {
            cluster.add_coordinator(self)?;
        }
        for _ in 0..self.nodes {
            cluster.add_node(self)?;
        }
        cluster.wait_ready()?;
        Ok(cluster)
    }
}

impl Cluster {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds a replica and starts it.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn add_coordinator(&mut self, plan: &Plan) -> Result<()> {
        let mut settings = vec![format!("cluster={}", self.name)];
        match &self.etcd {
            None => settings.push("store=memory".to_owned()),
            Some(etcd) => {
                let address = match plan.ways {
                    Ways::Direct => etcd.address(),
                    Ways::Proxied => {
                        self.etcd_ways.push(Proxy::to(etcd.address())?);
                        self.etcd_ways.last().context("it was just made")?.address()
                    }
                };
                settings.extend(["store=etcd".to_owned(), format!("etcd.endpoints=http://{address}")]);
            }
        }
        settings.extend(plan.coordinator_settings.iter().cloned());
        let mut coordinator = Coordinator::prepare(&settings)?;
        coordinator.launch()?;
        self.coordinators.push(coordinator);
        Ok(())
    }

    /// Adds a node and starts it.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn add_node(&mut self, plan: &Plan) -> Result<()> {
        let udp = SocketAddr::from(([127, 0, 0, 1], unused_port()?));
        let ways = match plan.ways {
            Ways::Direct => Vec::new(),
            Ways::Proxied => self
                .coordinators
                .iter()
                .map(|coordinator| Proxy::to(coordinator.grpc()))
                .collect::<Result<_>>()?,
        };
        let endpoints: Vec<String> = match plan.ways {
            Ways::Direct => {
                self.coordinators.iter().map(|coordinator| format!("http://{}", coordinator.grpc())).collect()
            }
            Ways::Proxied => ways.iter().map(|way| format!("http://{}", way.address())).collect(),
        };
        let mut settings = vec![
            format!("node.id={}", node_id(self.members.len())),
            "node.workers=1".to_owned(),
            "node.grpc=127.0.0.1:0".to_owned(),
            format!("listeners={udp}"),
        ];
        if !endpoints.is_empty() {
            settings.push(format!("coordinator.endpoints={}", endpoints.join(",")));
            settings.push(format!("coordinator.cluster={}", self.name));
        }
        settings.extend(self.topic.settings());
        settings.extend(plan.node_settings.iter().cloned());
        self.members.push(Member { node: None, udp, settings, ways });
        self.launch_node(self.members.len() - 1)
    }

    /// Starts a node that does not run, and waits until it serves HTTP; it need not be ready.
    ///
    /// # Errors
    /// Where it ends instead.
    pub fn launch_node(&mut self, node: usize) -> Result<()> {
        let member = self.members.get_mut(node).context("no such node")?;
        ensure!(member.node.is_none(), "node {node} runs already");
        let settings: Vec<&str> = member.settings.iter().map(String::as_str).collect();
        member.node = Some(Settings::bare(&settings)?.launch()?);
        Ok(())
    }

    /// Waits until everything that runs is ready.
    ///
    /// # Errors
    /// Where something is not in time.
    pub fn wait_ready(&self) -> Result<()> {
        self.coordinators
            .iter()
            .filter(|coordinator| coordinator.is_running())
            .try_for_each(Coordinator::wait_ready)?;
        self.running().try_for_each(Node::wait_ready)
    }

    /// A running node.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn node(&self, node: usize) -> Result<&Node> {
        self.members
            .get(node)
            .and_then(|member| member.node.as_ref())
            .with_context(|| format!("node {node} does not run"))
    }

    /// All nodes that run.
    pub fn running(&self) -> impl Iterator<Item = &Node> {
        self.members.iter().filter_map(|member| member.node.as_ref())
    }

    /// Where all nodes take datagrams, those that do not run as well: as a load balancer that has not noticed.
    pub fn udp(&self) -> Vec<SocketAddr> {
        self.members.iter().map(|member| member.udp).collect()
    }

    /// Where one node takes datagrams, running or not.
    ///
    /// # Errors
    /// Where there is no such node.
    pub fn udp_of(&self, node: usize) -> Result<SocketAddr> {
        Ok(self.members.get(node).context("no such node")?.udp)
    }

    /// What `catchctl` is told by any coordinator.
    ///
    /// # Errors
    /// Where it fails.
    pub fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let running = self.coordinators.iter().filter(|coordinator| coordinator.is_running());
        let endpoints: Vec<_> = running.map(|coordinator| format!("http://{}", coordinator.grpc())).collect();
        catchctl::ask(&endpoints.join(","), arguments)
    }

    /// The way from a node to a coordinator, in a cluster with [`Ways::Proxied`].
    ///
    /// # Errors
    /// Where there is none.
    pub fn node_way(&self, node: usize, coordinator: usize) -> Result<&Proxy> {
        self.members.get(node).and_then(|member| member.ways.get(coordinator)).context("no such way")
    }

    /// The ways from a node to all coordinators.
    ///
    /// # Errors
    /// Where there is no such node.
    pub fn node_ways(&self, node: usize) -> Result<&[Proxy]> {
        Ok(&self.members.get(node).context("no such node")?.ways)
    }

    /// The way from a coordinator to etcd, in a cluster with [`Ways::Proxied`].
    ///
    /// # Errors
    /// Where there is none.
    pub fn etcd_way(&self, coordinator: usize) -> Result<&Proxy> {
        self.etcd_ways.get(coordinator).context("no such way")
    }

    /// Ends a node without warning (SIGKILL); its last ledger before, which is no account of what it held then.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn kill_node(&mut self, node: usize) -> Result<Ledger> {
        let last = self.node(node)?.ledger()?;
        // Dropped is killed.
        self.members[node].node = None;
        Ok(last)
    }

    /// Stops a node as an operator would (SIGTERM), and holds it to its ledger.
    ///
    /// # Errors
    /// Where it does not run, or what is wrong with the ledger.
    pub fn stop_node(&mut self, node: usize) -> Result<Stopped> {
        let running = self.members.get_mut(node).and_then(|member| member.node.take());
        let stopped = running.with_context(|| format!("node {node} does not run"))?.stop()?;
        self.stopped.push(stopped.ledger.clone());
        Ok(stopped)
    }

    /// Waits for the end of a node that was told to stop by other means, and holds it to its ledger; `live` is the one before.
    ///
    /// # Errors
    /// As [`Cluster::stop_node`].
    pub fn node_ended(&mut self, node: usize, live: &Ledger) -> Result<Stopped> {
        let running = self.members.get_mut(node).and_then(|member| member.node.take());
        let stopped = running.with_context(|| format!("node {node} does not run"))?.ended(live)?;
        self.stopped.push(stopped.ledger.clone());
        Ok(stopped)
    }

    /// What all nodes say, those that were stopped as well; not those that were killed.
    ///
    /// # Errors
    /// Where a node does not answer.
    pub fn totals(&self) -> Result<Totals> {
        let live = self.running().map(Node::ledger).collect::<Result<Vec<_>>>()?;
        self.stopped.iter().chain(&live).try_fold(Totals::default(), Totals::plus)
    }

    /// Waits for totals that satisfy `condition`.
    ///
    /// # Errors
    /// Where none do in time, with the last.
    pub fn wait_totals(&self, what: &str, condition: impl Fn(&Totals) -> bool) -> Result<Totals> {
        until(what, || {
            let totals = self.totals()?;
            Ok(if condition(&totals) { Ok(totals) } else { Err(format!("{totals:?}")) })
        })
    }

    /// Stops everything: nodes first, each held to its ledger; then coordinators, each of which must end with 0.
    ///
    /// # Errors
    /// What is wrong with any of them.
    pub fn stop(mut self) -> Result<Totals> {
        for node in 0..self.members.len() {
            if self.members[node].node.is_some() {
                self.stop_node(node).with_context(|| node_id(node))?;
            }
        }
        for coordinator in &mut self.coordinators {
            if coordinator.is_running() {
                coordinator.stop()?;
            }
        }
        self.stopped.iter().try_fold(Totals::default(), Totals::plus)
    }
}

impl Totals {
    fn plus(self, ledger: &Ledger) -> Result<Self> {
        let (datagrams, sets, flow) = (&ledger.datagrams, &ledger.sets, ledger.flow()?);
        Ok(Self {
            arrived: self.arrived + datagrams.arrived,
            received: self.received + datagrams.received,
            sets_seen: self.sets_seen + sets.seen,
            sets_decoded: self.sets_decoded + sets.decoded,
            sets_pending: self.sets_pending + sets.pending,
            produced: self.produced + flow.produced,
            delivered: self.delivered + flow.delivered,
        })
    }

    /// Whether every datagram that was sent was read, every data set decoded, and every record delivered.
    ///
    /// # Errors
    /// What was not.
    pub fn check_all_decoded(&self, datagrams: u64, records: u64) -> Result<()> {
        ensure!(self.arrived == datagrams, "{datagrams} datagrams were sent: {self:?}");
        ensure!(self.received == datagrams, "a kernel dropped some of {datagrams} datagrams: {self:?}");
        ensure!(self.sets_decoded == self.sets_seen, "data sets were not decoded: {self:?}");
        ensure!(
            self.produced == records && self.delivered == records,
            "{records} records were sent: {self:?}"
        );
        Ok(())
    }
}

fn node_id(number: usize) -> String {
    format!("node-{number}")
}
