//! What one scope has announced, and how it stands: who is forgotten first where memory is short.
//!
//! ```text
//! announced --data decodes by it--> proven --and goes on for ten seconds--------------> established
//!      \------ others told of it, or its exporter is trusted ---> told --heard here-------^
//! ```
//! A flood of spoofed templates is announced and no more; one that brings data along is proven and does not go on.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::ArcSwap;

use crate::definitions::{Definition, Lookup, Templates};
use crate::exporter_store::lock;
use crate::options::OptionsState;

const SECOND_NS: u64 = 1_000_000_000;
/// For how long a scope must be heard until it is established: spoofed sources seldom come twice.
const GOES_ON_NS: u64 = 10 * SECOND_NS;

/// What a scope takes without its content: itself and its place in the store.
pub(crate) const SCOPE_OCTETS: usize = 250;

/// What one scope has announced.
#[derive(Debug)]
pub(crate) struct Scope {
    state: ArcSwap<ScopeState>,
    /// Grows with each state. Readers compare it, and hold no state: what is replaced or forgotten is freed at once.
    version: AtomicU64,
    learning: Mutex<()>,
    marks: AtomicU8,
    /// When a decoder first used it, ns since 1970; 0 where others told of it.
    first_used: u64,
    /// When a decoder last used it, ns since 1970; 0 where none has.
    last_used: AtomicU64,
}

/// A snapshot of a scope.
#[derive(Clone, Debug)]
pub(crate) struct ScopeState {
    pub(crate) templates: Templates,
    pub(crate) options: Arc<OptionsState>,
}

/// How a scope stands. Those that stand lower are forgotten first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// Somebody has announced something.
    Announced,
    /// Data has decoded by it.
    Proven,
    /// Others told of it, or its exporter is trusted; it was not heard here for long.
    Told,
    /// It goes on.
    Established,
}

/// What is noted of a scope.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Note {
    /// Data has decoded by it.
    Proven = 1,
    /// Others told of it, or its exporter is trusted.
    Told = 2,
    /// It has made room for another; readers then look it up again.
    Evicted = 4,
}

impl Default for ScopeState {
    fn default() -> Self {
        Self { templates: Templates::default(), options: OptionsState::nothing() }
    }
}

impl ScopeState {
    pub(crate) fn lookup(&self, template: u16, port: u16, epoch: u32) -> Lookup<'_> {
        self.templates.lookup(template, port, epoch)
    }

    /// What exactly this port announced.
    pub(crate) fn announced(&self, template: u16, port: u16) -> Option<&Arc<Definition>> {
        self.templates.get(template)?.of_port(port)
    }

    /// Octets of memory that its scope takes, but for the layouts.
    pub(crate) fn octets(&self) -> usize {
        SCOPE_OCTETS + self.templates.octets() + self.options.octets()
    }
}

impl Scope {
    /// A scope that a decoder uses now.
    pub(crate) fn heard(now_ns: u64) -> Self {
        Self {
            state: ArcSwap::default(),
            version: AtomicU64::new(0),
            learning: Mutex::default(),
            marks: AtomicU8::new(0),
            first_used: now_ns,
            last_used: AtomicU64::new(now_ns),
        }
    }

    /// A scope that others tell of.
    pub(crate) fn told() -> Self {
        let scope = Self::heard(0);
        scope.note(Note::Told);
        scope
    }

    pub(crate) fn state(&self) -> arc_swap::Guard<Arc<ScopeState>> {
        self.state.load()
    }

    /// The state at this moment, to be kept.
    pub(crate) fn latest(&self) -> Arc<ScopeState> {
        self.state.load_full()
    }

    /// Which state it is; read before the state, it is never that of a later one.
    #[inline]
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Replaces the state, under the lock.
    pub(crate) fn put(&self, state: ScopeState) {
        self.state.store(Arc::new(state));
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Held by whoever replaces the state.
    pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
        lock(&self.learning)
    }

    #[inline]
    pub(crate) fn is(&self, note: Note) -> bool {
        self.marks.load(Ordering::Relaxed) & note as u8 != 0
    }

    pub(crate) fn note(&self, note: Note) {
        if !self.is(note) {
            self.marks.fetch_or(note as u8, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_evicted(&self) -> bool {
        self.is(Note::Evicted)
    }

    pub(crate) fn standing(&self) -> Standing {
        let last_used = self.last_used_ns();
        let goes_on = last_used.saturating_sub(self.first_used) >= GOES_ON_NS;
        match (self.is(Note::Told), self.is(Note::Proven)) {
            (true, _) if last_used > 0 && goes_on => Standing::Established,
            (true, _) => Standing::Told,
            (false, true) if goes_on => Standing::Established,
            (false, true) => Standing::Proven,
            (false, false) => Standing::Announced,
        }
    }

    /// Notes use; coarse, so that workers do not fight over the cache line.
    pub(crate) fn used_at(&self, now_ns: u64) {
        if now_ns > self.last_used_ns().saturating_add(SECOND_NS) {
            self.last_used.store(now_ns, Ordering::Relaxed);
        }
    }

    pub(crate) fn last_used_ns(&self) -> u64 {
        self.last_used.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000 * SECOND_NS;

    #[test]
    fn a_scope_stands_by_what_happened_to_it() {
        let heard = Scope::heard(NOW);
        heard.used_at(NOW + 2 * GOES_ON_NS);
        assert_eq!(heard.standing(), Standing::Announced, "templates alone prove nothing");
        let spoofed = Scope::heard(NOW);
        spoofed.note(Note::Proven);
        assert_eq!(spoofed.standing(), Standing::Proven);
        spoofed.used_at(NOW + GOES_ON_NS);
        assert_eq!(spoofed.standing(), Standing::Established);
        let told = Scope::told();
        assert_eq!(told.standing(), Standing::Told);
        told.used_at(NOW);
        assert_eq!(told.standing(), Standing::Established, "heard here as well");
    }
}
