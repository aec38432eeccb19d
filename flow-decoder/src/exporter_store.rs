//! What exporters have announced: templates and options state. One store a node, shared by all its decoders.
//!
//! ```text
//! ExporterStore: (zone, exporter address, version, domain) -> Scope
//! Scope:         ArcSwap<ScopeState>   readers keep the Arc they saw and compare one pointer a datagram
//! ScopeState:    template id -> Definitions (per source port a plan), OptionsState
//! ```
//!
//! Invariants:
//! - A `ScopeState` never changes: whoever learns something swaps in a new one, under the scope's lock, which shares with
//!   the old one what is the same. Readers take no lock for what is known already.
//! - Equal layouts are one `Plan` (compared by pointer), whoever announced them.
//! - Definitions are remembered per source port. Data of a port that announced nothing is decoded by the one layout on which
//!   all ports agree; where they disagree it is a conflict.
//! - Everything is bounded by [`StoreLimits`]. At a bound the least recently used exporters make room; a scope that is
//!   full refuses new template ids and keeps those it has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;

use crate::datagram::ZoneId;
use crate::error::Reason;
use crate::options::OptionsState;
use crate::plan::Plan;
use crate::template::Template;

/// How the store is divided, so that workers which learn at the same time seldom wait for each other.
const SHARDS: usize = 16;

/// The part of a shard's scopes that makes room at once: the oldest are found in one pass, which must not be made for each.
const EVICTED_PART: usize = 16;

/// Whose templates: numbers mean nothing outside of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ScopeKey {
    /// Zone of the listener.
    pub zone: ZoneId,
    /// Exporter's address.
    pub exporter: IpAddr,
    /// 9 or 10.
    pub version: u16,
    /// Source id or observation domain.
    pub domain: u32,
}

/// Bounds of the store.
#[derive(Clone, Copy, Debug)]
pub struct StoreLimits {
    /// Templates of one scope.
    pub templates_per_scope: usize,
    /// Templates of all scopes.
    pub templates: usize,
    /// Scopes, over all exporters.
    pub scopes: usize,
    /// Source ports remembered for one template.
    pub ports_per_template: usize,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self { templates_per_scope: 4096, templates: 1_000_000, scopes: 65_536, ports_per_template: 32 }
    }
}

/// Templates and options state of all exporters of a node.
#[derive(Debug)]
pub struct ExporterStore {
    limits: StoreLimits,
    shards: [Mutex<HashMap<ScopeKey, Arc<Scope>>>; SHARDS],
    /// Plans by layout. Dead entries are dropped when their number has doubled.
    plans: Mutex<Plans>,
    templates: AtomicUsize,
    scopes_evicted: AtomicU64,
}

#[derive(Debug, Default)]
struct Plans {
    by_layout: HashMap<Template, Weak<Plan>>,
    sweep_at: usize,
}

/// What one scope has announced.
#[derive(Debug)]
pub(crate) struct Scope {
    state: ArcSwap<ScopeState>,
    learning: Mutex<()>,
    /// Set when the scope has made room for another; readers then look it up again.
    evicted: AtomicBool,
    /// When a decoder last used it, ns since 1970.
    last_used: AtomicU64,
}

/// A snapshot of a scope.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScopeState {
    templates: Templates,
    pub(crate) options: Arc<OptionsState>,
}

/// Definitions by template id, in pages of 256 ids. A page is shared by all snapshots in which it is the same: an exporter may
/// have thousands of templates, and who learns one copies its page only.
#[derive(Clone, Debug, Default)]
struct Templates {
    pages: HashMap<u8, Arc<Page>>,
    len: usize,
}

/// Definitions by the lower half of the id.
type Page = HashMap<u8, Arc<Definitions>>;

/// One template id: what each source port announced, the latest last.
#[derive(Clone, Debug, Default)]
struct Definitions {
    ports: Vec<(u16, Arc<Plan>)>,
}

/// What a port's data of one template id is decoded by.
#[derive(Clone, Debug)]
pub(crate) enum Lookup<'a> {
    Plan(&'a Arc<Plan>),
    /// Ports disagree, and this one announced nothing.
    Conflict,
    Unknown,
}

/// What learning a template did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learned {
    Unchanged,
    Changed,
}

impl ScopeState {
    pub(crate) fn lookup(&self, template: u16, port: u16) -> Lookup<'_> {
        let Some(definitions) = self.templates.get(template) else { return Lookup::Unknown };
        if let Some(plan) = definitions.of_port(port) {
            return Lookup::Plan(plan);
        }
        match definitions.ports.split_last() {
            None => Lookup::Unknown,
            Some(((_, plan), rest)) if rest.iter().all(|(_, other)| Arc::ptr_eq(plan, other)) => {
                Lookup::Plan(plan)
            }
            Some(_) => Lookup::Conflict,
        }
    }

    /// The plan that exactly this port announced.
    pub(crate) fn announced(&self, template: u16, port: u16) -> Option<&Arc<Plan>> {
        self.templates.get(template)?.of_port(port)
    }
}

impl Templates {
    fn get(&self, id: u16) -> Option<&Definitions> {
        let [page, index] = id.to_be_bytes();
        self.pages.get(&page)?.get(&index).map(Arc::as_ref)
    }

    /// The definitions of an id, none at first.
    fn entry(&mut self, id: u16) -> &mut Definitions {
        let [page, index] = id.to_be_bytes();
        let page = Arc::make_mut(self.pages.entry(page).or_default());
        let definitions = page.entry(index).or_insert_with(|| {
            self.len += 1;
            Arc::default()
        });
        Arc::make_mut(definitions)
    }
}

impl Definitions {
    fn of_port(&self, port: u16) -> Option<&Arc<Plan>> {
        self.ports.iter().find(|(of, _)| *of == port).map(|(_, plan)| plan)
    }

    fn announce(&mut self, port: u16, plan: Arc<Plan>, limit: usize) {
        self.ports.retain(|(of, _)| *of != port);
        if self.ports.len() >= limit.max(1) {
            self.ports.remove(0);
        }
        self.ports.push((port, plan));
    }
}

impl Scope {
    pub(crate) fn state(&self) -> arc_swap::Guard<Arc<ScopeState>> {
        self.state.load()
    }

    pub(crate) fn is_evicted(&self) -> bool {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Notes use; coarse, so that workers do not fight over the cache line.
    pub(crate) fn used_at(&self, now_ns: u64) {
        const SECOND: u64 = 1_000_000_000;
        if now_ns > self.last_used.load(Ordering::Relaxed).saturating_add(SECOND) {
            self.last_used.store(now_ns, Ordering::Relaxed);
        }
    }
}

impl ExporterStore {
    /// An empty store.
    pub fn new(limits: StoreLimits) -> Self {
        Self {
            limits,
            shards: std::array::from_fn(|_| Mutex::default()),
            plans: Mutex::default(),
            templates: AtomicUsize::new(0),
            scopes_evicted: AtomicU64::new(0),
        }
    }

    /// Template ids known, over all scopes.
    pub fn templates(&self) -> usize {
        self.templates.load(Ordering::Relaxed)
    }

    /// Scopes known.
    pub fn scopes(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Scopes that had to make room for others since the store was made.
    pub fn scopes_evicted(&self) -> u64 {
        self.scopes_evicted.load(Ordering::Relaxed)
    }

    /// The scope, where anything is known of it.
    pub(crate) fn scope(&self, key: &ScopeKey) -> Option<Arc<Scope>> {
        lock(self.shard(key)).get(key).cloned()
    }

    /// The scope, made where nothing was known of it.
    pub(crate) fn scope_or_new(&self, key: &ScopeKey, now_ns: u64) -> Arc<Scope> {
        let mut shard = lock(self.shard(key));
        if let Some(scope) = shard.get(key) {
            return scope.clone();
        }
        if shard.len() >= self.limits.scopes.div_ceil(SHARDS).max(1) {
            self.evict(&mut shard, key);
        }
        let scope = Arc::new(Scope {
            state: ArcSwap::default(),
            learning: Mutex::default(),
            evicted: AtomicBool::new(false),
            last_used: AtomicU64::new(now_ns),
        });
        shard.insert(*key, scope.clone());
        scope
    }

    /// Remembers that `port` announced a template.
    pub(crate) fn learn_template(
        &self,
        key: &ScopeKey,
        scope: &Scope,
        port: u16,
        id: u16,
        template: &Template,
    ) -> Result<Learned, Reason> {
        if self.templates() >= self.limits.templates && scope.state.load().templates.get(id).is_none() {
            self.make_room(key);
        }
        let _learning = lock(&scope.learning);
        let current = scope.state.load();
        if current.announced(id, port).is_some_and(|plan| plan.template() == template) {
            return Ok(Learned::Unchanged);
        }
        let full = scope.is_evicted() || current.templates.len >= self.limits.templates_per_scope;
        let known = current.templates.get(id).is_some();
        if full && !known {
            return Err(Reason::TemplateLimit);
        }
        let mut next = ScopeState::clone(&current);
        next.templates.entry(id).announce(port, self.plan(template), self.limits.ports_per_template);
        self.templates.fetch_add(usize::from(!known), Ordering::Relaxed);
        scope.state.store(Arc::new(next));
        Ok(Learned::Changed)
    }

    /// Remembers what options records said.
    pub(crate) fn learn_options(&self, scope: &Scope, news: &OptionsState) {
        let _learning = lock(&scope.learning);
        let mut next = ScopeState::clone(&scope.state.load());
        Arc::make_mut(&mut next.options).merge(news);
        scope.state.store(Arc::new(next));
    }

    fn shard(&self, key: &ScopeKey) -> &Mutex<HashMap<ScopeKey, Arc<Scope>>> {
        let octets = match key.exporter {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let mixed =
            octets.iter().fold(key.domain as usize, |sum, &byte| sum.wrapping_mul(31) ^ usize::from(byte));
        &self.shards[(mixed ^ mixed >> 4) % SHARDS]
    }

    /// Takes out scopes where the least recently used one is, but never `keep`.
    fn make_room(&self, keep: &ScopeKey) {
        let oldest = |shard: &Mutex<HashMap<_, _>>| ages(&lock(shard), keep).map(|(used, _)| used).min();
        let shards = self.shards.iter().filter_map(|shard| Some((oldest(shard)?, shard)));
        if let Some((_, shard)) = shards.min_by_key(|(used, _)| *used) {
            self.evict(&mut lock(shard), keep);
        }
    }

    /// Takes out the least recently used part of a shard, but never `keep`.
    fn evict(&self, shard: &mut HashMap<ScopeKey, Arc<Scope>>, keep: &ScopeKey) {
        let mut ages: Vec<_> = ages(shard, keep).collect();
        let count = ages.len().div_ceil(EVICTED_PART);
        if count < ages.len() {
            ages.select_nth_unstable_by_key(count, |(used, _)| *used);
        }
        for (_, key) in &ages[..count] {
            self.forget(shard, key);
        }
    }

    fn forget(&self, shard: &mut HashMap<ScopeKey, Arc<Scope>>, key: &ScopeKey) {
        let Some(scope) = shard.remove(key) else { return };
        // Under the scope's lock, so that a worker which learns a template at this moment either counts it before or
        // sees that the scope is gone.
        let _learning = lock(&scope.learning);
        scope.evicted.store(true, Ordering::Relaxed);
        self.templates.fetch_sub(scope.state.load().templates.len, Ordering::Relaxed);
        self.scopes_evicted.fetch_add(1, Ordering::Relaxed);
    }

    /// The plan for a layout, compiled where no equal one is in use.
    fn plan(&self, template: &Template) -> Arc<Plan> {
        let mut plans = lock(&self.plans);
        if let Some(plan) = plans.by_layout.get(template).and_then(Weak::upgrade) {
            return plan;
        }
        if plans.by_layout.len() >= plans.sweep_at {
            plans.by_layout.retain(|_, plan| plan.strong_count() > 0);
            plans.sweep_at = (2 * plans.by_layout.len()).max(64);
        }
        let plan = Arc::new(Plan::compile(template.clone()));
        plans.by_layout.insert(template.clone(), Arc::downgrade(&plan));
        plan
    }
}

/// When each scope but `keep` was last used.
fn ages(shard: &HashMap<ScopeKey, Arc<Scope>>, keep: &ScopeKey) -> impl Iterator<Item = (u64, ScopeKey)> {
    let others = shard.iter().filter(move |(key, _)| *key != keep);
    others.map(|(key, scope)| (scope.last_used.load(Ordering::Relaxed), *key))
}

/// A lock whose holder may have panicked: what it guards is replaced whole, never left half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::template::{FieldSpecifier, TemplateKind};

    fn key(exporter: u32) -> ScopeKey {
        ScopeKey { zone: ZoneId(0), exporter: Ipv4Addr::from(exporter).into(), version: 9, domain: 0 }
    }

    fn layout(length: u16) -> Template {
        Template::new(TemplateKind::Data, [FieldSpecifier::iana(1, length)]).unwrap()
    }

    #[test]
    fn equal_layouts_are_one_plan_and_dead_ones_go() {
        let store = ExporterStore::new(StoreLimits { scopes: 16, ..StoreLimits::default() });
        let (a, b) = (store.scope_or_new(&key(1), 0), store.scope_or_new(&key(2), 0));
        store.learn_template(&key(1), &a, 7, 256, &layout(4)).unwrap();
        store.learn_template(&key(2), &b, 8, 300, &layout(4)).unwrap();
        let (a, b) = (a.state(), b.state());
        let (Lookup::Plan(a), Lookup::Plan(b)) = (a.lookup(256, 7), b.lookup(300, 8)) else {
            panic!("not found")
        };
        assert!(Arc::ptr_eq(a, b));
        for length in 1..1000 {
            drop(store.plan(&layout(length)));
        }
        assert!(lock(&store.plans).by_layout.len() < 200);
    }

    #[test]
    fn data_of_another_port_uses_the_layout_all_ports_agree_on() {
        let store = ExporterStore::new(StoreLimits::default());
        let scope = store.scope_or_new(&key(1), 0);
        store.learn_template(&key(1), &scope, 7, 256, &layout(4)).unwrap();
        store.learn_template(&key(1), &scope, 8, 256, &layout(4)).unwrap();
        assert!(matches!(scope.state().lookup(256, 9), Lookup::Plan(_)));
        store.learn_template(&key(1), &scope, 8, 256, &layout(8)).unwrap();
        assert!(matches!(scope.state().lookup(256, 9), Lookup::Conflict));
        assert!(matches!(scope.state().lookup(256, 7), Lookup::Plan(plan) if plan.template() == &layout(4)));
        assert!(matches!(scope.state().lookup(257, 7), Lookup::Unknown));
    }

    #[test]
    fn everything_is_bounded() {
        let limits = StoreLimits { templates_per_scope: 3, templates: 20, scopes: 32, ports_per_template: 2 };
        let store = ExporterStore::new(limits);
        let scope = store.scope_or_new(&key(1), 0);
        for id in 256..259 {
            assert_eq!(store.learn_template(&key(1), &scope, 7, id, &layout(4)), Ok(Learned::Changed));
        }
        assert_eq!(store.learn_template(&key(1), &scope, 7, 259, &layout(4)), Err(Reason::TemplateLimit));
        assert_eq!(
            store.learn_template(&key(1), &scope, 7, 256, &layout(5)),
            Ok(Learned::Changed),
            "known ids may change"
        );
        for port in 0..100 {
            store.learn_template(&key(1), &scope, port, 256, &layout(4)).unwrap();
        }
        assert_eq!(scope.state().templates.get(256).unwrap().ports.len(), 2);
        for exporter in 0..1000 {
            let scope = store.scope_or_new(&key(exporter), u64::from(exporter));
            store.learn_template(&key(exporter), &scope, 7, 256, &layout(4)).unwrap();
        }
        assert!(store.scopes() <= 32);
        assert!(store.templates() <= 20);
        assert!(scope.is_evicted());
    }
    #[test]
    fn a_full_store_forgets_who_was_used_least_recently_and_only_for_new_ids() {
        let store = ExporterStore::new(StoreLimits { templates: 100, ..StoreLimits::default() });
        for exporter in 0..100 {
            let scope = store.scope_or_new(&key(exporter), u64::from(exporter));
            store.learn_template(&key(exporter), &scope, 7, 256, &layout(4)).unwrap();
        }
        let (latest, scope) = (key(99), store.scope(&key(99)).unwrap());
        store.learn_template(&latest, &scope, 8, 256, &layout(4)).unwrap();
        assert_eq!(store.scopes_evicted(), 0, "a known id needs no room");
        store.learn_template(&latest, &scope, 7, 257, &layout(4)).unwrap();
        assert_eq!((store.scopes_evicted(), store.templates()), (1, 100));
        assert!(store.scope(&key(0)).is_none());
    }
}
