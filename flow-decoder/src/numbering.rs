//! Which of its records a message's sequence number names, where records are counted.
//!
//! NetFlow v5 and IPFIX (RFC 7011 3.1) say: the first, so that the number counts the records *before* the message. softflowd's
//! IPFIX and Open vSwitch's v5 count those of the message as well. Taken by the book, each of their messages that is longer or
//! shorter than the one before would look like a gap or a repeat.
//!
//! Of two messages one after the other with `a` and `b` records, whatever came between them at other nodes or was lost, the
//! numbers differ by at least `a` by the book, and by at least `b` otherwise. So a smaller difference proves the one or the
//! other. At the beginning a few messages are held until it is known: over more than one report, for behind a load balancer
//! few messages prove something, but for less time than a gap is waited for.

use catchment_sequence::Tracker;

/// Pairs that must prove the same, lest a damaged or repeated message decide.
const ENOUGH: i8 = 2;

/// Messages held at most until then: an exporter whose messages all have one length cannot be told, and need not be.
const HELD: usize = 16;

/// Reports that what is held may be left out of.
const PATIENCE: u8 = 8;

/// How one exporter numbers, as far as its messages have told.
#[derive(Debug, Default)]
pub(crate) struct Numbering {
    /// Proofs for counting itself above 0, for the book below; at most [`ENOUGH`] either way.
    evidence: i8,
    counts_itself: bool,
    /// No more is held.
    decided: bool,
    last: Option<Message>,
    held: Vec<Held>,
    /// Reports that what is held was left out of.
    left_out: u8,
}

/// A message whose length is known.
#[derive(Clone, Copy, Debug)]
struct Message {
    sequence: u32,
    records: u32,
}

/// A message that is held; its length may come to be known.
#[derive(Clone, Copy, Debug)]
struct Held {
    sequence: u32,
    records: Option<u32>,
}

impl Numbering {
    /// Notes a message with so many records.
    #[inline]
    pub(crate) fn note(&mut self, tracker: &mut Tracker, sequence: u32, records: u32) {
        let message = Message { sequence, records };
        if let Some(last) = self.last.replace(message)
            && last.records != records
        {
            self.compare(last, message);
        }
        self.take(tracker, Held { sequence, records: Some(records) });
    }

    /// Notes a message of which nobody knows how many records it has.
    pub(crate) fn note_unknown(&mut self, tracker: &mut Tracker, sequence: u32) {
        self.last = None;
        self.take(tracker, Held { sequence, records: None });
    }

    /// A message that was noted here or by another decoder as of unknown length has so many records.
    pub(crate) fn complete(&mut self, tracker: &mut Tracker, sequence: u32, records: u32) {
        let waits = |held: &&mut Held| held.sequence == sequence && held.records.is_none();
        match self.held.iter_mut().find(waits) {
            Some(held) => held.records = Some(records),
            None => tracker.fill(self.first(sequence, records), records),
        }
    }

    /// A report is made: what is held is left out of it, but not of many.
    pub(crate) fn report(&mut self, tracker: &mut Tracker) {
        if self.held.is_empty() {
            return;
        }
        self.left_out += 1;
        if self.left_out >= PATIENCE {
            self.release(tracker);
        }
    }

    /// Notes what is held as is likeliest now.
    pub(crate) fn release(&mut self, tracker: &mut Tracker) {
        if !self.decided {
            self.counts_itself = self.evidence > 0;
        }
        for at in 0..self.held.len() {
            self.pass(tracker, self.held[at]);
        }
        self.held.clear();
        self.left_out = 0;
    }

    #[inline]
    fn take(&mut self, tracker: &mut Tracker, message: Held) {
        if self.decided {
            self.pass(tracker, message);
        } else {
            self.hold(tracker, message);
        }
    }

    fn pass(&self, tracker: &mut Tracker, Held { sequence, records }: Held) {
        match records {
            Some(records) => tracker.note(self.first(sequence, records), records),
            // The number behind its last record says nothing of the first.
            None if self.counts_itself => {}
            None => tracker.note_unknown(sequence),
        }
    }

    /// The number of a message's first record.
    fn first(&self, sequence: u32, records: u32) -> u32 {
        if self.counts_itself { sequence.wrapping_sub(records) } else { sequence }
    }

    #[cold]
    fn hold(&mut self, tracker: &mut Tracker, message: Held) {
        // At once, so that no later message allocates.
        self.held.reserve_exact(HELD - self.held.len());
        self.held.push(message);
        if self.evidence.abs() == ENOUGH || self.held.len() == HELD {
            self.release(tracker);
            self.decided = true;
            self.held = Vec::new();
        }
    }

    /// Takes two messages of different lengths as evidence, where their numbers rule one way out.
    fn compare(&mut self, last: Message, next: Message) {
        let step = next.sequence.wrapping_sub(last.sequence);
        if (next.records..last.records).contains(&step) {
            self.evidence = (self.evidence + 1).min(ENOUGH);
        } else if (last.records..next.records).contains(&step) {
            self.evidence = (self.evidence - 1).max(-ENOUGH);
        }
        if self.evidence.abs() == ENOUGH {
            self.counts_itself = self.evidence > 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTHS: [u32; 7] = [30, 4, 30, 17, 30, 1, 9];

    /// Notes messages of these lengths; `itself`: numbered by an exporter that counts the message's own records as well.
    fn note(
        numbering: &mut Numbering,
        tracker: &mut Tracker,
        lengths: &[u32],
        mut sent: u32,
        itself: bool,
    ) -> u32 {
        for &length in lengths {
            numbering.note(tracker, if itself { sent + length } else { sent }, length);
            sent += length;
        }
        sent
    }

    /// Where the first range begins, and all ranges; those that touch are one.
    fn reported(numbering: &mut Numbering, tracker: &mut Tracker) -> (u32, Vec<i64>) {
        numbering.release(tracker);
        let report = tracker.take_report().unwrap_or_default();
        assert_eq!((report.reordered, report.repeated, report.stray), (0, 0, 0));
        let mut pairs: Vec<i64> = Vec::new();
        for pair in report.pairs.chunks(2) {
            match pairs.last_mut() {
                Some(length) if pair[0] == 0 => *length += pair[1],
                _ => pairs.extend(pair),
            }
        }
        (report.base, pairs)
    }

    #[test]
    fn both_ways_of_numbering_are_one_range_from_the_first_message_on() {
        for itself in [false, true] {
            let (mut numbering, mut tracker) = (Numbering::default(), Tracker::new(64));
            let end = note(&mut numbering, &mut tracker, &LENGTHS, 1000, itself);
            assert_eq!(reported(&mut numbering, &mut tracker), (1000, vec![0, 121]), "itself {itself}");
            note(&mut numbering, &mut tracker, &LENGTHS, end, itself);
            assert_eq!(reported(&mut numbering, &mut tracker), (1121, vec![0, 121]), "itself {itself}");
        }
    }

    #[test]
    fn messages_of_one_length_are_taken_by_the_book_and_held_for_a_while_only() {
        let (mut numbering, mut tracker) = (Numbering::default(), Tracker::new(64));
        note(&mut numbering, &mut tracker, &[5; HELD], 0, false);
        assert_eq!(tracker.take_report().map(|report| report.pairs), Some(vec![0, 5 * HELD as i64]));
        assert!(numbering.held.is_empty());
    }

    #[test]
    fn what_is_held_is_left_out_of_few_reports() {
        let (mut numbering, mut tracker) = (Numbering::default(), Tracker::new(64));
        numbering.note(&mut tracker, 7, 5);
        for _ in 1..PATIENCE {
            numbering.report(&mut tracker);
            assert!(tracker.take_report().is_none());
        }
        numbering.report(&mut tracker);
        assert_eq!(tracker.take_report().map(|report| (report.base, report.pairs)), Some((7, vec![0, 5])));
    }

    #[test]
    fn a_length_that_comes_to_be_known_counts_wherever_the_message_is() {
        for itself in [false, true] {
            let (mut numbering, mut tracker) = (Numbering::default(), Tracker::new(64));
            numbering.note_unknown(&mut tracker, if itself { 10 } else { 0 });
            numbering.complete(&mut tracker, if itself { 10 } else { 0 }, 10);
            let end = note(&mut numbering, &mut tracker, &LENGTHS, 10, itself);
            assert!(numbering.decided && numbering.counts_itself == itself);
            numbering.note_unknown(&mut tracker, if itself { end + 4 } else { end });
            numbering.complete(&mut tracker, if itself { end + 4 } else { end }, 4);
            note(&mut numbering, &mut tracker, &[3], end + 4, itself);
            assert_eq!(reported(&mut numbering, &mut tracker), (0, vec![0, 138]), "itself {itself}");
        }
    }

    #[test]
    fn lost_messages_tell_nothing() {
        let (mut numbering, mut tracker) = (Numbering::default(), Tracker::new(64));
        // Every other message is lost.
        for number in 0..HELD as u32 {
            numbering.note(&mut tracker, 100 * number, 30 + number % 2);
        }
        assert!(!numbering.counts_itself);
        assert_eq!(numbering.evidence, 0);
        assert_eq!(reported(&mut numbering, &mut tracker).1.len(), 2 * HELD);
    }

    /// What one of several nodes behind a load balancer gets; mostly one record a message, where much looks like the other way.
    #[test]
    fn messages_that_went_elsewhere_prove_nothing_wrong() {
        for itself in [false, true] {
            let lengths = [0, 0, 1, 1, 2, 1, 0, 1, 3, 1, 2, 2, 1, 0, 0, 5, 1];
            for kept in 1_u32..1 << lengths.len() {
                let (mut numbering, mut tracker) = (Numbering::default(), Tracker::new(64));
                let mut sent = 0;
                for (&length, number) in lengths.iter().zip(0..) {
                    if kept >> number & 1 == 1 {
                        numbering.note(&mut tracker, if itself { sent + length } else { sent }, length);
                    }
                    sent += length;
                }
                assert!(if itself { numbering.evidence >= 0 } else { numbering.evidence <= 0 }, "{kept:b}");
            }
        }
    }

    #[test]
    fn an_exporter_that_is_replaced_is_learnt_anew() {
        let (mut numbering, mut tracker) = (Numbering::default(), Tracker::new(64));
        note(&mut numbering, &mut tracker, &LENGTHS, 0, true);
        assert!(numbering.counts_itself);
        let end = note(&mut numbering, &mut tracker, &LENGTHS, 500, false);
        note(&mut numbering, &mut tracker, &LENGTHS, end, false);
        assert!(!numbering.counts_itself);
    }
}
