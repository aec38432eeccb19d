//! How much that is new is taken from exporters and nodes, so that a flood of spoofed templates costs little.
//!
//! A refresh costs nothing and is never limited. What is new takes a token of its exporter (a burst of 256, then four a second: as
//! much as a node sends, for there are exporters that announce each of a hundred templates in a message of its own). A scope that
//! nobody knew takes one of its node and one of the total as well, unless its exporter is on an allow-list or already has a
//! scope here: those are not kept waiting by a flood. A change of what is known takes one of its own total.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// How much of something: so many at once, then so many a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// A second, afterwards.
    pub per_second: u32,
}

/// The limits of a coordinator.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Changes of one exporter's scopes.
    pub exporter: Rate,
    /// New scopes from one node.
    pub node: Rate,
    /// New scopes in total.
    pub new_scopes: Rate,
    /// Changes of known scopes and of known exporters in total.
    pub changes: Rate,
    /// Scopes that are known at once (`templates.max_domains`).
    pub max_scopes: usize,
    /// Octets of all scopes (`templates.max_bytes`).
    pub max_bytes: u64,
    /// Transactions that write templates and options state.
    pub transactions: Rate,
}

impl Limits {
    /// Whether there is room for a scope that nobody knew, or for one that is known to grow: that may take a quarter more.
    pub(crate) fn room(&self, scopes: usize, bytes: u64, is_known: bool) -> Result<(), Limit> {
        let most = if is_known { self.max_bytes + self.max_bytes / 4 } else { self.max_bytes };
        match is_known {
            false if scopes >= self.max_scopes => Err(Limit::Full),
            _ if bytes >= most => Err(Limit::TooLarge),
            _ => Ok(()),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            exporter: Rate { burst: 256, per_second: 4 },
            node: Rate { burst: 5_000, per_second: 50 },
            new_scopes: Rate { burst: 10_000, per_second: 100 },
            changes: Rate { burst: 10_000, per_second: 1_000 },
            max_scopes: 300_000,
            max_bytes: 96 << 20,
            transactions: Rate { burst: 10, per_second: 10 },
        }
    }
}

/// How well an exporter is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Anybody could be it.
    Open,
    /// It is on the allow-list of the node that heard it.
    AllowListed,
}

/// What was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// Too much that is new, of one exporter.
    #[error("this exporter changes its templates too often")]
    Exporter,
    /// Too many new scopes from one node.
    #[error("this node reports too many new exporters")]
    Node,
    /// Too many new scopes.
    #[error("too many new exporters appear at once")]
    NewScopes,
    /// Too many changes.
    #[error("too many templates change at once")]
    Changes,
    /// As many scopes as may be are known.
    #[error("as many domains as `templates.max_domains` allows are known")]
    Full,
    /// The scopes that are known are as large as they may be.
    #[error("what is known is as large as `templates.max_bytes` allows")]
    TooLarge,
}

/// A token bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub(crate) fn full(rate: Rate, now: Instant) -> Self {
        Self { tokens: f64::from(rate.burst), at: now }
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * f64::from(rate.per_second)).min(f64::from(rate.burst));
        self.at = now;
    }

    fn has_token(&mut self, rate: Rate, now: Instant) -> bool {
        self.refill(rate, now);
        self.tokens >= 1.0
    }

    fn is_full(&mut self, rate: Rate, now: Instant) -> bool {
        self.refill(rate, now);
        self.tokens >= f64::from(rate.burst)
    }

    fn take(&mut self) {
        self.tokens -= 1.0;
    }

    /// Takes a token, or says how long it takes until there is one.
    pub(crate) fn try_take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        self.try_take_above(0, rate, now)
    }

    /// The same, but leaves so many for those to whom they are reserved.
    pub(crate) fn try_take_above(&mut self, reserved: u32, rate: Rate, now: Instant) -> Result<(), Duration> {
        self.refill(rate, now);
        let needed = 1.0 + f64::from(reserved);
        if self.tokens >= needed {
            self.take();
            return Ok(());
        }
        Err(Duration::from_secs_f64((needed - self.tokens) / f64::from(rate.per_second.max(1))))
    }
}

/// Exporters whose buckets are kept. One that is not kept has a full bucket; the totals hold nevertheless.
const MAX_EXPORTERS: usize = 64 * 1024;
/// How often those whose bucket is full again are forgotten, once there are so many.
const SWEEP: Duration = Duration::from_secs(1);

/// All buckets of admission.
#[derive(Debug)]
pub(crate) struct Admission {
    exporters: HashMap<(Box<str>, IpAddr), Bucket>,
    new_scopes: Bucket,
    changes: Bucket,
    swept: Instant,
}

/// What kind of news it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Of a scope that is known, of an exporter that is known, or of one on an allow-list.
    OfKnown,
    /// Of an exporter that nobody knew.
    OfStranger,
}

impl Admission {
    pub(crate) fn new(limits: &Limits, now: Instant) -> Self {
        Self {
            exporters: HashMap::new(),
            new_scopes: Bucket::full(limits.new_scopes, now),
            changes: Bucket::full(limits.changes, now),
            swept: now,
        }
    }

    /// Takes the tokens that news of an exporter cost, all or none.
    pub(crate) fn admit(
        &mut self,
        limits: &Limits,
        exporter: (Box<str>, IpAddr),
        node: &mut Bucket,
        news: News,
        now: Instant,
    ) -> Result<(), Limit> {
        let (total, rate, limit) = match news {
            News::OfKnown => (&mut self.changes, limits.changes, Limit::Changes),
            News::OfStranger => (&mut self.new_scopes, limits.new_scopes, Limit::NewScopes),
        };
        if !total.has_token(rate, now) {
            return Err(limit);
        }
        if news == News::OfStranger && !node.has_token(limits.node, now) {
            return Err(Limit::Node);
        }
        if self.exporters.len() >= MAX_EXPORTERS && now.saturating_duration_since(self.swept) >= SWEEP {
            self.swept = now;
            self.exporters.retain(|_, bucket| !bucket.is_full(limits.exporter, now));
        }
        if self.exporters.len() < MAX_EXPORTERS || self.exporters.contains_key(&exporter) {
            let own = self.exporters.entry(exporter).or_insert_with(|| Bucket::full(limits.exporter, now));
            own.try_take(limits.exporter, now).map_err(|_| Limit::Exporter)?;
        }
        total.take();
        if news == News::OfStranger {
            node.take();
        }
        Ok(())
    }
}
