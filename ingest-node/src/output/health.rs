//! Whether an output can deliver, and if not, why: what `/readyz` and `/health` show.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::Serialize;

/// What an output is able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum OutputState {
    /// It has not reached its destination yet.
    Starting,
    /// It delivers.
    Up,
    /// It does not deliver at present; it goes on trying.
    Failing,
    /// Its destination is gone for good (the reader of standard output has left).
    Closed,
}

impl fmt::Display for OutputState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Failing => "failing",
            Self::Closed => "closed",
        })
    }
}

/// An output's health at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutputHealth {
    /// What it is able to do.
    pub state: OutputState,
    /// Why it is not up; empty where it is.
    pub reason: String,
    /// When it came into this state.
    #[serde(skip)]
    pub since: SystemTime,
}

impl OutputHealth {
    /// Whether a node with this output should get datagrams.
    pub fn is_ready(&self) -> bool {
        self.state == OutputState::Up
    }
}

/// The health that an output's threads share. Asking whether it is up takes no lock.
#[derive(Debug)]
pub(super) struct HealthCell {
    state: AtomicU8,
    health: Mutex<OutputHealth>,
}

impl HealthCell {
    pub(super) fn starting(reason: &str) -> Self {
        Self::in_state(OutputState::Starting, reason)
    }

    pub(super) fn up() -> Self {
        Self::in_state(OutputState::Up, "")
    }

    fn in_state(state: OutputState, reason: &str) -> Self {
        let health = OutputHealth { state, reason: reason.to_owned(), since: SystemTime::now() };
        Self { state: AtomicU8::new(state as u8), health: Mutex::new(health) }
    }

    pub(super) fn is_up(&self) -> bool {
        self.state.load(Relaxed) == OutputState::Up as u8
    }

    pub(super) fn get(&self) -> OutputHealth {
        self.lock().clone()
    }

    pub(super) fn set_up(&self) {
        if !self.is_up() {
            self.set(OutputState::Up, String::new());
        }
    }

    pub(super) fn set_failing(&self, reason: impl Into<String>) {
        self.set(OutputState::Failing, reason.into());
    }

    pub(super) fn set_closed(&self, reason: impl Into<String>) {
        self.set(OutputState::Closed, reason.into());
    }

    /// Changes the state and says so in the log; a new reason for the same state is only kept.
    fn set(&self, state: OutputState, reason: String) {
        let mut health = self.lock();
        if health.state == OutputState::Closed {
            return;
        }
        if health.state != state {
            health.since = SystemTime::now();
            match state {
                OutputState::Up | OutputState::Starting => tracing::info!(%state, "output changed its state"),
                OutputState::Failing | OutputState::Closed => {
                    tracing::warn!(%state, reason, "output changed its state");
                }
            }
        }
        health.state = state;
        health.reason = reason;
        self.state.store(state as u8, Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, OutputHealth> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_kept_while_only_the_reason_changes() {
        let cell = HealthCell::starting("no broker has answered yet");
        let first = cell.get();
        assert!(!first.is_ready());
        cell.set_failing("refused");
        let second = cell.get();
        cell.set_failing("timed out");
        assert_eq!(cell.get(), OutputHealth { reason: "timed out".into(), ..second });
        cell.set_up();
        assert!(cell.get().is_ready() && cell.is_up());
        cell.set_closed("reader is gone");
        cell.set_up();
        assert_eq!(cell.get().state, OutputState::Closed);
    }
}
