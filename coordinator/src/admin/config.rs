//! The cluster's configuration: checked by every node, stored as a revision, pushed, and rolled back when a node refuses.
//!
//! ```text
//! expected revision? -> all nodes of all replicas check -> store revision N -> replicas push -> nodes take over
//!     ABORTED               FAILED_PRECONDITION                                    | one refuses
//!                                                                                  v
//!                                        store revision N+1 with the content of N-1, FAILED_PRECONDITION
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use catchment_proto::cluster::v1::{
    CheckConfigRequest, ClusterConfig, ConfigRevision, GetConfigResponse, ListConfigRevisionsResponse, Node,
    NodeResult, SetConfigRequest, SetConfigResponse,
};
use similar::TextDiff;
use tokio::time::Instant;
use tonic::Status;

use super::Admin;
use super::nodes::is_connected;
use crate::config_store::{MAX_DOCUMENT, NewConfig};
use crate::peers::{CHECK_TIMEOUT, check_local, within};

/// How long nodes may take to take a configuration over.
const APPLY: Duration = Duration::from_secs(10);
/// Between two looks at nodes of other replicas.
const LOOK: Duration = Duration::from_millis(100);
/// Revisions in a list, where nobody says.
const REVISIONS: usize = 20;

/// What nodes did with a revision.
#[derive(Debug, Default)]
struct Applied {
    results: Vec<NodeResult>,
    /// Nodes that have not said anything of it.
    waiting: Vec<String>,
}

impl Admin {
    pub(super) fn config(&self, revision: u64) -> Result<GetConfigResponse, Status> {
        let mirror = self.store.mirror();
        let found = if revision == 0 { mirror.config() } else { mirror.config_revision(revision) };
        match found {
            Some(found) => Ok(GetConfigResponse { revision: Some((*found).clone()) }),
            None if revision == 0 => Ok(GetConfigResponse { revision: Some(nothing()) }),
            None => {
                let kept = mirror.config_history(usize::MAX);
                let (latest, oldest) =
                    (kept.first().map(|kept| number(kept)), kept.last().map(|kept| number(kept)));
                Err(Status::not_found(match (oldest, latest) {
                    (Some(oldest), Some(latest)) => {
                        format!("there is no revision {revision}: kept are {oldest} to {latest}")
                    }
                    _ => format!("there is no revision {revision}: nothing was ever set"),
                }))
            }
        }
    }

    pub(super) fn config_revisions(&self, limit: u32) -> ListConfigRevisionsResponse {
        let limit = if limit == 0 { REVISIONS } else { limit as usize };
        let revisions = self.store.mirror().config_history(limit);
        let head = |revision: &ConfigRevision| ConfigRevision {
            config: Some(ClusterConfig { revision: number(revision), yaml: String::new() }),
            ..revision.clone()
        };
        ListConfigRevisionsResponse { revisions: revisions.iter().map(|revision| head(revision)).collect() }
    }

    pub(super) async fn set_config(&self, request: SetConfigRequest) -> Result<SetConfigResponse, Status> {
        let SetConfigRequest { yaml, expected_revision, check_only, author, comment } = request;
        if yaml.len() > MAX_DOCUMENT {
            let octets = yaml.len();
            return Err(Status::invalid_argument(format!(
                "yaml: {octets} octets, {MAX_DOCUMENT} are allowed"
            )));
        }
        let _one_at_a_time = self.changing.lock().await;
        let present = self.store.mirror().config().map_or_else(nothing, |present| (*present).clone());
        let present_number = number(&present);
        if let Some(expected) = expected_revision.filter(|expected| *expected != present_number) {
            return Err(Status::aborted(format!(
                "somebody else changed it first: the change was made from revision {expected}, the present one is {present_number}"
            )));
        }
        let next = ClusterConfig { revision: present_number + 1, yaml };
        let diff = diff(&present, &next);
        let results = self.check(&next).await?;
        let mut remarks = Vec::new();
        if results.is_empty() {
            remarks.push("no node has a session: nobody has checked it".to_owned());
        }
        if check_only {
            return Ok(SetConfigResponse { revision: Some(present), diff, results, remarks });
        }
        if let Some(why) = refusals(&results) {
            return Err(Status::failed_precondition(format!("not stored, because nodes refuse it: {why}")));
        }
        if diff.is_empty() && present_number > 0 {
            remarks.push(format!("nothing changes: revision {present_number} stays"));
            return Ok(SetConfigResponse { revision: Some(present), diff, results, remarks });
        }
        let new = NewConfig {
            yaml: next.yaml,
            // What was checked and compared is what is replaced.
            expected: Some(present_number),
            author: author.clone(),
            comment,
            rollback_of: 0,
        };
        let stored = self.store.set_config(new).await?;
        tracing::info!(revision = number(&stored), author, "configuration stored");
        let applied = self.applied(number(&stored)).await;
        if let Some(why) = refusals(&applied.results) {
            return Err(self.roll_back(&present, &stored, &author, &why).await);
        }
        let waits =
            |node: &String| format!("node {node} has not taken it over yet; it will when it hears of it");
        remarks.extend(applied.waiting.iter().map(waits));
        Ok(SetConfigResponse { revision: Some(stored), diff, results: applied.results, remarks })
    }

    /// What all nodes of all replicas say to a configuration.
    async fn check(&self, config: &ClusterConfig) -> Result<Vec<NodeResult>, Status> {
        let request = CheckConfigRequest {
            cluster: self.store.options().cluster.clone(),
            config: Some(config.clone()),
        };
        let others = self.peers.ask_all(|mut client| {
            let request = within(request.clone(), CHECK_TIMEOUT + Duration::from_secs(2));
            async move { client.check_config(request).await }
        });
        let (local, others) = tokio::join!(check_local(&self.sessions, config), others);
        let mut results: BTreeMap<String, String> =
            local.into_iter().map(|result| (result.node, result.error)).collect();
        for (replica, answer) in others {
            let answer = answer.map_err(|status| {
                Status::unavailable(format!(
                    "coordinator `{}` does not answer, so its nodes cannot check the configuration ({}): try again \
                     when it is back or its nodes are with another one",
                    replica.id,
                    status.message()
                ))
            })?;
            for NodeResult { node, error } in answer.into_inner().results {
                // On its way between two replicas: the one that it is with knows better.
                let known = results.entry(node).or_insert_with(|| error.clone());
                if error.is_empty() {
                    known.clear();
                }
            }
        }
        Ok(results.into_iter().map(|(node, error)| NodeResult { node, error }).collect())
    }

    /// Waits until each node that has a session has taken the revision over, or has refused it.
    async fn applied(&self, revision: u64) -> Applied {
        let until = Instant::now() + APPLY;
        let mut progress = self.sessions.progress();
        loop {
            progress.borrow_and_update();
            let gathered = self.gather("").await;
            let mut applied = Applied::default();
            for node in gathered.nodes.values().filter(|node| is_connected(node)) {
                match said(node, revision) {
                    Some(error) => applied.results.push(NodeResult { node: node.id.clone(), error }),
                    None => applied.waiting.push(node.id.clone()),
                }
            }
            let refused = applied.results.iter().any(|result| !result.error.is_empty());
            if refused || applied.waiting.is_empty() || Instant::now() >= until {
                return applied;
            }
            let _ = tokio::time::timeout(LOOK, progress.changed()).await;
        }
    }

    /// Stores what there was before as a new revision; gives what the caller is told.
    async fn roll_back(
        &self,
        before: &ConfigRevision,
        refused: &ConfigRevision,
        author: &str,
        why: &str,
    ) -> Status {
        let (refused, before_number) = (number(refused), number(before));
        let comment = format!("revision {refused} was refused: {why}");
        let new = NewConfig {
            yaml: before.config.clone().unwrap_or_default().yaml,
            expected: Some(refused),
            author: author.to_owned(),
            comment: comment.chars().take(200).collect(),
            rollback_of: before_number,
        };
        tracing::warn!(revision = refused, reason = why, "configuration refused");
        let outcome = match self.store.set_config(new).await {
            Ok(rolled_back) => {
                let revision = number(&rolled_back);
                let applied = self.applied(revision).await;
                match refusals(&applied.results) {
                    None => format!("revision {revision} has the content of revision {before_number} again"),
                    Some(still) => format!(
                        "revision {revision} has the content of revision {before_number} again, and: {still}"
                    ),
                }
            }
            Err(error) => format!("it could not be rolled back, so revision {refused} stays: {error}"),
        };
        Status::failed_precondition(format!("revision {refused} was refused by nodes: {why}; {outcome}"))
    }
}

/// What a node says of a revision: taken over, or why not; none: nothing yet.
fn said(node: &Node, revision: u64) -> Option<String> {
    if node.config_error_revision == revision && !node.config_error.is_empty() {
        return Some(node.config_error.clone());
    }
    (node.config_revision >= revision).then(String::new)
}

fn refusals(results: &[NodeResult]) -> Option<String> {
    let refused = results.iter().filter(|result| !result.error.is_empty());
    let lines: Vec<String> =
        refused.map(|result| format!("node {}: {}", result.node, result.error)).collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

fn number(revision: &ConfigRevision) -> u64 {
    revision.config.as_ref().map_or(0, |config| config.revision)
}

/// What there is before anything was set.
fn nothing() -> ConfigRevision {
    ConfigRevision { config: Some(ClusterConfig::default()), ..ConfigRevision::default() }
}

fn diff(before: &ConfigRevision, after: &ClusterConfig) -> String {
    let empty = ClusterConfig::default();
    let before = before.config.as_ref().unwrap_or(&empty);
    let names = (format!("revision {}", before.revision), format!("revision {}", after.revision));
    TextDiff::from_lines(&before.yaml, &after.yaml).unified_diff().header(&names.0, &names.1).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_names_both_revisions_and_is_empty_where_nothing_changes() {
        let before = ConfigRevision {
            config: Some(ClusterConfig { revision: 4, yaml: "a: 1\nb: 2\n".into() }),
            ..ConfigRevision::default()
        };
        let after = ClusterConfig { revision: 5, yaml: "a: 1\nb: 3\n".into() };
        assert_eq!(
            diff(&before, &after),
            "--- revision 4\n+++ revision 5\n@@ -1,2 +1,2 @@\n a: 1\n-b: 2\n+b: 3\n"
        );
        let same = ClusterConfig { revision: 5, yaml: "a: 1\nb: 2\n".into() };
        assert_eq!(diff(&before, &same), "");
    }
}
