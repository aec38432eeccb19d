//! `config get`, `config set`, `config history`.

mod set;

use catchment_proto::cluster::v1::{self as cluster, ConfigRevision};
use catchment_proto::node::v1 as node;

use super::Session;
use crate::cli::ConfigCommand;
use crate::fault::Fault;
use crate::output::{Column, Document, Output, Table, age_of, moment};

pub(super) async fn run(session: &mut Session, command: &ConfigCommand) -> Result<(), Fault> {
    match command {
        ConfigCommand::Get { revision } => get(session, *revision).await,
        ConfigCommand::Set(arguments) => set::run(session, arguments).await,
        ConfigCommand::History { limit } => history(session, *limit).await,
    }
}

async fn get(session: &mut Session, revision: Option<u64>) -> Result<(), Fault> {
    if session.client.is_node() {
        if revision.is_some() {
            return Err(Fault::Usage("--revision asks a coordinator: leave --node-endpoint out".to_owned()));
        }
        let asked = node::GetConfigRequest {};
        let answer = session.client.node(async |mut node| node.get_config(asked).await).await?;
        return session.output.show(&Document::of(&answer), |_| answer.yaml.clone());
    }
    let revision = of_revision(session, revision.unwrap_or(0)).await?;
    session.output.show(&Document::of(&revision), |_| document(&revision))
}

/// A revision of the cluster's configuration; 0 is the present one.
async fn of_revision(session: &mut Session, revision: u64) -> Result<ConfigRevision, Fault> {
    let asked = cluster::GetConfigRequest { revision };
    let answer = session.client.admin(async |mut admin| admin.get_config(asked).await).await?;
    Ok(answer.revision.unwrap_or_default())
}

/// The document alone, so that it can be kept in a file; a comment where there is none.
fn document(revision: &ConfigRevision) -> String {
    match &revision.config {
        Some(config) if !config.yaml.is_empty() => {
            let end = if config.yaml.ends_with('\n') { "" } else { "\n" };
            format!("{}{end}", config.yaml)
        }
        _ => "# the cluster's configuration is empty: nodes run with their own\n".to_owned(),
    }
}

async fn history(session: &mut Session, limit: u32) -> Result<(), Fault> {
    session.needs_coordinator("config history")?;
    let asked = cluster::ListConfigRevisionsRequest { limit };
    let answer = session.client.admin(async |mut admin| admin.list_config_revisions(asked).await).await?;
    session
        .output
        .show(&Document::of(&answer), |output| table(&answer.revisions, output).render(output.width))
}

fn table(revisions: &[ConfigRevision], output: &Output) -> Table {
    let mut table = Table::new(
        &[
            Column::number("REVISION"),
            Column::number("AGE"),
            Column::text("WHEN (UTC)"),
            Column::wide("AUTHOR"),
            Column::wide("COMMENT"),
        ],
        "the configuration was never changed",
    );
    for revision in revisions {
        let comment = match revision.rollback_of {
            0 => revision.comment.clone(),
            of if revision.comment.is_empty() => format!("back to revision {of}"),
            of => format!("back to revision {of}: {}", revision.comment),
        };
        table.row([
            revision.config.as_ref().map_or(0, |config| config.revision).to_string(),
            age_of(revision.time_seconds, output.now),
            moment(revision.time_seconds),
            revision.author.clone(),
            comment,
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_history_says_who_when_and_why() {
        let wanted = "\
REVISION  AGE  WHEN (UTC)           AUTHOR    COMMENT
       7   1m  2026-11-21 13:51:32  ann@desk  back to revision 6
       6   1h  2026-11-21 12:52:32  ann@desk  look into node-2
";
        let output = Output { format: None, width: Some(80), now: sample::NOW };
        assert_eq!(table(&sample::revisions(), &output).render(Some(80)), wanted);
    }

    #[test]
    fn the_document_can_be_kept_in_a_file() {
        assert_eq!(document(&sample::revisions()[0]), sample::DOCUMENT);
        assert!(document(&ConfigRevision::default()).starts_with("# "), "nothing is YAML too");
    }
}
