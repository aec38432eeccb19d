//! Health as Prometheus text, for node_exporter's textfile collector and for probes that speak nothing else.
//!
//! ```text
//! catchctl_cluster_health{status="ok"} 1              one line a status, 1 for the present one
//! catchctl_node_health{node="node-1",status="ok"} 1
//! catchctl_source_state{node="node-1",source="flow",state="running"} 1
//! ```

use std::fmt::Write as _;

use catchment_proto::cluster::v1::GetHealthResponse;
use catchment_proto::node::v1::{self as node, Health, HealthStatus, SourceState};

const STATUSES: [(&str, HealthStatus); 4] = [
    ("unknown", HealthStatus::Unspecified),
    ("ok", HealthStatus::Ok),
    ("degraded", HealthStatus::Degraded),
    ("not_ready", HealthStatus::NotReady),
];
const STATES: [(&str, SourceState); 6] = [
    ("unknown", SourceState::Unspecified),
    ("starting", SourceState::Starting),
    ("running", SourceState::Running),
    ("paused", SourceState::Paused),
    ("draining", SourceState::Draining),
    ("ended", SourceState::Ended),
];

/// The cluster's health and each node's.
pub(crate) fn of_cluster(answer: &GetHealthResponse) -> String {
    let mut text = String::new();
    head(&mut text, "catchctl_cluster_health", "Health of the cluster: 1 for the present status.");
    for (name, status) in STATUSES {
        _ = writeln!(
            text,
            "catchctl_cluster_health{{status=\"{name}\"}} {}",
            is(answer.status, status.into())
        );
    }
    let unknown = Health::default();
    let nodes: Vec<(&str, &Health, bool)> = answer
        .nodes
        .iter()
        .map(|node| {
            (node.id.as_str(), node.health.as_ref().unwrap_or(&unknown), !node.coordinator.is_empty())
        })
        .collect();
    head(&mut text, "catchctl_node_session", "Whether a coordinator has a session with the node.");
    for (id, _, session) in &nodes {
        _ = writeln!(text, "catchctl_node_session{{node=\"{}\"}} {}", escaped(id), u8::from(*session));
    }
    of_nodes(&mut text, nodes.iter().map(|(id, health, _)| (*id, *health)));
    text
}

/// One node's health, as it says itself.
pub(crate) fn of_node(answer: &node::GetHealthResponse) -> String {
    let mut text = String::new();
    of_nodes(&mut text, answer.health.iter().map(|health| (answer.node_id.as_str(), health)));
    text
}

fn of_nodes<'h>(text: &mut String, nodes: impl Iterator<Item = (&'h str, &'h Health)> + Clone) {
    head(text, "catchctl_node_health", "Health of a node: 1 for the present status.");
    for (id, health) in nodes.clone() {
        for (name, status) in STATUSES {
            let is = is(health.status, status.into());
            _ = writeln!(text, "catchctl_node_health{{node=\"{}\",status=\"{name}\"}} {is}", escaped(id));
        }
    }
    head(text, "catchctl_source_state", "What a source of a node does: 1 for the present state.");
    for (id, health) in nodes {
        for source in &health.sources {
            for (name, state) in STATES {
                let is = is(source.state, state.into());
                let (id, source) = (escaped(id), escaped(&source.name));
                _ = writeln!(
                    text,
                    "catchctl_source_state{{node=\"{id}\",source=\"{source}\",state=\"{name}\"}} {is}"
                );
            }
        }
    }
}

fn head(text: &mut String, name: &str, help: &str) {
    _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
}

/// A number that no name stands for counts as unknown.
fn is(value: i32, one: i32) -> u8 {
    let known = HealthStatus::try_from(value).is_ok() || SourceState::try_from(value).is_ok();
    u8::from(if known { value == one } else { one == 0 })
}

/// A label's value: backslash, quote and line feed have escapes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn one_status_of_each_is_1() {
        let text = of_cluster(&GetHealthResponse {
            status: HealthStatus::Degraded.into(),
            reasons: vec![],
            nodes: sample::nodes(),
            unanswered: vec![],
        });
        for line in [
            "catchctl_cluster_health{status=\"degraded\"} 1",
            "catchctl_cluster_health{status=\"ok\"} 0",
            "catchctl_node_session{node=\"node-3\"} 0",
            "catchctl_node_health{node=\"node-1\",status=\"ok\"} 1",
            "catchctl_node_health{node=\"node-3\",status=\"unknown\"} 1",
            "catchctl_source_state{node=\"node-2\",source=\"flow\",state=\"paused\"} 1",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
        let ones =
            text.lines().filter(|line| line.starts_with("catchctl_node_health") && line.ends_with(" 1"));
        assert_eq!(ones.count(), 3);
        assert_eq!(text.matches("# TYPE").count(), 4);
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
