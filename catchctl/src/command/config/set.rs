//! `config set`: a whole document, or changes of single keys of the present one.
//!
//! Changes are made from the revision that was read, and say so; where somebody else was quicker (ABORTED) they are made
//! once more from what holds then. A person at a terminal sees what will change and what the nodes say to it, and is asked;
//! a script is not.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::time::Duration;

use catchment_proto::cluster::v1 as cluster;
use catchment_proto::node::v1 as node;
use tonic::Code;

use super::{Session, of_revision};
use crate::cli::SetArgs;
use crate::document_edit::{self, Change};
use crate::fault::Fault;
use crate::output::{self, Document, Format};

/// The largest document that is read; the cluster takes less.
const LARGEST: u64 = 4 << 20;
/// Every node checks the change and takes it over before the coordinator answers.
const PATIENCE: Duration = Duration::from_secs(45);

pub(super) async fn run(session: &mut Session, arguments: &SetArgs) -> Result<(), Fault> {
    let wanted = Wanted::of(arguments)?;
    if session.client.is_node() {
        return on_node(session, arguments, wanted).await;
    }
    session.client.be_patient(session.given_timeout, PATIENCE);
    let mut tries = 2;
    loop {
        tries -= 1;
        let (yaml, expected) = match &wanted {
            Wanted::Document(text) => (text.clone(), arguments.expect_revision),
            Wanted::Changes(changes) => {
                let present = of_revision(session, 0).await?.config.unwrap_or_default();
                let yaml = edited(&present.yaml, changes, &format!("revision {}", present.revision))?;
                (yaml, Some(arguments.expect_revision.unwrap_or(present.revision)))
            }
        };
        let asked = cluster::SetConfigRequest {
            yaml,
            expected_revision: expected,
            check_only: arguments.check,
            author: author(),
            comment: arguments.comment.clone(),
        };
        if !arguments.check && !arguments.yes && at_terminal() {
            let check = cluster::SetConfigRequest { check_only: true, ..asked.clone() };
            let answer = call(session, &check).await?.map_err(refusal)?;
            output::note_raw(&diff_and_results(&answer));
            refused(&answer)?;
            if answer.diff.is_empty() {
                output::note("nothing changes");
                return Ok(());
            }
            if !agreed()? {
                return Err(Fault::Refused("nothing was changed".to_owned()));
            }
        }
        let answer = match call(session, &asked).await? {
            Ok(answer) => answer,
            Err(Refusal { code: Code::Aborted, .. })
                if tries > 0
                    && arguments.expect_revision.is_none()
                    && matches!(wanted, Wanted::Changes(_)) =>
            {
                continue;
            }
            Err(refused) => return Err(refusal(refused)),
        };
        session.output.remark(&answer.remarks);
        session.output.show(&Document::of(&answer), |_| {
            let mut text = diff_and_results(&answer);
            text += &verdict(&answer, arguments.check);
            text
        })?;
        return refused(&answer);
    }
}

/// What the document is to become.
#[derive(Debug, PartialEq)]
enum Wanted {
    Document(String),
    Changes(Vec<Change>),
}

impl Wanted {
    fn of(arguments: &SetArgs) -> Result<Self, Fault> {
        let unset = arguments.unset.iter().map(|key| document_edit::path(key).map(Change::Unset));
        let unset: Vec<Change> = unset.collect::<Result<_, _>>().map_err(Fault::Usage)?;
        match arguments.what.as_slice() {
            [file] if !file.contains('=') || std::path::Path::new(file).is_file() => {
                if !unset.is_empty() {
                    return Err(Fault::Usage(format!(
                        "{file} and --unset: a whole document has no key to take out"
                    )));
                }
                read(file).map(Wanted::Document)
            }
            changes => {
                let set = |text: &String| match text.split_once('=') {
                    Some((key, value)) => {
                        Ok(Change::Set(document_edit::path(key).map_err(Fault::Usage)?, value.to_owned()))
                    }
                    None => Err(Fault::Usage(format!("`{text}` has no `=`: give one FILE, or KEY=VALUE..."))),
                };
                let set: Vec<Change> = changes.iter().map(set).collect::<Result<_, _>>()?;
                Ok(Wanted::Changes(set.into_iter().chain(unset).collect()))
            }
        }
    }
}

fn read(file: &str) -> Result<String, Fault> {
    let mut text = String::new();
    let unreadable = |error| Fault::Usage(format!("cannot read {file}: {error}"));
    match file {
        "-" => std::io::stdin().lock().take(LARGEST + 1).read_to_string(&mut text).map_err(unreadable)?,
        path => {
            let file = std::fs::File::open(path).map_err(unreadable)?;
            file.take(LARGEST + 1).read_to_string(&mut text).map_err(unreadable)?
        }
    };
    if text.len() as u64 > LARGEST {
        return Err(Fault::Usage(format!("{file}: larger than 4 MiB: this is no configuration")));
    }
    Ok(text)
}

fn edited(document: &str, changes: &[Change], what: &str) -> Result<String, Fault> {
    let edited =
        document_edit::apply(document, changes).map_err(|why| Fault::Usage(format!("{what}: {why}")))?;
    if !edited.kept_comments {
        output::note("the document had to be written anew: its comments are lost");
    }
    Ok(edited.text)
}

/// Why a configuration is not taken.
#[derive(Debug)]
struct Refusal {
    code: Code,
    fault: Fault,
}

/// The call, with what the server says to the configuration apart from what is wrong with the connection.
async fn call(
    session: &mut Session,
    asked: &cluster::SetConfigRequest,
) -> Result<Result<cluster::SetConfigResponse, Refusal>, Fault> {
    let answer = session
        .client
        .admin(async |mut admin| match admin.set_config(asked.clone()).await {
            Ok(answer) => Ok(tonic::Response::new(Ok(answer.into_inner()))),
            Err(status)
                if matches!(
                    status.code(),
                    Code::Aborted | Code::FailedPrecondition | Code::InvalidArgument
                ) =>
            {
                Ok(tonic::Response::new(Err(status)))
            }
            Err(status) => Err(status),
        })
        .await?;
    let whom = session.client.endpoint();
    Ok(answer.map_err(|status| Refusal { code: status.code(), fault: Fault::of_status(&status, &whom) }))
}

fn refusal(refusal: Refusal) -> Fault {
    match refusal.fault {
        Fault::Refused(what) if names_unknown_key(&what) => Fault::Usage(what),
        fault => fault,
    }
}

/// A node says `kafka.brokres: unknown key; did you mean ...`: that is a mistake of the person, not of the node.
fn names_unknown_key(what: &str) -> bool {
    what.contains("unknown key")
}

/// The nodes that refuse, each with its reason.
fn refused(answer: &cluster::SetConfigResponse) -> Result<(), Fault> {
    let refusing = answer.results.iter().filter(|result| !result.error.is_empty());
    let each: Vec<String> = refusing.map(|result| format!("{}: {}", result.node, result.error)).collect();
    if each.is_empty() {
        return Ok(());
    }
    let what = format!("not taken: {}", each.join("; "));
    Err(if names_unknown_key(&what) { Fault::Usage(what) } else { Fault::Refused(what) })
}

fn diff_and_results(answer: &cluster::SetConfigResponse) -> String {
    let mut text = String::new();
    for line in answer.diff.lines() {
        text += &output::printable(&line.replace('\t', "    "));
        text.push('\n');
    }
    for result in &answer.results {
        let said = if result.error.is_empty() { "takes it" } else { result.error.as_str() };
        text += &format!("{}: {}\n", output::printable(&result.node), output::printable(said));
    }
    text
}

fn verdict(answer: &cluster::SetConfigResponse, check_only: bool) -> String {
    let revision =
        answer.revision.as_ref().and_then(|it| it.config.as_ref()).map_or(0, |config| config.revision);
    let taken = answer.results.iter().all(|result| result.error.is_empty());
    match (check_only, answer.diff.is_empty(), taken) {
        (_, _, false) => String::new(),
        (_, true, true) => format!("nothing changes: revision {revision} holds\n"),
        (true, false, true) => "it would be taken\n".to_owned(),
        (false, false, true) => format!("revision {revision} holds now\n"),
    }
}

fn at_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn agreed() -> Result<bool, Fault> {
    _ = write!(std::io::stderr().lock(), "change it? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Who asks, for the history: `ann@desk`.
fn author() -> String {
    let user =
        ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).filter(|name| !name.is_empty());
    let host = catchment_settings::host_name().map(|host| host.to_string());
    [user, host].into_iter().flatten().collect::<Vec<_>>().join("@")
}

/// On a node without a coordinator: only the keys to change, until its next start.
async fn on_node(session: &mut Session, arguments: &SetArgs, wanted: Wanted) -> Result<(), Fault> {
    if arguments.expect_revision.is_some() || !arguments.unset.is_empty() || !arguments.comment.is_empty() {
        return Err(Fault::Usage(
            "a node alone keeps no revisions: --expect-revision, --unset and --comment are for coordinators"
                .to_owned(),
        ));
    }
    let yaml = match wanted {
        Wanted::Document(text) => text,
        Wanted::Changes(changes) => edited("", &changes, "the change")?,
    };
    let asked = node::SetConfigRequest { yaml, check_only: arguments.check };
    let answer = session.client.node(async |mut node| node.set_config(asked.clone()).await).await;
    let answer = answer.map_err(|fault| match fault {
        Fault::Refused(what) if names_unknown_key(&what) => Fault::Usage(what),
        fault => fault,
    })?;
    if session.output.format.unwrap_or_default() == Format::Table && answer.diff.is_empty() {
        return output::write("nothing changes\n");
    }
    session.output.show(&Document::of(&answer), |_| {
        answer.diff.lines().map(|line| output::printable(line) + "\n").collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(what: &[&str]) -> SetArgs {
        SetArgs {
            what: what.iter().map(|text| (*text).to_owned()).collect(),
            unset: vec![],
            check: false,
            yes: false,
            expect_revision: None,
            comment: String::new(),
        }
    }

    #[test]
    fn files_and_changes_are_told_apart() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("a=b.yaml");
        std::fs::write(&file, "log: {}\n").expect("written");
        let file = file.display().to_string();
        assert_eq!(
            Wanted::of(&arguments(&[&file])).expect("a file"),
            Wanted::Document("log: {}\n".to_owned())
        );
        let changes = Wanted::of(&arguments(&["a.b=c=d", "e="])).expect("changes");
        let set = |path: &[&str], value: &str| {
            Change::Set(path.iter().map(ToString::to_string).collect(), value.to_owned())
        };
        assert_eq!(changes, Wanted::Changes(vec![set(&["a", "b"], "c=d"), set(&["e"], "")]));
        for (wrong, said) in [
            (&["/nowhere/x.yaml"][..], "cannot read /nowhere/x.yaml"),
            (&["a=b", "c"], "`c` has no `=`"),
            (&["=b"], "is no key"),
        ] {
            let fault = Wanted::of(&arguments(wrong)).expect_err(said);
            assert!(fault.exit_code() == 2 && fault.to_string().contains(said), "{fault}");
        }
    }

    #[test]
    fn nodes_that_refuse_are_named_and_an_unknown_key_is_a_mistake() {
        let result = |error: &str| cluster::NodeResult { node: "node-2".to_owned(), error: error.to_owned() };
        let answer = |error: &str| cluster::SetConfigResponse {
            results: vec![result(""), result(error)],
            diff: "-a\n+b\n".to_owned(),
            ..Default::default()
        };
        assert!(refused(&answer("")).is_ok());
        let busy = refused(&answer("log.level: must not be trace")).expect_err("refused");
        assert_eq!(
            (busy.exit_code(), busy.to_string().as_str()),
            (1, "not taken: node-2: log.level: must not be trace")
        );
        let unknown =
            refused(&answer("log.levle: unknown key; did you mean `log.level`?")).expect_err("refused");
        assert_eq!(unknown.exit_code(), 2);
        assert!(unknown.to_string().contains("did you mean `log.level`?"));
    }
}
