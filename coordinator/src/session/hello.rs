//! What a node that says hello must get right. A refusal names both values: the node's and this replica's.

use catchment_proto::cluster::v1::{ControlRequest, Hello, control_request};
use tonic::{Code, Status, Streaming};

use super::Sessions;
use crate::StoreError;

/// The contract that this coordinator speaks.
pub(crate) const CONTRACT: u32 = 1;

impl Sessions {
    /// The hello that a stream begins with.
    pub(super) async fn hello(&self, inbound: &mut Streaming<ControlRequest>) -> Result<Hello, Status> {
        let within = self.inner.options.hello;
        let first = tokio::time::timeout(within, inbound.message());
        let first = first.await.map_err(|_| {
            Status::deadline_exceeded(format!("no hello came within {} s", within.as_secs_f64()))
        })??;
        match first.and_then(|first| first.message) {
            Some(control_request::Message::Hello(hello)) => Ok(hello),
            Some(_) => Err(Status::invalid_argument("the first message of Control is not a hello")),
            None => Err(Status::invalid_argument("Control ended before its hello")),
        }
    }

    /// Whether this replica takes sessions, and such a one.
    pub(super) fn admit(&self, hello: &Hello) -> Result<(), Status> {
        let replica = &self.inner.store.options().coordinator;
        if *self.inner.stopping.borrow() {
            return Err(Status::unavailable(format!(
                "coordinator `{replica}` is stopping: go to another one"
            )));
        }
        if !self.inner.store.connection().borrow().loaded {
            return Err(Status::unavailable(format!(
                "coordinator `{replica}` has not read its store yet: go to another one or try again"
            )));
        }
        let cluster = &self.inner.store.options().cluster;
        if hello.cluster != *cluster {
            return Err(Status::failed_precondition(format!(
                "node `{}` belongs to cluster `{}`, coordinator `{replica}` to cluster `{cluster}`: \
                 `coordinator.cluster` of the node and `cluster` of the coordinator must be the same",
                hello.node_id, hello.cluster
            )));
        }
        if hello.contract != CONTRACT {
            return Err(Status::failed_precondition(format!(
                "node `{}` ({}) speaks version {} of the session contract, coordinator `{replica}` ({}) version {CONTRACT}",
                hello.node_id,
                hello.version,
                hello.contract,
                self.inner.store.options().version
            )));
        }
        let (sessions, limit) = (self.len(), self.inner.options.limit);
        if sessions >= limit && self.of_node(&hello.node_id).is_none() {
            return Err(Status::unavailable(format!(
                "coordinator `{replica}` has {sessions} sessions and takes {limit}: go to another one"
            )));
        }
        Ok(())
    }
}

/// Why a node was not registered.
pub(super) fn not_registered(hello: &Hello, error: StoreError) -> Status {
    match error {
        StoreError::Taken { node, incarnation } => Status::already_exists(format!(
            "node id `{node}` is in use by incarnation {incarnation}, which is later than this one, {}: each node needs \
             a `node.id` of its own",
            hello.incarnation
        )),
        StoreError::Invalid(invalid) => Status::new(Code::InvalidArgument, format!("hello: {invalid}")),
        other => Status::unavailable(other.to_string()),
    }
}
