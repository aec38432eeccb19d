//! HTTP: `/metrics`, `/metrics.json`, `/livez`, `/readyz`, `/health`; on `health.listen` only `/livez` and `/readyz`.
//!
//! ```text
//! /livez          200 "alive"           503 "stuck: ..."                 a restart would help
//! /readyz         200 "ready"           503 "not ready: REASON" lines    send datagrams here, or not
//! /health         200 or 503 as /readyz, JSON: why it is not ready, what is degraded, sources, output
//! /metrics        Prometheus text       /metrics.json   the whole status, the ledger under `ledger`
//! ```

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::node::Node;
use crate::output::OutputHealth;
use crate::source::SourceHealth;
use crate::status::{Health, HealthStatus, Liveness};

/// Content type of Prometheus' text format.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Opens a port; the error names it.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("tcp {address}: {error}"));
    TcpListener::bind(address).await.map_err(named)
}

/// Serves everything.
pub async fn serve(listener: TcpListener, node: Arc<Node>) -> io::Result<()> {
    let routes = probes()
        .route("/metrics", get(metrics))
        .route("/metrics.json", get(metrics_json))
        .route("/health", get(health));
    axum::serve(listener, routes.with_state(node)).await
}

/// Serves the probes only.
pub async fn serve_probes(listener: TcpListener, node: Arc<Node>) -> io::Result<()> {
    axum::serve(listener, probes().with_state(node)).await
}

fn probes() -> Router<Arc<Node>> {
    Router::new().route("/livez", get(livez)).route("/readyz", get(readyz))
}

async fn livez(State(node): State<Arc<Node>>) -> Response {
    match node.status().liveness() {
        Liveness::Alive => (StatusCode::OK, "alive\n").into_response(),
        Liveness::Stuck(threads) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("stuck: {threads} worker threads\n")).into_response()
        }
    }
}

async fn readyz(State(node): State<Arc<Node>>) -> Response {
    let health = node.status().health;
    (code(&health), health.to_string()).into_response()
}

async fn health(State(node): State<Arc<Node>>) -> Response {
    #[derive(Serialize)]
    struct Detail {
        node: String,
        version: &'static str,
        status: HealthStatus,
        ready: bool,
        #[serde(flatten)]
        health: Health,
        sources: Vec<Source>,
        output: OutputHealth,
    }

    #[derive(Serialize)]
    struct Source {
        name: &'static str,
        #[serde(flatten)]
        health: SourceHealth,
    }

    let status = node.status();
    let sources =
        status.sources.into_iter().map(|source| Source { name: source.name, health: source.health });
    let code = code(&status.health);
    let detail = Detail {
        node: status.node,
        version: status.version,
        status: status.health.status(),
        ready: status.health.is_ready(),
        health: status.health,
        sources: sources.collect(),
        output: status.output,
    };
    (code, Json(detail)).into_response()
}

async fn metrics(State(node): State<Arc<Node>>) -> Response {
    let text = node.metrics().render(&node.status());
    ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], text).into_response()
}

async fn metrics_json(State(node): State<Arc<Node>>) -> Response {
    Json(node.status()).into_response()
}

fn code(health: &Health) -> StatusCode {
    if health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
