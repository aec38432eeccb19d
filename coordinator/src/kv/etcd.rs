//! The store in etcd.
//!
//! The client's streams do not come back by themselves, and a compacted or cancelled watch says so once and is silent for ever: here
//! each of these ends the watch with an error. A watch asks for its progress while nothing comes, which proves the
//! connection, moves the revision on, and keeps pings from being answered with "too many pings". Each
//! call has a time-out over all its tries. A call that is tried again may have happened the first time: all changes that
//! are, are compare-and-swap, and a second try then looks like somebody else's first.
//!
//! The client is made when it is first needed, and made anew when etcd refuses its token (after the token's time, a restart, or
//! a change of users) or when TLS files may have changed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, Error, EventType, GetOptions, Identity,
    KeyValue, PutOptions, ResponseHeader, TlsOptions, Txn, TxnOp, TxnOpResponse, WatchOptions, WatchStream,
};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Code, Status};

use super::{Action, Applied, Change, Event, Events, Expect, KvError, Lease, Moment, Page, Pair};

/// Time for a connection, and for a ping's answer.
const CONNECT: Duration = Duration::from_secs(2);
/// After so long without a message a watch asks for its progress.
const ASK: Duration = Duration::from_millis(1500);
/// After so long without a message a watch is over.
const SILENT: Duration = Duration::from_secs(6);
/// Octets of an answer that are taken.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// Octets of one message of a watch: what was missed comes in large pieces.
const MAX_WATCH_MESSAGE: usize = 128 * 1024 * 1024;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// How etcd is reached.
#[derive(Clone)]
pub struct EtcdOptions {
    /// URLs of all members.
    pub endpoints: Vec<String>,
    /// User and password, where etcd asks for them.
    pub user: Option<(String, String)>,
    /// TLS, for `https` URLs.
    pub tls: Option<EtcdTls>,
    /// Time for each call.
    pub timeout: Duration,
}

/// Files for TLS.
#[derive(Clone, Debug, Default)]
pub struct EtcdTls {
    /// Certificates that etcd's may be signed by.
    pub ca: PathBuf,
    /// Our own certificate and its key, where etcd asks for one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name in etcd's certificate, where it is not that in the URL.
    pub server_name: Option<String>,
}

impl EtcdOptions {
    /// Without users and TLS.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let endpoints = endpoints.into_iter().map(Into::into).collect();
        Self { endpoints, user: None, tls: None, timeout: Duration::from_secs(5) }
    }
}

/// Without the password.
impl std::fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdOptions")
            .field("endpoints", &self.endpoints)
            .field("user", &self.user.as_ref().map(|(user, _)| user))
            .field("tls", &self.tls)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// etcd. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Etcd {
    options: Arc<EtcdOptions>,
    client: Arc<Mutex<Option<Connected>>>,
}

#[derive(Clone)]
struct Connected {
    client: Client,
    number: u64,
}

impl std::fmt::Debug for Connected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Connected").field(&self.number).finish()
    }
}

impl Etcd {
    /// Checks the options; connects when it is first used.
    pub fn new(options: EtcdOptions) -> Result<Self, KvError> {
        if options.endpoints.is_empty() {
            return Err(KvError::Refused("no etcd endpoint is configured".into()));
        }
        let tls = options.tls.is_some();
        if let Some(wrong) = options.endpoints.iter().find(|endpoint| endpoint.starts_with("https://") != tls)
        {
            let reason =
                if tls { "is no https URL, but TLS is configured" } else { "needs a CA file for TLS" };
            return Err(KvError::Refused(format!("{wrong} {reason}")));
        }
        Ok(Self { options: Arc::new(options), client: Arc::default() })
    }

    async fn connected(&self) -> Result<Connected, KvError> {
        let known = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(connected) = known {
            return Ok(connected);
        }
        let mut connect = ConnectOptions::new()
            .with_connect_timeout(CONNECT)
            .with_keep_alive(CONNECT, CONNECT)
            .with_keep_alive_while_idle(false)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some((user, password)) = &self.options.user {
            connect = connect.with_user(user, password);
        }
        if let Some(tls) = &self.options.tls {
            connect = connect.with_tls(tls.load()?);
        }
        let client = Client::connect(&self.options.endpoints, Some(connect))
            .await
            .map_err(|error| kv_error(&error))?;
        let connected = Connected { client, number: rand::random() };
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(connected.clone());
        Ok(connected)
    }

    /// The next call connects anew.
    fn forget(&self, number: u64) {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if client.as_ref().is_some_and(|connected| connected.number == number) {
            *client = None;
        }
    }

    /// Calls until it succeeds, fails for good, or the time is over.
    async fn call<T, F, Fut>(&self, tries: usize, call: F) -> Result<T, KvError>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        let deadline = Instant::now() + self.options.timeout;
        let mut last = KvError::Unavailable("no answer in time".into());
        for attempt in 0..tries {
            if attempt > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let once = async {
                let connected = self.connected().await.map_err(|error| (0, error))?;
                let result = call(connected.client).await;
                result.map_err(|error| (connected.number, kv_error(&error)))
            };
            match timeout_at(deadline, once).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err((number, error))) => {
                    let again = match &error {
                        KvError::Unavailable(_) => true,
                        // The token may be too old, for calls that the client does not repeat itself.
                        KvError::Denied(_) => {
                            self.forget(number);
                            number != 0
                        }
                        _ => false,
                    };
                    last = error;
                    if !again {
                        return Err(last);
                    }
                }
                Err(_) => {
                    if let KvError::Unavailable(_) = last {
                        last = KvError::Unavailable(format!("no answer in {:?}", self.options.timeout));
                    }
                    return Err(last);
                }
            }
        }
        Err(last)
    }

    /// Enough that a member which is away is not the only one that is asked.
    fn tries(&self) -> usize {
        self.options.endpoints.len() + 2
    }

    pub(super) async fn get(&self, key: &str) -> Result<(Option<Pair>, Moment), KvError> {
        let mut answer = self
            .call(self.tries(), |client| async move {
                client.kv_client().max_decoding_message_size(MAX_ANSWER).get(key, None).await
            })
            .await?;
        let moment = moment(answer.header())?;
        Ok((answer.take_kvs().pop().map(pair), moment))
    }

    pub(super) async fn list(
        &self,
        prefix: &str,
        after: Option<&[u8]>,
        limit: usize,
        revision: i64,
    ) -> Result<Page, KvError> {
        let mut from = after.unwrap_or(prefix.as_bytes()).to_vec();
        if after.is_some() {
            from.push(0);
        }
        let options = GetOptions::new()
            .with_range(end_of(prefix))
            .with_limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .with_revision(revision);
        let mut answer = self
            .call(self.tries(), |client| {
                let (from, options) = (from.clone(), options.clone());
                async move {
                    let mut kv = client.kv_client().max_decoding_message_size(MAX_ANSWER);
                    kv.get(from, Some(options)).await
                }
            })
            .await?;
        let moment = moment(answer.header())?;
        let more = answer.more();
        Ok(Page { pairs: answer.take_kvs().into_iter().map(pair).collect(), more, moment })
    }

    /// One transaction of transactions, each with its own condition.
    pub(super) async fn change_each(&self, changes: &[Change]) -> Result<Applied, KvError> {
        let parts: Vec<TxnOp> = changes
            .iter()
            .map(|change| TxnOp::txn(Txn::new().when(compares(change)).and_then([operation(change)])))
            .collect();
        let txn = Txn::new().and_then(parts);
        let answer = self
            .call(self.tries(), |client| {
                let txn = txn.clone();
                async move { client.kv_client().txn(txn).await }
            })
            .await?;
        let done = answer
            .op_responses()
            .into_iter()
            .map(|part| matches!(part, TxnOpResponse::Txn(part) if part.succeeded()))
            .collect::<Vec<bool>>();
        if done.len() != changes.len() {
            return Err(KvError::Refused("an answer of another form".into()));
        }
        Ok(Applied { done, moment: moment(answer.header())? })
    }

    /// Not tried again: a second try would look as if somebody else had been first.
    pub(super) async fn change_all(&self, changes: &[Change]) -> Result<(bool, Moment), KvError> {
        let when: Vec<Compare> = changes.iter().flat_map(compares).collect();
        let then: Vec<TxnOp> = changes.iter().map(operation).collect();
        let txn = Txn::new().when(when).and_then(then);
        let answer = self
            .call(1, |client| {
                let txn = txn.clone();
                async move { client.kv_client().txn(txn).await }
            })
            .await?;
        Ok((answer.succeeded(), moment(answer.header())?))
    }

    pub(super) async fn grant(&self, ttl: Duration) -> Result<Lease, KvError> {
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).max(1);
        let answer = self
            .call(self.tries(), |client| async move { client.lease_client().grant(seconds, None).await })
            .await?;
        Ok(Lease(answer.id()))
    }

    /// A stream for each, of one request: there is none that could break unnoticed.
    pub(super) async fn keep_alive(&self, lease: Lease) -> Result<(), KvError> {
        self.call(self.tries(), |client| async move { client.lease_client().keep_alive(lease.0).await })
            .await
            .map(drop)
    }

    pub(super) async fn revoke(&self, lease: Lease) -> Result<(), KvError> {
        self.call(self.tries(), |client| async move { client.lease_client().revoke(lease.0).await })
            .await
            .map(drop)
    }

    pub(super) async fn watch(&self, prefix: &str, revision: i64) -> Result<EtcdWatch, KvError> {
        let options = WatchOptions::new()
            .with_range(end_of(prefix))
            .with_start_revision(revision)
            .with_progress_notify();
        let stream = self
            .call(self.tries(), |client| {
                let options = options.clone();
                async move {
                    let mut watch = client.watch_client().max_decoding_message_size(MAX_WATCH_MESSAGE);
                    watch.watch(prefix, Some(options)).await
                }
            })
            .await?;
        Ok(EtcdWatch { etcd: self.clone(), stream, heard: Instant::now() })
    }
}

impl EtcdTls {
    fn load(&self) -> Result<TlsOptions, KvError> {
        let read = |path: &PathBuf| {
            std::fs::read(path)
                .map_err(|error| KvError::Refused(format!("{} cannot be read: {error}", path.display())))
        };
        let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read(&self.ca)?));
        if let Some((certificate, key)) = &self.identity {
            tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        if let Some(name) = &self.server_name {
            tls = tls.domain_name(name);
        }
        Ok(tls)
    }
}

/// A watch of etcd.
#[derive(Debug)]
pub struct EtcdWatch {
    etcd: Etcd,
    stream: WatchStream,
    heard: Instant,
}

impl EtcdWatch {
    pub(super) async fn next(&mut self) -> Result<Events, KvError> {
        loop {
            let message = match timeout(ASK, self.stream.message()).await {
                Ok(message) => message.map_err(|error| self.over(kv_error(&error)))?,
                Err(_) if self.heard.elapsed() >= SILENT => {
                    return Err(KvError::Unavailable("the watch is silent".into()));
                }
                Err(_) => {
                    let asked = timeout(ASK, self.stream.request_progress()).await;
                    if !matches!(asked, Ok(Ok(()))) {
                        return Err(KvError::Unavailable("the watch takes no request".into()));
                    }
                    continue;
                }
            };
            self.heard = Instant::now();
            let Some(message) = message else {
                return Err(KvError::Unavailable("the watch has ended".into()));
            };
            if message.compact_revision() != 0 {
                return Err(KvError::Compacted(message.compact_revision()));
            }
            if message.canceled() {
                let reason = message.cancel_reason().to_owned();
                let denied = reason.contains("permission denied") || reason.contains("auth");
                let error = if denied { KvError::Denied(reason) } else { KvError::Unavailable(reason) };
                return Err(self.over(error));
            }
            if message.created() {
                continue;
            }
            let header = moment(message.header())?;
            let events: Vec<Event> = message.events().iter().filter_map(event).collect();
            // The header says how far the store is, which may be further than these events; their last revision is complete.
            let last = events.iter().map(|event| match event {
                Event::Put(pair) => pair.revision,
                Event::Delete(_, revision) => *revision,
            });
            let revision = last.max().unwrap_or(header.revision);
            return Ok(Events { events, moment: Moment { revision, ..header } });
        }
    }

    /// A token that is refused is not used again.
    fn over(&self, error: KvError) -> KvError {
        if let KvError::Denied(_) = error {
            let mut client = self.etcd.client.lock().unwrap_or_else(PoisonError::into_inner);
            *client = None;
        }
        error
    }
}

fn event(event: &etcd_client::Event) -> Option<Event> {
    let kv = event.kv()?;
    Some(match event.event_type() {
        EventType::Put => Event::Put(pair(kv.clone())),
        EventType::Delete => Event::Delete(kv.key().to_vec(), kv.mod_revision()),
    })
}

fn pair(kv: KeyValue) -> Pair {
    let revision = kv.mod_revision();
    let (key, value) = kv.into_key_value();
    Pair { key, value, revision }
}

fn moment(header: Option<&ResponseHeader>) -> Result<Moment, KvError> {
    let header = header.ok_or_else(|| KvError::Refused("an answer without a header".into()))?;
    let term = header.raft_term();
    Ok(Moment { revision: header.revision(), term, cluster: header.cluster_id() })
}

/// The first key after all that begin with `prefix`. Our prefixes end with `/`, which is not the last octet.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

fn compares(change: &Change) -> Vec<Compare> {
    let key = change.key.as_str();
    match change.expect {
        Expect::Any => vec![],
        Expect::Absent => vec![Compare::create_revision(key, CompareOp::Equal, 0)],
        Expect::Revision(revision) => vec![Compare::mod_revision(key, CompareOp::Equal, revision)],
    }
}

fn operation(change: &Change) -> TxnOp {
    let key = change.key.as_str();
    match &change.action {
        Action::Put { value, lease } => {
            let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
            TxnOp::put(key, value.as_slice(), options)
        }
        Action::Delete => TxnOp::delete(key, None),
    }
}

fn kv_error(error: &Error) -> KvError {
    match error {
        Error::GRpcStatus(status) => of_status(status),
        Error::LeaseKeepAliveError(_) => KvError::LeaseGone,
        Error::InvalidArgs(_) | Error::InvalidUri(_) | Error::InvalidMetadataValue(_) => {
            KvError::Refused(error.to_string())
        }
        other => KvError::Unavailable(chain(other)),
    }
}

fn of_status(status: &Status) -> KvError {
    let message = status.message();
    match status.code() {
        Code::OutOfRange if message.contains("has been compacted") => KvError::Compacted(0),
        // As tonic says it, or the server.
        Code::OutOfRange | Code::ResourceExhausted if message.contains("message") => KvError::TooLarge,
        Code::NotFound if message.contains("lease") => KvError::LeaseGone,
        Code::Unauthenticated | Code::PermissionDenied => KvError::Denied(message.into()),
        Code::InvalidArgument | Code::FailedPrecondition
            if message.contains("auth") || message.contains("user") =>
        {
            KvError::Denied(message.into())
        }
        Code::InvalidArgument | Code::FailedPrecondition | Code::ResourceExhausted | Code::OutOfRange => {
            KvError::Refused(message.into())
        }
        _ => KvError::Unavailable(chain(status)),
    }
}

/// The error with its causes: "transport error" alone tells nobody anything.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
