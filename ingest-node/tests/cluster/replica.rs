//! A real coordinator in this process, on a runtime of its own, so that it can be killed as a process is: all at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use coordinator::kv::{Kv, Memory};
use coordinator::peers::plain;
use coordinator::services::Services;
use coordinator::session::SessionOptions;
use coordinator::{Store, StoreOptions};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

/// A replica of the cluster `test`.
pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    services: Services,
    runtime: Option<Runtime>,
}

/// A store without etcd.
pub(crate) fn memory() -> Kv {
    Kv::Memory(Memory::new())
}

impl Replica {
    /// Serves at a port that is free.
    pub(crate) async fn start(kv: &Kv, id: &str) -> Self {
        Self::start_at(kv, id, ([127, 0, 0, 1], 0).into()).await
    }

    /// Serves at a port where another one may have served before.
    pub(crate) async fn start_at(kv: &Kv, id: &str, address: SocketAddr) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (kv, id) = (kv.clone(), id.to_owned());
        let serving = runtime.spawn(async move {
            let listener = TcpListener::bind(address).await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut options = StoreOptions::new("test", &id);
            options.grpc_address = address.to_string();
            let store = Store::start(kv, options).unwrap();
            let sessions = SessionOptions {
                heartbeat: Duration::from_millis(200),
                ttl: Duration::from_secs(15),
                ..SessionOptions::default()
            };
            let limits = catchment_sequence::Limits::default();
            let services = Services::start(store.clone(), Arc::new(plain), sessions, limits);
            store.loaded().await;
            let router = Server::builder()
                .add_service(services.node_session())
                .add_service(services.coordinator_peer());
            // As a coordinator's port does: else some messages wait for an acknowledgement that is 40 ms late.
            let at_once = |socket: &tokio::net::TcpStream| socket.set_nodelay(true).unwrap();
            let incoming = TcpListenerStream::new(listener).map(move |socket| socket.inspect(at_once));
            tokio::spawn(router.serve_with_incoming(incoming));
            (address, services)
        });
        let (address, services) = serving.await.unwrap();
        Self { address, services, runtime: Some(runtime) }
    }

    /// The nodes that have a session here.
    pub(crate) fn nodes(&self) -> Vec<String> {
        self.services.sessions().all().iter().map(|session| session.node().to_owned()).collect()
    }

    /// Tells all nodes to go to another one, as a replica that stops.
    pub(crate) fn stop(&self) {
        self.services.sessions().stop();
    }

    /// Is gone, with all its connections.
    pub(crate) fn kill(mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
