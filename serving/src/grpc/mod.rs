//! gRPC: ports that answer health and reflection by themselves, and connections that come back.

mod accept;
mod backoff;
mod connector;
mod refusals;
mod server;
mod tls;

pub use accept::{ConnectionCounts, Connections};
pub use backoff::Backoff;
pub use connector::{Connected, Connector, Unreachable};
pub use refusals::peer;
pub use server::{GrpcServer, Health, OpenError, Running, Stopped};
pub use tls::{ClientTls, PemIdentity, ServerTls, TlsError};

use std::time::Duration;

/// The largest message that any service takes: above the largest chunk of a snapshot (1 MiB) and the templates of a domain
/// (512 KiB). To be given to each generated server and client with `max_decoding_message_size`.
pub const LARGEST_MESSAGE: usize = 4 << 20;

/// How often an idle connection is asked whether its peer is there.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
/// How long the peer may take to answer that.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
