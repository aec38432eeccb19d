//! Where the demo shows itself: the whole terminal, or a line a second where there is none.
//!
//! Invariant: however the demo ends, by return, error or panic, the terminal is as it was before.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};

use super::columns::grouped;
use super::view::{self, Snapshot};
use crate::pacer::pause;

/// One of the two ways to show it.
pub(super) enum Screen {
    /// Drawn anew at each step.
    Live(DefaultTerminal),
    /// For a pipe or a log.
    Lines {
        /// Whether the columns have their heads.
        headed: bool,
    },
}

/// What the person at the terminal wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing; it goes on.
    GoOn,
    /// To end it.
    End,
}

impl Screen {
    /// Takes over the terminal if standard output is one and `lines_only` does not forbid it.
    pub(super) fn open(lines_only: bool) -> io::Result<Self> {
        if lines_only || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return Ok(Self::Lines { headed: false });
        }
        // It also restores the terminal in a panic, before the panic's message.
        ratatui::try_init().map(Self::Live)
    }

    /// Shows the snapshot; as lines only where `is_new_second`.
    pub(super) fn show(&mut self, snapshot: &Snapshot, is_new_second: bool) -> io::Result<()> {
        match self {
            Self::Live(terminal) => terminal.draw(|frame| view::draw(frame, snapshot)).map(|_| ()),
            Self::Lines { headed } if is_new_second => {
                let mut out = io::stdout().lock();
                if !std::mem::replace(headed, true) {
                    writeln!(out, "\n{}", heads(snapshot))?;
                }
                writeln!(out, "{}", line(snapshot))
            }
            Self::Lines { .. } => Ok(()),
        }
    }

    /// Waits for `step`, or until somebody presses a key that ends it.
    pub(super) fn wait(&mut self, step: Duration) -> io::Result<Wish> {
        match self {
            Self::Live(_) => {
                if event::poll(step)?
                    && let Event::Key(key) = event::read()?
                {
                    return Ok(wish_of(key));
                }
            }
            Self::Lines { .. } => pause(step),
        }
        Ok(Wish::GoOn)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if matches!(self, Self::Live(_)) {
            ratatui::restore();
        }
    }
}

/// The terminal is raw, so Ctrl-C comes as a key.
fn wish_of(key: KeyEvent) -> Wish {
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => Wish::End,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Wish::End,
        _ => Wish::GoOn,
    }
}

/// Heads of the columns of [`line`].
fn heads(snapshot: &Snapshot) -> String {
    let nodes = snapshot.seen.nodes.iter().map(|node| format!("{:>8}", node.name));
    format!(
        "{:>6} {:>11} {:>9} {}   templates {:>6} {:>6}   sets {:>6} {:>8} {:>7} {:>5}",
        "",
        "datagrams/s",
        "records/s",
        nodes.collect::<String>(),
        "own",
        "shared",
        "held",
        "released",
        "dropped",
        "lost"
    )
}

fn line(snapshot: &Snapshot) -> String {
    let Snapshot { rates, seen, .. } = snapshot;
    let total = seen.total();
    let nodes = rates.nodes.iter().map(|node| format!("{:>8}", grouped(node.datagrams)));
    format!(
        "{:>4} s {:>11} {:>9} {}             {:>6} {:>6}        {:>6} {:>8} {:>7} {:>5}",
        snapshot.elapsed.as_secs(),
        grouped(rates.cluster.datagrams),
        grouped(rates.cluster.records),
        nodes.collect::<String>(),
        grouped(total.own_templates),
        grouped(total.shared_templates),
        grouped(total.sets.held),
        grouped(total.sets.released),
        grouped(total.kernel_dropped + total.dropped),
        grouped(seen.sequences.lost),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_their_heads() {
        let snapshot = view::tests::snapshot();
        let (heads, line) = (heads(&snapshot), line(&snapshot));
        for (head, value) in [
            ("datagrams/s", "150"),
            ("records/s", "1,024"),
            ("node-1", "70"),
            ("node-2", "80"),
            ("own", "5"),
            ("shared", "3"),
            ("held", "5"),
            ("released", "4"),
            ("dropped", "7"),
            ("lost", "2"),
        ] {
            let end = heads.find(head).unwrap() + head.len();
            assert!(
                line[..end].ends_with(&format!(" {value}")),
                "{value} is not below {head}:\n{heads}\n{line}"
            );
        }
    }

    #[test]
    fn keys_that_end_it() {
        let key = |code, modifiers| wish_of(KeyEvent::new(code, modifiers));
        assert_eq!(key(KeyCode::Char('q'), KeyModifiers::NONE), Wish::End);
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Wish::End);
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), Wish::GoOn);
    }
}
