//! Between the contract's messages and the types of `catchment-sequence`.

use std::net::IpAddr;
use std::time::Duration;

use catchment_proto::cluster::v1::{
    ExporterKey, ExporterSequences, SequenceRanges, SequenceReport, SequenceSpace, SequenceTotals,
    SequenceUnit,
};
use catchment_proto::node::v1::SequenceAccount;
use catchment_sequence::{Account, Cause, NodeReport, Space, SpaceReport, Totals, Unit};
use serde::Serializer;
use serde::ser::SerializeMap as _;

use crate::filter::Exporter;
use crate::validate;

/// A report without its spaces.
pub(super) fn head<'a>(node: &'a str, incarnation: u64, report: &SequenceReport) -> NodeReport<'a> {
    NodeReport {
        node,
        incarnation,
        number: report.number,
        covers: Duration::from_nanos(report.to_ns.saturating_sub(report.from_ns)),
        lost_here: report.lost_here,
    }
}

/// The spaces of a report, and how many were not valid.
pub(super) fn report(report: &SequenceReport) -> (Vec<(Space, u32, SpaceReport)>, usize) {
    let spaces: Vec<_> = report.spaces.iter().filter_map(ranges).collect();
    let invalid = report.spaces.len() - spaces.len();
    (spaces, invalid)
}

fn ranges(message: &SequenceRanges) -> Option<(Space, u32, SpaceReport)> {
    let space = space(message.space.as_ref()?)?;
    let report = SpaceReport {
        base: message.base,
        pairs: message.ranges.clone(),
        restarts: message.restarts.clone(),
        reordered: message.reordered,
        repeated: message.repeated_numbers,
        stray: message.stray_numbers,
        truncated: message.truncated,
    };
    Some((space, message.thread, report))
}

fn space(message: &SequenceSpace) -> Option<Space> {
    let unit = match message.unit() {
        SequenceUnit::Datagrams => Unit::Datagrams,
        SequenceUnit::Flows => Unit::Flows,
        SequenceUnit::DataRecords => Unit::DataRecords,
        SequenceUnit::Samples => Unit::Samples,
        SequenceUnit::Unspecified => return None,
    };
    Some(Space {
        zone: validate::name(&message.zone).ok()?.into(),
        exporter: address(&message.exporter)?,
        port: u16::try_from(message.port).ok()?,
        version: u16::try_from(message.version).ok()?,
        domain: message.domain,
        data_source: message.data_source,
        unit,
    })
}

/// An address of 4 or 16 octets; IPv4-mapped ones are IPv4.
pub(crate) fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(octets).ok().map(|octets| IpAddr::from(octets).to_canonical()),
        _ => None,
    }
}

/// The octets of an address.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// An exporter's accounts.
pub(super) fn exporter((zone, exporter): Exporter, mut accounts: Vec<(Space, Account)>) -> ExporterSequences {
    accounts.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    ExporterSequences {
        exporter: Some(ExporterKey { zone: zone.into(), address: octets(exporter) }),
        sequences: accounts.iter().map(|(space, account)| account_message(space, account)).collect(),
    }
}

/// An account as people see it.
pub fn account_message(space: &Space, account: &Account) -> SequenceAccount {
    SequenceAccount {
        port: u32::from(space.port),
        version: u32::from(space.version),
        domain: space.domain,
        data_source: space.data_source,
        unit: space.unit.as_str().to_owned(),
        received: account.received,
        lost_upstream: account.lost_upstream,
        lost_here: account.lost_here,
        lost_unknown: account.lost_unknown,
        reordered: account.reordered,
        repeated_numbers: account.repeated,
        resets: account.resets,
        notes: account.notes.iter().map(ToString::to_string).collect(),
        stray: account.stray,
        waiting: account.waiting,
        span: account.span,
    }
}

/// The totals as people see them: what was taken back is not lost.
pub fn totals_message(totals: &Totals, spaces: usize) -> SequenceTotals {
    let lost = |cause: Cause| totals.lost[cause as usize] - totals.taken_back[cause as usize];
    SequenceTotals {
        received: totals.received,
        lost_upstream: lost(Cause::Upstream),
        lost_here: lost(Cause::Here),
        lost_unknown: lost(Cause::Unknown),
        reordered: totals.reordered,
        repeated_numbers: totals.repeated,
        resets: totals.resets,
        stray: totals.stray,
        spaces: spaces as u64,
    }
}

/// The totals as JSON: counts that only grow.
pub(super) fn totals_json<S: Serializer>(totals: &Totals, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("received", &totals.received)?;
    for cause in Cause::ALL {
        map.serialize_entry(&format!("lost_{}", cause.as_str()), &totals.lost[cause as usize])?;
        map.serialize_entry(&format!("taken_back_{}", cause.as_str()), &totals.taken_back[cause as usize])?;
    }
    map.serialize_entry("reordered", &totals.reordered)?;
    map.serialize_entry("repeated", &totals.repeated)?;
    map.serialize_entry("resets", &totals.resets)?;
    map.serialize_entry("stray", &totals.stray)?;
    map.end()
}
