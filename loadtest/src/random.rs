//! Random numbers that a seed repeats (SplitMix64).

use crate::identity::mix;

/// A sequence of numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self { state: mix(seed) }
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(1);
        mix(self.state)
    }

    /// The next number, below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // Of the high bits; the bias of so few values among 2^64 is nothing.
        ((u128::from(self.number()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_repeat_with_their_seed_and_cover_their_range() {
        let sequence = |seed| {
            let mut random = Random::new(seed);
            (0..600).map(|_| random.below(6)).collect::<Vec<_>>()
        };
        assert_eq!(sequence(1), sequence(1));
        assert_ne!(sequence(1), sequence(2));
        for face in 0..6 {
            let count = sequence(1).iter().filter(|number| **number == face).count();
            assert!((60..140).contains(&count), "{face}: {count}");
        }
    }
}
