//! Which of its records a message's sequence number names, where records are counted.
//!
//! NetFlow v5 and IPFIX (RFC 7011 3.1) say: the first, so that the number counts the records *before* the message. softflowd's
//! IPFIX and Open vSwitch's v5 count those of the message as well. Taken by the book, each of their messages that is longer or
//! shorter than the one before would look like a gap or a repeat.
//!
//! Two messages of different lengths in a row tell: the numbers differ by the first one's length, or by the second one's. At
//! the beginning a few messages are held until it is known.

use catchment_sequence::Tracker;

/// Pairs that must tell the same.
const ENOUGH: i8 = 3;

/// Messages held at most until then: an exporter whose messages all have one length cannot be told, and need not be.
const HELD: usize = 16;

/// How one exporter numbers, as far as its messages have told.
#[derive(Debug, Default)]
pub(crate) struct Numbering {
    /// Pairs for counting itself above 0, for the book below; at most [`ENOUGH`] either way.
    evidence: i8,
    counts_itself: bool,
    /// No more is held.
    decided: bool,
    last: Option<Message>,
    held: Vec<Message>,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    sequence: u32,
    records: u32,
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
        if self.decided {
            self.pass(tracker, message);
        } else {
            self.hold(tracker, message);
        }
    }

    /// Notes a message of which nobody knows how many records it has.
    pub(crate) fn note_unknown(&mut self, tracker: &mut Tracker, sequence: u32) {
        self.last = None;
        self.release(tracker);
        if !self.counts_itself {
            tracker.note_unknown(sequence);
        }
    }

    /// Notes what is held as is likeliest now.
    pub(crate) fn release(&mut self, tracker: &mut Tracker) {
        if !self.decided {
            self.counts_itself = self.evidence > 0;
        }
        for message in &self.held {
            self.pass(tracker, *message);
        }
        self.held.clear();
    }

    fn pass(&self, tracker: &mut Tracker, Message { sequence, records }: Message) {
        tracker.note(self.first(sequence, records), records);
    }

    /// The number of a message's first record.
    pub(crate) fn first(&self, sequence: u32, records: u32) -> u32 {
        if self.counts_itself { sequence.wrapping_sub(records) } else { sequence }
    }

    #[cold]
    fn hold(&mut self, tracker: &mut Tracker, message: Message) {
        // At once, so that no later message allocates.
        self.held.reserve_exact(HELD - self.held.len());
        self.held.push(message);
        if self.evidence.abs() == ENOUGH || self.held.len() == HELD {
            self.release(tracker);
            self.decided = true;
            self.held = Vec::new();
        }
    }

    /// Takes two messages in a row that differ in length as evidence, unless something came between them.
    fn compare(&mut self, last: Message, next: Message) {
        let step = next.sequence.wrapping_sub(last.sequence);
        if step == next.records {
            self.evidence = (self.evidence + 1).min(ENOUGH);
        } else if step == last.records {
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

    /// Where the first range begins, and all ranges.
    fn reported(numbering: &mut Numbering, tracker: &mut Tracker) -> (u32, Vec<i64>) {
        numbering.release(tracker);
        let report = tracker.take_report().unwrap_or_default();
        assert_eq!((report.reordered, report.repeated, report.stray), (0, 0, 0));
        (report.base, report.pairs)
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

    #[test]
    fn an_exporter_that_is_replaced_is_learnt_anew() {
        let (mut numbering, mut tracker) = (Numbering::default(), Tracker::new(64));
        note(&mut numbering, &mut tracker, &LENGTHS, 0, true);
        assert!(numbering.counts_itself);
        note(&mut numbering, &mut tracker, &LENGTHS, 500, false);
        assert!(!numbering.counts_itself);
    }
}
