//! Sequence accounting in the cluster: the leader keeps the book, the other replicas send it what their nodes report.
//!
//! A report is acknowledged when the leader has it; a node sends again what was not. What a replica cannot hand on within
//! [`PATIENCE`] it drops, and the leader sees from the next report's number that one is missing: its losses are unknown then.
//! The leader knows who reports from the registry. A node that vanishes from it without a goodbye has taken with it
//! what it had not reported. A new leader begins a new book.

mod convert;
mod forward;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use catchment_proto::cluster::v1::{ExporterSequences, SequenceReport, SequenceTotals};
use catchment_sequence::{Account, Book, Departure, Limits, Space, Time, Totals};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use self::convert::{account_message, totals_message};
pub(crate) use self::convert::{address, octets};
use self::forward::{Forward, Said};
use crate::Store;
use crate::filter::Exporter;
use crate::peers::Peers;
use crate::session::Session;

/// Messages that may wait for the leader.
const QUEUE: usize = 4096;
/// How long a message waits for a leader.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a node that is not registered may be without a report before it counts as gone.
const GONE_AFTER: Duration = Duration::from_secs(15);

/// A node's start.
type Start = (String, u64);

/// Sequence accounting as this replica does it. Clones are the same.
#[derive(Clone, Debug)]
pub struct Sequences {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    peers: Peers,
    limits: Limits,
    began: Instant,
    queue: mpsc::Sender<Forward>,
    leading: Mutex<Option<Leading>>,
    /// Totals of books that this replica kept before.
    past: Mutex<Totals>,
    counters: Counters,
}

/// What the leader has beside the book.
#[derive(Debug)]
struct Leading {
    book: Book,
    /// When each node that has a session was last heard of.
    heard: HashMap<Start, Instant>,
    /// Nodes that said goodbye and are still in the registry.
    left: HashSet<Start>,
}

#[derive(Debug, Default)]
struct Counters {
    taken: AtomicU64,
    again: AtomicU64,
    invalid: AtomicU64,
    forwarded: AtomicU64,
    dropped: AtomicU64,
}

/// What this replica counted of reports and, as the leader, of sequences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SequenceCounts {
    /// Reports taken into the book.
    pub taken: u64,
    /// Reports that had been taken before.
    pub again: u64,
    /// Spaces in reports that were not valid.
    pub invalid: u64,
    /// Reports handed on to the leader.
    pub forwarded: u64,
    /// Reports that no leader took.
    pub dropped: u64,
    /// Spaces forgotten to make room.
    pub forgotten_spaces: u64,
    /// Spaces in the book; 0 where this replica is not the leader.
    pub spaces: u64,
    /// Holes that have not settled, and lost ones that may be taken back.
    pub holes: u64,
    /// Numbers of all spaces since this replica started, while it was the leader.
    #[serde(serialize_with = "convert::totals_json")]
    pub totals: Totals,
}

/// There is no leader here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this coordinator is not the leader")]
pub struct NotLeader;

impl Sequences {
    /// Nothing accounted yet. Must be called within a tokio runtime.
    pub fn start(store: Store, peers: Peers, limits: Limits) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let inner = Arc::new(Inner {
            store,
            peers,
            limits,
            began: Instant::now(),
            queue,
            leading: Mutex::default(),
            past: Mutex::default(),
            counters: Counters::default(),
        });
        tokio::spawn(forward::run(Arc::downgrade(&inner), waiting));
        tokio::spawn(lead(Arc::downgrade(&inner)));
        Self { inner }
    }

    /// Takes what a node with a session here reports, or hands it on. The session is told when the leader has it.
    pub(crate) fn take(&self, session: &Arc<Session>, report: SequenceReport) {
        let (node, incarnation) = (session.node(), session.hello().incarnation);
        let number = report.number;
        match self.report(node, incarnation, &report) {
            Ok(()) => session.sequences_taken(number),
            Err(NotLeader) => {
                self.send(Forward::new(node, incarnation, Said::Report(report, Arc::downgrade(session))));
            }
        }
    }

    /// A node has a session here.
    pub(crate) fn began(&self, node: &str, incarnation: u64) {
        let now = self.inner.now();
        if let Some(leading) = self.inner.leading().as_mut() {
            leading.expect(node, incarnation, now);
        }
    }

    /// A node's session here has ended.
    pub(crate) fn departed(&self, node: &str, incarnation: u64, how: Departure) {
        if self.departure(node, incarnation, how).is_err() {
            self.send(Forward::new(node, incarnation, Said::Departed(how)));
        }
    }

    /// As the leader, takes a node's report.
    ///
    /// # Errors
    ///
    /// This replica is not the leader.
    pub fn report(&self, node: &str, incarnation: u64, report: &SequenceReport) -> Result<(), NotLeader> {
        let now = self.inner.now();
        let (spaces, mut invalid) = convert::report(report);
        let mut leading = self.inner.leading();
        let leading = leading.as_mut().ok_or(NotLeader)?;
        let start = (node.to_owned(), incarnation);
        leading.left.remove(&start);
        leading.heard.insert(start, Instant::now());
        let head = convert::head(node, incarnation, report);
        let spaces = spaces.iter().map(|(space, thread, ranges)| (space.clone(), *thread, ranges));
        let counters = &self.inner.counters;
        match leading.book.report(head, spaces, now) {
            catchment_sequence::Taken::New { invalid: ranges } => {
                invalid += ranges;
                counters.taken.fetch_add(1, Ordering::Relaxed);
            }
            catchment_sequence::Taken::Again => {
                counters.again.fetch_add(1, Ordering::Relaxed);
            }
        }
        counters.invalid.fetch_add(invalid as u64, Ordering::Relaxed);
        Ok(())
    }

    /// As the leader, takes it that a node's session has ended.
    ///
    /// # Errors
    ///
    /// This replica is not the leader.
    pub fn departure(&self, node: &str, incarnation: u64, how: Departure) -> Result<(), NotLeader> {
        let now = self.inner.now();
        let mut leading = self.inner.leading();
        let leading = leading.as_mut().ok_or(NotLeader)?;
        let start = (node.to_owned(), incarnation);
        leading.heard.remove(&start);
        if how == Departure::Goodbye {
            leading.left.insert(start);
        }
        leading.book.departed(node, incarnation, how, now);
        Ok(())
    }

    /// As the leader, the accounts of at most `limit` exporters that `wanted` takes, behind `after`, by zone and address.
    ///
    /// # Errors
    ///
    /// This replica is not the leader.
    pub(crate) fn list(
        &self,
        wanted: impl Fn(&str, IpAddr) -> bool,
        after: Option<&Exporter>,
        limit: usize,
    ) -> Result<(Vec<ExporterSequences>, SequenceTotals), NotLeader> {
        let leading = self.inner.leading();
        let book = &leading.as_ref().ok_or(NotLeader)?.book;
        let mut found: BTreeMap<Exporter, Vec<(Space, Account)>> = BTreeMap::new();
        for (space, account) in book.accounts() {
            let key = (space.zone.clone(), space.exporter);
            if after.is_some_and(|after| key <= *after) || !wanted(&space.zone, space.exporter) {
                continue;
            }
            if found.len() == limit && found.last_key_value().is_none_or(|(last, _)| key > *last) {
                continue;
            }
            found.entry(key).or_default().push((space.clone(), account.clone()));
            if found.len() > limit {
                found.pop_last();
            }
        }
        let totals = totals_message(&book.totals(), book.len());
        drop(leading);
        Ok((found.into_iter().map(|(key, accounts)| convert::exporter(key, accounts)).collect(), totals))
    }

    /// Whether the book is kept here.
    pub fn leads(&self) -> bool {
        self.inner.leading().is_some()
    }

    /// What was counted.
    pub fn counts(&self) -> SequenceCounts {
        let counters = &self.inner.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut totals = *self.inner.past();
        let leading = self.inner.leading();
        let book = leading.as_ref().map(|leading| &leading.book);
        if let Some(book) = book {
            totals += book.totals();
        }
        SequenceCounts {
            taken: read(&counters.taken),
            again: read(&counters.again),
            invalid: read(&counters.invalid),
            forwarded: read(&counters.forwarded),
            dropped: read(&counters.dropped),
            forgotten_spaces: book.map_or(0, Book::forgotten_spaces),
            spaces: book.map_or(0, |book| book.len() as u64),
            holes: book.map_or(0, |book| book.holes() as u64),
            totals,
        }
    }

    fn send(&self, forward: Forward) {
        if self.inner.queue.try_send(forward).is_err() {
            self.inner.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Inner {
    fn now(&self) -> Time {
        // Beginning a day in, so that windows before the first report have room.
        Time::from_millis(86_400_000).after(self.began.elapsed())
    }

    fn leading(&self) -> MutexGuard<'_, Option<Leading>> {
        self.leading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn past(&self) -> MutexGuard<'_, Totals> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins or closes the book as the leadership goes, and lets holes settle.
    fn turn(&self) {
        let now = self.now();
        let mut leading = self.leading();
        if !self.store.is_leader() {
            if let Some(leading) = leading.take() {
                *self.past() += leading.book.totals();
                tracing::info!("sequence accounting goes to another coordinator");
            }
            return;
        }
        let leading = leading.get_or_insert_with(|| {
            tracing::info!("sequence accounting begins here");
            Leading { book: Book::new(self.limits), heard: HashMap::new(), left: HashSet::new() }
        });
        leading.follow(&self.registered(), now);
        leading.book.settle(now);
    }

    fn registered(&self) -> HashSet<Start> {
        let collectors = self.store.mirror().collectors();
        let hellos = collectors.iter().filter_map(|collector| collector.hello.as_ref());
        hellos.map(|hello| (hello.node_id.clone(), hello.incarnation)).collect()
    }
}

impl Leading {
    fn expect(&mut self, node: &str, incarnation: u64, now: Time) {
        let start = (node.to_owned(), incarnation);
        self.left.remove(&start);
        self.heard.entry(start).or_insert_with(Instant::now);
        self.book.expect(node, incarnation, now);
    }

    /// Waits for the reports of all that are registered, and no longer for those that are gone.
    fn follow(&mut self, registered: &HashSet<Start>, now: Time) {
        self.left.retain(|start| registered.contains(start));
        for start in registered {
            if !self.left.contains(start) && !self.heard.contains_key(start) {
                self.heard.insert(start.clone(), Instant::now());
                self.book.expect(&start.0, start.1, now);
            }
        }
        let book = &mut self.book;
        self.heard.retain(|start, heard| {
            let stays = registered.contains(start) || heard.elapsed() < GONE_AFTER;
            if !stays {
                book.departed(&start.0, start.1, Departure::Lost, now);
            }
            stays
        });
    }
}

/// Once a second, as long as anybody has the accounting.
async fn lead(inner: std::sync::Weak<Inner>) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        inner.turn();
    }
}
