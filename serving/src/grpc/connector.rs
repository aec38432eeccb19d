//! Connections to one of several endpoints, any of which will do.
//!
//! A try goes over all endpoints in random order, the one that failed last at the end. An endpoint counts as connected when it
//! answers `grpc.health.v1`: only then is it sure that it took the certificate (with TLS 1.3 a client that is refused learns
//! it with the first answer), that it speaks gRPC, and that it wants calls (one that is stopping does not). Between tries
//! [`Backoff`] waits.

use std::error::Error as _;
use std::time::Duration;

use catchment_settings::Endpoint;
use rand::seq::SliceRandom as _;
use tonic::transport::Channel;
use tonic::{Code, Status, transport};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::backoff::Backoff;
use super::tls::{ClientTls, TlsError};
use super::{KEEPALIVE_EVERY, KEEPALIVE_TIMEOUT};
use crate::log_limit::LogLimit;
use crate::reason::{reason, status_reason};

/// How long one endpoint may take to connect, and then to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Waits between tries.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Connects to the endpoints it was given.
#[derive(Debug)]
pub struct Connector {
    targets: Vec<Target>,
    backoff: Backoff,
    limit: LogLimit,
}

#[derive(Clone, Debug)]
struct Target {
    endpoint: Endpoint,
    transport: transport::Endpoint,
}

/// A connection that has answered.
#[derive(Clone, Debug)]
pub struct Connected {
    /// The connection, for generated clients. It does not change to another endpoint by itself.
    pub channel: Channel,
    /// Whom it is to.
    pub endpoint: Endpoint,
}

/// No endpoint answered.
#[derive(Debug, thiserror::Error)]
#[error("{}", lines(attempts))]
pub struct Unreachable {
    /// The endpoints in the order they were tried, and why each was not connected to.
    pub attempts: Vec<(Endpoint, String)>,
}

fn lines(attempts: &[(Endpoint, String)]) -> String {
    match attempts {
        [] => "no endpoint is configured".to_owned(),
        _ => attempts.iter().map(|(at, why)| format!("{at}: {why}")).collect::<Vec<_>>().join("; "),
    }
}

impl Connector {
    /// Prepares connections to `endpoints`; `tls` is for those that are `https://`.
    ///
    /// # Errors
    /// Where a file of `tls` is missing or wrong.
    pub fn new(endpoints: &[Endpoint], tls: &ClientTls) -> Result<Self, TlsError> {
        let mut targets: Vec<Target> =
            endpoints.iter().map(|endpoint| Target::new(endpoint, tls)).collect::<Result<_, _>>()?;
        targets.shuffle(&mut rand::rng());
        Ok(Self { targets, backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT), limit: LogLimit::default() })
    }

    /// The same with other waits between tries.
    #[must_use]
    pub fn with_backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// Tries until an endpoint answers. May be dropped at any time.
    pub async fn connect(&mut self) -> Connected {
        loop {
            match self.try_connect().await {
                Ok(connected) => return connected,
                Err(unreachable) => self.limit.admit(|suppressed| {
                    let tries = self.backoff.tries() + 1;
                    tracing::warn!(reason = %unreachable, tries, suppressed, "not connected");
                }),
            }
            let wait = self.backoff.next(&mut rand::rng());
            tokio::time::sleep(wait).await;
        }
    }

    /// Tries each endpoint once.
    ///
    /// # Errors
    /// Why each was not connected to.
    pub async fn try_connect(&mut self) -> Result<Connected, Unreachable> {
        let last = self.targets.pop();
        self.targets.shuffle(&mut rand::rng());
        self.targets.extend(last);
        let mut attempts = Vec::new();
        for index in 0..self.targets.len() {
            let target = self.targets[index].clone();
            match target.connect().await {
                Ok(channel) => {
                    // Should it fail, it is the last to be tried again.
                    let connected = self.targets.remove(index);
                    self.targets.push(connected);
                    return Ok(Connected { channel, endpoint: target.endpoint });
                }
                Err(why) => attempts.push((target.endpoint, why)),
            }
        }
        Err(Unreachable { attempts })
    }

    /// The connection has proved good: should it be lost, the next try comes soon.
    pub fn settled(&mut self) {
        self.backoff.reset();
    }

    /// Waits before a connection that ended without having been good is tried anew.
    pub async fn pause(&mut self) {
        let wait = self.backoff.next(&mut rand::rng());
        tokio::time::sleep(wait).await;
    }
}

impl Target {
    fn new(endpoint: &Endpoint, tls: &ClientTls) -> Result<Self, TlsError> {
        // An endpoint's text is a URL of scheme, host and port: the types it was read into say so.
        let mut transport = transport::Endpoint::from_shared(endpoint.to_string())
            .expect("an endpoint is a URL")
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_EVERY)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        if endpoint.is_tls() {
            transport = transport
                .tls_config(tls.config(endpoint.host_port().host())?)
                .map_err(|error| TlsError::Name { endpoint: endpoint.to_string(), why: reason(&error) })?;
        }
        Ok(Self { endpoint: endpoint.clone(), transport })
    }

    async fn connect(&self) -> Result<Channel, String> {
        let limit = CONNECT_TIMEOUT * 2;
        match tokio::time::timeout(limit, self.answered()).await {
            Ok(connected) => connected,
            Err(_) => Err(format!("no answer in {limit:?}")),
        }
    }

    /// Why the first call failed. In TLS 1.3 a client speaks before the server has looked at its certificate, and the alert is
    /// lost where the end of the connection is seen first.
    fn refusal(&self, status: &Status) -> String {
        let why = status_reason(status);
        // A status that was made here, of a broken connection.
        let is_broken = status.source().is_some();
        if self.endpoint.is_tls() && is_broken && !why.contains("certificate") {
            return format!(
                "{why}: the connection ended before an answer, perhaps because the server does not take the client's \
                 certificate (its log says)"
            );
        }
        why
    }

    async fn answered(&self) -> Result<Channel, String> {
        let channel = self.transport.connect().await.map_err(|error| reason(&error))?;
        let question = HealthCheckRequest { service: String::new() };
        match HealthClient::new(channel.clone()).check(question).await {
            Ok(answer) if answer.get_ref().status() == ServingStatus::NotServing => {
                Err("it says that it does not want calls now".to_owned())
            }
            Ok(_) => Ok(channel),
            // It has no health service, but it answers.
            Err(status) if status.code() == Code::Unimplemented => Ok(channel),
            Err(status) => Err(self.refusal(&status)),
        }
    }
}
