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
    Lines,
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
            return Ok(Self::Lines);
        }
        // It also restores the terminal in a panic, before the panic's message.
        ratatui::try_init().map(Self::Live)
    }

    /// Shows the snapshot; as lines only where `is_new_second`.
    pub(super) fn show(&mut self, snapshot: &Snapshot, is_new_second: bool) -> io::Result<()> {
        match self {
            Self::Live(terminal) => terminal.draw(|frame| view::draw(frame, snapshot)).map(|_| ()),
            Self::Lines if is_new_second => writeln!(io::stdout(), "{}", line(snapshot)),
            Self::Lines => Ok(()),
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
            Self::Lines => pause(step),
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

fn line(snapshot: &Snapshot) -> String {
    let seen = &snapshot.seen;
    let dropped =
        seen.ledger.as_ref().map_or(0, |ledger| ledger.datagrams.kernel_dropped + ledger.flow().dropped);
    format!(
        "{:>3} s  {:>5} datagrams/s  {:>7} records/s  {:>9} records from {} exporters  {} dropped",
        snapshot.elapsed.as_secs(),
        grouped(snapshot.rates.datagrams),
        grouped(snapshot.rates.records),
        grouped(seen.records),
        seen.sources.iter().filter(|source| source.records > 0).count(),
        grouped(dropped),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_end_it() {
        let key = |code, modifiers| wish_of(KeyEvent::new(code, modifiers));
        assert_eq!(key(KeyCode::Char('q'), KeyModifiers::NONE), Wish::End);
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Wish::End);
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), Wish::GoOn);
    }
}
