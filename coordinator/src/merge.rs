//! How two states of one scope become one, without a referee.
//!
//! For each (template id, port) the greater [`Announced`] wins: the later order, of equal orders the greater layout. For each
//! (kind, id) of options the greater [`Said`]: the later order, then the number, then the text. Merging is commutative,
//! associative and idempotent, so that all who have heard the same things hold the same state, whatever the order.
//!
//! The bounds keep that: of each set the greatest orders stay, by a total order, and what a bound drops can only be
//! dropped again in any greater union. The bound in octets is the one exception: a layout that a shorter one
//! replaces makes room, so that two ways of merging may differ in what they dropped. All replicas nevertheless end equal, because
//! each merges what the store holds, and writes only what adds to it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::scope::{Order, Scope};
use crate::validate::{MAX_OPTIONS, MAX_SCOPE_BYTES};

/// Template ids of a scope.
pub const MAX_TEMPLATES: usize = 4096;
/// Ports that announce one template id.
pub const MAX_PORTS: usize = 32;

/// Merges `other` into `scope`; gives whether anything changed. Both are of one scope id.
pub fn merge(scope: &mut Scope, other: Scope) -> Changed {
    debug_assert_eq!(scope.id, other.id);
    let mut changed = Changed::default();
    for (key, announced) in other.templates {
        changed.templates |= keep_greater(&mut scope.templates, key, announced);
    }
    for (key, said) in other.options {
        changed.options |= keep_greater(&mut scope.options, key, said);
    }
    if changed.any() {
        bound(scope);
    }
    changed
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
        let mut ranked: Vec<_> =
            scope.options.iter().map(|(key, said)| (Reverse(said.order), *key)).collect();
        ranked.sort_unstable();
        for (_, key) in ranked.drain(MAX_OPTIONS..) {
            scope.options.remove(&key);
        }
    }
    bound_octets(scope);
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

/// What fits [`MAX_SCOPE_BYTES`] stays, the latest first. Templates come before options.
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
        let mut ranked: Vec<_> = scope.options.iter().map(|(key, said)| (said.order, *key)).collect();
        ranked.sort_unstable();
        ranked.truncate(ranked.len().div_ceil(8));
        for (_, key) in ranked {
            scope.options.remove(&key);
        }
    }
}
