//! How two states of one scope become one, without a referee.
//!
//! For each (template id, port) the greater [`Announced`] wins: the later order, of equal orders the greater layout. For each
//! (kind, id) of options the greater [`Said`]: the later order, then the number, then the text. Merging is commutative,
//! associative and idempotent, so that all who have heard the same things hold the same state, whatever the order.
//!
//! The bounds keep that: of each set the greatest orders stay (of options what records are counted by before what they are
//! called), by a total order, and what a bound drops can only be dropped again in any greater union. The bound in
//! octets is the one exception: a layout that a shorter one replaces makes room, so that two ways of merging may differ in
//! what they dropped. All replicas nevertheless end equal, because each merges what the store holds, and writes only what
//! adds to it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use catchment_proto::cluster::v1::options_entry;

use crate::scope::{Order, Scope};
use crate::validate::{MAX_OPTIONS, MAX_SCOPE_BYTES};

/// Template ids of a scope.
pub const MAX_TEMPLATES: usize = 4096;
/// Ports that announce one template id.
pub const MAX_PORTS: usize = 32;

/// Merges `other` into `scope`; gives whether anything changed. Both are of one scope id.
pub fn merge(scope: &mut Scope, other: Scope) -> Changed {
    debug_assert_eq!(scope.id, other.id);
    let before = (scope.templates.len(), scope.options.len());
    let mut templates = Vec::new();
    for (key, announced) in other.templates {
        if keep_greater(&mut scope.templates, key, announced) {
            templates.push(key);
        }
    }
    let mut options = Vec::new();
    for (key, said) in other.options {
        if keep_greater(&mut scope.options, key, said) {
            options.push(key);
        }
    }
    if templates.is_empty() && options.is_empty() {
        return Changed::default();
    }
    bound(scope);
    // What a bound drops again at once is no news.
    Changed {
        templates: scope.templates.len() != before.0
            || templates.iter().any(|key| scope.templates.contains_key(key)),
        options: scope.options.len() != before.1 || options.iter().any(|key| scope.options.contains_key(key)),
    }
}

/// What a merge brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Something about templates.
    pub templates: bool,
    /// Something about options state.
    pub options: bool,
}

impl Changed {
    /// Whether it brought anything.
    pub fn any(self) -> bool {
        self.templates || self.options
    }
}

/// Puts `value` at `key` unless a greater one is there; gives whether it did.
pub(crate) fn keep_greater<K: Ord, V: Ord>(map: &mut BTreeMap<K, V>, key: K, value: V) -> bool {
    match map.entry(key) {
        Entry::Vacant(place) => {
            place.insert(value);
            true
        }
        Entry::Occupied(mut place) if *place.get() < value => {
            place.insert(value);
            true
        }
        Entry::Occupied(_) => false,
    }
}

/// Drops what is beyond the bounds, the lowest orders first.
pub(crate) fn bound(scope: &mut Scope) {
    bound_ports(scope);
    bound_templates(scope);
    if scope.options.len() > MAX_OPTIONS {
        let ranked = options_ranked(scope);
        for key in &ranked[MAX_OPTIONS..] {
            scope.options.remove(key);
        }
    }
    bound_octets(scope);
}

/// Options entries, those first that stay: of more use, then later.
fn options_ranked(scope: &Scope) -> Vec<(i32, u64)> {
    let mut ranked: Vec<_> =
        scope.options.iter().map(|(key, said)| (use_of(key.0), Reverse(said.order), *key)).collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(.., key)| key).collect()
}

/// What changes the numbers of records comes first, then names that they show, then what only people look at.
fn use_of(kind: i32) -> u8 {
    use options_entry::Kind;
    match Kind::try_from(kind) {
        Ok(
            Kind::SamplingDomain | Kind::SamplingSelector | Kind::SamplingInterface | Kind::SystemInitTime,
        ) => 0,
        Ok(Kind::InterfaceName | Kind::VrfName | Kind::ApplicationName) => 1,
        Ok(Kind::InterfaceDescription | Kind::ExporterName | Kind::Unspecified) | Err(_) => 2,
    }
}

/// The [`MAX_PORTS`] latest ports of each template stay.
fn bound_ports(scope: &mut Scope) {
    if scope.templates.len() <= MAX_PORTS {
        return;
    }
    let mut ports: BTreeMap<u16, Vec<(Reverse<Order>, u16)>> = BTreeMap::new();
    for ((id, port), announced) in &scope.templates {
        ports.entry(*id).or_default().push((Reverse(announced.order), *port));
    }
    for (id, mut ranked) in ports {
        if ranked.len() > MAX_PORTS {
            ranked.sort_unstable();
            for (_, port) in ranked.drain(MAX_PORTS..) {
                scope.templates.remove(&(id, port));
            }
        }
    }
}

/// The [`MAX_TEMPLATES`] latest template ids stay; an id is as late as its latest port.
fn bound_templates(scope: &mut Scope) {
    if scope.templates.len() <= MAX_TEMPLATES {
        return;
    }
    let mut latest: BTreeMap<u16, Order> = BTreeMap::new();
    for ((id, _), announced) in &scope.templates {
        let order = latest.entry(*id).or_default();
        *order = announced.order.max(*order);
    }
    let mut ranked: Vec<_> = latest.into_iter().map(|(id, order)| (Reverse(order), id)).collect();
    if ranked.len() > MAX_TEMPLATES {
        ranked.sort_unstable();
        let gone: std::collections::BTreeSet<u16> = ranked.drain(MAX_TEMPLATES..).map(|(_, id)| id).collect();
        scope.templates.retain(|(id, _), _| !gone.contains(id));
    }
}

/// What fits [`MAX_SCOPE_BYTES`] stays, the latest first. Templates come before options, and rates before names.
fn bound_octets(scope: &mut Scope) {
    // Most scopes are far from it: count upwards before encoding anything.
    if upper_bound(scope) <= MAX_SCOPE_BYTES {
        return;
    }
    while prost::Message::encoded_len(&scope.to_message()) + HASH_OCTETS > MAX_SCOPE_BYTES {
        // An eighth at a time: a few encodings at most, and the same for all who hold the same state.
        drop_oldest_eighth(scope);
    }
}

/// Octets of the field that the stored form has beside.
const HASH_OCTETS: usize = 9;

fn upper_bound(scope: &Scope) -> usize {
    /// Octets of a field, a definition and an options entry at most, without text.
    const FIELD: usize = 22;
    const DEFINITION: usize = 36;
    const OPTION: usize = 56;
    let templates: usize =
        scope.templates.values().map(|each| DEFINITION + 12 + each.layout.fields.len() * FIELD).sum();
    let options: usize = scope.options.values().map(|said| OPTION + said.text.len()).sum();
    512 + templates + options
}

fn drop_oldest_eighth(scope: &mut Scope) {
    if scope.options.is_empty() {
        let mut ranked: Vec<_> = scope.templates.iter().map(|(key, each)| (each.order, *key)).collect();
        ranked.sort_unstable();
        ranked.truncate(ranked.len().div_ceil(8));
        for (_, key) in ranked {
            scope.templates.remove(&key);
        }
    } else {
        let ranked = options_ranked(scope);
        for key in ranked.iter().rev().take(ranked.len().div_ceil(8)) {
            scope.options.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::scope::{Announced, Field, Kind, Layout, Said, ScopeId};
    use crate::validate;

    fn id() -> ScopeId {
        ScopeId { zone: "".into(), exporter: [192, 0, 2, 1].into(), version: 10, domain: 0 }
    }

    fn layout(kind: Kind, ids: &[u16]) -> Arc<Layout> {
        let field = |id: &u16| Field { pen: 0, id: *id, length: 4, variable: false, scope: false };
        Arc::new(Layout { kind, fields: ids.iter().map(field).collect() })
    }

    fn order() -> impl Strategy<Value = Order> {
        (0u32..3, 0u64..4).prop_map(|(epoch, time_ms)| Order { epoch, time_ms })
    }

    fn announced() -> impl Strategy<Value = Announced> {
        let kind = prop_oneof![Just(Kind::Data), Just(Kind::Options)];
        (order(), kind, prop::collection::vec(1u16..4, 1..4))
            .prop_map(|(order, kind, ids)| Announced { order, layout: layout(kind, &ids) })
    }

    fn said() -> impl Strategy<Value = Said> {
        (order(), 0u64..3, "[ab]{0,2}").prop_map(|(order, number, text)| Said {
            order,
            number,
            text: text.into(),
        })
    }

    fn scope() -> impl Strategy<Value = Scope> {
        let templates = prop::collection::btree_map((256u16..260, 0u16..3), announced(), 0..8);
        let options = prop::collection::btree_map((1i32..10, 0u64..3), said(), 0..8);
        (templates, options).prop_map(|(templates, options)| Scope { id: id(), templates, options })
    }

    /// Enough ports and ids that the bounds matter.
    fn crowded() -> impl Strategy<Value = Scope> {
        let templates = prop::collection::btree_map((256u16..258, 0u16..60), announced(), 30..100);
        templates.prop_map(|templates| {
            let mut scope = Scope { id: id(), templates, options: BTreeMap::new() };
            bound(&mut scope);
            scope
        })
    }

    fn merged(mut one: Scope, other: &Scope) -> Scope {
        merge(&mut one, other.clone());
        one
    }

    fn check_laws(a: &Scope, b: &Scope, c: &Scope) -> Result<(), TestCaseError> {
        let ab = merged(a.clone(), b);
        prop_assert_eq!(&ab, &merged(b.clone(), a), "not commutative");
        prop_assert_eq!(merged(ab.clone(), c), merged(a.clone(), &merged(b.clone(), c)), "not associative");
        prop_assert_eq!(merged(a.clone(), a), a.clone(), "not idempotent");
        prop_assert_eq!(merge(&mut ab.clone(), b.clone()), Changed::default(), "a repeat changes something");
        prop_assert_eq!(ab.encode(), merged(b.clone(), a).encode(), "equal states with different bytes");
        Ok(())
    }

    proptest! {
        #[test]
        fn merging_has_its_laws(a in scope(), b in scope(), c in scope()) {
            check_laws(&a, &b, &c)?;
        }

        #[test]
        fn bounds_keep_them(a in crowded(), b in crowded(), c in crowded()) {
            check_laws(&a, &b, &c)?;
            for id in [256, 257] {
                prop_assert!(merged(a.clone(), &b).templates.range((id, 0)..=(id, u16::MAX)).count() <= MAX_PORTS);
            }
        }

        #[test]
        fn no_older_one_wins(a in scope(), b in scope()) {
            let merged = merged(a.clone(), &b);
            for (key, announced) in a.templates.iter().chain(&b.templates) {
                prop_assert!(merged.templates[key].order >= announced.order);
            }
            for (key, said) in a.options.iter().chain(&b.options) {
                prop_assert!(merged.options[key].order >= said.order);
            }
        }

        #[test]
        fn what_is_encoded_is_read_as_the_same(scope in scope()) {
            prop_assert_eq!(&validate::scope(&scope.to_message()).unwrap(), &scope);
            prop_assert_eq!(&validate::stored_scope(&scope.id, &scope.encode_stored()).unwrap(), &scope);
        }
    }

    #[test]
    fn an_equal_order_is_settled_by_the_layout() {
        let order = Order { epoch: 1, time_ms: 1 };
        let ascending = [
            layout(Kind::Data, &[1]),
            layout(Kind::Data, &[1, 1]),
            layout(Kind::Data, &[1, 2]),
            layout(Kind::Data, &[2]),
            layout(Kind::Options, &[1]),
        ];
        for pair in ascending.windows(2) {
            let [lesser, greater] = pair else { unreachable!("windows of two") };
            let of = |layout: &Arc<Layout>| Announced { order, layout: Arc::clone(layout) };
            assert!(of(lesser) < of(greater), "{lesser:?} {greater:?}");
            let later = Announced { order: Order { epoch: 1, time_ms: 2 }, layout: Arc::clone(lesser) };
            assert!(of(greater) < later);
        }
    }

    #[test]
    fn a_scope_stays_below_its_octets() {
        let mut scope = Scope::empty(id());
        for number in 0..2000u16 {
            let ids: Vec<u16> = (0..60).map(|at| 1 + number + at).collect();
            let order = Order { epoch: 1, time_ms: u64::from(number) };
            scope.templates.insert((256 + number, 1), Announced { order, layout: layout(Kind::Data, &ids) });
        }
        let all = scope.clone();
        bound(&mut scope);
        assert!(scope.encode_stored().len() <= MAX_SCOPE_BYTES);
        assert!(scope.templates.len() > 500);
        let oldest = scope.templates.values().map(|each| each.order).min();
        let latest_dropped = all
            .templates
            .iter()
            .filter(|(key, _)| !scope.templates.contains_key(key))
            .map(|(_, each)| each.order)
            .max();
        assert!(oldest > latest_dropped, "a later one was dropped before an older one");
    }

    #[test]
    fn names_make_room_for_rates_however_old() {
        use options_entry::Kind;
        let mut scope = Scope::empty(id());
        let said =
            |time_ms, text: &str| Said { order: Order { epoch: 0, time_ms }, number: 1, text: text.into() };
        for number in 0..3000 {
            scope.options.insert((Kind::SamplingInterface.into(), number), said(1, ""));
            scope.options.insert((Kind::ApplicationName.into(), number), said(2 + number, &"x".repeat(100)));
            scope.options.insert((Kind::InterfaceDescription.into(), number), said(9000, &"x".repeat(100)));
        }
        bound(&mut scope);
        assert!(scope.encode_stored().len() <= MAX_SCOPE_BYTES);
        let of = |kind: Kind| -> Vec<u64> {
            scope.options.keys().filter(|key| key.0 == i32::from(kind)).map(|key| key.1).collect()
        };
        assert_eq!((of(Kind::SamplingInterface).len(), of(Kind::ApplicationName).len()), (3000, 3000));
        assert!(of(Kind::InterfaceDescription).len() < 2000);
    }

    #[test]
    fn the_latest_template_ids_stay() {
        let mut scope = Scope::empty(id());
        let same = layout(Kind::Data, &[1]);
        for number in 0..5000u16 {
            let order = Order { epoch: 1, time_ms: u64::from(number) };
            scope.templates.insert((256 + number, 1), Announced { order, layout: Arc::clone(&same) });
        }
        bound(&mut scope);
        let first = scope.templates.keys().next();
        assert_eq!((scope.template_ids(), first), (MAX_TEMPLATES, Some(&(256 + 5000 - 4096, 1))));
    }
}
