//! Holds a sender to a rate: it may send when the rate's clock has caught up with what it has sent.

use std::time::{Duration, Instant};

/// Waits no shorter than this: a sleep that long costs more than the burst it would split.
const SHORTEST_WAIT: Duration = Duration::from_micros(50);

/// The clock of one sender.
#[derive(Debug)]
pub struct Pacer {
    started: Instant,
    per_second: f64,
    sent: u64,
}

impl Pacer {
    /// A clock that starts now; a rate of 0 never waits.
    pub fn new(per_second: u64) -> Self {
        Self { started: Instant::now(), per_second: per_second as f64, sent: 0 }
    }

    /// How much may be sent in one go, so that bursts stay at about two milliseconds of the rate.
    pub fn burst(&self) -> u64 {
        const BURST_SECONDS: f64 = 0.002;
        if self.per_second == 0.0 { u64::MAX } else { ((self.per_second * BURST_SECONDS) as u64).max(1) }
    }

    /// Time since the clock started.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Accounts for `amount` sent, and waits until more is due.
    pub fn sent(&mut self, amount: u64) {
        self.sent += amount;
        let wait = self.due().saturating_sub(self.elapsed());
        if wait >= SHORTEST_WAIT {
            pause(wait);
        }
    }

    /// When, after the start, the next may be sent.
    fn due(&self) -> Duration {
        if self.per_second == 0.0 {
            Duration::ZERO
        } else {
            Duration::from_secs_f64(self.sent as f64 / self.per_second)
        }
    }
}

/// Sleeps until it is time to send.
#[allow(
    clippy::disallowed_methods,
    reason = "a generator's pace is a time, there is no condition to wait for"
)]
pub(crate) fn pause(wait: Duration) {
    std::thread::sleep(wait);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_decides_when_the_next_is_due() {
        let mut pacer = Pacer::new(1_000_000);
        assert_eq!(pacer.burst(), 2_000);
        pacer.sent(20_000);
        assert!(pacer.elapsed() >= Duration::from_millis(19));
        assert_eq!(pacer.due(), Duration::from_millis(20));
    }

    #[test]
    fn no_rate_never_waits() {
        let mut pacer = Pacer::new(0);
        pacer.sent(u64::MAX);
        assert_eq!((pacer.due(), pacer.burst()), (Duration::ZERO, u64::MAX));
    }
}
