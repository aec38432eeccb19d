//! What the live view shows: rates, exporters, the node's ledger, the last flows. Draws a [`Snapshot`], changes nothing.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Cell, Padding, Paragraph, Row, Sparkline, Table};

use super::columns::{self, grouped};
use super::feed::Seen;
use super::meter::Totals;
use crate::node_ledger::Ledger;

const ACCENT: Color = Color::Cyan;
const GOOD: Color = Color::Green;
const BAD: Color = Color::Red;
const LEDGER_WIDTH: u16 = 40;
const LEDGER_ROWS: u16 = 13;
const BORDERS: u16 = 2;
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
    /// Where the node listens.
    pub(super) listener: String,
    /// Per second.
    pub(super) rates: Totals,
    /// Records of each past second.
    pub(super) history: Vec<u64>,
    /// Counts, flows, ledger.
    pub(super) seen: Seen,
}

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, snapshot: &Snapshot) {
    let exporters = snapshot.seen.sources.len() as u16;
    let [head, middle, flows, foot] = Layout::vertical([
        Constraint::Length(5),
        Constraint::Max((exporters + 1).max(LEDGER_ROWS) + BORDERS),
        Constraint::Min(8),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let [left, right] =
        Layout::horizontal([Constraint::Min(40), Constraint::Length(LEDGER_WIDTH)]).areas(middle);
    draw_head(frame, head, snapshot);
    draw_exporters(frame, left, snapshot);
    draw_ledger(frame, right, snapshot);
    draw_flows(frame, flows, snapshot);
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
    let way = format!(" exporters → UDP {} → ingest-node → Kafka → here ", snapshot.listener);
    let block = panel("Catchment").title_top(Line::from(way).alignment(Alignment::Right).dark_gray());
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let [numbers, curve] = Layout::horizontal([Constraint::Length(34), Constraint::Min(10)]).areas(inside);
    let line = |number: u64, what: &'static str| {
        Line::from(vec![format!("{:>12}", grouped(number)).fg(ACCENT).bold(), Span::raw("  "), what.into()])
    };
    let text = vec![
        line(snapshot.rates.records, "records/s"),
        line(snapshot.rates.datagrams, "datagrams/s"),
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
    let sources = &snapshot.seen.sources;
    let address_width = if area.width < NARROW - LEDGER_WIDTH { 0 } else { 11 };
    let rows = sources.iter().map(|source| {
        Row::new([
            Cell::from(source.name.clone()),
            Cell::from(source.address.to_string()).dark_gray(),
            right_aligned(&grouped(source.datagrams)),
            right_aligned(&grouped(source.records)),
        ])
    });
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(address_width),
        Constraint::Length(9),
        Constraint::Length(8),
    ];
    let head = Row::new([
        Cell::from("exporter"),
        Cell::from("address"),
        right_aligned("datagrams"),
        right_aligned("records"),
    ]);
    let title = format!("Exporters ({})", sources.len());
    let table = Table::new(rows, widths).header(head.style(Style::new().dark_gray())).block(panel(&title));
    frame.render_widget(table, area);
}

fn right_aligned(text: &str) -> Cell<'static> {
    Cell::from(Line::from(text.to_owned()).alignment(Alignment::Right))
}

fn draw_ledger(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot) {
    let block = panel("Ledger of the node");
    let Some(ledger) = &snapshot.seen.ledger else {
        frame.render_widget(Paragraph::new("not asked for yet").block(block), area);
        return;
    };
    let width = usize::from(block.inner(area).width);
    let lines = ledger_rows(ledger, snapshot.seen.records).map(|(name, count, role)| {
        let line = Line::from(format!("{name}{:>1$}", grouped(count), width.saturating_sub(name.len())));
        match role {
            Role::Total => line.bold(),
            Role::Part => line,
            Role::Loss if count > 0 => line.fg(BAD),
            Role::Loss => line.dark_gray(),
        }
    });
    let verdict = match ledger.imbalances().first() {
        None => Line::from(" ✓ every count is accounted for ").fg(GOOD).bold(),
        Some(fault) => Line::from(format!(" ≠ {fault} ")).fg(BAD).bold(),
    };
    frame.render_widget(Paragraph::new(lines.to_vec()).block(block.title_bottom(verdict)), area);
}

/// How a row of the ledger is shown.
enum Role {
    /// The left side of an equation.
    Total,
    /// A part of it.
    Part,
    /// A part that should be 0.
    Loss,
}

fn ledger_rows(ledger: &Ledger, consumed: u64) -> [(&'static str, u64, Role); LEDGER_ROWS as usize] {
    let (datagrams, sets, flow) = (&ledger.datagrams, &ledger.sets, ledger.flow());
    [
        ("datagrams arrived", datagrams.arrived, Role::Total),
        ("  dropped by the kernel", datagrams.kernel_dropped, Role::Loss),
        ("  decoded", datagrams.decoded, Role::Part),
        ("  decoded in part", datagrams.partly_decoded, Role::Part),
        ("  rejected", datagrams.rejected, Role::Loss),
        ("data sets seen", sets.seen, Role::Total),
        ("  decoded", sets.decoded, Role::Part),
        ("  rejected or waiting", sets.rejected + sets.expired + sets.evicted + sets.pending, Role::Loss),
        ("flow records produced", flow.produced, Role::Total),
        ("  delivered to Kafka", flow.delivered, Role::Part),
        ("  in flight", flow.in_flight, Role::Part),
        ("  dropped", flow.dropped, Role::Loss),
        ("consumed from Kafka here", consumed, Role::Total),
    ]
}

/// Width of each of the columns of [`columns::of`], and in a narrow view; 0 leaves a column out.
const FLOW_WIDTHS: [(Constraint, Constraint); 8] = [
    (Constraint::Length(11), Constraint::Length(0)),
    (Constraint::Length(10), Constraint::Length(10)),
    (Constraint::Fill(1), Constraint::Fill(1)),
    (Constraint::Fill(1), Constraint::Fill(1)),
    (Constraint::Length(6), Constraint::Length(6)),
    (Constraint::Length(9), Constraint::Length(0)),
    (Constraint::Length(11), Constraint::Length(9)),
    (Constraint::Length(7), Constraint::Length(0)),
];

fn draw_flows(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot) {
    let rows = snapshot.seen.recent.iter().rev().map(|record| {
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
    let widths = FLOW_WIDTHS.map(|(wide, narrow)| if area.width < NARROW { narrow } else { wide });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::feed::{Feed, Source};
    use crate::node_ledger::tests::BALANCED;
    use catchment_proto::flow::v1::FlowRecord;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use std::net::IpAddr;

    fn snapshot() -> Snapshot {
        let source = |name: &str, last| Source {
            name: name.into(),
            address: IpAddr::from([127, 2, 0, last]),
            datagrams: 1_234,
            records: 0,
        };
        let feed = Feed::new(vec![source("v9-softflowd", 1), source("sflow-pmacctd", 2)]);
        let record = FlowRecord {
            r#type: 3,
            sampler_address: vec![127, 2, 0, 1],
            src_addr: vec![198, 51, 100, 7],
            src_port: 50_000,
            dst_addr: vec![203, 0, 113, 9],
            dst_port: 443,
            proto: 6,
            bytes: 65_432,
            ..FlowRecord::default()
        };
        feed.seen().consume(record);
        feed.seen().ledger = Ledger::of_json(BALANCED);
        let seen = feed.seen().clone();
        Snapshot {
            elapsed: Duration::from_secs(12),
            length: Duration::from_secs(30),
            listener: "127.0.0.1:2055".into(),
            rates: Totals { datagrams: 150, records: 1_024 },
            history: vec![900, 1_000, 1_024],
            seen,
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
            "1,024  records/s",
            "150  datagrams/s",
            "v9-softflowd",
            "1,234",
            "198.51.100.7:50000",
            "203.0.113.9:443",
            "65,432",
            "delivered to Kafka",
            "every count is accounted for",
            "18 s left",
        ];
        for text in wanted {
            assert!(screen.contains(text), "{text:?} is not on\n{screen}");
        }
    }

    #[test]
    fn the_smallest_usual_terminal_shows_whole_addresses_and_the_verdict() {
        let screen = drawn(80, 24, &snapshot());
        for text in [
            "v9-softflowd",
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
        snapshot.seen.ledger.as_mut().unwrap().datagrams.arrived = 11;
        assert!(drawn(120, 40, &snapshot).contains("≠ datagrams arrived"));
    }

    #[test]
    fn a_small_terminal_and_an_empty_beginning_are_drawn_too() {
        let empty = Snapshot { seen: Seen::default(), history: vec![], ..snapshot() };
        for (width, height) in [(80, 24), (40, 10), (1, 1)] {
            drawn(width, height, &empty);
            drawn(width, height, &snapshot());
        }
    }
}
