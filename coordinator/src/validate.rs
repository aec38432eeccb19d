//! What comes from nodes and from the store is checked like wire input before anything uses it.
//!
//! A message that does not hold what its contract says becomes an [`Invalid`], never a panic, and never a value. Callers
//! bound the encoded size before they decode ([`stored_scope`] does it itself).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use catchment_proto::cluster::v1::{
    FieldSpecifier, Layout as LayoutMessage, OptionsEntry, Order as OrderMessage, ScopeKey, ScopeState,
    TemplateKind, options_entry,
};
use prost::Message as _;

use crate::merge;
use crate::scope::{Announced, Field, Kind, Layout, Order, Said, Scope, ScopeId, content_hash};

/// Fields of a template: as many as the decoder takes.
pub const MAX_FIELDS: usize = 1024;
/// Fields without octets of a template: as many as the decoder takes.
pub const MAX_EMPTY_FIELDS: usize = 16;
/// Octets of a text, of a zone, of a node's or coordinator's id.
pub const MAX_TEXT: usize = 255;
/// Octets of one record at least: what does not fit a datagram can never be decoded.
pub const MAX_RECORD: usize = 65_535;
/// Octets of a scope, encoded.
pub const MAX_SCOPE_BYTES: usize = 512 * 1024;
/// Definitions of a scope that are looked at; what [`merge`] keeps is less.
const MAX_DEFINITIONS: usize = 64 * 1024;
/// Lowest id of a template (RFC 7011 3.4.3).
const MIN_TEMPLATE_ID: u32 = 256;
/// Options entries of a scope.
pub const MAX_OPTIONS: usize = 16 * 1024;

/// Why a message is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// The scope has no key.
    #[error("no scope key")]
    NoKey,
    /// The exporter is neither an IPv4 nor an IPv6 address.
    #[error("an exporter's address of {0} octets")]
    Address(usize),
    /// Neither NetFlow v9 nor IPFIX.
    #[error("export protocol version {0}, not 9 or 10")]
    Version(u32),
    /// A text is too long.
    #[error("a text of {0} octets, more than {MAX_TEXT}")]
    Text(usize),
    /// A text has characters that no name has.
    #[error("a text with control characters")]
    Control,
    /// Too large.
    #[error("{0} octets, more than {MAX_SCOPE_BYTES}")]
    Size(usize),
    /// Not a protobuf message of the type.
    #[error("not the message that belongs here: {0}")]
    Encoding(String),
    /// The hash does not agree with the content.
    #[error("the content does not agree with its hash")]
    Hash,
    /// Too many parts.
    #[error("{count} {what}, more than {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many at most.
        limit: usize,
    },
    /// A template id below 256 or above 65535.
    #[error("template id {0}")]
    TemplateId(u32),
    /// A port above 65535.
    #[error("port {0}")]
    Port(u32),
    /// An announcement or entry without its order.
    #[error("no order")]
    NoOrder,
    /// A definition that points to no layout.
    #[error("layout {index} of {layouts}")]
    LayoutIndex {
        /// Where it points.
        index: u32,
        /// How many there are.
        layouts: usize,
    },
    /// A kind that is not known.
    #[error("{what} of kind {kind}")]
    Kind {
        /// Of what.
        what: &'static str,
        /// The number.
        kind: i32,
    },
    /// A layout that no record can follow.
    #[error("a layout whose records have {0} octets")]
    RecordLength(usize),
    /// A field that cannot be.
    #[error("field {id} with enterprise {pen}, length {length}{}", if *.variable { ", variable" } else { "" })]
    Field {
        /// Its element id.
        id: u32,
        /// Its enterprise.
        pen: u32,
        /// Its length.
        length: u32,
        /// Whether it is of variable length.
        variable: bool,
    },
    /// Scope fields where they cannot be.
    #[error("scope fields in a data template, or after other fields")]
    ScopeFields,
    /// The key and the value speak of different things.
    #[error("the value is of {0}")]
    OtherKey(String),
    /// A log level that is none.
    #[error("log level {0:?}")]
    LogLevel(String),
    /// A name that must not be empty.
    #[error("an empty {0}")]
    Empty(&'static str),
}

/// A scope's key.
pub fn scope_id(key: &ScopeKey) -> Result<ScopeId, Invalid> {
    let exporter = match *key.exporter {
        [a, b, c, d] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        ref octets => {
            let octets: [u8; 16] = octets.try_into().map_err(|_| Invalid::Address(octets.len()))?;
            Ipv6Addr::from(octets).to_canonical()
        }
    };
    let version = match key.version {
        9 => 9,
        10 => 10,
        other => return Err(Invalid::Version(other)),
    };
    let zone = name(&key.zone)?.into();
    Ok(ScopeId { zone, exporter, version, domain: key.domain })
}

/// A short text without control characters.
pub fn name(text: &str) -> Result<&str, Invalid> {
    if text.len() > MAX_TEXT {
        return Err(Invalid::Text(text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err(Invalid::Control);
    }
    Ok(text)
}

/// A [`name`] that is not empty.
pub fn id<'a>(what: &'static str, text: &'a str) -> Result<&'a str, Invalid> {
    if text.is_empty() { Err(Invalid::Empty(what)) } else { name(text) }
}

/// A scope as a node sends it.
pub fn scope(message: &ScopeState) -> Result<Scope, Invalid> {
    let id = scope_id(message.key.as_ref().ok_or(Invalid::NoKey)?)?;
    at_most("definitions", message.definitions.len(), MAX_DEFINITIONS)?;
    at_most("layouts", message.layouts.len(), MAX_DEFINITIONS)?;
    at_most("options entries", message.options.len(), MAX_OPTIONS)?;
    let layouts: Vec<Arc<Layout>> = message
        .layouts
        .iter()
        .map(|each| layout(each, id.version).map(Arc::new))
        .collect::<Result<_, _>>()?;
    let mut scope = Scope::empty(id);
    for definition in &message.definitions {
        let id = definition.id;
        let template =
            u16::try_from(id).ok().filter(|_| id >= MIN_TEMPLATE_ID).ok_or(Invalid::TemplateId(id))?;
        let port = u16::try_from(definition.port).map_err(|_| Invalid::Port(definition.port))?;
        let layout = usize::try_from(definition.layout)
            .ok()
            .and_then(|index| layouts.get(index))
            .ok_or(Invalid::LayoutIndex { index: definition.layout, layouts: layouts.len() })?;
        let announced = Announced { order: order(definition.order)?, layout: Arc::clone(layout) };
        merge::keep_greater(&mut scope.templates, (template, port), announced);
    }
    for entry in &message.options {
        let (key, said) = options(entry)?;
        merge::keep_greater(&mut scope.options, key, said);
    }
    merge::bound(&mut scope);
    Ok(scope)
}

/// A scope as the store holds it, under the key of `id`.
pub fn stored_scope(id: &ScopeId, bytes: &[u8]) -> Result<Scope, Invalid> {
    if bytes.len() > MAX_SCOPE_BYTES {
        return Err(Invalid::Size(bytes.len()));
    }
    let mut message = ScopeState::decode(bytes).map_err(|error| Invalid::Encoding(error.to_string()))?;
    let hash = std::mem::take(&mut message.content_hash);
    if hash != content_hash(&message.encode_to_vec()) {
        return Err(Invalid::Hash);
    }
    let scope = scope(&message)?;
    if scope.id == *id { Ok(scope) } else { Err(Invalid::OtherKey(scope.id.to_string())) }
}

fn at_most(what: &'static str, count: usize, limit: usize) -> Result<(), Invalid> {
    if count > limit { Err(Invalid::TooMany { what, count, limit }) } else { Ok(()) }
}

fn order(order: Option<OrderMessage>) -> Result<Order, Invalid> {
    let order = order.ok_or(Invalid::NoOrder)?;
    Ok(Order { epoch: order.epoch, time_ms: order.time_ms })
}

fn layout(message: &LayoutMessage, version: u8) -> Result<Layout, Invalid> {
    let kind = match message.kind() {
        TemplateKind::Data => Kind::Data,
        TemplateKind::Options => Kind::Options,
        TemplateKind::Unspecified => return Err(Invalid::Kind { what: "a layout", kind: message.kind }),
    };
    at_most("fields", message.fields.len(), MAX_FIELDS)?;
    let fields: Box<[Field]> =
        message.fields.iter().map(|each| field(each, version)).collect::<Result<_, _>>()?;
    // A field of variable length takes one octet at least.
    let record: usize =
        fields.iter().map(|each| if each.variable { 1 } else { usize::from(each.length) }).sum();
    let empty = fields.iter().filter(|each| each.length == 0).count();
    if record == 0 || record > MAX_RECORD || empty > MAX_EMPTY_FIELDS.min(record) {
        return Err(Invalid::RecordLength(record));
    }
    let scopes = fields.iter().take_while(|each| each.scope).count();
    if fields[scopes..].iter().any(|each| each.scope) || (kind == Kind::Data && scopes > 0) {
        return Err(Invalid::ScopeFields);
    }
    Ok(Layout { kind, fields })
}

fn field(message: &FieldSpecifier, version: u8) -> Result<Field, Invalid> {
    let FieldSpecifier { pen, id, length, variable, scope } = *message;
    let wrong = Invalid::Field { pen, id, length, variable };
    let (Ok(small_id), Ok(small_length)) = (u16::try_from(id), u16::try_from(length)) else {
        return Err(wrong);
    };
    // RFC 7011 3.2: 15 bits of id, and 65535 means variable length, as in NetFlow v9 too. That knows no enterprises.
    let possible = if version == 10 { id < 0x8000 } else { pen == 0 };
    if possible && variable == (length == 0xffff) {
        Ok(Field { pen, id: small_id, length: small_length, variable, scope })
    } else {
        Err(wrong)
    }
}

fn options(entry: &OptionsEntry) -> Result<((i32, u64), Said), Invalid> {
    use options_entry::Kind;
    let kind = entry.kind();
    match kind {
        Kind::Unspecified => return Err(Invalid::Kind { what: "an options entry", kind: entry.kind }),
        Kind::SamplingDomain
        | Kind::SamplingSelector
        | Kind::SamplingInterface
        | Kind::SystemInitTime
        | Kind::InterfaceName
        | Kind::InterfaceDescription
        | Kind::VrfName
        | Kind::ApplicationName
        | Kind::ExporterName => {}
    }
    if entry.text.len() > MAX_TEXT {
        return Err(Invalid::Text(entry.text.len()));
    }
    let said = Said { order: order(entry.order)?, number: entry.number, text: entry.text.as_str().into() };
    Ok(((entry.kind, entry.id), said))
}

#[cfg(test)]
mod tests {
    use catchment_proto::cluster::v1::Definition;
    use proptest::prelude::*;

    use super::*;

    fn field(id: u32, length: u32) -> FieldSpecifier {
        FieldSpecifier { pen: 0, id, length, variable: false, scope: false }
    }

    fn good() -> ScopeState {
        ScopeState {
            key: Some(ScopeKey { zone: "z".into(), exporter: vec![192, 0, 2, 1], version: 10, domain: 1 }),
            layouts: vec![LayoutMessage {
                kind: TemplateKind::Data.into(),
                fields: vec![field(8, 4), field(1, 8)],
            }],
            definitions: vec![Definition {
                id: 256,
                port: 2055,
                order: Some(OrderMessage { epoch: 1, time_ms: 1 }),
                layout: 0,
            }],
            options: vec![OptionsEntry {
                kind: options_entry::Kind::InterfaceName.into(),
                id: 1,
                number: 0,
                text: "eth0".into(),
                order: Some(OrderMessage::default()),
            }],
            content_hash: 0,
        }
    }

    type Break = fn(&mut ScopeState);

    #[test]
    fn what_cannot_be_is_refused() {
        let breaks: &[(&str, Break)] = &[
            ("no key", |scope| scope.key = None),
            ("address", |scope| scope.key.as_mut().unwrap().exporter = vec![1, 2, 3]),
            ("no address", |scope| scope.key.as_mut().unwrap().exporter.clear()),
            ("version", |scope| scope.key.as_mut().unwrap().version = 5),
            ("zone", |scope| scope.key.as_mut().unwrap().zone = "z".repeat(256)),
            ("line feed", |scope| scope.key.as_mut().unwrap().zone = "a\nb".into()),
            ("id", |scope| scope.definitions[0].id = 255),
            ("large id", |scope| scope.definitions[0].id = 65536),
            ("port", |scope| scope.definitions[0].port = 65536),
            ("no order", |scope| scope.definitions[0].order = None),
            ("layout", |scope| scope.definitions[0].layout = 1),
            ("far layout", |scope| scope.definitions[0].layout = u32::MAX),
            ("kind", |scope| scope.layouts[0].kind = 0),
            ("unknown kind", |scope| scope.layouts[0].kind = 3),
            ("no fields", |scope| scope.layouts[0].fields.clear()),
            ("fields", |scope| scope.layouts[0].fields = vec![field(1, 1); 1025]),
            ("empty records", |scope| scope.layouts[0].fields = vec![field(1, 0)]),
            ("empty fields", |scope| {
                scope.layouts[0].fields = vec![field(1, 0); 17];
                scope.layouts[0].fields.push(field(2, 100));
            }),
            ("long records", |scope| scope.layouts[0].fields = vec![field(1, 65534); 2]),
            ("element", |scope| scope.layouts[0].fields[0].id = 0x8000),
            ("length", |scope| scope.layouts[0].fields[0].length = 65536),
            ("length of variable", |scope| scope.layouts[0].fields[0].variable = true),
            ("variable length", |scope| scope.layouts[0].fields[0].length = 65535),
            ("scope in data", |scope| scope.layouts[0].fields[0].scope = true),
            ("scope at the end", |scope| {
                scope.layouts[0].kind = TemplateKind::Options.into();
                scope.layouts[0].fields[1].scope = true;
            }),
            ("options kind", |scope| scope.options[0].kind = 0),
            ("unknown options kind", |scope| scope.options[0].kind = 99),
            ("text", |scope| scope.options[0].text = "x".repeat(256)),
            ("options order", |scope| scope.options[0].order = None),
            ("definitions", |scope| scope.definitions = vec![scope.definitions[0]; 65537]),
        ];
        scope(&good()).unwrap();
        for (name, change) in breaks {
            let mut message = good();
            change(&mut message);
            assert!(scope(&message).is_err(), "{name}");
        }
    }

    #[test]
    fn every_kind_of_options_entry_is_taken() {
        let mut message = good();
        let entry = message.options[0].clone();
        let kinds: Vec<i32> = (1..).take_while(|kind| options_entry::Kind::try_from(*kind).is_ok()).collect();
        message.options =
            kinds.iter().map(|kind| OptionsEntry { kind: *kind, number: 9, ..entry.clone() }).collect();
        let scope = scope(&message).unwrap();
        assert_eq!(scope.options.keys().map(|key| key.0).collect::<Vec<_>>(), kinds);
        assert_eq!(kinds.len(), 9);
        assert_eq!(scope.to_message().options, message.options);
    }

    #[test]
    fn a_mapped_address_is_ipv4() {
        let mut message = good();
        let mapped = "::ffff:192.0.2.1".parse::<Ipv6Addr>().unwrap();
        message.key.as_mut().unwrap().exporter = mapped.octets().to_vec();
        assert_eq!(scope(&message).unwrap(), scope(&good()).unwrap());
    }

    #[test]
    fn a_stored_value_answers_for_its_key_and_hash() {
        let good = scope(&good()).unwrap();
        let stored = good.encode_stored();
        assert_eq!(stored_scope(&good.id, &stored).as_ref(), Ok(&good));
        let other = ScopeId { domain: 2, ..good.id.clone() };
        assert!(matches!(stored_scope(&other, &stored), Err(Invalid::OtherKey(_))));
        assert_eq!(stored_scope(&good.id, &good.encode()), Err(Invalid::Hash));
        assert!(matches!(stored_scope(&good.id, &vec![0; MAX_SCOPE_BYTES + 1]), Err(Invalid::Size(_))));
        assert_eq!(stored_scope(&good.id, b""), Err(Invalid::Hash));
    }

    proptest! {
        #[test]
        fn no_octets_do_harm(mut octets in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), value: u8) {
            let id = scope(&good()).unwrap().id;
            let _ = stored_scope(&id, &octets);
            // Damage to what is valid gets further.
            octets = good().encode_to_vec();
            let at = at.index(octets.len());
            octets[at] = value;
            if let Ok(message) = ScopeState::decode(octets.as_slice())
                && let Ok(scope) = scope(&message)
            {
                prop_assert_eq!(super::scope(&scope.to_message()), Ok(scope));
            }
        }
    }
}
