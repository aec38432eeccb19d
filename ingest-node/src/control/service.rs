//! `catchment.node.v1.NodeControl` over a [`Node`].

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use catchment_proto::node::v1;
use catchment_proto::node::v1::node_control_server::{NodeControl, NodeControlServer};
use catchment_serving::grpc::LARGEST_MESSAGE;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::counts::Method;
use super::{lists, messages, settings, tail};
use crate::node::Node;
use crate::source::UnknownSource;

/// The service.
#[derive(Clone, Debug)]
pub struct Control {
    node: Arc<Node>,
    stopping: watch::Receiver<bool>,
}

impl Control {
    /// The service of a node; `stopping` becomes true when its port stops.
    pub fn service(node: Arc<Node>, stopping: watch::Receiver<bool>) -> NodeControlServer<Self> {
        NodeControlServer::new(Self { node, stopping }).max_decoding_message_size(LARGEST_MESSAGE)
    }

    /// Refuses what makes no sense for a node that ends.
    fn must_run(&self) -> Result<(), Status> {
        match self.node.draining() {
            None => Ok(()),
            Some(drain) => Err(Status::unavailable(format!("the node is stopping: {}", drain.reason))),
        }
    }

    /// Does what may take long (a store of a million templates, say) beside the control threads.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Node) -> Result<T, Status> + Send + 'static,
    ) -> Result<T, Status> {
        let node = self.node.clone();
        let done = tokio::task::spawn_blocking(move || work(&node)).await;
        done.unwrap_or_else(|error| Err(Status::internal(format!("the node could not answer: {error}"))))
    }

    fn answer<T>(&self, method: Method, result: Result<T, Status>) -> Result<Response<T>, Status> {
        self.node.calls().count(method, result).map(Response::new)
    }

    /// Pauses or resumes, and says how the sources are then.
    fn switch(
        &self,
        source: &str,
        act: impl FnOnce(&Node, Option<&str>) -> Result<(), UnknownSource>,
    ) -> Result<Vec<v1::SourceHealth>, Status> {
        self.must_run()?;
        let named = (!source.is_empty()).then_some(source);
        act(&self.node, named).map_err(|unknown| Status::not_found(unknown.to_string()))?;
        let status = self.node.status();
        let asked = status.sources.iter().filter(|of| named.is_none_or(|name| of.name == name));
        Ok(asked.map(messages::source).collect())
    }

    fn tail(&self, request: &v1::TailRequest) -> Result<tail::Responses, Status> {
        self.must_run()?;
        let filter = tail::read(request, self.node.flow())?;
        tail::begin(self.node.tails(), filter, request.limit, self.stopping.clone())
    }
}

#[tonic::async_trait]
impl NodeControl for Control {
    async fn get_health(
        &self,
        _request: Request<v1::GetHealthRequest>,
    ) -> Result<Response<v1::GetHealthResponse>, Status> {
        let status = self.node.status();
        let health = v1::GetHealthResponse {
            node_id: self.node.id().to_owned(),
            version: status.version.to_owned(),
            incarnation: self.node.incarnation(),
            health: Some(messages::health(&status)),
        };
        self.answer(Method::GetHealth, Ok(health))
    }

    async fn get_statistics(
        &self,
        _request: Request<v1::GetStatisticsRequest>,
    ) -> Result<Response<v1::GetStatisticsResponse>, Status> {
        let statistics = Some(self.node.statistics_message());
        let answer = v1::GetStatisticsResponse { node_id: self.node.id().to_owned(), statistics };
        self.answer(Method::GetStatistics, Ok(answer))
    }

    async fn list_listeners(
        &self,
        _request: Request<v1::ListListenersRequest>,
    ) -> Result<Response<v1::ListListenersResponse>, Status> {
        let listeners = self.node.listener_messages();
        self.answer(Method::ListListeners, Ok(v1::ListListenersResponse { listeners }))
    }

    async fn list_exporters(
        &self,
        request: Request<v1::ListExportersRequest>,
    ) -> Result<Response<v1::ListExportersResponse>, Status> {
        let request = request.into_inner();
        let listed = self.aside(move |node| lists::exporters(node.flow(), node.sequences(), request)).await;
        self.answer(Method::ListExporters, listed)
    }

    async fn list_templates(
        &self,
        request: Request<v1::ListTemplatesRequest>,
    ) -> Result<Response<v1::ListTemplatesResponse>, Status> {
        let request = request.into_inner();
        let listed = self.aside(move |node| lists::templates(node.flow(), request)).await;
        self.answer(Method::ListTemplates, listed)
    }

    async fn get_config(
        &self,
        _request: Request<v1::GetConfigRequest>,
    ) -> Result<Response<v1::GetConfigResponse>, Status> {
        self.answer(Method::GetConfig, Ok(settings::get(&self.node)))
    }

    async fn set_config(
        &self,
        request: Request<v1::SetConfigRequest>,
    ) -> Result<Response<v1::SetConfigResponse>, Status> {
        let request = request.into_inner();
        let set = match self.must_run() {
            Ok(()) => self.aside(move |node| settings::set(node, &request)).await,
            Err(status) => Err(status),
        };
        self.answer(Method::SetConfig, set)
    }

    async fn pause(&self, request: Request<v1::PauseRequest>) -> Result<Response<v1::PauseResponse>, Status> {
        let paused = self.switch(&request.into_inner().source, Node::pause);
        self.answer(Method::Pause, paused.map(|sources| v1::PauseResponse { sources }))
    }

    async fn resume(
        &self,
        request: Request<v1::ResumeRequest>,
    ) -> Result<Response<v1::ResumeResponse>, Status> {
        let resumed = self.switch(&request.into_inner().source, Node::resume);
        self.answer(Method::Resume, resumed.map(|sources| v1::ResumeResponse { sources }))
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Result<Response<v1::DrainResponse>, Status> {
        let reason = request.into_inner().reason;
        let reason = if reason.is_empty() {
            "asked over grpc".to_owned()
        } else {
            format!("asked over grpc: {reason}")
        };
        let deadline = self.node.begin_drain(&reason).duration_since(UNIX_EPOCH).unwrap_or_default();
        self.answer(Method::Drain, Ok(v1::DrainResponse { deadline_seconds: deadline.as_secs_f64() }))
    }

    async fn spool_status(
        &self,
        _request: Request<v1::SpoolStatusRequest>,
    ) -> Result<Response<v1::SpoolStatusResponse>, Status> {
        // There is no spool in this release.
        self.answer(Method::SpoolStatus, Ok(v1::SpoolStatusResponse::default()))
    }

    type TailStream = tail::Responses;

    async fn tail(&self, request: Request<v1::TailRequest>) -> Result<Response<tail::Responses>, Status> {
        let stream = Control::tail(self, request.get_ref());
        self.answer(Method::Tail, stream)
    }
}
