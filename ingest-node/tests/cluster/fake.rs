//! A coordinator that does what it is told, to show how a node takes faults that the real one cannot be made to have.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use catchment_proto::cluster::v1::node_session_server::{NodeSession, NodeSessionServer};
use catchment_proto::cluster::v1::{
    Command, ControlRequest, ControlResponse, DesiredState, HeartbeatAck, Hello, ScopeState, SnapshotChunk,
    StateRevision, SyncStart, SyncStateRequest, SyncStateResponse, Welcome, command, control_request,
    control_response, sync_state_request, sync_state_response,
};
use catchment_proto::cluster::v1::{
    CommandResult, Definition, FieldSpecifier, Layout, Order, ScopeKey, TemplateKind,
};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

/// What it is to do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    /// Refuses every hello.
    pub(crate) refuse: Option<Status>,
    /// Leaves heartbeats without an answer.
    pub(crate) silent: bool,
    /// Sends no last part of a snapshot.
    pub(crate) endless_snapshot: bool,
    /// The snapshot.
    pub(crate) snapshot: Vec<ScopeState>,
    /// Milliseconds of a lease.
    pub(crate) lease_ms: u32,
    /// What the welcome says is desired.
    pub(crate) desired: DesiredState,
}

/// What it was sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) hellos: Vec<Hello>,
    pub(crate) starts: Vec<SyncStart>,
    pub(crate) learned: Vec<ScopeState>,
    pub(crate) wanted: Vec<u32>,
    pub(crate) results: Vec<CommandResult>,
    pub(crate) goodbyes: Vec<String>,
    pub(crate) heartbeats: usize,
}

#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    server: Arc<JoinHandle<()>>,
}

struct State {
    name: String,
    script: Mutex<Script>,
    heard: Mutex<Heard>,
    control: broadcast::Sender<Option<ControlResponse>>,
    sync: broadcast::Sender<SyncStateResponse>,
}

impl Fake {
    pub(crate) async fn start(name: &str, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            name: name.to_owned(),
            script: Mutex::new(script),
            heard: Mutex::default(),
            control: broadcast::Sender::new(64),
            sync: broadcast::Sender::new(64),
        });
        let service = NodeSessionServer::new(Service(state.clone()));
        let serving =
            Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { serving.await.unwrap() });
        Self { address, state, server: Arc::new(server) }
    }

    pub(crate) fn heard(&self) -> MutexGuard<'_, Heard> {
        self.state.heard.lock().unwrap()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.state.script.lock().unwrap());
    }

    /// Sends a command to all sessions.
    pub(crate) fn command(&self, id: u64, command: command::Command) {
        let command = Command { id, command: Some(command) };
        let message = Some(control_response::Message::Command(command));
        self.state.control.send(Some(ControlResponse { message })).unwrap();
    }

    /// Sends shared state to all sessions.
    pub(crate) fn share(&self, message: sync_state_response::Message) {
        self.state.sync.send(SyncStateResponse { message: Some(message) }).unwrap();
    }

    /// Ends all sessions.
    pub(crate) fn cut(&self) {
        // An error means that there is none.
        let _ = self.state.control.send(None);
    }

    /// Is gone.
    pub(crate) fn kill(&self) {
        self.cut();
        self.server.abort();
    }
}

struct Service(Arc<State>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl NodeSession for Service {
    type ControlStream = Answers<ControlResponse>;
    type SyncStateStream = Answers<SyncStateResponse>;

    async fn control(
        &self,
        request: Request<Streaming<ControlRequest>>,
    ) -> Result<Response<Self::ControlStream>, Status> {
        let mut inbound = request.into_inner();
        let first = inbound.message().await?.and_then(|first| first.message);
        let Some(control_request::Message::Hello(hello)) = first else {
            return Err(Status::invalid_argument("no hello"));
        };
        let script = self.0.script.lock().unwrap().clone();
        self.0.heard.lock().unwrap().hellos.push(hello);
        if let Some(status) = script.refuse {
            return Err(status);
        }
        let (answers, stream) = mpsc::channel(64);
        let answer = |message| Ok(ControlResponse { message: Some(message) });
        let welcome = Welcome {
            session_id: "s".to_owned(),
            coordinator_id: self.0.name.clone(),
            heartbeat_interval_ms: 100,
            lease_ttl_ms: if script.lease_ms == 0 { 10_000 } else { script.lease_ms },
            desired: Some(script.desired),
            config: None,
        };
        answers.send(answer(control_response::Message::Welcome(welcome))).await.unwrap();
        let (state, mut orders) = (self.0.clone(), self.0.control.subscribe());
        tokio::spawn(async move {
            loop {
                let message = tokio::select! {
                    message = inbound.message() => message,
                    order = orders.recv() => match order {
                        Ok(Some(order)) => {
                            let _ = answers.send(Ok(order)).await;
                            continue;
                        }
                        _ => return,
                    },
                };
                let Ok(Some(ControlRequest { message: Some(message) })) = message else { return };
                let silent = state.script.lock().unwrap().silent;
                let ack = {
                    let mut heard = state.heard.lock().unwrap();
                    match message {
                        control_request::Message::Heartbeat(beat) => {
                            heard.heartbeats += 1;
                            (!silent).then_some(HeartbeatAck { time_ns: beat.time_ns })
                        }
                        control_request::Message::CommandResult(result) => {
                            heard.results.push(result);
                            None
                        }
                        control_request::Message::Goodbye(goodbye) => {
                            heard.goodbyes.push(goodbye.reason);
                            return;
                        }
                        _ => None,
                    }
                };
                if let Some(ack) = ack {
                    let _ = answers.send(answer(control_response::Message::HeartbeatAck(ack))).await;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn sync_state(
        &self,
        request: Request<Streaming<SyncStateRequest>>,
    ) -> Result<Response<Self::SyncStateStream>, Status> {
        let mut inbound = request.into_inner();
        let script = self.0.script.lock().unwrap().clone();
        let (answers, stream) = mpsc::channel(64);
        let (state, mut shared) = (self.0.clone(), self.0.sync.subscribe());
        let chunk = SnapshotChunk {
            scopes: script.snapshot,
            last: !script.endless_snapshot,
            revision: Some(StateRevision { store: "store".to_owned(), revision: 7 }),
        };
        let message = Some(sync_state_response::Message::Snapshot(chunk));
        answers.send(Ok(SyncStateResponse { message })).await.unwrap();
        let mut ended = self.0.control.subscribe();
        tokio::spawn(async move {
            loop {
                let message = tokio::select! {
                    message = inbound.message() => message,
                    Ok(message) = shared.recv() => {
                        let _ = answers.send(Ok(message)).await;
                        continue;
                    }
                    end = ended.recv() => match end {
                        Ok(Some(_)) => continue,
                        _ => return,
                    },
                };
                let Ok(Some(SyncStateRequest { message: Some(message) })) = message else { return };
                let mut heard = state.heard.lock().unwrap();
                match message {
                    sync_state_request::Message::Start(start) => heard.starts.push(start),
                    sync_state_request::Message::Learned(learned) => heard.learned.extend(learned.scopes),
                    sync_state_request::Message::Wanted(wanted) => {
                        heard.wanted.extend(wanted.scopes.into_iter().flat_map(|scope| scope.ids));
                    }
                    sync_state_request::Message::Seen(_) => {}
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// What [`crate::rig::template`] announces from loopback, as another node would tell it.
pub(crate) fn shared_template(domain: u32) -> ScopeState {
    let field = |id| FieldSpecifier { id, length: 4, ..FieldSpecifier::default() };
    let layout = Layout { kind: TemplateKind::Data.into(), fields: vec![field(1), field(2)] };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    // The exporter has been up for a minute.
    let epoch = now.as_secs() as u32 - 60;
    let order = Some(Order { epoch, time_ms: now.as_millis() as u64 });
    ScopeState {
        key: Some(ScopeKey { exporter: vec![127, 0, 0, 1], version: 9, domain, ..ScopeKey::default() }),
        layouts: vec![layout],
        definitions: vec![Definition { id: 256, port: 9, order, layout: 0 }],
        ..ScopeState::default()
    }
}
