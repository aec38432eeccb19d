//! A decoder's sessions, bounded: those that were used least recently go.
//!
//! There are two generations. A session is looked for in the young one, and brought there from the old one when it is used
//! again. When the young one is full it becomes the old one, and what was still in that, unused for that long, goes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::scope::Scope;
use crate::session::{Session, SessionKey};

/// Sessions of one generation: what a hash table of 8,192 places takes. They save look-ups in the store and remember where
/// an exporter's counters stood; what goes is made again from the store.
const GENERATION: usize = 7_168;

/// Octets of plans that sessions may hold, when they are counted: each time they have looked up as much. Plans of thousands of
/// layouts fit; what does not is compiled again when data comes by it.
const PLAN_OCTETS: usize = 8 << 20;

/// The table.
#[derive(Debug, Default)]
pub(crate) struct SessionTable {
    young: HashMap<SessionKey, Session>,
    old: HashMap<SessionKey, Session>,
    /// Octets of plans that were looked up since they were last counted.
    looked_up: usize,
}

impl SessionTable {
    /// The session of `key`, made where there is none, following what its scope knows now.
    pub(crate) fn get(
        &mut self,
        key: SessionKey,
        scope: impl Fn() -> Option<Arc<Scope>>,
        now_ns: u64,
    ) -> &mut Session {
        if self.young.len() >= GENERATION && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        let session = match self.young.entry(key) {
            Entry::Occupied(occupied) => occupied.into_mut(),
            Entry::Vacant(vacant) => {
                let known = self.old.remove(&key);
                vacant.insert(known.unwrap_or_else(|| Session::new(key)))
            }
        };
        if session.is_known() {
            session.follow();
        } else {
            session.enter(scope());
        }
        session.used_at(now_ns);
        session
    }

    /// Notes that plans of so many octets were looked up.
    pub(crate) fn looked_up(&mut self, octets: usize) {
        self.looked_up += octets;
        if self.looked_up > PLAN_OCTETS {
            self.looked_up = 0;
            self.bound_plans();
        }
    }

    /// Gives up plans of scopes that are gone and, where the others are too many, of those who were not heard for longest.
    #[cold]
    fn bound_plans(&mut self) {
        let all = self.young.values_mut().chain(self.old.values_mut());
        all.filter(|session| !session.is_known()).for_each(Session::forget_plans);
        for old in [true, false] {
            let held: usize = self.young.values().chain(self.old.values()).map(Session::plan_octets).sum();
            if held > PLAN_OCTETS {
                let generation = if old { &mut self.old } else { &mut self.young };
                generation.values_mut().for_each(Session::forget_plans);
            }
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::datagram::ZoneId;
    use crate::exporter_store::{ExporterStore, ScopeKey, StoreLimits};

    fn key(exporter: u32) -> SessionKey {
        let exporter = Ipv4Addr::from(exporter).into();
        SessionKey { scope: ScopeKey { zone: ZoneId(0), exporter, version: 9, domain: 0 }, port: 1 }
    }

    #[test]
    fn strangers_push_out_who_is_not_heard_of_and_nobody_else() {
        let store = ExporterStore::new(StoreLimits::default());
        let mut sessions = SessionTable::default();
        let known = |exporter| {
            let scope = store.scope_or_new(&key(exporter).scope, 0);
            move || Some(scope.clone())
        };
        sessions.get(key(1), known(1), 1);
        sessions.get(key(2), known(2), 1);
        for stranger in 0..4 * GENERATION as u32 {
            sessions.get(key(1000 + stranger), || None, 1);
            if stranger % 1000 == 0 {
                // Kept, so not asked for its scope again.
                sessions.get(key(1), || panic!("looked up again"), 1);
            }
        }
        assert!(sessions.len() <= 2 * GENERATION);
        assert!(!sessions.young.contains_key(&key(2)) && !sessions.old.contains_key(&key(2)));
    }
}
