//! What a decoder counts, as plain integers that its thread owns.
//!
//! Invariants, checked by [`Statistics::check`] and by every end-to-end test through the node's ledger:
//! `received = decoded + partly_decoded + rejected{reason}` for datagrams, and for data sets
//! `seen + released = decoded + held + rejected{reason}`, from which [`Statistics::settle_pending`], with what the store of
//! waiting sets has counted, makes `seen = decoded + pending + expired + evicted + rejected{reason}`.

use std::ops::{Index, IndexMut};

use crate::error::Reason;
use crate::pending::PendingCounts;
use crate::protocol::Protocol;
use crate::sink::Stream;

/// A count for each [`Reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonCounts([u64; Reason::COUNT]);

impl Default for ReasonCounts {
    fn default() -> Self {
        Self([0; Reason::COUNT])
    }
}

impl ReasonCounts {
    /// Sum over all reasons.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.iter().map(|&reason| (reason, self[reason]))
    }

    fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}

impl Index<Reason> for ReasonCounts {
    type Output = u64;

    fn index(&self, reason: Reason) -> &u64 {
        &self.0[reason as usize]
    }
}

impl IndexMut<Reason> for ReasonCounts {
    fn index_mut(&mut self, reason: Reason) -> &mut u64 {
        &mut self.0[reason as usize]
    }
}

/// Datagrams by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatagramCounts {
    /// Handed to the decoder.
    pub received: u64,
    /// Decoded without loss.
    pub decoded: u64,
    /// Decoded but for at least one set, template or sample.
    pub partly_decoded: u64,
    /// Of which nothing could be used.
    pub rejected: ReasonCounts,
}

/// Data sets (NetFlow v9 and IPFIX) by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetCounts {
    /// Found in messages.
    pub seen: u64,
    /// Decoded, now or after waiting.
    pub decoded: u64,
    /// Had to wait for their template, whatever became of them.
    pub held: u64,
    /// Taken up again because their template came, or to be decoded without a list (RFC 6313).
    pub released: u64,
    /// Waiting for their template. Like the two below 0 in what one decoder counts: a set may be held by one and released
    /// by another, so only the sum of all, settled with the store's counts, says it.
    pub pending: u64,
    /// Given up because they waited too long.
    pub expired: u64,
    /// Given up for lack of room.
    pub evicted: u64,
    /// Damaged, or without a template where nothing holds them.
    pub rejected: ReasonCounts,
}

/// Template records by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TemplateCounts {
    /// Template records that were read, refreshes included.
    pub received: u64,
    /// Of these, new or with another layout than before.
    pub changed: u64,
    /// Withdrawals over UDP: ignored (RFC 7011 8.4).
    pub withdrawn: u64,
    /// Data sets that found source ports in disagreement.
    pub conflicts: u64,
}

/// Everything one decoder has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Datagrams.
    pub datagrams: DatagramCounts,
    /// Datagrams received by protocol, without those of no known protocol.
    pub protocols: [u64; Protocol::COUNT],
    /// Datagrams and samples whose sequence number found no room, as of the last time that sequence numbers were taken: what
    /// their exporters lost is not known.
    pub sequences_untracked: u64,
    /// Data sets.
    pub sets: SetCounts,
    /// Templates.
    pub templates: TemplateCounts,
    /// Damage of any kind, each occurrence: sets, templates, samples, whole datagrams.
    pub malformed: ReasonCounts,
    /// Names and sampling rates of options data for which their domain had no room, each time that they came.
    pub options_left_out: u64,
    /// Records written, by stream (also where the stream's output is off).
    pub records: [u64; Stream::COUNT],
}

impl Statistics {
    /// Adds what another decoder counted.
    pub fn add(&mut self, other: &Self) {
        let (a, b) = (&mut self.datagrams, &other.datagrams);
        a.received += b.received;
        a.decoded += b.decoded;
        a.partly_decoded += b.partly_decoded;
        a.rejected.add(&b.rejected);
        self.sequences_untracked += other.sequences_untracked;
        let (a, b) = (&mut self.sets, &other.sets);
        a.seen += b.seen;
        a.decoded += b.decoded;
        a.held += b.held;
        a.released += b.released;
        a.pending += b.pending;
        a.expired += b.expired;
        a.evicted += b.evicted;
        a.rejected.add(&b.rejected);
        let (a, b) = (&mut self.templates, &other.templates);
        a.received += b.received;
        a.changed += b.changed;
        a.withdrawn += b.withdrawn;
        a.conflicts += b.conflicts;
        self.malformed.add(&other.malformed);
        self.options_left_out += other.options_left_out;
        for (mine, theirs) in self.protocols.iter_mut().zip(other.protocols) {
            *mine += theirs;
        }
        for (mine, theirs) in self.records.iter_mut().zip(other.records) {
            *mine += theirs;
        }
    }

    /// Counts datagrams that were read but not handed to the decoder, for the same `reason`.
    pub fn reject_unseen(&mut self, reason: Reason, datagrams: u64) {
        self.datagrams.received += datagrams;
        self.datagrams.rejected[reason] += datagrams;
    }

    /// Settles the account after a panic of the decoder: `abandoned` datagrams in all were lost that way, and the set it
    /// happened in, if any, was neither decoded nor rejected.
    pub fn settle_panic(&mut self, abandoned: u64) {
        self.datagrams.rejected[Reason::Panicked] = abandoned;
        self.malformed[Reason::Panicked] = abandoned;
        let datagrams = &mut self.datagrams;
        datagrams.received = datagrams.decoded + datagrams.partly_decoded + datagrams.rejected.total();
        let sets = &mut self.sets;
        let settled = sets.decoded + sets.held + sets.rejected.total();
        sets.rejected[Reason::Panicked] += (sets.seen + sets.released).saturating_sub(settled);
    }

    /// Adds what the store of waiting sets says. `self` is the sum of all decoders of that store, whose counts were read
    /// before `pending`: what a decoder has held since is then seen and pending, and the sums hold at any moment.
    pub fn settle_pending(&mut self, pending: &PendingCounts) {
        let sets = &mut self.sets;
        sets.seen = (sets.seen + pending.held).saturating_sub(sets.held);
        sets.held = pending.held;
        (sets.expired, sets.evicted) = (pending.expired, pending.evicted);
        sets.pending = sets.held.saturating_sub(sets.released + sets.expired + sets.evicted);
    }

    /// Whether the sums of the module's invariants hold.
    pub fn check(&self) -> bool {
        let (datagrams, sets) = (&self.datagrams, &self.sets);
        datagrams.received == datagrams.decoded + datagrams.partly_decoded + datagrams.rejected.total()
            && sets.seen + sets.released == sets.decoded + sets.held + sets.rejected.total()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_leaves_a_balanced_account() {
        let mut statistics = Statistics::default();
        statistics.datagrams.received = 5;
        statistics.datagrams.decoded = 4;
        statistics.sets.seen = 3;
        statistics.sets.decoded = 2;
        assert!(!statistics.check());
        statistics.settle_panic(7);
        assert!(statistics.check());
        assert_eq!((statistics.datagrams.received, statistics.datagrams.rejected[Reason::Panicked]), (11, 7));
        assert_eq!(statistics.sets.rejected[Reason::Panicked], 1);
    }

    #[test]
    fn a_panic_over_a_set_that_had_waited_rejects_it() {
        let mut statistics = Statistics::default();
        statistics.sets.seen = 3;
        statistics.sets.held = 3;
        statistics.sets.released = 2;
        statistics.sets.decoded = 1;
        statistics.settle_panic(0);
        assert!(statistics.check());
        assert_eq!(statistics.sets.rejected[Reason::Panicked], 1);
    }

    /// One decoder holds, another releases, and neither reports at the same moment as the other.
    #[test]
    fn what_waits_is_in_the_sums_whoever_has_reported() {
        let mut releaser = Statistics::default();
        releaser.sets.released = 2;
        releaser.sets.decoded = 2;
        let counts = PendingCounts { held: 9, expired: 1, evicted: 2, bytes: 0 };
        for reported in [0, 5, 9] {
            let mut sum = releaser;
            let mut holder = Statistics::default();
            (holder.sets.seen, holder.sets.held) = (reported, reported);
            sum.add(&holder);
            sum.settle_pending(&counts);
            let sets = &sum.sets;
            assert_eq!((sets.seen, sets.decoded, sets.pending, sets.expired, sets.evicted), (9, 2, 4, 1, 2));
            assert!(sum.check());
        }
    }
}
