//! A gRPC port of a daemon.
//!
//! ```text
//! GrpcServer::bind(address, tls)     the port is open, nothing is answered yet
//!     .serve(service)...             what is served; health and reflection are added by themselves
//!     .start() -> Running            answers; Health says whether it wants calls
//! Running::stop(within)              refuses new calls, lets open ones end, then cuts them off
//! ```
//!
//! Every port answers `grpc.health.v1` (for the whole and for each service by name) and reflection v1 and v1alpha, so that
//! grpcurl and grpc_health_probe work unaided.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::middleware::from_fn_with_state;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use super::accept::{self, Connections, MOST_READY};
use super::refusals::{self, Refusals};
use super::tls::{ServerTls, TlsError};
use super::{KEEPALIVE_EVERY, KEEPALIVE_TIMEOUT};

/// The largest question about health or reflection.
const LARGEST_QUESTION: usize = 64 << 10;
/// Calls at a time on one connection.
const MOST_STREAMS: u32 = 256;

/// Why there is no gRPC port.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The port cannot be had.
    #[error("tcp {address}: {error}")]
    Port {
        /// Where it should have been.
        address: SocketAddr,
        /// The operating system's reason.
        error: io::Error,
    },
    /// Certificates or keys are wrong.
    #[error("tls on {address}: {error}")]
    Tls {
        /// Where it should have been.
        address: SocketAddr,
        /// What is wrong.
        error: TlsError,
    },
}

/// A gRPC port that is open.
#[derive(Debug)]
pub struct GrpcServer {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    services: RoutesBuilder,
    names: Vec<&'static str>,
    health: Health,
    connections: Arc<Connections>,
    stop: watch::Sender<bool>,
}

impl GrpcServer {
    /// Opens a port, with TLS where `tls` has a certificate.
    ///
    /// # Errors
    /// Where the port cannot be had, or a file of `tls` is wrong.
    pub async fn bind(address: SocketAddr, tls: &ServerTls) -> Result<Self, OpenError> {
        let tls = tls.config().map_err(|error| OpenError::Tls { address, error })?;
        let port = |error| OpenError::Port { address, error };
        let listener = TcpListener::bind(address).await.map_err(port)?;
        let address = listener.local_addr().map_err(port)?;
        Ok(Self {
            listener,
            address,
            tls,
            services: Routes::builder(),
            names: Vec::new(),
            health: Health::default(),
            connections: Arc::default(),
            stop: watch::channel(false).0,
        })
    }

    /// Serves `service` too. Its messages should be bounded by [`LARGEST_MESSAGE`](super::LARGEST_MESSAGE).
    #[must_use]
    pub fn serve<S>(mut self, service: S) -> Self
    where
        S: Service<http::Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Response: axum::response::IntoResponse,
        S::Future: Send + 'static,
    {
        self.names.push(S::NAME);
        self.services.add_service(service);
        self
    }

    /// Where it listens, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it takes TLS only.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Counts of its connections.
    pub fn connections(&self) -> Arc<Connections> {
        self.connections.clone()
    }

    /// Becomes true when the port stops. A stream without an end has to watch it: until it ends, the port waits for it.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Begins to answer. Must be called on a runtime.
    pub fn start(mut self) -> Running {
        self.health.services = self.names.iter().copied().chain([""]).collect();
        let routes = self.routes();
        let served = match self.tls {
            None => {
                let (ready, connections) = mpsc::channel(MOST_READY);
                let shake = |socket| std::future::ready(io::Result::<TcpStream>::Ok(socket));
                let accept =
                    accept::run(self.listener, shake, ready, self.connections.clone(), self.stop.subscribe());
                tokio::spawn(accept);
                tokio::spawn(run(routes, connections, self.stop.subscribe()))
            }
            Some(tls) => {
                let acceptor = TlsAcceptor::from(tls);
                let (ready, connections) = mpsc::channel(MOST_READY);
                let shake = move |socket| acceptor.accept(socket).into_future();
                let accept =
                    accept::run(self.listener, shake, ready, self.connections.clone(), self.stop.subscribe());
                tokio::spawn(accept);
                tokio::spawn(run(routes, connections, self.stop.subscribe()))
            }
        };
        Running {
            address: self.address,
            health: self.health,
            connections: self.connections,
            stop: self.stop,
            served,
        }
    }

    /// All services, those of every port included.
    fn routes(&mut self) -> Routes {
        let health = HealthServer::new(HealthService::from_health_reporter(self.health.reporter.clone()))
            .max_decoding_message_size(LARGEST_QUESTION);
        let v1 = self.reflection().build_v1().expect(DESCRIPTORS).max_decoding_message_size(LARGEST_QUESTION);
        let v1alpha =
            self.reflection().build_v1alpha().expect(DESCRIPTORS).max_decoding_message_size(LARGEST_QUESTION);
        self.services.add_service(health).add_service(v1).add_service(v1alpha);
        let routes = std::mem::take(&mut self.services).routes().into_axum_router();
        Routes::from(routes.layer(from_fn_with_state(Arc::<Refusals>::default(), refusals::log))).prepare()
    }

    /// Reflection names what this port serves, not all there is in the contracts.
    fn reflection(&self) -> tonic_reflection::server::Builder<'static> {
        use tonic_reflection::pb;
        let builder = tonic_reflection::server::Builder::configure()
            .include_reflection_service(false)
            .register_encoded_file_descriptor_set(catchment_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(pb::v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(pb::v1alpha::FILE_DESCRIPTOR_SET);
        let names = self.names.iter().chain(&EVERYWHERE);
        names.fold(builder, |builder, name| builder.with_service_name(*name))
    }
}

/// The services of every port.
const EVERYWHERE: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// Why building the reflection service cannot fail.
const DESCRIPTORS: &str = "the descriptors are compiled in, and a test asks for them";

/// Serves connections until told to stop; returns when the last one has ended.
async fn run<IO>(
    routes: Routes,
    connections: mpsc::Receiver<io::Result<IO>>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), tonic::transport::Error>
where
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let stopped = async move {
        // An error means that nobody can tell to stop any more.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(MOST_STREAMS)
        .add_routes(routes)
        .serve_with_incoming_shutdown(ReceiverStream::new(connections), stopped)
        .await
}

/// What a port says of itself over `grpc.health.v1`.
#[derive(Clone, Debug, Default)]
pub struct Health {
    reporter: HealthReporter,
    services: Vec<&'static str>,
}

impl Health {
    /// Calls are welcome.
    pub async fn serving(&self) {
        self.set(ServingStatus::Serving).await;
    }

    /// Calls should go to another one.
    pub async fn not_serving(&self) {
        self.set(ServingStatus::NotServing).await;
    }

    async fn set(&self, status: ServingStatus) {
        for service in &self.services {
            self.reporter.set_service_status(service, status).await;
        }
    }
}

/// A gRPC port that answers. Dropped, it stops by and by.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    health: Health,
    connections: Arc<Connections>,
    stop: watch::Sender<bool>,
    served: JoinHandle<Result<(), tonic::transport::Error>>,
}

/// How a port ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// All calls had ended.
    Gracefully,
    /// The time was up: what was open is cut off when the runtime ends.
    CutOff,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it says of itself.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Counts of its connections.
    pub fn connections(&self) -> Arc<Connections> {
        self.connections.clone()
    }

    /// Takes no more calls and waits at most `within` for those that are open.
    pub async fn stop(mut self, within: Duration) -> Stopped {
        self.health.not_serving().await;
        let _ = self.stop.send(true);
        match tokio::time::timeout(within, &mut self.served).await {
            Ok(_) => Stopped::Gracefully,
            Err(_) => {
                self.served.abort();
                Stopped::CutOff
            }
        }
    }
}
