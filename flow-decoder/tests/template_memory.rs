//! What a node's memory and CPU pay for the templates that other nodes tell it of when it joins.

mod counting;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flow_decoder::template::{FieldSpecifier, Template, TemplateKind};
use flow_decoder::{ExporterStore, Order, ScopeKey, SharedDefinition, SharedScope, StoreLimits, ZoneId};

const TEMPLATES: u32 = 200_000;
const SCOPES: u32 = 10_000;
const MIB: isize = 1 << 20;
const NOW_NS: u64 = 1_700_000_000_000_000_000;

/// A layout of 20 fields, another one for each number.
fn layout(number: u32) -> Template {
    let fields: Vec<_> = (0..20)
        .map(|index| FieldSpecifier::iana(1 + index, if number >> index & 1 == 1 { 8 } else { 4 }))
        .collect();
    Template::new(TemplateKind::Data, fields).expect("a layout")
}

fn scopes(layouts: u32) -> impl Iterator<Item = (ScopeKey, SharedScope)> {
    let per_scope = TEMPLATES / SCOPES;
    (0..SCOPES).map(move |scope| {
        let key = ScopeKey {
            zone: ZoneId(0),
            exporter: Ipv4Addr::from(0x0a00_0000 + scope).into(),
            version: 10,
            domain: scope % 3,
        };
        let definitions = (0..per_scope).map(|index| SharedDefinition {
            id: 256 + index as u16,
            port: 4739,
            order: Order { epoch: 1_690_000_000, time: 1_699_000_000_000 },
            proven: true,
            template: Arc::new(layout((scope * per_scope + index) % layouts)),
        });
        (key, SharedScope { definitions: definitions.collect(), ..SharedScope::default() })
    })
}

/// Imports as a node does that joins: what was received is given back scope by scope. Returns octets held and time taken.
fn import(layouts: u32) -> (isize, Duration) {
    let store = ExporterStore::new(StoreLimits::default());
    let (before, mut took) = (counting::held(), Duration::ZERO);
    for (key, shared) in scopes(layouts) {
        let began = Instant::now();
        let imported = store.import(&key, shared, NOW_NS);
        took += began.elapsed();
        assert_eq!((imported.changed, imported.refused.len()), (20, 0));
    }
    assert_eq!(store.templates(), TEMPLATES as usize);
    let (held, bound) = (counting::held() - before, store.bytes() as isize);
    println!("{} MiB by the store's own count", bound / MIB);
    assert!(bound * 3 / 4 < held && held < bound * 5 / 4, "{held} octets, but the store counts {bound}");
    (counting::held() - before, took)
}

#[test]
fn templates_of_twenty_layouts() {
    let (held, took) = import(20);
    println!("{TEMPLATES} templates of 20 layouts: {:.1} MiB, {took:?}", held as f64 / MIB as f64);
    // A node may take 64 MiB in all, of which it takes 10 before it knows anything.
    assert!(held < 40 * MIB, "{held}");
    assert!(took < Duration::from_secs(2), "{took:?}, far above what a busy machine explains");
}

#[test]
fn templates_of_as_many_layouts() {
    let (held, took) = import(TEMPLATES);
    println!("{TEMPLATES} templates of as many layouts: {:.1} MiB, {took:?}", held as f64 / MIB as f64);
    assert!(held < 160 * MIB, "{held}");
    assert!(took < Duration::from_secs(4), "{took:?}, far above what a busy machine explains");
}
