//! A bound on repeated log lines.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines that may be written in one period.
const BURST: u32 = 5;
const PERIOD: Duration = Duration::from_secs(10);

/// Lets a few lines through in each period and counts the others.
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    begun: Option<Instant>,
    written: u32,
    suppressed: u64,
}

impl LogLimit {
    /// Calls `write` with the number of lines that were held back since the last one, unless this one is held back too.
    pub fn admit(&self, write: impl FnOnce(u64)) {
        if let Some(suppressed) = self.next(Instant::now()) {
            write(suppressed);
        }
    }

    fn next(&self, now: Instant) -> Option<u64> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window.begun.is_none_or(|begun| now.saturating_duration_since(begun) >= PERIOD) {
            window.begun = Some(now);
            window.written = 0;
        }
        if window.written == BURST {
            window.suppressed += 1;
            return None;
        }
        window.written += 1;
        Some(std::mem::take(&mut window.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_back_is_counted() {
        let limit = LogLimit::default();
        let start = Instant::now();
        for _ in 0..BURST {
            assert_eq!(limit.next(start), Some(0));
        }
        assert_eq!(limit.next(start), None);
        assert_eq!(limit.next(start), None);
        assert_eq!(limit.next(start + PERIOD), Some(2));
        assert_eq!(limit.next(start + PERIOD), Some(0));
    }
}
