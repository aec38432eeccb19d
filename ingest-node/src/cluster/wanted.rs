//! Templates that data at this node waits for, as the cluster is asked for them.
//!
//! The store says what data has come for; it is asked for at once and again every few seconds, until the template is known or
//! the data has surely been given up.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use catchment_proto::cluster::v1::{Wanted, WantedTemplates};
use flow_decoder::{ScopeKey, Share};

use crate::flow::Known;
use crate::shared_scope;

/// Templates that are looked for at a time.
const MOST: usize = 8192;
/// How often each is asked for.
const AGAIN: Duration = Duration::from_secs(3);

/// What is looked for.
#[derive(Debug)]
pub(super) struct Looking {
    known: Known,
    /// For how long data waits.
    age: Duration,
    templates: HashMap<(ScopeKey, u16), Asked>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    /// When data last came for it.
    wanted: Instant,
    /// When it was last asked for, if it was.
    asked: Option<Instant>,
}

impl Looking {
    pub(super) fn new(known: Known, age: Duration) -> Self {
        Self { known, age, templates: HashMap::new() }
    }

    /// Data waits for these.
    pub(super) fn add(&mut self, templates: Vec<(ScopeKey, u16)>, now: Instant) {
        for template in templates {
            if let Some(asked) = self.templates.get_mut(&template) {
                asked.wanted = now;
            } else if self.templates.len() < MOST {
                self.templates.insert(template, Asked { wanted: now, asked: None });
            }
        }
    }

    /// A session begins: nobody there has been asked.
    pub(super) fn begin(&mut self) {
        self.templates.values_mut().for_each(|asked| asked.asked = None);
    }

    /// What is to be asked for now, and how many templates that is.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Wanted, usize)> {
        let Self { known, age, templates } = self;
        let mut due: BTreeMap<ScopeKey, Vec<u32>> = BTreeMap::new();
        templates.retain(|(key, id), asked| {
            if asked.asked.is_some_and(|at| now.saturating_duration_since(at) < AGAIN) {
                return true;
            }
            // Asked before, and here by now.
            if asked.asked.is_some() && is_known(known, key, *id) {
                return false;
            }
            if now.saturating_duration_since(asked.wanted) > *age {
                return false;
            }
            asked.asked = Some(now);
            due.entry(*key).or_default().push(u32::from(*id));
            true
        });
        let count = due.values().map(Vec::len).sum();
        let wanted = |(key, mut ids): (ScopeKey, Vec<u32>)| {
            ids.sort_unstable();
            WantedTemplates { key: Some(shared_scope::key_message(&key, &known.zones)), ids }
        };
        (count > 0).then(|| (Wanted { scopes: due.into_iter().map(wanted).collect() }, count))
    }

    /// When there may be something to ask for again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.templates.values().filter_map(|asked| asked.asked).min().map(|at| at + AGAIN)
    }
}

/// Whether data that waits can be decoded by what is here. Where ports disagree it waits for its own port's word.
fn is_known(known: &Known, key: &ScopeKey, id: u16) -> bool {
    let Some(scope) = known.store.export(key, Share::Everything) else { return false };
    let mut layouts = scope.definitions.iter().filter(|known| known.id == id).map(|known| &known.template);
    layouts.next().is_some_and(|first| layouts.all(|other| other == first))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use flow_decoder::template::{FieldSpecifier, Template, TemplateKind};
    use flow_decoder::{Order, SharedDefinition, SharedScope, ZoneId};

    use super::*;
    use crate::config::Config;

    const AGE: Duration = Duration::from_secs(60);

    fn key(domain: u32) -> ScopeKey {
        ScopeKey { zone: ZoneId(0), exporter: Ipv4Addr::LOCALHOST.into(), version: 9, domain }
    }

    fn looking() -> (Looking, Known, Instant) {
        let known = Known::nothing(&Config::default());
        (Looking::new(known.clone(), AGE), known, Instant::now())
    }

    fn ids(next: Option<(Wanted, usize)>) -> Vec<Vec<u32>> {
        next.map(|(wanted, _)| wanted.scopes.into_iter().map(|scope| scope.ids).collect()).unwrap_or_default()
    }

    #[test]
    fn a_template_is_asked_for_at_once_and_every_few_seconds_until_data_has_gone() {
        let (mut looking, _, now) = looking();
        assert_eq!((looking.next(now), looking.due()), (None, None));
        looking.add(vec![(key(1), 300), (key(1), 256), (key(2), 256), (key(1), 256)], now);
        assert_eq!(ids(looking.next(now)), [vec![256, 300], vec![256]]);
        assert_eq!((looking.next(now), looking.due()), (None, Some(now + AGAIN)));
        let rounds = (1..100).filter(|round| looking.next(now + *round * AGAIN).is_some()).count();
        assert_eq!(rounds, 20, "each three seconds for a minute");
        assert_eq!(looking.due(), None);
    }

    #[test]
    fn a_template_that_has_come_is_asked_for_no_more() {
        let (mut looking, known, now) = looking();
        looking.add(vec![(key(1), 256)], now);
        assert!(looking.next(now).is_some());
        let template = Arc::new(Template::new(TemplateKind::Data, [FieldSpecifier::iana(1, 4)]).unwrap());
        let definition =
            SharedDefinition { id: 256, port: 1, order: Order::default(), proven: true, template };
        let scope = SharedScope { definitions: vec![definition], ..SharedScope::default() };
        assert_eq!(known.store.import(&key(1), scope, 1_800_000_000_000_000_000).changed, 1);
        assert_eq!((looking.next(now + AGAIN), looking.due()), (None, None));
    }

    #[test]
    fn a_template_that_ports_disagree_on_is_asked_for_again() {
        let (mut looking, known, now) = looking();
        looking.add(vec![(key(1), 256)], now);
        assert!(looking.next(now).is_some());
        let definition = |port: u16| {
            let template = Template::new(TemplateKind::Data, [FieldSpecifier::iana(port, 4)]).unwrap();
            let (order, template) = (Order::default(), Arc::new(template));
            SharedDefinition { id: 256, port, order, proven: true, template }
        };
        let scope = SharedScope { definitions: vec![definition(1), definition(2)], ..SharedScope::default() };
        assert_eq!(known.store.import(&key(1), scope, 1_800_000_000_000_000_000).changed, 2);
        assert_eq!(ids(looking.next(now + AGAIN)), [vec![256]]);
    }

    #[test]
    fn another_coordinator_is_asked_at_once() {
        let (mut looking, _, now) = looking();
        looking.add(vec![(key(1), 256)], now);
        assert!(looking.next(now).is_some() && looking.next(now).is_none());
        looking.begin();
        assert!(looking.next(now).is_some());
    }

    #[test]
    fn wishes_are_bounded() {
        let (mut looking, _, now) = looking();
        looking.add((0..100_000).map(|domain| (key(domain), 256)).collect(), now);
        assert_eq!(looking.next(now).map(|(_, count)| count), Some(MOST));
    }
}
