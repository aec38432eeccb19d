//! Between the replicas of a cluster: what one asks another, and what it answers.
//!
//! Replicas find each other in the store (`coordinators/<id>`). Nothing that nodes need depends on another replica: it is asked only for
//! what people want to see of all nodes, to check a configuration, and for the sequence accounts, which one replica keeps; and it
//! is told of what the store will bring it later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use catchment_proto::cluster::v1::coordinator_peer_client::CoordinatorPeerClient;
use catchment_proto::cluster::v1::coordinator_peer_server::{CoordinatorPeer, CoordinatorPeerServer};
use catchment_proto::cluster::v1::{
    CheckConfigRequest, CheckConfigResponse, ClusterConfig, ForwardReportRequest, ForwardReportResponse,
    ListLocalNodesRequest, ListLocalNodesResponse, ListSequencesRequest, ListSequencesResponse, Node,
    NodeResult, PushScopesRequest, PushScopesResponse, Replica,
};
use catchment_sequence::Departure;
use futures_util::future::join_all;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use crate::Store;
use crate::filter::ExporterMatch;
use crate::sequences::{NotLeader, Sequences};
use crate::session::{Ask, Sessions};

/// How long a replica may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// How long nodes may take to check a configuration.
pub(crate) const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// Exporters in one answer about sequences.
const MAX_EXPORTERS: usize = 10_000;
/// The largest message between replicas: all nodes of one with what they said last.
const LARGEST: usize = 64 << 20;

/// Makes an endpoint of the address (`host:port`) that a replica has put into the store.
pub type Dial = dyn Fn(&str) -> Result<Endpoint, String> + Send + Sync;

/// Endpoints without TLS.
///
/// # Errors
///
/// The address is none.
pub fn plain(address: &str) -> Result<Endpoint, String> {
    Endpoint::from_shared(format!("http://{address}")).map_err(|error| format!("`{address}`: {error}"))
}

/// The other replicas. Clones are the same.
#[derive(Clone)]
pub struct Peers {
    store: Store,
    dial: Arc<Dial>,
    channels: Arc<Mutex<HashMap<String, Channel>>>,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").finish_non_exhaustive()
    }
}

/// The client of a replica.
pub(crate) type Client = CoordinatorPeerClient<Channel>;

impl Peers {
    /// The other replicas that `store` knows.
    pub fn new(store: Store, dial: Arc<Dial>) -> Self {
        Self { store, dial, channels: Arc::default() }
    }

    /// The leader, where it is another replica.
    pub(crate) fn leader(&self) -> Result<Client, Status> {
        let id = self
            .store
            .mirror()
            .leader()
            .ok_or_else(|| Status::unavailable("the cluster has no leader now"))?;
        let replica = self.others().into_iter().find(|replica| replica.id == id);
        let replica =
            replica.ok_or_else(|| Status::unavailable(format!("the leader `{id}` is not in the store")))?;
        self.client(&replica)
    }

    /// All replicas but this one.
    pub(crate) fn others(&self) -> Vec<Arc<Replica>> {
        let mut replicas = self.store.mirror().replicas();
        replicas.retain(|replica| replica.id != self.store.options().coordinator);
        replicas
    }

    /// Asks all other replicas at once; gives what each answered.
    pub(crate) async fn ask_all<T, F: Future<Output = Result<T, Status>>>(
        &self,
        ask: impl Fn(Client) -> F,
    ) -> Vec<(Arc<Replica>, Result<T, Status>)> {
        let asked = self.others().into_iter().map(|replica| {
            let client = self.client(&replica);
            let answer = client.map(&ask);
            async move {
                let answer = match answer {
                    Ok(answer) => answer.await,
                    Err(status) => Err(status),
                };
                (replica, answer)
            }
        });
        join_all(asked).await
    }

    pub(crate) fn client(&self, replica: &Replica) -> Result<Client, Status> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = match channels.get(&replica.grpc_address) {
            Some(channel) => channel.clone(),
            None => {
                let endpoint = (self.dial)(&replica.grpc_address)
                    .map_err(|why| Status::unavailable(format!("coordinator `{}`: {why}", replica.id)))?;
                // Replicas come and go; only those in the store are kept.
                let known = self.store.mirror().replicas();
                channels.retain(|address, _| known.iter().any(|replica| replica.grpc_address == *address));
                // Connects when it is used, and again when it broke.
                let channel = endpoint.connect_timeout(TIMEOUT).connect_lazy();
                channels.insert(replica.grpc_address.clone(), channel.clone());
                channel
            }
        };
        Ok(CoordinatorPeerClient::new(channel).max_decoding_message_size(LARGEST))
    }
}

/// A request that is given up when no answer comes.
pub(crate) fn timed<T>(message: T) -> Request<T> {
    within(message, TIMEOUT)
}

pub(crate) fn within<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

/// What this replica answers to others.
#[derive(Clone, Debug)]
pub struct PeerService {
    store: Store,
    sessions: Sessions,
    sequences: Sequences,
}

impl PeerService {
    /// The gRPC service.
    pub fn server(store: Store, sessions: Sessions, sequences: Sequences) -> CoordinatorPeerServer<Self> {
        CoordinatorPeerServer::new(Self { store, sessions, sequences })
            .max_decoding_message_size(LARGEST_REPORT)
    }

    fn check_cluster(&self, cluster: &str) -> Result<(), Status> {
        let own = &self.store.options().cluster;
        if cluster == own {
            return Ok(());
        }
        Err(Status::failed_precondition(format!(
            "this coordinator is of cluster `{own}`, the caller of `{cluster}`"
        )))
    }
}

/// The largest message that another replica may send: a report of sequences, or scopes.
const LARGEST_REPORT: usize = 5 << 20;

impl From<NotLeader> for Status {
    fn from(error: NotLeader) -> Self {
        Self::failed_precondition(error.to_string())
    }
}

#[tonic::async_trait]
impl CoordinatorPeer for PeerService {
    async fn forward_report(
        &self,
        request: Request<ForwardReportRequest>,
    ) -> Result<Response<ForwardReportResponse>, Status> {
        let ForwardReportRequest { cluster, node_id, incarnation, report, lost } = request.into_inner();
        self.check_cluster(&cluster)?;
        match report {
            Some(report) => self.sequences.report(&node_id, incarnation, &report)?,
            None => {
                let how = if lost { Departure::Lost } else { Departure::Goodbye };
                self.sequences.departure(&node_id, incarnation, how)?;
            }
        }
        Ok(Response::new(ForwardReportResponse {}))
    }

    async fn list_local_nodes(
        &self,
        request: Request<ListLocalNodesRequest>,
    ) -> Result<Response<ListLocalNodesResponse>, Status> {
        let ListLocalNodesRequest { cluster, node } = request.into_inner();
        self.check_cluster(&cluster)?;
        Ok(Response::new(ListLocalNodesResponse { nodes: local_nodes(&self.store, &self.sessions, &node) }))
    }

    async fn list_sequences(
        &self,
        request: Request<ListSequencesRequest>,
    ) -> Result<Response<ListSequencesResponse>, Status> {
        let ListSequencesRequest { cluster, filter, after, limit } = request.into_inner();
        self.check_cluster(&cluster)?;
        let wanted = ExporterMatch::new(filter.as_ref())?;
        let after = after.map(|after| crate::filter::exporter_key(&after)).transpose()?;
        let limit = usize::try_from(limit).unwrap_or(MAX_EXPORTERS).min(MAX_EXPORTERS);
        let (exporters, totals) =
            self.sequences.list(|zone, address| wanted.takes(zone, address), after.as_ref(), limit)?;
        Ok(Response::new(ListSequencesResponse { exporters, totals: Some(totals) }))
    }

    async fn check_config(
        &self,
        request: Request<CheckConfigRequest>,
    ) -> Result<Response<CheckConfigResponse>, Status> {
        let CheckConfigRequest { cluster, config } = request.into_inner();
        self.check_cluster(&cluster)?;
        let config = config.ok_or_else(|| Status::invalid_argument("config: it is missing"))?;
        Ok(Response::new(CheckConfigResponse { results: check_local(&self.sessions, &config).await }))
    }

    async fn push_scopes(
        &self,
        request: Request<PushScopesRequest>,
    ) -> Result<Response<PushScopesResponse>, Status> {
        let PushScopesRequest { cluster, coordinator, scopes } = request.into_inner();
        self.check_cluster(&cluster)?;
        let from = coordinator.ok_or_else(|| Status::invalid_argument("coordinator: it is missing"))?;
        self.store.shared().hear(&from, &scopes);
        Ok(Response::new(PushScopesResponse {}))
    }
}

/// The nodes that have a session here; only `node` where it is not empty.
pub(crate) fn local_nodes(store: &Store, sessions: &Sessions, node: &str) -> Vec<Node> {
    let found = if node.is_empty() { sessions.all() } else { sessions.of_node(node).into_iter().collect() };
    let coordinator = &store.options().coordinator;
    found.iter().map(|session| session.describe(coordinator)).collect()
}

/// Has all nodes with a session here check a configuration.
pub(crate) async fn check_local(sessions: &Sessions, config: &ClusterConfig) -> Vec<NodeResult> {
    let asked = sessions.all().into_iter().map(|session| async move {
        let answer = session.ask(Ask::CheckConfig(config.clone()), CHECK_TIMEOUT).await;
        NodeResult { node: session.node().to_owned(), error: answer.err().unwrap_or_default() }
    });
    join_all(asked).await
}
