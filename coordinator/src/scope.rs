//! Shared state of one scope, as types that cannot be wrong.
//!
//! A [`Scope`] is made from a message by [`crate::validate`] and combined by [`crate::merge`]. Equal scopes have equal bytes:
//! [`Scope::encode`] writes the canonical form, with layouts once each in their order, definitions by (id, port) and
//! options by (kind, id).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use catchment_proto::cluster::v1::{
    Definition, FieldSpecifier, Layout as LayoutMessage, OptionsEntry, Order as OrderMessage, ScopeKey,
    ScopeState, TemplateKind,
};
use prost::Message as _;

/// Whose template numbers and options these are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScopeId {
    /// Zone of the listener; empty for the default zone.
    pub zone: Box<str>,
    /// The exporter; IPv4-mapped addresses are IPv4 here.
    pub exporter: IpAddr,
    /// 9 (NetFlow v9) or 10 (IPFIX).
    pub version: u8,
    /// Source id or observation domain.
    pub domain: u32,
}

impl ScopeId {
    /// As a message.
    pub fn to_message(&self) -> ScopeKey {
        let exporter = match self.exporter {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        ScopeKey {
            zone: self.zone.to_string(),
            exporter,
            version: u32::from(self.version),
            domain: self.domain,
        }
    }
}

impl std::fmt::Display for ScopeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { zone, exporter, version, domain } = self;
        write!(f, "{zone:?}/{exporter}/{version}/{domain}")
    }
}

/// Which of two announcements is the later one: the exporter's start, then the header's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Order {
    /// When the exporter started, seconds since 1970; 0: not known.
    pub epoch: u32,
    /// Header time of the announcement, milliseconds since 1970.
    pub time_ms: u64,
}

/// What records by a template are; the order is that of [`Layout`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Flow records.
    Data,
    /// Options records.
    Options,
}

/// One field of a template. The order of the members is the order in which layouts compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Field {
    /// Private enterprise number, 0 for IANA's.
    pub pen: u32,
    /// Element id or NetFlow v9 type.
    pub id: u16,
    /// Octets; 65535 where `variable`.
    pub length: u16,
    /// Whether each record says the length.
    pub variable: bool,
    /// Whether it is a scope field.
    pub scope: bool,
}

/// The fields of a template. Totally ordered: by kind, then field by field, a shorter prefix first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Layout {
    /// What records by it are.
    pub kind: Kind,
    /// Its fields.
    pub fields: Box<[Field]>,
}

/// What an options record said of one thing. Totally ordered: the greater one wins.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Said {
    /// When.
    pub order: Order,
    /// The value of kinds that are a number.
    pub number: u64,
    /// The value of kinds that are a text.
    pub text: Box<str>,
}

/// What a source port announced for a template id. Totally ordered: the greater one wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Announced {
    /// When.
    pub order: Order,
    /// The layout.
    pub layout: Arc<Layout>,
}

/// Everything that is shared of one scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Whose.
    pub id: ScopeId,
    /// By template id and source port.
    pub templates: BTreeMap<(u16, u16), Announced>,
    /// By kind (the number of `OptionsEntry.Kind`) and id.
    pub options: BTreeMap<(i32, u64), Said>,
}

impl Scope {
    /// A scope of which nothing is known.
    pub fn empty(id: ScopeId) -> Self {
        Self { id, templates: BTreeMap::new(), options: BTreeMap::new() }
    }

    /// Only its templates.
    pub fn only_templates(mut self) -> Self {
        self.options.clear();
        self
    }

    /// Only its options state.
    pub fn only_options(mut self) -> Self {
        self.templates.clear();
        self
    }

    /// Number of distinct template ids.
    pub fn template_ids(&self) -> usize {
        let mut last = None;
        self.templates.keys().filter(|(id, _)| last.replace(*id) != Some(*id)).count()
    }

    /// The canonical message.
    pub fn to_message(&self) -> ScopeState {
        let layouts: BTreeSet<&Layout> =
            self.templates.values().map(|announced| &*announced.layout).collect();
        let layouts: Vec<&Layout> = layouts.into_iter().collect();
        let definitions = self
            .templates
            .iter()
            .map(|((id, port), announced)| Definition {
                id: u32::from(*id),
                port: u32::from(*port),
                order: Some(order_message(announced.order)),
                // Each layout was collected from these very definitions: the search finds it.
                layout: layouts.binary_search(&&*announced.layout).map_or(u32::MAX, |at| at as u32),
            })
            .collect();
        ScopeState {
            key: Some(self.id.to_message()),
            layouts: layouts.into_iter().map(layout_message).collect(),
            definitions,
            options: self.options.iter().map(options_message).collect(),
            content_hash: 0,
        }
    }

    /// The canonical bytes of [`Self::to_message`].
    pub fn encode(&self) -> Box<[u8]> {
        self.to_message().encode_to_vec().into_boxed_slice()
    }

    /// The bytes that are stored: canonical, with their hash.
    pub fn encode_stored(&self) -> Vec<u8> {
        let mut message = self.to_message();
        message.content_hash = content_hash(&message.encode_to_vec());
        message.encode_to_vec()
    }
}

/// FNV-1a, 64 bits: tells a damaged value, not a forged one.
pub fn content_hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn order_message(order: Order) -> OrderMessage {
    OrderMessage { epoch: order.epoch, time_ms: order.time_ms }
}

fn layout_message(layout: &Layout) -> LayoutMessage {
    let kind = match layout.kind {
        Kind::Data => TemplateKind::Data,
        Kind::Options => TemplateKind::Options,
    };
    let fields = layout
        .fields
        .iter()
        .map(|field| FieldSpecifier {
            pen: field.pen,
            id: u32::from(field.id),
            length: u32::from(field.length),
            variable: field.variable,
            scope: field.scope,
        })
        .collect();
    LayoutMessage { kind: kind.into(), fields }
}

fn options_message(((kind, id), said): (&(i32, u64), &Said)) -> OptionsEntry {
    OptionsEntry {
        kind: *kind,
        id: *id,
        number: said.number,
        text: said.text.to_string(),
        order: Some(order_message(said.order)),
    }
}
