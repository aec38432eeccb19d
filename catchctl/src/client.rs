//! Calls to a coordinator or a node: over the endpoints in the order they were given, each call with a deadline.
//!
//! A connection is made with the first call and kept. Where it breaks, or its server says UNAVAILABLE (it is stopping, has no
//! store, no leader), the same call goes to the next endpoint: every call of the two services can be made twice.

use std::error::Error;
use std::time::Duration;

use catchment_proto::cluster::v1::cluster_admin_client::ClusterAdminClient;
use catchment_proto::node::v1::node_control_client::NodeControlClient;
use catchment_proto::node::v1::{TailRequest, TailResponse};
use catchment_serving::grpc::ClientTls;
use catchment_serving::{reason, status_reason};
use catchment_settings::Endpoint;
use tonic::transport::Channel;
use tonic::{Code, Response, Status, Streaming, transport};

use crate::fault::Fault;
use crate::target::{Peer, Target};

/// The largest answer that is taken: a page of exporters with all their options state.
const LARGEST_ANSWER: usize = 64 << 20;
/// How long one endpoint may take to connect, where there are others to try.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Words that rustls uses for one side not trusting the other, or not speaking TLS: it hands out texts only.
const WORDS_OF_CERTIFICATES: [&str; 7] = [
    "ertificate",
    "UnknownIssuer",
    "UnknownCA",
    "BadSignature",
    "InvalidContentType",
    "HandshakeFailure",
    "ProtocolVersion",
];
/// How long an answer may take unless told otherwise.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Calls to whoever the target names.
#[derive(Debug)]
pub(crate) struct Client {
    endpoints: Vec<Endpoint>,
    is_node: bool,
    tls: ClientTls,
    timeout: Duration,
    /// The connection that worked last, and its place among the endpoints.
    connected: Option<(usize, Channel)>,
    /// Whether it has ever answered.
    answered: bool,
}

impl Client {
    /// Nothing is connected yet.
    pub(crate) fn new(target: &Target, timeout: Duration) -> Self {
        let (endpoints, is_node) = match &target.peer {
            Peer::Cluster(endpoints) => (endpoints.clone(), false),
            Peer::Node(endpoint) => (vec![endpoint.clone()], true),
        };
        Self { endpoints, is_node, tls: target.tls.clone(), timeout, connected: None, answered: false }
    }

    /// Gives calls more time, unless somebody said how much they have.
    pub(crate) fn be_patient(&mut self, given: Option<Duration>, longer: Duration) {
        self.timeout = given.unwrap_or(longer);
    }

    /// Whether it talks to a single node.
    pub(crate) fn is_node(&self) -> bool {
        self.is_node
    }

    /// The endpoint that answered last, for messages.
    pub(crate) fn endpoint(&self) -> String {
        let at = self.connected.as_ref().map_or(0, |(at, _)| *at);
        self.endpoints.get(at).map(ToString::to_string).unwrap_or_default()
    }

    /// A call of ClusterAdmin.
    pub(crate) async fn admin<T>(
        &mut self,
        call: impl AsyncFn(ClusterAdminClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, Fault> {
        self.call(async |channel| call(admin(channel)).await).await
    }

    /// A call of NodeControl.
    pub(crate) async fn node<T>(
        &mut self,
        call: impl AsyncFn(NodeControlClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, Fault> {
        self.call(async |channel| call(node(channel)).await).await
    }

    /// The stream of records of a node.
    pub(crate) async fn tail(&mut self, asked: &TailRequest) -> Result<Streaming<TailResponse>, Fault> {
        self.node(async |mut node| node.tail(asked.clone()).await).await
    }

    async fn call<T>(
        &mut self,
        call: impl AsyncFn(Channel) -> Result<Response<T>, Status>,
    ) -> Result<T, Fault> {
        let first = self.connected.as_ref().map_or(0, |(at, _)| *at);
        let mut attempts = Vec::new();
        for step in 0..self.endpoints.len() {
            let at = (first + step) % self.endpoints.len();
            let whom = self.endpoints[at].to_string();
            let channel = match self.connection(at).await {
                Ok(channel) => channel,
                // A file that is not there is not there for any endpoint.
                Err(fault @ Fault::Usage(_)) => return Err(fault),
                Err(fault) => {
                    attempts.push(fault);
                    continue;
                }
            };
            let fault = match tokio::time::timeout(self.timeout, call(channel)).await {
                Ok(Ok(response)) => {
                    self.answered = true;
                    return Ok(response.into_inner());
                }
                Ok(Err(status)) if is_passing(&status) => match broken(&status, &whom) {
                    // With TLS 1.3 a server refuses a certificate behind the handshake, and may be gone before it says why.
                    Fault::Unreachable(text)
                        if !self.answered && self.endpoints[at].is_tls() && status.source().is_some() =>
                    {
                        Fault::Denied(format!(
                            "{text}; it closed the connection behind the handshake: does it want a --cert-file, or another?"
                        ))
                    }
                    fault => fault,
                },
                Ok(Err(status)) => return Err(Fault::of_status(&status, &whom)),
                Err(_) => {
                    Fault::Unreachable(format!("{whom}: no answer in {:?} (see --timeout)", self.timeout))
                }
            };
            attempts.push(fault);
            self.connected = None;
        }
        Err(none_answered(attempts))
    }

    async fn connection(&mut self, at: usize) -> Result<Channel, Fault> {
        if let Some((connected, channel)) = &self.connected
            && *connected == at
        {
            return Ok(channel.clone());
        }
        self.answered = false;
        let channel = connect(&self.endpoints[at], &self.tls, self.timeout.min(CONNECT_TIMEOUT)).await?;
        self.connected = Some((at, channel.clone()));
        Ok(channel)
    }
}

/// ClusterAdmin over a connection.
fn admin(channel: Channel) -> ClusterAdminClient<Channel> {
    ClusterAdminClient::new(channel).max_decoding_message_size(LARGEST_ANSWER)
}

/// NodeControl over a connection.
fn node(channel: Channel) -> NodeControlClient<Channel> {
    NodeControlClient::new(channel).max_decoding_message_size(LARGEST_ANSWER)
}

/// Whether another endpoint may do better.
fn is_passing(status: &Status) -> bool {
    status.code() == Code::Unavailable || status.source().is_some()
}

/// A call that the other side did not answer, or could not for now.
pub(crate) fn broken(status: &Status, whom: &str) -> Fault {
    match status.source() {
        Some(_) => unreachable(whom, &status_reason(status)),
        None => Fault::of_status(status, whom),
    }
}

fn none_answered(mut attempts: Vec<Fault>) -> Fault {
    if attempts.len() == 1 {
        return attempts.remove(0);
    }
    let text = attempts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    // What a person can change comes first: certificates.
    match attempts.iter().all(|fault| matches!(fault, Fault::Denied(_))) {
        true if !attempts.is_empty() => Fault::Denied(text),
        _ => Fault::Unreachable(text),
    }
}

async fn connect(endpoint: &Endpoint, tls: &ClientTls, within: Duration) -> Result<Channel, Fault> {
    let whom = endpoint.to_string();
    let mut transport = transport::Endpoint::from_shared(whom.clone())
        .map_err(|error| Fault::Usage(format!("{whom}: {error}")))?
        .connect_timeout(within)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_while_idle(true);
    if endpoint.is_tls() {
        let config = tls
            .config(endpoint.host_port().host())
            .map_err(|error| Fault::Usage(format!("{error} (see --ca-file, --cert-file, --key-file)")))?;
        transport = transport.tls_config(config).map_err(|error| unreachable(&whom, &reason(&error)))?;
    }
    match tokio::time::timeout(within, transport.connect()).await {
        Ok(connected) => connected.map_err(|error| unreachable(&whom, &reason(&error))),
        Err(_) => Err(Fault::Unreachable(format!("{whom}: no connection in {within:?}"))),
    }
}

/// Nobody answers, or certificates stand in the way.
fn unreachable(whom: &str, why: &str) -> Fault {
    let text = format!("{whom}: {why}");
    match WORDS_OF_CERTIFICATES.iter().any(|word| why.contains(word)) {
        true => Fault::Denied(text),
        false => Fault::Unreachable(format!("{text} (is it running there? see --endpoint)")),
    }
}
