//! The port of `node.grpc`: opened before anything else of the node, so that a port that is taken ends it at once; answers
//! once there is a node, and says over `grpc.health.v1` whether it is ready.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use catchment_serving::grpc::{Connections, GrpcServer, OpenError, Running};
use tokio::task::JoinHandle;

use super::Control;
use crate::config::Config;
use crate::node::Node;

/// How often readiness is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long open calls may take when the node has ended.
const STOP_WITHIN: Duration = Duration::from_secs(1);

/// The port.
#[derive(Debug)]
pub struct ControlPort {
    running: Running,
    health: JoinHandle<()>,
}

impl ControlPort {
    /// Opens the port.
    ///
    /// # Errors
    /// Where it cannot be had, or its certificates are wrong.
    pub async fn open(config: &Config) -> Result<GrpcServer, OpenError> {
        GrpcServer::bind(config.node.grpc, &config.tls).await
    }

    /// Begins to answer for `node`.
    pub fn serve(server: GrpcServer, node: &Arc<Node>) -> Self {
        tracing::info!(address = %server.address(), tls = server.is_tls(), "serving grpc");
        let service = Control::service(node.clone(), server.stopping());
        let running = server.serve(service).start();
        let health = tokio::spawn(follow(running.health().clone(), node.clone()));
        Self { running, health }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running.address()
    }

    /// What became of its connections.
    pub fn connections(&self) -> Arc<Connections> {
        self.running.connections()
    }

    /// Ends it.
    pub async fn stop(self) {
        self.health.abort();
        self.running.stop(STOP_WITHIN).await;
    }
}

/// Says whether the node is ready; that it stops is said at once.
async fn follow(health: catchment_serving::grpc::Health, node: Arc<Node>) {
    let mut every = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            _ = node.drain_begun() => {
                health.not_serving().await;
                return;
            }
        }
        if node.status().health.is_ready() {
            health.serving().await;
        } else {
            health.not_serving().await;
        }
    }
}
