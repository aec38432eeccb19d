//! `templates`: what data is decoded by, and where it is from.

use catchment_proto::cluster::v1::{self as cluster, TemplateKind};
use catchment_proto::json::Address;
use catchment_proto::node::v1::{self as node, Page, Template, TemplateField, TemplateOrigin};

use super::{Session, exporters};
use crate::cli::Filter;
use crate::describe::protocol;
use crate::fault::Fault;
use crate::output::{Column, Document, Output, Table, age_of};

/// Templates asked for at once; fewer where each comes with its fields.
const PAGE: u32 = 2_000;
const PAGE_WITH_FIELDS: u32 = 500;

pub(super) async fn run(
    session: &mut Session,
    filter: &Filter,
    id: Option<u32>,
    with_fields: bool,
) -> Result<(), Fault> {
    let mut templates = Vec::new();
    let mut token = String::new();
    let size = if with_fields { PAGE_WITH_FIELDS } else { PAGE };
    loop {
        let filter = Some(exporters::of(filter));
        let page = Some(Page { size, token: token.clone() });
        let id = id.unwrap_or(0);
        let next = if session.client.is_node() {
            let asked = node::ListTemplatesRequest { filter, id, with_fields, page };
            let answer =
                session.client.node(async |mut node| node.list_templates(asked.clone()).await).await?;
            templates.extend(answer.templates);
            answer.next_page_token
        } else {
            let asked = cluster::ListTemplatesRequest { filter, id, with_fields, page };
            let answer =
                session.client.admin(async |mut admin| admin.list_templates(asked.clone()).await).await?;
            templates.extend(answer.templates);
            answer.next_page_token
        };
        if next.is_empty() || next == token {
            break;
        }
        token = next;
    }
    let answer = cluster::ListTemplatesResponse { templates, next_page_token: String::new() };
    let document = Document::of(&answer).without("next_page_token");
    session.output.show(&document, |output| match with_fields {
        true => with_their_fields(&answer.templates, output),
        false => table(&answer.templates, output).render(output.width),
    })
}

fn table(templates: &[Template], output: &Output) -> Table {
    let mut table = Table::new(
        &[
            Column::text("EXPORTER"),
            Column::text("ZONE"),
            Column::text("PROTOCOL"),
            Column::number("DOMAIN"),
            Column::number("ID"),
            Column::number("PORT"),
            Column::text("KIND"),
            Column::number("FIELDS"),
            Column::number("RECORD"),
            Column::text("FROM"),
            Column::number("SEEN"),
            Column::wide("STATE"),
        ],
        "no templates",
    );
    for template in templates {
        let key = template.key.clone().unwrap_or_default();
        table.row([
            Address(&key.exporter).to_string(),
            key.zone,
            protocol(key.version),
            key.domain.to_string(),
            template.id.to_string(),
            template.port.to_string(),
            kind(template).to_owned(),
            template.field_count.to_string(),
            format!("{} B", template.min_record_bytes),
            origin(template).to_owned(),
            age_of(template.last_seen_ns as f64 / 1e9, output.now),
            state(template),
        ]);
    }
    table
}

fn with_their_fields(templates: &[Template], output: &Output) -> String {
    if templates.is_empty() {
        return table(templates, output).render(output.width);
    }
    let mut text = String::new();
    for template in templates {
        if !text.is_empty() {
            text.push('\n');
        }
        text += &table(std::slice::from_ref(template), output).render(output.width);
        text += &fields(&template.fields).section("Fields", output.width);
    }
    text
}

fn fields(fields: &[TemplateField]) -> Table {
    let columns = [
        Column::number("#"),
        Column::number("PEN"),
        Column::number("ID"),
        Column::number("LENGTH"),
        Column::wide("NAME"),
    ];
    let mut table = Table::new(&columns, "the server does not know them");
    for (at, field) in fields.iter().enumerate() {
        let specifier = field.specifier.unwrap_or_default();
        let name = if field.name.is_empty() { "?" } else { &field.name };
        table.row([
            (at + 1).to_string(),
            specifier.pen.to_string(),
            specifier.id.to_string(),
            if specifier.variable { "variable".to_owned() } else { specifier.length.to_string() },
            if specifier.scope { format!("{name} (scope)") } else { name.to_owned() },
        ]);
    }
    table
}

fn kind(template: &Template) -> &'static str {
    match TemplateKind::try_from(template.kind) {
        Ok(TemplateKind::Data) => "data",
        Ok(TemplateKind::Options) => "options",
        Ok(TemplateKind::Unspecified) | Err(_) => "?",
    }
}

fn origin(template: &Template) -> &'static str {
    match TemplateOrigin::try_from(template.origin) {
        Ok(TemplateOrigin::Wire) => "wire",
        Ok(TemplateOrigin::Cluster) => "cluster",
        Ok(TemplateOrigin::StateDir) => "state.dir",
        Ok(TemplateOrigin::Unspecified) | Err(_) => "-",
    }
}

fn state(template: &Template) -> String {
    let said = [
        (template.suspect, "suspect: waits for a new announcement"),
        (template.conflict, "ports disagree"),
        (!template.proven, "no data yet"),
    ];
    said.iter().filter(|(is, _)| *is).map(|(_, what)| *what).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn output() -> Output {
        Output { format: None, width: Some(140), now: sample::NOW }
    }

    #[test]
    fn templates_are_a_line_each() {
        let wanted = "\
EXPORTER   ZONE  PROTOCOL    DOMAIN   ID   PORT  KIND     FIELDS  RECORD  FROM     SEEN  STATE
192.0.2.1        NetFlow v9       1  256  50000  data          2     8 B  wire      30s
192.0.2.1        NetFlow v9       1  512  50000  options       2     8 B  cluster     -  suspect: waits for a new announcement, ports disag…
";
        assert_eq!(table(&sample::templates(), &output()).render(Some(140)), wanted);
    }

    #[test]
    fn fields_stand_under_their_template() {
        let shown = with_their_fields(&sample::templates()[..1], &output());
        let wanted = "
Fields
  #  PEN  ID  LENGTH  NAME
  1    0   8       4  sourceIPv4Address
  2    0  12       4  destinationIPv4Address
";
        assert!(shown.ends_with(wanted), "{shown}");
    }
}
