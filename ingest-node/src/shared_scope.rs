//! What the store knows of a scope, as the message that nodes, coordinators and `state.dir` have in common, and back.
//!
//! A message is checked like wire input before anything of it reaches the store: a key that cannot be costs the scope, a
//! definition or options entry that cannot be costs itself. What only a later version of the contract knows is left out
//! without a word. The store checks again what needs its knowledge (times, room, fields of the protocol).

mod options;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use catchment_proto::cluster::v1;
use flow_decoder::template::{FieldSpecifier, Template, TemplateKind};
use flow_decoder::{Order, Reason, ScopeKey, SharedDefinition, SharedScope};
use prost::Message as _;

pub use self::options::options_messages;
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
    /// A name that is empty, or longer than 255 octets.
    #[error("a name of {0} octets")]
    Name(usize),
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
        if let Err(why) = options::read_option(entry, &mut read.scope.options) {
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

/// The messages for what is known of a scope: one, or several of at most `largest` octets. None where nothing is known.
pub fn messages(key: &ScopeKey, scope: &SharedScope, zones: &Zones, largest: usize) -> Vec<v1::ScopeState> {
    let key = key_message(key, zones);
    let mut writing = Writing::new(&key);
    let mut done = Vec::new();
    for entry in options_messages(&scope.options) {
        if !writing.add_option(&entry, largest) {
            done.push(std::mem::replace(&mut writing, Writing::new(&key)).state);
            writing.add_option(&entry, usize::MAX);
        }
    }
    let mut definitions: Vec<&SharedDefinition> = scope.definitions.iter().collect();
    definitions.sort_unstable_by_key(|definition| (definition.id, definition.port));
    for definition in definitions {
        if !writing.add(definition, largest) {
            done.push(std::mem::replace(&mut writing, Writing::new(&key)).state);
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
    fn new(key: &v1::ScopeKey) -> Self {
        let state = v1::ScopeState { key: Some(key.clone()), ..v1::ScopeState::default() };
        Self { octets: state.encoded_len(), state, layouts: BTreeMap::new() }
    }

    /// Adds an options entry, unless the message would be larger than `largest` by it.
    fn add_option(&mut self, entry: &v1::OptionsEntry, largest: usize) -> bool {
        let added = entry.encoded_len() + AROUND;
        if self.octets + added > largest {
            return false;
        }
        self.octets += added;
        self.state.options.push(entry.clone());
        true
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

/// Whether `own` says anything that somebody who knows `theirs` would take over.
pub fn adds(own: &SharedScope, theirs: &SharedScope) -> bool {
    let known: BTreeMap<(u16, u16), &SharedDefinition> =
        theirs.definitions.iter().map(|theirs| ((theirs.id, theirs.port), theirs)).collect();
    let rank = |definition: &SharedDefinition| (definition.order, definition.template.clone());
    let newer = |own: &SharedDefinition| match known.get(&(own.id, own.port)) {
        Some(theirs) => rank(own) > rank(theirs),
        None => true,
    };
    own.definitions.iter().any(newer) || options::adds_options(&own.options, &theirs.options)
}

#[cfg(test)]
mod tests;
