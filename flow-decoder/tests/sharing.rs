//! Nodes that tell each other what they know: what may be told, when, and that all end with the same.

mod rig;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flow_decoder::template::{FieldSpecifier, Template, TemplateKind};
use flow_decoder::{
    Heard, Imported, Learnt, Order, Refused, ScopeKey, Share, SharedDefinition, SharedScope, StoreLimits,
    Verdict, ZoneId,
};
use proptest::prelude::*;
use rig::{RECEIVED_NS, Rig, exporter};
use wire::{DOMAIN, EXPORT_TIME, Message, UPTIME, field};

/// When the exporter of built messages booted, seconds since 1970.
const BOOT: u32 = EXPORT_TIME - UPTIME / 1000;
const NOW_MS: u64 = RECEIVED_NS / 1_000_000;

fn key() -> ScopeKey {
    ScopeKey { zone: ZoneId(0), exporter: exporter(0).ip(), version: 9, domain: DOMAIN }
}

fn template(length: u16) -> Vec<u8> {
    Message::v9().templates(&[(256, &[field(1, length)])]).build()
}

fn data(length: u16) -> Vec<u8> {
    Message::v9().set(256, vec![1; usize::from(length)]).build()
}

fn shared(id: u16, port: u16, time: u64, length: u16) -> SharedDefinition {
    let fields = [FieldSpecifier::iana(1, length)];
    let template = Arc::new(Template::new(TemplateKind::Data, fields).expect("a layout"));
    SharedDefinition { id, port, order: Order { epoch: BOOT, time }, proven: true, template }
}

fn only(definitions: Vec<SharedDefinition>) -> SharedScope {
    SharedScope { definitions, ..SharedScope::default() }
}

#[test]
fn a_template_is_shared_once_data_has_decoded_by_it() {
    let mut rig = Rig::new();
    let woken = Arc::new(AtomicUsize::new(0));
    let counter = woken.clone();
    rig.store.on_change(Box::new(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    }));
    rig.take(template(4));
    assert!(rig.store.take_changes(9).is_empty());
    assert_eq!(rig.store.export(&key(), Share::Proven), Some(SharedScope::default()));
    let known = rig.store.export(&key(), Share::Everything).expect("a scope").definitions;
    assert_eq!((known.len(), known[0].proven), (1, false), "the node itself may keep it");
    rig.take(data(4));
    assert_eq!((rig.store.take_changes(9), woken.load(Ordering::Relaxed)), (vec![key()], 1));
    let exported = rig.store.export(&key(), Share::Proven).expect("a scope").definitions;
    assert_eq!(exported, [shared(256, 2055, u64::from(EXPORT_TIME) * 1000, 4)]);
    rig.take(data(4));
    rig.take(template(4));
    assert!(rig.store.take_changes(9).is_empty(), "a refresh is no change");
    rig.take(template(8));
    assert!(rig.store.take_changes(9).is_empty(), "a changed layout has to prove itself again");
}

#[test]
fn unproven_templates_of_strangers_cost_others_nothing() {
    let mut rig = Rig::new();
    for port in 0..1000 {
        rig.take_from(
            exporter(port),
            Message::v9().domain(u32::from(port)).templates(&[(256, &[field(1, 4)])]).build(),
        );
    }
    assert!(rig.store.take_changes(9).is_empty());
    assert!(rig.store.take_wanted(9).is_empty());
}

#[test]
fn a_trusted_exporter_s_template_is_shared_at_once() {
    let mut rig = Rig::new();
    rig.store.trust(Box::new(|_, address| address == exporter(0).ip()));
    rig.take(template(4));
    assert_eq!(rig.store.take_changes(9), [key()]);
    assert_eq!(rig.store.export(&key(), Share::Proven).expect("a scope").definitions.len(), 1);
}

#[test]
fn what_others_wait_for_is_shared() {
    let mut rig = Rig::new();
    assert!(!rig.store.want(&key(), 256), "nobody knows it");
    rig.take(template(4));
    assert!(!rig.store.want(&key(), 257));
    assert!(rig.store.want(&key(), 256));
    assert_eq!(rig.store.take_changes(9), [key()]);
    assert_eq!(rig.store.export(&key(), Share::Proven).expect("a scope").definitions.len(), 1);
}

#[test]
fn what_data_waits_for_is_wanted() {
    let mut rig = Rig::new();
    rig.take(data(4));
    rig.take(data(4));
    assert_eq!(rig.store.take_wanted(9), [(key(), 256)]);
    assert!(rig.store.take_wanted(9).is_empty());
}

#[test]
fn an_imported_template_decodes_on_all_ports() {
    let mut rig = Rig::new();
    let generation = rig.store.generation();
    let imported = rig.store.import(&key(), only(vec![shared(256, 9, NOW_MS, 4)]), RECEIVED_NS);
    assert_eq!(imported, Imported { changed: 1, ..Imported::default() });
    assert!(rig.store.generation() > generation);
    assert_eq!(rig.take(data(4)), Verdict::Decoded);
    assert!(rig.store.take_changes(9).is_empty(), "what came from others is not told them");
    let view = rig.store.scope_view(&key()).expect("a scope");
    assert_eq!((view.templates[0].heard, view.templates[0].proven), (Heard::FromOthers, true));
}

/// A decoder that has the scope's snapshot takes over an import with the next datagram.
#[test]
fn an_import_reaches_decoders_that_run() {
    let mut rig = Rig::new();
    rig.take(template(4));
    rig.take(data(4));
    let later = only(vec![shared(256, 2055, NOW_MS, 8)]);
    assert_eq!(rig.store.import(&key(), later.clone(), RECEIVED_NS).changed, 1);
    rig.kept.clear();
    rig.take(data(8));
    assert_eq!(rig.kept.flows().len(), 1);
    assert_eq!(rig.store.import(&key(), later, RECEIVED_NS), Imported::default(), "again is nothing");
    let older = only(vec![shared(256, 2055, 1000, 4)]);
    assert_eq!(rig.store.import(&key(), older, RECEIVED_NS), Imported { older: 1, ..Imported::default() });
}

#[test]
fn what_the_exporter_says_here_wins_over_what_others_heard_before() {
    let mut rig = Rig::new();
    rig.store.import(&key(), only(vec![shared(256, 2055, NOW_MS - 2000, 8)]), RECEIVED_NS);
    rig.take(template(4));
    assert_eq!(rig.take(data(4)), Verdict::Decoded);
    let exported = rig.store.export(&key(), Share::Proven).expect("a scope");
    assert_eq!(exported.definitions[0].order.time, u64::from(EXPORT_TIME) * 1000);
}

/// Also where its clock has been set back: what was received later is later.
#[test]
fn a_layout_received_after_a_shared_one_wins_although_its_header_is_older() {
    let mut rig = Rig::new();
    let header_ms = u64::from(EXPORT_TIME) * 1000;
    rig.store.import(&key(), only(vec![shared(256, 2055, header_ms + 500, 8)]), RECEIVED_NS);
    rig.take(template(4));
    let known = &rig.store.export(&key(), Share::Everything).expect("a scope").definitions[0];
    assert_eq!((known.template.min_record_len(), known.order.time), (4, header_ms + 501));
}

#[test]
fn a_datagram_that_is_older_than_what_others_heard_changes_nothing() {
    let mut rig = Rig::new();
    rig.store.import(&key(), only(vec![shared(256, 2055, NOW_MS + 1000, 8)]), RECEIVED_NS);
    rig.take(template(4));
    assert_eq!(rig.take(data(8)), Verdict::Decoded);
}

#[test]
fn what_is_imported_is_checked() {
    let rig = Rig::new();
    let fields = |fields: &[FieldSpecifier], kind| SharedDefinition {
        template: Arc::new(Template::new(kind, fields).expect("a layout")),
        ..shared(300, 1, NOW_MS, 4)
    };
    let scope = FieldSpecifier { scope: true, ..FieldSpecifier::iana(1, 4) };
    let plain = FieldSpecifier::iana(2, 4);
    let vendor = FieldSpecifier { pen: 9, ..plain };
    let variable = FieldSpecifier { variable: true, ..plain };
    let mut ahead = shared(301, 1, 0, 4);
    ahead.order.epoch = u32::MAX;
    let definitions = vec![
        shared(255, 1, NOW_MS, 4),
        shared(302, 1, NOW_MS + 3_600_000, 4),
        ahead,
        fields(&[vendor], TemplateKind::Data),
        fields(&[variable], TemplateKind::Data),
        fields(&[scope, plain], TemplateKind::Data),
        fields(&[plain, scope], TemplateKind::Options),
        shared(303, 1, NOW_MS, 4),
    ];
    let imported = rig.store.import(&key(), only(definitions.clone()), RECEIVED_NS);
    assert_eq!((imported.changed, imported.refused.len()), (1, 7));
    assert_eq!((rig.store.templates(), rig.store.scopes()), (1, 1));
    let v5 = ScopeKey { version: 5, ..key() };
    let imported = rig.store.import(&v5, only(definitions), RECEIVED_NS);
    assert!(imported.refused.iter().all(|(_, why)| *why == Refused::Version));
    assert_eq!((imported.refused.len(), rig.store.scopes()), (8, 1));
}

#[test]
fn an_import_takes_nobody_s_room() {
    let limits =
        StoreLimits { templates_per_scope: 2, scopes: 16, ports_per_template: 1, ..StoreLimits::default() };
    let mut rig = Rig::with_limits(limits);
    rig.take(template(4));
    let imported = rig.store.import(&key(), only(vec![shared(256, 1, NOW_MS, 8)]), RECEIVED_NS);
    assert_eq!(imported.refused, [(256, Refused::Full)], "a port that was heard here stays");
    let many = (257..260).map(|id| shared(id, 2055, NOW_MS, 4)).collect();
    let imported = rig.store.import(&key(), only(many), RECEIVED_NS);
    assert_eq!((imported.changed, imported.refused), (1, vec![(258, Refused::Full), (259, Refused::Full)]));
    for domain in 0..100 {
        let other = ScopeKey { domain, ..key() };
        rig.store.import(&other, only(vec![shared(256, 1, NOW_MS, 8)]), RECEIVED_NS);
    }
    assert!(rig.store.scopes() <= 16);
    assert_eq!(rig.store.scopes_evicted(), 0);
    assert_eq!(rig.take(data(4)), Verdict::Decoded);
}

#[test]
fn ports_that_disagree_are_named() {
    let mut rig = Rig::new();
    rig.take(template(4));
    let imported = rig.store.import(&key(), only(vec![shared(256, 9, NOW_MS, 8)]), RECEIVED_NS);
    assert_eq!((imported.changed, imported.conflicts), (1, vec![256]));
    assert_eq!(rig.store.scope_view(&key()).expect("a scope").conflicts, [256]);
    assert_eq!(rig.take(data(4)), Verdict::Decoded, "the exact port first");
    let same_time = only(vec![shared(256, 9, NOW_MS, 16)]);
    assert_eq!(rig.store.import(&key(), same_time, RECEIVED_NS).conflicts, [256]);
}

#[test]
fn options_state_is_shared_with_its_times() {
    let mut rig = Rig::new();
    let options = Message::v9().options_template(300, &[field(1, 4)], &[field(48, 1), field(34, 4)]);
    rig.take(options.set(300, [0, 0, 0, 0, 1, 0, 0, 0, 100]).build());
    assert_eq!(rig.store.take_changes(9), [key()]);
    let mut shared = rig.store.export(&key(), Share::Proven).expect("a scope");
    let rate = Learnt { value: 100, time: u64::from(EXPORT_TIME) * 1000 };
    assert_eq!(shared.options.selector_rates, [(1, rate)]);
    let mut other = Rig::new();
    assert!(other.store.import(&key(), shared.clone(), RECEIVED_NS).options_changed);
    let by_sampler = Message::v9().templates(&[(256, &[field(1, 4), field(48, 1)])]);
    other.take(by_sampler.set(256, [0, 0, 0, 9, 1]).build());
    assert_eq!(other.kept.flows()[0].sampling_rate, 100);
    shared.options.selector_rates[0].1 = Learnt { value: 7, time: 5 };
    assert!(!other.store.import(&key(), shared, RECEIVED_NS).options_changed, "older");
}

#[test]
fn listings_are_paged_in_order() {
    let mut rig = Rig::new();
    for domain in (0..10).rev() {
        let message = Message::v9().domain(domain).templates(&[(256, &[field(1, 4)]), (257, &[field(2, 4)])]);
        rig.take(message.build());
    }
    let first = rig.store.scope_views(None, 4);
    let domains: Vec<u32> = first.iter().map(|view| view.key.domain).collect();
    assert_eq!(domains, [0, 1, 2, 3]);
    assert_eq!(first[0].templates.iter().map(|t| t.id).collect::<Vec<_>>(), [256, 257]);
    assert_eq!(rig.store.scope_views(Some(&first[3].key), 100).len(), 6);
    let exporters = rig.store.exporter_views(None, 5);
    assert_eq!((exporters.len(), exporters[0].scopes, exporters[0].templates), (1, 10, 20));
    assert!(rig.store.exporter_views(Some((ZoneId(0), exporter(0).ip())), 5).is_empty());
}

/// What happens to a cluster of three nodes.
#[derive(Clone, Debug)]
enum Step {
    /// An exporter announces to one node.
    Announce { node: usize, port: u16, id: u16, length: u16, seconds: u32 },
    /// One node hears what another knows.
    Tell { from: usize, to: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let announce = (0..3usize, 1..3u16, 256..258u16, 1..4u16, 0..20u32)
        .prop_map(|(node, port, id, length, seconds)| Step::Announce { node, port, id, length, seconds });
    let tell = (0..3usize, 0..3usize).prop_map(|(from, to)| Step::Tell { from, to });
    prop::collection::vec(prop_oneof![announce, tell], 1..60)
}

fn tell(nodes: &[Rig], from: usize, to: usize) {
    if let Some(shared) = nodes[from].store.export(&key(), Share::Everything) {
        nodes[to].store.import(&key(), shared, RECEIVED_NS);
    }
}

/// Every definition of a node, by template id and port.
fn definitions(node: &Rig) -> HashMap<(u16, u16), (Order, Arc<Template>)> {
    let exported = node.store.export(&key(), Share::Everything).unwrap_or_default();
    exported.definitions.into_iter().map(|each| ((each.id, each.port), (each.order, each.template))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_nodes_end_with_the_latest_in_any_interleaving(steps in steps()) {
        let mut nodes = [Rig::new(), Rig::new(), Rig::new()];
        let mut latest: HashMap<(u16, u16), (Order, Arc<Template>)> = HashMap::new();
        for step in steps {
            let before: Vec<_> = nodes.iter().map(definitions).collect();
            match step {
                Step::Announce { node, port, id, length, seconds } => {
                    let message = Message::v9().export_time(EXPORT_TIME - seconds).templates(&[(id, &[field(1, length)])]);
                    nodes[node].take_from(exporter(port), message.build());
                }
                Step::Tell { from, to } => tell(&nodes, from, to),
            }
            for (node, before) in nodes.iter().zip(before) {
                let now = definitions(node);
                for (template, known) in before {
                    let (before, now) = (known.0, now[&template].0);
                    prop_assert!(now.time >= before.time && now.epoch >= before.epoch, "an older one won");
                }
                for (template, known) in now {
                    // The boots that nodes measure are some seconds apart: it is one boot, and the time decides.
                    let latest = latest.entry(template).or_insert_with(|| known.clone());
                    let epoch = latest.0.epoch.max(known.0.epoch);
                    let of_boot = |(order, template): (Order, Arc<Template>)| (Order { epoch, ..order }, template);
                    *latest = of_boot(latest.clone()).max(of_boot(known));
                }
            }
        }
        for (from, to) in [(0, 1), (1, 2), (2, 0), (0, 1)] {
            tell(&nodes, from, to);
        }
        for node in &nodes {
            prop_assert_eq!(definitions(node), latest.clone());
        }
    }
}
