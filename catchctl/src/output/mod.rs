//! How answers are shown: tables for people, JSON and YAML for programs, Prometheus text for `health`.

mod document;
pub(crate) mod prometheus;
mod table;
mod units;
mod yaml;

use std::io::{IsTerminal, Write};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use document::Document;
pub(crate) use table::{Column, Facts, Table};
pub(crate) use units::{age_of, bytes, count, duration, exact, moment, rate, ratio};

pub(crate) use yaml::{quoted_where_needed as yaml_scalar, text as yaml_text};

use crate::fault::Fault;

/// How to show an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns, human units
    #[default]
    Table,
    /// The answer as a JSON object
    Json,
    /// The answer as YAML
    Yaml,
    /// Prometheus text (only `health`)
    Prom,
}

/// Where and how answers are shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// How, where it was said.
    pub(crate) format: Option<Format>,
    /// Cells of a line of the terminal; absent where it is none: then nothing is cut.
    pub(crate) width: Option<usize>,
    /// What ages are counted from, seconds since 1970.
    pub(crate) now: f64,
}

impl Output {
    /// Standard output as it is.
    pub(crate) fn of_process(format: Option<Format>) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let size = terminal.then(ratatui::crossterm::terminal::size).and_then(Result::ok);
        let width = size.map(|(columns, _)| usize::from(columns)).filter(|columns| *columns > 0);
        Self { format, width, now: now() }
    }

    /// Tells a person what an answer says besides; a program finds it in the answer.
    pub(crate) fn remark(&self, remarks: &[String]) {
        if self.format.unwrap_or_default() == Format::Table {
            remarks.iter().for_each(|remark| note(remark));
        }
    }

    /// Tells a person which coordinators did not answer the one that did.
    pub(crate) fn unanswered(&self, coordinators: &[String]) {
        if !coordinators.is_empty() {
            let who = coordinators.join(", ");
            self.remark(&[format!(
                "{who}: no answer; of its nodes it is only known that they are registered"
            )]);
        }
    }

    /// Tells a person which nodes have not taken over yet what is desired of them.
    pub(crate) fn waiting(&self, nodes: &[String]) {
        if !nodes.is_empty() {
            self.remark(&[format!(
                "{}: not taken over yet; it will be as soon as it hears of it",
                nodes.join(", ")
            )]);
        }
    }

    /// Writes the answer in the form that was asked for; the table is made only where it is wanted.
    pub(crate) fn show(&self, answer: &Document, table: impl FnOnce(&Self) -> String) -> Result<(), Fault> {
        let text = match self.format.unwrap_or_default() {
            Format::Table => table(self),
            Format::Json => answer.to_json(),
            Format::Yaml => yaml_text(answer),
            Format::Prom => {
                return Err(Fault::Usage("-o prom is for `health` only: use table, json or yaml".to_owned()));
            }
        };
        write(&text)
    }
}

/// Writes `text` on standard output.
pub(crate) fn write(text: &str) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes a line on standard error, for people; what cannot be written is nobody's loss.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "catchctl: {}", printable(text));
}

/// Writes lines on standard error that are printable already.
pub(crate) fn note_raw(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The text without control characters, which could move a terminal's cursor or worse: they are shown escaped.
pub(crate) fn printable(text: &str) -> String {
    let dangerous =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(dangerous) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if dangerous(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("Gi0/1 é"), "Gi0/1 é");
        assert_eq!(printable("a\u{1b}]0;x\u{7}b\u{202e}"), "a\\u{1b}]0;x\\u{7}b\\u{202e}");
    }
}
