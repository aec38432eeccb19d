//! The cluster's account: what went in, what came out, and whether it adds up.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Stylize;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::{BAD, GOOD, Snapshot, panel};
use crate::demo::columns::grouped;
use crate::demo::feed::Seen;

/// Rows that it has.
pub(super) const ROWS: u16 = 14;

/// How a row is shown.
enum Role {
    /// What went in.
    Total,
    /// A part of it.
    Part,
    /// A part that should be 0.
    Loss,
}

/// Draws it.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot) {
    let seen = &snapshot.seen;
    let block = panel("Ledger of the cluster");
    let width = usize::from(block.inner(area).width);
    let lines = rows(seen).map(|(name, count, role)| {
        let line = Line::from(format!("{name}{:>1$}", grouped(count), width.saturating_sub(name.len())));
        match role {
            Role::Total => line.bold(),
            Role::Part => line,
            Role::Loss if count > 0 => line.fg(BAD),
            Role::Loss => line.dark_gray(),
        }
    });
    let fault = seen.nodes.iter().find_map(|node| Some((&node.name, node.account.imbalances.first()?)));
    let verdict = match fault {
        None => Line::from(" ✓ every count is accounted for ").fg(GOOD).bold(),
        Some((name, fault)) => Line::from(format!(" ≠ {name}: {fault} ")).fg(BAD).bold(),
    };
    frame.render_widget(Paragraph::new(lines.to_vec()).block(block.title_bottom(verdict)), area);
}

fn rows(seen: &Seen) -> [(&'static str, u64, Role); ROWS as usize] {
    let total = seen.total();
    let sets = &total.sets;
    [
        ("datagrams sent", seen.datagrams(), Role::Total),
        ("  read by nodes", total.datagrams, Role::Part),
        ("  dropped by kernels", total.kernel_dropped, Role::Loss),
        ("  rejected by nodes", total.rejected, Role::Loss),
        ("data sets", sets.seen, Role::Total),
        ("  decoded", sets.decoded, Role::Part),
        ("  waiting for a template", sets.pending, Role::Loss),
        ("  given up", sets.rejected + sets.expired + sets.evicted, Role::Loss),
        ("records produced", total.produced, Role::Total),
        ("  in flight", total.in_flight, Role::Part),
        ("  consumed from Kafka here", seen.records, Role::Part),
        ("  dropped", total.dropped, Role::Loss),
        ("sequence numbers seen", seen.sequences.received, Role::Total),
        ("  sequence numbers lost", seen.sequences.lost, Role::Loss),
    ]
}
