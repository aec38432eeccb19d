//! When state is saved: soon after it has changed, seldom, and at the end.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use catchment_serving::LogLimit;
use serde::Serialize;

use super::StateDir;
use crate::flow::Known;

/// Between two saves, at least.
const REST: Duration = Duration::from_secs(5);
/// How many times as long as a save took nothing is saved behind it.
const REST_FACTOR: u32 = 19;
/// How often it is looked whether anything has changed.
const LOOK: Duration = Duration::from_millis(250);

/// Saves state until it is closed.
#[derive(Debug)]
pub struct Saver {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What became of saves; for metrics and health.
#[derive(Debug, Default)]
pub struct Saves {
    done: AtomicU64,
    failed: AtomicU64,
    last_ms: AtomicU64,
    problem: Mutex<Option<String>>,
}

/// [`Saves`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SaveCounts {
    /// Files written.
    pub done: u64,
    /// Files that could not be written.
    pub failed: u64,
    /// When the last file was written, seconds since 1970; 0 where none was.
    pub last_seconds: f64,
}

#[derive(Debug)]
struct Shared {
    dir: StateDir,
    known: Known,
    saves: Arc<Saves>,
    rest: Duration,
    closing: Mutex<bool>,
    closed: Condvar,
    limit: LogLimit,
}

impl Saver {
    /// Begins to save in `dir` what is learnt from now on.
    ///
    /// # Errors
    /// Where the system refuses a thread.
    pub fn start(dir: StateDir, known: Known, saves: Arc<Saves>) -> io::Result<Self> {
        Self::with_rest(dir, known, saves, REST)
    }

    /// The same with another time between saves.
    pub(super) fn with_rest(
        dir: StateDir,
        known: Known,
        saves: Arc<Saves>,
        rest: Duration,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            dir,
            known,
            saves,
            rest,
            closing: Mutex::new(false),
            closed: Condvar::new(),
            limit: LogLimit::default(),
        });
        let saving = shared.clone();
        let saved = shared.known.store.generation();
        let thread = thread::Builder::new().name("state".to_owned()).spawn(move || saving.run(saved))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// What became of saves.
    pub fn saves(&self) -> &Saves {
        &self.shared.saves
    }

    /// Saves for the last time. Blocks until that is done.
    pub fn close(&self) {
        *lock(&self.shared.closing) = true;
        self.shared.closed.notify_all();
        let thread = lock(&self.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that saves state ended by a panic");
        }
    }
}

impl Shared {
    /// Saves what is later than the generation `saved`.
    fn run(&self, mut saved: u64) {
        loop {
            let closing = self.wait(LOOK);
            let generation = self.known.store.generation();
            if generation != saved {
                let began = Instant::now();
                if self.save() {
                    saved = generation;
                }
                if !closing {
                    self.wait(self.rest.max(began.elapsed() * REST_FACTOR));
                }
            }
            if closing {
                return;
            }
        }
    }

    /// Waits, unless the end has come; says whether it has.
    fn wait(&self, time: Duration) -> bool {
        let waited = self.closed.wait_timeout_while(lock(&self.closing), time, |closing| !*closing);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn save(&self) -> bool {
        let Saves { done, failed, last_ms, problem } = &*self.saves;
        match self.dir.save(&self.known) {
            Ok(scopes) => {
                tracing::debug!(scopes, "state of exporters saved");
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
                last_ms.store(now as u64, Ordering::Relaxed);
                *lock(problem) = None;
                // Who sees it counted sees the rest.
                done.fetch_add(1, Ordering::Release);
                true
            }
            Err(error) => {
                let text = format!("cannot write in {}: {error}", self.dir.path.display());
                self.limit.admit(|suppressed| {
                    tracing::warn!(reason = text, suppressed, "state of exporters not saved");
                });
                *lock(problem) = Some(text);
                failed.fetch_add(1, Ordering::Release);
                false
            }
        }
    }
}

impl Saves {
    /// The counts now.
    pub fn counts(&self) -> SaveCounts {
        SaveCounts {
            done: self.done.load(Ordering::Acquire),
            failed: self.failed.load(Ordering::Acquire),
            last_seconds: self.last_ms.load(Ordering::Relaxed) as f64 / 1e3,
        }
    }

    /// Why the last file could not be written, if that is so.
    pub fn problem(&self) -> Option<String> {
        lock(&self.problem).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
