//! Health of the cluster: the worst of its parts, each reason with the part's name.

use catchment_proto::cluster::v1::{GetHealthResponse, Node};
use catchment_proto::node::v1::HealthStatus;

use super::Admin;
use super::nodes::is_connected;

/// Status and reasons as they are found.
struct Found {
    worst: HealthStatus,
    reasons: Vec<String>,
}

impl Found {
    fn add(&mut self, status: HealthStatus, reason: String) {
        self.worst = self.worst.max(status);
        self.reasons.push(reason);
    }
}

impl Admin {
    pub(super) async fn health(&self) -> GetHealthResponse {
        let mut found = Found { worst: HealthStatus::Ok, reasons: Vec::new() };
        let replica = &self.store.options().coordinator;
        if !self.store.connection().borrow().reachable {
            let kind = self.store.kind();
            let reason = format!(
                "coordinator {replica}: store: {kind} does not answer; nothing new is kept until it does"
            );
            found.add(HealthStatus::Degraded, reason);
        }
        if self.store.mirror().leader().is_none() {
            let reason =
                "coordinators: leader: none; sequences are not accounted for until there is one".to_owned();
            found.add(HealthStatus::Degraded, reason);
        }
        let gathered = self.gather("").await;
        for replica in &gathered.unanswered {
            found.add(HealthStatus::Degraded, format!("coordinator {replica}: it does not answer"));
        }
        if gathered.connected().next().is_none() {
            found.add(HealthStatus::NotReady, "nodes: none has a session".to_owned());
        }
        let unanswered = gathered.unanswered.clone();
        let mut nodes = gathered.into_nodes();
        for node in &mut nodes {
            add_node(&mut found, node);
            // Health is what was asked for.
            node.statistics = None;
            node.top_exporters.clear();
        }
        GetHealthResponse { status: found.worst.into(), reasons: found.reasons, nodes, unanswered }
    }
}

fn add_node(found: &mut Found, node: &Node) {
    let id = &node.id;
    if !is_connected(node) {
        let asleep = node
            .desired
            .as_ref()
            .is_some_and(|desired| !desired.drain && *desired != nothing(desired.revision));
        if asleep {
            found.add(
                HealthStatus::Degraded,
                format!("node {id}: it has no session, and something is desired of it"),
            );
        }
        return;
    }
    if let Some(health) = &node.health {
        found.worst = found.worst.max(health.status());
        let reasons = health.not_ready.iter().chain(&health.degraded);
        found.reasons.extend(reasons.map(|reason| format!("node {id}: {reason}")));
    }
    if !node.config_error.is_empty() {
        let (revision, error) = (node.config_error_revision, &node.config_error);
        let reason = format!("node {id}: configuration: revision {revision} is refused: {error}");
        found.add(HealthStatus::Degraded, reason);
    }
}

/// A desired state in which nothing is desired any more.
fn nothing(revision: u64) -> catchment_proto::cluster::v1::DesiredState {
    catchment_proto::cluster::v1::DesiredState { revision, ..Default::default() }
}
