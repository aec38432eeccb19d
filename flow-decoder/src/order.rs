//! Which of two layouts of one template is the later one, decided alike on every node.
//!
//! The order is (boot epoch of the exporter, time inside that epoch). Times come from the message header, because the same
//! datagram may reach nodes whose clocks differ; from the node's receive time where the header's clock is too far off to be
//! believed, so that an exporter whose clock fell back is not stuck with its old layouts.

use crate::restart::same_boot;

/// How far a header's clock may be from the node's to be believed, ms.
const BELIEVED_MS: u64 = 5 * 60 * 1000;

/// The place of something an exporter said among all that it said. The default is before everything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order {
    /// When the exporter booted, seconds since 1970; 0 is unknown.
    pub epoch: u32,
    /// When this was first said in that epoch, milliseconds since 1970: the header's time, or the receive time where the
    /// header's clock is more than five minutes off.
    pub time: u64,
}

impl Order {
    /// The same place with the epoch that `other` has, where both are one boot: nodes measure it a little differently.
    pub(crate) fn in_boot_of(self, other: &Self) -> Self {
        Self {
            epoch: if same_boot(self.epoch, other.epoch) { self.epoch.max(other.epoch) } else { self.epoch },
            ..self
        }
    }

    /// The place of what replaces `other`: behind it, whatever the clocks say.
    pub(crate) fn after(self, other: &Self) -> Self {
        let order = self.in_boot_of(other);
        let next = Self { epoch: order.epoch.max(other.epoch), time: order.time.max(other.time + 1) };
        if order.epoch > other.epoch && !same_boot(order.epoch, other.epoch) { order } else { next }
    }
}

/// What one datagram says about its own place in the order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Boot epoch that the session of the datagram is in.
    pub(crate) epoch: u32,
    /// The time to believe, ms since 1970.
    pub(crate) time: u64,
    /// When the node received it, ns since 1970.
    pub(crate) received_ns: u64,
}

impl Stamp {
    /// The stamp of a datagram with this header time.
    pub(crate) fn new(header_ns: u64, received_ns: u64) -> Self {
        Self { epoch: 0, time: believed_ms(header_ns, received_ns), received_ns }
    }

    pub(crate) fn received_ms(&self) -> u64 {
        self.received_ns / 1_000_000
    }

    /// Receive time in seconds since 1970.
    pub(crate) fn received_s(&self) -> u32 {
        seconds(self.received_ns)
    }

    pub(crate) fn order(&self) -> Order {
        Order { epoch: self.epoch, time: self.time }
    }
}

/// The header's time, or the receive time where the two are too far apart; ms since 1970.
pub(crate) fn believed_ms(header_ns: u64, received_ns: u64) -> u64 {
    let (header, received) = (header_ns / 1_000_000, received_ns / 1_000_000);
    if header.abs_diff(received) <= BELIEVED_MS { header } else { received }
}

/// Nanoseconds to seconds, as coarse as memory needs them; beyond 2106 they stop.
pub(crate) fn seconds(ns: u64) -> u32 {
    u32::try_from(ns / 1_000_000_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_later_boot_wins_over_a_later_time() {
        assert!(Order { epoch: 2, time: 1 } > Order { epoch: 1, time: 9 });
        assert!(Order { epoch: 1, time: 2 } > Order { epoch: 1, time: 1 });
    }

    #[test]
    fn what_replaces_something_is_behind_it() {
        let order = |epoch, time| Order { epoch, time };
        assert_eq!(order(1000, 9).after(&order(1000, 5)), order(1000, 9));
        assert_eq!(order(1000, 5).after(&order(1000, 9)), order(1000, 10));
        assert_eq!(order(1000, 20).after(&order(1010, 9)), order(1010, 20), "one boot, measured twice");
        assert_eq!(order(1010, 5).after(&order(1000, 9)), order(1010, 10));
        assert_eq!(order(5000, 5).after(&order(1000, 9)), order(5000, 5), "a later boot begins anew");
        assert_eq!(order(1000, 20).after(&order(5000, 9)), order(5000, 20));
    }

    #[test]
    fn a_header_clock_that_is_far_off_is_not_believed() {
        let received = 1_700_000_000 * SECOND;
        assert_eq!(believed_ms(received - 300 * SECOND, received), 1_699_999_700_000);
        assert_eq!(believed_ms(received - 301 * SECOND, received), 1_700_000_000_000);
        assert_eq!(believed_ms(received + 301 * SECOND, received), 1_700_000_000_000);
        assert_eq!(believed_ms(0, received), 1_700_000_000_000);
    }
}
