//! What one node (one thread of it) received of one sequence space since its last report.
//!
//! The common case is one comparison and an addition: the number is the next one, or ahead. Whatever lies behind the highest
//! number goes the slow way, where three things are told apart:
//! - a *late* number, that fills a hole of the ranges remembered (this report's and the last one's);
//! - a *repeated* one, that is in these ranges;
//! - a *restart* of the counter: [`FAR`] datagrams in a row that lie far off, or [`NEAR`] in a row that climb where numbers have
//!   been before. Until so many have come they wait as a [`Candidate`]; one number that goes on from the highest contradicts them.
//!   A caller who knows better (boot time, header time) says [`Tracker::restart`] and nothing waits.
//!
//! Numbers older than what is remembered are reported as they are: whoever puts the reports together remembers more.

use crate::candidate::{Candidate, NEAR, Piece};
use crate::report::SpaceReport;
use crate::{BACKWARD, FORWARD};

/// Datagrams in a row that make a restart where they are far from the highest number.
const FAR: usize = 3;

/// How far ahead of what this thread has seen a datagram may lie that another one had first.
const FILLED_AHEAD: u32 = 1 << 16;

/// Restarts in one report.
const RESTARTS: usize = 64;

/// Ranges whose room a tracker keeps, however few it needed last.
const KEPT: usize = 16;

/// The ranges received of one sequence space. Holds at most twice the limit of ranges (and one more for each restart), 8 octets
/// each.
#[derive(Debug)]
pub struct Tracker {
    /// The number behind the highest one of this run.
    head: u32,
    /// Whether the next number begins a run: nothing has come, or the counter restarted.
    begins: bool,
    /// Whether that run follows on another.
    restarted: bool,
    /// Whether ranges of `current` or `previous` were left out.
    truncated: [bool; 2],
    /// How many ranges `current` may have.
    limit: u32,
    /// Whether it may have no more than it has until the next report.
    is_narrow: bool,
    /// Where this run's ranges begin in `current`.
    run_from: usize,
    /// Since the last report: run by run, ascending inside of each.
    current: Vec<Piece>,
    /// Of the report before, of the present run.
    previous: Vec<Piece>,
    /// `head` when `previous` and when `current` began; none: the run began then or later.
    begun: [Option<u32>; 2],
    restarts: Vec<u32>,
    reordered: u64,
    repeated: u64,
    stray: u64,
    candidate: Option<Box<Candidate>>,
    /// Memory for [`Tracker::uncovered`].
    scratch: [Vec<Piece>; 2],
}

impl Tracker {
    /// A tracker that reports at most `limit` ranges at once.
    pub fn new(limit: u32) -> Self {
        Self {
            head: 0,
            begins: true,
            restarted: false,
            truncated: [false; 2],
            limit: limit.max(1),
            is_narrow: false,
            run_from: 0,
            current: Vec::new(),
            previous: Vec::new(),
            begun: [None; 2],
            restarts: Vec::new(),
            reordered: 0,
            repeated: 0,
            stray: 0,
            candidate: None,
            scratch: [Vec::new(), Vec::new()],
        }
    }

    /// Notes the numbers `sequence .. sequence + length` of a datagram. A length of 0 says nothing and is not noted.
    pub fn note(&mut self, sequence: u32, length: u32) {
        if length == 0 || length > BACKWARD {
            return;
        }
        let piece = Piece { start: sequence, length };
        if !self.begins && !self.waits() && sequence.wrapping_sub(self.head) < FORWARD {
            self.append(piece);
        } else {
            self.note_slowly(piece);
        }
    }

    /// Notes a datagram that begins at `sequence` and of which nobody knows how many numbers it has (an IPFIX message with a set
    /// that waits for its template).
    pub fn note_unknown(&mut self, sequence: u32) {
        let piece = Piece { start: sequence, length: 0 };
        let ahead = sequence.wrapping_sub(self.head);
        if self.begins || ahead < FORWARD {
            self.note_slowly(piece);
        } else if ahead.wrapping_neg() <= BACKWARD {
            self.insert(piece);
        }
    }

    /// Notes the numbers of a datagram that came before, now that it is known how many they are: they are not late. Numbers that
    /// may be of another run of the counter are left alone.
    pub fn fill(&mut self, sequence: u32, length: u32) {
        let ahead = sequence.wrapping_sub(self.head);
        if length == 0 || length > BACKWARD || self.restarted {
            return;
        }
        if self.begins || ahead < FILLED_AHEAD {
            return self.note(sequence, length);
        }
        if ahead.wrapping_neg() > BACKWARD {
            return;
        }
        let old = length.min(ahead.wrapping_neg());
        let uncovered = self.uncovered(Piece { start: sequence, length: old });
        for &piece in &uncovered {
            self.insert(piece);
        }
        self.scratch[0] = uncovered;
        if old < length {
            self.append(Piece { start: self.head, length: length - old });
        }
    }

    /// The counter has restarted: the next number, and those that have come and looked like a restart, are a new run.
    pub fn restart(&mut self) {
        if self.waits() {
            self.promote();
        } else if !self.begins {
            self.begins = true;
            self.restarted = true;
        }
    }

    /// What came since the last report, if anything did.
    pub fn take_report(&mut self) -> Option<SpaceReport> {
        let mut report = SpaceReport {
            restarts: self.restarts.clone(),
            reordered: std::mem::take(&mut self.reordered),
            repeated: std::mem::take(&mut self.repeated),
            stray: std::mem::take(&mut self.stray),
            truncated: self.truncated[1],
            ..SpaceReport::default()
        };
        self.restarts.clear();
        self.is_narrow = false;
        if !self.current.is_empty() || self.truncated[1] {
            report.pairs.reserve_exact(2 * self.current.len());
            let mut end = None;
            for piece in &self.current {
                report.push(piece.start, piece.length, &mut end);
            }
            // Both keep their room, so that the next interval allocates nothing.
            self.current.drain(..self.run_from);
            std::mem::swap(&mut self.current, &mut self.previous);
            self.current.clear();
            self.run_from = 0;
            self.truncated = [self.truncated[1], false];
            self.begun = [self.begun[1], (!self.begins).then_some(self.head)];
        }
        (!report.is_empty()).then_some(report)
    }

    /// The last report: nothing more will come, so what looked like a restart was none.
    pub fn finish(mut self) -> Option<SpaceReport> {
        self.contradict();
        self.take_report()
    }

    /// How many ranges have come since the last report.
    pub fn ranges(&self) -> usize {
        self.current.len()
    }

    /// Lets no range begin before the next report, which says that some were left out if that was needed. Numbers that go on
    /// from the highest are noted as ever.
    pub fn narrow(&mut self) {
        self.is_narrow = true;
    }

    /// Gives back room that the last report's interval had no need of; to be called behind [`Tracker::take_report`].
    pub fn give_back(&mut self) {
        let used = self.previous.len().max(KEPT);
        let [first, second] = &mut self.scratch;
        for room in [&mut self.current, &mut self.previous, first, second] {
            if room.capacity() > 4 * used {
                room.shrink_to(2 * used);
            }
        }
    }

    /// Forgets what came before the last report, to which late and repeated numbers are compared, and gives back all room; to be
    /// called behind [`Tracker::take_report`].
    pub fn forget(&mut self) {
        self.begun[0] = self.begun[1];
        self.truncated[0] = false;
        self.previous = Vec::new();
        self.scratch = [Vec::new(), Vec::new()];
        self.current.shrink_to_fit();
    }

    /// Octets of its ranges, with the room that they have to grow.
    pub fn octets(&self) -> usize {
        let [first, second] = &self.scratch;
        let all = [&self.current, &self.previous, first, second];
        all.iter().map(|ranges| ranges.capacity() * size_of::<Piece>()).sum()
    }

    /// How many ranges there may be now.
    fn room(&self) -> usize {
        if self.is_narrow { 1 } else { self.limit as usize }
    }

    /// Whether a report should be taken before its time, lest ranges have to be left out.
    pub fn is_nearly_full(&self) -> bool {
        self.current.len() >= self.limit as usize / 4 * 3
    }

    fn waits(&self) -> bool {
        self.candidate.as_ref().is_some_and(|candidate| candidate.count > 0)
    }

    fn note_slowly(&mut self, piece: Piece) {
        if self.begins {
            self.begin(piece);
        } else if piece.start.wrapping_sub(self.head) < FORWARD {
            self.contradict();
            self.append(piece);
        } else if self.behind(piece.start) > i64::from(BACKWARD) {
            self.suspect(piece, FAR);
        } else if piece.end().wrapping_sub(self.head) < FORWARD && piece.end() != self.head {
            // Reaches over the highest number.
            self.contradict();
            let old = self.head.wrapping_sub(piece.start);
            self.late(Piece { start: piece.start, length: old });
            self.append(Piece { start: self.head, length: piece.length - old });
        } else if self.is_known(piece.start) && self.is_uncovered(piece) {
            self.contradict();
            self.late(piece);
        } else {
            self.suspect(piece, NEAR);
        }
    }

    fn begin(&mut self, piece: Piece) {
        if self.restarted && self.restarts.len() == RESTARTS {
            // The counter does nothing but restart. What is left out begins a run in the next report.
            self.truncated[1] = true;
            self.stray += u64::from(piece.length);
            return;
        }
        if std::mem::take(&mut self.restarted) {
            self.restarts.push(u32::try_from(self.current.len()).unwrap_or(u32::MAX));
        }
        self.begins = false;
        self.run_from = self.current.len();
        self.previous.clear();
        self.begun = [None; 2];
        // Pushed even where there is no room, so that the restart has a range to stand before.
        self.current.push(piece);
        self.head = piece.end();
    }

    /// Adds what begins at the highest number or ahead of it.
    fn append(&mut self, piece: Piece) {
        let in_run = self.current.len() > self.run_from;
        let room = self.current.len() < self.room();
        match self.current.last_mut() {
            Some(last)
                if in_run && last.end() == piece.start && piece.length > 0 && last.length < 1 << 30 =>
            {
                last.length += piece.length;
            }
            _ if room => self.current.push(piece),
            _ => self.truncated[1] = true,
        }
        self.head = piece.end();
    }

    /// How far a number lies behind the highest one.
    fn behind(&self, number: u32) -> i64 {
        i64::from(self.head.wrapping_sub(number))
    }

    /// Whether all that ever came at or above this number, which is behind the highest one, is remembered.
    fn is_known(&self, number: u32) -> bool {
        let floor = self.begun[0].is_none_or(|floor| self.behind(number) <= self.behind(floor));
        floor && self.truncated == [false; 2]
    }

    /// The numbers of a piece behind the highest one that are in no range remembered. The memory is to be given back to
    /// `scratch`, so that what comes again and again allocates nothing.
    fn uncovered(&mut self, piece: Piece) -> Vec<Piece> {
        let [mut left, mut next] = std::mem::take(&mut self.scratch);
        left.clear();
        left.push(piece);
        for list in [&self.previous[..], &self.current[self.run_from..]] {
            next.clear();
            for &piece in &left {
                self.without(piece, list, &mut next);
            }
            std::mem::swap(&mut left, &mut next);
        }
        self.scratch[1] = next;
        left
    }

    /// Whether no number of a piece behind the highest one is in a range remembered.
    fn is_uncovered(&mut self, piece: Piece) -> bool {
        let uncovered = self.uncovered(piece);
        let whole = uncovered == [piece];
        self.scratch[0] = uncovered;
        whole
    }

    /// Adds to `left` the numbers of a piece that are in no range of `list`.
    fn without(&self, piece: Piece, list: &[Piece], left: &mut Vec<Piece>) {
        // Distances behind the highest number fall as numbers climb.
        let (mut from, to) = (self.behind(piece.start), self.behind(piece.start) - i64::from(piece.length));
        let first = list.partition_point(|other| self.behind(other.start) - i64::from(other.length) >= from);
        let piece = |from: i64, to: i64| Piece {
            start: self.head.wrapping_sub(from as u32),
            length: (from - to) as u32,
        };
        for other in &list[first..] {
            let (start, end) = (self.behind(other.start), self.behind(other.start) - i64::from(other.length));
            if start <= to {
                break;
            }
            if start < from {
                left.push(piece(from, start));
            }
            from = from.min(end);
        }
        if from > to {
            left.push(piece(from, to));
        }
    }

    /// Takes in what is behind the highest number: what is new of it is reported, the rest is repeated.
    fn late(&mut self, piece: Piece) {
        let known = self.is_known(piece.start);
        let mut new = 0;
        let uncovered = self.uncovered(piece);
        for &piece in &uncovered {
            new += u64::from(piece.length);
            self.insert(piece);
        }
        self.scratch[0] = uncovered;
        if known {
            self.reordered += new;
        }
        self.repeated += u64::from(piece.length) - new;
    }

    fn insert(&mut self, piece: Piece) {
        if self.current.len() >= self.room() {
            self.truncated[1] = true;
            return;
        }
        let run = &self.current[self.run_from..];
        let at =
            self.run_from + run.partition_point(|other| self.behind(other.start) > self.behind(piece.start));
        if at > self.run_from
            && self.current[at - 1].end() == piece.start
            && self.current[at - 1].length < 1 << 30
            && piece.length > 0
        {
            self.current[at - 1].length += piece.length;
        } else {
            self.current.insert(at, piece);
        }
    }

    /// A datagram that would be the `enough`th of a restart.
    fn suspect(&mut self, piece: Piece, enough: usize) {
        if piece.length == 0 {
            return;
        }
        let follows = self.candidate.as_ref().and_then(|candidate| candidate.last()).is_none_or(|last| {
            let ahead = piece.start.wrapping_sub(last.end());
            // After a fall far down some disorder is no objection; near by only climbing is a sign.
            ahead < BACKWARD
                || (enough == FAR && ahead.wrapping_neg() < BACKWARD && piece.start != last.start)
        });
        if !follows {
            self.contradict();
        }
        let candidate = self.candidate.get_or_insert_default();
        candidate.push(piece);
        if candidate.count >= enough {
            self.promote();
        }
    }

    /// The candidate is the beginning of a new run.
    fn promote(&mut self) {
        let Some(notes) = self.candidate.as_mut().map(|candidate| candidate.take()) else { return };
        self.begins = true;
        self.restarted = true;
        for piece in notes {
            if self.begins {
                self.begin(piece);
            } else if piece.start.wrapping_sub(self.head) < FORWARD {
                self.append(piece);
            } else if self.behind(piece.start) >= i64::from(piece.length) {
                self.late(piece);
            }
        }
    }

    /// The candidate was no restart.
    fn contradict(&mut self) {
        if !self.waits() {
            return;
        }
        let Some(notes) = self.candidate.as_mut().map(|candidate| candidate.take()) else { return };
        for piece in notes {
            if (i64::from(piece.length)..=i64::from(BACKWARD)).contains(&self.behind(piece.start)) {
                self.late(piece);
            } else {
                self.stray += u64::from(piece.length);
            }
        }
    }
}

#[cfg(test)]
mod tests;
