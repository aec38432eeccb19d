//! The commands, one file each: ask, then show.

mod completion;
mod config;
mod exporters;
mod health;
mod listeners;
mod nodes;
mod stats;
mod steer;
mod templates;
mod version;

use std::time::Duration;

use catchment_proto::cluster::v1::{ListNodesRequest, Node};

use crate::cli::{Cli, Command};
use crate::client::{Client, DEFAULT_TIMEOUT};
use crate::fault::Fault;
use crate::nearest;
use crate::output::Output;
use crate::target::Target;
use crate::{tail, top};

/// A command on its way.
#[derive(Debug)]
pub(crate) struct Session {
    /// Whom it asks.
    pub(crate) client: Client,
    /// Whom it may ask besides.
    pub(crate) target: Target,
    /// How it shows the answer.
    pub(crate) output: Output,
    /// How long an answer may take.
    pub(crate) timeout: Duration,
    /// What was said of that.
    pub(crate) given_timeout: Option<Duration>,
}

/// Does what the arguments say.
///
/// # Errors
/// Why it is not done, or what is not well.
pub fn run(cli: &Cli) -> Result<(), Fault> {
    if let Command::Completion { shell } = cli.command {
        return completion::run(shell);
    }
    let in_environment = std::env::var("CATCHCTL_ENDPOINT").ok().filter(|text| !text.is_empty());
    let target = Target::resolve(&cli.connection, in_environment.as_deref())?;
    let timeout = cli.connection.timeout.unwrap_or(DEFAULT_TIMEOUT);
    let session = Session {
        client: Client::new(&target, timeout),
        target,
        output: Output::of_process(cli.output),
        timeout,
        given_timeout: cli.connection.timeout,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    let outcome = runtime.block_on(tasks.run_until(dispatch(session, &cli.command)));
    // A name that is still being looked up does not keep the process.
    runtime.shutdown_background();
    outcome
}

async fn dispatch(mut session: Session, command: &Command) -> Result<(), Fault> {
    let session = &mut session;
    match command {
        Command::Nodes => nodes::list(session).await,
        Command::Node { name } => nodes::one(session, name).await,
        Command::Listeners { node } => listeners::run(session, node.as_deref()).await,
        Command::Exporters(filter) => exporters::run(session, filter).await,
        Command::Templates { filter, id, fields } => templates::run(session, filter, *id, *fields).await,
        Command::Health => health::run(session).await,
        Command::Stats { node } => stats::run(session, node.as_deref()).await,
        Command::Pause(which) => steer::pause(session, which).await,
        Command::Resume(which) => steer::resume(session, which).await,
        Command::Drain { node, reason } => steer::drain(session, node.as_deref(), reason).await,
        Command::LogLevel { all, words } => steer::log_level(session, *all, words).await,
        Command::Config(command) => config::run(session, command).await,
        Command::Tail(arguments) => tail::run(session, arguments).await,
        Command::Top(arguments) => top::run(session, arguments).await,
        Command::Completion { shell } => completion::run(*shell),
        Command::Version => version::run(session).await,
    }
}

impl Session {
    /// The cluster's nodes.
    pub(crate) async fn nodes(&mut self) -> Result<Vec<Node>, Fault> {
        let answer = self.client.admin(async |mut admin| admin.list_nodes(ListNodesRequest {}).await).await?;
        self.output.unanswered(&answer.unanswered);
        Ok(answer.nodes)
    }

    /// Refuses `command` where it talks to a single node.
    pub(crate) fn needs_coordinator(&self, command: &str) -> Result<(), Fault> {
        match self.client.is_node() {
            true => Err(Fault::Usage(format!(
                "`{command}` asks a coordinator: leave --node-endpoint out (a node alone answers health, stats, \
                 listeners, exporters, templates, config get, pause, resume, drain and tail)"
            ))),
            false => Ok(()),
        }
    }

    /// A node's own answers need no name.
    pub(crate) fn no_name(&self, name: Option<&str>) -> Result<(), Fault> {
        match name {
            Some(name) => Err(Fault::Usage(format!("`{name}` and --node-endpoint: keep one"))),
            None => Ok(()),
        }
    }

    /// What a call said about a node; where it does not know the node, the nearest there is.
    pub(crate) async fn or_nearest<T>(&mut self, name: &str, answer: Result<T, Fault>) -> Result<T, Fault> {
        let Err(Fault::Usage(said)) = answer else { return answer };
        let Ok(nodes) = self.nodes().await else { return Err(Fault::Usage(said)) };
        Err(known(name, &nodes).err().unwrap_or(Fault::Usage(said)))
    }
}

/// Whether there is a node of that name; where there is none, the nearest there is.
pub(crate) fn known(name: &str, nodes: &[Node]) -> Result<(), Fault> {
    let names: Vec<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
    if names.contains(&name) {
        return Ok(());
    }
    Err(Fault::Usage(nearest::unknown("node", name, &names, "the cluster has no nodes")))
}
