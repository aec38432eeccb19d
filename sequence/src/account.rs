//! What is known of the numbers of a sequence space, and of all of them together.

use std::ops::AddAssign;
use std::sync::Arc;

/// Who lost a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Nobody received it and no node can have lost it: the network or the exporter.
    Upstream,
    /// A node lost it: kernel drops, a pause, a crash.
    Here,
    /// It cannot be told.
    Unknown,
}

impl Cause {
    /// All causes.
    pub const ALL: [Self; 3] = [Self::Upstream, Self::Here, Self::Unknown];

    /// The metric label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Here => "here",
            Self::Unknown => "unknown",
        }
    }
}

/// The numbers of one space since the book knows it: `span = received + lost + waiting`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Numbers from the lowest to the highest received, over all runs of the counter; without those that may have been reported to
    /// the leader before.
    pub span: u64,
    /// Numbers received, each once.
    pub received: u64,
    /// Lost before any node.
    pub lost_upstream: u64,
    /// Lost by a node.
    pub lost_here: u64,
    /// Lost, and it cannot be told by whom.
    pub lost_unknown: u64,
    /// Missing, but the settling time is not over.
    pub waiting: u64,
    /// Numbers that came after higher ones, or after they had been counted as lost.
    pub reordered: u64,
    /// Numbers that came again, each time.
    pub repeated: u64,
    /// Restarts of the counter.
    pub resets: u64,
    /// Numbers so late or so far off that it cannot be told whether they had come before; in no other count.
    pub stray: u64,
    /// The last losses for people, the latest last.
    pub notes: Vec<Arc<str>>,
}

/// Notes that an account keeps.
const NOTES: usize = 4;

impl Account {
    /// Numbers lost, whoever lost them.
    pub fn lost(&self) -> u64 {
        self.lost_upstream + self.lost_here + self.lost_unknown
    }

    /// Whether the sum holds.
    pub fn balanced(&self) -> bool {
        self.span == self.received + self.lost() + self.waiting
    }

    pub(crate) fn lost_mut(&mut self, cause: Cause) -> &mut u64 {
        match cause {
            Cause::Upstream => &mut self.lost_upstream,
            Cause::Here => &mut self.lost_here,
            Cause::Unknown => &mut self.lost_unknown,
        }
    }

    pub(crate) fn note(&mut self, text: &Arc<str>) {
        if self.notes.last().is_some_and(|last| last == text) {
            return;
        }
        if self.notes.len() == NOTES {
            self.notes.remove(0);
        }
        self.notes.push(Arc::clone(text));
    }
}

/// Counts over all spaces, those included that were forgotten. They only grow: what came after it was counted as lost is in
/// `taken_back`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Numbers received, each once.
    pub received: u64,
    /// Numbers counted as lost, by [`Cause::ALL`].
    pub lost: [u64; 3],
    /// Numbers of these that came after all, by [`Cause::ALL`].
    pub taken_back: [u64; 3],
    /// Numbers that came after higher ones, or after they had been counted as lost.
    pub reordered: u64,
    /// Numbers that came again.
    pub repeated: u64,
    /// Restarts of counters.
    pub resets: u64,
    /// Numbers of which nothing can be told.
    pub stray: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        for cause in 0..3 {
            self.lost[cause] += other.lost[cause];
            self.taken_back[cause] += other.taken_back[cause];
        }
        self.reordered += other.reordered;
        self.repeated += other.repeated;
        self.resets += other.resets;
        self.stray += other.stray;
    }
}

/// An account with what it adds to the totals: the only way in which counts change.
#[derive(Debug)]
pub(crate) struct Ledger<'a> {
    pub(crate) account: &'a mut Account,
    pub(crate) totals: &'a mut Totals,
}

impl Ledger<'_> {
    pub(crate) fn received(&mut self, numbers: u64) {
        self.account.received += numbers;
        self.totals.received += numbers;
    }

    /// Numbers of a hole that had not settled have come.
    pub(crate) fn filled(&mut self, numbers: u64) {
        self.account.waiting -= numbers;
        self.received(numbers);
    }

    /// The highest number moved up, or the lowest one down.
    pub(crate) fn widened(&mut self, numbers: u64) {
        self.account.span += numbers;
    }

    /// A hole has opened.
    pub(crate) fn missing(&mut self, numbers: u64) {
        self.account.waiting += numbers;
    }

    /// Missing numbers are another book's.
    pub(crate) fn left_out(&mut self, numbers: u64) {
        self.account.waiting -= numbers;
        self.account.span -= numbers;
    }

    /// Missing numbers are lost.
    pub(crate) fn lost(&mut self, numbers: u64, cause: Cause) {
        self.account.waiting -= numbers;
        *self.account.lost_mut(cause) += numbers;
        self.totals.lost[cause as usize] += numbers;
    }

    /// Numbers counted as lost have come.
    pub(crate) fn taken_back(&mut self, numbers: u64, cause: Cause) {
        *self.account.lost_mut(cause) -= numbers;
        self.totals.taken_back[cause as usize] += numbers;
        self.received(numbers);
    }

    pub(crate) fn repeated(&mut self, numbers: u64) {
        self.account.repeated += numbers;
        self.totals.repeated += numbers;
    }

    pub(crate) fn reordered(&mut self, numbers: u64) {
        self.account.reordered += numbers;
        self.totals.reordered += numbers;
    }

    pub(crate) fn stray(&mut self, numbers: u64) {
        self.account.stray += numbers;
        self.totals.stray += numbers;
    }

    pub(crate) fn reset(&mut self) {
        self.account.resets += 1;
        self.totals.resets += 1;
    }
}
