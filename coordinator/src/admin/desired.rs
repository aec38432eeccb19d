//! What people want of nodes: paused sources, a drain, a log level. It is written to the store, so it outlives restarts of nodes and
//! coordinators; the call waits briefly until the nodes that have a session have taken it over.

use std::time::Duration;

use catchment_proto::cluster::v1::{
    DesiredState, DrainRequest, DrainResponse, Node, PauseRequest, PauseResponse, ResumeRequest,
    ResumeResponse, SetLogLevelRequest, SetLogLevelResponse,
};
use tokio::time::Instant;
use tonic::Status;

use super::Admin;
use super::names::no_such;
use super::nodes::{Gathered, is_connected};

/// How long a call waits for nodes.
const WAIT: Duration = Duration::from_secs(3);
/// Between two looks at nodes of other replicas.
const LOOK: Duration = Duration::from_millis(100);

const LOG_LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// What became of a change.
struct Changed {
    nodes: Vec<Node>,
    /// Nodes with a session that have not taken it over yet.
    waiting: Vec<String>,
}

impl Admin {
    pub(super) async fn pause(&self, request: PauseRequest) -> Result<PauseResponse, Status> {
        let PauseRequest { node, source } = request;
        let gathered = self.gather("").await;
        let targets = connected_or(&gathered, &node)?;
        for target in &targets {
            check_source(target, &source)?;
        }
        let sources =
            |node: &Node| if source.is_empty() { node.sources.clone() } else { vec![source.clone()] };
        if let Some(unknown) = targets.iter().find(|node| sources(node).is_empty()) {
            return Err(Status::failed_precondition(format!(
                "node `{}` has no session, so its sources are not known: name the one to pause",
                unknown.id
            )));
        }
        let changed = self.change(&targets, |node| {
            let sources = sources(node);
            move |desired: &mut DesiredState| {
                desired.paused_sources.extend(sources.iter().cloned());
                desired.paused_sources.sort_unstable();
                desired.paused_sources.dedup();
            }
        });
        let Changed { nodes, waiting } = changed.await?;
        Ok(PauseResponse { nodes, waiting })
    }

    pub(super) async fn resume(&self, request: ResumeRequest) -> Result<ResumeResponse, Status> {
        let ResumeRequest { node, source } = request;
        let gathered = self.gather("").await;
        let targets = if node.is_empty() {
            gathered.nodes.values().cloned().collect()
        } else {
            vec![gathered.find(&node)?.clone()]
        };
        for target in &targets {
            let paused =
                target.desired.as_ref().is_some_and(|desired| desired.paused_sources.contains(&source));
            if !paused && !node.is_empty() {
                check_source(target, &source)?;
            }
        }
        let changed = self.change(&targets, |_| {
            let source = source.clone();
            move |desired: &mut DesiredState| {
                desired.paused_sources.retain(|paused| !source.is_empty() && *paused != source);
            }
        });
        let Changed { nodes, waiting } = changed.await?;
        Ok(ResumeResponse { nodes, waiting })
    }

    pub(super) async fn drain(&self, request: DrainRequest) -> Result<DrainResponse, Status> {
        let DrainRequest { node: id, reason } = request;
        let gathered = self.gather(&id).await;
        let node = gathered.find(&id)?;
        if !is_connected(node) {
            return Err(Status::failed_precondition(format!(
                "node `{id}` has no session: there is nothing to drain"
            )));
        }
        tracing::info!(node = id, incarnation = node.incarnation, reason, "drain asked for");
        let changed = self.change(std::slice::from_ref(node), |node| {
            let incarnation = node.incarnation;
            move |desired: &mut DesiredState| {
                desired.drain = true;
                desired.drain_incarnation = incarnation;
            }
        });
        let Changed { nodes, waiting } = changed.await?;
        Ok(DrainResponse { node: nodes.into_iter().next(), begun: waiting.is_empty() })
    }

    pub(super) async fn set_log_level(
        &self,
        request: SetLogLevelRequest,
    ) -> Result<SetLogLevelResponse, Status> {
        let SetLogLevelRequest { node, level } = request;
        if !level.is_empty() && !LOG_LEVELS.contains(&level.as_str()) {
            let known = no_such("log level", &level, LOG_LEVELS);
            return Err(Status::invalid_argument(format!(
                "level: {known} (there are {})",
                LOG_LEVELS.join(", ")
            )));
        }
        let gathered = self.gather("").await;
        let targets = connected_or(&gathered, &node)?;
        let changed = self.change(&targets, |_| {
            let level = level.clone();
            move |desired: &mut DesiredState| desired.log_level.clone_from(&level)
        });
        let Changed { nodes, waiting } = changed.await?;
        Ok(SetLogLevelResponse { nodes, waiting })
    }

    /// Changes what is desired of each, then waits until those with a session have taken it over.
    async fn change<C: Fn(&mut DesiredState) + Send>(
        &self,
        targets: &[Node],
        change: impl Fn(&Node) -> C,
    ) -> Result<Changed, Status> {
        let mut revisions = Vec::new();
        for target in targets {
            let desired = self.store.change_desired(&target.id, change(target)).await?;
            revisions.push((target.clone(), desired));
        }
        let until = Instant::now() + WAIT;
        let mut progress = self.sessions.progress();
        loop {
            progress.borrow_and_update();
            let only = if let [(one, _)] = &revisions[..] { one.id.as_str() } else { "" };
            let gathered = self.gather(only).await;
            let now = |id: &str| gathered.nodes.get(id);
            // One that has gone meanwhile, or is another start, hears it with its welcome.
            let waits = |(asked, desired): &&(Node, DesiredState)| {
                is_connected(asked)
                    && now(&asked.id).is_some_and(|now| {
                        is_connected(now)
                            && now.incarnation == asked.incarnation
                            && now.desired_revision < desired.revision
                    })
            };
            let waiting: Vec<String> =
                revisions.iter().filter(waits).map(|(node, _)| node.id.clone()).collect();
            if waiting.is_empty() || Instant::now() >= until {
                let node = |(asked, desired): &(Node, DesiredState)| {
                    let node = now(&asked.id).unwrap_or(asked).clone();
                    Node { desired: Some(desired.clone()), ..node }
                };
                return Ok(Changed { nodes: revisions.iter().map(node).collect(), waiting });
            }
            let _ = tokio::time::timeout(LOOK, progress.changed()).await;
        }
    }
}

/// One node, or all that have a session.
fn connected_or(gathered: &Gathered, node: &str) -> Result<Vec<Node>, Status> {
    if !node.is_empty() {
        return gathered.find(node).map(|node| vec![node.clone()]);
    }
    let connected: Vec<Node> = gathered.connected().cloned().collect();
    if connected.is_empty() {
        return Err(Status::failed_precondition("no node has a session"));
    }
    Ok(connected)
}

fn check_source(node: &Node, source: &str) -> Result<(), Status> {
    let known =
        source.is_empty() || node.sources.is_empty() || node.sources.iter().any(|known| known == source);
    if known {
        return Ok(());
    }
    let none = no_such("source", source, node.sources.iter().map(String::as_str));
    Err(Status::not_found(format!("node `{}`: {none}", node.id)))
}
