//! Connections of a gRPC port: accepted, shaken hands with, counted.
//!
//! tonic would do this itself, and tell nobody why a handshake failed. Here the peer and the reason are logged, because that is
//! how a node with the wrong certificate is found. Handshakes run beside each other, bounded in number and time, so that a peer
//! that says nothing holds up nobody.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};

use super::HANDSHAKE_TIMEOUT;
use crate::log_limit::LogLimit;
use crate::reason::reason;

/// Handshakes at a time.
const MOST_HANDSHAKES: usize = 256;
/// Connections that are ready and not yet served.
pub(super) const MOST_READY: usize = 64;
/// The pause after the system had no descriptor or memory for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// What became of a port's connections.
#[derive(Debug, Default)]
pub struct Connections {
    accepted: AtomicU64,
    refused: AtomicU64,
    limit: LogLimit,
}

/// [`Connections`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConnectionCounts {
    /// Connections that could speak.
    pub accepted: u64,
    /// Connections whose TLS handshake failed or took too long.
    pub refused: u64,
}

impl Connections {
    /// The counts now.
    pub fn counts(&self) -> ConnectionCounts {
        ConnectionCounts {
            accepted: self.accepted.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    fn refuse(&self, peer: SocketAddr, error: &io::Error) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.limit.admit(|suppressed| {
            tracing::warn!(%peer, reason = reason(error), suppressed, "connection refused: tls handshake failed");
        });
    }
}

/// Accepts until `stop` says so or nobody takes connections any more; `shake` makes a connection of a socket.
pub(super) async fn run<IO, F>(
    listener: TcpListener,
    shake: impl Fn(TcpStream) -> F,
    ready: mpsc::Sender<io::Result<IO>>,
    connections: Arc<Connections>,
    mut stop: watch::Receiver<bool>,
) where
    IO: Send + 'static,
    F: Future<Output = io::Result<IO>> + Send + 'static,
{
    let handshakes = Arc::new(Semaphore::new(MOST_HANDSHAKES));
    loop {
        let Ok(permit) = handshakes.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // An error means that the server is gone.
            _ = stop.wait_for(|stop| *stop) => return,
            () = ready.closed() => return,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                connections.limit.admit(|suppressed| {
                    tracing::warn!(%error, suppressed, "connection not accepted");
                });
                sleep(PAUSE).await;
                continue;
            }
        };
        // Small messages should not wait for each other; where it cannot be set they do.
        let _ = socket.set_nodelay(true);
        let (handshake, ready, connections) = (shake(socket), ready.clone(), connections.clone());
        tokio::spawn(async move {
            let done = timeout(HANDSHAKE_TIMEOUT, handshake).await;
            drop(permit);
            match done {
                Ok(Ok(connection)) => {
                    connections.accepted.fetch_add(1, Ordering::Relaxed);
                    // An error means that the server stops: the connection closes.
                    let _ = ready.send(Ok(connection)).await;
                }
                Ok(Err(error)) => connections.refuse(peer, &error),
                Err(_) => connections.refuse(peer, &io::ErrorKind::TimedOut.into()),
            }
        });
    }
}
