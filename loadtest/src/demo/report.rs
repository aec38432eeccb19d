//! What the demo prints when it is over: which exporter's records came out, what each node did, and last the verdict.

use std::io::Write;
use std::time::Duration;

use super::columns::grouped;
use super::feed::Seen;
use super::parts::EndedNodes;
use super::verdict::{Outside, Verdict};
use crate::daemon::Ended;

/// Everything there is to report.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) seen: &'a Seen,
    pub(super) nodes: &'a EndedNodes,
    pub(super) coordinator: &'a Ended,
    pub(super) outside: Outside,
}

impl Report<'_> {
    /// Prints it; true where everything is accounted for.
    pub(super) fn print(&self, out: &mut impl Write, elapsed: Duration) -> anyhow::Result<bool> {
        let verdict = match &self.seen.fault {
            Some(fault) => Verdict::Differs(fault.clone()),
            None => Verdict::of(self.nodes, self.coordinator, &self.outside),
        };
        let is_balanced = matches!(verdict, Verdict::Balanced(_));
        if !is_balanced {
            self.print_logs(out)?;
        }
        writeln!(out)?;
        self.print_exporters(out)?;
        writeln!(out)?;
        self.print_nodes(out)?;
        let (sent, consumed) = (grouped(self.outside.sent), grouped(self.outside.consumed));
        let (exporters, seconds) = (self.seen.exporters(), elapsed.as_secs_f64());
        writeln!(
            out,
            "\n{sent} datagrams of {exporters} exporters became {consumed} flow records on Kafka in {seconds:.0} s"
        )?;
        writeln!(out, "{}", verdict.line())?;
        Ok(is_balanced)
    }

    fn print_logs(&self, out: &mut impl Write) -> std::io::Result<()> {
        let coordinator = ("the coordinator", self.coordinator);
        let nodes = self.nodes.iter().map(|(name, ended)| (name.as_str(), ended));
        for (name, ended) in nodes.chain([coordinator]).filter(|(_, ended)| !ended.log.is_empty()) {
            writeln!(out, "\nthe log of {name} ended with:\n{}", ended.log)?;
        }
        Ok(())
    }

    fn print_exporters(&self, out: &mut impl Write) -> std::io::Result<()> {
        writeln!(out, "{:<28} {:>9} {:>9}", "exporter", "datagrams", "records")?;
        for source in &self.seen.sources {
            let (datagrams, records) = (grouped(source.datagrams), grouped(source.records));
            writeln!(out, "{:<28} {datagrams:>9} {records:>9}", source.name)?;
        }
        Ok(())
    }

    fn print_nodes(&self, out: &mut impl Write) -> std::io::Result<()> {
        writeln!(
            out,
            "{:<28} {:>9} {:>9}   templates {:>6} {:>6}   sets {:>6} {:>8}   CPU s",
            "node", "datagrams", "records", "own", "shared", "held", "released"
        )?;
        let total = self.seen.total();
        let rows = self.seen.nodes.iter().map(|node| (node.name.as_str(), &node.account));
        for (name, account) in rows.chain([("both", &total)]) {
            let cpu = |ended: &Ended| ended.cpu.map(|cpu| format!("{:.2}", cpu.as_secs_f64()));
            let ended = self.nodes.iter().find(|(ended, _)| ended == name);
            writeln!(
                out,
                "{name:<28} {:>9} {:>9}             {:>6} {:>6}        {:>6} {:>8}   {:>5}",
                grouped(account.datagrams),
                grouped(account.produced),
                grouped(account.own_templates),
                grouped(account.shared_templates),
                grouped(account.sets.held),
                grouped(account.sets.released),
                ended.and_then(|(_, ended)| cpu(ended)).unwrap_or_default(),
            )?;
        }
        Ok(())
    }
}
