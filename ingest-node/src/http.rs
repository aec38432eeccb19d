//! What the node says over HTTP: why it is not ready, what is degraded, its sources and output; the ledger in
//! `/metrics.json` under `ledger`.

use catchment_serving::http::{Health, HealthStatus, Liveness, Observed};
use serde::Serialize;

use crate::node::Node;
use crate::output::OutputHealth;
use crate::source::SourceHealth;
use crate::status::Status;

/// `/health`.
#[derive(Debug, Serialize)]
pub struct Detail {
    node: String,
    version: &'static str,
    status: HealthStatus,
    ready: bool,
    #[serde(flatten)]
    health: Health,
    sources: Vec<Source>,
    output: OutputHealth,
}

#[derive(Debug, Serialize)]
struct Source {
    name: &'static str,
    #[serde(flatten)]
    health: SourceHealth,
}

impl Observed for Node {
    type Detail = Detail;
    type Status = Status;

    fn liveness(&self) -> Liveness {
        Node::status(self).liveness()
    }

    fn health(&self) -> Health {
        Node::status(self).health
    }

    fn detail(&self) -> Detail {
        let status = Node::status(self);
        let sources =
            status.sources.into_iter().map(|source| Source { name: source.name, health: source.health });
        Detail {
            node: status.node,
            version: status.version,
            status: status.health.status(),
            ready: status.health.is_ready(),
            health: status.health,
            sources: sources.collect(),
            output: status.output,
        }
    }

    fn status(&self) -> Status {
        Node::status(self)
    }

    fn metrics(&self) -> String {
        Node::metrics(self).render(&Node::status(self))
    }
}
