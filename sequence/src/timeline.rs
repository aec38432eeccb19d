//! One sequence space over all nodes: its runs, and which run a range of a node belongs to.
//!
//! After a restart of the exporter some nodes still report numbers of the run before, some have said that the counter restarted,
//! and some have only seen the new run and cannot know. So a range goes, in this order:
//! - to the run that the same tracker was in, or after a restart it reported, to a later one that fits, else a new one;
//! - from a tracker that has not said anything yet: to the latest run that lacks it, counted from the last run for the last
//!   stretch of its report, from the one before for the stretch before, and so on;
//! - and where all its numbers have come before, it waits for the settling time whether somebody reports a restart,
//!   before it counts as repeated.

use crate::account::{Account, Cause, Ledger, Totals};
use crate::evidence::Evidence;
use crate::report::{ReportError, SpaceReport};
use crate::run::{Run, State, Window};
use crate::space::Unit;
use crate::time::Time;
use crate::{BACKWARD, FORWARD};

/// Runs that are kept: the present one and those that restarted lately.
const RUNS: usize = 4;

/// Trackers whose run is remembered; one beyond is treated as if it had not said anything yet.
const TRACKERS: usize = 64;

/// Ranges that wait whether a restart is reported.
const HELD: usize = 256;

/// How far a number may be from the head of a run that it joins after a restart.
const NEAR: u32 = 1 << 22;

/// Positions end here; only a node that reports nonsense gets so far.
const FARTHEST: i64 = i64::MAX / 4;

/// Which tracker: the node's start and the thread.
pub(crate) type TrackerId = (u32, u32);

/// When things settle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// Now.
    pub(crate) now: Time,
    /// Holes that opened before this moment settle.
    pub(crate) settle_before: Time,
    /// All nodes have reported up to here, or will not.
    pub(crate) reported_until: Time,
    /// Holes that opened before this moment settle even where nodes have not reported since.
    pub(crate) silent_before: Time,
    /// Lost holes that opened before this moment are forgotten.
    pub(crate) forget_before: Time,
    /// Holes that one space may keep.
    pub(crate) holes: usize,
}

/// The first number of a report, or after a restart in it.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    number: u32,
    restart: bool,
    /// Restarts that follow in the report.
    restarts_left: usize,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    tracker: TrackerId,
    number: u32,
    length: u32,
    window: Window,
}

#[derive(Debug)]
pub(crate) struct Timeline {
    unit: Unit,
    pub(crate) account: Account,
    pub(crate) touched: Time,
    runs: Vec<Run>,
    next_run: i64,
    trackers: Vec<(TrackerId, i64)>,
    held: Vec<Held>,
    /// Windows in which ranges of this space were left out of a report.
    truncated: Vec<Window>,
}

impl Timeline {
    pub(crate) fn new(unit: Unit) -> Self {
        Self {
            unit,
            account: Account::default(),
            touched: Time::default(),
            runs: Vec::new(),
            next_run: 1,
            trackers: Vec::new(),
            held: Vec::new(),
            truncated: Vec::new(),
        }
    }

    /// Takes in what a tracker reports. `limit` is how many ranges one report may have.
    pub(crate) fn take(
        &mut self,
        tracker: TrackerId,
        report: &SpaceReport,
        window: Window,
        limit: usize,
        deadlines: &Deadlines,
        totals: &mut Totals,
    ) -> Result<(), ReportError> {
        let ranges = report.ranges(limit)?;
        self.touched = deadlines.now;
        let mut late = 0;
        let mut anchor: Option<(i64, i64)> = None;
        let mut restarts_left = report.restarts.len();
        for range in ranges {
            if range.restart {
                anchor = None;
                restarts_left -= 1;
            }
            let placed = match anchor.and_then(|(run, zero)| Some((self.index(run)?, zero + range.offset))) {
                Some(placed) => Some(placed),
                None => {
                    let stretch = Stretch { number: range.number, restart: range.restart, restarts_left };
                    self.place(tracker, stretch, window, deadlines, totals)
                }
            };
            let Some((run, position)) = placed else {
                self.hold(Held { tracker, number: range.number, length: range.length, window }, totals);
                continue;
            };
            anchor = Some((self.runs[run].id, position - range.offset));
            late += self.cover(run, position, range.length, window, deadlines, totals);
        }
        if report.truncated {
            self.note_truncated(window);
        }
        let mut ledger = Ledger { account: &mut self.account, totals };
        // What was counted as lost and then came is reordered, unless the tracker has said so.
        ledger.reordered(report.reordered + late.saturating_sub(report.reordered));
        ledger.repeated(report.repeated);
        ledger.stray(report.stray);
        Ok(())
    }

    /// A report of a node was not usable for this space.
    pub(crate) fn note_truncated(&mut self, window: Window) {
        let full = self.truncated.len() == 8;
        match self.truncated.last_mut() {
            Some(last) if last.to >= window.from || full => {
                last.from = last.from.min(window.from);
                last.to = last.to.max(window.to);
            }
            _ => self.truncated.push(window),
        }
    }

    /// Judges the holes whose settling time is over, forgets what is old.
    pub(crate) fn settle(&mut self, deadlines: &Deadlines, evidence: &mut Evidence, totals: &mut Totals) {
        self.release(deadlines, totals);
        let (unit, truncated) = (self.unit, &self.truncated);
        let mut notes = Vec::new();
        for run in &mut self.runs {
            let mut ledger = Ledger { account: &mut self.account, totals };
            run.settle(
                |hole| {
                    let reported = hole.to < deadlines.reported_until || hole.to < deadlines.silent_before;
                    hole.to <= deadlines.settle_before && reported
                },
                |hole, numbers| {
                    if evidence.is_elsewhere(hole.to) {
                        return None;
                    }
                    let left_out =
                        truncated.iter().any(|window| window.from <= hole.to && window.to >= hole.from);
                    let silent = hole.to >= deadlines.reported_until;
                    if hole.state == State::UnknownLength || left_out {
                        return Some(vec![(numbers, Cause::Unknown)]);
                    }
                    let verdicts = evidence.judge(hole.from, hole.to, numbers, unit);
                    notes.extend(verdicts.iter().filter_map(|verdict| verdict.note.clone()));
                    let cause =
                        |cause| if silent && cause == Cause::Upstream { Cause::Unknown } else { cause };
                    Some(
                        verdicts.into_iter().map(|verdict| (verdict.numbers, cause(verdict.cause))).collect(),
                    )
                },
                &mut ledger,
            );
            run.forget(deadlines.forget_before, deadlines.holes, &mut ledger);
        }
        for note in &notes {
            self.account.note(note);
        }
        self.truncated.retain(|window| window.to >= deadlines.forget_before);
        let last = self.runs.len().saturating_sub(1);
        let mut index = 0;
        self.runs.retain(|run| {
            index += 1;
            index > last || run.waits() || run.touched > deadlines.forget_before
        });
    }

    /// Whether there is something to settle.
    pub(crate) fn is_quiet(&self) -> bool {
        self.held.is_empty() && self.truncated.is_empty() && self.runs.len() <= 1 && self.holes() == 0
    }

    /// Holes kept.
    pub(crate) fn holes(&self) -> usize {
        self.runs.iter().map(Run::holes).sum()
    }

    /// Counts what is open as unknown: the space is forgotten.
    pub(crate) fn give_up(&mut self, totals: &mut Totals) {
        let mut ledger = Ledger { account: &mut self.account, totals };
        for held in self.held.drain(..) {
            ledger.stray(u64::from(held.length));
        }
        for run in &mut self.runs {
            run.give_up(&mut ledger);
        }
    }

    fn index(&self, run: i64) -> Option<usize> {
        self.runs.iter().position(|known| known.id == run)
    }

    fn cover(
        &mut self,
        run: usize,
        position: i64,
        length: u32,
        window: Window,
        deadlines: &Deadlines,
        totals: &mut Totals,
    ) -> u64 {
        let mut ledger = Ledger { account: &mut self.account, totals };
        let run = &mut self.runs[run];
        let young = run.born > deadlines.settle_before;
        let late = run.cover(position, length, window, young, &mut ledger);
        if run.holes() > deadlines.holes {
            run.forget(deadlines.forget_before, deadlines.holes, &mut ledger);
        }
        late
    }

    /// The run and the position of a number; none: it cannot be told yet.
    fn place(
        &mut self,
        tracker: TrackerId,
        stretch: Stretch,
        window: Window,
        deadlines: &Deadlines,
        totals: &mut Totals,
    ) -> Option<(usize, i64)> {
        let known = self.trackers.iter().find(|(id, _)| *id == tracker).map(|(_, run)| *run);
        let at = match self.choose(known, stretch, deadlines) {
            Choice::Run(at) => at,
            Choice::New => self.begin(stretch.number, stretch.restart, window, deadlines, totals),
            Choice::Older => self.begin_older(stretch.number, window, totals),
            Choice::Wait => return None,
        };
        let run = &self.runs[at];
        let placed = (at, run.position(stretch.number));
        self.remember(tracker, run.id);
        Some(placed)
    }

    fn choose(&self, known: Option<i64>, stretch: Stretch, deadlines: &Deadlines) -> Choice {
        let Stretch { number, restart, restarts_left } = stretch;
        let Some(latest) = self.runs.last() else { return Choice::New };
        // The stretches that follow belong to later runs.
        let Some(runs) = self.runs.len().checked_sub(restarts_left).map(|runs| &self.runs[..runs]) else {
            return if known.is_none() && !restart { self.older() } else { Choice::New };
        };
        let within = |run: &Run, behind: u32, ahead: u32| {
            let distance = run.distance(number);
            run.head < FARTHEST
                && (if distance < 0 {
                    distance.unsigned_abs() <= behind
                } else {
                    distance.unsigned_abs() < ahead
                })
        };
        let lacks = |run: &&Run| {
            within(run, BACKWARD, FORWARD) && run.lacks(run.position(number), deadlines.settle_before)
        };
        if restart {
            let mut later = runs.iter().filter(|run| known.is_none_or(|known| run.id > known));
            let joins = later.clone().find(|run| within(run, NEAR, NEAR) && lacks(run));
            let joins = joins.or_else(|| later.rfind(|run| within(run, NEAR, NEAR)));
            return joins.map_or(Choice::New, |run| self.at(run));
        }
        let own = known.and_then(|known| self.runs.iter().find(|run| run.id == known));
        if let Some(own) = own {
            let stale = own.touched <= deadlines.settle_before;
            let later = || runs.iter().filter(|run| run.id > own.id).rfind(lacks);
            return match (lacks(&own), stale) {
                (true, false) => self.at(own),
                (fits, _) => match later() {
                    Some(run) => self.at(run),
                    None if fits || within(own, BACKWARD, FORWARD) => self.at(own),
                    None => Self::far(latest, number),
                },
            };
        }
        if let Some(run) = runs.iter().rfind(lacks) {
            return self.at(run);
        }
        if runs.is_empty() { self.older() } else { Self::far(latest, number) }
    }

    fn older(&self) -> Choice {
        if self.runs.len() < RUNS { Choice::Older } else { Choice::Wait }
    }

    /// All of it has come before, or it is far from everything.
    fn far(latest: &Run, number: u32) -> Choice {
        let distance = latest.distance(number);
        let ahead = distance >= 0 && distance.unsigned_abs() >= FORWARD;
        if ahead || distance.unsigned_abs() > 1 << 30 || latest.head >= FARTHEST {
            Choice::New
        } else {
            Choice::Wait
        }
    }

    fn at(&self, run: &Run) -> Choice {
        self.index(run.id).map_or(Choice::New, Choice::Run)
    }

    /// Begins a run; what waited for it goes there.
    fn begin(
        &mut self,
        number: u32,
        restart: bool,
        window: Window,
        deadlines: &Deadlines,
        totals: &mut Totals,
    ) -> usize {
        let mut ledger = Ledger { account: &mut self.account, totals };
        if restart || !self.runs.is_empty() {
            ledger.reset();
        }
        if self.runs.len() >= RUNS {
            self.runs[0].give_up(&mut ledger);
            self.runs.remove(0);
        }
        self.runs.push(Run::new(self.next_run, number, window));
        self.next_run += 1;
        let at = self.runs.len() - 1;
        let near = |held: &Held| self.runs[at].distance(held.number).unsigned_abs() <= NEAR;
        let (fits, waits): (Vec<_>, Vec<_>) = self.held.drain(..).partition(near);
        self.held = waits;
        for held in fits {
            let position = self.runs[at].position(held.number);
            self.remember(held.tracker, self.runs[at].id);
            self.cover(at, position, held.length, held.window, deadlines, totals);
        }
        at
    }

    /// Begins a run before all others: they were heard of first, but a tracker says that a restart came between.
    fn begin_older(&mut self, number: u32, window: Window, totals: &mut Totals) -> usize {
        Ledger { account: &mut self.account, totals }.reset();
        let id = self.runs.first().map_or(0, |run| run.id) - 1;
        self.runs.insert(0, Run::new(id, number, window));
        0
    }

    fn remember(&mut self, tracker: TrackerId, run: i64) {
        if let Some(known) = self.trackers.iter_mut().find(|(id, _)| *id == tracker) {
            known.1 = run;
            return;
        }
        if self.trackers.len() == TRACKERS {
            self.trackers.remove(0);
        }
        self.trackers.push((tracker, run));
    }

    fn hold(&mut self, held: Held, totals: &mut Totals) {
        if self.held.len() == HELD {
            let oldest = self.held.remove(0);
            Ledger { account: &mut self.account, totals }.stray(u64::from(oldest.length));
        }
        self.held.push(held);
    }

    /// What waited for a restart that nobody reported counts where it lies; unless the run has stood still ever since, or is far
    /// away: then the counter restarted while no tracker was there to see it.
    fn release(&mut self, deadlines: &Deadlines, totals: &mut Totals) {
        let due = |held: &Held| held.window.to <= deadlines.settle_before;
        if !self.held.iter().any(due) {
            return;
        }
        let since = self.held.iter().map(|held| held.window.from).min().unwrap_or_default();
        let numbers: u64 = self.held.iter().map(|held| u64::from(held.length)).sum();
        let still = self.runs.last().is_none_or(|run| run.advanced() < since) && numbers >= UNSEEN_RESTART;
        let far =
            |held: &Held| self.runs.iter().all(|run| run.distance(held.number).unsigned_abs() > BACKWARD);
        let first = self.held.iter().find(|held| due(held) && (still || far(held))).copied();
        if let Some(first) = first {
            self.begin(first.number, true, first.window, deadlines, totals);
        }
        let (due, waits): (Vec<_>, Vec<_>) = self.held.drain(..).partition(due);
        self.held = waits;
        for held in due {
            let near = |run: &&Run| run.distance(held.number).unsigned_abs() <= BACKWARD;
            let run = self.runs.iter().rfind(near).map(|run| (run.id, run.position(held.number)));
            match run.and_then(|(id, position)| Some((self.index(id)?, position))) {
                Some((run, position)) => {
                    let late = self.cover(run, position, held.length, held.window, deadlines, totals);
                    Ledger { account: &mut self.account, totals }.reordered(late);
                }
                None => Ledger { account: &mut self.account, totals }.stray(u64::from(held.length)),
            }
        }
    }
}

/// So many numbers behind a run that stands still are a restart.
const UNSEEN_RESTART: u64 = 16;

enum Choice {
    Run(usize),
    New,
    /// A run before all that are known.
    Older,
    Wait,
}
