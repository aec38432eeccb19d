//! The records of a sample, one by one.
//!
//! ```text
//! record: enterprise 20 bits, format 12 bits | length 4 | body
//! ```
//!
//! Some agents (Brocade) write a record 4 bytes longer than its length says, and there is a switch record (1001) that says less
//! than its 16 bytes. Where the next record, or the sample's end, is not at the declared end but behind the bytes that were
//! not counted, the record is handed out with those bytes as [`Record::longer`].

use crate::cursor::Cursor;
use crate::elements;
use crate::error::{Malformed, Path, Reason};

/// What some agents leave out of a record's length.
const FORGOTTEN: usize = 4;
/// Extended switch data, and its length.
const SWITCH: (u32, usize) = (1001, 16);

/// The big-endian word at `at`.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

/// One record of a sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    /// Enterprise and format in one word, as sent; below 4096 it is a format of sflow.org.
    pub data_format: u32,
    /// Counted from 1.
    pub number: u32,
    pub body: Cursor<'a>,
    /// The body with the bytes that its length leaves out, where the next record begins behind those.
    pub longer: Option<Cursor<'a>>,
}

impl Record<'_> {
    pub(super) fn enterprise(&self) -> u32 {
        self.data_format >> 12
    }

    pub(super) fn format(&self) -> u32 {
        self.data_format & 0xfff
    }
}

/// Iterator over the records of a sample; ends with the announced count, or after an error.
pub(super) struct Records<'a> {
    cursor: Cursor<'a>,
    walk: Walk<'a>,
    number: u32,
}

impl<'a> Records<'a> {
    pub(super) fn new(cursor: Cursor<'a>, count: u32) -> Self {
        Self { cursor, walk: Walk::new(cursor.rest(), count), number: 0 }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.walk.left == 0 {
            return None;
        }
        self.number += 1;
        let path = Path { record: Some(self.number), ..Path::default() };
        let cut = Malformed { reason: Reason::SampleRecord, offset: self.cursor.offset(), path };
        let Some(step) = self.walk.step() else {
            self.walk.left = 0;
            return Some(Err(cut));
        };
        // The walk has checked that the bytes are there.
        let whole = self.cursor.sub(8 + step.len + step.forgotten).and_then(|mut whole| {
            whole.take(8)?;
            Ok(whole)
        });
        let Ok(whole) = whole else { return Some(Err(cut)) };
        let body = Cursor::new(&whole.rest()[..step.len], whole.offset());
        let longer = (step.forgotten > 0).then_some(whole);
        Some(Ok(Record { data_format: step.data_format, number: self.number, body, longer }))
    }
}

/// The records of a sample as (enterprise, format, body), up to the first that is cut.
pub(crate) fn bodies(records: &[u8], count: u32) -> impl Iterator<Item = (u32, u32, &[u8])> {
    let records = Records::new(Cursor::new(records, 0), count).map_while(Result::ok);
    records.map(|record| (record.enterprise(), record.format(), record.longer.unwrap_or(record.body).rest()))
}

/// Goes from record to record by their lengths alone.
#[derive(Clone, Copy)]
pub(super) struct Walk<'a> {
    rest: &'a [u8],
    left: u32,
}

struct Step {
    data_format: u32,
    len: usize,
    forgotten: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(rest: &'a [u8], count: u32) -> Self {
        Self { rest, left: count }
    }

    /// Bytes that all records take; none where one of them is cut.
    pub(super) fn whole_len(mut self) -> Option<usize> {
        let before = self.rest.len();
        while self.left > 0 {
            let (_, len) = self.head()?;
            self.rest = self.rest.get(8 + len..)?;
            self.left -= 1;
        }
        Some(before - self.rest.len())
    }

    fn head(&self) -> Option<(u32, usize)> {
        Some((word(self.rest, 0)?, word(self.rest, 4)? as usize))
    }

    fn step(&mut self) -> Option<Step> {
        let (data_format, len) = self.head()?;
        self.rest = self.rest.get(8 + len..)?;
        self.left -= 1;
        let forgotten = if self.lines_up() { 0 } else { self.forgotten(data_format, len) };
        self.rest = &self.rest[forgotten..];
        Some(Step { data_format, len, forgotten })
    }

    /// Whether the next record is here and fits, or nothing is to come and nothing is here.
    #[inline]
    fn lines_up(&self) -> bool {
        if self.left == 0 {
            return self.rest.is_empty();
        }
        self.head().is_some_and(|(_, len)| len <= self.rest.len() - 8)
    }

    #[cold]
    fn forgotten(&self, data_format: u32, len: usize) -> usize {
        let switch = (data_format == SWITCH.0).then(|| SWITCH.1.saturating_sub(len));
        let fits = |&forgotten: &usize| {
            let Some(rest) = self.rest.get(forgotten..) else { return false };
            let later = Self { rest, left: self.left };
            later.lines_up() && (self.left == 0 || later.head().is_some_and(is_known))
        };
        switch.into_iter().chain([FORGOTTEN]).find(fits).unwrap_or(0)
    }
}

fn is_known((data_format, _): (u32, usize)) -> bool {
    elements::sflow_flow_record(data_format >> 12, data_format & 0xfff).is_some()
}
