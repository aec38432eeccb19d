//! What happened at nodes, from which a hole gets its cause.
//!
//! A hole is known to fall into a window of time: between the report that had the number before it and the one that had a number
//! behind it. Whatever happened in that window may have made it:
//! a crash took everything, so all of the hole is lost *here*; drops that a node counted explain so many datagrams, and what goes
//! beyond is *unknown*, because such counts are lower bounds; a report that is missing explains nothing, so it makes *unknown*.
//! Where a node's reports went to another book until then, a hole that was over by its first report here is no hole of this book,
//! and of a longer one it cannot be told.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::account::Cause;
use crate::space::Unit;
use crate::time::Time;

/// What happened.
#[derive(Clone, Debug)]
enum Event {
    /// A node lost so many datagrams, of which so many have explained no hole yet.
    Drops(u64),
    /// A node went without a word.
    Crash,
    /// A node's report did not arrive.
    Missing,
    /// The first report of a node that is in this book, though it has reported before.
    Began,
}

#[derive(Clone, Debug)]
struct Entry {
    from: Time,
    to: Time,
    node: Arc<str>,
    incarnation: u64,
    event: Event,
    note: Arc<str>,
}

/// A part of a hole with its cause.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) numbers: u64,
    pub(crate) cause: Cause,
    pub(crate) note: Option<Arc<str>>,
}

/// Everything that happened lately.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    entries: VecDeque<Entry>,
    /// Up to when things were forgotten for want of room.
    forgotten: Option<Time>,
}

/// How much is remembered.
const ENTRIES: usize = 4096;

impl Evidence {
    pub(crate) fn drops(&mut self, node: &Arc<str>, incarnation: u64, from: Time, to: Time, datagrams: u64) {
        let note = format!("{node} incarnation {incarnation} lost datagrams itself: kernel drops or a pause");
        self.push(node, incarnation, (from, to), Event::Drops(datagrams), note);
    }

    pub(crate) fn crash(&mut self, node: &Arc<str>, incarnation: u64, from: Time, to: Time) {
        let note = format!("{node} incarnation {incarnation} went without a goodbye");
        self.push(node, incarnation, (from, to), Event::Crash, note);
    }

    pub(crate) fn missing(&mut self, node: &Arc<str>, incarnation: u64, from: Time, to: Time) {
        let note = format!("a report of {node} incarnation {incarnation} is missing");
        self.push(node, incarnation, (from, to), Event::Missing, note);
    }

    /// A node has reported before, and the first of its reports that is in this book covers this time.
    pub(crate) fn began(&mut self, node: &Arc<str>, incarnation: u64, from: Time, to: Time) {
        let note = format!("reports of {node} incarnation {incarnation} went to another coordinator before");
        self.push(node, incarnation, (from, to), Event::Began, note);
    }

    /// Whether what is missing before a number that came then is in another book.
    pub(crate) fn is_elsewhere(&self, to: Time) -> bool {
        let mut began = self.entries.iter().filter(|entry| matches!(entry.event, Event::Began));
        began.any(|entry| entry.from <= to && entry.to >= to)
    }

    /// A node that was thought crashed is back: what it received meanwhile may still come.
    pub(crate) fn returned(&mut self, node: &str, incarnation: u64) {
        for entry in &mut self.entries {
            if *entry.node == *node && entry.incarnation == incarnation && matches!(entry.event, Event::Crash)
            {
                entry.event = Event::Missing;
                entry.note = format!("{node} incarnation {incarnation} was not heard of for a time").into();
            }
        }
    }

    fn push(
        &mut self,
        node: &Arc<str>,
        incarnation: u64,
        (from, to): (Time, Time),
        event: Event,
        note: String,
    ) {
        if self.entries.len() == ENTRIES {
            let oldest = self.entries.pop_front();
            self.forgotten = self.forgotten.max(oldest.map(|entry| entry.to));
        }
        let (node, note) = (Arc::clone(node), note.into());
        self.entries.push_back(Entry { from, to, node, incarnation, event, note });
    }

    pub(crate) fn forget_before(&mut self, time: Time) {
        self.entries.retain(|entry| entry.to >= time);
    }

    /// The causes of a hole of so many numbers that opened in that window.
    pub(crate) fn judge(&mut self, from: Time, to: Time, numbers: u64, unit: Unit) -> Vec<Verdict> {
        let mut unknown =
            self.forgotten.is_some_and(|until| from <= until).then(|| Arc::from("too much happened"));
        let mut verdicts = Vec::new();
        let mut left = numbers;
        let mut dropped = None;
        for entry in self.entries.iter_mut().filter(|entry| entry.from <= to && entry.to >= from) {
            let note = Arc::clone(&entry.note);
            match &mut entry.event {
                Event::Crash => return vec![Verdict { numbers, cause: Cause::Here, note: Some(note) }],
                Event::Missing | Event::Began => unknown = Some(note),
                Event::Drops(datagrams) => {
                    let takes =
                        unit.per_datagram().map_or(left, |each| datagrams.saturating_mul(each).min(left));
                    if *datagrams > 0 && takes > 0 {
                        *datagrams -= unit.per_datagram().map_or(1, |each| takes.div_ceil(each));
                        left -= takes;
                        verdicts.push(Verdict { numbers: takes, cause: Cause::Here, note: Some(note) });
                    } else {
                        dropped = Some(note);
                    }
                }
            }
        }
        if left > 0 {
            let beyond = verdicts.last().and_then(|verdict| verdict.note.clone());
            let note = unknown.or(beyond).or(dropped);
            let cause = if note.is_some() { Cause::Unknown } else { Cause::Upstream };
            verdicts.push(Verdict { numbers: left, cause, note });
        }
        verdicts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn judged(evidence: &mut Evidence, from: u64, to: u64, numbers: u64) -> Vec<(u64, Cause)> {
        let verdicts = evidence.judge(at(from), at(to), numbers, Unit::Datagrams);
        verdicts.into_iter().map(|verdict| (verdict.numbers, verdict.cause)).collect()
    }

    #[test]
    fn drops_explain_as_many_datagrams_as_were_counted() {
        let mut evidence = Evidence::default();
        evidence.drops(&"n1".into(), 1, at(100), at(200), 5);
        assert_eq!(judged(&mut evidence, 300, 400, 3), [(3, Cause::Upstream)]);
        assert_eq!(judged(&mut evidence, 150, 160, 3), [(3, Cause::Here)]);
        assert_eq!(judged(&mut evidence, 150, 160, 3), [(2, Cause::Here), (1, Cause::Unknown)]);
        // The count is a lower bound: where a node dropped at all, it cannot be told that the network did.
        assert_eq!(judged(&mut evidence, 150, 160, 3), [(3, Cause::Unknown)]);
    }

    #[test]
    fn a_crash_explains_everything_until_the_node_is_back() {
        let mut evidence = Evidence::default();
        evidence.crash(&"n1".into(), 7, at(100), at(200));
        assert_eq!(judged(&mut evidence, 0, 100, 30), [(30, Cause::Here)]);
        evidence.returned("n1", 8);
        assert_eq!(judged(&mut evidence, 0, 100, 30), [(30, Cause::Here)]);
        evidence.returned("n1", 7);
        assert_eq!(judged(&mut evidence, 0, 100, 30), [(30, Cause::Unknown)]);
    }

    #[test]
    fn what_was_forgotten_makes_unknown() {
        let mut evidence = Evidence::default();
        for _ in 0..=ENTRIES {
            evidence.missing(&"n1".into(), 1, at(10), at(20));
        }
        evidence.forget_before(at(1000));
        assert_eq!(judged(&mut evidence, 15, 15, 1), [(1, Cause::Unknown)]);
        assert_eq!(judged(&mut evidence, 21, 30, 1), [(1, Cause::Upstream)]);
    }
}
