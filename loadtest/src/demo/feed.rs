//! What the demo's threads have seen so far, for the view to draw.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use catchment_proto::flow::v1::FlowRecord;

use crate::node_ledger::Ledger;

/// Flows kept for the view.
const RECENT: usize = 64;

/// One capture that is replayed: one exporter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// The capture's name, which says the exporter and the protocol.
    pub(crate) name: String,
    /// The address that it is sent from.
    pub(crate) address: IpAddr,
    /// Datagrams sent.
    pub(crate) datagrams: u64,
    /// Records of it that were consumed.
    pub(crate) records: u64,
}

/// Everything seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) sources: Vec<Source>,
    /// Records consumed from Kafka.
    pub(crate) records: u64,
    /// The newest records, oldest first.
    pub(crate) recent: VecDeque<FlowRecord>,
    /// The node's ledger as last asked for.
    pub(crate) ledger: Option<Ledger>,
    /// The first thing that went wrong in a thread.
    pub(crate) fault: Option<String>,
    by_address: HashMap<Vec<u8>, usize>,
}

/// [`Seen`], shared by the threads.
#[derive(Debug, Default)]
pub(crate) struct Feed(Mutex<Seen>);

impl Feed {
    /// Nothing seen yet of these sources.
    pub(crate) fn new(sources: Vec<Source>) -> Self {
        let by_address =
            sources.iter().enumerate().map(|(at, source)| (octets(source.address), at)).collect();
        Self(Mutex::new(Seen { sources, by_address, ..Seen::default() }))
    }

    /// What was seen so far. Each update is whole, so a thread that panicked between two leaves nothing half done.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the first fault.
    pub(crate) fn fail(&self, fault: String) {
        self.seen().fault.get_or_insert(fault);
    }
}

impl Seen {
    /// Datagrams sent from all sources.
    pub(crate) fn datagrams(&self) -> u64 {
        self.sources.iter().map(|source| source.datagrams).sum()
    }

    /// Counts a consumed record and keeps it among the recent ones. Of several in a row from one exporter only the first
    /// is kept: a batch holds dozens, and the view would show nothing else.
    pub(crate) fn consume(&mut self, record: FlowRecord) {
        self.records += 1;
        if let Some(at) = self.by_address.get(&record.sampler_address) {
            self.sources[*at].records += 1;
        }
        if self.recent.back().is_some_and(|newest| newest.sampler_address == record.sampler_address) {
            return;
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(record);
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_counted_at_their_exporter() {
        let source = |name: &str, last| Source {
            name: name.into(),
            address: IpAddr::from([127, 2, 0, last]),
            datagrams: 2,
            records: 0,
        };
        let feed = Feed::new(vec![source("a", 1), source("b", 2)]);
        for last in [2, 2, 1, 2, 9] {
            feed.seen()
                .consume(FlowRecord { sampler_address: vec![127, 2, 0, last], ..FlowRecord::default() });
        }
        let seen = feed.seen();
        assert_eq!((seen.sources[0].records, seen.sources[1].records), (1, 3));
        assert_eq!((seen.records, seen.datagrams()), (5, 4));
        let kept: Vec<u8> = seen.recent.iter().map(|record| record.sampler_address[3]).collect();
        assert_eq!(kept, [2, 1, 2, 9]);
    }

    #[test]
    fn only_so_many_records_are_kept() {
        let feed = Feed::new(vec![]);
        for number in 0..=u8::MAX {
            feed.seen()
                .consume(FlowRecord { sampler_address: vec![127, 0, 0, number], ..FlowRecord::default() });
        }
        assert_eq!(feed.seen().recent.len(), RECENT);
        assert_eq!(feed.seen().recent.back().unwrap().sampler_address[3], u8::MAX);
    }

    #[test]
    fn the_first_fault_is_kept() {
        let feed = Feed::new(vec![]);
        feed.fail("first".into());
        feed.fail("second".into());
        assert_eq!(feed.seen().fault.as_deref(), Some("first"));
    }
}
