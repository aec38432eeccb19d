//! A node in this process, with real sockets, and exporters that send to it.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use catchment_serving::logging::Logging;
use ingest_node::cluster::{Addresses, Cluster};
use ingest_node::config::{Config, Sources};
use ingest_node::node::{Node, Prepared};

/// No condition takes longer than this to come true.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until a condition is true.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A node of the cluster `test`.
pub(crate) struct TestNode {
    pub(crate) node: Arc<Node>,
    pub(crate) cluster: Cluster,
    pub(crate) prepared: Prepared,
    /// Whether it knew what the cluster knows when it opened its sockets.
    pub(crate) knew: bool,
}

impl TestNode {
    pub(crate) async fn start(id: &str, coordinators: &[SocketAddr], settings: &[&str]) -> Self {
        let endpoints: Vec<_> = coordinators.iter().map(|at| format!("http://{at}")).collect();
        let (id, endpoints) =
            (format!("node.id={id}"), format!("coordinator.endpoints={}", endpoints.join(",")));
        let own = ["node.workers=1", "output=discard", "listeners=127.0.0.1:0", "coordinator.cluster=test"];
        let set = own.iter().copied().chain([id.as_str(), &endpoints]).chain(settings.iter().copied());
        let sources = Sources { set: set.map(str::to_owned).collect(), ..Sources::default() };
        let loaded = Config::load(&sources).unwrap();
        let config = &loaded.config;
        let prepared = Prepared::nothing(config);
        let addresses = Addresses {
            grpc: config.node.grpc,
            http: config.node.http,
            advertise_grpc: None,
            advertise_http: None,
        };
        let cluster = Cluster::start(config, &prepared, addresses).unwrap().unwrap();
        let knew = cluster.wait_for_snapshot(config.coordinator.startup_timeout).await;
        let logging = Logging::start(&config.log);
        let node = Arc::new(Node::open(loaded.clone(), sources, prepared.clone(), logging).unwrap());
        cluster.attach(&node);
        node.start().unwrap();
        Self { node, cluster, prepared, knew }
    }

    /// Sends as the exporter at `socket`.
    pub(crate) fn send(&self, exporter: &UdpSocket, datagram: &[u8]) {
        exporter.send_to(datagram, self.node.flow().listeners()[0].address).unwrap();
    }

    /// Data sets decoded.
    pub(crate) fn decoded(&self) -> u64 {
        self.node.status().ledger.sets.decoded
    }

    pub(crate) async fn connected(&self) {
        until("a session", || self.prepared.cluster.counts().connected).await;
    }
}

/// An exporter on loopback; all of them have one address.
pub(crate) fn exporter() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

/// A NetFlow v9 datagram (RFC 3954 5) of source id `domain` with one set.
fn v9(domain: u32, set: u16, body: &[u8]) -> Vec<u8> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as u32;
    let mut datagram = [9_u16, 1].map(u16::to_be_bytes).concat();
    datagram.extend([60_000, now, 1, domain].map(u32::to_be_bytes).concat());
    datagram.extend([set, 4 + body.len() as u16].map(u16::to_be_bytes).concat());
    datagram.extend(body);
    datagram
}

/// Template 256: IN_BYTES, IN_PKTS.
pub(crate) fn template(domain: u32) -> Vec<u8> {
    v9(domain, 0, &[256_u16, 2, 1, 4, 2, 4].map(u16::to_be_bytes).concat())
}

/// One record by it.
pub(crate) fn data(domain: u32) -> Vec<u8> {
    v9(domain, 256, &[100_u32, 1].map(u32::to_be_bytes).concat())
}
