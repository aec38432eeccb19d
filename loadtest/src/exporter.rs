//! One simulated exporter: what each of its datagrams has in its header and when it announces its templates.
//!
//! ```text
//! datagram   0 1 2 ... r-1 | r r+1 ...        r: the first after a restart, where there is one
//! life       first         | second           sequence and sysUpTime begin anew, the boot time is another
//! ```
//! Invariant: everything here but [`Exporter::announced`] is a pure function of the workload's options and a datagram's
//! number, so that `run` and `verify` agree without talking. A refresh by the clock is the exception: it cannot be
//! computed, and moves the sequence numbers of v9 and IPFIX where templates come from the data's own port.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;

use crate::duration::parse_duration;
use crate::identity::Identities;
use crate::model::{FIRST_FLOW_END_MS, GeneratedFlow, Sampler};
use crate::workload::Protocol;

/// Options data records that follow the templates: one for each sampler.
pub(crate) const OPTIONS_RECORDS: u64 = 2;
/// Milliseconds from a second boot to the end of the first flow after it: longer than any flow lasts.
const SECOND_FLOW_END_MS: u32 = 120_000;

/// When templates (of sFlow: counters) are sent again after the first datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateRefresh {
    /// Never.
    Once,
    /// With each datagram whose number since the boot is a multiple of this.
    Datagrams(NonZeroU64),
    /// When so much time has passed. sFlow's counters then come once.
    Interval(Duration),
}

/// Which port templates and options data come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TemplatePort {
    /// The data's.
    Same,
    /// One of their own, with sequence numbers of its own.
    Other,
}

/// The order of fields in v9's data template and in the common part of IPFIX's. Both are equally long: data that is read
/// by the other one gives wrong values, and no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// As from the start.
    Same,
    /// The fields in reverse order, under the same template id.
    New,
}

/// A restart of the exporter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    /// The first datagram after it; not 0.
    pub datagram: u64,
    /// How far the clock falls back by it.
    pub clock_back: Duration,
    /// The layout after it.
    pub layout: Layout,
}

/// One simulated exporter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exporter {
    /// Its number, from 0.
    pub index: u32,
    /// Its source address.
    pub address: IpAddr,
    /// What it speaks.
    pub protocol: Protocol,
    /// v9 source id, IPFIX observation domain, sFlow sub-agent, v5 engine id.
    pub domain: u32,
    /// Records in each of its datagrams but the last.
    pub records_per_datagram: u64,
    /// When it booted first, seconds since 1970 UTC.
    pub boot_time: u32,
    /// When templates are sent again.
    pub refresh: TemplateRefresh,
    /// Where they come from.
    pub template_port: TemplatePort,
    /// Its restart, if it has one.
    pub restart: Option<Restart>,
    /// How often templates were sent since the boot, as its sender counts.
    pub announced: u64,
    pub(crate) identities: Identities,
    pub(crate) rates: [u32; 2],
}

/// The time between two boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// Its first datagram.
    pub first_datagram: u64,
    /// When it began by the exporter's own clock, seconds since 1970 UTC.
    pub boot_time: u32,
    /// The layout of its templates.
    pub layout: Layout,
    first_flow_end_ms: u32,
}

impl Exporter {
    /// The record `number` of this exporter.
    pub fn flow(&self, number: u64) -> GeneratedFlow {
        let life = match self.restart {
            None => self.first_life(),
            Some(_) => self.life_of(number / self.records_per_datagram),
        };
        let since_boot = number - life.first_datagram * self.records_per_datagram;
        let end_ms = life.first_flow_end_ms + since_boot as u32;
        GeneratedFlow::new(self.identities, self.protocol, self.index, number, end_ms)
    }

    /// One packet in how many a sampler observes.
    pub fn rate(&self, sampler: Sampler) -> u32 {
        match sampler {
            Sampler::First => self.rates[0],
            Sampler::Second => self.rates[1],
        }
    }

    /// The life that data datagram `datagram` belongs to.
    pub fn life_of(&self, datagram: u64) -> Life {
        match self.restart {
            Some(restart) if datagram >= restart.datagram => {
                let last = self.first_life().clock_at(self, restart.datagram - 1);
                Life {
                    first_datagram: restart.datagram,
                    boot_time: last.saturating_sub(restart.clock_back.as_secs() as u32),
                    layout: restart.layout,
                    first_flow_end_ms: SECOND_FLOW_END_MS,
                }
            }
            _ => self.first_life(),
        }
    }

    /// True where templates (or sFlow counters) go out with data datagram `datagram` whatever the time.
    pub fn refreshes_at(&self, datagram: u64) -> bool {
        let since_boot = datagram - self.life_of(datagram).first_datagram;
        match self.refresh {
            TemplateRefresh::Datagrams(every) => since_boot.is_multiple_of(every.get()),
            TemplateRefresh::Once | TemplateRefresh::Interval(_) => since_boot == 0,
        }
    }

    /// How many announcements lie before data datagram `datagram` since the boot, its own among them.
    pub(crate) fn announcements(&self, datagram: u64) -> u64 {
        let since_boot = datagram - self.life_of(datagram).first_datagram;
        match self.refresh {
            TemplateRefresh::Datagrams(every) => since_boot / every + 1,
            TemplateRefresh::Once => 1,
            TemplateRefresh::Interval(_) => self.announced.max(1),
        }
    }

    /// The sequence number of data datagram `datagram`, counted from the boot as the protocol counts:
    /// v5 flows, v9 datagrams, IPFIX data records (options data among them), sFlow datagrams.
    pub fn sequence(&self, datagram: u64) -> u32 {
        let since_boot = datagram - self.life_of(datagram).first_datagram;
        let announcements = match self.template_port {
            TemplatePort::Same => self.announcements(datagram),
            TemplatePort::Other => 0,
        };
        let sequence = match self.protocol {
            Protocol::V5 => since_boot * self.records_per_datagram,
            Protocol::V9 => since_boot + announcements,
            Protocol::Ipfix => since_boot * self.records_per_datagram + announcements * OPTIONS_RECORDS,
            Protocol::Sflow => since_boot,
        };
        sequence as u32
    }

    /// The sequence number of the announcement before data datagram `datagram`.
    pub(crate) fn announcement_sequence(&self, datagram: u64) -> u32 {
        let counted = if self.protocol == Protocol::Ipfix { OPTIONS_RECORDS as u32 } else { 1 };
        match self.template_port {
            TemplatePort::Same => self.sequence(datagram).wrapping_sub(counted),
            TemplatePort::Other => (self.announced.saturating_sub(1) as u32).wrapping_mul(counted),
        }
    }

    /// Whether [`Exporter::sequence`] says what was sent, to somebody who has not seen it sent.
    pub fn has_known_sequence(&self) -> bool {
        !matches!(
            (self.refresh, self.template_port, self.protocol),
            (TemplateRefresh::Interval(_), TemplatePort::Same, Protocol::V9 | Protocol::Ipfix)
        )
    }

    /// Milliseconds from boot to the sending of data datagram `datagram`: the second after its last flow ended.
    /// Whole seconds, because a v9 header's clock has no smaller unit and the boot time must come out exact.
    pub fn uptime_ms(&self, datagram: u64) -> u32 {
        self.life_of(datagram).uptime_ms(self, datagram)
    }

    /// The exporter's clock when it sends data datagram `datagram`, seconds since 1970 UTC.
    pub fn clock(&self, datagram: u64) -> u32 {
        self.life_of(datagram).clock_at(self, datagram)
    }

    fn first_life(&self) -> Life {
        Life {
            first_datagram: 0,
            boot_time: self.boot_time,
            layout: Layout::Same,
            first_flow_end_ms: FIRST_FLOW_END_MS,
        }
    }
}

impl Life {
    fn uptime_ms(&self, exporter: &Exporter, datagram: u64) -> u32 {
        let datagrams = datagram - self.first_datagram + 1;
        let last = self.first_flow_end_ms + (datagrams * exporter.records_per_datagram) as u32;
        last.next_multiple_of(1_000)
    }

    fn clock_at(&self, exporter: &Exporter, datagram: u64) -> u32 {
        self.boot_time + self.uptime_ms(exporter, datagram) / 1_000
    }
}

impl FromStr for TemplateRefresh {
    type Err = String;

    /// `once`, a number of datagrams (`500`), or a duration, which has a unit (`30s`).
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "once" {
            return Ok(Self::Once);
        }
        if let Ok(datagrams) = text.parse::<u64>() {
            return NonZeroU64::new(datagrams).map(Self::Datagrams).ok_or_else(|| {
                "0 datagrams is no interval: for templates at the start only say once".to_owned()
            });
        }
        match parse_duration(text)? {
            Duration::ZERO => Err("an interval must be longer than 0".to_owned()),
            interval => Ok(Self::Interval(interval)),
        }
    }
}

impl fmt::Display for TemplateRefresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Once => f.write_str("once"),
            Self::Datagrams(datagrams) => write!(f, "{datagrams}"),
            Self::Interval(interval) => write!(f, "{}s", interval.as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::tests::workload;

    fn exporters(options: &str) -> Vec<Exporter> {
        workload(options).unwrap().exporters().collect()
    }

    #[test]
    fn sequence_numbers_count_what_the_protocol_counts() {
        let options =
            "--exporters 4 --protocol v5,v9,ipfix,sflow --records-per-datagram 10 --templates-every 100";
        let sequences = |options: &str, datagram| -> Vec<u32> {
            exporters(options).iter().map(|exporter| exporter.sequence(datagram)).collect()
        };
        assert_eq!(sequences(options, 0), [0, 1, 2, 0]);
        assert_eq!(sequences(options, 99), [990, 100, 992, 99]);
        assert_eq!(sequences(options, 100), [1000, 102, 1004, 100]);
        let other = format!("{options} --template-port other");
        assert_eq!(sequences(&other, 100), [1000, 100, 1000, 100]);
        let once = options.replace("100", "once");
        assert_eq!(sequences(&once, 100), [1000, 101, 1002, 100]);
    }

    #[test]
    fn a_restart_begins_sequence_and_uptime_anew() {
        let options =
            "--exporters 4 --protocol v5,v9,ipfix,sflow --records-per-datagram 10 --restart-after 1000";
        for exporter in exporters(options) {
            assert_eq!(exporter.sequence(100), exporter.sequence(0));
            assert!(exporter.sequence(99) > 16 * exporter.sequence(100));
            assert!(exporter.uptime_ms(100) < exporter.uptime_ms(0));
            assert!(exporter.refreshes_at(100) && !exporter.refreshes_at(99));
            // Its clock goes on, and the boot lies where it was before.
            assert!(exporter.clock(100) > exporter.clock(99));
            assert_eq!(exporter.life_of(100).boot_time, exporter.clock(99));
            let (before, after) = (exporter.flow(999), exporter.flow(1_000));
            assert!(after.end_ms < before.end_ms && after.start_ms < after.end_ms);
            assert!(after.end_ms <= exporter.uptime_ms(100));
        }
    }

    #[test]
    fn a_clock_can_fall_back_by_a_restart() {
        let options = "--records-per-datagram 10 --restart-after 1000 --restart-clock-back 2h";
        let exporter = exporters(options)[0];
        assert_eq!(exporter.life_of(100).boot_time, exporter.clock(99) - 7_200);
        assert!(exporter.clock(100) < exporter.clock(0));
        assert_eq!(exporter.life_of(99), exporter.life_of(0));
    }

    #[test]
    fn refreshes_are_named_by_datagrams_time_or_once() {
        for text in ["once", "500", "30s", "0.5s"] {
            assert_eq!(text.parse::<TemplateRefresh>().unwrap().to_string(), text);
        }
        for text in ["0", "0s", "often", "-1"] {
            assert!(text.parse::<TemplateRefresh>().is_err(), "{text}");
        }
    }
}
