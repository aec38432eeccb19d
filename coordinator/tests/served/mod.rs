//! A replica that serves over loopback, and nodes that speak to it as real ones do.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use catchment_proto::cluster::v1::command::Command as Body;
use catchment_proto::cluster::v1::node_session_client::NodeSessionClient;
use catchment_proto::cluster::v1::{
    Command, CommandResult, ControlRequest, ControlResponse, Heartbeat, Hello, StateRevision, SyncStart,
    SyncStateRequest, SyncStateResponse, Welcome, control_request, control_response, sync_state_request,
};
use coordinator::kv::Kv;
use coordinator::peers::plain;
use coordinator::services::Services;
use coordinator::session::SessionOptions;
use coordinator::{Store, StoreOptions};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Status, Streaming};

/// No answer takes longer than this.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A replica that serves.
pub struct Served {
    pub store: Store,
    pub services: Services,
    pub address: SocketAddr,
    server: JoinHandle<()>,
}

/// Sessions with short times.
pub fn quick() -> SessionOptions {
    SessionOptions {
        heartbeat: Duration::from_millis(200),
        ttl: Duration::from_secs(15),
        hello: Duration::from_millis(500),
        ..SessionOptions::default()
    }
}

/// Sequences that settle soon.
pub fn quick_limits() -> catchment_sequence::Limits {
    catchment_sequence::Limits {
        settle: Duration::from_millis(500),
        silence: Duration::from_secs(5),
        ..catchment_sequence::Limits::default()
    }
}

impl Served {
    pub async fn start(kv: &Kv, id: &str) -> Self {
        Self::start_with(kv, id, "test", quick()).await
    }

    pub async fn start_with(kv: &Kv, id: &str, cluster: &str, sessions: SessionOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut options = StoreOptions::new(cluster, id);
        options.lease_ttl = Duration::from_secs(2);
        options.grpc_address = address.to_string();
        let store = Store::start(kv.clone(), options).unwrap();
        let services = Services::start(store.clone(), Arc::new(plain), sessions, quick_limits());
        store.loaded().await;
        let router = Server::builder()
            .add_service(services.node_session())
            .add_service(services.coordinator_peer())
            .add_service(services.cluster_admin());
        let server = tokio::spawn(async move {
            router.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        Self { store, services, address, server }
    }

    pub async fn channel(&self) -> Channel {
        channel(self.address).await
    }

    /// As a stop on request.
    pub async fn stop(self) {
        self.services.sessions().stop();
        self.store.stop(Duration::from_secs(5)).await;
        self.server.abort();
    }

    /// Waits until it is the leader.
    pub async fn leads(&self) {
        let mut changes = self.store.mirror().changes();
        let leads = async {
            while !self.store.is_leader() {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(DEADLINE, leads).await.expect("no leader");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub async fn channel(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

pub fn hello(node: &str, incarnation: u64) -> Hello {
    Hello {
        cluster: "test".into(),
        node_id: node.into(),
        incarnation,
        version: "1.2.3".into(),
        contract: 1,
        sources: vec!["flow".into()],
        ..Hello::default()
    }
}

/// A node's session.
pub struct Node {
    pub welcome: Welcome,
    pub client: NodeSessionClient<Channel>,
    pub up: mpsc::Sender<ControlRequest>,
    pub down: Streaming<ControlResponse>,
}

impl Node {
    /// Says hello.
    pub async fn join(channel: Channel, hello: Hello) -> Result<Self, Status> {
        let mut client = NodeSessionClient::new(channel).max_decoding_message_size(4 << 20);
        let (up, requests) = mpsc::channel(64);
        up.send(request(control_request::Message::Hello(hello))).await.unwrap();
        let mut down = client.control(ReceiverStream::new(requests)).await?.into_inner();
        let first = timely(down.message()).await?.and_then(|first| first.message);
        let Some(control_response::Message::Welcome(welcome)) = first else {
            panic!("no welcome: {first:?}")
        };
        Ok(Self { welcome, client, up, down })
    }

    pub async fn say(&self, message: control_request::Message) {
        timely(self.up.send(request(message))).await.unwrap();
    }

    /// The next message that is no acknowledgement of a heartbeat.
    pub async fn next(&mut self) -> Result<control_response::Message, Status> {
        loop {
            match timely(self.down.message()).await?.and_then(|message| message.message) {
                Some(control_response::Message::HeartbeatAck(_)) => {}
                Some(message) => return Ok(message),
                None => return Err(Status::ok("the stream has ended")),
            }
        }
    }

    pub async fn command(&mut self) -> Command {
        match self.next().await.unwrap() {
            control_response::Message::Command(command) => command,
            other => panic!("no command: {other:?}"),
        }
    }

    pub async fn answer(&self, id: u64, error: &str) {
        self.say(control_request::Message::CommandResult(CommandResult { id, error: error.into() })).await;
    }

    pub async fn sync(&mut self, resume: Option<StateRevision>) -> Result<Sync, Status> {
        let (up, requests) = mpsc::channel(64);
        let start = SyncStart { session_id: self.welcome.session_id.clone(), resume };
        let sync = Sync::start(&mut self.client, up, requests, start);
        timely(sync).await
    }
}

/// A node's exchange of shared state.
pub struct Sync {
    pub up: mpsc::Sender<SyncStateRequest>,
    pub down: Streaming<SyncStateResponse>,
}

impl Sync {
    async fn start(
        client: &mut NodeSessionClient<Channel>,
        up: mpsc::Sender<SyncStateRequest>,
        requests: mpsc::Receiver<SyncStateRequest>,
        start: SyncStart,
    ) -> Result<Self, Status> {
        let start = SyncStateRequest { message: Some(sync_state_request::Message::Start(start)) };
        up.send(start).await.unwrap();
        let down = client.sync_state(ReceiverStream::new(requests)).await?.into_inner();
        Ok(Self { up, down })
    }

    pub async fn say(&self, message: sync_state_request::Message) {
        timely(self.up.send(SyncStateRequest { message: Some(message) })).await.unwrap();
    }

    pub async fn next(
        &mut self,
    ) -> Result<catchment_proto::cluster::v1::sync_state_response::Message, Status> {
        timely(self.down.message()).await?.and_then(|message| message.message).ok_or(Status::ok("ended"))
    }
}

fn request(message: control_request::Message) -> ControlRequest {
    ControlRequest { message: Some(message) }
}

/// What it gives within the deadline.
pub async fn timely<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("no answer")
}

/// A node that does what it is asked to, at whichever replica answers.
pub struct Willing {
    task: JoinHandle<()>,
}

/// What a node says to a configuration that it checks, and to one that it is to take over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Temper {
    pub refuses_check: &'static str,
    pub refuses_set: &'static str,
}

impl Willing {
    pub fn start(addresses: Vec<SocketAddr>, hello: Hello, temper: Temper) -> Self {
        Self { task: tokio::spawn(willing(addresses, hello, temper)) }
    }
}

impl Drop for Willing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn willing(addresses: Vec<SocketAddr>, mut hello: Hello, temper: Temper) {
    for address in addresses.iter().cycle() {
        let Ok(endpoint) = Endpoint::from_shared(format!("http://{address}")) else { return };
        let joined = match endpoint.connect().await {
            Ok(channel) => Node::join(channel, hello.clone()).await.ok(),
            Err(_) => None,
        };
        let Some(mut node) = joined else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        if let Some(desired) = &node.welcome.desired {
            hello.desired_revision = desired.revision;
        }
        if let Some(config) = &node.welcome.config {
            hello.config_revision = config.revision;
        }
        let mut beat = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                _ = beat.tick() => {
                    let heartbeat = Heartbeat {
                        time_ns: 1,
                        config_revision: hello.config_revision,
                        desired_revision: hello.desired_revision,
                        ..Heartbeat::default()
                    };
                    if node.up.send(request(control_request::Message::Heartbeat(heartbeat))).await.is_err() {
                        break;
                    }
                }
                message = node.down.message() => match message {
                    Ok(Some(ControlResponse { message: Some(control_response::Message::Command(command)) })) => {
                        let error = obey(&mut hello, command.command, temper);
                        node.answer(command.id, error).await;
                    }
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => break,
                },
            }
        }
    }
}

fn obey(hello: &mut Hello, body: Option<Body>, temper: Temper) -> &'static str {
    match body {
        Some(Body::SetDesired(desired)) => hello.desired_revision = desired.revision,
        Some(Body::SetConfig(config)) => {
            // It refuses what says so, and takes what it is rolled back to.
            if !temper.refuses_set.is_empty() && config.yaml.contains("bad") {
                return temper.refuses_set;
            }
            hello.config_revision = config.revision;
        }
        Some(Body::CheckConfig(config)) if config.yaml.contains("bad") => return temper.refuses_check,
        _ => {}
    }
    ""
}
