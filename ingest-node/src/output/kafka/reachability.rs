//! Whether brokers can be reached and take what they are sent.
//!
//! librdkafka says when all connections are down, which is also so when brokers close idle ones; so its word only raises
//! doubt, and the [steward](super::steward) then asks for metadata, which settles it. A delivery report settles it at once.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;

use super::super::health::{HealthCell, OutputHealth};

/// For how long after a failed delivery an answer to a metadata request does not count as recovery.
const GRUDGE: Duration = Duration::from_secs(10);

/// The health of the Kafka output, fed from all its producers.
#[derive(Debug)]
pub(super) struct Reachability {
    health: HealthCell,
    doubtful: AtomicBool,
    evidence: Mutex<Evidence>,
}

#[derive(Debug, Default)]
struct Evidence {
    /// What librdkafka said last since brokers last answered.
    last_error: Option<String>,
    failed_delivery: Option<Instant>,
}

impl Reachability {
    pub(super) fn new() -> Self {
        Self {
            health: HealthCell::starting("no broker has answered yet"),
            doubtful: AtomicBool::new(true),
            evidence: Mutex::default(),
        }
    }

    pub(super) fn health(&self) -> OutputHealth {
        self.health.get()
    }

    pub(super) fn is_up(&self) -> bool {
        self.health.is_up()
    }

    /// Whether brokers should be asked.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful.load(Relaxed) || !self.is_up()
    }

    /// librdkafka has reported an error that may pass.
    pub(super) fn doubt(&self, reason: &str) {
        self.evidence().last_error = Some(reason.to_owned());
        self.doubtful.store(true, Relaxed);
    }

    /// librdkafka has lost all connections. It says so after the error that tells why, which stays what is shown.
    pub(super) fn doubt_all(&self, reason: &str) {
        self.evidence().last_error.get_or_insert_with(|| reason.to_owned());
        self.doubtful.store(true, Relaxed);
    }

    /// A message has been acknowledged.
    #[inline]
    pub(super) fn delivered(&self) {
        self.health.set_up();
    }

    /// A message has been given up.
    pub(super) fn delivery_failed(&self, code: RDKafkaErrorCode) {
        self.evidence().failed_delivery = Some(Instant::now());
        self.health.set_failing(format!("message not delivered: {code}"));
    }

    /// Brokers have answered a metadata request.
    pub(super) fn answered(&self) {
        self.doubtful.store(false, Relaxed);
        let mut evidence = self.evidence();
        evidence.last_error = None;
        let failed = evidence.failed_delivery;
        drop(evidence);
        if failed.is_none_or(|failed| failed.elapsed() >= GRUDGE) {
            self.health.set_up();
        }
    }

    /// A metadata request failed, or its answer says that a topic cannot be used.
    pub(super) fn unanswered(&self, error: &str) {
        let evidence = self.evidence();
        let reason = match &evidence.last_error {
            Some(last) => format!("{error} ({last})"),
            None => error.to_owned(),
        };
        drop(evidence);
        self.health.set_failing(reason);
    }

    fn evidence(&self) -> std::sync::MutexGuard<'_, Evidence> {
        self.evidence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::health::OutputState;
    use super::*;

    #[test]
    fn an_error_raises_doubt_and_metadata_settles_it() {
        let reachability = Reachability::new();
        assert_eq!(reachability.health().state, OutputState::Starting);
        assert!(reachability.is_doubtful());
        reachability.answered();
        assert!(reachability.is_up() && !reachability.is_doubtful());
        reachability.doubt_all("1/1 brokers are down");
        assert!(reachability.is_up() && reachability.is_doubtful());
        reachability.unanswered("metadata: timed out");
        assert_eq!(reachability.health().reason, "metadata: timed out (1/1 brokers are down)");
        reachability.answered();
        assert!(reachability.is_up());
    }

    #[test]
    fn why_connections_were_lost_is_shown_rather_than_that_they_were() {
        let reachability = Reachability::new();
        reachability.doubt("certificate verify failed");
        reachability.doubt_all("1/1 brokers are down");
        reachability.unanswered("timed out");
        assert_eq!(reachability.health().reason, "timed out (certificate verify failed)");
        reachability.answered();
        reachability.unanswered("timed out");
        assert_eq!(reachability.health().reason, "timed out");
    }

    #[test]
    fn metadata_does_not_hide_failing_deliveries() {
        let reachability = Reachability::new();
        reachability.delivery_failed(RDKafkaErrorCode::TopicAuthorizationFailed);
        reachability.answered();
        assert!(!reachability.is_up());
        reachability.delivered();
        assert!(reachability.is_up());
    }
}
