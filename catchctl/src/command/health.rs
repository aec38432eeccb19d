//! `health`: status 0 where all is well, 1 where it is not; the output says why in both cases.

use catchment_proto::cluster::v1::{self as cluster, Node};
use catchment_proto::node::v1::{self as node, HealthStatus};

use super::Session;
use crate::describe::{health_status, node_health, reasons, source};
use crate::fault::Fault;
use crate::output::{self, Column, Document, Facts, Format, Output, Table, prometheus};

pub(super) async fn run(session: &mut Session) -> Result<(), Fault> {
    if session.client.is_node() {
        let asked = node::GetHealthRequest {};
        let answer = session.client.node(async |mut node| node.get_health(asked).await).await?;
        let health = answer.health.clone().unwrap_or_default();
        match session.output.format {
            Some(Format::Prom) => output::write(&prometheus::of_node(&answer))?,
            _ => session.output.show(&Document::of(&answer), |output| of_node(&answer, output))?,
        }
        return verdict(health.status);
    }
    let asked = cluster::GetHealthRequest {};
    let answer = session.client.admin(async |mut admin| admin.get_health(asked).await).await?;
    session.output.unanswered(&answer.unanswered);
    match session.output.format {
        Some(Format::Prom) => output::write(&prometheus::of_cluster(&answer))?,
        _ => session.output.show(&Document::of(&answer), |output| of_cluster(&answer, output))?,
    }
    verdict(answer.status)
}

fn verdict(status: i32) -> Result<(), Fault> {
    match HealthStatus::try_from(status) {
        Ok(HealthStatus::Ok) => Ok(()),
        _ => Err(Fault::NotHealthy),
    }
}

fn of_node(answer: &node::GetHealthResponse, output: &Output) -> String {
    let health = answer.health.clone().unwrap_or_default();
    let mut facts = Facts::default();
    facts.add("node", &answer.node_id).add("health", health_status(health.status));
    facts.add_each("not ready", &health.not_ready);
    facts.add_each("degraded", &health.degraded);
    facts.add_each("sources", &health.sources.iter().map(source).collect::<Vec<_>>());
    facts.add("coordinator", if health.coordinator.is_empty() { "none" } else { &health.coordinator });
    facts.add("version", &answer.version);
    facts.render(output.width)
}

fn of_cluster(answer: &cluster::GetHealthResponse, output: &Output) -> String {
    let mut facts = Facts::default();
    facts.add("health", health_status(answer.status)).add_each("reasons", &answer.reasons);
    let mut text = facts.render(output.width);
    text.push('\n');
    text += &table(&answer.nodes).render(output.width);
    text
}

fn table(nodes: &[Node]) -> Table {
    let columns =
        [Column::text("NODE"), Column::text("HEALTH"), Column::wide("SOURCES"), Column::wide("REASONS")];
    let mut table = Table::new(&columns, "no node has a session with a coordinator");
    for node in nodes {
        let health = node.health.clone().unwrap_or_default();
        table.row([
            node.id.clone(),
            node_health(node).to_owned(),
            health.sources.iter().map(source).collect::<Vec<_>>().join(", "),
            reasons(&health).join("; "),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_cluster_comes_first_then_each_node() {
        let answer = cluster::GetHealthResponse {
            status: HealthStatus::Degraded.into(),
            reasons: vec!["node-2: kafka: no broker has answered for 12 s".to_owned()],
            nodes: sample::nodes(),
            unanswered: vec![],
        };
        let wanted = "\
health   degraded
reasons  node-2: kafka: no broker has answered for 12 s

NODE    HEALTH    SOURCES       REASONS
node-1  ok        flow running
node-2  degraded  flow paused   kafka: no broker has answered for 12 s
node-3  away
";
        let output = Output { format: None, width: Some(80), now: sample::NOW };
        assert_eq!(of_cluster(&answer, &output), wanted);
        assert!(verdict(answer.status).is_err());
        assert!(verdict(HealthStatus::Ok.into()).is_ok());
    }
}
