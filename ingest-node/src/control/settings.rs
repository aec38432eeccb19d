//! `GetConfig` and `SetConfig`.

use catchment_proto::node::v1;
use similar::TextDiff;
use tonic::Status;

use crate::live::{Change, Refused};
use crate::node::Node;
use crate::status::SessionState;

/// `GetConfig`.
pub(super) fn get(node: &Node) -> v1::GetConfigResponse {
    let (loaded, cluster_revision) = node.live().in_force();
    v1::GetConfigResponse { yaml: loaded.to_yaml(), cluster_revision }
}

/// `SetConfig`.
pub(super) fn set(node: &Node, request: &v1::SetConfigRequest) -> Result<v1::SetConfigResponse, Status> {
    if let SessionState::With { coordinator } = node.session().state {
        return Err(Status::failed_precondition(format!(
            "the node has a session with coordinator {coordinator}: change the cluster's configuration there (catchctl config set)"
        )));
    }
    let changed = if request.check_only {
        node.live().check_own(&request.yaml)
    } else {
        node.set_own_config(&request.yaml)
    };
    let change = changed.map_err(|refused| match refused {
        Refused::Wrong(_) => Status::invalid_argument(format!("yaml: {refused}")),
        Refused::RestartNeeded(_) => Status::failed_precondition(format!("yaml: {refused}")),
    })?;
    Ok(v1::SetConfigResponse { diff: diff(&change) })
}

/// What a change is, as a unified diff of the configuration in force; empty where it is none.
fn diff(change: &Change) -> String {
    let (before, after) = (change.before.to_yaml(), change.after.to_yaml());
    TextDiff::from_lines(&before, &after)
        .unified_diff()
        .context_radius(2)
        .header("before", "after")
        .to_string()
}
