//! What the person at the terminal wants.

use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

/// How long the reading thread may take to see that nobody listens any more.
const STEP: Duration = Duration::from_millis(100);

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// To draw anew: another size.
    Redraw,
    /// To hold the picture, or let it go on.
    Pause,
    /// Another order of the nodes.
    Sort,
    /// The node above, or all.
    Up,
    /// The node below.
    Down,
    /// To end it.
    End,
}

/// The keys, read by a thread of their own.
#[derive(Debug)]
pub(super) struct Keys(mpsc::Receiver<Wish>);

impl Keys {
    /// Begins to read. The thread ends with this.
    pub(super) fn open() -> Self {
        let (sender, receiver) = mpsc::channel(16);
        std::thread::spawn(move || {
            while !sender.is_closed() {
                let wish = match event::poll(STEP).and_then(|ready| ready.then(event::read).transpose()) {
                    Ok(None) => continue,
                    Ok(Some(Event::Key(key))) => wish_of(key),
                    Ok(Some(Event::Resize(..))) => Some(Wish::Redraw),
                    Ok(Some(_)) => None,
                    // The terminal has gone.
                    Err(_) => Some(Wish::End),
                };
                if let Some(wish) = wish
                    && (sender.blocking_send(wish).is_err() || wish == Wish::End)
                {
                    return;
                }
            }
        });
        Self(receiver)
    }

    /// The next wish. May be dropped and asked again.
    pub(super) async fn next(&mut self) -> Wish {
        self.0.recv().await.unwrap_or(Wish::End)
    }
}

/// The terminal is raw, so Ctrl-C comes as a key.
fn wish_of(key: KeyEvent) -> Option<Wish> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => Some(Wish::End),
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Wish::End),
        KeyCode::Char('p' | ' ') => Some(Wish::Pause),
        KeyCode::Char('s') => Some(Wish::Sort),
        KeyCode::Up | KeyCode::Char('k') => Some(Wish::Up),
        KeyCode::Down | KeyCode::Char('j') => Some(Wish::Down),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_their_meaning() {
        let key = |code, modifiers| wish_of(KeyEvent::new(code, modifiers));
        assert_eq!(key(KeyCode::Char('q'), KeyModifiers::NONE), Some(Wish::End));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Wish::End));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), None);
        assert_eq!(key(KeyCode::Char('p'), KeyModifiers::NONE), Some(Wish::Pause));
        assert_eq!(key(KeyCode::Down, KeyModifiers::NONE), Some(Wish::Down));
    }
}
