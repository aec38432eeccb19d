//! How much of something may go up: so much at once, then so much a second.

use std::time::{Duration, Instant};

/// What a bucket holds, and what flows in each second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) burst: f64,
    pub(super) second: f64,
}

/// A token bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn full(rate: Rate, now: Instant) -> Self {
        Self { tokens: rate.burst, at: now }
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * rate.second).min(rate.burst);
        self.at = now;
    }

    /// Takes `count`, or says how long it takes until there is something. What is larger than the bucket passes when it is
    /// full, and leaves a debt.
    pub(super) fn take(&mut self, rate: Rate, count: f64, now: Instant) -> Result<(), Duration> {
        self.refill(rate, now);
        let needed = count.min(rate.burst);
        if self.tokens < needed {
            return Err(Duration::from_secs_f64((needed - self.tokens) / rate.second));
        }
        self.tokens -= count;
        Ok(())
    }

    pub(super) fn is_full(&mut self, rate: Rate, now: Instant) -> bool {
        self.refill(rate, now);
        self.tokens >= rate.burst
    }
}
