//! What one tracker received since its last report, as it goes over the wire (`SequenceRanges` in session.proto).
//!
//! ```text
//! base 1000, pairs (0, 3) (1, 2) (-8, 1)          numbers 1000 1001 1002 . 1004 1005 ... and 998
//!             |  |
//!             |  length of the range; 0 is a place whose length is not known
//!             distance from the end of the range before it (the first: from base)
//! ```
//!
//! `restarts` are indexes of the ranges that came first after a restart of the counter.

/// Ranges of one space from one tracker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpaceReport {
    /// Where the first distance counts from.
    pub base: u32,
    /// Distance, length, distance, length, ...
    pub pairs: Vec<i64>,
    /// Indexes of ranges (not of pairs' halves) before which the counter restarted, ascending.
    pub restarts: Vec<u32>,
    /// Numbers that came below a higher one, and were not there yet.
    pub reordered: u64,
    /// Numbers that came again.
    pub repeated: u64,
    /// Numbers of which nothing can be told.
    pub stray: u64,
    /// Whether ranges were left out for want of room.
    pub truncated: bool,
}

/// One range of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Where it begins, counted from the first number of its stretch between two restarts.
    pub offset: i64,
    /// Its first number.
    pub number: u32,
    /// How many numbers; 0: not known.
    pub length: u32,
    /// Whether the counter restarted before it.
    pub restart: bool,
}

/// Why ranges are not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportError {
    /// A distance without a length.
    HalfPair,
    /// More ranges than allowed.
    TooMany {
        /// How many there are.
        ranges: usize,
        /// How many may be.
        limit: usize,
    },
    /// A length or distance that no tracker reports.
    OutOfBounds {
        /// Index of the range.
        index: usize,
        /// The distance.
        distance: i64,
        /// The length.
        length: i64,
    },
    /// Restarts that do not ascend, or point behind the ranges.
    Restarts,
}

impl std::fmt::Display for ReportError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::HalfPair => write!(f, "the last range has a distance and no length"),
            Self::TooMany { ranges, limit } => write!(f, "{ranges} ranges of one space, {limit} are allowed"),
            Self::OutOfBounds { index, distance, length } => {
                write!(f, "range {index}: distance {distance} or length {length} is not possible")
            }
            Self::Restarts => write!(f, "the restarts do not ascend, or point behind the last range"),
        }
    }
}

impl std::error::Error for ReportError {}

impl SpaceReport {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
            && self.restarts.is_empty()
            && self.reordered == 0
            && self.repeated == 0
            && self.stray == 0
            && !self.truncated
    }

    /// Appends a range; `end` is the number behind the range before it.
    pub(crate) fn push(&mut self, number: u32, length: u32, end: &mut Option<u32>) {
        let before = *end.get_or_insert_with(|| {
            self.base = number;
            number
        });
        self.pairs.push(i64::from(number.wrapping_sub(before).cast_signed()));
        self.pairs.push(i64::from(length));
        *end = Some(number.wrapping_add(length));
    }

    /// Checks all of it, then gives its ranges one by one.
    ///
    /// # Errors
    ///
    /// What is not valid; nothing of such a report is to be used.
    pub fn ranges(&self, limit: usize) -> Result<Ranges<'_>, ReportError> {
        if !self.pairs.len().is_multiple_of(2) {
            return Err(ReportError::HalfPair);
        }
        let ranges = self.pairs.len() / 2;
        if ranges > limit {
            return Err(ReportError::TooMany { ranges, limit });
        }
        let ascend = self.restarts.windows(2).all(|two| two[0] < two[1]);
        if !ascend || self.restarts.last().is_some_and(|&at| at as usize >= ranges) {
            return Err(ReportError::Restarts);
        }
        for (index, pair) in self.pairs.chunks_exact(2).enumerate() {
            let (distance, length) = (pair[0], pair[1]);
            if i32::try_from(distance).is_err() || !(0..1 << 31).contains(&length) {
                return Err(ReportError::OutOfBounds { index, distance, length });
            }
        }
        Ok(Ranges { report: self, next: 0, number: self.base, offset: 0, restarts: 0 })
    }
}

/// The ranges of a report that has been checked.
#[derive(Clone, Debug)]
pub struct Ranges<'a> {
    report: &'a SpaceReport,
    next: usize,
    number: u32,
    offset: i64,
    restarts: usize,
}

impl Iterator for Ranges<'_> {
    type Item = Range;

    fn next(&mut self) -> Option<Range> {
        let pair = self.report.pairs.get(2 * self.next..2 * self.next + 2)?;
        let (distance, length) = (pair[0], u32::try_from(pair[1]).unwrap_or(0));
        let restart = self.report.restarts.get(self.restarts).is_some_and(|&at| at as usize == self.next);
        self.restarts += usize::from(restart);
        // The lower 32 bits are what is meant: numbers wrap.
        self.number = self.number.wrapping_add(distance as u32);
        self.offset = if restart { 0 } else { self.offset + distance };
        let range = Range { offset: self.offset, number: self.number, length, restart };
        self.number = self.number.wrapping_add(length);
        self.offset += i64::from(length);
        self.next += 1;
        Some(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_their_distances_over_the_wrap_and_over_restarts() {
        let mut report = SpaceReport::default();
        let mut end = None;
        report.push(u32::MAX - 1, 4, &mut end);
        report.push(5, 1, &mut end);
        report.push(1, 2, &mut end);
        report.restarts.push(3);
        report.push(70_000, 1, &mut end);
        assert_eq!(report.base, u32::MAX - 1);
        assert_eq!(report.pairs, [0, 4, 3, 1, -5, 2, 69_997, 1]);
        let ranges: Vec<_> =
            report.ranges(10).unwrap().map(|r| (r.number, r.length, r.offset, r.restart)).collect();
        assert_eq!(
            ranges,
            [(u32::MAX - 1, 4, 0, false), (5, 1, 7, false), (1, 2, 3, false), (70_000, 1, 0, true)]
        );
    }

    #[test]
    fn what_no_tracker_reports_is_refused() {
        let of = |pairs: &[i64], restarts: &[u32]| {
            let report =
                SpaceReport { pairs: pairs.to_vec(), restarts: restarts.to_vec(), ..SpaceReport::default() };
            report.ranges(2).err()
        };
        assert_eq!(of(&[1], &[]), Some(ReportError::HalfPair));
        assert_eq!(of(&[1; 6], &[]), Some(ReportError::TooMany { ranges: 3, limit: 2 }));
        assert_eq!(
            of(&[1 << 31, 1], &[]),
            Some(ReportError::OutOfBounds { index: 0, distance: 1 << 31, length: 1 })
        );
        assert_eq!(of(&[-(1 << 31), 1], &[0]), None);
        assert_eq!(of(&[0, -1], &[]), Some(ReportError::OutOfBounds { index: 0, distance: 0, length: -1 }));
        assert_eq!(of(&[0, 1], &[1]), Some(ReportError::Restarts));
        assert_eq!(of(&[0, 1, 0, 1], &[1, 1]), Some(ReportError::Restarts));
    }
}
