//! `top`: the cluster live, on the whole terminal; a line for each look where there is none.
//!
//! ```text
//!  look::Looker   asks the coordinator, turns totals into rates     once an interval
//!  screen::State  what the person at the terminal chose             with each key
//!  view           draws both, changes nothing
//! ```
//!
//! Invariant: however it ends, by return, error or panic, the terminal is as it was before. A coordinator that does not answer
//! does not end it: the last look stays, with its age and the reason.

mod keys;
mod look;
mod screen;
mod view;

use std::io::IsTerminal as _;
use std::time::Duration;

use ratatui::DefaultTerminal;
use tokio::time::{Instant, sleep_until};

use crate::cli::TopArgs;
use crate::command::Session;
use crate::describe::Losses;
use crate::fault::Fault;
use crate::output::{self, Document, Format};
use keys::{Keys, Wish};
use look::{Look, Looker};
use screen::State;

pub(crate) async fn run(session: &mut Session, arguments: &TopArgs) -> Result<(), Fault> {
    session.needs_coordinator("top")?;
    if session.output.format == Some(Format::Prom) {
        return Err(Fault::Usage("-o prom is for `health` only: use table, json or yaml".to_owned()));
    }
    let mut looker = Looker::default();
    if arguments.once {
        let look = looker.look(session).await?;
        return session.output.show(&document(&look), |output| view::tables(&look, output));
    }
    let terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if !terminal || arguments.lines || session.output.format.is_some_and(|format| format != Format::Table) {
        return lines(session, looker, arguments.interval).await;
    }
    let first = looker.look(session).await?;
    let _restored = Restored;
    // It also restores the terminal in a panic, before the panic's message.
    let terminal = ratatui::try_init()?;
    live(session, looker, first, arguments.interval, terminal).await
}

/// Gives the terminal back when it goes away.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

async fn live(
    session: &mut Session,
    mut looker: Looker,
    first: Look,
    interval: Duration,
    mut terminal: DefaultTerminal,
) -> Result<(), Fault> {
    let mut keys = Keys::open();
    let mut state = State::new(first);
    let mut next = Instant::now() + interval;
    loop {
        terminal.draw(|frame| view::draw(frame, &state, output::now()))?;
        // Between two looks.
        loop {
            let wish = tokio::select! {
                () = sleep_until(next) => break,
                wish = keys.next() => wish,
            };
            if wish == Wish::End {
                return Ok(());
            }
            state.apply(wish);
            terminal.draw(|frame| view::draw(frame, &state, output::now()))?;
        }
        next = Instant::now() + interval;
        // A key is heard while a slow answer is waited for.
        let looking = looker.look(session);
        tokio::pin!(looking);
        let look = loop {
            tokio::select! {
                look = &mut looking => break look,
                wish = keys.next() => {
                    if wish == Wish::End {
                        return Ok(());
                    }
                    state.apply(wish);
                    terminal.draw(|frame| view::draw(frame, &state, output::now()))?;
                }
            }
        };
        state.take(look);
    }
}

async fn lines(session: &mut Session, mut looker: Looker, interval: Duration) -> Result<(), Fault> {
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    let mut answered = false;
    loop {
        let next = Instant::now() + interval;
        let look = tokio::select! {
            _ = &mut interrupted => return Ok(()),
            look = looker.look(session) => look,
        };
        match look {
            Ok(look) => {
                answered = true;
                output::write(&match session.output.format.unwrap_or_default() {
                    Format::Json => document(&look).to_json_line(),
                    Format::Yaml => format!("---\n{}", output::yaml_text(&document(&look))),
                    Format::Table | Format::Prom => view::line(&look),
                })?;
            }
            Err(fault @ Fault::Unreachable(_)) if answered => output::note(&fault.to_string()),
            Err(fault) => return Err(fault),
        }
        tokio::select! {
            _ = &mut interrupted => return Ok(()),
            () = sleep_until(next) => {}
        }
    }
}

fn document(look: &Look) -> Document {
    let sequences = |losses: Losses| {
        Document::map([
            ("received", Document::Unsigned(losses.received)),
            ("lost_upstream", Document::Unsigned(losses.upstream)),
            ("lost_here", Document::Unsigned(losses.here)),
            ("lost_unknown", Document::Unsigned(losses.unknown)),
        ])
    };
    Document::map([
        ("cluster", Document::of(&look.cluster)),
        ("nodes", Document::List(look.nodes.iter().map(|node| Document::of(&node.node)).collect())),
        ("sequences", look.losses.map_or(Document::Null, sequences)),
    ])
}
