//! The identity of a generated record: a bijection between (exporter, record number) and 56 bits that travel in
//! ordinary fields, so that a consumer can tell from the record alone which one it is.
//!
//! ```text
//! identity, 56 bits = permute(exporter << 40 | number)
//!   bits  0..24   low 24 bits of the source address        10.x.y.z or 2001:db8:0:1::xx:yyzz
//!   bits 24..48   low 24 bits of the destination address   10.x.y.z or 2001:db8:0:2::xx:yyzz
//!   bits 48..56   low 8 bits of the source port            49152 and up
//! ```
//!
//! The permutation is keyed by the seed and spreads consecutive numbers over all addresses, as traffic would.
//! Invariant: [`Identities::number_of`] undoes [`Identities::identity_of`] for every pair within the limits.

/// Bits of a record number.
pub const NUMBER_BITS: u32 = 40;
/// Exporters that an identity can tell apart.
pub const MAX_EXPORTERS: u32 = 1 << (BITS - NUMBER_BITS);

const BITS: u32 = 56;
const MASK: u64 = (1 << BITS) - 1;
const HALF: u32 = BITS / 2;
/// Odd, so invertible modulo 2^56.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15 & MASK;
const INVERSE: u64 = inverse_of(MULTIPLIER);

/// Maps record numbers to identities and back, for one seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identities {
    key: u64,
}

impl Identities {
    /// The mapping of this seed.
    pub fn new(seed: u64) -> Self {
        Self { key: mix(seed) & MASK }
    }

    /// The identity of record `number` of exporter `exporter`.
    pub fn identity_of(self, exporter: u32, number: u64) -> u64 {
        debug_assert!(exporter < MAX_EXPORTERS && number < 1 << NUMBER_BITS);
        let plain = u64::from(exporter) << NUMBER_BITS | number;
        let once = fold((plain ^ self.key).wrapping_mul(MULTIPLIER) & MASK);
        fold(once.wrapping_mul(MULTIPLIER) & MASK)
    }

    /// The exporter and record number of an identity.
    pub fn number_of(self, identity: u64) -> (u32, u64) {
        let once = fold(identity & MASK).wrapping_mul(INVERSE) & MASK;
        let plain = (fold(once).wrapping_mul(INVERSE) & MASK) ^ self.key;
        ((plain >> NUMBER_BITS) as u32, plain & ((1 << NUMBER_BITS) - 1))
    }
}

/// Its own inverse, because the shift is half of the width.
fn fold(value: u64) -> u64 {
    value ^ (value >> HALF)
}

/// Newton's iteration: each step doubles the number of correct low bits.
const fn inverse_of(odd: u64) -> u64 {
    let mut inverse = odd;
    let mut step = 0;
    while step < 5 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
        step += 1;
    }
    inverse & MASK
}

/// SplitMix64's finaliser: every bit of the input reaches every bit of the output.
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_multiplier_has_an_inverse() {
        assert_eq!(MULTIPLIER.wrapping_mul(INVERSE) & MASK, 1);
    }

    proptest! {
        #[test]
        fn an_identity_leads_back_to_its_record(seed: u64, exporter in 0..MAX_EXPORTERS, number in 0u64..1 << NUMBER_BITS) {
            let identities = Identities::new(seed);
            prop_assert_eq!(identities.number_of(identities.identity_of(exporter, number)), (exporter, number));
        }

        #[test]
        fn an_identity_fits_its_bits(seed: u64, exporter in 0..MAX_EXPORTERS, number in 0u64..1 << NUMBER_BITS) {
            prop_assert!(Identities::new(seed).identity_of(exporter, number) <= MASK);
        }
    }
}
