//! What goes up: scopes whose shareable content has changed at this node, in the form they have when their turn comes.
//!
//! ```text
//! changed ---> queue ---> bucket of the exporter ---> bucket of the node ---> Learned, 1 MiB at most
//!                ^             | empty                    | empty: the queue stands
//!                +--- later <--+
//!                       ^ refused for a while
//! ```
//!
//! Invariants:
//! - A scope is in here once, whatever happens to it: only its latest content is sent.
//! - Scopes of exporters on the allow-list go before others, and in messages of their own.
//! - Scopes of which only names have changed go up no faster than [`NAMES_SECOND`]: a table of names comes in many datagrams, and each
//!   time the scope is sent whole. Nothing else waits for them.
//! - Content that a coordinator has from this session is not sent to it again, whoever asks for it.
//! - However many scopes change, those wait that the store still has, and no more than twice as many.
//! - What was sent lately is remembered over the end of a session: nobody has said that it was stored.

use std::cmp::Reverse;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::Hasher as _;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use catchment_proto::cluster::v1::{Learned, ScopeState};
use flow_decoder::{ScopeKey, Share, ZoneId};
use prost::Message as _;

use super::bucket::{Bucket, Rate};
use crate::flow::Known;
use crate::shared_scope;

/// Octets of a message, at most.
const MESSAGE: usize = 1 << 20;
/// Octets around a scope in a message.
const AROUND: usize = 4;
/// Scopes that may wait before it is looked which of them are gone.
const FEW: usize = 16_384;
/// Exporters that are told apart while they say much; beyond that all others share a bucket.
const EXPORTERS: usize = 16_384;
/// Octets a second of a scope of which only names change, and the least time between two messages about it.
const NAMES_SECOND: f64 = 100_000.0;
const NAMES_REST: Duration = Duration::from_millis(100);
/// How long what was sent is remembered, and how many scopes.
const REMEMBERED: Duration = Duration::from_secs(600);
const MOST_REMEMBERED: usize = 65_536;

/// How much may go up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Scopes of one exporter.
    pub(super) exporter: Rate,
    /// Scopes of the node.
    pub(super) scopes: Rate,
    /// Octets of the node.
    pub(super) octets: Rate,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // More than any router has domains at once; then four changes a second for ever.
            exporter: Rate { burst: 256.0, second: 4.0 },
            // All that a large node knows in half a minute, where a store was wiped.
            scopes: Rate { burst: 16_384.0, second: 2_000.0 },
            octets: Rate { burst: 16e6, second: 8e6 },
        }
    }
}

/// What was sent last of a scope.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    /// Hash of the content, where it was sent in this session.
    content: Option<u64>,
    octets: usize,
}

impl Sent {
    /// When names alone are a reason to send the scope again.
    fn next_names(&self) -> Instant {
        self.at + NAMES_REST.max(Duration::from_secs_f64(self.octets as f64 / NAMES_SECOND))
    }
}

/// Scopes on their way up.
#[derive(Debug)]
pub(super) struct Uplink {
    known: Known,
    limits: Limits,
    /// Of exporters on the allow-list, and others.
    queues: [VecDeque<ScopeKey>; 2],
    later: BinaryHeap<Reverse<(Instant, ScopeKey)>>,
    /// All that is in `queues` or `later`.
    waiting: HashSet<ScopeKey>,
    /// Scopes of which only names have changed, and when it is their turn.
    names: BinaryHeap<Reverse<(Instant, ScopeKey)>>,
    names_waiting: HashSet<ScopeKey>,
    /// How many may wait before it is looked which of them are gone.
    sweep_at: usize,
    exporters: HashMap<(ZoneId, IpAddr), Bucket>,
    other_exporters: Bucket,
    scopes: Bucket,
    octets: Bucket,
    sent: HashMap<ScopeKey, Sent>,
}

/// What there is to do.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// This goes up.
    Send(Batch),
    /// Nothing before that moment.
    Wait(Instant),
    /// Nothing.
    Idle,
}

/// A message, and what is in it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Batch {
    pub(super) message: Learned,
    pub(super) scopes: usize,
    pub(super) templates: usize,
    /// Scopes that were put off on the way.
    pub(super) limited: usize,
}

impl Uplink {
    pub(super) fn new(known: Known, limits: Limits, now: Instant) -> Self {
        Self {
            known,
            limits,
            queues: Default::default(),
            later: BinaryHeap::new(),
            waiting: HashSet::new(),
            names: BinaryHeap::new(),
            names_waiting: HashSet::new(),
            sweep_at: 0,
            exporters: HashMap::new(),
            other_exporters: Bucket::full(limits.exporter, now),
            scopes: Bucket::full(limits.scopes, now),
            octets: Bucket::full(limits.octets, now),
            sent: HashMap::new(),
        }
    }

    /// A scope is to go up.
    pub(super) fn push(&mut self, key: ScopeKey) {
        if self.waiting.insert(key) {
            if self.waiting.len() > self.sweep_at.max(FEW) {
                self.sweep();
            }
            self.queue(key);
        }
    }

    /// A scope is to go up because of names in it.
    pub(super) fn push_names(&mut self, key: ScopeKey, now: Instant) {
        match self.sent.get(&key).map(Sent::next_names) {
            Some(at) if at > now => {
                if !self.waiting.contains(&key) && self.names_waiting.insert(key) {
                    if self.names_waiting.len() > self.sweep_at.max(FEW) {
                        self.sweep();
                    }
                    self.names.push(Reverse((at, key)));
                }
            }
            _ => self.push(key),
        }
    }

    /// Leaves out scopes that the store has forgotten: a flood makes more of them than may go up.
    fn sweep(&mut self) {
        let Self { known, waiting, queues, later, names, names_waiting, .. } = self;
        let there = |key: &ScopeKey| known.store.knows(key);
        waiting.retain(there);
        queues.iter_mut().for_each(|queue| queue.retain(there));
        later.retain(|Reverse((_, key))| there(key));
        names_waiting.retain(there);
        names.retain(|Reverse((_, key))| there(key));
        self.sweep_at = 2 * self.waiting.len().max(self.names_waiting.len());
    }

    /// A coordinator did not take a scope: not before `after`, or not before it changes.
    pub(super) fn refused(&mut self, key: ScopeKey, after: Option<Duration>, now: Instant) {
        self.sent.remove(&key);
        if let Some(after) = after
            && self.waiting.insert(key)
        {
            self.later.push(Reverse((now + after, key)));
        }
    }

    /// A session begins: nothing that was sent lately is known to be with the cluster.
    pub(super) fn begin(&mut self, now: Instant) {
        let recent: Vec<ScopeKey> = self
            .sent
            .drain()
            .filter(|(_, sent)| now.saturating_duration_since(sent.at) < REMEMBERED)
            .map(|(key, _)| key)
            .collect();
        recent.into_iter().for_each(|key| self.push(key));
    }

    /// Scopes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len() + self.names_waiting.len()
    }

    /// Whether nothing waits but names, which have time.
    pub(super) fn is_calm(&self) -> bool {
        self.waiting.is_empty()
    }

    fn queue(&mut self, key: ScopeKey) {
        let class = usize::from(!self.known.is_allowed(key.zone, key.exporter));
        self.queues[class].push_back(key);
    }

    /// The next message, or when there may be one.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        while let Some(Reverse((at, key))) = self.later.peek().copied()
            && at <= now
        {
            self.later.pop();
            self.queue(key);
        }
        while let Some(Reverse((at, key))) = self.names.peek().copied()
            && at <= now
        {
            self.names.pop();
            self.names_waiting.remove(&key);
            self.push(key);
        }
        self.forget(now);
        let mut limited = 0;
        for class in 0..self.queues.len() {
            let (batch, held) = self.fill(class, now);
            limited += batch.limited;
            if batch.scopes > 0 {
                return Next::Send(Batch { limited, ..batch });
            }
            if let Some(until) = held {
                return Next::Wait(until);
            }
        }
        let first = |heap: &BinaryHeap<Reverse<(Instant, ScopeKey)>>| heap.peek().map(|Reverse((at, _))| *at);
        match [first(&self.later), first(&self.names)].into_iter().flatten().min() {
            Some(at) => Next::Wait(at),
            None => Next::Idle,
        }
    }

    /// A message of what is in one queue; and until when the node has to be silent, where it said too much.
    fn fill(&mut self, class: usize, now: Instant) -> (Batch, Option<Instant>) {
        let mut batch = Batch::default();
        batch.message.allow_listed = class == 0;
        let mut octets = 0;
        while let Some(key) = self.queues[class].pop_front() {
            let (messages, content) = self.content(&key);
            let known = self.sent.get(&key).is_some_and(|sent| sent.content == Some(content));
            if messages.is_empty() || known {
                self.waiting.remove(&key);
                continue;
            }
            let size: usize = messages.iter().map(|message| message.encoded_len() + AROUND).sum();
            // A scope of several messages may be larger than one message of the stream: it has one of its own for each.
            if octets + size > MESSAGE && batch.scopes > 0 {
                self.queues[class].push_front(key);
                break;
            }
            if let Err(wait) = self.exporter_may(&key, now) {
                batch.limited += 1;
                self.later.push(Reverse((now + wait, key)));
                continue;
            }
            let (scopes, octet) = (self.limits.scopes, self.limits.octets);
            let may = self.scopes.take(scopes, 1.0, now);
            if let Err(wait) = may.and_then(|()| self.octets.take(octet, size as f64, now)) {
                batch.limited += 1;
                self.queues[class].push_front(key);
                return (batch, Some(now + wait));
            }
            octets += size;
            batch.scopes += 1;
            batch.templates += messages.iter().map(|message| message.definitions.len()).sum::<usize>();
            batch.message.scopes.extend(messages);
            self.waiting.remove(&key);
            if self.sent.len() < MOST_REMEMBERED || self.sent.contains_key(&key) {
                self.sent.insert(key, Sent { at: now, content: Some(content), octets: size });
            }
            if octets > MESSAGE {
                break;
            }
        }
        (batch, None)
    }

    /// What may be told of a scope, and a hash of it.
    fn content(&self, key: &ScopeKey) -> (Vec<ScopeState>, u64) {
        let Known { store, zones, .. } = &self.known;
        let scope = store.export(key, Share::Proven).unwrap_or_default();
        let messages = shared_scope::messages(key, &scope, zones, shared_scope::LARGEST);
        let mut hasher = DefaultHasher::new();
        messages.iter().for_each(|message| hasher.write(&message.encode_to_vec()));
        (messages, hasher.finish())
    }

    fn exporter_may(&mut self, key: &ScopeKey, now: Instant) -> Result<(), Duration> {
        let (rate, exporter) = (self.limits.exporter, (key.zone, key.exporter));
        if self.exporters.len() >= EXPORTERS && !self.exporters.contains_key(&exporter) {
            self.exporters.retain(|_, bucket| !bucket.is_full(rate, now));
            if self.exporters.len() >= EXPORTERS {
                return self.other_exporters.take(rate, 1.0, now);
            }
        }
        self.exporters.entry(exporter).or_insert_with(|| Bucket::full(rate, now)).take(rate, 1.0, now)
    }

    /// Makes room where much is remembered.
    fn forget(&mut self, now: Instant) {
        if self.sent.len() >= MOST_REMEMBERED {
            self.sent.retain(|_, sent| now.saturating_duration_since(sent.at) < REMEMBERED);
        }
    }
}

#[cfg(test)]
mod tests;
