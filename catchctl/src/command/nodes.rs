//! `nodes` and `node NAME`.

use catchment_proto::cluster::v1::{GetNodeRequest, ListNodesRequest, ListNodesResponse, Node};
use catchment_proto::node::v1::{ExporterLoad, GetHealthRequest, GetStatisticsRequest};

use super::{Session, listeners, stats};
use crate::describe::{self, exporter, lost, node_health, reasons, started, wishes};
use crate::fault::Fault;
use crate::output::{Column, Document, Facts, Output, Table, age_of, bytes, count, exact, rate, ratio};

pub(super) async fn list(session: &mut Session) -> Result<(), Fault> {
    let answer = if session.client.is_node() {
        ListNodesResponse { nodes: vec![itself(session).await?], ..ListNodesResponse::default() }
    } else {
        session.client.admin(async |mut admin| admin.list_nodes(ListNodesRequest {}).await).await?
    };
    session.output.unanswered(&answer.unanswered);
    session.output.show(&Document::of(&answer), |output| table(&answer.nodes, output).render(output.width))
}

pub(super) async fn one(session: &mut Session, name: &str) -> Result<(), Fault> {
    session.needs_coordinator("node")?;
    let asked = GetNodeRequest { id: name.to_owned() };
    let answer = session.client.admin(async |mut admin| admin.get_node(asked.clone()).await).await;
    let answer = session.or_nearest(name, answer).await?;
    let node = answer.node.unwrap_or_default();
    session.output.show(&Document::of(&node), |output| details(&node, output))
}

/// The one node that is asked, as it sees itself: also one that no coordinator knows of.
async fn itself(session: &mut Session) -> Result<Node, Fault> {
    let answer = session.client.node(async |mut node| node.get_health(GetHealthRequest {}).await).await?;
    let accounts = session.client.node(async |mut node| node.get_statistics(GetStatisticsRequest {}).await);
    let health = answer.health.unwrap_or_default();
    Ok(Node {
        id: answer.node_id,
        incarnation: answer.incarnation,
        version: answer.version,
        coordinator: health.coordinator.clone(),
        health: Some(health),
        statistics: accounts.await?.statistics,
        ..Node::default()
    })
}

/// The nodes, a line each.
pub(crate) fn table(nodes: &[Node], output: &Output) -> Table {
    let mut table = Table::new(
        &[
            Column::text("NAME"),
            Column::text("HEALTH"),
            Column::text("VERSION"),
            Column::number("UP"),
            Column::number("REC/S"),
            Column::number("DG/S"),
            Column::number("DG LOST"),
            Column::number("REC LOST"),
            Column::number("BUFFER"),
            Column::number("PENDING"),
            Column::number("TEMPLATES"),
            Column::wide("COORDINATOR"),
            Column::wide("STATE"),
        ],
        "no node has a session with a coordinator",
    );
    for node in nodes {
        let statistics = node.statistics.clone().unwrap_or_default();
        let known = !node.coordinator.is_empty() || node.health.is_some();
        let shown = |text: String| if known { text } else { "-".to_owned() };
        // Rates are of heartbeats: a node that is asked itself has none.
        let heard = node.heard_seconds > 0.0 || node.health.is_none();
        let shown_rate = |value| if heard { shown(rate(value)) } else { "-".to_owned() };
        let (datagrams, records) = lost(&statistics);
        table.row([
            node.id.clone(),
            node_health(node).to_owned(),
            shown(node.version.clone()),
            age_of(started(node), output.now),
            shown_rate(node.records_per_second),
            shown_rate(node.datagrams_per_second),
            shown(count(datagrams)),
            shown(count(records)),
            shown(ratio(statistics.buffer_usage_ratio)),
            shown(bytes(statistics.pending_bytes)),
            shown(count(statistics.templates)),
            shown(if node.coordinator.is_empty() { "none".to_owned() } else { node.coordinator.clone() }),
            wishes(node),
        ]);
    }
    table
}

fn details(node: &Node, output: &Output) -> String {
    let width = output.width;
    let mut facts = Facts::default();
    facts.add("name", &node.id).add("health", node_health(node));
    if let Some(health) = &node.health {
        facts.add_each("reasons", &reasons(health));
        facts.add_each("sources", &health.sources.iter().map(describe::source).collect::<Vec<_>>());
    }
    facts.add_some("state", wishes(node));
    let since = |what: &str, then: f64| match age_of(then, output.now).as_str() {
        "-" => what.to_owned(),
        age => format!("{what}, for {age}"),
    };
    if node.coordinator.is_empty() {
        facts.add("coordinator", "none has a session with it");
    } else {
        facts
            .add("coordinator", since(&node.coordinator, node.connected_seconds))
            .add_some("heard", some_age(node.heard_seconds, output.now))
            .add("version", &node.version)
            .add("incarnation", since(&node.incarnation.to_string(), started(node)))
            .add("gRPC", &node.grpc_address)
            .add("HTTP", &node.http_address)
            .add("configuration", format!("revision {}", node.config_revision));
    }
    if let Some(statistics) = &node.statistics {
        facts
            .add(
                "rates",
                format!(
                    "{} records/s, {} datagrams/s",
                    rate(node.records_per_second),
                    rate(node.datagrams_per_second)
                ),
            )
            .add(
                "memory",
                format!(
                    "{} resident, {} wait for templates",
                    bytes(statistics.resident_bytes),
                    bytes(statistics.pending_bytes)
                ),
            )
            .add("CPU", format!("{:.1} s since its start", statistics.cpu_seconds))
            .add(
                "knows",
                format!(
                    "{} templates of {} exporters",
                    exact(statistics.templates),
                    exact(statistics.exporters)
                ),
            );
    }
    let mut text = facts.render(width);
    if !node.listeners.is_empty() {
        text += &listeners::table(&node.listeners).section("Listeners", width);
    }
    if let Some(ledger) = node.statistics.as_ref().and_then(|statistics| statistics.ledger.as_ref()) {
        text += &stats::ledger(ledger, width);
    }
    if !node.top_exporters.is_empty() {
        text += &loads(&node.top_exporters).section("Heaviest exporters since the heartbeat before", width);
    }
    text
}

/// `2s ago`, or nothing.
fn some_age(then: f64, now: f64) -> String {
    if then > 0.0 { format!("{} ago", age_of(then, now)) } else { String::new() }
}

fn loads(loads: &[ExporterLoad]) -> Table {
    const SHOWN: usize = 10;
    let columns = [
        Column::wide("EXPORTER"),
        Column::number("RECORDS"),
        Column::number("DATAGRAMS"),
        Column::number("BYTES"),
    ];
    let mut table = Table::new(&columns, "none");
    for load in loads.iter().take(SHOWN) {
        table.row([
            exporter(&load.exporter, &load.zone),
            exact(load.records),
            exact(load.datagrams),
            bytes(load.bytes),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn output(width: Option<usize>) -> Output {
        Output { format: None, width, now: sample::NOW }
    }

    #[test]
    fn nodes_are_a_line_each() {
        let wanted = "\
NAME    HEALTH    VERSION    UP  REC/S  DG/S  DG LOST  REC LOST  BUFFER  PENDING  TEMPLATES  COORDINATOR    STATE
node-1  ok        0.1.0    1h2m  12.3k   514       15         0      3%  1.4 KiB         37  coordinator-1
node-2  degraded  0.1.0    1h2m      0   0.4        3         0      3%  1.4 KiB         37  coordinator-2  paused flow, log debug, not taken over yet
node-3  away      -           -      -     -        -         -       -        -          -  -              drain
";
        assert_eq!(table(&sample::nodes(), &output(None)).render(None), wanted);
    }

    #[test]
    fn a_narrow_terminal_cuts_text_and_no_numbers() {
        let shown = table(&sample::nodes(), &output(Some(120))).render(Some(120));
        let wanted = "node-2  degraded  0.1.0    1h2m      0   0.4        3         0      3%  1.4 KiB         37  coordinator-2  paused flow…";
        assert_eq!(shown.lines().nth(2), Some(wanted));
    }

    #[test]
    fn a_node_is_shown_whole() {
        let wanted = "\
name           node-2
health         degraded
reasons        kafka: no broker has answered for 12 s
sources        flow paused
state          paused flow, log debug, not taken over yet
coordinator    coordinator-2, for 1m
heard          1s ago
version        0.1.0
incarnation    1795265429000, for 1h2m
gRPC           10.0.0.2:7401
HTTP           10.0.0.2:8081
configuration  revision 7
rates          0 records/s, 0.4 datagrams/s
memory         48.0 MiB resident, 1.4 KiB wait for templates
CPU            812.5 s since its start
knows          37 templates of 9 exporters

Listeners
";
        let shown = details(&sample::nodes()[1], &output(Some(100)));
        assert!(shown.starts_with(wanted), "{shown}");
        assert!(shown.contains("\nLedger: every count is accounted for\n"), "{shown}");
        let away = details(&sample::nodes()[2], &output(None));
        assert!(away.contains("coordinator  none has a session with it"), "{away}");
    }
}
