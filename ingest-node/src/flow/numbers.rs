//! Sequence numbers on their way from the workers to whoever accounts for them.
//!
//! Each worker puts in what came since its last report, about once a second. Who takes them out may be late (a coordinator that
//! is away, say), so what waits is bounded: beyond, whole reports are given up, the spaces they were of are marked, and a gap there
//! is nobody's loss.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use catchment_sequence::{Space, SpaceReport};
use flow_decoder::{Decoder, SequenceKey};

use crate::source::Numbered;

/// Ranges that wait, over all workers: 16 octets each.
const MAX_RANGES: usize = 1 << 18;

/// Reports that wait, over all workers.
const MAX_REPORTS: usize = 1 << 16;

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Numbers(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    numbered: Vec<(SequenceKey, u32, SpaceReport)>,
    ranges: usize,
    /// Whose reports were given up. No more than the decoders have spaces.
    left_out: HashSet<(SequenceKey, u32)>,
}

impl Numbers {
    /// Puts in what a worker's decoder has seen.
    pub(crate) fn collect(&self, worker: usize, decoder: &mut Decoder) {
        let mut waiting = self.lock();
        decoder.take_sequences(|key, report| waiting.put(*key, worker as u32, report));
    }

    /// Takes out all, with the zones' labels.
    pub(crate) fn take(&self, zones: &[Arc<str>]) -> Vec<Numbered> {
        let Waiting { numbered, left_out, .. } = std::mem::take(&mut *self.lock());
        let truncated = || SpaceReport { truncated: true, ..SpaceReport::default() };
        let left_out = left_out.into_iter().map(|(key, worker)| (key, worker, truncated()));
        let named = |(key, worker, report): (SequenceKey, u32, SpaceReport)| Numbered {
            space: space(&key, zones),
            worker,
            report,
        };
        numbered.into_iter().chain(left_out).map(named).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn put(&mut self, key: SequenceKey, worker: u32, report: SpaceReport) {
        let ranges = report.pairs.len() / 2;
        if self.numbered.len() < MAX_REPORTS && self.ranges + ranges <= MAX_RANGES {
            self.ranges += ranges;
            self.numbered.push((key, worker, report));
        } else {
            self.left_out.insert((key, worker));
        }
    }
}

fn space(key: &SequenceKey, zones: &[Arc<str>]) -> Space {
    Space {
        zone: zones.get(usize::from(key.zone.0)).map_or("", |label| label).into(),
        exporter: key.exporter,
        port: key.port,
        version: key.version,
        domain: key.domain,
        data_source: key.data_source.unwrap_or(0),
        unit: key.unit(),
    }
}

#[cfg(test)]
mod tests {
    use flow_decoder::ZoneId;

    use super::*;

    fn key(port: u16) -> SequenceKey {
        let exporter = std::net::Ipv4Addr::new(192, 0, 2, 1).into();
        SequenceKey { zone: ZoneId(1), exporter, port, version: 9, domain: 3, data_source: None }
    }

    fn report(ranges: usize) -> SpaceReport {
        SpaceReport { pairs: vec![1; 2 * ranges], ..SpaceReport::default() }
    }

    #[test]
    fn spaces_get_the_label_of_their_zone() {
        let numbers = Numbers::default();
        numbers.lock().put(key(7), 2, report(3));
        let taken = numbers.take(&["".into(), "east".into()]);
        assert_eq!((&*taken[0].space.zone, taken[0].space.port, taken[0].worker), ("east", 7, 2));
        assert!(numbers.take(&[]).is_empty());
    }

    #[test]
    fn what_nobody_takes_is_bounded_and_marked() {
        let numbers = Numbers::default();
        for _ in 0..3 {
            numbers.lock().put(key(1), 0, report(MAX_RANGES / 2));
            numbers.lock().put(key(2), 0, report(1));
        }
        let taken = numbers.take(&[]);
        let ranges: usize = taken.iter().map(|numbered| numbered.report.pairs.len() / 2).sum();
        assert!(ranges <= MAX_RANGES, "{ranges}");
        let last = |port| taken.iter().rfind(|numbered| numbered.space.port == port).expect("the space");
        assert!(last(1).report.truncated, "what was left out is known to be unknown");
        assert!(!last(2).report.truncated, "nothing of it was left out");
    }
}
