//! Keeps the view and the mirror like the store.
//!
//! ```text
//! identify -> list all at one revision -> watch from the next one --broken--> identify, watch on from where it was
//!    |           ^                            |  compacted, periodic
//!    |           +----------------------------+
//!    +-- another store, or an older state of it: what is known here counts as not stored, list, write back what it lacks
//! ```
//!
//! A store is told by its `store-id`, made once; the same store fell back where its revision or raft's term is less than what was seen. A
//! watch alone would wait in silence for revisions to come, so the store is identified before each watch and with each progress
//! note. A listed or watched value is merged, so that an older one never replaces what is known here; where
//! more is known it is written back.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use catchment_proto::cluster::v1::{Collector, Replica, WantedList};
use catchment_serving::LogLimit;
use prost::Message as _;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::config_store;
use crate::desired;
use crate::keys::Key;
use crate::kv::{Change, Event, Expect, KvError, Moment, Pair};
use crate::mirror::{Held, config_number};
use crate::push::start_of;
use crate::scope::ScopeId;
use crate::store::{Connection, Shared, now};
use crate::validate::{self, Invalid};
use crate::view::Part;
use crate::writer::{Urgency, jitter};

/// Keys in one page of a list, at first: the next ones are as large as these values allow.
const FIRST_PAGE: usize = 100;
const MAX_PAGE: usize = 4000;
/// Octets of a page that are aimed at: etcd makes each answer in one piece.
const PAGE_BYTES: usize = 1024 * 1024;
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// A scope that was heard of within this time is put back when it is deleted.
const HEARD_LATELY: u32 = 2 * 3600;

/// Mirrors until it is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut reflector = Reflector { shared, last: None, must_list: true, log: LogLimit::default() };
    let mut delay = RETRY_MIN;
    loop {
        let began = Instant::now();
        let error = match reflector.follow().await {
            Ok(()) => continue,
            Err(error) => error,
        };
        let shared = &reflector.shared;
        shared.counters.failed_calls.increment();
        if let KvError::Compacted(revision) = error {
            shared.counters.compactions.increment();
            info!(revision, "the store's history was compacted meanwhile, reading all of it");
            reflector.must_list = true;
        } else {
            shared.set_reachable(false);
            reflector.log.admit(|held_back| warn!(%error, held_back, "the store does not answer"));
        }
        if began.elapsed() > RETRY_MAX {
            delay = RETRY_MIN;
        }
        tokio::time::sleep(jitter(delay)).await;
        delay = (delay * 2).min(RETRY_MAX);
    }
}

struct Reflector {
    shared: Arc<Shared>,
    /// The store that was mirrored last, and how far.
    last: Option<(String, Moment)>,
    must_list: bool,
    log: LogLimit,
}

/// Whether values come from a list or one by one as they change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    List,
    Watch,
}

/// What an event meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Done,
    /// The store's id was changed or taken away.
    OtherStore,
}

impl Reflector {
    /// Identifies, lists where needed, watches. Comes back without an error when a list is due.
    async fn follow(&mut self) -> Result<(), KvError> {
        self.identify().await?;
        if self.must_list {
            self.list().await?;
            self.must_list = false;
        }
        self.watch().await
    }

    /// Finds out which store it is; another one, or an older state of it, begins a new history.
    async fn identify(&mut self) -> Result<(), KvError> {
        let (store, moment) = self.store_id().await?;
        let same =
            self.last.as_ref().is_some_and(|(known, last)| *known == store && !last.contradicts(moment));
        if !same {
            if self.last.is_some() {
                self.shared.counters.store_changes.increment();
                let revision = moment.revision;
                warn!(
                    store,
                    revision, "the store was wiped, restored or exchanged: writing back what is known"
                );
            }
            self.shared.view.update(|state| state.begin_history(&store));
            self.shared.mirror.update(crate::mirror::MirrorState::begin_history);
            self.last = Some((store, Moment { revision: 0, ..moment }));
            self.must_list = true;
        }
        Ok(())
    }

    /// The store's id. There is one after this; and another one where it is known here with a later state: its revisions have
    /// another meaning from now on, for sessions and the other replicas too.
    async fn store_id(&self) -> Result<(String, Moment), KvError> {
        let key = self.shared.keys.write(&Key::StoreId);
        loop {
            let (pair, moment) = self.shared.kv.get(&key).await?;
            let stored =
                pair.as_ref().map(|pair| String::from_utf8_lossy(&pair.value).chars().take(64).collect());
            let known = self.last.as_ref();
            match stored {
                Some(id) if !known.is_some_and(|(known, last)| *known == id && last.contradicts(moment)) => {
                    return Ok((id, moment));
                }
                _ => {}
            }
            let id = format!("{:032x}", rand::random::<u128>());
            let expect = Expect::last_seen(pair.map_or(0, |pair| pair.revision));
            let put = Change::put(key.clone(), expect, id.into_bytes());
            self.shared.kv.change_each(vec![put]).await?;
        }
    }

    /// Reads everything at one revision.
    async fn list(&mut self) -> Result<(), KvError> {
        let began = Instant::now();
        let shared = Arc::clone(&self.shared);
        let (pairs, moment) = self.list_pages().await?;
        let first = !shared.connection.borrow().loaded;
        let mut there = HashSet::with_capacity(pairs.len());
        let mut seen = Vec::new();
        // By revision, so that a session that knows a part of the history can be given the rest.
        let mut order: Vec<&Pair> = pairs.iter().collect();
        order.sort_unstable_by_key(|pair| pair.revision);
        for (number, pair) in order.into_iter().enumerate() {
            let Some(key) = shared.keys.parse(&pair.key) else {
                self.invalid(&pair.key, &Invalid::Empty("meaning"));
                continue;
            };
            match key {
                Key::Seen(_) => seen.push((key.clone(), pair)),
                // An old list was passed on already.
                Key::Wanted(_) => {}
                _ => self.put(&key, pair, Origin::List),
            }
            there.insert(key);
            if number % 1024 == 1023 {
                tokio::task::yield_now().await;
            }
        }
        for (key, pair) in seen {
            self.put(&key, pair, Origin::List);
        }
        self.absent(&there);
        shared.view.update(|state| {
            state.reached(moment.revision);
            state.note_unseen(now());
        });
        self.reached(moment);
        shared.counters.relists.increment();
        shared.connection.send_if_modified(|connection| {
            let before = std::mem::replace(connection, Connection { loaded: true, reachable: true });
            before != *connection
        });
        if first {
            let size = shared.view.size();
            let (scopes, templates) = (size.scopes, size.templates);
            let ms = began.elapsed().as_millis() as u64;
            info!(
                store = self.store(),
                revision = moment.revision,
                scopes,
                templates,
                ms,
                "the store was read"
            );
        }
        self.heal().await
    }

    async fn list_pages(&mut self) -> Result<(Vec<Pair>, Moment), KvError> {
        let kv = self.shared.kv.clone();
        let prefix = self.shared.keys.prefix().to_owned();
        let mut pairs: Vec<Pair> = Vec::new();
        let mut limit = FIRST_PAGE;
        let mut at = None;
        loop {
            let after = pairs.last().map(|pair| pair.key.as_slice());
            let revision = at.map_or(0, |moment: Moment| moment.revision);
            let page = match kv.list(&prefix, after, limit, revision).await {
                Err(KvError::TooLarge) if limit > 1 => {
                    limit = limit.div_ceil(4);
                    continue;
                }
                page => page?,
            };
            let at = *at.get_or_insert(page.moment);
            let octets: usize = page.pairs.iter().map(|pair| pair.key.len() + pair.value.len() + 64).sum();
            let fitting = PAGE_BYTES * page.pairs.len().max(1) / octets.max(1);
            limit = fitting.clamp(1, (limit * 4).min(MAX_PAGE));
            pairs.extend(page.pairs);
            if !page.more {
                return Ok((pairs, at));
            }
        }
    }

    /// What is known here as stored, and is not.
    fn absent(&self, there: &HashSet<Key>) {
        let shared = &self.shared;
        let gone: Vec<Key> = {
            let state = shared.view.lock();
            let mut gone = Vec::new();
            for (id, entry) in state.entries() {
                let id = || ScopeId::clone(id);
                if entry.stored_templates.revision != 0 && !there.contains(&Key::Templates(id())) {
                    gone.push(Key::Templates(id()));
                }
                if entry.stored_options.revision != 0 && !there.contains(&Key::Options(id())) {
                    gone.push(Key::Options(id()));
                }
            }
            gone
        };
        for key in gone {
            self.delete(&key);
        }
        let others = {
            let mirror = shared.mirror.lock();
            let collectors = mirror.collectors.keys().cloned().map(Key::Collector);
            let replicas = mirror.replicas.keys().cloned().map(Key::Coordinator);
            let leader = mirror.leader.iter().map(|_| Key::Leader);
            collectors.chain(replicas).chain(leader).collect::<Vec<_>>()
        };
        for key in others.into_iter().filter(|key| !there.contains(key)) {
            self.delete(&key);
        }
        shared
            .tenancy
            .heard_of_replica(there.contains(&Key::Coordinator(shared.options.coordinator.clone())));
    }

    /// Writes back what is known here and the store lacks: after it was wiped or restored.
    async fn heal(&self) -> Result<(), KvError> {
        let shared = &self.shared;
        {
            let mut state = shared.view.lock();
            let mut lacking: Vec<_> =
                state.entries().filter(|(_, entry)| entry.is_dirty()).map(|(id, _)| Arc::clone(id)).collect();
            // Several replicas do this at once: each begins elsewhere.
            let start = rand::random_range(0..lacking.len().max(1));
            lacking.rotate_left(start);
            for id in lacking {
                shared.enqueue_in(&mut state, &id, Urgency::Restore);
            }
        }
        let mut changes = Vec::new();
        {
            let mirror = shared.mirror.lock();
            let lacking = mirror.desired.iter().filter(|(_, held)| held.revision == 0);
            changes
                .extend(lacking.map(|(node, held)| (Key::Desired(node.clone()), held.value.encode_to_vec())));
            let lacking = mirror.history.iter().filter(|(_, held)| held.revision == 0);
            changes.extend(
                lacking.map(|(number, held)| (Key::ConfigHistory(*number), held.value.encode_to_vec())),
            );
            let lacking = mirror.config.iter().filter(|held| held.revision == 0);
            changes.extend(lacking.map(|held| (Key::Config, held.value.encode_to_vec())));
        }
        for (key, value) in changes {
            self.put_back(&key, value).await?;
        }
        Ok(())
    }

    /// Writes a desired state or a configuration unless the store has a later one.
    async fn put_back(&self, key: &Key, value: Vec<u8>) -> Result<(), KvError> {
        let shared = &self.shared;
        let path = shared.keys.write(key);
        loop {
            let (pair, _) = shared.kv.get(&path).await?;
            let number = |value: &[u8]| match key {
                Key::Desired(_) => desired::desired(value).map(|desired| desired.revision),
                _ => config_store::config(value).map(|config| config_number(&config)),
            };
            if let Some(pair) = &pair
                && number(&pair.value).is_ok_and(|stored| number(&value).is_ok_and(|known| stored >= known))
            {
                self.put(key, pair, Origin::Watch);
                return Ok(());
            }
            let expect = Expect::last_seen(pair.map_or(0, |pair| pair.revision));
            let change = Change::put(path.clone(), expect, value.clone());
            if shared.kv.change_each(vec![change]).await?.done == [true] {
                match key {
                    Key::Desired(_) => shared.counters.desired_writes.increment(),
                    _ => shared.counters.config_writes.increment(),
                }
                return Ok(());
            }
        }
    }

    async fn watch(&mut self) -> Result<(), KvError> {
        let from = self.last.as_ref().map_or(0, |(_, moment)| moment.revision) + 1;
        let prefix = self.shared.keys.prefix().to_owned();
        let mut watch = self.shared.kv.watch(&prefix, from).await?;
        self.shared.counters.watch_restarts.increment();
        self.shared.set_reachable(true);
        let relist = tokio::time::sleep(jitter(self.shared.options.relist));
        tokio::pin!(relist);
        loop {
            let events = tokio::select! {
                events = watch.next() => events?,
                () = &mut relist => {
                    self.must_list = true;
                    return Ok(());
                }
            };
            let back = |last: &Moment| events.events.is_empty() && events.moment.revision < last.revision;
            if self.last.as_ref().is_some_and(|(_, last)| back(last)) {
                // Identified anew, it will be found to be another history.
                return Ok(());
            }
            for event in &events.events {
                if self.take(event) == Taken::OtherStore {
                    return Ok(());
                }
            }
            let revision = events.moment.revision;
            self.shared.view.update(|state| state.reached(revision));
            self.reached(events.moment);
        }
    }

    fn take(&self, event: &Event) -> Taken {
        let (Event::Put(Pair { key: bytes, .. }) | Event::Delete(bytes, _)) = event;
        match (self.shared.keys.parse(bytes), event) {
            (Some(Key::StoreId), Event::Put(pair)) if pair.value == self.store().as_bytes() => {}
            (Some(Key::StoreId), _) => return Taken::OtherStore,
            (Some(key), Event::Put(pair)) => self.put(&key, pair, Origin::Watch),
            (Some(key), Event::Delete(..)) => self.delete(&key),
            (None, Event::Put(_)) => self.invalid(bytes, &Invalid::Empty("meaning")),
            (None, Event::Delete(..)) => {}
        }
        Taken::Done
    }

    /// Takes a value over, or skips and reports it.
    fn put(&self, key: &Key, pair: &Pair, origin: Origin) {
        if let Err(invalid) = self.try_put(key, pair, origin) {
            self.invalid(&pair.key, &invalid);
        }
    }

    fn try_put(&self, key: &Key, pair: &Pair, origin: Origin) -> Result<(), Invalid> {
        let shared = &self.shared;
        let revision = pair.revision;
        let encoding = |error: prost::DecodeError| Invalid::Encoding(error.to_string());
        match key {
            Key::Templates(id) | Key::Options(id) => {
                let part = if matches!(key, Key::Templates(_)) { Part::Templates } else { Part::Options };
                return shared.take_scope(id, part, pair, if origin == Origin::List { 0 } else { now() });
            }
            Key::Seen(id) => {
                let text = std::str::from_utf8(&pair.value).ok().and_then(|text| text.parse().ok());
                let seen: u32 = text.ok_or(Invalid::Encoding("not a number".into()))?;
                shared.view.lock().take_seen(id, seen.min(now()), revision);
            }
            Key::Collector(node) => {
                let collector = Collector::decode(&*pair.value).map_err(encoding)?;
                check_collector(node, &collector)?;
                shared.tenancy.heard(node, Some(&collector));
                let held = Held { value: Arc::new(collector), revision };
                shared.mirror.update(|mirror| mirror.collectors.insert(node.clone(), held));
            }
            Key::Coordinator(id) => {
                let replica = Replica::decode(&*pair.value).map_err(encoding)?;
                for text in [&replica.id, &replica.grpc_address, &replica.version] {
                    validate::name(text)?;
                }
                if replica.id != *id {
                    return Err(Invalid::OtherKey(replica.id));
                }
                let start = start_of(&replica);
                let held = Held { value: Arc::new(replica), revision };
                let before = shared.mirror.update(|mirror| mirror.replicas.insert(id.clone(), held));
                if before.is_some_and(|before| start_of(&before.value) != start) {
                    shared.take_over();
                }
            }
            Key::Wanted(id) if *id != shared.options.coordinator && origin == Origin::Watch => {
                shared.pass_on(WantedList::decode(&*pair.value).map_err(encoding)?);
            }
            Key::Leader => {
                let id = std::str::from_utf8(&pair.value).map_err(|_| Invalid::Control)?;
                let value = validate::id("leader", id)?.to_owned();
                shared.mirror.update(|mirror| mirror.leader = Some(Held { value, revision }));
            }
            Key::Desired(node) => {
                let held = Held { value: Arc::new(desired::desired(&pair.value)?), revision };
                shared.mirror.update(|mirror| mirror.take_desired(node, held));
            }
            Key::Config => {
                let held = Held { value: Arc::new(config_store::config(&pair.value)?), revision };
                shared.mirror.update(|mirror| mirror.take_config(held));
            }
            Key::ConfigHistory(number) => {
                let config = config_store::config(&pair.value)?;
                if config_number(&config) != *number {
                    return Err(Invalid::OtherKey(config_number(&config).to_string()));
                }
                let held = Held { value: Arc::new(config), revision };
                shared.mirror.update(|mirror| mirror.history.insert(*number, held));
            }
            // Its own words; and another store is noticed when it is identified.
            Key::Wanted(_) | Key::StoreId => {}
        }
        Ok(())
    }

    fn delete(&self, key: &Key) {
        let shared = &self.shared;
        match key {
            Key::Templates(id) => shared.scope_deleted(id, Part::Templates),
            Key::Options(id) => shared.scope_deleted(id, Part::Options),
            Key::Seen(id) => shared.view.lock().take_seen(id, 0, 0),
            Key::Collector(node) => {
                shared.mirror.update(|mirror| mirror.collectors.remove(node));
                shared.tenancy.heard(node, None);
            }
            Key::Coordinator(id) => {
                shared.mirror.update(|mirror| mirror.replicas.remove(id));
                if *id == shared.options.coordinator {
                    shared.tenancy.heard_of_replica(false);
                } else {
                    shared.take_over();
                }
            }
            Key::Leader => shared.mirror.update(|mirror| mirror.leader = None),
            Key::Desired(node) => {
                shared.mirror.update(|mirror| mirror.desired.remove(node));
            }
            Key::Config => shared.mirror.update(|mirror| mirror.config = None),
            Key::ConfigHistory(number) => {
                shared.mirror.update(|mirror| mirror.history.remove(number));
            }
            Key::StoreId | Key::Wanted(_) => {}
        }
    }

    fn invalid(&self, key: &[u8], invalid: &Invalid) {
        self.shared.report_invalid(key, invalid);
    }

    fn reached(&mut self, moment: Moment) {
        if let Some((_, last)) = &mut self.last {
            *last = Moment { revision: last.revision.max(moment.revision), ..moment };
        }
    }

    fn store(&self) -> &str {
        self.last.as_ref().map_or("", |(store, _)| store)
    }
}

impl Shared {
    /// Takes over a stored part of a scope; where more is known here, it waits to be written.
    fn take_scope(&self, id: &ScopeId, part: Part, pair: &Pair, now: u32) -> Result<(), Invalid> {
        let stored = validate::stored_scope(id, &pair.value);
        let mut state = self.view.lock();
        let stored = match stored {
            Ok(scope) => match part {
                Part::Templates => scope.only_templates(),
                Part::Options => scope.only_options(),
            },
            Err(invalid) => {
                state.not_usable(id, part, pair.revision);
                return Err(invalid);
            }
        };
        let room = || self.options.limits.room(state.len(), state.bytes(), false);
        if state.entry(id).is_none() && room().is_err() {
            self.counters.refused_full.increment();
            return Ok(());
        }
        if state.take_stored(part, &stored, pair.revision, now) && now != 0 {
            self.enqueue_in(&mut state, id, Urgency::Soon);
        }
        Ok(())
    }

    /// A write came too late: takes over what the key holds now.
    pub(crate) fn take_scope_value(&self, id: &ScopeId, key: &Key, pair: Option<Pair>) {
        let part = if matches!(key, Key::Options(_)) { Part::Options } else { Part::Templates };
        match pair {
            Some(pair) => {
                if let Err(invalid) = self.take_scope(id, part, &pair, now()) {
                    self.report_invalid(&pair.key, &invalid);
                    // It is in the way of something that is valid.
                    self.enqueue(id, Urgency::Soon);
                }
            }
            None => {
                let mut state = self.view.lock();
                state.not_stored(id, part, 0);
                self.enqueue_in(&mut state, id, Urgency::Soon);
            }
        }
    }

    /// Somebody deleted a part of a scope: the leader, because nobody had seen it.
    fn scope_deleted(&self, id: &ScopeId, part: Part) {
        let lately =
            HEARD_LATELY.min(u32::try_from(self.options.retention.as_secs() / 2).unwrap_or(u32::MAX));
        self.view.update(|state| {
            state.not_stored(id, part, 0);
            let Some(entry) = state.entry(id) else { return };
            if now().saturating_sub(entry.seen) <= lately {
                self.enqueue_in(state, id, Urgency::Soon);
            } else if entry.stored_templates.revision == 0 && entry.stored_options.revision == 0 {
                state.remove(id);
            }
        });
    }

    /// Counts a value that is skipped, and says so, not too often.
    pub(crate) fn report_invalid(&self, key: &[u8], invalid: &Invalid) {
        self.counters.invalid_values.increment();
        let key: String = String::from_utf8_lossy(key).chars().take(200).collect();
        self.invalid_log.admit(|held_back| {
            warn!(key, error = %invalid, held_back, "a value of the store is not valid and was skipped");
        });
    }
}

fn check_collector(node: &str, collector: &Collector) -> Result<(), Invalid> {
    validate::id("session id", &collector.session_id)?;
    validate::id("coordinator id", &collector.coordinator_id)?;
    let hello = collector.hello.as_ref().ok_or(Invalid::Empty("hello"))?;
    for text in [&hello.version, &hello.grpc_address, &hello.http_address] {
        validate::name(text)?;
    }
    if hello.node_id == node { Ok(()) } else { Err(Invalid::OtherKey(hello.node_id.clone())) }
}
