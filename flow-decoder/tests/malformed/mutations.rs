//! Datagrams of real exporters with octets changed, cut, doubled and joined: nothing panics, the sums hold, and what is
//! written stays in proportion to what was read.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::capture;
use crate::rig::Rig;

/// Octets written for an octet read, at most. An options element of one octet is written with its name and value, a flow
/// record of one octet with what all records of its datagram share.
const FACTOR: usize = 256;
/// Octets written beside that: the first record of a datagram.
const CONSTANT: usize = 1024;

/// A few datagrams of each capture, templates among them.
static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut seeds = Vec::new();
    for path in capture::own().iter().chain(capture::shared().iter().flatten()) {
        seeds.extend(capture::read(path).into_iter().take(4).map(|captured| captured.payload));
    }
    seeds
});

#[derive(Clone, Debug)]
enum Mutation {
    Flip(Index, u8),
    Set(Index, u8),
    Set16(Index, u16),
    Cut(Index),
    Drop(Index, usize),
    Double(Index, usize),
    Splice(Index, Index, Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<Index>;
    let edge = || prop::sample::select(&[0u16, 1, 3, 4, 255, 256, 32_767, 32_768, 65_534, 65_535][..]);
    prop_oneof![
        4 => (at(), 0u8..8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        2 => (at(), any::<u8>()).prop_map(|(at, value)| Mutation::Set(at, value)),
        4 => (at(), edge()).prop_map(|(at, value)| Mutation::Set16(at, value)),
        1 => at().prop_map(Mutation::Cut),
        1 => (at(), 1usize..64).prop_map(|(at, len)| Mutation::Drop(at, len)),
        1 => (at(), 1usize..64).prop_map(|(at, len)| Mutation::Double(at, len)),
        1 => (at(), at(), at()).prop_map(|(at, other, from)| Mutation::Splice(at, other, from)),
    ]
}

impl Mutation {
    fn apply(&self, payload: &mut Vec<u8>) {
        if payload.is_empty() {
            return;
        }
        let len = payload.len();
        match self {
            Self::Flip(at, bit) => payload[at.index(len)] ^= 1 << bit,
            Self::Set(at, value) => payload[at.index(len)] = *value,
            Self::Set16(at, value) => {
                let at = at.index(len);
                payload.iter_mut().skip(at).zip(value.to_be_bytes()).for_each(|(octet, new)| *octet = new);
            }
            Self::Cut(at) => payload.truncate(at.index(len)),
            Self::Drop(at, count) => {
                let at = at.index(len);
                payload.drain(at..len.min(at + count));
            }
            Self::Double(at, count) => {
                let at = at.index(len);
                let again = payload[at..len.min(at + count)].to_vec();
                payload.splice(at..at, again);
            }
            Self::Splice(at, other, from) => {
                let other = &SEEDS[other.index(SEEDS.len())];
                payload.truncate(at.index(len));
                payload.extend_from_slice(&other[from.index(other.len().max(1))..]);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_datagrams_never_panic_and_stay_in_proportion(
        chosen in prop::collection::vec((any::<Index>(), prop::collection::vec(mutation(), 0..6)), 1..6),
    ) {
        let mut rig = Rig::new();
        for (seed, mutations) in &chosen {
            // The datagram as it was first, so that its templates are known to the damaged one.
            let mut payload = SEEDS[seed.index(SEEDS.len())].clone();
            rig.take(&payload);
            mutations.iter().for_each(|mutation| mutation.apply(&mut payload));
            rig.kept.clear();
            rig.take(&payload);
            let written = rig.kept.len();
            prop_assert!(written <= FACTOR * payload.len() + CONSTANT, "{} of {}", written, payload.len());
        }
    }

    #[test]
    fn octets_at_random_never_panic(version in 0u8..12, octets in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut rig = Rig::new();
        rig.take([&[0, version][..], &octets].concat());
        prop_assert!(rig.kept.len() <= FACTOR * octets.len() + CONSTANT);
    }
}
