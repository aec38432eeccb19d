//! Reports of the sequence numbers that came, kept until a coordinator has taken them: encoded, which takes a tenth of the memory.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use catchment_proto::cluster::v1::{SequenceRanges, SequenceReport, SequenceSpace, SequenceUnit};
use catchment_sequence::Unit;
use prost::Message as _;

use super::counters::add;
use crate::control::messages::octets;
use crate::node::Node;
use crate::source::Numbered;

/// Octets of one report, below what a message may have.
const REPORT: usize = 2 << 20;
/// Octets of all reports that nobody has acknowledged. Beyond it the oldest are given up; the coordinator sees it by their numbers.
const KEPT: usize = 16 << 20;

/// Where sequence numbers are noted.
pub(super) trait SequenceSource {
    /// Which numbers came since the last call, by sequence space.
    fn take(&self) -> Vec<SequenceRanges>;

    /// Datagrams that the node lost itself since it started: kernel drops, not read while paused.
    fn lost_here(&self) -> u64;
}

impl SequenceSource for Node {
    fn take(&self) -> Vec<SequenceRanges> {
        self.take_numbers().into_iter().map(message).collect()
    }

    fn lost_here(&self) -> u64 {
        Node::lost_here(self)
    }
}

fn message(numbered: Numbered) -> SequenceRanges {
    let Numbered { space, worker, report } = numbered;
    let unit = match space.unit {
        Unit::Datagrams => SequenceUnit::Datagrams,
        Unit::Flows => SequenceUnit::Flows,
        Unit::DataRecords => SequenceUnit::DataRecords,
        Unit::Samples => SequenceUnit::Samples,
    };
    let space = SequenceSpace {
        zone: space.zone.into_string(),
        exporter: octets(space.exporter),
        port: u32::from(space.port),
        version: u32::from(space.version),
        domain: space.domain,
        data_source: space.data_source,
        unit: unit.into(),
    };
    SequenceRanges {
        space: Some(space),
        ranges: report.pairs,
        base: report.base,
        reordered: report.reordered,
        repeated_numbers: report.repeated,
        resets: report.restarts.len() as u64,
        truncated: report.truncated,
        restarts: report.restarts,
        stray_numbers: report.stray,
        thread: worker,
    }
}

/// Reports that wait for their acknowledgement.
#[derive(Debug, Default)]
pub(super) struct Reports {
    last: u64,
    until_ns: u64,
    lost_here: u64,
    kept: VecDeque<Kept>,
    octets: usize,
}

/// A report as it goes over the wire.
#[derive(Debug)]
struct Kept {
    number: u64,
    encoded: Box<[u8]>,
}

impl Kept {
    fn report(&self) -> SequenceReport {
        // It was encoded here.
        SequenceReport::decode(&*self.encoded).unwrap_or_default()
    }
}

impl Reports {
    /// Makes the next reports of what a source has noted; gives how many.
    pub(super) fn gather(&mut self, source: &dyn SequenceSource, given_up: &AtomicU64) -> usize {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let lost_here = source.lost_here();
        let mut report = self.begin(now);
        report.lost_here = lost_here.saturating_sub(self.lost_here);
        self.lost_here = lost_here;
        let (mut octets, mut reports) = (0, 1);
        for ranges in source.take() {
            octets += ranges.encoded_len();
            if octets > REPORT && !report.spaces.is_empty() {
                octets = ranges.encoded_len();
                let next = self.begin(now);
                self.keep(&std::mem::replace(&mut report, next), given_up);
                reports += 1;
            }
            report.spaces.push(ranges);
        }
        self.keep(&report, given_up);
        self.until_ns = now;
        reports
    }

    fn begin(&mut self, now: u64) -> SequenceReport {
        self.last += 1;
        let from_ns = if self.until_ns == 0 { now } else { self.until_ns };
        SequenceReport { number: self.last, from_ns, to_ns: now, ..SequenceReport::default() }
    }

    fn keep(&mut self, report: &SequenceReport, given_up: &AtomicU64) {
        let kept = Kept { number: report.number, encoded: report.encode_to_vec().into() };
        self.octets += kept.encoded.len();
        self.kept.push_back(kept);
        while self.octets > KEPT
            && self.kept.len() > 1
            && let Some(oldest) = self.kept.pop_front()
        {
            self.octets -= oldest.encoded.len();
            add(given_up, 1);
        }
    }

    /// All that nobody has acknowledged, in their order.
    pub(super) fn unacknowledged(&self) -> impl Iterator<Item = SequenceReport> {
        self.kept.iter().map(Kept::report)
    }

    /// The last reports.
    pub(super) fn latest(&self, count: usize) -> impl Iterator<Item = SequenceReport> {
        self.kept.iter().skip(self.kept.len().saturating_sub(count)).map(Kept::report)
    }

    /// A coordinator has taken all reports up to this one.
    pub(super) fn acknowledged(&mut self, number: u64) {
        while let Some(kept) = self.kept.front()
            && kept.number <= number
        {
            self.octets -= kept.encoded.len();
            self.kept.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::Ordering;

    use super::*;

    #[derive(Default)]
    struct Noted(Mutex<(Vec<SequenceRanges>, u64)>);

    impl SequenceSource for Noted {
        fn take(&self) -> Vec<SequenceRanges> {
            std::mem::take(&mut self.0.lock().unwrap().0)
        }

        fn lost_here(&self) -> u64 {
            self.0.lock().unwrap().1
        }
    }

    fn ranges(pairs: usize) -> SequenceRanges {
        SequenceRanges { ranges: vec![1; 2 * pairs], ..SequenceRanges::default() }
    }

    fn numbers(reports: impl Iterator<Item = SequenceReport>) -> Vec<u64> {
        reports.map(|report| report.number).collect()
    }

    #[test]
    fn reports_follow_each_other_until_they_are_acknowledged() {
        let (noted, given_up) = (Noted::default(), AtomicU64::new(0));
        let mut reports = Reports::default();
        *noted.0.lock().unwrap() = (vec![ranges(3)], 10);
        assert_eq!(reports.gather(&noted, &given_up), 1);
        noted.0.lock().unwrap().1 = 15;
        assert_eq!(reports.gather(&noted, &given_up), 1, "also where nothing came");
        let kept: Vec<_> = reports.unacknowledged().collect();
        assert_eq!((kept[0].lost_here, kept[0].spaces.len(), kept[1].lost_here), (10, 1, 5));
        assert_eq!(kept[0].to_ns, kept[1].from_ns);
        assert_eq!(numbers(reports.latest(1)), [2]);
        reports.acknowledged(1);
        assert_eq!(numbers(reports.unacknowledged()), [2]);
        reports.acknowledged(9);
        assert_eq!((numbers(reports.unacknowledged()), reports.octets), (vec![], 0));
    }

    #[test]
    fn large_reports_are_divided_and_old_ones_given_up() {
        let (noted, given_up) = (Noted::default(), AtomicU64::new(0));
        let mut reports = Reports::default();
        for _ in 0..20 {
            noted.0.lock().unwrap().0 = (0..4).map(|_| ranges(400_000)).collect();
            assert_eq!(reports.gather(&noted, &given_up), 2);
        }
        assert!(reports.octets <= KEPT);
        assert!(reports.unacknowledged().all(|report| report.encoded_len() < REPORT + 4096));
        let kept = numbers(reports.unacknowledged());
        assert_eq!((kept.last(), given_up.load(Ordering::Relaxed) + kept.len() as u64), (Some(&40), 40));
    }
}
