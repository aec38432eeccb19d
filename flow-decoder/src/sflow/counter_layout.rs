//! Counter structures with a message of their own: `catchment.flow.v1.Sflow...`.
//!
//! A message's fields are numbered in the order of the structure, so that a list of kinds describes both. A counter is
//! written as it came, also the all ones of an agent that does not have it.

use super::xdr;
use crate::cursor::{Cursor, EndOfInput};
use crate::protobuf::{RecordWriter, Tag};

/// A field of a structure, and of its message.
#[derive(Clone, Copy, Debug)]
enum Kind {
    U32,
    U64,
    /// A signed number of 32 bits.
    I32,
    F32,
    Text,
    /// 16 octets.
    Uuid,
    /// A MAC address, padded to 8 octets.
    Mac,
    /// As many MAC addresses as it says.
    Macs,
    /// As many words as it says.
    Words,
    /// As many structures as it says.
    List(&'static [Kind]),
}

use Kind::{F32, I32, List, Mac, Macs, Text, U32, U64, Uuid, Words};

/// A counter structure with a message of its own.
pub(super) struct Layout {
    /// Enterprise and format.
    data_format: u32,
    /// The message's field in `SflowCounters`.
    tag: Tag,
    kinds: &'static [Kind],
    /// How many fields at the end older agents do not send.
    newer: usize,
}

const fn layout(data_format: u32, field: u32, newer: usize, kinds: &'static [Kind]) -> Layout {
    Layout { data_format, tag: Tag::delimited(field), kinds, newer }
}

/// In the order of the fields.
const LAYOUTS: [Layout; 41] = [
    layout(
        1,
        20,
        0,
        &[U32, U32, U64, U32, U32, U64, U32, U32, U32, U32, U32, U32, U64, U32, U32, U32, U32, U32, U32],
    ),
    layout(2, 21, 0, &[U32; 13]),
    layout(5, 22, 0, &[U32, U64, U32, U32, U32, U32]),
    layout(1001, 23, 0, &[U32, U32, U32, U64, U64]),
    layout(7, 24, 0, &[Mac, Mac, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32]),
    layout(8, 25, 0, &[U32, U32, U32, U32, U32, U32]),
    layout(10, 26, 0, &[U32, U32, U32, I32, List(&[U32, U32, U32, U32, U32, U32, U32, U32, U32, U32])]),
    layout(1002, 27, 0, &[U32, U32, U32]),
    layout(1004, 28, 0, &[U64, U32]),
    layout(1005, 29, 0, &[Text]),
    layout(2000, 30, 0, &[Text, Uuid, U32, U32, Text]),
    layout(2001, 31, 0, &[List(&[U32, Macs])]),
    layout(2002, 32, 0, &[U32, U32]),
    layout(
        2003,
        33,
        3,
        &[F32, F32, F32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32],
    ),
    layout(2004, 34, 0, &[U64, U64, U64, U64, U64, U64, U64, U32, U32, U32, U32]),
    layout(2005, 35, 0, &[U64, U64, U32, U32, U64, U32, U32, U64, U32]),
    layout(2006, 36, 0, &[U64, U32, U32, U32, U64, U32, U32, U32]),
    layout(
        2007,
        37,
        0,
        &[U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32],
    ),
    layout(
        2008,
        38,
        0,
        &[
            U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32,
            U32, U32, U32, U32, U32, U32,
        ],
    ),
    layout(2009, 39, 1, &[U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32]),
    layout(2010, 40, 1, &[U32, U32, U32, U32, U32, U32, U32]),
    layout(2100, 41, 0, &[U32, U32, U64, U64, U32]),
    layout(2101, 42, 0, &[U32, U32, U32]),
    layout(2102, 43, 0, &[U64, U64]),
    layout(2103, 44, 0, &[U64, U64, U64, U32, U64, U32, U64, U32]),
    layout(2104, 45, 0, &[U64, U32, U32, U32, U64, U32, U32, U32]),
    layout(2105, 46, 0, &[Text, Text, Text]),
    layout(
        2106,
        47,
        0,
        &[U64, U64, U64, U64, U64, U64, U64, U64, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32],
    ),
    layout(2201, 48, 0, &[U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32]),
    layout(2202, 49, 0, &[Text, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32]),
    layout(2203, 50, 0, &[U32, U32, U64, U64, U32, U32, U32, U32]),
    layout(2206, 51, 0, &[U32, U32, U32, U32, U32]),
    layout(2207, 52, 0, &[U32, U32, U32, U32, U32, U32]),
    layout(5703 << 12 | 1, 53, 0, &[U32, U32, U32, U32, U64, U64, U32, U32, U32, U32]),
    layout(3, 54, 0, &[U32; 18]),
    layout(4, 55, 0, &[U32, U64, U32, U64, U32, U32, U32, U32, U32, U64, U32, U64, U64, U64]),
    layout(6, 56, 0, &[U32; 20]),
    layout(
        2204,
        57,
        0,
        &[
            U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32,
            U32, U32, U32, U32, U32, U32, U32, U32, U64, U64, U64, U64,
        ],
    ),
    layout(4413 << 12 | 1, 58, 0, &[U32, U32]),
    layout(4413 << 12 | 2, 59, 0, &[U32, U32, U32, U32, Words, Words]),
    layout(4413 << 12 | 3, 60, 0, &[U32; 36]),
];

/// Each structure (enterprise and format) with the number of its field in `SflowCounters`.
#[cfg(test)]
pub(crate) fn typed() -> impl Iterator<Item = (u32, u32)> {
    LAYOUTS.iter().map(|layout| (layout.data_format, layout.tag.number()))
}

impl Layout {
    /// How many there are.
    pub(super) const COUNT: usize = LAYOUTS.len();

    /// The layout of a structure, by its place among all.
    pub(super) fn of(data_format: u32) -> Option<(usize, &'static Self)> {
        LAYOUTS.iter().enumerate().find(|(_, layout)| layout.data_format == data_format)
    }

    /// Where the structure ends too early for all counters, the offset of the first that lacks.
    pub(super) fn check(&self, mut body: Cursor<'_>) -> Result<(), EndOfInput> {
        let older = self.kinds.len() - self.newer;
        for (index, kind) in self.kinds.iter().enumerate() {
            if index >= older && body.is_empty() {
                break;
            }
            kind.pass(&mut body)?;
        }
        Ok(())
    }

    /// Writes the counters that are there.
    pub(super) fn write(&self, writer: &mut RecordWriter<'_>, mut body: Cursor<'_>) {
        let nested = writer.begin_nested(self.tag);
        // What lacks has been counted.
        let _ = write(self.kinds, writer, &mut body);
        writer.end_nested(nested);
    }
}

/// Writes fields up to the first that is cut.
fn write(kinds: &[Kind], writer: &mut RecordWriter<'_>, body: &mut Cursor<'_>) -> Result<(), EndOfInput> {
    (1..).zip(kinds).try_for_each(|(field, kind)| kind.write(field, writer, body))
}

impl Kind {
    fn pass(self, body: &mut Cursor<'_>) -> Result<(), EndOfInput> {
        match self {
            U32 | I32 | F32 => body.take(4).map(drop),
            U64 | Mac => body.take(8).map(drop),
            Uuid => body.take(16).map(drop),
            Text => xdr::opaque(body).map(drop),
            Macs => {
                let count = body.u32()?;
                (0..count).try_for_each(|_| body.take(8).map(drop))
            }
            Words => xdr::words(body).map(drop),
            List(kinds) => {
                let count = body.u32()?;
                (0..count).try_for_each(|_| kinds.iter().try_for_each(|kind| kind.pass(body)))
            }
        }
    }

    fn write(
        self,
        field: u32,
        writer: &mut RecordWriter<'_>,
        body: &mut Cursor<'_>,
    ) -> Result<(), EndOfInput> {
        match self {
            U32 => writer.uint(Tag::varint(field), u64::from(body.u32()?)),
            U64 => writer.uint(Tag::varint(field), body.u64()?),
            // A negative int32 is a varint of 64 bits.
            I32 => writer.uint(Tag::varint(field), i64::from(body.u32()? as i32) as u64),
            F32 => writer.float(Tag::fixed32(field), body.u32()?),
            Text => writer.text(Tag::delimited(field), xdr::opaque(body)?),
            Uuid => writer.bytes(Tag::delimited(field), body.take(16)?),
            Mac => writer.uint(Tag::varint(field), body.u64()? >> 16),
            Macs => {
                let count = body.u32()? as usize;
                let whole = body.remaining() / 8;
                let macs = body.take(8 * count.min(whole))?;
                let macs = macs.as_chunks().0.iter().map(|mac| u64::from_be_bytes(*mac) >> 16);
                writer.packed(Tag::delimited(field), macs);
                if count > whole {
                    body.take(8)?;
                }
            }
            Words => {
                let words = xdr::words(body)?.iter().map(|word| u64::from(u32::from_be_bytes(*word)));
                writer.packed(Tag::delimited(field), words);
            }
            List(kinds) => {
                let count = body.u32()?;
                for _ in 0..count {
                    let nested = writer.begin_nested(Tag::delimited(field));
                    let written = write(kinds, writer, body);
                    writer.end_nested(nested);
                    written?;
                }
            }
        }
        Ok(())
    }
}
