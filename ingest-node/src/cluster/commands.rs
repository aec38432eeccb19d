//! What a cluster can want of a node, carried out by the node's own methods.
//!
//! Every answer is for a person: it names what was asked for and why it cannot be.

use catchment_proto::cluster::v1::command::Command as Body;
use catchment_proto::cluster::v1::{ClusterConfig, Command, CommandResult, DesiredState};
use catchment_settings::Value as _;

use crate::config::LogLevel;
use crate::node::Node;

/// What the node has taken over, by revision; 0: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct InForce {
    pub(super) desired: u64,
    pub(super) config: u64,
}

/// Carries out a command.
pub(super) fn carry_out(node: &Node, in_force: &mut InForce, command: Command) -> CommandResult {
    let done = match command.command {
        Some(Body::SetDesired(desired)) => set_desired(node, in_force, &desired),
        Some(Body::SetConfig(config)) => set_config(node, in_force, &config),
        Some(Body::CheckConfig(config)) => node.check_cluster_config(&config.yaml),
        None => Err("this release does not know that command".to_owned()),
    };
    CommandResult { id: command.id, error: done.err().unwrap_or_default() }
}

/// Takes over a desired state. One that was taken over before changes nothing, so that what was done at the node itself since
/// then stays; nor does revision 0, by which a store that was wiped says that nothing was ever asked.
pub(super) fn set_desired(node: &Node, in_force: &mut InForce, desired: &DesiredState) -> Result<(), String> {
    if desired.revision == 0 || desired.revision == in_force.desired {
        return Ok(());
    }
    let level = log_level(&desired.log_level)?;
    let sources = node.source_names();
    if let Some(unknown) = desired.paused_sources.iter().find(|name| !sources.contains(&name.as_str())) {
        // The node knows the nearest name.
        return node.pause(Some(unknown)).map_err(|error| error.to_string());
    }
    for source in sources {
        let done = match desired.paused_sources.iter().any(|name| name == source) {
            true => node.pause(Some(source)),
            false => node.resume(Some(source)),
        };
        done.map_err(|error| error.to_string())?;
    }
    node.set_log_level(level);
    in_force.desired = desired.revision;
    if desired.drain && desired.drain_incarnation == node.incarnation() {
        node.begin_drain("the cluster wants it");
    }
    Ok(())
}

fn log_level(text: &str) -> Result<Option<LogLevel>, String> {
    match text {
        "" => Ok(None),
        _ => LogLevel::parse(text)
            .map(Some)
            .map_err(|_| format!("log level {text:?}: expected error, warn, info, debug or trace")),
    }
}

/// Takes over a configuration of the cluster.
pub(super) fn set_config(node: &Node, in_force: &mut InForce, config: &ClusterConfig) -> Result<(), String> {
    if config.revision == 0 || config.revision == in_force.config {
        return Ok(());
    }
    node.set_cluster_config(config.revision, &config.yaml)?;
    in_force.config = config.revision;
    Ok(())
}
