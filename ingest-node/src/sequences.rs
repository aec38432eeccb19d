//! The sequence accounts of a node that works alone: which numbers its exporters sent that never came.
//!
//! With a coordinator a gap at one node says nothing, so there the numbers go up and the cluster keeps the accounts.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use catchment_proto::node::v1::SequenceAccount;
use catchment_sequence::{Account, Book, Limits, NodeReport, Space, Time, Totals};

use crate::source::Numbered;

/// The accounts.
#[derive(Debug)]
pub struct Sequences {
    began: Instant,
    book: Mutex<State>,
}

#[derive(Debug)]
struct State {
    book: Book,
    reports: u64,
    last: Instant,
    /// What the node had lost itself by the last report.
    lost_here: u64,
}

impl Sequences {
    /// Accounts of a node that has heard nothing yet.
    pub fn new() -> Self {
        let began = Instant::now();
        let state = State { book: Book::new(Limits::default()), reports: 0, last: began, lost_here: 0 };
        Self { began, book: Mutex::new(state) }
    }

    /// Takes in what the sources received since the last time. `lost_here` are the datagrams that the node has lost itself since
    /// it started.
    pub fn take_in(&self, node: &str, incarnation: u64, numbered: &[Numbered], lost_here: u64) {
        self.take_in_at(Instant::now(), node, incarnation, numbered, lost_here);
    }

    fn take_in_at(&self, now: Instant, node: &str, incarnation: u64, numbered: &[Numbered], lost_here: u64) {
        let mut state = self.lock();
        state.reports += 1;
        let report = NodeReport {
            node,
            incarnation,
            number: state.reports,
            covers: now - state.last,
            lost_here: lost_here.saturating_sub(state.lost_here),
        };
        (state.last, state.lost_here) = (now, lost_here.max(state.lost_here));
        let time = self.time(now);
        let spaces = numbered.iter().map(|one| (one.space.clone(), one.worker, &one.report));
        state.book.report(report, spaces, time);
        state.book.settle(time);
    }

    /// Sums over all spaces.
    pub fn totals(&self) -> Totals {
        self.lock().book.totals()
    }

    /// The accounts of the exporters that pass, by zone and address.
    pub fn accounts(
        &self,
        passes: impl Fn(&str, IpAddr) -> bool,
    ) -> BTreeMap<(Box<str>, IpAddr), Vec<SequenceAccount>> {
        let mut accounts: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let state = self.lock();
        let mut spaces: Vec<_> =
            state.book.accounts().filter(|(space, _)| passes(&space.zone, space.exporter)).collect();
        spaces.sort_unstable_by_key(|(space, _)| *space);
        for (space, account) in spaces {
            let exporter = (space.zone.clone(), space.exporter);
            accounts.entry(exporter).or_default().push(message(space, account));
        }
        accounts
    }

    fn time(&self, now: Instant) -> Time {
        // Not from 0: the book looks back from the first report.
        Time::from_millis(0).after(Duration::from_secs(3600)).after(now - self.began)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Sequences {
    fn default() -> Self {
        Self::new()
    }
}

fn message(space: &Space, account: &Account) -> SequenceAccount {
    SequenceAccount {
        port: space.port.into(),
        version: space.version.into(),
        domain: space.domain,
        data_source: space.data_source,
        unit: space.unit.as_str().to_owned(),
        received: account.received,
        lost_upstream: account.lost_upstream,
        lost_here: account.lost_here,
        lost_unknown: account.lost_unknown,
        reordered: account.reordered,
        repeated_numbers: account.repeated,
        resets: account.resets,
        stray: account.stray,
        waiting: account.waiting,
        span: account.span,
        notes: account.notes.iter().map(ToString::to_string).collect(),
    }
}

#[cfg(test)]
mod tests {
    use catchment_sequence::{Tracker, Unit};

    use super::*;

    fn numbered(tracker: &mut Tracker, numbers: impl IntoIterator<Item = u32>) -> Vec<Numbered> {
        for number in numbers {
            tracker.note(number, 1);
        }
        let space = Space {
            zone: "".into(),
            exporter: [192, 0, 2, 1].into(),
            port: 2000,
            version: 9,
            domain: 7,
            data_source: 0,
            unit: Unit::Datagrams,
        };
        tracker
            .take_report()
            .into_iter()
            .map(|report| Numbered { space: space.clone(), worker: 0, report })
            .collect()
    }

    #[test]
    fn gaps_are_put_to_the_account_of_who_lost_them() {
        let sequences = Sequences::new();
        let mut tracker = Tracker::new(100);
        let at = |seconds| sequences.began + Duration::from_secs(seconds);
        sequences.take_in_at(at(1), "a", 1, &numbered(&mut tracker, [1, 2, 5]), 0);
        sequences.take_in_at(at(101), "a", 1, &[], 0);
        let totals = sequences.totals();
        assert_eq!((totals.received, totals.lost), (3, [2, 0, 0]), "nobody here can have lost 3 and 4");
        sequences.take_in_at(at(102), "a", 1, &numbered(&mut tracker, [6, 8]), 1);
        sequences.take_in_at(at(202), "a", 1, &[], 1);
        let totals = sequences.totals();
        assert_eq!((totals.received, totals.lost), (5, [2, 1, 0]), "the kernel dropped a datagram meanwhile");
        let accounts = sequences.accounts(|_, exporter| exporter == IpAddr::from([192, 0, 2, 1]));
        let account = &accounts.values().next().expect("the exporter")[0];
        assert_eq!((account.port, account.domain, account.unit.as_str()), (2000, 7, "datagrams"));
        assert_eq!((account.received, account.lost_upstream, account.lost_here), (5, 2, 1));
        assert!(sequences.accounts(|_, _| false).is_empty());
    }
}
