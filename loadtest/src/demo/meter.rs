//! Rates from totals: what came in each second, to the cluster and to each node.

use std::collections::VecDeque;
use std::time::Duration;

use super::feed::Seen;

const SECOND: Duration = Duration::from_secs(1);
/// Seconds kept for the curve.
const HISTORY: usize = 120;

/// Totals at a time, or amounts per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) datagrams: u64,
    pub(super) records: u64,
}

/// Amounts per second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rates {
    /// Datagrams sent and records consumed.
    pub(super) cluster: Totals,
    /// Datagrams read and records produced, by node.
    pub(super) nodes: Vec<Totals>,
}

/// Turns totals into rates, once a second.
#[derive(Debug, Default)]
pub(super) struct Meter {
    at: Duration,
    before: Rates,
    rates: Rates,
    history: VecDeque<u64>,
}

impl Meter {
    /// Looks at the totals at time `now` after the start; true where a second is over and the rates are new.
    pub(super) fn update(&mut self, now: Duration, seen: &Seen) -> bool {
        let passed = now.saturating_sub(self.at);
        if passed < SECOND {
            return false;
        }
        let node = |account: &super::accounts::NodeAccount| Totals {
            datagrams: account.datagrams,
            records: account.produced,
        };
        let totals = Rates {
            cluster: Totals { datagrams: seen.datagrams(), records: seen.records },
            nodes: seen.nodes.iter().map(|seen| node(&seen.account)).collect(),
        };
        self.before.nodes.resize(totals.nodes.len(), Totals::default());
        let rate =
            |now: u64, before: u64| (now.saturating_sub(before) as f64 / passed.as_secs_f64()).round() as u64;
        let rates = |now: &Totals, before: &Totals| Totals {
            datagrams: rate(now.datagrams, before.datagrams),
            records: rate(now.records, before.records),
        };
        self.rates = Rates {
            cluster: rates(&totals.cluster, &self.before.cluster),
            nodes: totals
                .nodes
                .iter()
                .zip(&self.before.nodes)
                .map(|(now, before)| rates(now, before))
                .collect(),
        };
        (self.at, self.before) = (now, totals);
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(self.rates.cluster.records);
        true
    }

    /// Amounts per second over the last second.
    pub(super) fn rates(&self) -> &Rates {
        &self.rates
    }

    /// Records per second, oldest first.
    pub(super) fn history(&self) -> Vec<u64> {
        self.history.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::feed::{Feed, Source};

    #[test]
    fn rates_are_of_the_last_second() {
        let mut meter = Meter::default();
        let totals = |datagrams, records| Totals { datagrams, records };
        let seen = |datagrams, records| {
            let source = Source { name: "a".into(), datagrams, records: 0 };
            let feed = Feed::new(vec![source], &["node-1".to_owned()]);
            feed.seen().records = records;
            feed.seen().nodes[0].account.produced = records / 2;
            feed.seen().clone()
        };
        assert!(!meter.update(Duration::from_millis(900), &seen(9, 90)));
        assert!(meter.update(Duration::from_secs(1), &seen(10, 100)));
        assert!(meter.update(Duration::from_secs(3), &seen(30, 500)));
        assert_eq!(meter.rates().cluster, totals(10, 200));
        assert_eq!(meter.rates().nodes, [totals(0, 100)]);
        assert_eq!(meter.history(), [100, 200]);
    }
}
