//! HTTP: `/metrics`, `/metrics.json`, `/livez`, `/readyz`, `/health`; on `health.listen` only `/livez` and `/readyz`.
//!
//! ```text
//! /livez          200 "alive"           503 "stuck: ..."                 a restart would help
//! /readyz         200 "ready"           503 "not ready: REASON" lines    send work here, or not
//! /health         200 or 503 as /readyz, JSON: health and the state of the parts
//! /metrics        Prometheus text       /metrics.json   the whole status
//! ```
//!
//! What is said is drawn anew for each request from the [`Observed`] process; nothing is kept here.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use catchment_settings::section;
use serde::Serialize;
use tokio::net::TcpListener;

/// Content type of Prometheus' text format.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

section! {
    /// Probes without certificates.
    ProbePort {
        /// Where `/livez` and `/readyz` are served in plain text besides the HTTP port; empty: nowhere.
        listen: Option<SocketAddr> = "",
    }
}

/// A process that can be asked how it is.
pub trait Observed: Send + Sync + 'static {
    /// `/health`.
    type Detail: Serialize;
    /// `/metrics.json`.
    type Status: Serialize;

    /// Whether a restart would help.
    fn liveness(&self) -> Liveness;
    /// Whether it wants work, and what it misses.
    fn health(&self) -> Health;
    /// The state of its parts.
    fn detail(&self) -> Self::Detail;
    /// All that is known.
    fn status(&self) -> Self::Status;
    /// All metrics in Prometheus' text format.
    fn metrics(&self) -> String;
}

/// How well a process is, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// All of it works.
    #[default]
    Ok,
    /// It does its work; something it needs in the long run is missing.
    Degraded,
    /// It cannot do its work, or is not to get any.
    NotReady,
}

/// How well a process is. Everything that asks (probes, `/health`, gRPC, metrics, other daemons) is answered from this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Why it should not get work, each `part: reason`; ready where there is none.
    pub not_ready: Vec<String>,
    /// What is missing although it works, each `part: reason`.
    pub degraded: Vec<String>,
}

impl Health {
    /// Whether a load balancer should send work here. A process that is only degraded should get it.
    pub fn is_ready(&self) -> bool {
        self.not_ready.is_empty()
    }

    /// In one word.
    pub fn status(&self) -> HealthStatus {
        match (self.is_ready(), self.degraded.is_empty()) {
            (false, _) => HealthStatus::NotReady,
            (true, false) => HealthStatus::Degraded,
            (true, true) => HealthStatus::Ok,
        }
    }
}

/// One line a reason; the first is `ready` where nothing stands against it.
impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_ready() {
            f.write_str("ready\n")?;
        }
        self.not_ready.iter().try_for_each(|reason| writeln!(f, "not ready: {reason}"))?;
        self.degraded.iter().try_for_each(|reason| writeln!(f, "degraded: {reason}"))
    }
}

/// What is alive but does not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// All threads move.
    Alive,
    /// Some worker threads do not.
    Stuck(usize),
}

/// Opens a port.
///
/// # Errors
/// The operating system's, with the port named.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("tcp {address}: {error}"));
    TcpListener::bind(address).await.map_err(named)
}

/// Serves everything.
///
/// # Errors
/// None while the listener is open.
pub async fn serve<P: Observed>(listener: TcpListener, process: Arc<P>) -> io::Result<()> {
    let routes = probes()
        .route("/metrics", get(metrics))
        .route("/metrics.json", get(metrics_json))
        .route("/health", get(detail));
    axum::serve(listener, routes.with_state(process)).await
}

/// Serves the probes only.
///
/// # Errors
/// None while the listener is open.
pub async fn serve_probes<P: Observed>(listener: TcpListener, process: Arc<P>) -> io::Result<()> {
    axum::serve(listener, probes().with_state(process)).await
}

fn probes<P: Observed>() -> Router<Arc<P>> {
    Router::new().route("/livez", get(livez)).route("/readyz", get(readyz))
}

async fn livez<P: Observed>(State(process): State<Arc<P>>) -> Response {
    match process.liveness() {
        Liveness::Alive => (StatusCode::OK, "alive\n").into_response(),
        Liveness::Stuck(threads) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("stuck: {threads} worker threads\n")).into_response()
        }
    }
}

async fn readyz<P: Observed>(State(process): State<Arc<P>>) -> Response {
    let health = process.health();
    (code(&health), health.to_string()).into_response()
}

async fn detail<P: Observed>(State(process): State<Arc<P>>) -> Response {
    (code(&process.health()), Json(process.detail())).into_response()
}

async fn metrics<P: Observed>(State(process): State<Arc<P>>) -> Response {
    ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], process.metrics()).into_response()
}

async fn metrics_json<P: Observed>(State(process): State<Arc<P>>) -> Response {
    Json(process.status()).into_response()
}

fn code(health: &Health) -> StatusCode {
    if health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_word_counts_and_every_reason_is_said() {
        let mut health = Health::default();
        assert_eq!((health.status(), health.to_string()), (HealthStatus::Ok, "ready\n".to_owned()));
        health.degraded.push("store: etcd is away".to_owned());
        assert_eq!(health.status(), HealthStatus::Degraded);
        assert_eq!(health.to_string(), "ready\ndegraded: store: etcd is away\n");
        health.not_ready.push("coordinator: stopping".to_owned());
        assert_eq!(health.status(), HealthStatus::NotReady);
        assert_eq!(health.to_string(), "not ready: coordinator: stopping\ndegraded: store: etcd is away\n");
    }
}
