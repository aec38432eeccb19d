//! What the store knows of a scope, as the message that nodes, coordinators and `state.dir` have in common, and back.
//!
//! A message is checked like wire input before anything of it reaches the store: a key that cannot be costs the scope, a
//! definition or options entry that cannot be costs itself. What only a later version of the contract knows is left out
//! without a word. The store checks again what needs its knowledge (times, room, fields of the protocol).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use catchment_proto::cluster::v1::{self, options_entry::Kind};
use flow_decoder::template::{FieldSpecifier, Template, TemplateKind};
use flow_decoder::{Learnt, Order, Reason, ScopeKey, SharedDefinition, SharedOptions, SharedScope};
use prost::Message as _;

use crate::flow::Zones;

/// Octets of one message: what a coordinator keeps of a scope (512 KiB), with room for its hash. A scope with more is told in several.
pub const LARGEST: usize = 500 * 1024;

/// Octets that a field's tag and length take around a message of less than 2 MiB.
const AROUND: usize = 4;

/// Why a message, or a part of it, is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It does not say whose it is.
    #[error("no scope key")]
    NoKey,
    /// An address that is neither IPv4 nor IPv6.
    #[error("an exporter's address of {0} octets")]
    Address(usize),
    /// Neither NetFlow v9 nor IPFIX.
    #[error("export protocol version {0}, not 9 or 10")]
    Version(u32),
    /// This node does not listen in that zone.
    #[error("no listener is in the zone {0:?}")]
    Zone(String),
    /// A number that is too large for what it is.
    #[error("{what} {value}")]
    Number {
        /// Of what.
        what: &'static str,
        /// The number.
        value: u32,
    },
    /// A definition that points to no layout.
    #[error("layout {index} of {layouts}")]
    Layout {
        /// Where it points.
        index: u32,
        /// How many there are.
        layouts: usize,
    },
    /// A template that is neither of data nor of options.
    #[error("a template of kind {0}")]
    Kind(i32),
    /// A template that no exporter could announce.
    #[error("a template that cannot be ({})", .0.label())]
    Template(Reason),
    /// It does not say when it was announced.
    #[error("no order")]
    NoOrder,
}

/// A message that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// Whose it is.
    pub key: ScopeKey,
    /// What it says.
    pub scope: SharedScope,
    /// How many of its parts were left out because they cannot be.
    pub skipped: usize,
    /// Why the first of these was.
    pub why: Option<Invalid>,
}

/// Whether what a message says counts as proven at this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Others have decoded by it, and it may be told on.
    Proven,
    /// Nothing is known of that.
    Unproven,
}

/// Reads a key.
///
/// # Errors
/// Where there can be no such scope, or none at this node.
pub fn read_key(message: &v1::ScopeKey, zones: &Zones) -> Result<ScopeKey, Invalid> {
    let octets = message.exporter.as_slice();
    let exporter = match (<[u8; 4]>::try_from(octets), <[u8; 16]>::try_from(octets)) {
        (Ok(v4), _) => IpAddr::from(v4),
        (_, Ok(v6)) => Ipv6Addr::from(v6).to_canonical(),
        _ => return Err(Invalid::Address(octets.len())),
    };
    let version = match message.version {
        9 => 9,
        10 => 10,
        other => return Err(Invalid::Version(other)),
    };
    // Last, so that what cannot be anywhere is not taken for what is only not here.
    let zone = zones.id(&message.zone).ok_or_else(|| Invalid::Zone(message.zone.clone()))?;
    Ok(ScopeKey { zone, exporter, version, domain: message.domain })
}

/// The message for a key.
pub fn key_message(key: &ScopeKey, zones: &Zones) -> v1::ScopeKey {
    let exporter = match key.exporter {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    v1::ScopeKey {
        zone: zones.label(key.zone).map(ToString::to_string).unwrap_or_default(),
        exporter,
        version: u32::from(key.version),
        domain: key.domain,
    }
}

/// Reads what is known of a scope.
///
/// # Errors
/// Where its key cannot be, or is of no scope at this node.
pub fn read(message: &v1::ScopeState, zones: &Zones, trust: Trust) -> Result<Read, Invalid> {
    let key = read_key(message.key.as_ref().ok_or(Invalid::NoKey)?, zones)?;
    let mut read = Read { key, scope: SharedScope::default(), skipped: 0, why: None };
    let layouts: Vec<Result<Arc<Template>, Invalid>> =
        message.layouts.iter().map(|layout| template(layout).map(Arc::new)).collect();
    for definition in &message.definitions {
        match self::definition(definition, &layouts, trust) {
            Ok(definition) => read.scope.definitions.push(definition),
            Err(why) => read.skip(why),
        }
    }
    for entry in &message.options {
        if let Err(why) = read_option(entry, &mut read.scope.options) {
            read.skip(why);
        }
    }
    Ok(read)
}

impl Read {
    fn skip(&mut self, why: Invalid) {
        self.skipped += 1;
        self.why.get_or_insert(why);
    }
}

fn definition(
    message: &v1::Definition,
    layouts: &[Result<Arc<Template>, Invalid>],
    trust: Trust,
) -> Result<SharedDefinition, Invalid> {
    let small = |what, value: u32| u16::try_from(value).map_err(|_| Invalid::Number { what, value });
    let layout = usize::try_from(message.layout).ok().and_then(|index| layouts.get(index));
    let layout = layout.ok_or(Invalid::Layout { index: message.layout, layouts: layouts.len() })?;
    Ok(SharedDefinition {
        id: small("template id", message.id)?,
        port: small("port", message.port)?,
        order: order(message.order.as_ref())?,
        proven: trust == Trust::Proven,
        template: layout.clone()?,
    })
}

fn order(message: Option<&v1::Order>) -> Result<Order, Invalid> {
    let message = message.ok_or(Invalid::NoOrder)?;
    Ok(Order { epoch: message.epoch, time: message.time_ms })
}

fn template(message: &v1::Layout) -> Result<Template, Invalid> {
    let kind = match message.kind() {
        v1::TemplateKind::Data => TemplateKind::Data,
        v1::TemplateKind::Options => TemplateKind::Options,
        v1::TemplateKind::Unspecified => return Err(Invalid::Kind(message.kind)),
    };
    let small = |what, value: u32| u16::try_from(value).map_err(|_| Invalid::Number { what, value });
    let field = |field: &v1::FieldSpecifier| {
        Ok(FieldSpecifier {
            pen: field.pen,
            id: small("element", field.id)?,
            length: small("length", field.length)?,
            variable: field.variable,
            scope: field.scope,
        })
    };
    let fields: Vec<_> = message.fields.iter().map(field).collect::<Result<_, _>>()?;
    Template::new(kind, fields).map_err(Invalid::Template)
}

fn read_option(entry: &v1::OptionsEntry, options: &mut SharedOptions) -> Result<(), Invalid> {
    let learnt = Learnt { time: order(entry.order.as_ref())?.time, value: entry.number };
    match entry.kind() {
        Kind::SamplingDomain => options.domain_rate = options.domain_rate.max(learnt),
        Kind::SystemInitTime => options.boot_ms = options.boot_ms.max(learnt),
        Kind::SamplingSelector => options.selector_rates.push((entry.id, learnt)),
        // Not kept by this store.
        Kind::SamplingInterface
        | Kind::InterfaceName
        | Kind::InterfaceDescription
        | Kind::VrfName
        | Kind::ApplicationName
        | Kind::ExporterName
        | Kind::Unspecified => {}
    }
    Ok(())
}

/// The messages for what is known of a scope: one, or several of at most `largest` octets. None where nothing is known.
pub fn messages(key: &ScopeKey, scope: &SharedScope, zones: &Zones, largest: usize) -> Vec<v1::ScopeState> {
    let key = key_message(key, zones);
    let mut writing = Writing::new(&key, options_messages(&scope.options));
    let mut done = Vec::new();
    let mut definitions: Vec<&SharedDefinition> = scope.definitions.iter().collect();
    definitions.sort_unstable_by_key(|definition| (definition.id, definition.port));
    for definition in definitions {
        if !writing.add(definition, largest) {
            done.push(std::mem::replace(&mut writing, Writing::new(&key, Vec::new())).state);
            // Alone it fits: a template has at most 1024 fields.
            writing.add(definition, usize::MAX);
        }
    }
    if !writing.state.definitions.is_empty() || !writing.state.options.is_empty() {
        done.push(writing.state);
    }
    done
}

/// A message that grows.
struct Writing<'s> {
    state: v1::ScopeState,
    octets: usize,
    layouts: BTreeMap<&'s Template, u32>,
}

impl<'s> Writing<'s> {
    fn new(key: &v1::ScopeKey, options: Vec<v1::OptionsEntry>) -> Self {
        let state = v1::ScopeState { key: Some(key.clone()), options, ..v1::ScopeState::default() };
        Self { octets: state.encoded_len(), state, layouts: BTreeMap::new() }
    }

    /// Adds a definition, unless the message would be larger than `largest` by it.
    fn add(&mut self, definition: &'s SharedDefinition, largest: usize) -> bool {
        let template: &'s Template = &definition.template;
        let known = self.layouts.get(template).copied();
        let index = known.unwrap_or(self.state.layouts.len() as u32);
        let message = v1::Definition {
            id: u32::from(definition.id),
            port: u32::from(definition.port),
            order: Some(order_message(definition.order)),
            layout: index,
        };
        let layout = known.is_none().then(|| layout_message(template));
        let added = message.encoded_len()
            + AROUND
            + layout.as_ref().map_or(0, |layout| layout.encoded_len() + AROUND);
        if self.octets + added > largest {
            return false;
        }
        self.octets += added;
        self.state.definitions.push(message);
        if let Some(layout) = layout {
            self.state.layouts.push(layout);
            self.layouts.insert(template, index);
        }
        true
    }
}

fn order_message(order: Order) -> v1::Order {
    v1::Order { epoch: order.epoch, time_ms: order.time }
}

fn layout_message(template: &Template) -> v1::Layout {
    let kind = match template.kind() {
        TemplateKind::Data => v1::TemplateKind::Data,
        TemplateKind::Options => v1::TemplateKind::Options,
    };
    let field = |field: &FieldSpecifier| v1::FieldSpecifier {
        pen: field.pen,
        id: u32::from(field.id),
        length: u32::from(field.length),
        variable: field.variable,
        scope: field.scope,
    };
    v1::Layout { kind: kind.into(), fields: template.fields().iter().map(field).collect() }
}

/// What options data said.
pub fn options_messages(options: &SharedOptions) -> Vec<v1::OptionsEntry> {
    let entry = |kind: Kind, id, learnt: Learnt| v1::OptionsEntry {
        kind: kind.into(),
        id,
        number: learnt.value,
        text: String::new(),
        order: Some(v1::Order { epoch: 0, time_ms: learnt.time }),
    };
    let domain = [entry(Kind::SamplingDomain, 0, options.domain_rate)];
    let selectors = options.selector_rates.iter().map(|(id, rate)| entry(Kind::SamplingSelector, *id, *rate));
    let boot = [entry(Kind::SystemInitTime, 0, options.boot_ms)];
    let entries = domain.into_iter().chain(selectors).chain(boot);
    entries.filter(|entry| entry.number != 0).collect()
}

/// Whether `own` says anything that somebody who knows `theirs` would take over.
pub fn adds(own: &SharedScope, theirs: &SharedScope) -> bool {
    let known: BTreeMap<(u16, u16), &SharedDefinition> =
        theirs.definitions.iter().map(|theirs| ((theirs.id, theirs.port), theirs)).collect();
    let rank = |definition: &SharedDefinition| (definition.order, definition.template.clone());
    let newer = |own: &SharedDefinition| match known.get(&(own.id, own.port)) {
        Some(theirs) => rank(own) > rank(theirs),
        None => true,
    };
    let learnt = |own: Learnt, theirs: Learnt| own.value != 0 && own > theirs;
    let (mine, other) = (&own.options, &theirs.options);
    let rates: BTreeMap<u64, Learnt> = other.selector_rates.iter().copied().collect();
    own.definitions.iter().any(newer)
        || learnt(mine.domain_rate, other.domain_rate)
        || learnt(mine.boot_ms, other.boot_ms)
        || mine
            .selector_rates
            .iter()
            .any(|(id, rate)| learnt(*rate, rates.get(id).copied().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use flow_decoder::ZoneId;
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
        let field = (any::<u32>(), any::<u16>(), 1..60u16, any::<bool>(), any::<bool>()).prop_map(
            |(pen, id, length, variable, scope)| FieldSpecifier { pen, id, length, variable, scope },
        );
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
        let rates = prop::collection::btree_map(any::<u64>(), learnt(), 0..9);
        (learnt(), rates, learnt()).prop_map(|(domain_rate, rates, boot_ms)| SharedOptions {
            domain_rate,
            selector_rates: rates.into_iter().collect(),
            boot_ms,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read_again(definitions in definitions(), options in options(), largest in 400..4000usize) {
            let scope = SharedScope { definitions, options };
            let written = messages(&key(), &scope, &zones(), largest);
            let mut again = SharedScope::default();
            for (index, message) in written.iter().enumerate() {
                let one = message.definitions.len() < 2;
                prop_assert!(one || message.encoded_len() <= largest, "{} octets", message.encoded_len());
                let message = v1::ScopeState::decode(message.encode_to_vec().as_slice()).unwrap();
                let part = read(&message, &zones(), Trust::Proven).unwrap();
                prop_assert_eq!((part.key, part.skipped), (key(), 0));
                again.definitions.extend(part.scope.definitions);
                if index == 0 {
                    again.options = part.scope.options;
                }
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
            (
                |scope| scope.definitions[0].id = 70_000,
                Invalid::Number { what: "template id", value: 70_000 },
            ),
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
}
