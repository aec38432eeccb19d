//! Which of several nodes a datagram goes to: what a load balancer does, in the small.
//!
//! Invariant: a choice depends on the seed and on what was chosen before, never on time, so that a run can be repeated.

use std::net::{IpAddr, SocketAddr};

use clap::ValueEnum;

use crate::identity::mix;
use crate::random::Random;

/// How the datagrams of exporters are shared among targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Spread {
    /// Exporters take the targets in turn, and each stays with its own.
    Exporter,
    /// Each exporter's socket stays with the target that a hash of its address and port gives, as with kube-proxy.
    Flow,
    /// Each datagram goes to any target.
    Random,
    /// Each exporter's datagrams take the targets in turn.
    RoundRobin,
}

/// Chooses among so many targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picker {
    count: u64,
    choice: Choice,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Choice {
    Always(u64),
    Random(Random),
    InTurn { next: u64 },
}

impl Picker {
    /// The choice of one exporter's socket: its number, and the address and port that it sends from. `count` is of
    /// targets and not 0.
    pub fn for_exporter(spread: Spread, count: usize, seed: u64, exporter: u64, source: SocketAddr) -> Self {
        let choice = match spread {
            Spread::Exporter => Choice::Always(exporter),
            Spread::Flow => Choice::Always(flow_hash(seed, source)),
            Spread::Random => Choice::Random(Random::new(seed ^ mix(exporter))),
            Spread::RoundRobin => Choice::InTurn { next: exporter },
        };
        Self { count: count as u64, choice }
    }

    /// A choice that any datagram of anybody goes through.
    pub fn random(count: usize, seed: u64) -> Self {
        Self { count: count as u64, choice: Choice::Random(Random::new(seed)) }
    }

    /// The target of the next datagram, below the count.
    pub fn pick(&mut self) -> usize {
        let number = match &mut self.choice {
            Choice::Always(number) => *number,
            Choice::Random(random) => random.number(),
            Choice::InTurn { next } => {
                *next += 1;
                *next - 1
            }
        };
        (number % self.count) as usize
    }

    /// The one target of all datagrams, where there is only one.
    pub fn always(&self) -> Option<usize> {
        match self.choice {
            Choice::Always(number) => Some((number % self.count) as usize),
            _ if self.count == 1 => Some(0),
            _ => None,
        }
    }
}

/// A number that all datagrams of one source address and port have in common.
pub fn flow_hash(seed: u64, source: SocketAddr) -> u64 {
    let address = match source.ip() {
        IpAddr::V4(address) => mix(address.to_bits().into()),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            mix(mix(bits as u64) ^ (bits >> 64) as u64)
        }
    };
    mix(mix(seed) ^ address ^ u64::from(source.port()) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(spread: Spread, exporters: u64, datagrams: u64) -> Vec<[u64; 4]> {
        (0..exporters)
            .map(|exporter| {
                let source = SocketAddr::from(([127, 1, 0, 1], 40_000 + exporter as u16));
                let mut picker = Picker::for_exporter(spread, 4, 7, exporter, source);
                let mut counts = [0; 4];
                (0..datagrams).for_each(|_| counts[picker.pick()] += 1);
                counts
            })
            .collect()
    }

    #[test]
    fn random_gives_every_target_its_share_of_every_exporter() {
        for counts in counts(Spread::Random, 8, 4_000) {
            assert!(counts.iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
        }
        let other = Picker::random(4, 8);
        let sequence = |mut picker: Picker| (0..64).map(|_| picker.pick()).collect::<Vec<_>>();
        assert_eq!(sequence(other.clone()), sequence(other.clone()));
        assert_ne!(sequence(other), sequence(Picker::random(4, 9)));
    }

    #[test]
    fn flow_keeps_a_socket_at_one_target_and_shares_the_sockets() {
        let counts = counts(Spread::Flow, 400, 3);
        assert!(counts.iter().all(|counts| counts.contains(&3)));
        for target in 0..4 {
            let sockets = counts.iter().filter(|counts| counts[target] == 3).count();
            assert!((60..140).contains(&sockets), "{sockets} of 400 at target {target}");
        }
    }

    #[test]
    fn turns_are_taken_by_exporters_or_by_datagrams() {
        assert_eq!(counts(Spread::Exporter, 2, 3), [[3, 0, 0, 0], [0, 3, 0, 0]]);
        assert_eq!(counts(Spread::RoundRobin, 2, 3), [[1, 1, 1, 0], [0, 1, 1, 1]]);
    }

    #[test]
    fn one_target_takes_everything() {
        let source = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_eq!(Picker::for_exporter(Spread::Random, 1, 1, 1, source).always(), Some(0));
        assert_eq!(Picker::for_exporter(Spread::Random, 2, 1, 1, source).always(), None);
        assert_eq!(Picker::for_exporter(Spread::Exporter, 3, 1, 5, source).always(), Some(2));
    }
}
