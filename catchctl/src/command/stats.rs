//! `stats`: the ledger, all that came in and what became of it.

use catchment_proto::cluster::v1 as cluster;
use catchment_proto::node::v1::{self as node, Ledger, ReasonCount, Statistics};

use super::{Session, nodes};
use crate::describe::total;
use crate::fault::Fault;
use crate::output::{Column, Document, Facts, Output, Table, bytes, duration, exact, ratio};

pub(super) async fn run(session: &mut Session, name: Option<&str>) -> Result<(), Fault> {
    if session.client.is_node() {
        session.no_name(name)?;
        let asked = node::GetStatisticsRequest {};
        let answer = session.client.node(async |mut node| node.get_statistics(asked).await).await?;
        let statistics = answer.statistics.clone().unwrap_or_default();
        let title = format!("node {}", answer.node_id);
        return session.output.show(&Document::of(&answer), |output| accounts(&title, &statistics, output));
    }
    let asked = cluster::GetStatisticsRequest { node: name.unwrap_or_default().to_owned() };
    let answer = session.client.admin(async |mut admin| admin.get_statistics(asked.clone()).await).await;
    let answer = match name {
        Some(name) => session.or_nearest(name, answer).await?,
        None => answer?,
    };
    session.output.show(&Document::of(&answer), |output| {
        let statistics = answer.total.clone().unwrap_or_default();
        let title = match name {
            Some(name) => format!("node {name}"),
            None => {
                format!("{} nodes", answer.nodes.iter().filter(|node| !node.coordinator.is_empty()).count())
            }
        };
        let mut text = accounts(&title, &statistics, output);
        if let Some(totals) = answer.sequences.as_ref().filter(|_| name.is_none()) {
            text += &sequences(totals).section("Sequence numbers since the leader began", output.width);
        }
        if name.is_some() {
            text
        } else {
            text + &nodes::table(&answer.nodes, output).section("Nodes", output.width)
        }
    })
}

fn accounts(title: &str, statistics: &Statistics, output: &Output) -> String {
    let mut facts = Facts::default();
    facts.add("of", title);
    if statistics.started_seconds > 0.0 {
        let up = std::time::Duration::try_from_secs_f64(output.now - statistics.started_seconds);
        facts.add("since", format!("{} ago", duration(up.unwrap_or_default())));
    }
    facts
        .add(
            "templates",
            format!(
                "{} in {} scopes of {} exporters",
                exact(statistics.templates),
                exact(statistics.scopes),
                exact(statistics.exporters)
            ),
        )
        .add("pending", bytes(statistics.pending_bytes))
        .add("memory", bytes(statistics.resident_bytes))
        .add("CPU", format!("{:.1} s", statistics.cpu_seconds))
        .add("buffers", format!("{} full at most", ratio(statistics.buffer_usage_ratio)));
    let text = facts.render(output.width);
    match &statistics.ledger {
        Some(it) => text + &ledger(it, output.width),
        None => text,
    }
}

/// Numbers of all sequence spaces.
fn sequences(totals: &cluster::SequenceTotals) -> Table {
    let mut table = Table::new(&[Column::text("WHAT"), Column::number("COUNT")], "empty");
    for (what, count) in [
        ("received", totals.received),
        ("lost before any node", totals.lost_upstream),
        ("lost by a node", totals.lost_here),
        ("lost, unknown by whom", totals.lost_unknown),
        ("came late", totals.reordered),
        ("came again", totals.repeated_numbers),
        ("restarts of counters", totals.resets),
        ("nothing can be told", totals.stray),
        ("sequence spaces", totals.spaces),
    ] {
        table.row([what.to_owned(), exact(count)]);
    }
    table
}

/// The ledger as equations.
pub(super) fn ledger(ledger: &Ledger, width: Option<usize>) -> String {
    let mut table =
        Table::new(&[Column::text("WHAT"), Column::number("COUNT"), Column::wide("REASONS")], "empty");
    let mut row =
        |what: &str, count: u64, reasons: String| table.row([what.to_owned(), exact(count), reasons]);
    if let Some(datagrams) = &ledger.datagrams {
        row("datagrams arrived", datagrams.arrived, String::new());
        row("  dropped by the kernel", datagrams.kernel_dropped, String::new());
        row("  received", datagrams.received, String::new());
        row("    decoded", datagrams.decoded, String::new());
        row("    decoded in part", datagrams.partly_decoded, String::new());
        row("    rejected", total(&datagrams.rejected), reasons(&datagrams.rejected));
    }
    if let Some(sets) = &ledger.sets {
        row("data sets seen", sets.seen, String::new());
        row("  decoded", sets.decoded, String::new());
        row("  wait for their template", sets.pending, String::new());
        row("  waited too long", sets.expired, String::new());
        row("  gave way for lack of room", sets.evicted, String::new());
        row("  rejected", total(&sets.rejected), reasons(&sets.rejected));
    }
    for stream in &ledger.streams {
        row(&format!("{} records produced", stream.stream), stream.produced, String::new());
        if stream.recovered > 0 {
            row("  + found on disk at start", stream.recovered, String::new());
        }
        row("  delivered", stream.delivered, String::new());
        row("  in flight", stream.in_flight, String::new());
        row("  on disk", stream.on_disk, String::new());
        row("  dropped", total(&stream.dropped), reasons(&stream.dropped));
    }
    let title =
        if ledger.balanced { "Ledger: every count is accounted for" } else { "Ledger: DOES NOT BALANCE" };
    table.section(title, width)
}

fn reasons(counts: &[ReasonCount]) -> String {
    let some = counts.iter().filter(|count| count.count > 0);
    some.map(|count| format!("{} {}", count.reason, exact(count.count))).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_ledger_reads_as_equations() {
        let wanted = "\
of         node node-1
since      1h2m ago
templates  37 in 12 scopes of 9 exporters
pending    1.4 KiB
memory     48.0 MiB
CPU        812.5 s
buffers    3% full at most

Ledger: every count is accounted for
  WHAT                              COUNT  REASONS
  datagrams arrived             1,234,579
    dropped by the kernel              12
    received                    1,234,567
      decoded                   1,234,562
      decoded in part                   2
      rejected                          3  truncated 3
  data sets seen                1,234,567
    decoded                     1,234,566
    wait for their template             1
    waited too long                     0
    gave way for lack of room           0
    rejected                            0
  flow records produced        29,629,608
    delivered                  29,599,979
    in flight                      29,629
    on disk                             0
    dropped                             0
  options records produced             40
    delivered                          40
    in flight                           0
    on disk                             0
    dropped                             0
";
        let output = Output { format: None, width: Some(80), now: sample::NOW };
        assert_eq!(accounts("node node-1", &sample::statistics(1_234_567, 12), &output), wanted);
    }

    #[test]
    fn an_imbalance_is_said_loudly() {
        assert!(ledger(&Ledger::default(), None).contains("DOES NOT BALANCE"));
    }
}
