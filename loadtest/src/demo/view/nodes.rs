//! What each node does, and what it has of the other through the coordinator.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Row, Table};

use super::{NARROW, Snapshot, panel, right_aligned};
use crate::demo::columns::grouped;

const HEADS: [&str; 8] = [
    "datagrams/s",
    "records/s",
    "datagrams",
    "records",
    "templates: own",
    "shared",
    "sets: held",
    "released",
];

/// Draws them.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot) {
    let is_narrow = area.width < NARROW;
    let shown = |column: usize| !(is_narrow && (column == 2 || column == 3));
    let rates = snapshot.rates.nodes.iter().copied().map(Some).chain(std::iter::repeat(None));
    let rows = snapshot.seen.nodes.iter().zip(rates).map(|(node, rates)| {
        let (account, rates) = (&node.account, rates.unwrap_or_default());
        let counts = [
            rates.datagrams,
            rates.records,
            account.datagrams,
            account.produced,
            account.own_templates,
            account.shared_templates,
            account.sets.held,
            account.sets.released,
        ];
        let cells = counts.into_iter().enumerate().filter(|(column, _)| shown(*column));
        let cells = cells.map(|(_, count)| right_aligned(&grouped(count)));
        Row::new([Cell::from(node.name.clone())].into_iter().chain(cells))
    });
    let heads = HEADS.into_iter().enumerate().filter(|(column, _)| shown(*column)).map(|(_, head)| head);
    let widths = heads.clone().map(|head| Constraint::Length(head.len() as u16));
    let widths = [Constraint::Fill(1)].into_iter().chain(widths);
    let header = [Cell::from("node")].into_iter().chain(heads.map(right_aligned));
    let about = " own: announced here · shared: told by the coordinator first ";
    let block = panel("Nodes").title_bottom(Line::from(about).dark_gray());
    let header = Row::new(header).style(Style::new().dark_gray());
    frame.render_widget(Table::new(rows, widths).header(header).block(block), area);
}
