//! Rates from totals: what came in each second.

use std::collections::VecDeque;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// Seconds kept for the curve.
const HISTORY: usize = 120;

/// Totals at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) datagrams: u64,
    pub(super) records: u64,
}

/// Turns totals into rates, once a second.
#[derive(Debug, Default)]
pub(super) struct Meter {
    at: Duration,
    totals: Totals,
    rates: Totals,
    history: VecDeque<u64>,
}

impl Meter {
    /// Takes the totals at time `now` after the start; true where a second is over and the rates are new.
    pub(super) fn update(&mut self, now: Duration, totals: Totals) -> bool {
        let passed = now.saturating_sub(self.at);
        if passed < SECOND {
            return false;
        }
        let rate = |now: u64, before: u64| ((now - before) as f64 / passed.as_secs_f64()).round() as u64;
        self.rates = Totals {
            datagrams: rate(totals.datagrams, self.totals.datagrams),
            records: rate(totals.records, self.totals.records),
        };
        (self.at, self.totals) = (now, totals);
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(self.rates.records);
        true
    }

    /// Amounts per second over the last second.
    pub(super) fn rates(&self) -> Totals {
        self.rates
    }

    /// Records per second, oldest first.
    pub(super) fn history(&self) -> Vec<u64> {
        self.history.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_second() {
        let mut meter = Meter::default();
        let totals = |datagrams, records| Totals { datagrams, records };
        assert!(!meter.update(Duration::from_millis(900), totals(9, 90)));
        assert!(meter.update(Duration::from_secs(1), totals(10, 100)));
        assert!(meter.update(Duration::from_secs(3), totals(30, 500)));
        assert_eq!(meter.rates(), totals(10, 200));
        assert_eq!(meter.history(), [100, 200]);
    }
}
