//! How long to wait before the next try: exponential, with full jitter.
//!
//! Before try `n` (from 0) the wait is drawn evenly from nothing to `min(longest, first * 2^n)`. A thousand nodes that lose
//! one coordinator at the same moment so come back spread over the whole time and not in waves.

use std::time::Duration;

use rand::{Rng, RngExt as _};

/// The waits of one who tries again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    tries: u32,
}

impl Backoff {
    /// Waits of up to `first` at the beginning and never more than `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, tries: 0 }
    }

    /// The longest the next wait may be.
    pub fn ceiling(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.tries).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.longest)
    }

    /// The next wait.
    pub fn next(&mut self, random: &mut impl Rng) -> Duration {
        let wait = self.ceiling().mul_f64(random.random::<f64>());
        self.tries = self.tries.saturating_add(1);
        wait
    }

    /// How often has been waited since the beginning or the last [`Backoff::reset`].
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// Begins again with short waits: it worked.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    proptest! {
        #[test]
        fn waits_stay_below_a_ceiling_that_doubles_up_to_the_longest(
            first in 1_u64..10_000, longest in 1_u64..1_000_000, seed in any::<u64>(),
        ) {
            let (first, longest) = (Duration::from_millis(first), Duration::from_millis(longest));
            let mut random = StdRng::seed_from_u64(seed);
            let mut backoff = Backoff::new(first, longest);
            let mut ceiling = first.min(longest);
            for _ in 0..80 {
                prop_assert_eq!(backoff.ceiling(), ceiling);
                let wait = backoff.next(&mut random);
                prop_assert!(wait <= ceiling, "{:?} above {:?}", wait, ceiling);
                ceiling = (ceiling * 2).min(longest);
            }
            backoff.reset();
            prop_assert_eq!(backoff, Backoff::new(first, longest));
        }

        #[test]
        fn the_jitter_is_full(seed in any::<u64>()) {
            const WAITS: u32 = 400;
            let mut random = StdRng::seed_from_u64(seed);
            let second = Duration::from_secs(1);
            let waits: Vec<Duration> =
                (0..WAITS).map(|_| Backoff::new(second, second).next(&mut random)).collect();
            // Of 400 even draws fewer than 50 in a quarter is seven standard deviations away.
            for quarter in 0..4_u128 {
                let inside = waits.iter().filter(|wait| wait.as_millis() / 250 == quarter).count();
                prop_assert!(inside >= 50, "{} of {} in quarter {}", inside, WAITS, quarter);
            }
        }
    }

    #[test]
    fn no_number_of_tries_overflows() {
        let backoff = Backoff { tries: u32::MAX, ..Backoff::new(Duration::MAX, Duration::MAX) };
        assert_eq!(backoff.ceiling(), Duration::MAX);
    }
}
