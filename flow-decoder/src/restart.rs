//! Whether an exporter has restarted since it was last heard: its templates may mean something else then.
//!
//! ```text
//! NetFlow v9   boot time (header time - sysUpTime) moved forward by more than 60 s,
//!              and sysUpTime or sequence is below its last value
//! IPFIX        sequence below 1/16 of its last value, header time not older, in two datagrams in a row
//! ```
//!
//! All else is reordering, duplication or wrap: sysUpTime wraps after 49.7 days, so that the boot time seems to move by
//! 2^32 ms while the sequence goes on. The sequence counts datagrams in v9 and data records in IPFIX.
//!
//! A session (one source port) has an *epoch*, the time of its last restart as far as it is known. It stays until the next
//! restart, whatever the clocks say in between, and each template is announced in one. Epochs of different nodes differ by
//! what their datagrams took and how headers round: within 60 s they are the same boot.

use crate::clock::Origin;
use crate::data_set::MessageHeader;
use crate::order::{Order, Stamp};

/// Epochs and boot times that are no further apart are the same, seconds.
pub(crate) const SAME_BOOT_S: u32 = 60;
const SAME_BOOT_MS: i64 = SAME_BOOT_S as i64 * 1000;
/// What sysUpTime counts before it begins again, ms.
const UPTIME_WRAP_MS: i64 = 1 << 32;
/// An IPFIX sequence that has gone on by less has wrapped where it is lower than before.
const SEQUENCE_STEP: u32 = 1 << 26;
/// Templates of one datagram that count as announced again where it was the first after a restart: more than one holds. What
/// is beyond waits for its next announcement.
const MAX_UNSURE: usize = 256;
/// IPFIX datagrams in a row that must look like a restart.
const IN_A_ROW: u8 = 2;

/// Whether what was announced in one epoch must be announced again in another.
pub(crate) fn is_suspect(announced: u32, now: u32) -> bool {
    now.saturating_sub(announced) > SAME_BOOT_S
}

/// Whether two epochs are one boot.
pub(crate) fn same_boot(a: u32, b: u32) -> bool {
    a.abs_diff(b) <= SAME_BOOT_S
}

/// What a session remembers of its exporter's counters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Restarts {
    epoch: u32,
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    /// Header time, ms since 1970, and the time to believe.
    header_ms: i64,
    believed_ms: i64,
    /// sysUpTime (v9), ms.
    uptime: u32,
    sequence: u32,
    /// IPFIX datagrams in a row that looked like a restart, and the time of the first of them.
    low: u8,
    low_since_ms: i64,
}

impl Last {
    fn boot_ms(&self) -> i64 {
        self.header_ms - i64::from(self.uptime)
    }

    fn believed_boot_ms(&self) -> i64 {
        self.believed_ms - i64::from(self.uptime)
    }
}

impl Restarts {
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether the last datagram looks like the first after a restart, and the next will tell.
    pub(crate) fn is_unsure(&self) -> bool {
        self.last.is_some_and(|last| last.low > 0)
    }

    /// Remembers in `unsure` a template that is announced while the next datagram will tell.
    pub(crate) fn note_unsure(&self, template: u16, unsure: &mut Vec<u16>) {
        if self.is_unsure() && unsure.len() < MAX_UNSURE {
            unsure.push(template);
        }
    }

    /// Looks at things as they were in another epoch; says which it was.
    pub(crate) fn set_epoch(&mut self, epoch: u32) -> u32 {
        std::mem::replace(&mut self.epoch, epoch)
    }

    /// Takes a datagram's header. `known` gives the greatest order of what is known to be announced by this port, or where that
    /// is nothing by the others of its scope; it is asked at the first datagram and at a restart.
    #[inline]
    pub(crate) fn observe(
        &mut self,
        header: &MessageHeader,
        origin: Origin,
        stamp: &Stamp,
        known: impl Fn() -> Option<Known>,
    ) {
        let now = Last {
            header_ms: i64::from(header.export_time) * 1000,
            believed_ms: stamp.time as i64,
            uptime: if let Origin::Uptime(uptime) = origin { uptime } else { 0 },
            sequence: header.sequence,
            low: 0,
            low_since_ms: 0,
        };
        match (self.last, origin) {
            (Some(last), Origin::Uptime(_)) => self.observe_v9(&last, now),
            (Some(last), _) => self.observe_ipfix(&last, now, known),
            (None, Origin::Uptime(_)) => self.begin_v9(now, known()),
            (None, _) => self.begin_ipfix(now, known()),
        }
    }

    fn observe_v9(&mut self, last: &Last, now: Last) {
        let moved = now.boot_ms() - last.boot_ms();
        // Where the header's clock fell back, because it is set only after a boot, the node's own clock says it. Where sysUpTime
        // went back with it the datagram is an old one, unless the exporter was silent for as long as it is up now.
        let silent = now.believed_ms - last.believed_ms;
        let may_have_booted = moved < -SAME_BOOT_MS || i64::from(now.uptime) <= silent + SAME_BOOT_MS;
        let fell_back = now.header_ms < last.header_ms && may_have_booted;
        let moved_by_node = now.believed_boot_ms() - last.believed_boot_ms();
        let forward = moved > SAME_BOOT_MS || fell_back && moved_by_node > SAME_BOOT_MS;
        let (younger, back) = (now.uptime < last.uptime, now.sequence < last.sequence);
        let wrapped = younger && !back && (moved - UPTIME_WRAP_MS).abs() <= SAME_BOOT_MS;
        if forward && (younger || back) && !wrapped {
            self.enter(epoch_of(now.believed_boot_ms()));
        }
        self.last = Some(now);
    }

    fn observe_ipfix(&mut self, last: &Last, now: Last, known: impl Fn() -> Option<Known>) {
        let wrapped = now.sequence.wrapping_sub(last.sequence) < SEQUENCE_STEP;
        let low = now.sequence < last.sequence / 16 && now.header_ms >= last.header_ms && !wrapped;
        if !low {
            self.last = Some(now);
            return;
        }
        let low_since_ms = if last.low == 0 { now.believed_ms } else { last.low_since_ms };
        if last.low + 1 < IN_A_ROW {
            // What it is compared with stays until it is sure.
            self.last = Some(Last { low: last.low + 1, low_since_ms, ..*last });
            return;
        }
        // Another node may have seen it before this one: then the epoch has a name already.
        let shared = known().map_or(0, |known| known.epoch);
        let begun = i64::from(shared) * 1000 > last.believed_ms;
        self.enter(if begun { shared } else { epoch_of(low_since_ms) });
        self.last = Some(now);
    }

    /// The first datagram of a session. Its scope may be known already: from another port, another node, or the disk.
    fn begin_v9(&mut self, now: Last, known: Option<Known>) {
        self.last = Some(now);
        let boot = epoch_of(now.believed_boot_ms());
        self.epoch = boot;
        let Some(Known { epoch, time, own }) = known else { return };
        let announced_after_ms = (time as i64).saturating_sub(i64::from(epoch) * 1000);
        let restarted = boot > epoch && i64::from(now.uptime) < announced_after_ms;
        let other_device = boot < epoch && !own;
        // Else it is the same boot, or its clock was set.
        if epoch == 0 || same_boot(boot, epoch) || !(restarted || other_device) {
            self.epoch = epoch;
        }
    }

    fn begin_ipfix(&mut self, now: Last, known: Option<Known>) {
        self.last = Some(now);
        self.epoch = known.map_or(0, |known| known.epoch);
    }

    fn enter(&mut self, epoch: u32) {
        if !same_boot(epoch, self.epoch) {
            self.epoch = epoch;
        }
    }
}

/// What is known of a port when its session begins.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    /// The greatest epoch in which something was announced; 0 where none is known.
    pub(crate) epoch: u32,
    /// When the last announcement of that epoch came, ms since 1970.
    pub(crate) time: u64,
    /// Whether this port itself announced it.
    pub(crate) own: bool,
}

impl Known {
    /// The greatest of these orders.
    pub(crate) fn of(orders: impl Iterator<Item = Order>, own: bool) -> Option<Self> {
        orders.max().map(|order| Self { epoch: order.epoch, time: order.time, own })
    }
}

/// A boot time as an epoch, which is never 0 where it is known.
fn epoch_of(boot_ms: i64) -> u32 {
    u32::try_from(boot_ms / 1000).map_or(if boot_ms < 0 { 1 } else { u32::MAX }, |seconds| seconds.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u32 = 1_700_000_000;
    const DAY_S: u32 = 86_400;

    /// A session, and what its scope knows.
    #[derive(Default)]
    struct Heard {
        restarts: Restarts,
        known: Option<Known>,
    }

    impl Heard {
        fn knowing(epoch: u32, time_s: u32, own: bool) -> Self {
            let known = Some(Known { epoch, time: u64::from(time_s) * 1000, own });
            Self { known, ..Self::default() }
        }

        fn header(&mut self, origin: Origin, header_s: u32, received_s: u32, sequence: u32) -> u32 {
            let header = MessageHeader { version: 9, domain: 0, sequence, export_time: header_s };
            let ns = |seconds: u32| u64::from(seconds) * 1_000_000_000;
            let stamp = Stamp::new(ns(header_s), ns(received_s));
            self.restarts.observe(&header, origin, &stamp, || self.known);
            self.restarts.epoch()
        }

        /// A v9 header whose clock is right; sysUpTime in seconds.
        fn v9(&mut self, header_s: u32, uptime_s: u32, sequence: u32) -> u32 {
            self.header(Origin::Uptime(uptime_s.wrapping_mul(1000)), header_s, header_s, sequence)
        }

        /// An IPFIX header whose clock is right.
        fn ipfix(&mut self, header_s: u32, sequence: u32) -> u32 {
            self.header(Origin::Unknown, header_s, header_s, sequence)
        }
    }

    #[test]
    fn v9_restarts_when_it_booted_later_and_its_uptime_began_again() {
        let mut heard = Heard::default();
        let boot = heard.v9(NOW_S, DAY_S, 1000);
        assert_eq!(boot, NOW_S - DAY_S);
        assert_eq!(heard.v9(NOW_S + 100, DAY_S + 100, 1010), boot);
        assert_eq!(
            heard.v9(NOW_S + 200, 20, 5000),
            NOW_S + 180,
            "by sysUpTime, also where the sequence goes on"
        );
        assert_eq!(heard.v9(NOW_S + 210, 30, 5001), NOW_S + 180);
    }

    #[test]
    fn v9_restarts_when_it_booted_later_and_its_sequence_began_again() {
        let mut heard = Heard::default();
        heard.v9(NOW_S, 20, 1000);
        assert_eq!(heard.v9(NOW_S + 3600, 30, 2), NOW_S + 3570);
    }

    #[test]
    fn v9_goes_on_through_reordering_duplicates_and_jitter() {
        let mut heard = Heard::default();
        let boot = heard.v9(NOW_S, DAY_S, 1000);
        for (ahead, sequence) in [(10, 1002), (5, 1001), (10, 1002), (0, 1000), (20, 1003), (20, 7)] {
            assert_eq!(heard.v9(NOW_S + ahead, DAY_S + ahead, sequence), boot);
        }
        assert_eq!(heard.v9(NOW_S + 60, DAY_S + 2, 1), boot, "58 s are jitter");
    }

    #[test]
    fn v9_goes_on_when_its_clock_is_set() {
        let mut heard = Heard::default();
        let boot = heard.v9(NOW_S, DAY_S, 1000);
        assert_eq!(heard.v9(NOW_S + 7200, DAY_S + 1, 1001), boot, "forward");
        assert_eq!(heard.v9(NOW_S - 7200, DAY_S + 2, 1002), boot, "and back");
    }

    #[test]
    fn v9_goes_on_when_its_uptime_wraps() {
        let mut heard = Heard::default();
        let wrap_s = (UPTIME_WRAP_MS / 1000) as u32;
        let boot = heard.v9(NOW_S, wrap_s - 10, 1000);
        let after = |seconds: u32, sequence, heard: &mut Heard| {
            heard.header(Origin::Uptime(seconds * 1000), NOW_S + 20 + seconds, NOW_S + 20 + seconds, sequence)
        };
        assert_eq!(after(1, 1001, &mut heard), boot);
        assert_eq!(after(50, 1002, &mut heard), boot);
        assert_ne!(after(2, 3, &mut Heard { restarts: heard.restarts, known: None }), 0);
        let mut restarted = Heard::default();
        restarted.v9(NOW_S, wrap_s - 10, 1000);
        assert_eq!(after(1, 5, &mut restarted), NOW_S + 20, "the sequence did not go on");
    }

    #[test]
    fn v9_goes_on_when_its_sequence_wraps() {
        let mut heard = Heard::default();
        let boot = heard.v9(NOW_S, DAY_S, u32::MAX);
        assert_eq!(heard.v9(NOW_S + 1, DAY_S + 1, 0), boot);
    }

    #[test]
    fn a_clock_that_falls_back_at_a_boot_is_seen_by_the_node_s() {
        let mut heard = Heard::default();
        heard.v9(NOW_S, DAY_S, 1000);
        let at_1970 = heard.header(Origin::Uptime(20_000), 20, NOW_S + 100, 1);
        assert_eq!(at_1970, NOW_S + 80);
        assert_eq!(heard.header(Origin::Uptime(30_000), 30, NOW_S + 110, 2), NOW_S + 80);
        assert_eq!(heard.v9(NOW_S + 120, 40, 3), NOW_S + 80, "its clock is set right");
    }

    /// A capture played back in another order than it was sent, years later: sysUpTime goes back with the header's clock.
    #[test]
    fn v9_goes_on_through_old_datagrams_of_a_clock_that_is_off() {
        let mut heard = Heard::default();
        let mut play = |ahead_s: u32, received_s, sequence| {
            heard.header(Origin::Uptime((DAY_S + ahead_s) * 1000), 1_000_000 + ahead_s, received_s, sequence)
        };
        let boot = play(80, NOW_S, 75);
        assert_eq!(play(0, NOW_S + 1, 31), boot);
        assert_eq!(play(80, NOW_S + 2, 75), boot);
    }

    /// Its clock begins with the same time at each boot.
    #[test]
    fn v9_restarts_though_its_clock_stands_where_it_stood_at_the_boot_before() {
        let mut heard = Heard::default();
        let mut play = |up_s: u32, received_s| {
            heard.header(Origin::Uptime(up_s * 1000), 1_000_000 + up_s, received_s, up_s)
        };
        assert_eq!(play(DAY_S, NOW_S), NOW_S - DAY_S);
        assert_eq!(play(100, NOW_S + 130), NOW_S + 30);
    }

    #[test]
    fn a_session_that_begins_knows_the_boot_of_its_scope() {
        let boot = NOW_S - DAY_S;
        let known = || Heard::knowing(boot, NOW_S - 600, true);
        assert_eq!(known().v9(NOW_S, DAY_S + 3, 1), boot, "measured a little differently");
        assert_eq!(known().v9(NOW_S, 100, 1), NOW_S - 100, "restarted while nobody listened");
        assert_eq!(known().v9(NOW_S + 7200, DAY_S + 2, 1), boot, "its clock was set forward");
        assert_eq!(known().v9(NOW_S - 7200, DAY_S + 2, 1), boot, "or back");
        assert_eq!(Heard::knowing(0, NOW_S, true).v9(NOW_S, DAY_S, 1), 0, "nobody knows when it booted");
        assert_eq!(known().ipfix(NOW_S, 1), boot);
    }

    /// Another device behind the same address, on another port, that booted earlier or later.
    #[test]
    fn a_device_beside_another_has_its_own_boot() {
        let mut other = Heard::knowing(NOW_S - 600, NOW_S, false);
        assert_eq!(other.v9(NOW_S, DAY_S, 1), NOW_S - DAY_S);
        let mut later = Heard::knowing(NOW_S - DAY_S, NOW_S, false);
        assert_eq!(later.v9(NOW_S, 600, 1), NOW_S - 600);
    }

    #[test]
    fn ipfix_restarts_after_two_low_sequences_in_a_row() {
        let mut heard = Heard::default();
        assert_eq!(heard.ipfix(NOW_S, 100_000), 0);
        assert_eq!(heard.ipfix(NOW_S + 10, 5), 0);
        assert!(heard.restarts.is_unsure());
        assert_eq!(heard.ipfix(NOW_S + 11, 25), NOW_S + 10, "when it was first seen");
        assert!(!heard.restarts.is_unsure());
        assert_eq!(heard.ipfix(NOW_S + 12, 45), NOW_S + 10);
    }

    #[test]
    fn ipfix_goes_on_after_one_and_through_reordering_duplicates_and_wrap() {
        let mut heard = Heard::default();
        heard.ipfix(NOW_S, 100_000);
        for (seconds, sequence) in [
            (1, 5),
            (1, 100_020),
            (2, 6),
            (2, 100_040),
            // Low, but not below a sixteenth; low twice, but older.
            (3, 6_500),
            (3, 6_520),
            (3, 100_060),
        ] {
            assert_eq!(heard.ipfix(NOW_S + seconds, sequence), 0, "{seconds} {sequence}");
        }
        for sequence in [5, 6, 7] {
            assert_eq!(heard.ipfix(NOW_S - 60, sequence), 0, "older header time");
            heard.ipfix(NOW_S + 4, 100_080);
        }
        let mut wraps = Heard::default();
        wraps.ipfix(NOW_S, u32::MAX - 100);
        assert_eq!((wraps.ipfix(NOW_S + 1, 20), wraps.ipfix(NOW_S + 2, 120)), (0, 0));
    }

    #[test]
    fn ipfix_takes_the_epoch_that_another_node_gave_the_same_restart() {
        let mut heard = Heard::default();
        heard.ipfix(NOW_S, 100_000);
        heard.ipfix(NOW_S + 10, 5);
        heard.known = Some(Known { epoch: NOW_S + 9, time: 0, own: true });
        assert_eq!(heard.ipfix(NOW_S + 11, 6), NOW_S + 9);
        let mut earlier = Heard::default();
        earlier.ipfix(NOW_S, 100_000);
        earlier.ipfix(NOW_S + 10, 5);
        earlier.known = Some(Known { epoch: NOW_S - 500, time: 0, own: true });
        assert_eq!(earlier.ipfix(NOW_S + 11, 6), NOW_S + 10, "an earlier restart");
    }

    #[test]
    fn epochs_within_a_minute_are_one_boot() {
        assert!(!is_suspect(NOW_S, NOW_S + 60) && is_suspect(NOW_S, NOW_S + 61));
        assert!(!is_suspect(NOW_S, NOW_S - 5000), "of another device that booted earlier");
        assert!(is_suspect(0, NOW_S), "what was announced before the first restart that was seen");
        assert!(same_boot(NOW_S, NOW_S - 60) && !same_boot(NOW_S, NOW_S + 61));
    }
}
