//! When a receiver reads next: at once, after a pause, or when poll says that there is something.
//!
//! A wake-up costs more than reading a datagram does. At a high rate a receiver that always blocks is
//! woken for each one or two datagrams; if it pauses for a fraction of a millisecond instead, dozens are
//! waiting. At a low rate a pause would only add delay, and blocking costs nothing while nothing comes.
//!
//! ```text
//!   last pass left more    ->  read at once
//!   last pass found nothing ->  block            (also when the rate was high a moment ago)
//!   rate below PAUSE_FROM  ->  block
//!   else                   ->  pause for TARGET datagrams, 200 to 1000 us, but not past the limit
//! ```
//!
//! **The limit** keeps the receive buffer from filling because of the pause. After each pause the
//! receiver asks the kernel how full its fullest buffer has become: the buffer was empty when the pause
//! began, so the usage says how long it would take to fill a quarter, and no pause is longer than that.
//! The other three quarters are left for stalls of the scheduler and for bursts. The limit falls at once
//! and rises slowly, from a start that suits a buffer of the kernel's default size.

use std::time::{Duration, Instant};

/// Whether a receiver may pause at high rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Pause at a high rate, block at a low one.
    Adaptive,
    /// Always block: the shortest delay, at several times the CPU per datagram.
    Blocking,
}

/// Datagrams per second from which on pausing pays: a few per longest pause.
const PAUSE_FROM: f64 = 4_000.0;
/// Datagrams to let come together: four full vectors; more would only fall out of the CPU's caches.
const TARGET: f64 = 256.0;
/// Pauses outside this range gain nothing more or cost too much delay.
const SHORTEST: Duration = Duration::from_micros(200);
const LONGEST: Duration = Duration::from_millis(1);
/// The part of a buffer that may fill during a pause.
const FILL: f64 = 0.25;
/// The limit before anything is known, and the shortest that is still worth a system call.
const FIRST_LIMIT: Duration = Duration::from_micros(100);
const LEAST_LIMIT: Duration = Duration::from_micros(50);
/// How fast the limit may rise from one pause to the next.
const RISE: f64 = 1.25;
/// The rate is measured over windows of at least this length, and smoothed over about four.
const WINDOW: Duration = Duration::from_millis(1);
const SMOOTHING: f64 = 0.25;

/// What to do before the next read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Read at once.
    Read,
    /// Let datagrams gather for so long.
    Pause(Duration),
    /// Wait in poll.
    Block,
}

/// What the last pass over the sockets met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Empty,
    Drained,
    More,
}

/// The state of the decision; the times are given, so that it has no clock of its own.
#[derive(Debug)]
pub(crate) struct Pacing {
    waiting: Waiting,
    /// Datagrams per second, smoothed.
    rate: f64,
    window_start: Instant,
    window_datagrams: u64,
    last: Pass,
    /// When the sockets were last known to be empty, or a little later: an error in the direction of
    /// shorter pauses.
    drained_at: Instant,
    limit: Duration,
}

impl Pacing {
    pub(crate) fn new(waiting: Waiting, now: Instant) -> Self {
        Self {
            waiting,
            rate: 0.0,
            window_start: now,
            window_datagrams: 0,
            last: Pass::Empty,
            drained_at: now,
            limit: FIRST_LIMIT,
        }
    }

    /// What to do next, waiting no longer than `timeout`.
    pub(crate) fn next(&self, timeout: Duration) -> Next {
        match self.last {
            Pass::More => Next::Read,
            Pass::Drained if self.waiting == Waiting::Adaptive && self.rate >= PAUSE_FROM => {
                let gather = Duration::from_secs_f64(TARGET / self.rate).clamp(SHORTEST, LONGEST);
                let pause = gather.min(self.limit).min(timeout);
                if pause < LEAST_LIMIT { Next::Block } else { Next::Pause(pause) }
            }
            Pass::Drained | Pass::Empty => Next::Block,
        }
    }

    /// A pause has ended with the fullest buffer filled to `fill` (0 to 1).
    pub(crate) fn paused(&mut self, now: Instant, fill: f64) {
        let filled_in = now.saturating_duration_since(self.drained_at);
        let to_the_mark = filled_in.as_secs_f64() * FILL / fill.max(1e-3);
        let risen = self.limit.as_secs_f64() * RISE;
        self.limit = Duration::from_secs_f64(to_the_mark.min(risen)).min(LONGEST);
    }

    /// A pass over the sockets has read `datagrams`, and there may be `more`.
    pub(crate) fn passed(&mut self, now: Instant, datagrams: u64, more: bool) {
        self.last = match (datagrams, more) {
            (_, true) => Pass::More,
            (0, false) => Pass::Empty,
            (_, false) => Pass::Drained,
        };
        if !more {
            self.drained_at = now;
        }
        self.window_datagrams += datagrams;
        let window = now.saturating_duration_since(self.window_start);
        if window >= WINDOW {
            let measured = self.window_datagrams as f64 / window.as_secs_f64();
            self.rate += (measured - self.rate) * SMOOTHING;
            self.window_start = now;
            self.window_datagrams = 0;
            if self.limit < LEAST_LIMIT {
                // No pause is taken, so none corrects the limit: come back to it by and by.
                self.limit = self.limit.mul_f64(RISE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_millis(20);

    /// A receiver on a steady stream whose buffer is full after `buffer` datagrams, for `passes` passes.
    /// Returns the pauses and the highest fill.
    fn run(
        pacing: &mut Pacing,
        start: Instant,
        rate: f64,
        buffer: f64,
        passes: usize,
    ) -> (Vec<Duration>, f64) {
        let mut now = start;
        let (mut pauses, mut fullest) = (Vec::new(), 0.0_f64);
        for _ in 0..passes {
            let mut step = Duration::from_secs_f64(1.0 / rate);
            if let Next::Pause(pause) = pacing.next(LONG) {
                step = pause + Duration::from_micros(60);
                let fill = (rate * step.as_secs_f64() / buffer).min(1.0);
                pacing.paused(now + step, fill);
                fullest = fullest.max(fill);
                pauses.push(pause);
            }
            now += step;
            pacing.passed(now, (rate * step.as_secs_f64()).round() as u64, false);
        }
        (pauses, fullest)
    }

    fn pacing() -> (Pacing, Instant) {
        let start = Instant::now();
        (Pacing::new(Waiting::Adaptive, start), start)
    }

    #[test]
    fn a_slow_stream_is_never_paused_for() {
        let (mut pacing, start) = pacing();
        let (pauses, _) = run(&mut pacing, start, 1_000.0, 3_000.0, 5_000);
        assert_eq!(pauses, []);
    }

    #[test]
    fn a_fast_stream_gets_pauses_for_the_target() {
        let (mut pacing, start) = pacing();
        let (pauses, _) = run(&mut pacing, start, 500_000.0, 1e6, 5_000);
        let last = pauses.last().unwrap();
        assert!((last.as_secs_f64() - TARGET / 500_000.0).abs() < 20e-6, "{last:?}");
        let (pauses, _) = run(&mut pacing, start + LONG * 1_000, 20_000.0, 1e6, 5_000);
        assert_eq!(*pauses.last().unwrap(), LONGEST);
    }

    #[test]
    fn a_small_buffer_shortens_the_pauses_before_it_fills() {
        for (rate, buffer) in
            [(100_000.0, 180.0), (300_000.0, 180.0), (850_000.0, 180.0), (850_000.0, 1_800.0)]
        {
            let (mut pacing, start) = pacing();
            let (pauses, fullest) = run(&mut pacing, start, rate, buffer, 20_000);
            assert!(!pauses.is_empty() && fullest < 0.8, "{rate} into {buffer}: {fullest}");
        }
    }

    #[test]
    fn a_stream_that_stops_is_blocked_for_at_once() {
        let (mut pacing, start) = pacing();
        run(&mut pacing, start, 500_000.0, 1e6, 5_000);
        pacing.passed(start + LONG * 1_000, 0, false);
        assert_eq!(pacing.next(LONG), Next::Block);
    }

    #[test]
    fn what_is_left_is_read_without_waiting() {
        let (mut pacing, start) = pacing();
        pacing.passed(start, 64, true);
        assert_eq!(pacing.next(LONG), Next::Read);
    }

    #[test]
    fn a_pause_never_outlasts_the_timeout() {
        let (mut pacing, start) = pacing();
        run(&mut pacing, start, 20_000.0, 1e6, 5_000);
        assert_eq!(pacing.next(LONG), Next::Pause(LONGEST));
        assert_eq!(pacing.next(SHORTEST), Next::Pause(SHORTEST));
        assert_eq!(pacing.next(Duration::ZERO), Next::Block);
    }

    #[test]
    fn waiting_can_be_switched_off() {
        let start = Instant::now();
        let mut pacing = Pacing::new(Waiting::Blocking, start);
        assert_eq!(run(&mut pacing, start, 500_000.0, 1e6, 1_000).0, []);
    }
}
