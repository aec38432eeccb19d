//! Times of a datagram's header, and how times of records relate to them.

/// Nanoseconds in a millisecond.
const MILLISECOND: i128 = 1_000_000;

/// What the header (and, for IPFIX, the exporter's options) say about time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    /// Header or export time, ns since 1970.
    pub(crate) export_ns: u64,
    /// What element 21 and 22 count from.
    pub(crate) origin: Origin,
}

/// What sysUpTime-relative times of records are relative to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Origin {
    /// Nothing is known (IPFIX without systemInitTimeMilliseconds).
    #[default]
    Unknown,
    /// The header's sysUpTime, ms: wraps after 49.7 days.
    Uptime(u32),
    /// systemInitTimeMilliseconds (160): ms since 1970.
    Boot(u64),
}

impl Clock {
    /// The same clock, with the exporter's start time from its options where the header has no sysUpTime.
    pub(crate) fn with_boot(self, boot_ms: u64) -> Self {
        match self.origin {
            Origin::Unknown if boot_ms != 0 => Self { origin: Origin::Boot(boot_ms), ..self },
            _ => self,
        }
    }

    /// The same clock, where a record itself says when the exporter started.
    pub(crate) fn booted(self, boot_ms: u64) -> Self {
        match self.origin {
            Origin::Uptime(_) => self,
            _ if boot_ms == 0 => self,
            _ => Self { origin: Origin::Boot(boot_ms), ..self },
        }
    }

    /// Time of a sysUpTime in ms, as ns since 1970; 0 where it cannot be known. A sysUpTime later than the header's is
    /// the future or the time before a wrap, whichever is nearer.
    pub(crate) fn at_uptime(&self, ms: u64) -> u64 {
        match self.origin {
            _ if ms == 0 => 0,
            Origin::Unknown => 0,
            Origin::Uptime(now) => {
                // Header times are 32-bit seconds: no sum here leaves 63 bits.
                let ago = i64::from(now.wrapping_sub(ms as u32) as i32) * MILLISECOND as i64;
                self.export_ns.saturating_add_signed(-ago)
            }
            Origin::Boot(boot_ms) => clamp((i128::from(boot_ms) + i128::from(ms)) * MILLISECOND),
        }
    }

    /// Time of a number of µs before the export time.
    pub(crate) fn before_export(&self, us: u64) -> u64 {
        clamp(i128::from(self.export_ns) - i128::from(us) * 1000)
    }
}

fn clamp(ns: i128) -> u64 {
    u64::try_from(ns.max(0)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn uptime_counts_back_from_the_header() {
        let clock = Clock { export_ns: 1000 * SECOND, origin: Origin::Uptime(50_000) };
        assert_eq!(clock.at_uptime(40_000), 990 * SECOND);
        assert_eq!(
            clock.at_uptime(51_000),
            1001 * SECOND,
            "an exporter whose flow ends after the header's time"
        );
    }

    #[test]
    fn uptime_wraps_after_49_days() {
        let clock = Clock { export_ns: 1000 * SECOND, origin: Origin::Uptime(4_000) };
        assert_eq!(clock.at_uptime(u64::from(u32::MAX) - 5_999), 990 * SECOND);
    }

    #[test]
    fn times_before_1970_and_unknown_origins_are_left_out() {
        let clock = Clock { export_ns: SECOND, origin: Origin::Uptime(50_000) };
        assert_eq!(clock.at_uptime(10_000), 0);
        assert_eq!(Clock::default().at_uptime(10), 0);
        let ipfix = Clock { export_ns: 0, origin: Origin::Boot(1_000) };
        assert_eq!(ipfix.at_uptime(500), 1_500_000_000);
    }

    #[test]
    fn deltas_count_back_from_the_export_time() {
        let clock = Clock { export_ns: SECOND, origin: Origin::Unknown };
        assert_eq!(clock.before_export(1), SECOND - 1000);
        assert_eq!(clock.before_export(2_000_000), 0);
    }
}
