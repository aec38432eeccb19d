//! Why there is no session, in the log: each reason at once, and again while it lasts, but seldom.

use std::time::{Duration, Instant};

/// After how long the same reason is told again.
const AGAIN: Duration = Duration::from_secs(60);
/// Reasons that are told apart; several endpoints commonly have one each.
const MOST: usize = 16;

/// Reasons that were told.
#[derive(Debug, Default)]
pub(super) struct Complaints(Vec<Told>);

#[derive(Debug)]
struct Told {
    reason: String,
    at: Instant,
    suppressed: u64,
}

impl Complaints {
    /// Calls `write` with how often the reason was held back, where it is to be told.
    pub(super) fn tell(&mut self, reason: &str, now: Instant, write: impl FnOnce(u64)) {
        if let Some(told) = self.0.iter_mut().find(|told| told.reason == reason) {
            if now.duration_since(told.at) < AGAIN {
                told.suppressed += 1;
                return;
            }
            told.at = now;
            write(std::mem::take(&mut told.suppressed));
            return;
        }
        if self.0.len() == MOST {
            self.0.remove(0);
        }
        self.0.push(Told { reason: reason.to_owned(), at: now, suppressed: 0 });
        write(0);
    }

    /// It worked: the next reason is told at once.
    pub(super) fn settle(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_once_a_minute_and_a_new_one_at_once() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        let mut told = Vec::new();
        for second in 0..120 {
            let now = start + Duration::from_secs(second);
            complaints.tell("refused", now, |suppressed| told.push((second, suppressed)));
        }
        assert_eq!(told, [(0, 0), (60, 59)]);
        let mut told = 0;
        for reason in 0..100 {
            complaints.tell(&reason.to_string(), start, |_| told += 1);
        }
        assert_eq!(told, 100);
        assert!(complaints.0.len() <= MOST);
        complaints.settle();
        complaints.tell("refused", start, |_| told += 1);
        assert_eq!(told, 101);
    }
}
