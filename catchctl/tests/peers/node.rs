//! NodeControl over the sample.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use catchment_proto::flow::v1::FlowRecord;
use catchment_proto::node::v1::node_control_server::NodeControl;
use catchment_proto::node::v1::*;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::sample;

type Answer<T> = Result<Response<T>, Status>;

/// A node that answers as it is told.
#[derive(Clone, Default)]
pub struct Node {
    pub asked: Arc<Mutex<Vec<String>>>,
    pub id: String,
    /// What a tail brings before it waits, or ends.
    pub records: Vec<TailResponse>,
    /// Whether the tail ends behind them.
    pub ends: bool,
}

impl Node {
    fn hear<T: std::fmt::Debug>(&self, request: Request<T>) -> T {
        let request = request.into_inner();
        self.asked.lock().expect("whole").push(format!("{request:?}"));
        request
    }

    fn sources(&self) -> Vec<SourceHealth> {
        sample::nodes()[1].health.clone().expect("known").sources
    }
}

/// A record that names its source port.
pub fn record(port: u32) -> FlowRecord {
    FlowRecord {
        r#type: 3,
        sampler_address: vec![192, 0, 2, 1],
        src_addr: vec![198, 51, 100, 7],
        src_port: port,
        dst_addr: vec![203, 0, 113, 9],
        dst_port: 443,
        proto: 6,
        bytes: 1_500,
        packets: 1,
        ..Default::default()
    }
}

#[tonic::async_trait]
impl NodeControl for Node {
    async fn get_health(&self, request: Request<GetHealthRequest>) -> Answer<GetHealthResponse> {
        self.hear(request);
        Ok(Response::new(GetHealthResponse {
            node_id: "node-2".to_owned(),
            version: "0.1.0".to_owned(),
            incarnation: 1,
            health: sample::nodes()[1].health.clone(),
        }))
    }

    async fn get_statistics(&self, request: Request<GetStatisticsRequest>) -> Answer<GetStatisticsResponse> {
        self.hear(request);
        let statistics = Some(sample::statistics(1_000, 0));
        Ok(Response::new(GetStatisticsResponse { node_id: "node-2".to_owned(), statistics }))
    }

    async fn list_listeners(&self, request: Request<ListListenersRequest>) -> Answer<ListListenersResponse> {
        self.hear(request);
        Ok(Response::new(ListListenersResponse { listeners: sample::nodes()[0].listeners.clone() }))
    }

    async fn list_exporters(&self, request: Request<ListExportersRequest>) -> Answer<ListExportersResponse> {
        self.hear(request);
        Ok(Response::new(ListExportersResponse {
            exporters: sample::exporters(),
            next_page_token: String::new(),
        }))
    }

    async fn list_templates(&self, request: Request<ListTemplatesRequest>) -> Answer<ListTemplatesResponse> {
        self.hear(request);
        Ok(Response::new(ListTemplatesResponse {
            templates: sample::templates(),
            next_page_token: String::new(),
        }))
    }

    async fn get_config(&self, request: Request<GetConfigRequest>) -> Answer<GetConfigResponse> {
        self.hear(request);
        Ok(Response::new(GetConfigResponse { yaml: sample::DOCUMENT.to_owned(), cluster_revision: 7 }))
    }

    async fn set_config(&self, request: Request<SetConfigRequest>) -> Answer<SetConfigResponse> {
        let asked = self.hear(request);
        if asked.yaml.contains("levle") {
            return Err(Status::failed_precondition("log.levle: unknown key; did you mean `log.level`?"));
        }
        Ok(Response::new(SetConfigResponse { diff: "-  level: info\n+  level: debug\n".to_owned() }))
    }

    async fn pause(&self, request: Request<PauseRequest>) -> Answer<PauseResponse> {
        self.hear(request);
        Ok(Response::new(PauseResponse { sources: self.sources() }))
    }

    async fn resume(&self, request: Request<ResumeRequest>) -> Answer<ResumeResponse> {
        self.hear(request);
        Ok(Response::new(ResumeResponse { sources: self.sources() }))
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Answer<DrainResponse> {
        self.hear(request);
        Ok(Response::new(DrainResponse { deadline_seconds: sample::NOW }))
    }

    async fn spool_status(&self, request: Request<SpoolStatusRequest>) -> Answer<SpoolStatusResponse> {
        self.hear(request);
        Ok(Response::new(SpoolStatusResponse::default()))
    }

    type TailStream = Pin<Box<dyn Stream<Item = Result<TailResponse, Status>> + Send>>;

    async fn tail(&self, request: Request<TailRequest>) -> Answer<Self::TailStream> {
        self.hear(request);
        let records = tokio_stream::iter(self.records.clone().into_iter().map(Ok));
        let stream: Self::TailStream =
            if self.ends { Box::pin(records) } else { Box::pin(records.chain(tokio_stream::pending())) };
        Ok(Response::new(stream))
    }
}
