//! Who was refused, and why: the server's side of an error that a client is told.
//!
//! A client's operator sees the message of a status; the server's operator sees here that it was given, to whom and for which
//! call. No service has to log its refusals.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::Extensions;
use axum::middleware::Next;
use axum::response::Response;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tonic::{Code, Status};

use crate::log_limit::LogLimit;
use crate::reason::status_reason;

/// The log of refused calls.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    limit: LogLimit,
}

/// The address and port that a call came from, from the extensions of its request; `unknown` where it came over no socket.
pub fn peer(extensions: &Extensions) -> String {
    let plain = extensions.get::<TcpConnectInfo>();
    let tls = extensions.get::<TlsConnectInfo<TcpConnectInfo>>().map(TlsConnectInfo::get_ref);
    let address = plain.or(tls).and_then(TcpConnectInfo::remote_addr);
    address.map_or_else(|| "unknown".to_owned(), |address| address.to_string())
}

/// Logs a call that is answered with an error at once. An error later in a stream belongs to a session, which knows more.
pub(super) async fn log(State(refusals): State<Arc<Refusals>>, request: Request, next: Next) -> Response {
    let (method, from) = (request.uri().path().to_owned(), peer(request.extensions()));
    let response = next.run(request).await;
    if let Some(status) = Status::from_header_map(response.headers()) {
        refusals.note(&method, &from, &status);
    }
    response
}

impl Refusals {
    fn note(&self, method: &str, peer: &str, status: &Status) {
        let reason = status_reason(status);
        match status.code() {
            Code::Ok => {}
            // Answers, not refusals: what was asked for is not there, or nobody waits for it any more.
            Code::Cancelled | Code::NotFound | Code::Unimplemented => {
                tracing::debug!(method, peer, code = ?status.code(), reason, "call not served");
            }
            code => self.limit.admit(|suppressed| {
                tracing::warn!(method, peer, ?code, reason, suppressed, "call refused");
            }),
        }
    }
}
