//! An `ingest-node` of our own, on ports that were free.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;

use crate::daemon::{Daemon, free_tcp};
use crate::http;
use crate::node_ledger::Ledger;

/// A running node.
#[derive(Debug)]
pub struct NodeProcess {
    /// The process.
    pub daemon: Daemon,
    /// Where it listens for datagrams.
    pub listener: SocketAddr,
}

impl NodeProcess {
    /// Starts a node that a person calls `name`, with further settings (`key=value`).
    pub fn start(name: &str, executable: &Path, settings: &[String]) -> anyhow::Result<Self> {
        let listener = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let [http, grpc] = free_tcp([0, 0])?;
        let mut all =
            vec![format!("listeners={listener}"), format!("node.http={http}"), format!("node.grpc={grpc}")];
        all.extend_from_slice(settings);
        Ok(Self { daemon: Daemon::start(name, executable, http, &all)?, listener })
    }

    /// The ledger as the node shows it now.
    pub fn ledger(&self) -> Option<Ledger> {
        ledger_at(self.daemon.http())
    }
}

/// The ledger that a node serves at this HTTP address.
pub fn ledger_at(http: SocketAddr) -> Option<Ledger> {
    http::get(http, "/metrics.json").ok().and_then(|answer| Ledger::of_json(&answer.body))
}
