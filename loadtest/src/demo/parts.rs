//! The demo's cluster: one coordinator that keeps everything in memory, and two nodes, each a process of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use crate::daemon::{Daemon, Ended, executable, free_tcp};
use crate::http;
use crate::node_process::NodeProcess;

const NODES: u16 = 2;
/// A coordinator's usual ports, gRPC and HTTP: a person who looks in with `catchctl` finds it there, unless somebody else is.
const COORDINATOR_PORTS: [u16; 2] = [7400, 8082];
const READY_PATIENCE: Duration = Duration::from_secs(20);
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// The executables.
#[derive(Debug)]
pub(super) struct Programs {
    coordinator: PathBuf,
    node: PathBuf,
}

/// The processes.
#[derive(Debug)]
pub(super) struct Parts {
    coordinator: Daemon,
    coordinator_grpc: SocketAddr,
    nodes: Vec<NodeProcess>,
}

/// How each node ended, by its name.
pub(super) type EndedNodes = Vec<(String, Ended)>;

impl Programs {
    /// In this folder, or beside this executable.
    pub(super) fn find(folder: Option<&Path>) -> anyhow::Result<Self> {
        let find = |name: &str| executable(name, folder.map(|folder| folder.join(name)).as_deref());
        Ok(Self { coordinator: find("coordinator")?, node: find("ingest-node")? })
    }
}

impl Parts {
    /// Starts all of them, to publish to this topic, and waits until they are ready.
    pub(super) fn start(programs: &Programs, brokers: &str, topic: &str) -> anyhow::Result<Self> {
        // No other demo's nodes find their way here.
        let cluster = format!("demo-{}", std::process::id());
        let (coordinator, grpc) = match start_coordinator(programs, &cluster, COORDINATOR_PORTS) {
            // Somebody else may have taken the ports meanwhile.
            Err(_) => start_coordinator(programs, &cluster, [0, 0])?,
            started => started?,
        };
        let start = |number: u16| {
            let name = format!("node-{number}");
            let settings = [
                format!("node.id={name}"),
                format!("coordinator.endpoints=http://{grpc}"),
                format!("coordinator.cluster={cluster}"),
                "output=kafka".to_owned(),
                format!("kafka.brokers={brokers}"),
                format!("kafka.topic={topic}"),
            ];
            NodeProcess::start(&name, &programs.node, &settings)
        };
        let mut nodes = (1..=NODES).map(start).collect::<anyhow::Result<Vec<_>>>()?;
        nodes.iter_mut().try_for_each(|node| node.daemon.wait_ready(READY_PATIENCE))?;
        Ok(Self { coordinator, coordinator_grpc: grpc, nodes })
    }

    /// Where nodes and people reach the coordinator.
    pub(super) fn coordinator_grpc(&self) -> SocketAddr {
        self.coordinator_grpc
    }

    /// Where the coordinator serves HTTP.
    pub(super) fn coordinator_http(&self) -> SocketAddr {
        self.coordinator.http()
    }

    /// Where the nodes listen.
    pub(super) fn listeners(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.listener).collect()
    }

    /// The nodes' names, and where they serve HTTP.
    pub(super) fn nodes(&self) -> Vec<(String, SocketAddr)> {
        self.nodes.iter().map(|node| (node.daemon.name().to_owned(), node.daemon.http())).collect()
    }

    /// A process that has ended without being told to, and how.
    pub(super) fn missing(&mut self) -> anyhow::Result<Option<(String, ExitStatus)>> {
        let nodes = self.nodes.iter_mut().map(|node| &mut node.daemon);
        for daemon in nodes.chain([&mut self.coordinator]) {
            if let Some(status) = daemon.exit_status()? {
                return Ok(Some((daemon.name().to_owned(), status)));
            }
        }
        Ok(None)
    }

    /// Stops the nodes, all at once; the coordinator goes on.
    pub(super) fn stop_nodes(&mut self) -> anyhow::Result<EndedNodes> {
        self.nodes.iter_mut().try_for_each(|node| node.daemon.tell_to_stop())?;
        let stop = |node: NodeProcess| Ok((node.daemon.name().to_owned(), node.daemon.stop(STOP_PATIENCE)?));
        self.nodes.drain(..).map(stop).collect()
    }

    /// Stops the coordinator.
    pub(super) fn stop_coordinator(self) -> anyhow::Result<Ended> {
        self.coordinator.stop(STOP_PATIENCE)
    }
}

/// A ready coordinator, and where it serves gRPC.
fn start_coordinator(
    programs: &Programs,
    cluster: &str,
    ports: [u16; 2],
) -> anyhow::Result<(Daemon, SocketAddr)> {
    let [grpc, http] = free_tcp(ports)?;
    let settings = [
        "id=coordinator".to_owned(),
        format!("cluster={cluster}"),
        "store=memory".to_owned(),
        format!("grpc={grpc}"),
        format!("http={http}"),
    ];
    let mut coordinator = Daemon::start("the coordinator", &programs.coordinator, http, &settings)?;
    coordinator.wait_ready(READY_PATIENCE)?;
    let answer = http::get(http, "/health")?.body;
    anyhow::ensure!(answer.contains(cluster), "somebody else answers at {http}");
    Ok((coordinator, grpc))
}
