//! Which sequence numbers a decoder has seen, by sequence space, until somebody takes the reports.
//!
//! | protocol    | space                                        | a datagram covers                             |
//! |-------------|----------------------------------------------|-----------------------------------------------|
//! | NetFlow v5  | zone, address, port, engine                  | `count` flows                                 |
//! | NetFlow v9  | zone, address, port, source id               | itself (RFC 3954 5.1)                         |
//! | IPFIX       | zone, address, port, observation domain      | its data records (RFC 7011 3.1)               |
//! | sFlow       | zone, agent, sub-agent                       | itself; each flow sample counts in its source |
//!
//! Invariants:
//! - Spaces are bounded by [`MAX_SPACES`]; what comes beyond is counted as untracked. A space that is idle makes room.
//! - Ranges are bounded, whatever gaps strangers make: what comes in one interval by [`MAX_RANGES_IN_ALL`], beyond which only spaces
//!   with few have more, and what is kept from one to the next by [`KEPT_OCTETS`].
//! - In the common case a note is one look-up and one addition, and allocates nothing.

use std::collections::HashMap;
use std::net::IpAddr;

use catchment_sequence::{SpaceReport, Tracker, Unit};

use crate::datagram::ZoneId;
use crate::numbering::Numbering;

/// Spaces of one decoder. Each takes some hundred octets, and spoofed datagrams can ask for any number.
const MAX_SPACES: usize = 16_384;

/// Ranges in one report of one space: what a node behind a random spreader sees of 8,192 datagrams.
const MAX_RANGES: u32 = 8192;

/// Ranges of all spaces between two reports: as many as wait for whoever accounts for them.
const MAX_RANGES_IN_ALL: usize = 1 << 18;

/// Ranges that a space may have where those are used up.
const FEW_RANGES: usize = 16;

/// Octets of the ranges that trackers keep between reports, to tell late numbers from repeated ones, with their room.
const KEPT_OCTETS: usize = 8 << 20;

/// Reports in a row without a number after which a space is forgotten.
const IDLE_REPORTS: u16 = 900;
/// The same where others found no room since the last report.
const IDLE_REPORTS_WHEN_FULL: u16 = 60;

/// Places remembered without hashing properly; a power of two.
const RECENT: usize = 1024;

/// Version that stands for sFlow version 5, as NetFlow has a version 5 too.
pub const SFLOW_VERSION: u16 = 6343;

/// One counter of one exporter, as a decoder names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceKey {
    /// Zone of the listener.
    pub zone: ZoneId,
    /// Exporter's address; sFlow: the agent's.
    pub exporter: IpAddr,
    /// UDP source port; 0 for sFlow.
    pub port: u16,
    /// 5, 7, 9, 10, or [`SFLOW_VERSION`].
    pub version: u16,
    /// Engine, source id, observation domain, sub-agent.
    pub domain: u32,
    /// sFlow: data source of a sample sequence (class in the upper 8 bits); `None` for datagrams.
    pub data_source: Option<u32>,
}

impl SequenceKey {
    /// Where [`Sequences::recent`] remembers this space. Anybody can make spaces that share a slot: all it costs is a look-up.
    #[inline]
    fn slot(&self) -> usize {
        let address = match self.exporter {
            IpAddr::V4(address) => u64::from(u32::from(address)),
            IpAddr::V6(address) => {
                let address = u128::from(address);
                (address >> 64) as u64 ^ address as u64
            }
        };
        let source = self.data_source.map_or(0, |source| u64::from(source) + 1);
        let mixed = address ^ u64::from(self.domain) << 32 ^ u64::from(self.port) << 16 ^ source << 24;
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - RECENT.trailing_zeros())) as usize
    }

    /// How numbers of this space count.
    pub fn unit(&self) -> Unit {
        match (self.version, self.data_source) {
            (_, Some(_)) => Unit::Samples,
            (5 | 7, None) => Unit::Flows,
            (10, None) => Unit::DataRecords,
            (_, None) => Unit::Datagrams,
        }
    }
}

/// How many numbers a datagram covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Covers {
    /// So many.
    Known(u32),
    /// Some: a part of the datagram could not be decoded yet, or not at all.
    Unknown,
}

/// Trackers of all spaces of one decoder.
#[derive(Debug)]
pub(crate) struct Sequences {
    places: HashMap<SequenceKey, usize>,
    entries: Vec<Entry>,
    /// Where spaces noted lately are in `entries`, by [`SequenceKey::slot`]; may be wrong, so the key is compared.
    recent: Box<[u32; RECENT]>,
    /// Reports that had to be taken early, lest ranges be left out.
    early: Vec<(SequenceKey, SpaceReport)>,
    /// Ranges that have come since the last report.
    ranges: usize,
    untracked: u64,
    /// How many these were at the last report.
    untracked_before: u64,
}

/// The sample numbers of one sFlow datagram. Samples of one data source follow each other, mostly, and are noted at once.
pub(crate) struct SampleNumbers {
    /// The datagram's own space.
    datagram: SequenceKey,
    data_source: u32,
    first: u32,
    /// 0: nothing is to be noted.
    count: u32,
}

impl SampleNumbers {
    pub(crate) fn of(datagram: SequenceKey) -> Self {
        Self { datagram, data_source: 0, first: 0, count: 0 }
    }

    /// Notes a sample, at once or with those that follow.
    #[inline]
    pub(crate) fn note(&mut self, sequences: &mut Sequences, data_source: u32, sequence: u32) {
        if self.count > 0
            && self.data_source == data_source
            && self.first.wrapping_add(self.count) == sequence
        {
            self.count += 1;
            return;
        }
        self.finish(sequences);
        (self.data_source, self.first, self.count) = (data_source, sequence, 1);
    }

    /// Notes what is left.
    pub(crate) fn finish(&mut self, sequences: &mut Sequences) {
        let count = std::mem::take(&mut self.count);
        if count > 0 {
            let key = SequenceKey { data_source: Some(self.data_source), ..self.datagram };
            sequences.note(key, self.first, Covers::Known(count));
        }
    }
}

#[derive(Debug)]
struct Entry {
    key: SequenceKey,
    tracker: Tracker,
    /// Where records are counted.
    numbering: Option<Numbering>,
    idle: u16,
}

impl Default for Sequences {
    fn default() -> Self {
        Self {
            places: HashMap::new(),
            entries: Vec::new(),
            recent: Box::new([0; RECENT]),
            early: Vec::new(),
            ranges: 0,
            untracked: 0,
            untracked_before: 0,
        }
    }
}

impl Sequences {
    /// Notes what a datagram (or sample) covers.
    #[inline]
    pub(crate) fn note(&mut self, key: SequenceKey, sequence: u32, covers: Covers) {
        let slot = key.slot();
        let recent = self.recent[slot] as usize;
        let at = match self.entries.get(recent) {
            Some(entry) if entry.key == key => recent,
            _ => {
                let Some(at) = self.place(key) else { return };
                self.recent[slot] = at as u32;
                at
            }
        };
        self.in_bounds(at, |tracker, numbering| match (numbering, covers) {
            (None, Covers::Known(length)) => tracker.note(sequence, length),
            (None, Covers::Unknown) => tracker.note_unknown(sequence),
            (Some(numbering), Covers::Known(length)) => numbering.note(tracker, sequence, length),
            (Some(numbering), Covers::Unknown) => numbering.note_unknown(tracker, sequence),
        });
        let Some(entry) = self.entries.get_mut(at) else { return };
        if entry.tracker.is_nearly_full() && self.early.len() < MAX_SPACES {
            let report = entry.tracker.take_report();
            self.early.extend(report.map(|report| (key, report)));
        }
    }

    /// A message that was noted as covering an unknown number of records has so many.
    #[cold]
    pub(crate) fn complete(&mut self, key: SequenceKey, sequence: u32, records: u32) {
        let Some(at) = self.place(key) else { return };
        self.in_bounds(at, |tracker, numbering| match numbering {
            Some(numbering) => numbering.complete(tracker, sequence, records),
            None => tracker.fill(sequence, records),
        });
    }

    /// Notes numbers of the space at this place, in the bounds of all spaces.
    #[inline]
    fn in_bounds(&mut self, at: usize, note: impl FnOnce(&mut Tracker, &mut Option<Numbering>)) {
        let Some(entry) = self.entries.get_mut(at) else { return };
        let before = entry.tracker.ranges();
        if self.ranges >= MAX_RANGES_IN_ALL && before >= FEW_RANGES {
            entry.tracker.narrow();
        }
        note(&mut entry.tracker, &mut entry.numbering);
        self.ranges += entry.tracker.ranges().saturating_sub(before);
    }

    fn place(&mut self, key: SequenceKey) -> Option<usize> {
        if let Some(&at) = self.places.get(&key) {
            return Some(at);
        }
        if self.entries.len() >= MAX_SPACES {
            self.untracked += 1;
            return None;
        }
        let numbering = matches!(key.unit(), Unit::Flows | Unit::DataRecords).then(Numbering::default);
        self.entries.push(Entry { key, tracker: Tracker::new(MAX_RANGES), numbering, idle: 0 });
        self.places.insert(key, self.entries.len() - 1);
        Some(self.entries.len() - 1)
    }

    /// Lets the next [`Sequences::take`] hand out everything.
    pub(crate) fn finish(&mut self) {
        for entry in &mut self.entries {
            if let Some(numbering) = &mut entry.numbering {
                numbering.release(&mut entry.tracker);
            }
        }
    }

    /// Hands out what came since the last time, and forgets spaces that have been idle for long.
    pub(crate) fn take(&mut self, mut each: impl FnMut(&SequenceKey, SpaceReport)) {
        for (key, report) in self.early.drain(..) {
            each(&key, report);
        }
        self.early.shrink_to(FEW_RANGES);
        self.ranges = 0;
        let is_full = self.untracked > std::mem::replace(&mut self.untracked_before, self.untracked);
        let most_idle = if is_full { IDLE_REPORTS_WHEN_FULL } else { IDLE_REPORTS };
        let mut kept = 0;
        let mut at = 0;
        while let Some(entry) = self.entries.get_mut(at) {
            if let Some(numbering) = &mut entry.numbering {
                numbering.report(&mut entry.tracker);
            }
            if let Some(report) = entry.tracker.take_report() {
                entry.idle = 0;
                each(&entry.key, report);
            } else {
                entry.idle += 1;
            }
            entry.tracker.give_back();
            kept += entry.tracker.octets();
            if entry.idle < most_idle {
                at += 1;
                continue;
            }
            let Entry { key, tracker, .. } = self.entries.swap_remove(at);
            self.places.remove(&key);
            if let Some(moved) = self.entries.get(at) {
                self.places.insert(moved.key, at);
            }
            if let Some(report) = tracker.finish() {
                each(&key, report);
            }
        }
        self.bound_kept(kept);
    }

    /// Forgets what was kept to compare with, first of spaces of which nothing has come, where all spaces keep too much.
    fn bound_kept(&mut self, mut kept: usize) {
        for idle in [1, 0] {
            if kept <= KEPT_OCTETS {
                return;
            }
            for entry in self.entries.iter_mut().filter(|entry| entry.idle >= idle) {
                kept -= entry.tracker.octets();
                entry.tracker.forget();
            }
        }
    }

    /// Notes that found no room, since the decoder was made.
    pub(crate) fn untracked(&self) -> u64 {
        self.untracked
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn key(exporter: u32) -> SequenceKey {
        let exporter = Ipv4Addr::from(exporter).into();
        SequenceKey { zone: ZoneId(0), exporter, port: 7, version: 9, domain: 0, data_source: None }
    }

    fn taken(sequences: &mut Sequences) -> Vec<(SequenceKey, Vec<i64>)> {
        let mut reports = Vec::new();
        sequences.take(|key, report| reports.push((*key, report.pairs)));
        reports
    }

    #[test]
    fn what_came_is_reported_once_and_by_space() {
        let mut sequences = Sequences::default();
        for sequence in [5, 6, 9] {
            sequences.note(key(1), sequence, Covers::Known(1));
            sequences.note(key(2), 10 * sequence, Covers::Known(10));
        }
        assert_eq!(
            taken(&mut sequences),
            [(key(1), vec![0, 2, 2, 1]), (key(2), vec![0, 20, 20, 10])],
            "two of the numbers touch, the third is 2 (20) farther"
        );
        assert_eq!(taken(&mut sequences), []);
    }

    #[test]
    fn samples_that_follow_each_other_are_noted_as_if_each_came_alone() {
        let (mut together, mut alone) = (Sequences::default(), Sequences::default());
        for samples in [&[(3, 7), (3, 8), (3, 9), (4, 1), (3, 10), (3, 12), (3, 12)][..], &[(4, 2)], &[]] {
            let mut numbers = SampleNumbers::of(key(1));
            for &(data_source, sequence) in samples {
                numbers.note(&mut together, data_source, sequence);
                let key = SequenceKey { data_source: Some(data_source), ..key(1) };
                alone.note(key, sequence, Covers::Known(1));
            }
            numbers.finish(&mut together);
        }
        let all = |sequences: &mut Sequences| {
            let mut reports = Vec::new();
            sequences.take(|key, report| reports.push((*key, report)));
            reports
        };
        let (together, alone) = (all(&mut together), all(&mut alone));
        assert_eq!(together, alone);
        assert_eq!(together.len(), 2);
    }

    #[test]
    fn spaces_are_bounded_and_idle_ones_make_room() {
        let mut sequences = Sequences::default();
        for exporter in 0..MAX_SPACES as u32 + 5 {
            sequences.note(key(exporter), 1, Covers::Known(1));
        }
        assert_eq!((sequences.entries.len(), sequences.untracked()), (MAX_SPACES, 5));
        assert_eq!(taken(&mut sequences).len(), MAX_SPACES);
        let mut number = 1;
        for _ in 0..IDLE_REPORTS {
            number += 1;
            sequences.note(key(3), number, Covers::Known(1));
            assert_eq!(taken(&mut sequences).len(), 1);
        }
        assert_eq!((sequences.entries.len(), sequences.places.len()), (1, 1));
        sequences.note(key(3), number + 1, Covers::Known(1));
        sequences.note(key(1 << 20), 1, Covers::Known(1));
        assert_eq!(taken(&mut sequences).len(), 2, "the place of the one that stayed is still right");
    }

    #[test]
    fn spaces_of_strangers_make_room_for_newcomers_within_a_minute() {
        let mut sequences = Sequences::default();
        for exporter in 0..MAX_SPACES as u32 {
            sequences.note(key(exporter), 1, Covers::Known(1));
        }
        for number in 0..u32::from(IDLE_REPORTS_WHEN_FULL) + 2 {
            sequences.note(key(1), 2 + number, Covers::Known(1));
            sequences.note(key(1 << 20), number, Covers::Known(1));
            taken(&mut sequences);
        }
        assert_eq!(sequences.entries.len(), 2, "who goes on and who came");
        assert_eq!(sequences.untracked(), u64::from(IDLE_REPORTS_WHEN_FULL) + 1);
    }

    /// Ranges of the spaces whose reports are not marked as incomplete, and how many spaces are.
    fn complete(sequences: &mut Sequences) -> (usize, usize) {
        let (mut ranges, mut truncated) = (0, 0);
        sequences.take(|_, report| {
            ranges += report.pairs.len() / 2;
            truncated += usize::from(report.truncated);
        });
        (ranges, truncated)
    }

    #[test]
    fn gaps_of_many_spaces_are_bounded_and_those_of_few_gaps_lose_none() {
        let mut sequences = Sequences::default();
        let strangers = 100;
        for number in 0..4000 {
            for stranger in 0..strangers {
                sequences.note(key(1000 + stranger), 2 * number, Covers::Known(1));
            }
            if number % 1000 == 0 {
                sequences.note(key(1), number, Covers::Known(1));
            }
        }
        let octets: usize = sequences.entries.iter().map(|entry| entry.tracker.octets()).sum();
        assert!(octets <= 2 * 8 * MAX_RANGES_IN_ALL, "{octets}");
        let mut reports = Vec::new();
        sequences
            .take(|reported, report| reports.push((*reported, report.pairs.len() / 2, report.truncated)));
        let ranges: usize = reports.iter().map(|(_, ranges, _)| ranges).sum();
        assert!((MAX_RANGES_IN_ALL..=MAX_RANGES_IN_ALL + 200 * FEW_RANGES).contains(&ranges), "{ranges}");
        assert!(reports.contains(&(key(1), 4, false)), "who has few gaps is told of in full");
        assert!(reports.iter().filter(|(.., truncated)| *truncated).count() >= strangers as usize - 1);
        for number in 0..10 {
            sequences.note(key(1000), 20_000 + 2 * number, Covers::Known(1));
        }
        assert_eq!(complete(&mut sequences), (10, 0), "in the next interval there is room again");
    }

    #[test]
    fn what_is_kept_from_one_report_to_the_next_is_bounded() {
        let mut sequences = Sequences::default();
        for round in 0..10 {
            for stranger in 0..50 {
                for number in 0..4000 {
                    sequences.note(key(1000 * round + stranger), 2 * number, Covers::Known(1));
                }
            }
            complete(&mut sequences);
            let octets: usize = sequences.entries.iter().map(|entry| entry.tracker.octets()).sum();
            assert!(octets <= KEPT_OCTETS, "{octets}");
        }
    }

    #[test]
    fn a_full_tracker_is_emptied_early_and_nothing_is_left_out() {
        let mut sequences = Sequences::default();
        for number in 0..3 * MAX_RANGES {
            sequences.note(key(1), 2 * number, Covers::Known(1));
        }
        let mut ranges = 0;
        sequences.take(|_, report| {
            assert!(!report.truncated);
            ranges += report.pairs.len() / 2;
        });
        assert_eq!(ranges, 3 * MAX_RANGES as usize);
    }
}
