//! What one run sends, as far as both sides must agree on it: seed, exporters, records, datagram shape.
//!
//! `run`, `verify` and `measure` take the same options and build the same [`Workload`] from them; everything that can be
//! computed about a record without having sent it is here and in [`crate::exporter`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use clap::{Args, ValueEnum};
use thiserror::Error;

use crate::duration::parse_duration;
use crate::exporter::{Exporter, Layout, Restart, TemplatePort, TemplateRefresh};
use crate::identity::{Identities, MAX_EXPORTERS, mix};
use crate::model::FIRST_FLOW_END_MS;

/// Records of one exporter: their times are milliseconds in 32 bits, so the limit leaves room for the first hour.
pub const MAX_RECORDS_PER_EXPORTER: u64 = (u32::MAX - FIRST_FLOW_END_MS - 60_000) as u64;

/// An export protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// NetFlow version 5.
    V5,
    /// NetFlow version 9 (RFC 3954).
    V9,
    /// IPFIX (RFC 7011).
    Ipfix,
    /// sFlow version 5.
    Sflow,
}

impl Protocol {
    /// Records in a datagram that stays below a 1,500-byte MTU, as real exporters fill theirs.
    pub fn usual_records_per_datagram(self) -> u16 {
        match self {
            Self::V5 | Self::V9 => 24,
            Self::Ipfix => 12,
            Self::Sflow => 4,
        }
    }

    fn most_records_per_datagram(self) -> u16 {
        match self {
            Self::V5 => 30,
            Self::V9 | Self::Ipfix => 400,
            Self::Sflow => 150,
        }
    }
}

/// Options that `run` and `verify` share; the same values make the same records.
#[derive(Debug, Clone, Args)]
pub struct WorkloadArgs {
    /// Protocols, comma-separated; exporters take them in turn
    #[arg(long, value_enum, value_delimiter = ',', default_value = "v9")]
    pub protocol: Vec<Protocol>,
    /// Number of simulated exporters, each with a source address of its own
    #[arg(long, default_value_t = 16)]
    pub exporters: u32,
    /// Address of the first exporter; the others follow it
    #[arg(long, default_value = "127.1.0.1")]
    pub source_base: IpAddr,
    /// Seed of all values
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Records in total, shared evenly among the exporters
    #[arg(long)]
    pub records: Option<u64>,
    /// Records in a datagram [default: 24 for v5 and v9, 12 for IPFIX, 4 for sFlow]; v5 holds at most 30
    #[arg(long)]
    pub records_per_datagram: Option<u16>,
    /// Templates, sampler options and sFlow counters are repeated every so many datagrams of an exporter (`500`), or
    /// after a time (`30s`), or sent `once` at its start
    #[arg(long, default_value = "500")]
    pub templates_every: TemplateRefresh,
    /// Which source port of an exporter templates and sampler options come from
    #[arg(long, value_enum, default_value = "same")]
    pub template_port: TemplatePort,
    /// When the exporters booted, seconds since 1970 UTC; all times in records count from it
    #[arg(long, default_value_t = 1_767_225_600)]
    pub boot_time: u32,
    /// Each exporter restarts after so many of its records, rounded up to whole datagrams: its uptime and sequence begin
    /// anew and it announces its templates again
    #[arg(long)]
    pub restart_after: Option<u64>,
    /// How far an exporter's clock falls back by the restart
    #[arg(long, value_parser = parse_duration, default_value = "0s", requires = "restart_after")]
    pub restart_clock_back: Duration,
    /// The layout of its records (v9 and IPFIX) under the same template id after the restart
    #[arg(long, value_enum, default_value = "same", requires = "restart_after")]
    pub restart_layout: Layout,
}

/// Why options do not make a workload.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WorkloadError {
    /// More exporters than an identity can tell apart, or none.
    #[error("--exporters must be between 1 and {MAX_EXPORTERS}, not {0}")]
    Exporters(u32),
    /// The address range of the exporters leaves the address space.
    #[error("--source-base {0} leaves no room for {1} exporters")]
    SourceBase(IpAddr, u32),
    /// The times of the last records would not fit.
    #[error(
        "--records asks for {0} records of one exporter, at most {MAX_RECORDS_PER_EXPORTER} fit: use more exporters"
    )]
    Records(u64),
    /// A datagram cannot hold so many records.
    #[error("--records-per-datagram must be between 1 and {most} with {protocol:?}, not {asked}")]
    RecordsPerDatagram {
        /// Whose limit it is.
        protocol: Protocol,
        /// The limit.
        most: u16,
        /// What was asked.
        asked: u16,
    },
    /// There would be nothing before the restart.
    #[error("--restart-after must be at least 1")]
    RestartAfter,
    /// No protocol was given.
    #[error("--protocol names no protocol")]
    Protocol,
}

/// A checked description of what is sent.
#[derive(Debug, Clone)]
pub struct Workload {
    identities: Identities,
    seed: u64,
    protocols: Vec<Protocol>,
    exporters: u32,
    source_base: IpAddr,
    records: Option<u64>,
    records_per_datagram: Option<u16>,
    refresh: TemplateRefresh,
    template_port: TemplatePort,
    boot_time: u32,
    restart: Option<PlannedRestart>,
}

/// A restart, before it is known how many records a datagram of the exporter holds.
#[derive(Debug, Clone, Copy)]
struct PlannedRestart {
    records: u64,
    clock_back: Duration,
    layout: Layout,
}

impl TryFrom<&WorkloadArgs> for Workload {
    type Error = WorkloadError;

    fn try_from(args: &WorkloadArgs) -> Result<Self, WorkloadError> {
        if args.protocol.is_empty() {
            return Err(WorkloadError::Protocol);
        }
        if args.exporters == 0 || args.exporters > MAX_EXPORTERS {
            return Err(WorkloadError::Exporters(args.exporters));
        }
        if args.restart_after == Some(0) {
            return Err(WorkloadError::RestartAfter);
        }
        if let Some(asked) = args.records_per_datagram {
            for protocol in &args.protocol {
                let most = protocol.most_records_per_datagram();
                if asked == 0 || asked > most {
                    return Err(WorkloadError::RecordsPerDatagram { protocol: *protocol, most, asked });
                }
            }
        }
        let most = args.records.unwrap_or(0).div_ceil(args.exporters.into());
        if most > MAX_RECORDS_PER_EXPORTER {
            return Err(WorkloadError::Records(most));
        }
        address_after(args.source_base, args.exporters - 1)
            .ok_or(WorkloadError::SourceBase(args.source_base, args.exporters))?;
        Ok(Self {
            identities: Identities::new(args.seed),
            seed: args.seed,
            protocols: args.protocol.clone(),
            exporters: args.exporters,
            source_base: args.source_base,
            records: args.records,
            records_per_datagram: args.records_per_datagram,
            refresh: args.templates_every,
            template_port: args.template_port,
            boot_time: args.boot_time,
            restart: args.restart_after.map(|records| PlannedRestart {
                records,
                clock_back: args.restart_clock_back,
                layout: args.restart_layout,
            }),
        })
    }
}

impl Workload {
    /// All exporters in order.
    pub fn exporters(&self) -> impl Iterator<Item = Exporter> + '_ {
        (0..self.exporters).map(|index| self.exporter(index))
    }

    /// Records in total; `None` where only a duration ends the run.
    pub fn records(&self) -> Option<u64> {
        self.records
    }

    /// Records of exporter `index`: an even share, the first exporters taking one more each of what is left over.
    pub fn records_of(&self, index: u32) -> u64 {
        let Some(records) = self.records else { return MAX_RECORDS_PER_EXPORTER };
        let exporters = u64::from(self.exporters);
        records / exporters + u64::from(u64::from(index) < records % exporters)
    }

    /// The seed of all values.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Which exporter and record number an identity stands for, whether or not this workload has such a record.
    pub fn number_of(&self, identity: u64) -> (u32, u64) {
        self.identities.number_of(identity)
    }

    fn exporter(&self, index: u32) -> Exporter {
        let protocol = self.protocols[index as usize % self.protocols.len()];
        let random = mix(self.seed ^ u64::from(index));
        let records_per_datagram =
            u64::from(self.records_per_datagram.unwrap_or_else(|| protocol.usual_records_per_datagram()));
        let restart = self.restart.map(|planned| Restart {
            datagram: planned.records.div_ceil(records_per_datagram),
            clock_back: planned.clock_back,
            layout: planned.layout,
        });
        Exporter {
            index,
            address: address_after(self.source_base, index).unwrap_or(self.source_base),
            protocol,
            domain: if protocol == Protocol::V5 { index & 0xff } else { 1 + index },
            records_per_datagram,
            boot_time: self.boot_time,
            refresh: self.refresh,
            template_port: self.template_port,
            restart,
            announced: 0,
            identities: self.identities,
            rates: [100 + (random % 900) as u32, 1_000 + (random >> 32) as u32 % 9_000],
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocols: Vec<String> = self.protocols.iter().map(|protocol| format!("{protocol:?}")).collect();
        write!(
            f,
            "{} exporters from {}, {}, seed {}",
            self.exporters,
            self.source_base,
            protocols.join("+"),
            self.seed
        )
    }
}

/// The address `steps` after `base`, if there is one.
pub(crate) fn address_after(base: IpAddr, steps: u32) -> Option<IpAddr> {
    match base {
        IpAddr::V4(base) => base.to_bits().checked_add(steps).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(base) => {
            base.to_bits().checked_add(steps.into()).map(|bits| Ipv6Addr::from_bits(bits).into())
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: WorkloadArgs,
    }

    pub(crate) fn workload(options: &str) -> Result<Workload, WorkloadError> {
        let line = Line::parse_from(std::iter::once("test").chain(options.split_whitespace()));
        Workload::try_from(&line.args)
    }

    #[test]
    fn records_are_shared_among_exporters_without_loss() {
        let workload = workload("--exporters 7 --records 1000").unwrap();
        assert_eq!((0..7).map(|index| workload.records_of(index)).sum::<u64>(), 1000);
        assert_eq!(workload.records_of(0) - workload.records_of(6), 1);
    }

    #[test]
    fn exporters_take_protocols_and_addresses_in_turn() {
        let workload = workload("--exporters 3 --protocol v5,ipfix --source-base 127.1.0.255").unwrap();
        let exporters: Vec<_> = workload.exporters().map(|e| (e.address.to_string(), e.protocol)).collect();
        assert_eq!(exporters[0], ("127.1.0.255".into(), Protocol::V5));
        assert_eq!(exporters[1], ("127.1.1.0".into(), Protocol::Ipfix));
        assert_eq!(exporters[2], ("127.1.1.1".into(), Protocol::V5));
    }

    #[test]
    fn impossible_options_are_refused() {
        assert_eq!(workload("--exporters 0").unwrap_err(), WorkloadError::Exporters(0));
        assert_eq!(
            workload("--protocol v5 --records-per-datagram 31").unwrap_err(),
            WorkloadError::RecordsPerDatagram { protocol: Protocol::V5, most: 30, asked: 31 }
        );
        let base = "255.255.255.255".parse().unwrap();
        assert_eq!(
            workload("--source-base 255.255.255.255 --exporters 2").unwrap_err(),
            WorkloadError::SourceBase(base, 2)
        );
        assert!(matches!(workload("--records 9000000000 --exporters 1"), Err(WorkloadError::Records(_))));
    }
}
