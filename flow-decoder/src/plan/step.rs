//! One step of a plan: which octets of a record become which field, and how.

use crate::protobuf::Tag;

/// How a field's value is made from an element's octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// A number of 64 bits; what is longer and does not fit is `u64::MAX`.
    U64,
    /// A number for a 32-bit field: its low 32 bits.
    U32,
    /// Flags of some of a flow's packets, for a 32-bit field: with those of the other elements of this kind.
    Flags,
    /// The octet above the lowest.
    HighByte,
    /// The lowest octet.
    LowByte,
    /// The Ethernet type that stands for IP version 4 or 6.
    EtypeOfIpVersion,
    /// Milliseconds of sysUpTime.
    Uptime,
    /// Seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Milliseconds,
    /// NTP time stamp that is exact to a nanosecond (dateTimeNanoseconds).
    NtpNanoseconds,
    /// NTP time stamp that is exact to a microsecond (dateTimeMicroseconds).
    NtpMicroseconds,
    /// Microseconds before the export time.
    MicrosecondsBeforeExport,
    /// The segment of a layer 2 segment id.
    Segment,
    /// The tunnel that a layer 2 segment id is of.
    SegmentTunnel,
    /// GTP-U, whatever the value.
    TunnelGtpU,
    /// Four or sixteen octets as they are; other lengths are left out.
    Address,
    /// Octets as they are.
    Bytes,
    /// UTF-8 text.
    Text,
    /// A number as the only member of a repeated field.
    PackedOne,
    /// The first of several elements with a value: an index into the plan's choices.
    Choice,
    /// The same where some of them are [`Op::Flags`].
    ChoiceOfFlags,
}

/// One step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) op: Op,
    pub(super) tag: Tag,
    /// First octet in the record, where all fields before it have a fixed length; for a choice its index.
    pub(super) start: u16,
    /// Octets, where the length is fixed.
    pub(super) len: u16,
    /// Which field of the template.
    pub(super) field: u16,
}
