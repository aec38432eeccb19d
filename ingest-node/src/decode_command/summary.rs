//! What `decode` says at its end: the ledger of the files.

use std::fmt;
use std::io::{self, Write};

use flow_decoder::Stream;
use flow_decoder::statistics::{ReasonCounts, Statistics};

use crate::capture::CaptureCounts;

/// What happened before the decoder.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) files: usize,
    /// Datagrams that `--port` passed over.
    pub(super) other_ports: u64,
    captures: CaptureCounts,
}

impl Summary {
    pub(super) fn add_capture(&mut self, counts: CaptureCounts) {
        self.captures.frames += counts.frames;
        self.captures.datagrams += counts.datagrams;
        self.captures.other_frames += counts.other_frames;
        self.captures.incomplete_packets += counts.incomplete_packets;
    }

    pub(super) fn write(&self, statistics: &Statistics, errors: &mut impl Write) -> io::Result<()> {
        let captures = &self.captures;
        writeln!(
            errors,
            "files {}: frames {}, UDP datagrams {}, other frames {}, packets with missing fragments {}, to other ports {}",
            self.files,
            captures.frames,
            captures.datagrams,
            captures.other_frames,
            captures.incomplete_packets,
            self.other_ports,
        )?;
        let datagrams = &statistics.datagrams;
        writeln!(
            errors,
            "datagrams: received {} = decoded {} + partly decoded {} + rejected {}",
            datagrams.received,
            datagrams.decoded,
            datagrams.partly_decoded,
            Rejected(&datagrams.rejected),
        )?;
        let sets = &statistics.sets;
        writeln!(
            errors,
            "data sets: seen {} = decoded {} + pending {} + expired {} + evicted {} + rejected {}",
            sets.seen,
            sets.decoded,
            sets.pending,
            sets.expired,
            sets.evicted,
            Rejected(&sets.rejected),
        )?;
        let templates = &statistics.templates;
        writeln!(
            errors,
            "templates: received {}, new or changed {}, withdrawals ignored {}, conflicts {}",
            templates.received, templates.changed, templates.withdrawn, templates.conflicts,
        )?;
        let [flow, counters, drops, options] = Stream::ALL.map(|stream| statistics.records[stream as usize]);
        writeln!(errors, "records: flow {flow}, counters {counters}, drops {drops}, options {options}")?;
        let handed_on = captures.datagrams - self.other_ports;
        let balanced = statistics.check() && datagrams.received == handed_on;
        let verdict = if balanced { "balanced" } else { "DIFFERS" };
        writeln!(
            errors,
            "ledger {verdict}: {handed_on} datagrams, {} data sets, {flow} flow records",
            sets.seen
        )
    }
}

/// A sum with its parts: `3 (no_template 2, set_length 1)`.
struct Rejected<'a>(&'a ReasonCounts);

impl fmt::Display for Rejected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.total())?;
        let mut separator = " (";
        for (reason, count) in self.0.iter().filter(|(_, count)| *count > 0) {
            write!(f, "{separator}{} {count}", reason.label())?;
            separator = ", ";
        }
        f.write_str(if separator == ", " { ")" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use flow_decoder::Reason;

    use super::*;

    #[test]
    fn the_last_line_judges_the_ledger() {
        let mut statistics = Statistics::default();
        statistics.datagrams.received = 3;
        statistics.datagrams.decoded = 1;
        statistics.datagrams.rejected[Reason::ShortHeader] = 1;
        statistics.datagrams.rejected[Reason::UnknownVersion] = 1;
        let mut summary = Summary { files: 1, ..Summary::default() };
        summary.add_capture(CaptureCounts { datagrams: 3, ..CaptureCounts::default() });
        let text = |summary: &Summary, statistics: &Statistics| {
            let mut out = Vec::new();
            summary.write(statistics, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let shown = text(&summary, &statistics);
        assert!(shown.contains("rejected 2 (short_header 1, unknown_version 1)\n"), "{shown}");
        assert!(shown.ends_with("ledger balanced: 3 datagrams, 0 data sets, 0 flow records\n"), "{shown}");
        statistics.datagrams.decoded = 2;
        assert!(text(&summary, &statistics).contains("ledger DIFFERS"));
    }
}
