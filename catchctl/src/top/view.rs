//! Draws the screen; the same as tables (`--once`) and as a line.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{
    Block, BorderType, Cell, Padding, Paragraph, Row, Sparkline, Table as Widget, TableState,
};

use super::look::{ExporterLook, Look, NodeLook};
use super::screen::State;
use crate::describe::{exporter, health_status, lost, node_health, reasons, wishes};
use crate::output::{
    Column, Facts, Output, Table, age_of, bytes, count, exact, moment, printable, rate, ratio,
};

const ACCENT: Color = Color::Cyan;
const GOOD: Color = Color::Green;
const DOUBTFUL: Color = Color::Yellow;
const BAD: Color = Color::Red;
const BORDERS: u16 = 2;
const LOSSES_WIDTH: u16 = 40;
/// Below this width octets are left out, so that addresses keep their room.
const NARROW: u16 = 60;
/// Exporters of a `--once`.
const EXPORTERS: usize = 10;

/// Draws all of it; `now` is in seconds since 1970.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, now: f64) {
    let nodes = u16::try_from(state.look.nodes.len()).unwrap_or(u16::MAX);
    let [head, middle, below, foot] = Layout::vertical([
        Constraint::Length(5),
        Constraint::Max(nodes.saturating_add(1 + BORDERS).max(1 + BORDERS)),
        Constraint::Min(7),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let losses = LOSSES_WIDTH.min(below.width * 2 / 5);
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(losses)]).areas(below);
    draw_head(frame, head, state);
    draw_nodes(frame, middle, state);
    draw_exporters(frame, left, state);
    draw_losses(frame, right, &state.look);
    frame.render_widget(foot_line(state, now), foot);
}

fn panel(title: &str) -> Block<'static> {
    Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(Style::new().fg(Color::DarkGray))
        .title(Span::styled(format!(" {title} "), Style::new().fg(ACCENT).add_modifier(Modifier::BOLD)))
        .padding(Padding::horizontal(1))
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let cluster = &state.look.cluster;
    let name = if cluster.cluster.is_empty() {
        "Catchment".to_owned()
    } else {
        format!("Catchment {}", printable(&cluster.cluster))
    };
    let answers = format!(" asked: {} ", printable(&cluster.coordinator_id));
    let block = panel(&name).title_top(Line::from(answers).alignment(Alignment::Right).dark_gray());
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let [numbers, curve] = Layout::horizontal([Constraint::Length(58), Constraint::Min(10)]).areas(inside);
    let (records, datagrams) = state.look.rates();
    let amount = |number: f64, what: &'static str| [rate(number).fg(ACCENT).bold(), Span::raw(what)];
    let text = vec![
        Line::from_iter(
            amount(records, " records/s   ").into_iter().chain(amount(datagrams, " datagrams/s")),
        ),
        Line::from(leadership(&state.look)),
        Line::from(shared(&state.look)).fg(if healthy_store(&state.look) { Color::Reset } else { BAD }),
    ];
    frame.render_widget(Paragraph::new(text), numbers);
    // Once the curve is full the newest look stays at the right edge.
    let shown = state.history.len().min(usize::from(curve.width));
    let newest: Vec<u64> = state.history.iter().skip(state.history.len() - shown).copied().collect();
    frame.render_widget(Sparkline::default().data(newest).style(Style::new().fg(GOOD)), curve);
}

fn healthy_store(look: &Look) -> bool {
    look.cluster.store_reachable && look.cluster.invalid_values == 0
}

fn leadership(look: &Look) -> String {
    let cluster = &look.cluster;
    let leader = if cluster.leader.is_empty() { "none" } else { &cluster.leader };
    printable(&format!("leader {leader} of {} coordinators", cluster.coordinators.len()))
}

fn shared(look: &Look) -> String {
    let cluster = &look.cluster;
    let mut text = format!(
        "store {} at {}, {} templates in {} scopes",
        printable(&cluster.store),
        cluster.store_revision,
        count(cluster.templates),
        count(cluster.scopes)
    );
    if !cluster.store_reachable {
        text = format!("store {}: NOT REACHED", printable(&cluster.store));
    } else if cluster.invalid_values > 0 {
        text += &format!(", {} INVALID", count(cluster.invalid_values));
    }
    text
}

fn colour(node: &NodeLook) -> Color {
    match node_health(&node.node) {
        "ok" => GOOD,
        "degraded" => DOUBTFUL,
        _ => BAD,
    }
}

const NODE_HEADS: [&str; 10] = [
    "node",
    "health",
    "records/s",
    "datagrams/s",
    "lost dg",
    "lost rec",
    "buffer",
    "pending",
    "CPU",
    "state",
];

/// The texts of a node, under [`NODE_HEADS`].
fn node_cells(look: &NodeLook) -> [String; 10] {
    let node = &look.node;
    let statistics = node.statistics.clone().unwrap_or_default();
    let (datagrams, records) = lost(&statistics);
    let mut state = node.health.as_ref().map(reasons).unwrap_or_default();
    state.extend(Some(wishes(node)).filter(|wishes| !wishes.is_empty()));
    [
        printable(&node.id),
        node_health(node).to_owned(),
        rate(node.records_per_second),
        rate(node.datagrams_per_second),
        count(datagrams),
        count(records),
        ratio(statistics.buffer_usage_ratio),
        bytes(statistics.pending_bytes),
        look.cpu.map_or_else(|| "-".to_owned(), ratio),
        printable(&state.join(", ")),
    ]
}

fn draw_nodes(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let names = state.look.nodes.iter().map(|look| look.node.id.chars().count()).max().unwrap_or(0);
    let names = u16::try_from(names).unwrap_or(u16::MAX);
    let rows = state.nodes().into_iter().map(|look| {
        let [name, health, numbers @ .., wishes] = node_cells(look);
        let lossy = look.node.statistics.as_ref().is_some_and(|statistics| lost(statistics) != (0, 0));
        let numbers = numbers.into_iter().enumerate().map(move |(at, number)| {
            let cell = right_aligned(number);
            if lossy && (at == 2 || at == 3) { cell.fg(DOUBTFUL) } else { cell }
        });
        Row::new(
            [Cell::from(name), Cell::from(health).fg(colour(look))]
                .into_iter()
                .chain(numbers)
                .chain([Cell::from(wishes)]),
        )
    });
    let widths = [
        Constraint::Length(names.clamp(4, 24)),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(11),
        Constraint::Length(7),
        Constraint::Length(8),
        Constraint::Length(6),
        Constraint::Length(9),
        Constraint::Length(4),
        Constraint::Fill(1),
    ];
    let [name, health, numbers @ .., wishes] = NODE_HEADS;
    let head = [Cell::from(name), Cell::from(health)]
        .into_iter()
        .chain(numbers.map(|head| right_aligned(head.to_owned())))
        .chain([Cell::from(wishes)]);
    let title = format!("Nodes ({}), by {}", state.look.nodes.len(), state.order.name());
    let table = Widget::new(rows, widths)
        .header(Row::new(head).style(Style::new().dark_gray()))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .block(panel(&title));
    let mut selected = TableState::default().with_selected(state.chosen_at());
    frame.render_stateful_widget(table, area, &mut selected);
}

fn right_aligned(text: String) -> Cell<'static> {
    Cell::from(Line::from(text).alignment(Alignment::Right))
}

fn exporter_cells(look: &ExporterLook) -> [String; 4] {
    [
        printable(&exporter(&look.address, &look.zone)),
        rate(look.records),
        rate(look.datagrams),
        format!("{}/s", bytes(look.bytes.round() as u64)),
    ]
}

fn draw_exporters(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let exporters = state.look.exporters(state.chosen.as_deref());
    let rows = exporters.iter().map(|look| {
        let [name, records, datagrams, bytes] = exporter_cells(look);
        Row::new([Cell::from(name), right_aligned(records), right_aligned(datagrams), right_aligned(bytes)])
    });
    let octets = if area.width < NARROW { 0 } else { 12 };
    let widths =
        [Constraint::Fill(1), Constraint::Length(9), Constraint::Length(11), Constraint::Length(octets)];
    let numbers = ["records/s", "datagrams/s", "bytes"].map(|head| right_aligned(head.to_owned()));
    let head = [Cell::from("exporter")].into_iter().chain(numbers);
    let title = match &state.chosen {
        Some(name) => format!("Heaviest exporters of {}", printable(name)),
        None => "Heaviest exporters".to_owned(),
    };
    let table =
        Widget::new(rows, widths).header(Row::new(head).style(Style::new().dark_gray())).block(panel(&title));
    frame.render_widget(table, area);
}

fn draw_losses(frame: &mut Frame<'_>, area: Rect, look: &Look) {
    let block = panel("Sequence numbers");
    let width = usize::from(block.inner(area).width);
    let Some(losses) = look.losses else {
        frame.render_widget(Paragraph::new("no leader answers").block(block), area);
        return;
    };
    let line = |name: &str, number: u64, colour: Color| {
        let line = Line::from(format!("{name}{:>1$}", exact(number), width.saturating_sub(name.len())));
        if number > 0 { line.fg(colour) } else { line.dark_gray() }
    };
    let lines = vec![
        line("received", losses.received, Color::Reset),
        line("lost before here", losses.upstream, DOUBTFUL),
        line("lost here", losses.here, BAD),
        line("lost, unknown where", losses.unknown, DOUBTFUL),
    ];
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn foot_line(state: &State, now: f64) -> Line<'static> {
    let key = |key: &'static str, what: &'static str| [key.bold(), what.dark_gray()];
    let mut spans: Vec<Span<'static>> = vec![];
    for (name, what) in [(" q", " ends  "), ("p", " holds  "), ("s", " sorts  "), ("↑↓", " chooses a node  ")]
    {
        spans.extend(key(name, what));
    }
    if state.paused {
        spans.push("held  ".fg(DOUBTFUL).bold());
    }
    if let Some(fault) = &state.fault {
        let age = age_of(state.look.at, now);
        spans.push(format!("no answer for {age}: {}", printable(fault)).fg(BAD));
    }
    Line::from(spans)
}

/// One look as tables.
pub(super) fn tables(look: &Look, output: &Output) -> String {
    let width = output.width;
    let (records, datagrams) = look.rates();
    let mut facts = Facts::default();
    facts
        .add("cluster", &look.cluster.cluster)
        .add("asked", &look.cluster.coordinator_id)
        .add("coordinators", leadership(look))
        .add("shared", shared(look))
        .add("rates", format!("{} records/s, {} datagrams/s", rate(records), rate(datagrams)))
        .add("sequences", sequences(look));
    let mut nodes = Table::new(
        &[
            Column::text("NODE"),
            Column::text("HEALTH"),
            Column::number("REC/S"),
            Column::number("DG/S"),
            Column::number("DG LOST"),
            Column::number("REC LOST"),
            Column::number("BUFFER"),
            Column::number("PENDING"),
            Column::number("CPU"),
            Column::wide("STATE"),
        ],
        "no node has a session with a coordinator",
    );
    look.nodes.iter().for_each(|node| nodes.row(node_cells(node)));
    let columns =
        [Column::wide("EXPORTER"), Column::number("REC/S"), Column::number("DG/S"), Column::number("BYTES")];
    let mut exporters = Table::new(&columns, "none");
    look.exporters(None).iter().take(EXPORTERS).for_each(|look| exporters.row(exporter_cells(look)));
    facts.render(width) + &nodes.section("Nodes", width) + &exporters.section("Heaviest exporters", width)
}

fn sequences(look: &Look) -> String {
    let Some(losses) = look.losses else { return "not known: no leader answers".to_owned() };
    format!(
        "{} received, lost: {} before here, {} here, {} unknown where",
        exact(losses.received),
        exact(losses.upstream),
        exact(losses.here),
        exact(losses.unknown)
    )
}

/// One look as a line.
pub(super) fn line(look: &Look) -> String {
    let (records, datagrams) = look.rates();
    let time = moment(look.at);
    let with_session = look.nodes.iter().filter(|node| !node.node.coordinator.is_empty()).count();
    let worst =
        look.nodes.iter().map(|node| node.node.health.as_ref().map_or(0, |health| health.status)).max();
    let (mut lost_datagrams, mut lost_records) = (0_u64, 0_u64);
    for statistics in look.nodes.iter().filter_map(|node| node.node.statistics.as_ref()) {
        let (datagrams, records) = lost(statistics);
        lost_datagrams = lost_datagrams.saturating_add(datagrams);
        lost_records = lost_records.saturating_add(records);
    }
    let sequences = match look.losses {
        None => "not known".to_owned(),
        Some(losses) => {
            let [upstream, here, unknown] = [losses.upstream, losses.here, losses.unknown].map(count);
            format!("{upstream} before here, {here} here, {unknown} unknown")
        }
    };
    format!(
        "{}  {with_session} of {} nodes  {}  {:>6} records/s  {:>6} datagrams/s  lost here {} datagrams, {} records; \
         sequences {sequences}\n",
        time.rsplit(' ').next().unwrap_or_default(),
        look.nodes.len(),
        health_status(worst.unwrap_or(0)),
        rate(records),
        rate(datagrams),
        count(lost_datagrams),
        count(lost_records),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use crate::top::keys::Wish;
    use crate::top::look::tests::sample_look;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn drawn(width: u16, height: u16, state: &State) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| draw(frame, state, sample::NOW + 7.0)).expect("drawn");
        terminal.backend().to_string()
    }

    #[test]
    fn all_that_one_looks_for_is_on_the_screen() {
        let mut state = State::new(sample_look());
        let screen = drawn(150, 30, &state);
        for text in [
            "Catchment lab",
            "12.3k records/s",
            "leader coordinator-2 of 2 coordinators",
            "store etcd at 1234, 37 templates in 12 scopes",
            "Nodes (3), by name",
            "node-2",
            "degraded",
            "50%",
            "no broker has answered",
            "192.0.2.1 ",
            "10.8k",
            "192.0.2.2 in customer-a",
            "lost before here",
            "lost here",
            "lost, unknown where",
        ] {
            assert!(screen.contains(text), "{text:?} is not on\n{screen}");
        }
        state.apply(Wish::Down);
        state.apply(Wish::Pause);
        state.take(Err(crate::Fault::Unreachable("http://c:7400: gone".to_owned())));
        let screen = drawn(150, 30, &state);
        for text in ["Heaviest exporters of node-1", "held", "no answer for 7s: http://c:7400: gone"] {
            assert!(screen.contains(text), "{text:?} is not on\n{screen}");
        }
    }

    #[test]
    fn a_usual_terminal_shows_names_rates_and_losses() {
        let screen = drawn(80, 24, &State::new(sample_look()));
        for text in ["node-1", "degraded", "12.3k", "lost here", "192.0.2.1"] {
            assert!(screen.contains(text), "{text:?} is not on\n{screen}");
        }
    }

    #[test]
    fn small_terminals_and_an_empty_cluster_are_drawn_too() {
        for (width, height) in [(80, 24), (40, 10), (1, 1)] {
            drawn(width, height, &State::new(Look::default()));
            drawn(width, height, &State::new(sample_look()));
        }
    }

    #[test]
    fn once_is_tables() {
        let wanted = "\
cluster       lab
asked         coordinator-1
coordinators  leader coordinator-2 of 2 coordinators
shared        store etcd at 1234, 37 templates in 12 scopes
rates         12.3k records/s, 515 datagrams/s
sequences     1,239,567 received, lost: 100 before here, 12 here, 3 unknown where

Nodes
  NODE    HEALTH    REC/S  DG/S  DG LOST  REC LOST  BUFFER  PENDING  CPU  STATE
  node-1  ok        12.3k   514       15         0      3%  1.4 KiB  50%
  node-2  degraded      0   0.4        3         0      3%  1.4 KiB    -  kafka: no broker has answered for 12 s, paused flow, log debug, not taken over yet
  node-3  away          0     0        0         0      0%      0 B    -  drain

Heaviest exporters
  EXPORTER                 REC/S  DG/S        BYTES
  192.0.2.1                10.8k   450  615.2 KiB/s
  192.0.2.2 in customer-a   1.4k    60   82.0 KiB/s
";
        let output = Output { format: None, width: Some(160), now: sample::NOW };
        assert_eq!(tables(&sample_look(), &output), wanted);
    }

    #[test]
    fn a_line_says_it_in_short() {
        let wanted = "13:52:32  2 of 3 nodes  degraded   12.3k records/s     515 datagrams/s  lost here 18 datagrams, 0 records; \
                      sequences 100 before here, 12 here, 3 unknown\n";
        assert_eq!(line(&sample_look()), wanted);
    }
}
