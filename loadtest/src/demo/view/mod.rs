//! What the live view shows: rates, nodes, exporters, the cluster's ledger, the last flows. Draws a [`Snapshot`], changes nothing.

mod flows;
mod ledger;
mod nodes;

use std::time::Duration;

use catchment_proto::flow::v1::FlowRecord;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Cell, Padding, Paragraph, Row, Sparkline, Table};

use super::columns::grouped;
use super::feed::Seen;
use super::meter::Rates;

const ACCENT: Color = Color::Cyan;
const GOOD: Color = Color::Green;
const BAD: Color = Color::Red;
const LEDGER_WIDTH: u16 = 38;
const BORDERS: u16 = 2;
const FEWEST_FLOWS: u16 = 5;
/// Below this width columns that matter less are left out, so that addresses keep their room.
const NARROW: u16 = 100;
/// Cells of the curve for each second.
const CELLS_PER_SECOND: usize = 2;

/// One moment of the demo.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    /// Since the replay began.
    pub(super) elapsed: Duration,
    /// When it will end by itself.
    pub(super) length: Duration,
    /// How datagrams reach the nodes, in words.
    pub(super) way: String,
    /// Per second.
    pub(super) rates: Rates,
    /// Records of each past second.
    pub(super) history: Vec<u64>,
    /// Flows to be shown, newest first.
    pub(super) flows: Vec<FlowRecord>,
    /// Counts, accounts.
    pub(super) seen: Seen,
}

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, snapshot: &Snapshot) {
    let exporters = snapshot.seen.sources.len() as u16;
    let nodes = snapshot.seen.nodes.len() as u16;
    let [head, of_nodes, middle, of_flows, foot] = Layout::vertical([
        Constraint::Length(3 + BORDERS),
        Constraint::Length(1 + nodes + BORDERS),
        Constraint::Max((exporters + 1).max(ledger::ROWS) + BORDERS),
        Constraint::Min(FEWEST_FLOWS),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let [left, right] =
        Layout::horizontal([Constraint::Min(30), Constraint::Length(LEDGER_WIDTH)]).areas(middle);
    draw_head(frame, head, snapshot);
    nodes::draw(frame, of_nodes, snapshot);
    draw_exporters(frame, left, snapshot);
    ledger::draw(frame, right, snapshot);
    flows::draw(frame, of_flows, snapshot);
    let rest = snapshot.length.saturating_sub(snapshot.elapsed).as_secs();
    let foot_line =
        Line::from(vec![" q ".bold(), "ends it now, ".dark_gray(), format!("{rest} s left").dark_gray()]);
    frame.render_widget(foot_line, foot);
}

fn panel(title: &str) -> Block<'_> {
    Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(Style::new().fg(Color::DarkGray))
        .title(Span::styled(format!(" {title} "), Style::new().fg(ACCENT).add_modifier(Modifier::BOLD)))
        .padding(Padding::horizontal(1))
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot) {
    let way = format!(" {} ", snapshot.way);
    let block = panel("Catchment").title_top(Line::from(way).alignment(Alignment::Right).dark_gray());
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let [numbers, curve] = Layout::horizontal([Constraint::Length(34), Constraint::Min(10)]).areas(inside);
    let line = |number: u64, what: &'static str| {
        Line::from(vec![format!("{:>12}", grouped(number)).fg(ACCENT).bold(), Span::raw("  "), what.into()])
    };
    let text = vec![
        line(snapshot.rates.cluster.records, "records/s"),
        line(snapshot.rates.cluster.datagrams, "datagrams/s"),
        line(snapshot.seen.records, "records so far"),
    ];
    frame.render_widget(Paragraph::new(text), numbers);
    // Once the curve is full the newest second stays at the right edge.
    let shown = snapshot.history.len().min(usize::from(curve.width) / CELLS_PER_SECOND);
    let newest = snapshot.history[snapshot.history.len() - shown..].iter();
    let newest: Vec<u64> = newest.flat_map(|rate| [*rate; CELLS_PER_SECOND]).collect();
    frame.render_widget(Sparkline::default().data(newest).style(Style::new().fg(GOOD)), curve);
}

fn draw_exporters(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot) {
    let seen = &snapshot.seen;
    let rows = seen.sources.iter().map(|source| {
        Row::new([
            Cell::from(source.name.clone()),
            right_aligned(&grouped(source.datagrams)),
            right_aligned(&grouped(source.records)),
        ])
    });
    let widths = [Constraint::Fill(1), Constraint::Length(9), Constraint::Length(8)];
    let head = Row::new([Cell::from("recorded of"), right_aligned("datagrams"), right_aligned("records")]);
    let sites = seen.exporters().div_ceil(seen.sources.len().max(1));
    let title = format!("{} exporters at {sites} sites", seen.exporters());
    let table = Table::new(rows, widths).header(head.style(Style::new().dark_gray())).block(panel(&title));
    frame.render_widget(table, area);
}

fn right_aligned(text: &str) -> Cell<'static> {
    Cell::from(Line::from(text.to_owned()).alignment(Alignment::Right))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::demo::accounts::{NodeAccount, SequenceAccount, tests::NODE};
    use crate::demo::feed::{Feed, Source};
    use crate::demo::meter::Totals;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use std::net::IpAddr;

    pub(in crate::demo) fn snapshot() -> Snapshot {
        let source = |name: &str| Source { name: name.into(), datagrams: 1_234, records: 0 };
        let names = ["node-1".to_owned(), "node-2".to_owned()];
        let feed = Feed::new(vec![source("v9-softflowd"), source("sflow-pmacctd")], &names);
        let record = FlowRecord {
            r#type: 3,
            sampler_address: vec![127, 2, 1, 1],
            src_addr: vec![198, 51, 100, 7],
            src_port: 50_000,
            dst_addr: vec![203, 0, 113, 9],
            dst_port: 443,
            proto: 6,
            bytes: 65_432,
            ..FlowRecord::default()
        };
        let mut seen = feed.seen();
        for last in 1..4 {
            seen.exporter(IpAddr::from([127, 2, 1, last]), 0);
        }
        seen.consume(record.clone());
        seen.nodes[0].account = NodeAccount::of_json(NODE).unwrap();
        seen.sequences = SequenceAccount { received: 5_000, lost: 2 };
        let totals = |datagrams, records| Totals { datagrams, records };
        Snapshot {
            elapsed: Duration::from_secs(12),
            length: Duration::from_secs(30),
            way: "udp 127.0.0.1:2055 gives each datagram to any node".into(),
            rates: Rates { cluster: totals(150, 1_024), nodes: vec![totals(70, 511), totals(80, 513)] },
            history: vec![900, 1_000, 1_024],
            flows: vec![record],
            seen: seen.clone(),
        }
    }

    fn drawn(width: u16, height: u16, snapshot: &Snapshot) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, snapshot)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn everything_a_stranger_wants_to_know_is_on_the_screen() {
        let screen = drawn(120, 40, &snapshot());
        let wanted = [
            "gives each datagram to any node",
            "1,024  records/s",
            "150  datagrams/s",
            "3 exporters at 2 sites",
            "v9-softflowd",
            "1,234",
            "node-2",
            "513",
            "shared",
            "released",
            "198.51.100.7:50000",
            "203.0.113.9:443",
            "65,432",
            "consumed from Kafka",
            "sequence numbers lost",
            "every count is accounted for",
            "18 s left",
        ];
        for text in wanted {
            assert!(screen.contains(text), "{text:?} is not on\n{screen}");
        }
    }

    #[test]
    fn the_smallest_usual_terminal_shows_nodes_whole_addresses_and_the_verdict() {
        let screen = drawn(80, 24, &snapshot());
        for text in [
            "v9-softflowd",
            "node-2",
            "released",
            "198.51.100.7:50000",
            "203.0.113.9:443",
            "65,432",
            "every count is accounted for",
        ] {
            assert!(screen.contains(text), "{text:?} is not on\n{screen}");
        }
    }

    #[test]
    fn an_imbalance_is_shown() {
        let mut snapshot = snapshot();
        snapshot.seen.nodes[1].account.imbalances.push("sets seen: 2 in, 1 accounted for".into());
        assert!(drawn(120, 40, &snapshot).contains("≠ node-2: sets seen"));
    }

    #[test]
    fn a_small_terminal_and_an_empty_beginning_are_drawn_too() {
        let empty = Snapshot { seen: Seen::default(), flows: vec![], history: vec![], ..snapshot() };
        for (width, height) in [(80, 24), (40, 10), (1, 1)] {
            drawn(width, height, &empty);
            drawn(width, height, &snapshot());
        }
    }
}
