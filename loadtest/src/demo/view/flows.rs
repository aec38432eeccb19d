//! The last flows, one line each.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Style, Stylize};
use ratatui::widgets::{Cell, Row, Table};

use super::{ACCENT, NARROW, Snapshot, panel, right_aligned};
use crate::demo::columns;

/// Width of each of the columns of [`columns::of`], and in a narrow view; 0 leaves a column out.
const WIDTHS: [(Constraint, Constraint); 8] = [
    (Constraint::Length(11), Constraint::Length(0)),
    (Constraint::Length(10), Constraint::Length(10)),
    (Constraint::Fill(1), Constraint::Fill(1)),
    (Constraint::Fill(1), Constraint::Fill(1)),
    (Constraint::Length(6), Constraint::Length(6)),
    (Constraint::Length(9), Constraint::Length(0)),
    (Constraint::Length(11), Constraint::Length(9)),
    (Constraint::Length(7), Constraint::Length(0)),
];

/// Draws the flows.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot) {
    let rows = snapshot.flows.iter().map(|record| {
        let [exporter, protocol, source, destination, ip, packets, bytes, sampled] = columns::of(record);
        Row::new([
            Cell::from(exporter).dark_gray(),
            Cell::from(protocol).fg(ACCENT),
            Cell::from(source),
            Cell::from(destination),
            Cell::from(ip),
            right_aligned(&packets),
            right_aligned(&bytes),
            right_aligned(&sampled),
        ])
    });
    let widths = WIDTHS.map(|(wide, narrow)| if area.width < NARROW { narrow } else { wide });
    let [exporter, protocol, source, destination, ip, counts @ ..] = columns::HEADS;
    let head = [exporter, protocol, source, destination, ip]
        .map(Cell::from)
        .into_iter()
        .chain(counts.map(right_aligned));
    let table = Table::new(rows, widths)
        .header(Row::new(head).style(Style::new().dark_gray()))
        .block(panel("Last flows, as consumed from Kafka"));
    frame.render_widget(table, area);
}
