//! The gRPC services of a replica, built over its store.

use std::sync::Arc;

use catchment_proto::cluster::v1::cluster_admin_server::ClusterAdminServer;
use catchment_proto::cluster::v1::coordinator_peer_server::CoordinatorPeerServer;
use catchment_sequence::Limits;

use crate::Store;
use crate::admin::Admin;
use crate::peers::{Dial, PeerService, Peers};
use crate::push;
use crate::sequences::Sequences;
use crate::session::{NodeSessionService, SessionOptions, Sessions};

/// What the services have in common. Clones are the same.
#[derive(Clone, Debug)]
pub struct Services {
    store: Store,
    peers: Peers,
    sequences: Sequences,
    sessions: Sessions,
}

impl Services {
    /// Begins to work over `store`; `dial` makes endpoints of the other replicas' addresses. Must be called within a tokio
    /// runtime.
    pub fn start(store: Store, dial: Arc<Dial>, options: SessionOptions, limits: Limits) -> Self {
        let peers = Peers::new(store.clone(), dial);
        push::start(&store, &peers);
        let sequences = Sequences::start(store.clone(), peers.clone(), limits);
        let sessions = Sessions::start(store.clone(), sequences.clone(), options);
        Self { store, peers, sequences, sessions }
    }

    /// `NodeSession`, for nodes.
    pub fn node_session(&self) -> NodeSessionService {
        self.sessions.service()
    }

    /// `CoordinatorPeer`, for the other replicas.
    pub fn coordinator_peer(&self) -> CoordinatorPeerServer<PeerService> {
        PeerService::server(self.store.clone(), self.sessions.clone(), self.sequences.clone())
    }

    /// `ClusterAdmin`, for people.
    pub fn cluster_admin(&self) -> ClusterAdminServer<Admin> {
        Admin::server(self.store.clone(), self.peers.clone(), self.sessions.clone(), self.sequences.clone())
    }

    /// The sessions of nodes with this replica.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// The accounting of sequences.
    pub fn sequences(&self) -> &Sequences {
        &self.sequences
    }
}
