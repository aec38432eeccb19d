//! The steps of fixed-length records that cost nothing to prepare: the common ones, and what speed depends on.
//!
//! Each is one load of a width known when the plan is compiled, and one store (see [`Room`]). What else a plan does
//! (choices, text, odd lengths) stays with the general steps of `run`.

use super::step::{Op, Step};
use crate::clock::Clock;
use crate::protobuf::{Room, Tag};

/// How a number or address is read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Number1,
    Number2,
    Number4,
    /// A MAC address.
    Number6,
    Number8,
    Address4,
    Address16,
    /// Four octets of sysUpTime.
    Uptime,
    /// Eight octets of milliseconds since 1970.
    Milliseconds,
}

/// One step.
#[derive(Clone, Copy, Debug)]
pub(super) struct FixedStep {
    kind: Kind,
    tag: Tag,
    /// First octet in the record.
    start: u16,
}

impl FixedStep {
    /// The quick form of a step, where it has one.
    pub(super) fn of(step: &Step) -> Option<Self> {
        let kind = match (step.op, step.len) {
            (Op::U32 | Op::U64 | Op::Flags, 1) => Kind::Number1,
            (Op::U32 | Op::U64 | Op::Flags, 2) => Kind::Number2,
            (Op::U32 | Op::U64 | Op::Flags, 4) => Kind::Number4,
            (Op::U64, 6) => Kind::Number6,
            (Op::U64, 8) => Kind::Number8,
            (Op::Address, 4) => Kind::Address4,
            (Op::Address, 16) => Kind::Address16,
            (Op::Uptime, 4) => Kind::Uptime,
            (Op::Milliseconds, 8) => Kind::Milliseconds,
            _ => return None,
        };
        Some(Self { kind, tag: step.tag, start: step.start })
    }

    /// Writes the step's field of `record`. Every step lies inside its record; one that did not would be left out.
    #[inline(always)]
    pub(super) fn run(&self, record: &[u8], clock: &Clock, out: &mut Room<'_>) {
        let Some(rest) = record.get(usize::from(self.start)..) else { return };
        match self.kind {
            Kind::Number1 => {
                if let Some(octets) = rest.first_chunk() {
                    out.uint8(self.tag, u8::from_be_bytes(*octets));
                }
            }
            Kind::Number2 => {
                if let Some(octets) = rest.first_chunk() {
                    out.uint16(self.tag, u16::from_be_bytes(*octets));
                }
            }
            Kind::Number4 => {
                if let Some(octets) = rest.first_chunk() {
                    out.uint32(self.tag, u32::from_be_bytes(*octets));
                }
            }
            Kind::Number6 => {
                if let Some(&[a, b, c, d, e, f]) = rest.first_chunk() {
                    out.uint64(self.tag, u64::from_be_bytes([0, 0, a, b, c, d, e, f]));
                }
            }
            Kind::Number8 => {
                if let Some(octets) = rest.first_chunk() {
                    out.uint64(self.tag, u64::from_be_bytes(*octets));
                }
            }
            Kind::Address4 => {
                if let Some(octets) = rest.first_chunk() {
                    out.bytes4(self.tag, *octets);
                }
            }
            Kind::Address16 => {
                if let Some(octets) = rest.first_chunk() {
                    out.bytes16(self.tag, *octets);
                }
            }
            Kind::Uptime => {
                if let Some(octets) = rest.first_chunk() {
                    out.uint64(self.tag, clock.at_uptime(u64::from(u32::from_be_bytes(*octets))));
                }
            }
            Kind::Milliseconds => {
                if let Some(octets) = rest.first_chunk() {
                    out.uint64(self.tag, u64::from_be_bytes(*octets).saturating_mul(1_000_000));
                }
            }
        }
    }
}
