//! What is written is read again, and what cannot be costs itself.

use std::net::Ipv4Addr;

use catchment_proto::cluster::v1::options_entry::Kind;
use flow_decoder::{ExporterStore, Learnt, NameKind, Share, SharedName, SharedOptions, StoreLimits, ZoneId};
use proptest::prelude::*;

use super::*;

fn zones() -> Zones {
    Zones::named(["lab"])
}

fn key() -> ScopeKey {
    ScopeKey { zone: ZoneId(1), exporter: Ipv4Addr::new(192, 0, 2, 1).into(), version: 10, domain: 7 }
}

fn shared(id: u16, port: u16, time: u64, length: u16) -> SharedDefinition {
    let fields = [FieldSpecifier::iana(1, length)];
    let template = Arc::new(Template::new(TemplateKind::Data, fields).unwrap());
    SharedDefinition { id, port, order: Order { epoch: 0, time }, proven: true, template }
}

fn only(definitions: Vec<SharedDefinition>) -> SharedScope {
    SharedScope { definitions, ..SharedScope::default() }
}

fn message() -> v1::ScopeState {
    let scope = only(vec![shared(256, 1, 5, 4)]);
    messages(&key(), &scope, &zones(), LARGEST).remove(0)
}

fn fields() -> impl Strategy<Value = Vec<FieldSpecifier>> {
    let field = (any::<u32>(), any::<u16>(), 1..60u16, any::<bool>(), any::<bool>())
        .prop_map(|(pen, id, length, variable, scope)| FieldSpecifier { pen, id, length, variable, scope });
    prop::collection::vec(field, 1..20)
}

fn definitions() -> impl Strategy<Value = Vec<SharedDefinition>> {
    let one = (any::<u16>(), 0..3u16, any::<u32>(), any::<u64>(), any::<bool>(), fields());
    let one = one.prop_map(|(id, port, epoch, time, options, fields)| {
        let kind = if options { TemplateKind::Options } else { TemplateKind::Data };
        let template = Arc::new(Template::new(kind, fields).unwrap());
        SharedDefinition { id, port, order: Order { epoch, time }, proven: true, template }
    });
    prop::collection::vec(one, 0..40).prop_map(|mut all| {
        all.sort_unstable_by_key(|each| (each.id, each.port));
        all.dedup_by_key(|each| (each.id, each.port));
        all
    })
}

fn options() -> impl Strategy<Value = SharedOptions> {
    let learnt = || (any::<u64>(), 1..u64::MAX).prop_map(|(time, value)| Learnt { time, value });
    let rates = || prop::collection::btree_map(any::<u64>(), learnt(), 0..9);
    let thing = (prop::sample::select(NameKind::ALL.as_slice()), any::<u64>());
    let name = (any::<u64>(), "\\PC{1,60}");
    let names = prop::collection::btree_map(thing, name, 0..20);
    (learnt(), rates(), rates(), learnt(), names).prop_map(
        |(domain_rate, selectors, interfaces, boot_ms, names)| {
            let name = |((kind, id), (time, text)): (_, (_, String))| SharedName {
                kind,
                id,
                time,
                text: text.into(),
            };
            SharedOptions {
                domain_rate,
                selector_rates: selectors.into_iter().collect(),
                interface_rates: interfaces.into_iter().collect(),
                boot_ms,
                names: names.into_iter().map(name).collect(),
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_again(definitions in definitions(), options in options(), largest in 400..4000usize) {
        let scope = SharedScope { definitions, options };
        let written = messages(&key(), &scope, &zones(), largest);
        let mut again = SharedScope::default();
        for message in &written {
            let one = message.definitions.len() + message.options.len() < 2;
            prop_assert!(one || message.encoded_len() <= largest, "{} octets", message.encoded_len());
            let message = v1::ScopeState::decode(message.encode_to_vec().as_slice()).unwrap();
            let part = read(&message, &zones(), Trust::Proven).unwrap();
            prop_assert_eq!((part.key, part.skipped), (key(), 0));
            again.definitions.extend(part.scope.definitions);
            let (options, part) = (&mut again.options, part.scope.options);
            options.domain_rate = options.domain_rate.max(part.domain_rate);
            options.boot_ms = options.boot_ms.max(part.boot_ms);
            options.selector_rates.extend(part.selector_rates);
            options.interface_rates.extend(part.interface_rates);
            options.names.extend(part.names);
        }
        prop_assert!(!adds(&again, &scope) && !adds(&scope, &again));
        prop_assert_eq!(again, scope);
    }

    /// Whatever the octets: no panic, and nothing that the types rule out.
    #[test]
    fn any_message_is_read_or_refused(octets in prop::collection::vec(any::<u8>(), 0..200), flips in any::<u64>()) {
        let mut valid = message().encode_to_vec();
        let at = flips as usize % valid.len();
        valid[at] ^= (flips >> 56) as u8;
        for octets in [octets, valid] {
            if let Ok(message) = v1::ScopeState::decode(octets.as_slice()) {
                let _ = read(&message, &zones(), Trust::Unproven);
            }
        }
    }
}

#[test]
fn layouts_are_written_once() {
    let scope = only((0..100).map(|id| shared(256 + id, 1, 5, 4 + id % 2)).collect());
    let written = messages(&key(), &scope, &zones(), LARGEST);
    assert_eq!((written.len(), written[0].layouts.len(), written[0].definitions.len()), (1, 2, 100));
    assert!(messages(&key(), &SharedScope::default(), &zones(), LARGEST).is_empty());
}

#[test]
fn keys_that_cannot_be_cost_the_scope() {
    let with = |change: fn(&mut v1::ScopeKey)| {
        let mut message = message();
        change(message.key.as_mut().unwrap());
        read(&message, &zones(), Trust::Proven).unwrap_err()
    };
    assert_eq!(with(|key| key.exporter = vec![1; 5]), Invalid::Address(5));
    assert_eq!(with(|key| key.version = 5), Invalid::Version(5));
    assert_eq!(with(|key| key.zone = "elsewhere".to_owned()), Invalid::Zone("elsewhere".to_owned()));
    assert_eq!(read(&v1::ScopeState::default(), &zones(), Trust::Proven), Err(Invalid::NoKey));
}

#[test]
fn mapped_addresses_are_ipv4() {
    let mut message = key_message(&key(), &zones());
    message.exporter = Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().octets().to_vec();
    assert_eq!(read_key(&message, &zones()), Ok(key()));
}

#[test]
fn a_part_that_cannot_be_costs_itself() {
    type Change = fn(&mut v1::ScopeState);
    let broken: [(Change, Invalid); 7] = [
        (|scope| scope.definitions[0].id = 70_000, Invalid::Number { what: "template id", value: 70_000 }),
        (|scope| scope.definitions[0].port = 65_536, Invalid::Number { what: "port", value: 65_536 }),
        (|scope| scope.definitions[0].order = None, Invalid::NoOrder),
        (|scope| scope.definitions[0].layout = 9, Invalid::Layout { index: 9, layouts: 1 }),
        (|scope| scope.layouts[0].kind = 7, Invalid::Kind(7)),
        (|scope| scope.layouts[0].fields.clear(), Invalid::Template(Reason::TemplateEmpty)),
        (
            |scope| scope.layouts[0].fields[0].length = 65_536,
            Invalid::Number { what: "length", value: 65_536 },
        ),
    ];
    for (breaking, why) in broken {
        let mut message = message();
        let order = Some(v1::Order { epoch: 0, time_ms: 9 });
        let entry = v1::OptionsEntry { number: 100, order, ..v1::OptionsEntry::default() };
        message.options.push(v1::OptionsEntry { kind: Kind::SamplingDomain.into(), ..entry.clone() });
        // A later contract's.
        message.options.push(v1::OptionsEntry { kind: 99, ..entry });
        breaking(&mut message);
        let read = read(&message, &zones(), Trust::Proven).unwrap();
        assert_eq!((read.skipped, read.why.as_ref()), (1, Some(&why)));
        assert!(read.scope.definitions.is_empty());
        assert_eq!(read.scope.options.domain_rate, Learnt { time: 9, value: 100 }, "the rest stays");
    }
}

#[test]
fn only_what_is_later_or_new_adds_anything() {
    let theirs = only(vec![shared(256, 1, 5, 4), shared(257, 1, 5, 4)]);
    let adds = |own: Vec<SharedDefinition>| adds(&only(own), &theirs);
    assert!(!adds(vec![]));
    assert!(!adds(vec![shared(256, 1, 5, 4)]));
    assert!(!adds(vec![shared(256, 1, 4, 8)]), "older");
    assert!(adds(vec![shared(256, 1, 6, 4)]));
    assert!(adds(vec![shared(256, 1, 5, 8)]), "of the same time the greater layout wins");
    assert!(adds(vec![shared(256, 2, 1, 4)]), "another port");
}

#[test]
fn a_name_that_cannot_be_costs_itself() {
    let entry = |id, kind: Kind, text: &str| v1::OptionsEntry {
        kind: kind.into(),
        id,
        number: 0,
        text: text.to_owned(),
        order: Some(v1::Order { epoch: 0, time_ms: 9 }),
    };
    let mut message = message();
    message.options = vec![
        entry(1, Kind::InterfaceName, ""),
        entry(2, Kind::VrfName, &"x".repeat(256)),
        entry(3, Kind::ApplicationName, &"x".repeat(255)),
        v1::OptionsEntry { order: None, ..entry(4, Kind::InterfaceName, "eth4") },
    ];
    let read = read(&message, &zones(), Trust::Proven).unwrap();
    assert_eq!((read.skipped, read.why), (3, Some(Invalid::Name(0))));
    let kept: Vec<_> = read.scope.options.names.iter().map(|name| (name.kind, name.id)).collect();
    assert_eq!(kept, [(NameKind::Application, 3)]);
}

/// As much as a domain may say, all at once: one message, and room for its templates in what a coordinator keeps.
#[test]
fn all_that_options_data_may_say_of_a_domain_is_one_message() {
    for (octets, kept) in [(1, 9_000), (20, 6_000), (255, 1_000)] {
        let learnt = Learnt { time: 1_700_000_000_000, value: u64::MAX };
        let rates: Vec<_> = (0..5000).map(|id| (u64::MAX - id, learnt)).collect();
        let name = |kind| {
            move |id| SharedName {
                kind,
                id: u64::MAX - id,
                time: learnt.time,
                text: "x".repeat(octets).into(),
            }
        };
        let names = NameKind::ALL.into_iter().flat_map(|kind| (0..5000).map(name(kind)));
        let options = SharedOptions {
            domain_rate: learnt,
            selector_rates: rates.clone(),
            interface_rates: rates,
            boot_ms: learnt,
            names: names.collect(),
        };
        let store = ExporterStore::new(StoreLimits::default());
        let told = SharedScope { options, ..SharedScope::default() };
        let imported = store.import(&key(), told, learnt.time * 1_000_000);
        assert!(imported.options_changed && imported.options_left_out > 10_000, "{imported:?}");
        let known = store.export(&key(), Share::Proven).unwrap();
        assert!(known.options.names.len() > kept, "{} names", known.options.names.len());
        let messages = messages(&key(), &known, &zones(), LARGEST);
        assert_eq!(messages.len(), 1);
        assert!(messages[0].encoded_len() < 450_000, "{} octets", messages[0].encoded_len());
    }
}

#[test]
fn only_later_names_and_rates_add_anything() {
    let with = |time, text: &str| {
        let name = SharedName { kind: NameKind::Vrf, id: 1, time, text: text.into() };
        let interface_rates = vec![(1, Learnt { time, value: 10 })];
        let options = SharedOptions { names: vec![name], interface_rates, ..SharedOptions::default() };
        SharedScope { options, ..SharedScope::default() }
    };
    let theirs = with(5, "red");
    assert!(!adds(&with(5, "red"), &theirs) && !adds(&with(4, "redder"), &theirs));
    assert!(adds(&with(6, "red"), &theirs) && adds(&with(5, "redder"), &theirs));
    assert!(adds(&theirs, &SharedScope::default()) && !adds(&SharedScope::default(), &theirs));
}
