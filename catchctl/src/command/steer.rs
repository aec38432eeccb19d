//! `pause`, `resume`, `drain`, `log-level`: what people want of nodes.

use catchment_proto::cluster::v1::{self as cluster, Node};
use catchment_proto::node::v1 as node;

use super::{Session, nodes};
use crate::cli::Which;
use crate::describe::source;
use crate::fault::Fault;
use crate::nearest;
use crate::output::{self, Document, Output};

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "default"];

pub(super) async fn pause(session: &mut Session, which: &Which) -> Result<(), Fault> {
    if session.client.is_node() {
        session.no_name(which.node.as_deref())?;
        let asked = node::PauseRequest { source: which.source.clone() };
        let answer = session.client.node(async |mut node| node.pause(asked.clone()).await).await?;
        return session.output.show(&Document::of(&answer), |_| sources(&answer.sources));
    }
    let name = named(which.node.as_deref(), which.all)?;
    let asked = cluster::PauseRequest { node: name.to_owned(), source: which.source.clone() };
    let answer = session.client.admin(async |mut admin| admin.pause(asked.clone()).await).await;
    let answer = or_nearest(session, name, answer).await?;
    session.output.waiting(&answer.waiting);
    session.output.show(&Document::of(&answer), |output| changed(&answer.nodes, output))
}

pub(super) async fn resume(session: &mut Session, which: &Which) -> Result<(), Fault> {
    if session.client.is_node() {
        session.no_name(which.node.as_deref())?;
        let asked = node::ResumeRequest { source: which.source.clone() };
        let answer = session.client.node(async |mut node| node.resume(asked.clone()).await).await?;
        return session.output.show(&Document::of(&answer), |_| sources(&answer.sources));
    }
    let name = named(which.node.as_deref(), which.all)?;
    let asked = cluster::ResumeRequest { node: name.to_owned(), source: which.source.clone() };
    let answer = session.client.admin(async |mut admin| admin.resume(asked.clone()).await).await;
    let answer = or_nearest(session, name, answer).await?;
    session.output.waiting(&answer.waiting);
    session.output.show(&Document::of(&answer), |output| changed(&answer.nodes, output))
}

pub(super) async fn drain(session: &mut Session, name: Option<&str>, reason: &str) -> Result<(), Fault> {
    let reason = reason.to_owned();
    if session.client.is_node() {
        session.no_name(name)?;
        let asked = node::DrainRequest { reason };
        let answer = session.client.node(async |mut node| node.drain(asked.clone()).await).await?;
        return session.output.show(&Document::of(&answer), |_| {
            format!(
                "it drains, and has ended at {} UTC at the latest\n",
                output::moment(answer.deadline_seconds)
            )
        });
    }
    let name =
        name.ok_or_else(|| Fault::Usage("drain which node? `catchctl nodes` lists them".to_owned()))?;
    let asked = cluster::DrainRequest { node: name.to_owned(), reason };
    let answer = session.client.admin(async |mut admin| admin.drain(asked.clone()).await).await;
    let answer = session.or_nearest(name, answer).await?;
    session.output.show(&Document::of(&answer), |output| changed(answer.node.as_slice(), output))
}

pub(super) async fn log_level(session: &mut Session, all: bool, words: &[String]) -> Result<(), Fault> {
    session.needs_coordinator("log-level")?;
    let (name, level) = match (all, words) {
        (true, [level]) => ("", level),
        (false, [name, level]) => (name.as_str(), level),
        (true, _) => return Err(Fault::Usage("log-level --all LEVEL names no node".to_owned())),
        (false, _) => return Err(Fault::Usage("log-level NODE LEVEL, or log-level --all LEVEL".to_owned())),
    };
    let level = level.to_lowercase();
    if !LEVELS.contains(&level.as_str()) {
        return Err(Fault::Usage(nearest::unknown("log level", &level, &LEVELS, "")));
    }
    let level = if level == "default" { String::new() } else { level };
    let asked = cluster::SetLogLevelRequest { node: name.to_owned(), level };
    let answer = session.client.admin(async |mut admin| admin.set_log_level(asked.clone()).await).await;
    let answer = or_nearest(session, name, answer).await?;
    session.output.waiting(&answer.waiting);
    session.output.show(&Document::of(&answer), |output| changed(&answer.nodes, output))
}

/// The node's name, or none for all; nobody means all by leaving it out.
fn named(node: Option<&str>, all: bool) -> Result<&str, Fault> {
    match (node, all) {
        (Some(node), _) => Ok(node),
        (None, true) => Ok(""),
        (None, false) => {
            Err(Fault::Usage("which node? Name one (`catchctl nodes` lists them), or say --all".to_owned()))
        }
    }
}

async fn or_nearest<T>(session: &mut Session, name: &str, answer: Result<T, Fault>) -> Result<T, Fault> {
    if name.is_empty() { answer } else { session.or_nearest(name, answer).await }
}

fn changed(changed: &[Node], output: &Output) -> String {
    nodes::table(changed, output).render(output.width)
}

fn sources(sources: &[node::SourceHealth]) -> String {
    sources.iter().map(|it| output::printable(&source(it)) + "\n").collect()
}
