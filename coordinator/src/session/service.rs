//! `catchment.cluster.v1.NodeSession` as a service: the two methods of session.proto, the second with its own codec.
//!
//! Written by hand in the form of what tonic generates, because generated services have one codec for all their methods.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use catchment_proto::cluster::v1::node_session_server::SERVICE_NAME;
use catchment_proto::cluster::v1::{ControlRequest, ControlResponse, SyncStateRequest};
use tokio_stream::Stream;
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, BoxFuture, Service, StdError, http};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::Sessions;
use super::codec::SyncCodec;
use super::control::ControlStream;
use crate::EncodedResponse;

/// The largest message of `Control`: a report of sequences.
const LARGEST_CONTROL: usize = 4 << 20;
/// The largest message of `SyncState`: 1 MiB of scopes is what the contract allows.
const LARGEST_SYNC: usize = 2 << 20;

/// The gRPC service of sessions.
#[derive(Clone, Debug)]
pub struct NodeSessionService {
    sessions: Sessions,
}

impl NodeSessionService {
    pub(super) fn new(sessions: Sessions) -> Self {
        Self { sessions }
    }
}

impl NamedService for NodeSessionService {
    const NAME: &'static str = SERVICE_NAME;
}

impl<B> Service<http::Request<B>> for NodeSessionService
where
    B: HttpBody + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let sessions = self.sessions.clone();
        match request.uri().path().strip_prefix('/').and_then(|path| path.strip_prefix(SERVICE_NAME)) {
            Some("/Control") => Box::pin(async move {
                let codec = ProstCodec::<ControlResponse, ControlRequest>::default();
                let mut grpc = Grpc::new(codec).max_decoding_message_size(LARGEST_CONTROL);
                Ok(grpc.streaming(Control(sessions), request).await)
            }),
            Some("/SyncState") => Box::pin(async move {
                let mut grpc = Grpc::new(SyncCodec).max_decoding_message_size(LARGEST_SYNC);
                Ok(grpc.streaming(SyncState(sessions), request).await)
            }),
            _ => Box::pin(async { Ok(Status::unimplemented("NodeSession has no such method").into_http()) }),
        }
    }
}

struct Control(Sessions);

impl StreamingService<ControlRequest> for Control {
    type Response = ControlResponse;
    type ResponseStream = ControlStream;
    type Future = BoxFuture<Response<ControlStream>, Status>;

    fn call(&mut self, request: Request<Streaming<ControlRequest>>) -> Self::Future {
        let sessions = self.0.clone();
        Box::pin(async move {
            let peer = request.remote_addr().map_or_else(|| "unknown".into(), |address| address.to_string());
            sessions.begin(request.into_inner(), &peer).await.map(Response::new)
        })
    }
}

struct SyncState(Sessions);

type SyncStream = Pin<Box<dyn Stream<Item = Result<EncodedResponse, Status>> + Send>>;

impl StreamingService<SyncStateRequest> for SyncState {
    type Response = EncodedResponse;
    type ResponseStream = SyncStream;
    type Future = BoxFuture<Response<SyncStream>, Status>;

    fn call(&mut self, request: Request<Streaming<SyncStateRequest>>) -> Self::Future {
        let sessions = self.0.clone();
        Box::pin(async move {
            let stream = sessions.sync(request.into_inner()).await?;
            Ok(Response::new(Box::pin(stream) as SyncStream))
        })
    }
}
