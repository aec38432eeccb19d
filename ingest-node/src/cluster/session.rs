//! One session after the other, with whichever coordinator takes the node.
//!
//! A session that was good and is lost is followed by a try of the other endpoints at once. Where none takes the node, tries
//! come after growing waits with full jitter. Why there is no session stands in health from the first failure on, and in the
//! log: as an error where a coordinator refused the node, because then a person is needed, else as a warning.

use std::sync::Arc;
use std::time::{Duration, Instant};

use catchment_proto::cluster::v1::node_session_client::NodeSessionClient;
use catchment_proto::cluster::v1::{
    ControlRequest, ControlResponse, Welcome, control_request, control_response,
};
use catchment_serving::grpc::{Backoff, Connected, Connector, LARGEST_MESSAGE};
use catchment_serving::status_reason;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::complaints::Complaints;
use super::control::Control;
use super::counters::add;
use super::member::Member;
use super::sequences::Reports;
use super::sync::Sync;
use crate::status::SessionState;

/// Waits between tries.
pub(super) const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
/// How long a coordinator may take to answer a hello.
const WELCOME: Duration = Duration::from_secs(10);
/// After how long a session counts as good in any case.
const SETTLED: Duration = Duration::from_secs(5);
/// Messages that wait to be written to the connection.
const OUTBOUND: usize = 64;

/// How a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// The node has said goodbye.
    Left,
    /// The coordinator does not want this node.
    Refused(String),
    /// There is none any more, or there never was one.
    Lost(String),
}

impl End {
    pub(super) fn lost(reason: impl Into<String>) -> Self {
        Self::Lost(reason.into())
    }

    /// A call that a coordinator ended.
    pub(super) fn of(status: &Status) -> Self {
        let reason = status_reason(status);
        match status.code() {
            // Another cluster, another version, an id that is taken, a request that cannot be: trying again changes nothing.
            Code::FailedPrecondition
            | Code::AlreadyExists
            | Code::InvalidArgument
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented => Self::Refused(reason),
            _ => Self::Lost(reason),
        }
    }
}

/// What outlives a session.
struct Lasting {
    sync: Sync,
    reports: Reports,
    complaints: Complaints,
}

/// Keeps a session until the node leaves; `ready` becomes true when the node first knows what the cluster knows.
pub(super) async fn run(member: Arc<Member>, mut connector: Connector, ready: watch::Sender<bool>) {
    let mut lasting = Lasting {
        sync: Sync::new(member.clone(), ready),
        reports: Reports::default(),
        complaints: Complaints::default(),
    };
    let mut leaving = member.leaving();
    loop {
        let wait = tokio::select! {
            again = attempt(&member, &mut connector, &mut lasting) => again,
            // While there is a session it says goodbye itself.
            _ = left(&mut leaving, &member) => return,
        };
        match wait {
            Again::Never => return,
            Again::AtOnce => connector.settled(),
            Again::Later => tokio::select! {
                () = connector.pause() => {}
                _ = leaving.wait_for(Option::is_some) => return,
            },
        }
    }
}

/// Returns when the node leaves and has no session.
async fn left(leaving: &mut watch::Receiver<Option<String>>, member: &Member) {
    // The sender is in `member`.
    let _ = leaving.wait_for(Option::is_some).await;
    if member.counters.counts().connected {
        std::future::pending::<()>().await;
    }
}

enum Again {
    Never,
    AtOnce,
    Later,
}

/// Connects, and has a session until it ends.
async fn attempt(member: &Arc<Member>, connector: &mut Connector, lasting: &mut Lasting) -> Again {
    let connected = match connector.try_connect().await {
        Ok(connected) => connected,
        Err(unreachable) => {
            add(&member.counters.unreachable, 1);
            let reason = unreachable.to_string();
            // A certificate that one side does not take: no later try will be better.
            match reason.contains("certificate") {
                true => complain(member, lasting, &reason, true),
                false => complain(member, lasting, &reason, false),
            }
            return Again::Later;
        }
    };
    let (synced, began) = (lasting.sync.synced(), Instant::now());
    let end = session(member, &connected, lasting).await;
    // It was good where the node came to know what the cluster knows, or had nothing to learn for a while.
    let good = lasting.sync.synced() > synced || began.elapsed() > SETTLED;
    let endpoint = &connected.endpoint;
    match end {
        End::Left => {
            member.set_session(SessionState::Without { reason: "the node has left".to_owned() });
            return Again::Never;
        }
        End::Refused(reason) => {
            add(&member.counters.sessions_refused, 1);
            complain(member, lasting, &format!("refused by {endpoint}: {reason}"), true);
        }
        End::Lost(reason) => {
            add(&member.counters.sessions_lost, 1);
            complain(member, lasting, &format!("{endpoint}: {reason}"), false);
        }
    }
    if good { Again::AtOnce } else { Again::Later }
}

fn complain(member: &Member, lasting: &mut Lasting, reason: &str, refused: bool) {
    member.set_session(SessionState::Without { reason: reason.to_owned() });
    lasting.complaints.tell(reason, Instant::now(), |suppressed| match refused {
        true => tracing::error!(reason, suppressed, "no session with a coordinator: the node is refused"),
        false => tracing::warn!(reason, suppressed, "no session with a coordinator"),
    });
}

/// One session from hello to its end.
async fn session(member: &Arc<Member>, connected: &Connected, lasting: &mut Lasting) -> End {
    let client = NodeSessionClient::new(connected.channel.clone()).max_decoding_message_size(LARGEST_MESSAGE);
    let (outbound, inbound, welcome) = match timeout(WELCOME, begin(member, connected, client.clone())).await
    {
        Ok(Ok(begun)) => begun,
        Ok(Err(end)) => return end,
        Err(_) => return End::Lost(format!("no welcome came within {} s", WELCOME.as_secs())),
    };
    let coordinator = welcome.coordinator_id.clone();
    add(&member.counters.sessions, 1);
    lasting.complaints.settle();
    member.set_session(SessionState::With { coordinator: coordinator.clone() });
    tracing::info!(coordinator, endpoint = %connected.endpoint, "session with a coordinator");
    member.welcomed(welcome.desired.clone().unwrap_or_default(), welcome.config.clone().unwrap_or_default());
    let control = Control::new(member, &welcome, outbound, &mut lasting.reports);
    tokio::select! {
        end = control.run(inbound) => end,
        end = lasting.sync.run(client, welcome.session_id) => end,
    }
}

type Begun = (mpsc::Sender<ControlRequest>, Streaming<ControlResponse>, Welcome);

async fn begin(
    member: &Member,
    connected: &Connected,
    mut client: NodeSessionClient<Channel>,
) -> Result<Begun, End> {
    let (outbound, requests) = mpsc::channel(OUTBOUND);
    let hello = control_request::Message::Hello(member.hello(&connected.endpoint).await);
    // The receiver is here.
    let _ = outbound.send(ControlRequest { message: Some(hello) }).await;
    let answer = client.control(ReceiverStream::new(requests)).await;
    let mut inbound = answer.map_err(|status| End::of(&status))?.into_inner();
    match inbound.message().await {
        Ok(Some(ControlResponse { message: Some(control_response::Message::Welcome(welcome)) })) => {
            Ok((outbound, inbound, welcome))
        }
        Ok(_) => Err(End::lost("the first answer to a hello is no welcome")),
        Err(status) => Err(End::of(&status)),
    }
}
