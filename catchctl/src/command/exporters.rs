//! `exporters`: who sends, what is known of them, what of theirs was lost and by whom.

use catchment_proto::cluster::v1 as cluster;
use catchment_proto::node::v1::{self as node, Exporter, ExporterFilter, Page};

use super::Session;
use crate::cli::Filter;
use crate::describe::{Losses, protocol};
use crate::fault::Fault;
use crate::output::{Column, Document, Output, Table, age_of, bytes, count};

/// Exporters asked for at once.
const PAGE: u32 = 1_000;

pub(super) async fn run(session: &mut Session, filter: &Filter) -> Result<(), Fault> {
    let mut answer = cluster::ListExportersResponse::default();
    let mut token = String::new();
    loop {
        let page = page(session, filter, &token).await?;
        answer.exporters.extend(page.exporters);
        let new = page.remarks.into_iter().filter(|remark| !answer.remarks.contains(remark));
        let new: Vec<String> = new.collect();
        answer.remarks.extend(new);
        if page.next_page_token.is_empty() || page.next_page_token == token {
            break;
        }
        token = page.next_page_token;
    }
    session.output.remark(&answer.remarks);
    let document = Document::of(&answer).without("next_page_token");
    session.output.show(&document, |output| table(&answer.exporters, output).render(output.width))
}

/// One page of them.
async fn page(
    session: &mut Session,
    filter: &Filter,
    token: &str,
) -> Result<cluster::ListExportersResponse, Fault> {
    let filter = Some(of(filter));
    let page = Some(Page { size: PAGE, token: token.to_owned() });
    if session.client.is_node() {
        let asked = node::ListExportersRequest { filter, page };
        let answer = session.client.node(async |mut node| node.list_exporters(asked.clone()).await).await?;
        let node::ListExportersResponse { exporters, next_page_token } = answer;
        return Ok(cluster::ListExportersResponse { exporters, next_page_token, remarks: vec![] });
    }
    let asked = cluster::ListExportersRequest { filter, page };
    session.client.admin(async |mut admin| admin.list_exporters(asked.clone()).await).await
}

/// The filter as the contracts have it.
pub(super) fn of(filter: &Filter) -> ExporterFilter {
    ExporterFilter { zone: filter.zone.clone(), prefix: filter.prefix.clone().unwrap_or_default() }
}

fn table(exporters: &[Exporter], output: &Output) -> Table {
    let mut table = Table::new(
        &[
            Column::text("EXPORTER"),
            Column::text("ZONE"),
            Column::wide("PROTOCOLS"),
            Column::number("SEEN"),
            Column::number("TEMPLATES"),
            Column::number("RECEIVED"),
            Column::number("LOST UP"),
            Column::number("LOST HERE"),
            Column::number("LOST ?"),
            Column::number("PENDING"),
            Column::wide("NOTES"),
        ],
        "no exporters",
    );
    for exporter in exporters {
        let losses = Losses::of(exporter);
        table.row([
            catchment_proto::json::Address(&exporter.address).to_string(),
            exporter.zone.clone(),
            protocols(exporter),
            age_of(exporter.last_seen_ns as f64 / 1e9, output.now),
            count(exporter.templates),
            count(losses.received),
            count(losses.upstream),
            count(losses.here),
            count(losses.unknown),
            bytes(exporter.pending_bytes),
            notes(exporter),
        ]);
    }
    table
}

fn protocols(exporter: &Exporter) -> String {
    let scopes = exporter.scopes.iter().map(|scope| scope.version);
    let mut versions: Vec<u32> =
        scopes.chain(exporter.sequences.iter().map(|account| account.version)).collect();
    versions.sort_unstable();
    versions.dedup();
    versions.into_iter().map(protocol).collect::<Vec<_>>().join(", ")
}

fn notes(exporter: &Exporter) -> String {
    let conflicts = exporter.scopes.iter().filter(|scope| !scope.conflicts.is_empty()).map(|scope| {
        let ids = scope.conflicts.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
        format!("ports disagree on template {ids}")
    });
    let mut notes: Vec<String> = conflicts.collect();
    for note in exporter.sequences.iter().flat_map(|account| &account.notes) {
        if !notes.contains(note) {
            notes.push(note.clone());
        }
    }
    notes.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn exporters_are_a_line_each_with_what_was_lost_where() {
        let wanted = "\
EXPORTER     ZONE        PROTOCOLS          SEEN  TEMPLATES  RECEIVED  LOST UP  LOST HERE  LOST ?  PENDING  NOTES
192.0.2.1                NetFlow v9, IPFIX    2s         37      1.2M      100         12       3  1.4 KiB  ports disagree on template 256, node-3 incarnation 1795260000000 crashed
2001:db8::1  customer-a                        -          0         0        0          0       0      0 B
";
        let output = Output { format: None, width: None, now: sample::NOW };
        assert_eq!(table(&sample::exporters(), &output).render(None), wanted);
    }
}
