//! A coordinator and a node in this process, with the data of `sample`, that remember what was asked of them.
//!
//! The real ones are tested with `catchctl` in e2e/tests/catchctl.rs; here are the answers that real ones give seldom: refusals,
//! pages, a revision that somebody else was quicker with, slow answers.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

#[path = "../../src/sample.rs"]
pub mod sample;

mod coordinator;
pub mod node;

use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use catchment_proto::cluster::v1::cluster_admin_server::ClusterAdminServer;
use catchment_proto::node::v1::node_control_server::NodeControlServer;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Server, ServerTlsConfig};

pub use coordinator::Coordinator;
pub use node::Node;

/// A server that goes with its holder.
pub struct Peer {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Peer {
    /// A coordinator.
    pub fn coordinator(coordinator: Coordinator) -> Self {
        Self::start(None, coordinator.asked.clone(), |mut server| {
            server.add_service(ClusterAdminServer::new(coordinator))
        })
    }

    /// A coordinator with TLS.
    pub fn coordinator_with(tls: ServerTlsConfig, coordinator: Coordinator) -> Self {
        Self::start(Some(tls), coordinator.asked.clone(), |mut server| {
            server.add_service(ClusterAdminServer::new(coordinator))
        })
    }

    /// A node.
    pub fn node(node: Node) -> Self {
        Self::start(None, node.asked.clone(), |mut server| server.add_service(NodeControlServer::new(node)))
    }

    fn start(
        tls: Option<ServerTlsConfig>,
        asked: Arc<Mutex<Vec<String>>>,
        serve: impl FnOnce(Server) -> tonic::transport::server::Router,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("threads");
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut server = Server::builder();
        if let Some(tls) = tls {
            server = server.tls_config(tls).expect("certificates");
        }
        runtime.spawn(serve(server).serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address, asked, _runtime: runtime }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked, in order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("whole").clone()
    }
}

/// An address that nobody listens on.
pub fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}", listener.local_addr().expect("bound"))
}

/// How `catchctl` ended.
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// What it printed as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {} {}", self.out, self.err))
    }
}

/// The command, with nothing of this machine's in its environment.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_catchctl"));
    command.args(arguments).stdin(Stdio::null());
    for name in ["CATCHCTL_ENDPOINT", "CATCHCTL_CONTEXT"] {
        command.env_remove(name);
    }
    command.env("XDG_CONFIG_HOME", "/nowhere").env("USER", "ann");
    command
}

/// Runs it to its end.
pub fn catchctl(arguments: &[&str]) -> Ended {
    ended(command(arguments).output().expect("it starts"))
}

/// Runs it against a coordinator.
pub fn ask(peer: &Peer, arguments: &[&str]) -> Ended {
    let url = peer.url();
    catchctl(&[arguments, &["--endpoint", &url]].concat())
}

/// Runs it against a node alone.
pub fn ask_node(peer: &Peer, arguments: &[&str]) -> Ended {
    let url = peer.url();
    catchctl(&[arguments, &["--node-endpoint", &url]].concat())
}

pub fn ended(output: Output) -> Ended {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}
