//! What all nodes of a cluster say of themselves, added up and held against what was consumed.

use std::net::SocketAddr;

use serde::Serialize;

use crate::node_ledger::Ledger;

/// The nodes' ledgers together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ClusterAccount {
    /// Datagrams that arrived at any node.
    pub arrived: u64,
    /// Datagrams that a kernel dropped.
    pub kernel_dropped: u64,
    /// Data sets that wait for a template, at any node.
    pub sets_pending: u64,
    /// Flow records that decoding gave.
    pub produced: u64,
    /// Flow records that Kafka acknowledged.
    pub delivered: u64,
    /// What does not agree, in words.
    pub faults: Vec<String>,
}

impl ClusterAccount {
    /// Adds up; `None` is a node that did not answer. `consumed` is what all of them together must have delivered, where
    /// that is known.
    pub fn of(
        ledgers: impl IntoIterator<Item = (SocketAddr, Option<Ledger>)>,
        consumed: Option<u64>,
    ) -> Self {
        let mut sum = Self::default();
        for (node, ledger) in ledgers {
            let Some(ledger) = ledger else {
                sum.faults.push(format!("node {node} shows no ledger"));
                continue;
            };
            let flow = ledger.flow();
            sum.arrived += ledger.datagrams.arrived;
            sum.kernel_dropped += ledger.datagrams.kernel_dropped;
            sum.sets_pending += ledger.sets.pending;
            sum.produced += flow.produced;
            sum.delivered += flow.delivered;
            sum.faults.extend(ledger.imbalances().into_iter().map(|fault| format!("node {node}: {fault}")));
        }
        if let Some(consumed) = consumed.filter(|consumed| *consumed != sum.delivered) {
            sum.faults
                .push(format!("the nodes delivered {} records, consumed were {consumed}", sum.delivered));
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node_ledger::tests::BALANCED;

    #[test]
    fn nodes_are_added_up_and_held_against_the_topic() {
        let node = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let ledger = || Ledger::of_json(BALANCED);
        let sum = ClusterAccount::of([(node(1), ledger()), (node(2), ledger())], Some(180));
        assert_eq!((sum.arrived, sum.produced, sum.delivered), (20, 200, 180));
        assert_eq!(sum.faults, [""; 0]);
        let sum = ClusterAccount::of([(node(1), ledger()), (node(2), None)], Some(180));
        assert_eq!(
            sum.faults,
            ["node 127.0.0.1:2 shows no ledger", "the nodes delivered 90 records, consumed were 180"]
        );
        let mut odd = ledger().unwrap();
        odd.datagrams.arrived += 1;
        assert_eq!(ClusterAccount::of([(node(1), Some(odd))], None).faults.len(), 1);
    }
}
