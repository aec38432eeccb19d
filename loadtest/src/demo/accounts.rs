//! What nodes and the coordinator say of themselves at `/metrics.json`, as far as the demo shows it.

use serde::Deserialize;

use crate::node_ledger::{Ledger, Sets};

/// A node's account, or that of several together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NodeAccount {
    /// Datagrams read.
    pub(super) datagrams: u64,
    /// Datagrams that the kernel dropped.
    pub(super) kernel_dropped: u64,
    /// Datagrams of which nothing was decoded.
    pub(super) rejected: u64,
    /// Data sets.
    pub(super) sets: Sets,
    /// Flow records produced.
    pub(super) produced: u64,
    /// Of these, taken by Kafka.
    pub(super) delivered: u64,
    /// Of these, on their way.
    pub(super) in_flight: u64,
    /// Of these, given up.
    pub(super) dropped: u64,
    /// Templates that exporters announced to it.
    pub(super) own_templates: u64,
    /// Templates that the cluster told it of before that.
    pub(super) shared_templates: u64,
    /// What does not add up.
    pub(super) imbalances: Vec<String>,
}

/// The account of all exporters' sequence numbers, over the whole cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SequenceAccount {
    /// Numbers received.
    pub(super) received: u64,
    /// Numbers that never came. Those of which it cannot be told are none: records of an IPFIX message with a set that waits
    /// take numbers, and nobody knows how many before it is decoded.
    pub(super) lost: u64,
}

#[derive(Deserialize)]
struct NodeStatus {
    ledger: Ledger,
    cluster: Cluster,
    sources: Vec<Source>,
}

#[derive(Deserialize)]
struct Cluster {
    templates_learnt: u64,
}

#[derive(Deserialize)]
struct Source {
    statistics: Statistics,
}

#[derive(Deserialize)]
struct Statistics {
    templates: u64,
}

#[derive(Deserialize)]
struct CoordinatorStatus {
    sequences: Sequences,
}

#[derive(Deserialize)]
struct Sequences {
    totals: Totals,
}

#[derive(Deserialize)]
struct Totals {
    received: u64,
    lost_upstream: u64,
    lost_here: u64,
    taken_back_upstream: u64,
    taken_back_here: u64,
}

impl NodeAccount {
    /// The account in a node's `/metrics.json`.
    pub(super) fn of_json(text: &str) -> Option<Self> {
        let NodeStatus { ledger, cluster, sources } = serde_json::from_str(text).ok()?;
        let known: u64 = sources.iter().map(|source| source.statistics.templates).sum();
        Some(Self {
            own_templates: known.saturating_sub(cluster.templates_learnt),
            shared_templates: cluster.templates_learnt,
            ..Self::of_ledger(&ledger)
        })
    }

    /// What the ledger alone says.
    pub(super) fn of_ledger(ledger: &Ledger) -> Self {
        let flow = ledger.flow();
        Self {
            datagrams: ledger.datagrams.received,
            kernel_dropped: ledger.datagrams.kernel_dropped,
            rejected: ledger.datagrams.rejected,
            produced: flow.produced,
            delivered: flow.delivered,
            in_flight: flow.in_flight,
            dropped: flow.dropped + flow.on_disk,
            imbalances: ledger.imbalances(),
            sets: ledger.sets.clone(),
            own_templates: 0,
            shared_templates: 0,
        }
    }

    /// Both together.
    pub(super) fn plus(&self, other: &Self) -> Self {
        let sets = |a: &Sets, b: &Sets| Sets {
            seen: a.seen + b.seen,
            decoded: a.decoded + b.decoded,
            held: a.held + b.held,
            released: a.released + b.released,
            pending: a.pending + b.pending,
            expired: a.expired + b.expired,
            evicted: a.evicted + b.evicted,
            rejected: a.rejected + b.rejected,
        };
        Self {
            datagrams: self.datagrams + other.datagrams,
            kernel_dropped: self.kernel_dropped + other.kernel_dropped,
            rejected: self.rejected + other.rejected,
            sets: sets(&self.sets, &other.sets),
            produced: self.produced + other.produced,
            delivered: self.delivered + other.delivered,
            in_flight: self.in_flight + other.in_flight,
            dropped: self.dropped + other.dropped,
            own_templates: self.own_templates + other.own_templates,
            shared_templates: self.shared_templates + other.shared_templates,
            imbalances: [&self.imbalances[..], &other.imbalances].concat(),
        }
    }
}

impl SequenceAccount {
    /// The account in a coordinator's `/metrics.json`.
    pub(super) fn of_json(text: &str) -> Option<Self> {
        let totals = serde_json::from_str::<CoordinatorStatus>(text).ok()?.sequences.totals;
        let counted = totals.lost_upstream + totals.lost_here;
        let came = totals.taken_back_upstream + totals.taken_back_here;
        Some(Self { received: totals.received, lost: counted.saturating_sub(came) })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::demo) const NODE: &str = r#"{"node":"node-1","ledger":{
        "datagrams":{"arrived":10,"received":9,"kernel_dropped":1,"decoded":7,"partly_decoded":1,"rejected":1},
        "sets":{"seen":8,"decoded":6,"held":5,"released":4,"pending":1,"expired":0,"evicted":0,"rejected":1},
        "streams":{"flow":{"produced":100,"recovered":0,"delivered":90,"in_flight":4,"on_disk":2,"dropped":4}}},
        "cluster":{"templates_learnt":3,"connected":true},
        "sources":[{"name":"flow","statistics":{"templates":8}}]}"#;

    #[test]
    fn a_node_says_what_it_has_and_what_it_was_told() {
        let account = NodeAccount::of_json(NODE).unwrap();
        assert_eq!((account.own_templates, account.shared_templates), (5, 3));
        assert_eq!((account.sets.held, account.sets.released, account.dropped), (5, 4, 6));
        assert_eq!(account.imbalances, [""; 0]);
        let both = account.plus(&account);
        assert_eq!((both.datagrams, both.produced, both.own_templates), (18, 200, 10));
    }

    #[test]
    fn what_came_after_all_is_not_lost() {
        let text = r#"{"sequences":{"holes":2,"spaces":3,"totals":{"received":70,
            "lost_upstream":4,"taken_back_upstream":3,"lost_here":0,"taken_back_here":0,
            "lost_unknown":2,"taken_back_unknown":1,"reordered":0}}}"#;
        let want = SequenceAccount { received: 70, lost: 1 };
        assert_eq!(SequenceAccount::of_json(text), Some(want));
        assert_eq!(SequenceAccount::of_json("{}"), None);
    }
}
