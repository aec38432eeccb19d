//! `catchment.cluster.v1.ClusterAdmin`: the cluster as people see and steer it, at any replica.
//!
//! What nodes say is asked of the replicas that have their sessions ([`nodes`]); what is shared comes from this replica's view; the
//! sequence accounts from the leader. What people want is written to the store, from where each replica pushes it to its nodes
//! ([`desired`], [`config`]).

mod config;
mod desired;
mod exporters;
mod health;
mod names;
mod nodes;
mod statistics;
mod templates;

use std::sync::Arc;

use catchment_proto::cluster::v1::cluster_admin_server::{ClusterAdmin, ClusterAdminServer};
use catchment_proto::cluster::v1::{
    DrainRequest, DrainResponse, GetClusterRequest, GetClusterResponse, GetConfigRequest, GetConfigResponse,
    GetHealthRequest, GetHealthResponse, GetNodeRequest, GetNodeResponse, GetStatisticsRequest,
    GetStatisticsResponse, ListConfigRevisionsRequest, ListConfigRevisionsResponse, ListExportersRequest,
    ListExportersResponse, ListNodesRequest, ListNodesResponse, ListTemplatesRequest, ListTemplatesResponse,
    PauseRequest, PauseResponse, ResumeRequest, ResumeResponse, SetConfigRequest, SetConfigResponse,
    SetLogLevelRequest, SetLogLevelResponse,
};
use tonic::{Request, Response, Status};

use crate::peers::Peers;
use crate::sequences::Sequences;
use crate::session::Sessions;
use crate::{Store, StoreError};

/// The largest request: a configuration of 256 KiB with what is around it.
const LARGEST_REQUEST: usize = 1 << 20;

/// What administration works on.
#[derive(Clone, Debug)]
pub struct Admin {
    store: Store,
    peers: Peers,
    sessions: Sessions,
    sequences: Sequences,
    /// One change of the configuration at a time.
    changing: Arc<tokio::sync::Mutex<()>>,
}

impl Admin {
    /// The gRPC service.
    pub fn server(
        store: Store,
        peers: Peers,
        sessions: Sessions,
        sequences: Sequences,
    ) -> ClusterAdminServer<Self> {
        let admin = Self { store, peers, sessions, sequences, changing: Arc::default() };
        ClusterAdminServer::new(admin).max_decoding_message_size(LARGEST_REQUEST)
    }

    fn cluster(&self) -> GetClusterResponse {
        let (options, size, mirror) = (self.store.options(), self.store.size(), self.store.mirror());
        GetClusterResponse {
            cluster: options.cluster.clone(),
            coordinator_id: options.coordinator.clone(),
            version: options.version.clone(),
            store: self.store.kind().to_owned(),
            store_id: size.store,
            store_revision: size.revision,
            leader: mirror.leader().unwrap_or_default(),
            scopes: size.scopes,
            templates: size.templates,
            invalid_values: self.store.counted().invalid_values,
            coordinators: mirror.replicas().iter().map(|replica| replica.id.clone()).collect(),
            store_reachable: self.store.connection().borrow().reachable,
            sessions: self.sessions.len() as u64,
        }
    }
}

impl From<StoreError> for Status {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::Invalid(_) => Self::invalid_argument(message),
            StoreError::Conflict { .. } => Self::aborted(message),
            StoreError::NotFound(_) => Self::not_found(message),
            StoreError::Taken { .. } => Self::already_exists(message),
            StoreError::Store(_) => Self::unavailable(message),
        }
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl ClusterAdmin for Admin {
    async fn get_cluster(&self, _: Request<GetClusterRequest>) -> Answer<GetClusterResponse> {
        Ok(Response::new(self.cluster()))
    }

    async fn list_nodes(&self, _: Request<ListNodesRequest>) -> Answer<ListNodesResponse> {
        Ok(Response::new(self.nodes().await))
    }

    async fn get_node(&self, request: Request<GetNodeRequest>) -> Answer<GetNodeResponse> {
        self.node(&request.into_inner().id).await.map(Response::new)
    }

    async fn get_health(&self, _: Request<GetHealthRequest>) -> Answer<GetHealthResponse> {
        Ok(Response::new(self.health().await))
    }

    async fn get_statistics(&self, request: Request<GetStatisticsRequest>) -> Answer<GetStatisticsResponse> {
        self.statistics(&request.into_inner().node).await.map(Response::new)
    }

    async fn list_exporters(&self, request: Request<ListExportersRequest>) -> Answer<ListExportersResponse> {
        self.exporters(request.into_inner()).await.map(Response::new)
    }

    async fn list_templates(&self, request: Request<ListTemplatesRequest>) -> Answer<ListTemplatesResponse> {
        self.templates(&request.into_inner()).map(Response::new)
    }

    async fn pause(&self, request: Request<PauseRequest>) -> Answer<PauseResponse> {
        self.pause(request.into_inner()).await.map(Response::new)
    }

    async fn resume(&self, request: Request<ResumeRequest>) -> Answer<ResumeResponse> {
        self.resume(request.into_inner()).await.map(Response::new)
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Answer<DrainResponse> {
        self.drain(request.into_inner()).await.map(Response::new)
    }

    async fn set_log_level(&self, request: Request<SetLogLevelRequest>) -> Answer<SetLogLevelResponse> {
        self.set_log_level(request.into_inner()).await.map(Response::new)
    }

    async fn get_config(&self, request: Request<GetConfigRequest>) -> Answer<GetConfigResponse> {
        self.config(request.into_inner().revision).map(Response::new)
    }

    async fn set_config(&self, request: Request<SetConfigRequest>) -> Answer<SetConfigResponse> {
        let (admin, request) = (self.clone(), request.into_inner());
        // A caller that goes away must not leave a revision that nodes refuse.
        let changed = tokio::spawn(async move { admin.set_config(request).await });
        match changed.await {
            Ok(answer) => answer.map(Response::new),
            Err(_) => Err(Status::internal("the change was broken off")),
        }
    }

    async fn list_config_revisions(
        &self,
        request: Request<ListConfigRevisionsRequest>,
    ) -> Answer<ListConfigRevisionsResponse> {
        Ok(Response::new(self.config_revisions(request.into_inner().limit)))
    }
}
