//! One run of a counter, from a restart to the next: which numbers between its lowest and its highest are missing.
//!
//! ```text
//!      floor      known_from        hole        hole          head
//!        |            |           |......|    |........|       |
//!  stray | forgotten  | received        received      received |  ahead
//! ```
//!
//! Numbers are positions here: 64 bits, of which the lower 32 are the number on the wire. Everything from `known_from` to `head` is
//! received or in a hole. Below `known_from` a hole was forgotten to bound memory, so what comes there is stray.

use std::collections::BTreeMap;

use crate::account::{Cause, Ledger};
use crate::time::Time;

/// When something came: between the report before and this one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) from: Time,
    pub(crate) to: Time,
}

/// What is known of a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The settling time runs.
    Open,
    /// As `Open`, and it begins with a datagram of unknown length.
    UnknownLength,
    /// Counted.
    Lost(Cause),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Hole {
    pub(crate) end: i64,
    /// When the number before it came, at the earliest.
    pub(crate) from: Time,
    /// When a number behind it came, at the latest.
    pub(crate) to: Time,
    pub(crate) state: State,
}

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) id: i64,
    pub(crate) head: i64,
    pub(crate) born: Time,
    pub(crate) touched: Time,
    floor: i64,
    known_from: i64,
    head_from: Time,
    /// Whether a datagram of unknown length begins at `head`.
    head_open: bool,
    holes: BTreeMap<i64, Hole>,
    /// Holes that have not settled.
    open: usize,
}

impl Run {
    /// A run that begins with this number.
    pub(crate) fn new(id: i64, number: u32, window: Window) -> Self {
        let head = i64::from(number);
        Self {
            id,
            head,
            born: window.to,
            touched: window.to,
            floor: head,
            known_from: head,
            head_from: window.from,
            head_open: false,
            holes: BTreeMap::new(),
            open: 0,
        }
    }

    /// The position that a number has, near the head.
    pub(crate) fn position(&self, number: u32) -> i64 {
        self.head + i64::from(self.distance(number))
    }

    /// How far a number is ahead of the head.
    pub(crate) fn distance(&self, number: u32) -> i32 {
        number.wrapping_sub(self.head as u32).cast_signed()
    }

    /// Whether this position is still missing, or ahead.
    pub(crate) fn lacks(&self, position: i64, settle_before: Time) -> bool {
        position >= self.head
            || (position < self.floor && self.born > settle_before)
            || self.holes.range(..=position).next_back().is_some_and(|(_, hole)| position < hole.end)
    }

    /// When the head moved last, at the earliest.
    pub(crate) fn advanced(&self) -> Time {
        self.head_from
    }

    pub(crate) fn holes(&self) -> usize {
        self.holes.len()
    }

    pub(crate) fn waits(&self) -> bool {
        self.open > 0
    }

    /// Numbers have come. Gives how many of them had been counted as lost.
    pub(crate) fn cover(
        &mut self,
        start: i64,
        length: u32,
        window: Window,
        young: bool,
        ledger: &mut Ledger<'_>,
    ) -> u64 {
        self.touched = self.touched.max(window.to);
        if length == 0 {
            self.mark(start, window, young, ledger);
            return 0;
        }
        let end = start + i64::from(length);
        if start >= self.head {
            self.open_hole(self.head, start, self.head_from, window.to, self.head_open, ledger);
            self.advance(end, start, window, ledger);
            return 0;
        }
        let mut from = start;
        if from < self.floor {
            let below = end.min(self.floor);
            if young && self.known_from == self.floor {
                // The first reports of the nodes come one after the other: the run began lower than the first of them said.
                let floor = std::mem::replace(&mut self.floor, start);
                self.known_from = start;
                ledger.widened(size(start, floor));
                ledger.received(size(start, below));
                self.open_hole(below, floor, window.from, window.to, false, ledger);
            } else {
                ledger.stray(size(start, below));
            }
            from = below;
        }
        if from < self.known_from {
            let forgotten = end.min(self.known_from);
            ledger.stray(size(from, forgotten));
            from = forgotten;
        }
        let within = end.min(self.head);
        let late = if from < within { self.fill(from, within, ledger) } else { 0 };
        if end > self.head {
            let head = self.head;
            self.advance(end, head, window, ledger);
        }
        late
    }

    /// Every hole whose settling time is over is judged: `judge` says who lost how many of its numbers, or that they are none of
    /// this book's.
    pub(crate) fn settle(
        &mut self,
        due: impl Fn(&Hole) -> bool,
        mut judge: impl FnMut(&Hole, u64) -> Option<Vec<(u64, Cause)>>,
        ledger: &mut Ledger<'_>,
    ) {
        if self.open == 0 {
            return;
        }
        let ready: Vec<(i64, Hole)> = self
            .holes
            .iter()
            .filter(|(_, hole)| !matches!(hole.state, State::Lost(_)) && due(hole))
            .map(|(&start, &hole)| (start, hole))
            .collect();
        for (start, hole) in ready {
            let numbers = size(start, hole.end);
            match judge(&hole, numbers) {
                Some(verdicts) => self.count_lost(start, hole, &verdicts, ledger),
                None => {
                    self.holes.remove(&start);
                    self.open -= 1;
                    ledger.left_out(numbers);
                }
            }
        }
    }

    /// Forgets holes from the lowest on: lost ones that opened before `lost_before`, and any until no more than `limit` are left.
    pub(crate) fn forget(&mut self, lost_before: Time, limit: usize, ledger: &mut Ledger<'_>) {
        while let Some(first) = self.holes.first_entry() {
            let (&start, &hole) = (first.key(), first.get());
            let old = matches!(hole.state, State::Lost(_)) && hole.to < lost_before;
            if !old && self.holes.len() <= limit {
                return;
            }
            if !matches!(hole.state, State::Lost(_)) {
                self.open -= 1;
                ledger.lost(size(start, hole.end), Cause::Unknown);
            }
            self.holes.pop_first();
            self.known_from = hole.end;
        }
    }

    /// Counts what is still open as unknown: the run is given up.
    pub(crate) fn give_up(&mut self, ledger: &mut Ledger<'_>) {
        self.forget(Time::default(), 0, ledger);
    }

    fn advance(&mut self, end: i64, received_from: i64, window: Window, ledger: &mut Ledger<'_>) {
        ledger.widened(size(self.head, end));
        ledger.received(size(received_from, end));
        self.head = end;
        self.head_from = window.from;
        self.head_open = false;
    }

    /// The head moves over a hole; what lies behind it is counted by `advance`.
    fn open_hole(
        &mut self,
        start: i64,
        end: i64,
        from: Time,
        to: Time,
        unknown_length: bool,
        ledger: &mut Ledger<'_>,
    ) {
        if start < end {
            ledger.missing(size(start, end));
            let state = if unknown_length { State::UnknownLength } else { State::Open };
            self.holes.insert(start, Hole { end, from: from.min(to), to, state });
            self.open += 1;
        }
    }

    /// A datagram of unknown length begins here: what is missing from here on is it.
    fn mark(&mut self, position: i64, window: Window, young: bool, ledger: &mut Ledger<'_>) {
        if position < self.floor {
            if young && self.known_from == self.floor {
                let floor = std::mem::replace(&mut self.floor, position);
                self.known_from = position;
                ledger.widened(size(position, floor));
                self.open_hole(position, floor, window.from, window.to, true, ledger);
            }
            return;
        }
        if position >= self.head {
            self.open_hole(self.head, position, self.head_from, window.to, self.head_open, ledger);
            ledger.widened(size(self.head, position));
            self.head = position;
            self.head_from = window.from;
            self.head_open = true;
            return;
        }
        let Some((&start, &hole)) = self.holes.range(..=position).next_back() else { return };
        if position >= hole.end || hole.state != State::Open {
            return;
        }
        if start < position {
            self.holes.insert(start, Hole { end: position, ..hole });
            self.open += 1;
        }
        self.holes.insert(position, Hole { state: State::UnknownLength, ..hole });
    }

    /// Numbers between `known_from` and `head` have come: those in holes fill them, the others are repeated.
    fn fill(&mut self, start: i64, end: i64, ledger: &mut Ledger<'_>) -> u64 {
        let first = self
            .holes
            .range(..=start)
            .next_back()
            .map_or(start, |(&at, hole)| if hole.end > start { at } else { start });
        let touched: Vec<(i64, Hole)> = self.holes.range(first..end).map(|(&at, &hole)| (at, hole)).collect();
        let (mut late, mut new) = (0, 0);
        for (at, hole) in touched {
            let (from, to) = (start.max(at), end.min(hole.end));
            let numbers = size(from, to);
            new += numbers;
            self.holes.remove(&at);
            let open = !matches!(hole.state, State::Lost(_));
            self.open -= usize::from(open);
            if at < from {
                self.holes.insert(at, Hole { end: from, ..hole });
                self.open += usize::from(open);
            }
            if to < hole.end {
                self.holes.insert(to, hole);
                self.open += usize::from(open);
            }
            match hole.state {
                State::Lost(cause) => {
                    late += numbers;
                    ledger.taken_back(numbers, cause);
                }
                State::Open | State::UnknownLength => ledger.filled(numbers),
            }
        }
        ledger.repeated(size(start, end) - new);
        late
    }

    fn count_lost(&mut self, start: i64, hole: Hole, verdicts: &[(u64, Cause)], ledger: &mut Ledger<'_>) {
        self.holes.remove(&start);
        self.open -= 1;
        let mut at = start;
        for &(numbers, cause) in verdicts {
            let end = at.saturating_add(i64::try_from(numbers).unwrap_or(i64::MAX)).min(hole.end);
            if at < end {
                ledger.lost(size(at, end), cause);
                self.holes.insert(at, Hole { end, state: State::Lost(cause), ..hole });
            }
            at = end;
        }
        if at < hole.end {
            ledger.lost(size(at, hole.end), Cause::Unknown);
            self.holes.insert(at, Hole { state: State::Lost(Cause::Unknown), ..hole });
        }
    }
}

fn size(start: i64, end: i64) -> u64 {
    u64::try_from(end - start).unwrap_or(0)
}
