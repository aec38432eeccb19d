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

/// What a bucket holds, and what flows in each second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) burst: f64,
    pub(super) second: f64,
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

/// A token bucket.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn full(rate: Rate, now: Instant) -> Self {
        Self { tokens: rate.burst, at: now }
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * rate.second).min(rate.burst);
        self.at = now;
    }

    /// Takes `count`, or says how long it takes until there is something. What is larger than the bucket passes when it is
    /// full, and leaves a debt.
    fn take(&mut self, rate: Rate, count: f64, now: Instant) -> Result<(), Duration> {
        self.refill(rate, now);
        let needed = count.min(rate.burst);
        if self.tokens < needed {
            return Err(Duration::from_secs_f64((needed - self.tokens) / rate.second));
        }
        self.tokens -= count;
        Ok(())
    }

    fn is_full(&mut self, rate: Rate, now: Instant) -> bool {
        self.refill(rate, now);
        self.tokens >= rate.burst
    }
}

/// What was sent last of a scope.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    /// Hash of the content, where it was sent in this session.
    content: Option<u64>,
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

    /// Leaves out scopes that the store has forgotten: a flood makes more of them than may go up.
    fn sweep(&mut self) {
        let Self { known, waiting, queues, later, .. } = self;
        let there = |key: &ScopeKey| known.store.knows(key);
        waiting.retain(there);
        queues.iter_mut().for_each(|queue| queue.retain(there));
        later.retain(|Reverse((_, key))| there(key));
        self.sweep_at = 2 * self.waiting.len();
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
        self.waiting.len()
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
        match self.later.peek() {
            Some(Reverse((at, _))) => Next::Wait(*at),
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
                self.sent.insert(key, Sent { at: now, content: Some(content) });
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
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use flow_decoder::template::{FieldSpecifier, Template, TemplateKind};
    use flow_decoder::{Order, SharedDefinition, SharedScope};

    use super::*;
    use crate::config::{Config, Prefix};

    const NOW_NS: u64 = 1_800_000_000_000_000_000;
    const SECOND: Duration = Duration::from_secs(1);

    fn key(exporter: u8, domain: u32) -> ScopeKey {
        let exporter = Ipv4Addr::new(192, 0, 2, exporter).into();
        ScopeKey { zone: ZoneId(0), exporter, version: 10, domain }
    }

    fn learn(known: &Known, key: ScopeKey, fields: usize, length: u16) {
        let fields = vec![FieldSpecifier::iana(1, length); fields];
        let template = Arc::new(Template::new(TemplateKind::Data, fields).unwrap());
        let order = Order { epoch: 0, time: NOW_NS / 1_000_000 + u64::from(length) };
        let definitions = vec![SharedDefinition { id: 256, port: 1, order, proven: true, template }];
        known.store.import(&key, SharedScope { definitions, ..SharedScope::default() }, NOW_NS);
    }

    fn limits(exporter: f64, scopes: f64) -> Limits {
        let rate = |burst| Rate { burst, second: 1.0 };
        Limits { exporter: rate(exporter), scopes: rate(scopes), octets: Rate { burst: 1e9, second: 1e9 } }
    }

    fn uplink(limits: Limits) -> (Uplink, Known, Instant) {
        let mut config = Config::default();
        let allow: Prefix = catchment_settings::Value::parse("192.0.2.9/32").unwrap();
        config.sources.flow.listeners[0].allow = vec![allow];
        let (known, now) = (Known::nothing(&config), Instant::now());
        (Uplink::new(known.clone(), limits, now), known, now)
    }

    fn batch(next: Next) -> Batch {
        match next {
            Next::Send(batch) => batch,
            other => panic!("{other:?}"),
        }
    }

    fn domains(batch: &Batch) -> Vec<u32> {
        batch.message.scopes.iter().map(|scope| scope.key.as_ref().unwrap().domain).collect()
    }

    #[test]
    fn a_scope_goes_up_once_in_its_latest_form() {
        let (mut uplink, known, now) = uplink(Limits::default());
        learn(&known, key(1, 1), 1, 4);
        uplink.push(key(1, 1));
        learn(&known, key(1, 1), 1, 8);
        uplink.push(key(1, 1));
        let sent = batch(uplink.next(now));
        assert_eq!(
            (sent.scopes, sent.templates, sent.message.scopes[0].layouts[0].fields[0].length),
            (1, 1, 8)
        );
        assert_eq!(uplink.next(now), Next::Idle);
        uplink.push(key(1, 1));
        assert_eq!((uplink.next(now), uplink.waiting()), (Next::Idle, 0), "the coordinator has it");
        uplink.push(key(1, 7));
        assert_eq!((uplink.next(now), uplink.waiting()), (Next::Idle, 0), "there is nothing to tell");
    }

    #[test]
    fn scopes_that_are_gone_do_not_wait() {
        let (mut uplink, known, now) = uplink(limits(1e9, 1e9));
        learn(&known, key(1, 1), 1, 4);
        uplink.push(key(1, 1));
        for domain in 0..10 * FEW as u32 {
            uplink.push(key(2, domain));
            assert!(uplink.waiting() <= FEW + 1, "{}", uplink.waiting());
        }
        assert_eq!(domains(&batch(uplink.next(now))), [1]);
        assert_eq!((uplink.next(now), uplink.waiting()), (Next::Idle, 0));
    }

    #[test]
    fn messages_have_a_bound() {
        let (mut uplink, known, now) = uplink(Limits::default());
        for domain in 0..200 {
            learn(&known, key(1, domain), 1000, 4);
            uplink.push(key(1, domain));
        }
        let (mut seen, mut messages) = (0, 0);
        while let Next::Send(batch) = uplink.next(now) {
            assert!(batch.message.encoded_len() <= MESSAGE + 16, "{}", batch.message.encoded_len());
            (seen, messages) = (seen + batch.scopes, messages + 1);
        }
        assert!(seen == 200 && messages > 1, "{seen} scopes in {messages} messages");
    }

    #[test]
    fn an_exporter_that_says_much_waits_and_others_do_not() {
        let (mut uplink, known, now) = uplink(limits(2.0, 1e9));
        for domain in 0..4 {
            learn(&known, key(1, domain), 1, 4);
            uplink.push(key(1, domain));
        }
        learn(&known, key(2, 9), 1, 4);
        uplink.push(key(2, 9));
        let sent = batch(uplink.next(now));
        assert_eq!((domains(&sent), sent.limited), (vec![0, 1, 9], 2));
        learn(&known, key(1, 2), 1, 40);
        uplink.push(key(1, 2));
        assert!(matches!(uplink.next(now), Next::Wait(_)));
        let later = batch(uplink.next(now + 3 * SECOND));
        assert_eq!(domains(&later), [2, 3]);
        assert_eq!(later.message.scopes[0].layouts[0].fields[0].length, 40, "the latest form");
    }

    #[test]
    fn the_node_has_a_limit_too() {
        let (mut uplink, known, now) = uplink(limits(1e9, 3.0));
        for domain in 0..5 {
            learn(&known, key(1, domain), 1, 4);
            uplink.push(key(1, domain));
        }
        assert_eq!(domains(&batch(uplink.next(now))), [0, 1, 2]);
        assert!(matches!(uplink.next(now), Next::Wait(at) if at <= now + SECOND));
        assert_eq!(domains(&batch(uplink.next(now + SECOND))), [3]);
        assert_eq!(uplink.waiting(), 1);
    }

    #[test]
    fn exporters_on_the_allow_list_go_first_and_apart() {
        let (mut uplink, known, now) = uplink(Limits::default());
        for exporter in [1, 9, 2] {
            learn(&known, key(exporter, u32::from(exporter)), 1, 4);
            uplink.push(key(exporter, u32::from(exporter)));
        }
        let (first, second) = (batch(uplink.next(now)), batch(uplink.next(now)));
        assert_eq!((domains(&first), first.message.allow_listed), (vec![9], true));
        assert_eq!((domains(&second), second.message.allow_listed), (vec![1, 2], false));
    }

    #[test]
    fn what_was_refused_goes_again_when_it_is_told_or_when_it_changes() {
        let (mut uplink, known, now) = uplink(Limits::default());
        for domain in [1, 2] {
            learn(&known, key(1, domain), 1, 4);
            uplink.push(key(1, domain));
        }
        batch(uplink.next(now));
        uplink.refused(key(1, 1), Some(SECOND), now);
        uplink.refused(key(1, 2), None, now);
        assert_eq!(uplink.next(now), Next::Wait(now + SECOND));
        assert_eq!(domains(&batch(uplink.next(now + SECOND))), [1]);
        uplink.push(key(1, 2));
        assert_eq!(domains(&batch(uplink.next(now + SECOND))), [2]);
    }

    #[test]
    fn another_session_is_told_what_the_last_one_may_not_have_kept() {
        let (mut uplink, known, now) = uplink(Limits::default());
        learn(&known, key(1, 1), 1, 4);
        uplink.push(key(1, 1));
        batch(uplink.next(now));
        uplink.begin(now + SECOND);
        assert_eq!(domains(&batch(uplink.next(now + SECOND))), [1]);
        uplink.begin(now + SECOND + REMEMBERED);
        assert_eq!(uplink.next(now + SECOND + REMEMBERED), Next::Idle);
    }
}
