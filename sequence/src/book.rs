//! The accounts of all sequence spaces, put together from the reports of all nodes.
//!
//! One coordinator keeps it (the leader). A hole settles when it is older than [`Limits::settle`] and every node that has a session has
//! reported since; a node that says nothing for [`Limits::silence`] is not waited for, and what opened meanwhile is unknown.
//! A new leader begins a new book: what nodes had reported to the one before is missing from it and is nobody's loss.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::account::{Account, Totals};
use crate::evidence::Evidence;
use crate::report::SpaceReport;
use crate::run::Window;
use crate::space::Space;
use crate::time::Time;
use crate::timeline::{Deadlines, Timeline};

/// Bounds of the book.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a number may be missing before it is lost: a few report intervals.
    pub settle: Duration,
    /// How long holes wait for a node that says nothing.
    pub silence: Duration,
    /// How long a lost number is remembered, so that it can be taken back.
    pub memory: Duration,
    /// Spaces; beyond, the one longest without a report is forgotten.
    pub spaces: usize,
    /// Holes of one space.
    pub holes_per_space: usize,
    /// Holes of all spaces.
    pub holes: usize,
    /// Ranges in one report of one space.
    pub ranges: usize,
    /// Nodes, each start counted, that are remembered.
    pub nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(15),
            silence: Duration::from_secs(45),
            memory: Duration::from_secs(600),
            spaces: 100_000,
            holes_per_space: 65_536,
            holes: 1_000_000,
            ranges: 65_536,
            nodes: 8192,
        }
    }
}

/// A report of a node, without its spaces.
#[derive(Clone, Copy, Debug)]
pub struct NodeReport<'a> {
    /// The node.
    pub node: &'a str,
    /// Which start of it.
    pub incarnation: u64,
    /// Number of the report, from 1.
    pub number: u64,
    /// The time that it covers.
    pub covers: Duration,
    /// Datagrams that the node lost itself in that time.
    pub lost_here: u64,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is in the accounts; so many spaces of it were not valid.
    New {
        /// Spaces whose ranges were not valid.
        invalid: usize,
    },
    /// It has been taken before.
    Again,
}

/// How a node's session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// With a goodbye, after its last report.
    Goodbye,
    /// Without a word.
    Lost,
}

#[derive(Debug)]
struct Node {
    /// Names the node's start in timelines.
    id: u32,
    name: Arc<str>,
    /// Number of the last report; 0: none yet.
    last: u64,
    /// Reports before it that did not come.
    missing: BTreeSet<u64>,
    /// When it was last heard of.
    heard: Time,
    /// Whether reports are expected.
    expected: bool,
}

/// Reports may come late by so many numbers and still count.
const MISSING: usize = 64;

/// Between a datagram and the report that has it other nodes may report: this much is allowed for.
const SLACK: Duration = Duration::from_secs(1);

/// The accounts of all sequence spaces.
#[derive(Debug)]
pub struct Book {
    limits: Limits,
    spaces: HashMap<Space, Timeline>,
    nodes: HashMap<(Arc<str>, u64), Node>,
    next_node: u32,
    evidence: Evidence,
    totals: Totals,
    holes: usize,
    forgotten_spaces: u64,
}

impl Book {
    /// An empty book.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            spaces: HashMap::new(),
            nodes: HashMap::new(),
            next_node: 1,
            evidence: Evidence::default(),
            totals: Totals::default(),
            holes: 0,
            forgotten_spaces: 0,
        }
    }

    /// A node has a session: its reports are waited for.
    pub fn expect(&mut self, node: &str, incarnation: u64, now: Time) {
        let known = self.node(node, incarnation, now);
        if !std::mem::replace(&mut known.expected, true) {
            known.heard = known.heard.max(now);
            self.evidence.returned(node, incarnation);
        }
    }

    /// A node's session has ended. Unheard of since its last report, a lost one may have taken everything with it.
    pub fn departed(&mut self, node: &str, incarnation: u64, how: Departure, now: Time) {
        let known = self.node(node, incarnation, now);
        let was_expected = std::mem::replace(&mut known.expected, false);
        let (name, from) = (Arc::clone(&known.name), known.heard.before(SLACK));
        if how == Departure::Lost && was_expected {
            self.evidence.crash(&name, incarnation, from, now);
        }
    }

    /// Takes in a node's report.
    pub fn report<'r>(
        &mut self,
        report: NodeReport<'_>,
        spaces: impl IntoIterator<Item = (Space, u32, &'r SpaceReport)>,
        now: Time,
    ) -> Taken {
        self.expect(report.node, report.incarnation, now);
        let NodeReport { incarnation, number, .. } = report;
        let node = self.node(report.node, incarnation, now);
        let late = number <= node.last;
        if late && !node.missing.remove(&number) {
            return Taken::Again;
        }
        let (id, name) = (node.id, Arc::clone(&node.name));
        let window = Window { from: now.before(report.covers).min(node.heard).before(SLACK), to: now };
        if !late {
            if node.last == 0 && number > 1 {
                // What it reported before, to another book, may be what others' reports seem to lack.
                self.evidence.began(&name, incarnation, window.from, now);
            } else if number > node.last + 1 {
                let first = number.saturating_sub(MISSING as u64).max(node.last + 1);
                node.missing.extend(first..number);
                while node.missing.len() > MISSING {
                    node.missing.pop_first();
                }
                self.evidence.missing(&name, incarnation, window.from, now);
            }
            // Looked up again: the evidence was borrowed in between.
            let node = self.node(report.node, incarnation, now);
            node.last = number;
            node.heard = now;
        }
        if report.lost_here > 0 {
            self.evidence.drops(&name, incarnation, window.from, now, report.lost_here);
        }
        let deadlines = self.deadlines(now);
        let mut invalid = 0;
        for (space, thread, ranges) in spaces {
            let unit = space.unit;
            if !self.spaces.contains_key(&space) {
                self.make_room();
            }
            let timeline = self.spaces.entry(space).or_insert_with(|| Timeline::new(unit));
            timeline.touched = now;
            let before = timeline.holes();
            // With all holes taken, a space with many makes room for itself.
            let holes =
                if self.holes >= self.limits.holes { before.min(16) } else { self.limits.holes_per_space };
            let deadlines = Deadlines { holes, ..deadlines };
            let taken =
                timeline.take((id, thread), ranges, window, self.limits.ranges, &deadlines, &mut self.totals);
            if taken.is_err() {
                timeline.note_truncated(window);
                invalid += 1;
            }
            self.holes = (self.holes + timeline.holes()).saturating_sub(before);
        }
        Taken::New { invalid }
    }

    /// Judges the holes whose settling time is over. To be called about once a second.
    pub fn settle(&mut self, now: Time) {
        let deadlines = self.deadlines(now);
        for timeline in self.spaces.values_mut().filter(|timeline| !timeline.is_quiet()) {
            timeline.settle(&deadlines, &mut self.evidence, &mut self.totals);
        }
        self.holes = self.spaces.values().map(Timeline::holes).sum();
        self.evidence.forget_before(deadlines.forget_before);
        let forget = deadlines.forget_before;
        self.nodes.retain(|_, node| node.expected || node.heard >= forget);
    }

    /// The account of a space.
    pub fn account(&self, space: &Space) -> Option<&Account> {
        self.spaces.get(space).map(|timeline| &timeline.account)
    }

    /// All accounts, in no order.
    pub fn accounts(&self) -> impl Iterator<Item = (&Space, &Account)> {
        self.spaces.iter().map(|(space, timeline)| (space, &timeline.account))
    }

    /// Counts over all spaces, those included that were forgotten.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Spaces kept.
    pub fn len(&self) -> usize {
        self.spaces.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.spaces.is_empty()
    }

    /// Spaces forgotten to make room.
    pub fn forgotten_spaces(&self) -> u64 {
        self.forgotten_spaces
    }

    /// Holes kept.
    pub fn holes(&self) -> usize {
        self.holes
    }

    fn node(&mut self, name: &str, incarnation: u64, now: Time) -> &mut Node {
        let key = (Arc::from(name), incarnation);
        if !self.nodes.contains_key(&key) && self.nodes.len() >= self.limits.nodes {
            let oldest = self.nodes.iter().min_by_key(|(_, node)| (node.expected, node.heard));
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.nodes.remove(&oldest);
            }
        }
        let next = &mut self.next_node;
        self.nodes.entry(key).or_insert_with_key(|(name, _)| {
            *next = next.wrapping_add(1);
            let name = Arc::clone(name);
            Node { id: *next, name, last: 0, missing: BTreeSet::new(), heard: now, expected: false }
        })
    }

    /// Forgets a sixteenth of the spaces where there is no room for another.
    fn make_room(&mut self) {
        if self.spaces.len() < self.limits.spaces.max(1) {
            return;
        }
        let mut times: Vec<Time> = self.spaces.values().map(|timeline| timeline.touched).collect();
        let share = times.len() / 16;
        let (_, &mut limit, _) = times.select_nth_unstable(share);
        let mut left = share + 1;
        let totals = &mut self.totals;
        let before = self.spaces.len();
        self.spaces.retain(|_, timeline| {
            let goes = left > 0 && timeline.touched <= limit;
            if goes {
                left -= 1;
                timeline.give_up(totals);
            }
            !goes
        });
        self.forgotten_spaces += (before - self.spaces.len()) as u64;
        self.holes = self.spaces.values().map(Timeline::holes).sum();
    }

    fn deadlines(&self, now: Time) -> Deadlines {
        let expected = self.nodes.values().filter(|node| node.expected);
        let reported_until = expected.map(|node| node.heard.before(SLACK)).min().unwrap_or(now);
        Deadlines {
            now,
            settle_before: now.before(self.limits.settle),
            reported_until,
            silent_before: now.before(self.limits.silence),
            forget_before: now.before(self.limits.memory),
            holes: self.limits.holes_per_space,
        }
    }
}
