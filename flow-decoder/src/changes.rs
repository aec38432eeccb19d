//! What others are to be told of: scopes whose shareable content has changed, or only names in it, and templates that data
//! waits for.
//!
//! These are queues without repeats, filled by workers and emptied by whoever shares them, who is woken when one of them stops
//! being empty. Nothing here grows with what strangers send: a scope is queued only for definitions that are proven, and
//! wishes have a bound, beyond which the newest are dropped.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::{Mutex, OnceLock};

use crate::exporter_store::{ScopeKey, lock};

/// Templates that are asked for at a time, at most.
const MAX_WANTED: usize = 8192;
/// Scopes that may be queued before it is looked whether they are still there.
const FEW: usize = 8192;
/// How often the same template is asked for, ns.
const ASK_AGAIN_NS: u64 = 1_000_000_000;

/// The two queues.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    scopes: Mutex<Scopes>,
    /// Of which only names have changed.
    names: Mutex<Scopes>,
    wanted: Mutex<Wanted>,
    hook: Hook,
}

#[derive(Debug, Default)]
struct Scopes {
    queue: VecDeque<ScopeKey>,
    queued: HashSet<ScopeKey>,
    /// How long the queue may be before those are left out that are gone.
    sweep_at: usize,
}

#[derive(Debug, Default)]
struct Wanted {
    queue: VecDeque<(ScopeKey, u16)>,
    /// When each was last asked for.
    asked: HashMap<(ScopeKey, u16), Asked>,
    swept_ns: u64,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    at_ns: u64,
    queued: bool,
}

/// Whom to wake.
#[derive(Default)]
struct Hook(OnceLock<Box<dyn Fn() + Send + Sync>>);

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "Hook(set)" } else { "Hook(unset)" })
    }
}

impl Changes {
    /// Whom to wake, once and for all; false where somebody was named before.
    pub(crate) fn set_hook(&self, hook: Box<dyn Fn() + Send + Sync>) -> bool {
        self.hook.0.set(hook).is_ok()
    }

    fn wake(&self) {
        if let Some(hook) = self.hook.0.get() {
            hook();
        }
    }

    /// Queues a scope. Its keys are those of scopes that the store has or had; `still_there` tells them apart, now and then,
    /// so that the queue is never more than twice as long as the store has scopes.
    pub(crate) fn scope(&self, key: &ScopeKey, still_there: impl Fn(&ScopeKey) -> bool) {
        if lock(&self.scopes).add(key, still_there) {
            self.wake();
        }
    }

    /// The same for a scope of which only names have changed.
    pub(crate) fn names(&self, key: &ScopeKey, still_there: impl Fn(&ScopeKey) -> bool) {
        if lock(&self.names).add(key, still_there) {
            self.wake();
        }
    }

    pub(crate) fn take_scopes(&self, max: usize) -> Vec<ScopeKey> {
        lock(&self.scopes).take(max)
    }

    pub(crate) fn take_names(&self, max: usize) -> Vec<ScopeKey> {
        lock(&self.names).take(max)
    }

    /// Queues a template that data of this node waits for.
    pub(crate) fn want(&self, key: &ScopeKey, id: u16, now_ns: u64) {
        let mut wanted = lock(&self.wanted);
        let was_empty = wanted.queue.is_empty();
        if wanted.want((*key, id), now_ns) && was_empty {
            drop(wanted);
            self.wake();
        }
    }

    pub(crate) fn take_wanted(&self, max: usize) -> Vec<(ScopeKey, u16)> {
        let mut wanted = lock(&self.wanted);
        let count = max.min(wanted.queue.len());
        let taken: Vec<_> = wanted.queue.drain(..count).collect();
        for template in &taken {
            if let Some(asked) = wanted.asked.get_mut(template) {
                asked.queued = false;
            }
        }
        taken
    }
}

impl Scopes {
    /// Queues a scope; says whether the queue was empty.
    fn add(&mut self, key: &ScopeKey, still_there: impl Fn(&ScopeKey) -> bool) -> bool {
        let Self { queue, queued, sweep_at } = self;
        let was_empty = queue.is_empty();
        if !queued.insert(*key) {
            return false;
        }
        queue.push_back(*key);
        if queue.len() > (*sweep_at).max(FEW) {
            queue.retain(&still_there);
            queued.retain(|key| still_there(key));
            *sweep_at = 2 * queue.len();
        }
        was_empty
    }

    fn take(&mut self, max: usize) -> Vec<ScopeKey> {
        let count = max.min(self.queue.len());
        let taken: Vec<_> = self.queue.drain(..count).collect();
        for key in &taken {
            self.queued.remove(key);
        }
        taken
    }
}

impl Wanted {
    /// Whether the template is queued now and was not before.
    fn want(&mut self, template: (ScopeKey, u16), now_ns: u64) -> bool {
        let recent = |asked: &Asked| asked.queued || now_ns.abs_diff(asked.at_ns) < ASK_AGAIN_NS;
        if self.asked.get(&template).is_some_and(recent) {
            return false;
        }
        if self.asked.len() >= MAX_WANTED && !self.asked.contains_key(&template) {
            if now_ns.abs_diff(self.swept_ns) < ASK_AGAIN_NS {
                return false;
            }
            self.swept_ns = now_ns;
            self.asked.retain(|_, asked| recent(asked));
            if self.asked.len() >= MAX_WANTED {
                return false;
            }
        }
        self.asked.insert(template, Asked { at_ns: now_ns, queued: true });
        self.queue.push_back(template);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::datagram::ZoneId;

    const SECOND: u64 = 1_000_000_000;

    fn key(exporter: u32) -> ScopeKey {
        ScopeKey { zone: ZoneId(0), exporter: Ipv4Addr::from(exporter).into(), version: 9, domain: 0 }
    }

    fn counted() -> (Changes, Arc<AtomicUsize>) {
        let (changes, woken) = (Changes::default(), Arc::new(AtomicUsize::new(0)));
        let counter = woken.clone();
        assert!(changes.set_hook(Box::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        })));
        assert!(!changes.set_hook(Box::new(|| {})), "the first one stays");
        (changes, woken)
    }

    #[test]
    fn a_scope_is_queued_once_and_wakes_once() {
        let (changes, woken) = counted();
        for exporter in [1, 2, 1, 1] {
            changes.scope(&key(exporter), |_| true);
        }
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        assert_eq!(changes.take_scopes(1), [key(1)]);
        assert_eq!(changes.take_scopes(9), [key(2)]);
        changes.scope(&key(1), |_| true);
        assert_eq!((woken.load(Ordering::Relaxed), changes.take_scopes(9)), (2, vec![key(1)]));
    }

    #[test]
    fn scopes_that_are_gone_make_room() {
        let (changes, _) = counted();
        for exporter in 0..20 * FEW as u32 {
            changes.scope(&key(exporter), |key| *key == self::key(0));
        }
        let left = changes.take_scopes(usize::MAX);
        assert!(left.len() <= FEW + 1 && left[0] == key(0), "{}", left.len());
    }

    #[test]
    fn a_template_is_asked_for_once_a_second() {
        let (changes, woken) = counted();
        changes.want(&key(1), 256, SECOND);
        changes.want(&key(1), 256, SECOND + 1);
        assert_eq!(changes.take_wanted(9), [(key(1), 256)]);
        changes.want(&key(1), 256, SECOND + 2);
        assert!(changes.take_wanted(9).is_empty());
        changes.want(&key(1), 256, 2 * SECOND);
        assert_eq!((changes.take_wanted(9).len(), woken.load(Ordering::Relaxed)), (1, 2));
    }

    #[test]
    fn wishes_are_bounded_and_old_ones_make_room() {
        let (changes, _) = counted();
        for exporter in 0..100_000 {
            changes.want(&key(exporter), 256, SECOND);
        }
        assert_eq!(changes.take_wanted(usize::MAX).len(), MAX_WANTED);
        changes.want(&key(200_000), 256, 3 * SECOND);
        assert_eq!(changes.take_wanted(9), [(key(200_000), 256)]);
    }
}
