//! ClusterAdmin over the sample.

use std::sync::{Arc, Mutex};

use catchment_proto::cluster::v1::cluster_admin_server::ClusterAdmin;
use catchment_proto::cluster::v1::*;
use catchment_proto::node::v1 as node;
use tonic::{Request, Response, Status};

use super::sample;

type Answer<T> = Result<Response<T>, Status>;

/// The present configuration: its revision and document.
pub type Config = Arc<Mutex<(u64, String)>>;

/// A coordinator that answers as it is told.
#[derive(Clone)]
pub struct Coordinator {
    pub asked: Arc<Mutex<Vec<String>>>,
    pub nodes: Vec<Node>,
    pub health: node::HealthStatus,
    /// Exporters and templates on a page.
    pub page: usize,
    pub config: Config,
    /// Somebody else changes the configuration so often before a change comes.
    pub quicker: Arc<Mutex<u32>>,
    /// What the second node says to a configuration.
    pub refusal: Option<String>,
    /// Every call is refused with this.
    pub refuse_all: Option<Status>,
    /// No call is answered.
    pub silent: bool,
}

impl Default for Coordinator {
    fn default() -> Self {
        Self {
            asked: Arc::default(),
            nodes: sample::nodes(),
            health: node::HealthStatus::Degraded,
            page: 1000,
            config: Arc::new(Mutex::new((7, sample::DOCUMENT.to_owned()))),
            quicker: Arc::default(),
            refusal: None,
            refuse_all: None,
            silent: false,
        }
    }
}

impl Coordinator {
    async fn hear<T: std::fmt::Debug>(&self, request: Request<T>) -> Result<T, Status> {
        if self.silent {
            std::future::pending::<()>().await;
        }
        let request = request.into_inner();
        self.asked.lock().expect("whole").push(format!("{request:?}"));
        self.refuse_all.clone().map_or(Ok(request), Err)
    }

    fn find(&self, id: &str) -> Result<Vec<Node>, Status> {
        let found: Vec<Node> =
            self.nodes.iter().filter(|node| id.is_empty() || node.id == id).cloned().collect();
        if found.is_empty() { Err(Status::not_found(format!("no node `{id}`"))) } else { Ok(found) }
    }

    fn revision(&self) -> ConfigRevision {
        let (revision, yaml) = self.config.lock().expect("whole").clone();
        ConfigRevision { config: Some(ClusterConfig { revision, yaml }), ..Default::default() }
    }

    /// The page behind `token`, and the token of the next.
    fn paged<T>(&self, all: Vec<T>, page: Option<node::Page>) -> (Vec<T>, String) {
        let from: usize = page.and_then(|page| page.token.parse().ok()).unwrap_or(0);
        let next = if from + self.page < all.len() { (from + self.page).to_string() } else { String::new() };
        (all.into_iter().skip(from).take(self.page).collect(), next)
    }
}

#[tonic::async_trait]
impl ClusterAdmin for Coordinator {
    async fn get_cluster(&self, request: Request<GetClusterRequest>) -> Answer<GetClusterResponse> {
        self.hear(request).await?;
        Ok(Response::new(sample::cluster()))
    }

    async fn list_nodes(&self, request: Request<ListNodesRequest>) -> Answer<ListNodesResponse> {
        self.hear(request).await?;
        Ok(Response::new(ListNodesResponse { nodes: self.nodes.clone(), unanswered: vec![] }))
    }

    async fn get_node(&self, request: Request<GetNodeRequest>) -> Answer<GetNodeResponse> {
        let asked = self.hear(request).await?;
        if asked.id.is_empty() {
            return Err(Status::invalid_argument("id: which node?"));
        }
        Ok(Response::new(GetNodeResponse { node: self.find(&asked.id)?.pop() }))
    }

    async fn get_health(&self, request: Request<GetHealthRequest>) -> Answer<GetHealthResponse> {
        self.hear(request).await?;
        let reasons = match self.health {
            node::HealthStatus::Ok => vec![],
            _ => vec!["node-2: kafka: no broker has answered for 12 s".to_owned()],
        };
        let status = self.health.into();
        Ok(Response::new(GetHealthResponse {
            status,
            reasons,
            nodes: self.nodes.clone(),
            unanswered: vec!["coordinator-3".to_owned()],
        }))
    }

    async fn get_statistics(&self, request: Request<GetStatisticsRequest>) -> Answer<GetStatisticsResponse> {
        let nodes = self.find(&self.hear(request).await?.node)?;
        Ok(Response::new(GetStatisticsResponse {
            total: Some(sample::statistics(2_000, 12)),
            nodes,
            sequences: Some(sample::sequences()),
        }))
    }

    async fn list_exporters(&self, request: Request<ListExportersRequest>) -> Answer<ListExportersResponse> {
        let asked = self.hear(request).await?;
        let (exporters, next_page_token) = self.paged(sample::exporters(), asked.page);
        Ok(Response::new(ListExportersResponse { exporters, next_page_token, remarks: vec![] }))
    }

    async fn list_templates(&self, request: Request<ListTemplatesRequest>) -> Answer<ListTemplatesResponse> {
        let asked = self.hear(request).await?;
        let (templates, next_page_token) = self.paged(sample::templates(), asked.page);
        Ok(Response::new(ListTemplatesResponse { templates, next_page_token }))
    }

    async fn pause(&self, request: Request<PauseRequest>) -> Answer<PauseResponse> {
        let nodes = self.find(&self.hear(request).await?.node)?;
        Ok(Response::new(PauseResponse { nodes, waiting: vec![] }))
    }

    async fn resume(&self, request: Request<ResumeRequest>) -> Answer<ResumeResponse> {
        let nodes = self.find(&self.hear(request).await?.node)?;
        Ok(Response::new(ResumeResponse { nodes, waiting: vec![] }))
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Answer<DrainResponse> {
        let node = self.find(&self.hear(request).await?.node)?.pop();
        Ok(Response::new(DrainResponse { node, begun: true }))
    }

    async fn set_log_level(&self, request: Request<SetLogLevelRequest>) -> Answer<SetLogLevelResponse> {
        let nodes = self.find(&self.hear(request).await?.node)?;
        Ok(Response::new(SetLogLevelResponse { nodes, waiting: vec![] }))
    }

    async fn get_config(&self, request: Request<GetConfigRequest>) -> Answer<GetConfigResponse> {
        let asked = self.hear(request).await?;
        match asked.revision {
            0 | 7 => Ok(Response::new(GetConfigResponse { revision: Some(self.revision()) })),
            other => Err(Status::not_found(format!("no revision {other}: kept are 6 and 7"))),
        }
    }

    async fn set_config(&self, request: Request<SetConfigRequest>) -> Answer<SetConfigResponse> {
        let asked = self.hear(request).await?;
        let mut quicker = self.quicker.lock().expect("whole");
        let mut config = self.config.lock().expect("whole");
        if *quicker > 0 {
            *quicker -= 1;
            config.0 += 1;
            let line = format!("added_{}: by_another\n", config.0);
            config.1 += &line;
        }
        if asked.expected_revision.is_some_and(|expected| expected != config.0) {
            return Err(Status::aborted(format!("the present revision is {}", config.0)));
        }
        if let Some(why) = &self.refusal
            && !asked.check_only
        {
            return Err(Status::failed_precondition(format!("nodes refuse:\nnode-2: {why}")));
        }
        let diff = if config.1 == asked.yaml {
            String::new()
        } else {
            format!("-{}\n+{}\n", config.1.trim_end(), asked.yaml.trim_end())
        };
        if !asked.check_only && !diff.is_empty() {
            *config = (config.0 + 1, asked.yaml);
        }
        drop(config);
        let result = |node: &str, error: &str| NodeResult { node: node.to_owned(), error: error.to_owned() };
        let results = vec![result("node-1", ""), result("node-2", self.refusal.as_deref().unwrap_or(""))];
        Ok(Response::new(SetConfigResponse {
            revision: Some(self.revision()),
            diff,
            results,
            remarks: vec![],
        }))
    }

    async fn list_config_revisions(
        &self,
        request: Request<ListConfigRevisionsRequest>,
    ) -> Answer<ListConfigRevisionsResponse> {
        self.hear(request).await?;
        Ok(Response::new(ListConfigRevisionsResponse { revisions: sample::revisions() }))
    }
}
