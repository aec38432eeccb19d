//! What comes down: snapshots and deltas, checked and merged into the store.
//!
//! While a snapshot comes, what this node knows is held against it, scope by scope, so that at its end it is known what is to go up:
//! scopes of which the node knows something later, and scopes that were not in it at all.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use catchment_proto::cluster::v1::{ScopeState, Wanted};
use flow_decoder::{ScopeKey, Share};

use super::counters::{Counters, add};
use crate::flow::Known;
use crate::shared_scope::{self, Invalid, Trust};

/// Keys that are looked at at a time.
const PAGE: usize = 8192;

/// What a snapshot has told so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Scopes that were in it.
    keys: HashSet<ScopeKey>,
    /// Of these, scopes of which the node knows something that it did not say.
    more: Vec<ScopeKey>,
}

/// What of the node goes up, of scopes that were not in a snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) enum Missing {
    /// All: the store is another one, or was wiped.
    All,
    /// What was heard here in that time. The rest was given up by the cluster, because nobody hears it.
    HeardWithin(Duration),
}

/// Why parts were left out; for the log.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    pub(super) count: usize,
    pub(super) why: Option<String>,
}

impl LeftOut {
    fn note(&mut self, count: usize, why: impl FnOnce() -> String) {
        if count > 0 {
            self.count += count;
            self.why.get_or_insert_with(why);
        }
    }
}

/// Merges scopes of a snapshot or delta. Takes time in their number: not for a thread that others wait for.
pub(super) fn import(
    known: &Known,
    counters: &Counters,
    scopes: &[ScopeState],
    mut told: Option<&mut Told>,
) -> LeftOut {
    let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let mut left_out = LeftOut::default();
    add(&counters.scopes_received, scopes.len());
    for message in scopes {
        let read = match shared_scope::read(message, &known.zones, Trust::Proven) {
            Ok(read) => read,
            Err(Invalid::Zone(_)) => {
                add(&counters.other_zones, 1);
                continue;
            }
            Err(why) => {
                left_out.note(1, || why.to_string());
                continue;
            }
        };
        left_out.note(read.skipped, || read.why.map(|why| why.to_string()).unwrap_or_default());
        let (key, theirs) = (read.key, read.scope);
        let said = told.is_some().then(|| theirs.clone());
        let imported = known.store.import(&key, theirs, now_ns);
        left_out.note(imported.refused.len(), || {
            imported.refused.first().map(|(_, why)| why.label().to_owned()).unwrap_or_default()
        });
        left_out.note(imported.options_left_out, || "no room for names or sampling rates".to_owned());
        add(&counters.templates_learnt, imported.changed);
        add(&counters.templates_older, imported.older);
        add(&counters.templates_conflicting, imported.conflicts.len());
        if let (Some(told), Some(said)) = (told.as_deref_mut(), said) {
            told.keys.insert(key);
            let own = known.store.export(&key, Share::Proven);
            if own.is_some_and(|own| shared_scope::adds(&own, &said)) {
                told.more.push(key);
            }
        }
    }
    add(&counters.parts_refused, left_out.count);
    left_out
}

/// What is to go up when a snapshot was complete.
pub(super) fn to_tell(known: &Known, told: Told, missing: Missing) -> Vec<ScopeKey> {
    let Told { keys, mut more } = told;
    let mut after = None;
    loop {
        let page = known.store.scope_keys(after.as_ref(), PAGE);
        more.extend(page.iter().filter(|key| !keys.contains(key) && is_missing(known, key, missing)));
        if page.len() < PAGE {
            return more;
        }
        after = page.last().copied();
    }
}

fn is_missing(known: &Known, key: &ScopeKey, missing: Missing) -> bool {
    match missing {
        Missing::All => true,
        Missing::HeardWithin(time) => heard_within(known, key, time),
    }
}

fn heard_within(known: &Known, key: &ScopeKey, time: Duration) -> bool {
    let since = SystemTime::now().checked_sub(time).and_then(|since| since.duration_since(UNIX_EPOCH).ok());
    let since = since.map_or(0, |since| since.as_nanos() as u64);
    known.store.scope_view(key).is_some_and(|view| view.last_used_ns > since)
}

/// Of a page of scopes behind `after`, those that were heard here within `time`; and the last of the page, if there are more.
pub(super) fn heard(
    known: &Known,
    after: Option<&ScopeKey>,
    page: usize,
    time: Duration,
) -> (Vec<ScopeKey>, Option<ScopeKey>) {
    let keys = known.store.scope_keys(after, page);
    let next = if keys.len() < page { None } else { keys.last().copied() };
    (keys.into_iter().filter(|key| heard_within(known, key, time)).collect(), next)
}

/// Others look for templates: those that are known here go up. Gives how many are.
pub(super) fn others_want(known: &Known, wanted: &Wanted) -> usize {
    let mut count = 0;
    for scope in &wanted.scopes {
        let key = scope.key.as_ref().and_then(|key| shared_scope::read_key(key, &known.zones).ok());
        let Some(key) = key else { continue };
        let ids = scope.ids.iter().filter_map(|id| u16::try_from(*id).ok());
        count += ids.filter(|id| known.store.want(&key, *id)).count();
    }
    count
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use flow_decoder::template::{FieldSpecifier, Template, TemplateKind};
    use flow_decoder::{Order, SharedDefinition, SharedScope, ZoneId};

    use super::*;
    use crate::config::Config;

    const NOW_NS: u64 = 1_700_000_000_000_000_000;

    fn key(domain: u32) -> ScopeKey {
        ScopeKey { zone: ZoneId(0), exporter: Ipv4Addr::LOCALHOST.into(), version: 9, domain }
    }

    fn scope(time: u64, proven: bool) -> SharedScope {
        let template = Arc::new(Template::new(TemplateKind::Data, [FieldSpecifier::iana(1, 4)]).unwrap());
        let order = Order { epoch: 0, time: NOW_NS / 1_000_000 + time };
        let definitions = vec![SharedDefinition { id: 256, port: 1, order, proven, template }];
        SharedScope { definitions, ..SharedScope::default() }
    }

    fn message(known: &Known, domain: u32, time: u64) -> ScopeState {
        let all =
            shared_scope::messages(&key(domain), &scope(time, true), &known.zones, shared_scope::LARGEST);
        all.into_iter().next().unwrap()
    }

    #[test]
    fn after_a_snapshot_goes_up_what_it_did_not_say() {
        let known = Known::nothing(&Config::default());
        let counters = Counters::default();
        for (domain, time, proven) in [(1, 5, true), (2, 9, true), (3, 5, true), (4, 5, false)] {
            known.store.import(&key(domain), scope(time, proven), NOW_NS);
        }
        let mut told = Told::default();
        let chunk = [message(&known, 1, 5), message(&known, 2, 7), message(&known, 5, 1)];
        assert_eq!(import(&known, &counters, &chunk, Some(&mut told)).count, 0);
        let up = to_tell(&known, told, Missing::All);
        assert!(!up.contains(&key(1)) && !up.contains(&key(5)), "{up:?}");
        assert!(up.contains(&key(2)), "of a later time");
        assert!(up.contains(&key(3)), "not in it");
        assert_eq!((counters.counts().scopes_received, counters.counts().templates_older), (3, 0));
        let given_up = to_tell(&known, Told::default(), Missing::HeardWithin(Duration::from_secs(60)));
        assert!(given_up.is_empty(), "nobody hears them: {given_up:?}");
    }

    #[test]
    fn what_cannot_be_is_counted_and_the_rest_is_taken() {
        let known = Known::nothing(&Config::default());
        let counters = Counters::default();
        let mut chunk: Vec<_> = (1..=4).map(|domain| message(&known, domain, 5)).collect();
        chunk[0].key.as_mut().unwrap().exporter.clear();
        chunk[1].key.as_mut().unwrap().zone = "elsewhere".to_owned();
        chunk[2].definitions[0].id = 9;
        let left_out = import(&known, &counters, &chunk, None);
        assert_eq!((left_out.count, left_out.why.as_deref()), (2, Some("an exporter's address of 0 octets")));
        let counts = counters.counts();
        assert_eq!((counts.parts_refused, counts.other_zones, counts.templates_learnt), (2, 1, 1));
        assert_eq!(known.store.templates(), 1);
    }

    #[test]
    fn what_others_look_for_is_shared() {
        use catchment_proto::cluster::v1::WantedTemplates;
        let known = Known::nothing(&Config::default());
        known.store.import(&key(1), scope(5, false), NOW_NS);
        let wanted = |domain, ids: &[u32]| WantedTemplates {
            key: Some(shared_scope::key_message(&key(domain), &known.zones)),
            ids: ids.to_vec(),
        };
        let nobody = WantedTemplates { key: None, ids: vec![256] };
        let wanted = Wanted { scopes: vec![nobody, wanted(2, &[256]), wanted(1, &[70_000, 257, 256])] };
        assert_eq!(others_want(&known, &wanted), 1);
        assert_eq!(known.store.take_changes(9), [key(1)]);
    }
}
