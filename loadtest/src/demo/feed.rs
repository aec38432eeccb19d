//! What the demo's threads have seen so far, for the view to draw.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use catchment_proto::flow::v1::FlowRecord;

use super::accounts::{NodeAccount, SequenceAccount};

/// Flows kept for the view.
const RECENT: usize = 64;

/// One capture that is replayed: one exporter at each site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Source {
    /// The capture's name, which says the exporter and the protocol.
    pub(super) name: String,
    /// Datagrams sent.
    pub(super) datagrams: u64,
    /// Records of it that were consumed.
    pub(super) records: u64,
}

/// A node, as it last said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NodeSeen {
    /// `node.id`.
    pub(super) name: String,
    /// Its account.
    pub(super) account: NodeAccount,
}

/// Everything seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) sources: Vec<Source>,
    /// Records consumed from Kafka.
    pub(super) records: u64,
    /// The newest records, oldest first.
    pub(super) recent: VecDeque<FlowRecord>,
    /// The nodes.
    pub(super) nodes: Vec<NodeSeen>,
    /// What the coordinator says of all exporters' sequence numbers.
    pub(super) sequences: SequenceAccount,
    /// The first thing that went wrong.
    pub(super) fault: Option<String>,
    /// The source that an exporter's address belongs to.
    addresses: HashMap<Vec<u8>, usize>,
}

/// [`Seen`], shared by the threads.
#[derive(Debug, Default)]
pub(super) struct Feed(Mutex<Seen>);

impl Feed {
    /// Nothing seen yet of these sources, by the nodes of these names.
    pub(super) fn new(sources: Vec<Source>, nodes: &[String]) -> Self {
        let node = |name: &String| NodeSeen { name: name.clone(), account: NodeAccount::default() };
        Self(Mutex::new(Seen { sources, nodes: nodes.iter().map(node).collect(), ..Seen::default() }))
    }

    /// What was seen so far. Each update is whole, so a thread that panicked between two leaves nothing half done.
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the first fault.
    pub(super) fn fail(&self, fault: String) {
        self.seen().fault.get_or_insert(fault);
    }
}

impl Seen {
    /// An exporter of this source begins.
    pub(super) fn exporter(&mut self, address: IpAddr, source: usize) {
        self.addresses.insert(octets(address), source);
    }

    /// Exporters that have begun.
    pub(super) fn exporters(&self) -> usize {
        self.addresses.len()
    }

    /// Datagrams sent from all sources.
    pub(super) fn datagrams(&self) -> u64 {
        self.sources.iter().map(|source| source.datagrams).sum()
    }

    /// All nodes together.
    pub(super) fn total(&self) -> NodeAccount {
        self.nodes.iter().fold(NodeAccount::default(), |total, node| total.plus(&node.account))
    }

    /// Counts a consumed record and keeps it among the recent ones. Of several in a row from one exporter only the first
    /// is kept: a batch holds dozens, and the view would show nothing else.
    pub(super) fn consume(&mut self, record: FlowRecord) {
        self.records += 1;
        if let Some(at) = self.addresses.get(&record.sampler_address) {
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

    /// The newest records, newest first, each of another source.
    pub(super) fn newest(&self) -> Vec<&FlowRecord> {
        let mut shown = HashSet::new();
        let is_new = |record: &&FlowRecord| shown.insert(self.addresses.get(&record.sampler_address));
        self.recent.iter().rev().filter(is_new).collect()
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

    fn record(last: u8) -> FlowRecord {
        FlowRecord { sampler_address: vec![127, 2, 1, last], ..FlowRecord::default() }
    }

    #[test]
    fn records_are_counted_at_their_source() {
        let source = |name: &str| Source { name: name.into(), datagrams: 2, records: 0 };
        let feed = Feed::new(vec![source("a"), source("b")], &["node-1".to_owned()]);
        for (address, source) in [(1, 0), (2, 1), (3, 1)] {
            feed.seen().exporter(IpAddr::from([127, 2, 1, address]), source);
        }
        for last in [2, 2, 1, 3, 9] {
            feed.seen().consume(record(last));
        }
        let seen = feed.seen();
        assert_eq!((seen.sources[0].records, seen.sources[1].records), (1, 3));
        assert_eq!((seen.records, seen.datagrams(), seen.exporters()), (5, 4, 3));
        let kept: Vec<u8> = seen.recent.iter().map(|record| record.sampler_address[3]).collect();
        assert_eq!(kept, [2, 1, 3, 9]);
        let newest: Vec<u8> = seen.newest().iter().map(|record| record.sampler_address[3]).collect();
        assert_eq!(newest, [9, 3, 1]);
    }

    #[test]
    fn only_so_many_records_are_kept() {
        let feed = Feed::default();
        for number in 0..=u8::MAX {
            feed.seen().consume(record(number));
        }
        assert_eq!(feed.seen().recent.len(), RECENT);
        assert_eq!(feed.seen().recent.back().unwrap().sampler_address[3], u8::MAX);
    }

    #[test]
    fn the_first_fault_is_kept() {
        let feed = Feed::default();
        feed.fail("first".into());
        feed.fail("second".into());
        assert_eq!(feed.seen().fault.as_deref(), Some("first"));
    }
}
