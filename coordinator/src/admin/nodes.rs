//! The nodes of the cluster, from all replicas.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use catchment_proto::cluster::v1::{
    Collector, GetNodeResponse, ListLocalNodesRequest, ListNodesResponse, Node,
};
use tonic::Status;

use super::Admin;
use super::names::no_such;
use crate::peers::{local_nodes, timed};

/// Exporters of each node in a list of all nodes; asked for alone, a node has all that it reports.
const TOP_EXPORTERS: usize = 10;

/// What is known of nodes.
pub(super) struct Gathered {
    /// By id: those with a session, those registered with a replica that does not answer, and those that something is
    /// desired of.
    pub(super) nodes: BTreeMap<String, Node>,
    /// Replicas that did not answer.
    pub(super) unanswered: Vec<String>,
}

impl Gathered {
    /// Those that have a session, or are registered with one.
    pub(super) fn connected(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(|node| is_connected(node))
    }

    pub(super) fn into_nodes(self) -> Vec<Node> {
        self.nodes.into_values().collect()
    }

    /// Why there is no such node.
    pub(super) fn unknown(&self, id: &str) -> Status {
        Status::not_found(no_such("node", id, self.nodes.keys().map(String::as_str)))
    }

    /// Fails where the node is not known.
    pub(super) fn find(&self, id: &str) -> Result<&Node, Status> {
        self.nodes.get(id).ok_or_else(|| self.unknown(id))
    }
}

/// Whether the node has a session.
pub(super) fn is_connected(node: &Node) -> bool {
    !node.coordinator.is_empty()
}

impl Admin {
    /// All nodes; of those with a session only `only`, where it is not empty.
    pub(super) async fn gather(&self, only: &str) -> Gathered {
        let request =
            ListLocalNodesRequest { cluster: self.store.options().cluster.clone(), node: only.to_owned() };
        let answers = self.peers.ask_all(|mut client| {
            let request = timed(request.clone());
            async move { client.list_local_nodes(request).await }
        });
        let mut nodes = BTreeMap::new();
        let mut unanswered = Vec::new();
        for (replica, answer) in answers.await {
            match answer {
                Ok(answer) => answer.into_inner().nodes.into_iter().for_each(|node| put(&mut nodes, node)),
                Err(status) => {
                    tracing::warn!(
                        coordinator = replica.id,
                        reason = status.message(),
                        "coordinator did not answer"
                    );
                    unanswered.push(replica.id.clone());
                }
            }
        }
        for node in local_nodes(&self.store, &self.sessions, only) {
            put(&mut nodes, node);
        }
        for collector in self.store.mirror().collectors() {
            // Of a replica that answered the session has ended meanwhile, unless only one node was asked for.
            let known = collector.hello.as_ref().map_or("", |hello| &hello.node_id);
            if unanswered.contains(&collector.coordinator_id) || (!only.is_empty() && known != only) {
                nodes.entry(known.to_owned()).or_insert_with(|| registered(&collector));
            }
        }
        for (id, desired) in self.store.mirror().desired_of_all() {
            let node = nodes.entry(id.clone()).or_insert_with(|| Node { id, ..Node::default() });
            node.desired = Some((*desired).clone());
        }
        Gathered { nodes, unanswered }
    }

    pub(super) async fn nodes(&self) -> ListNodesResponse {
        let mut gathered = self.gather("").await;
        for node in gathered.nodes.values_mut() {
            node.top_exporters.truncate(TOP_EXPORTERS);
        }
        let unanswered = std::mem::take(&mut gathered.unanswered);
        ListNodesResponse { nodes: gathered.into_nodes(), unanswered }
    }

    pub(super) async fn node(&self, id: &str) -> Result<GetNodeResponse, Status> {
        let gathered = self.gather(id).await;
        gathered.find(id).map(|node| GetNodeResponse { node: Some(node.clone()) })
    }
}

/// Of two sessions of one node the later counts: it is on its way from one replica to the other.
fn put(nodes: &mut BTreeMap<String, Node>, node: Node) {
    let rank = |node: &Node| (node.incarnation, node.connected_seconds);
    match nodes.entry(node.id.clone()) {
        Entry::Vacant(entry) => {
            entry.insert(node);
        }
        Entry::Occupied(mut entry) if rank(entry.get()) < rank(&node) => {
            entry.insert(node);
        }
        Entry::Occupied(_) => {}
    }
}

/// A node whose replica says nothing, as the registry has it.
fn registered(collector: &Collector) -> Node {
    let hello = collector.hello.clone().unwrap_or_default();
    Node {
        id: hello.node_id,
        incarnation: hello.incarnation,
        version: hello.version,
        grpc_address: hello.grpc_address,
        http_address: hello.http_address,
        listeners: hello.listeners,
        sources: hello.sources,
        coordinator: collector.coordinator_id.clone(),
        connected_seconds: collector.connected_seconds,
        config_revision: hello.config_revision,
        desired_revision: hello.desired_revision,
        ..Node::default()
    }
}
