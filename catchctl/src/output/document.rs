//! An answer as a tree that JSON and YAML are written from.
//!
//! Made from any message of the contracts by its descriptor: the fields in the order of their numbers and by their
//! protobuf names, all of them (0, empty and `null` too), so that a script finds each key always. Octets are addresses
//! (nothing else in these contracts is), enumerators are their last words in lower case (`HEALTH_STATUS_NOT_READY` is
//! `not_ready`), numbers are numbers. Invariant: a field that is added to a contract is shown without a change here.

use std::fmt;
use std::sync::LazyLock;

use catchment_proto::cluster::v1 as cluster_v1;
use catchment_proto::json::Address;
use catchment_proto::node::v1 as node_v1;
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, ReflectMessage as _,
    Value,
};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(catchment_proto::FILE_DESCRIPTOR_SET)
        .expect("the contracts compiled into this program")
});

/// A value of JSON, the members of objects in the order in which they were put.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Document {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    /// A text that stands in YAML as it is: somebody wrote it so.
    Written(String),
    List(Vec<Document>),
    Map(Vec<(String, Document)>),
}

/// A message whose name is known.
pub(crate) trait Described: prost::Message {
    /// Full name in the contracts.
    const NAME: &'static str;
}

macro_rules! described {
    ($($package:literal $module:ident { $($message:ident)+ })+) => {
        $($(impl Described for $module::$message {
            const NAME: &'static str = concat!($package, ".", stringify!($message));
        })+)+
    };
}

described! {
    "catchment.cluster.v1" cluster_v1 {
        Node GetClusterResponse ListNodesResponse GetHealthResponse GetStatisticsResponse ListExportersResponse
        ListTemplatesResponse PauseResponse ResumeResponse DrainResponse SetLogLevelResponse ConfigRevision
        SetConfigResponse ListConfigRevisionsResponse
    }
    "catchment.node.v1" node_v1 {
        GetHealthResponse GetStatisticsResponse ListListenersResponse ListExportersResponse ListTemplatesResponse
        PauseResponse ResumeResponse DrainResponse GetConfigResponse SetConfigResponse
    }
}

impl Document {
    /// The message, each field by its name.
    pub(crate) fn of<M: Described>(message: &M) -> Self {
        let descriptor = POOL.get_message_by_name(M::NAME).expect("a test asks for the names");
        let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice());
        of_message(&dynamic.expect("the message's own encoding"))
    }

    /// What a JSON text says; nothing where it is none.
    pub(crate) fn of_json(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or(Document::Null)
    }

    /// An object.
    pub(crate) fn map<const N: usize>(members: [(&str, Document); N]) -> Self {
        Document::Map(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// A text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Document::Text(text.into())
    }

    /// Without the member `name`: the token of a next page means nothing where all pages were read.
    pub(crate) fn without(mut self, name: &str) -> Self {
        if let Document::Map(members) = &mut self {
            members.retain(|(key, _)| key != name);
        }
        self
    }

    /// JSON with line feeds, for people to read as well.
    pub(crate) fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("texts and numbers are JSON");
        text.push('\n');
        text
    }

    /// JSON on one line.
    pub(crate) fn to_json_line(&self) -> String {
        let mut text = serde_json::to_string(self).expect("texts and numbers are JSON");
        text.push('\n');
        text
    }
}

fn of_message(message: &DynamicMessage) -> Document {
    let mut fields: Vec<FieldDescriptor> = message.descriptor().fields().collect();
    fields.sort_by_key(FieldDescriptor::number);
    let value = |field: FieldDescriptor| {
        let absent = field.supports_presence() && !message.has_field(&field);
        let value = if absent { Document::Null } else { of_field(&field, &message.get_field(&field)) };
        (field.name().to_owned(), value)
    };
    Document::Map(fields.into_iter().map(value).collect())
}

fn of_field(field: &FieldDescriptor, value: &Value) -> Document {
    match value {
        Value::List(values) if field.cardinality() == Cardinality::Repeated => {
            Document::List(values.iter().map(|value| of_value(&field.kind(), value)).collect())
        }
        value => of_value(&field.kind(), value),
    }
}

fn of_value(kind: &Kind, value: &Value) -> Document {
    match value {
        Value::Bool(value) => Document::Bool(*value),
        Value::I32(value) => Document::Signed((*value).into()),
        Value::I64(value) => Document::Signed(*value),
        Value::U32(value) => Document::Unsigned((*value).into()),
        Value::U64(value) => Document::Unsigned(*value),
        Value::F32(value) => Document::Float((*value).into()),
        Value::F64(value) => Document::Float(*value),
        Value::String(text) => Document::Text(text.clone()),
        Value::Bytes(octets) => Document::Text(Address(octets).to_string()),
        Value::EnumNumber(number) => match kind {
            Kind::Enum(descriptor) => enumerator(descriptor, *number),
            _ => Document::Signed((*number).into()),
        },
        Value::Message(message) => of_message(message),
        Value::List(values) => Document::List(values.iter().map(|value| of_value(kind, value)).collect()),
        // The contracts have no maps; one would be shown by its keys.
        Value::Map(entries) => {
            let mut members: Vec<(String, Document)> =
                entries.iter().map(|(key, value)| (format!("{key:?}"), of_value(kind, value))).collect();
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            Document::Map(members)
        }
    }
}

/// `HEALTH_STATUS_NOT_READY` of `HealthStatus` is `not_ready`; a number that has no name stays a number.
fn enumerator(descriptor: &EnumDescriptor, number: i32) -> Document {
    let Some(value) = descriptor.get_value(number) else { return Document::Signed(number.into()) };
    let mut prefix = String::new();
    for (at, c) in descriptor.name().char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            prefix.push('_');
        }
        prefix.push(c.to_ascii_uppercase());
    }
    prefix.push('_');
    let name = value.name();
    Document::Text(name.strip_prefix(&prefix).unwrap_or(name).to_ascii_lowercase())
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Document::Null => serializer.serialize_unit(),
            Document::Bool(value) => serializer.serialize_bool(*value),
            Document::Unsigned(value) => serializer.serialize_u64(*value),
            Document::Signed(value) => serializer.serialize_i64(*value),
            Document::Float(value) => serializer.serialize_f64(*value),
            Document::Text(text) | Document::Written(text) => serializer.serialize_str(text),
            Document::List(values) => serializer.collect_seq(values),
            Document::Map(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

/// Reads any JSON, members in the order in which they stand.
struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Document, E> {
        Ok(Document::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Document, E> {
        Ok(Document::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Document, E> {
        Ok(Document::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Document, E> {
        Ok(Document::Signed(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Document, E> {
        Ok(Document::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Document, E> {
        Ok(Document::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Document, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = values.next_element()? {
            list.push(value);
        }
        Ok(Document::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Document, A::Error> {
        let mut map = Vec::new();
        while let Some(member) = members.next_entry()? {
            map.push(member);
        }
        Ok(Document::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn json_of<M: Described>(message: &M) -> serde_json::Value {
        serde_json::from_str(&Document::of(message).to_json()).expect("JSON")
    }

    #[test]
    fn fields_have_their_names_and_plain_values() {
        let exporters = cluster_v1::ListExportersResponse {
            exporters: vec![node_v1::Exporter {
                zone: "a".to_owned(),
                address: vec![192, 0, 2, 1],
                last_seen_ns: u64::MAX,
                scopes: vec![node_v1::ExporterScope {
                    version: 10,
                    conflicts: vec![256],
                    ..Default::default()
                }],
                ..Default::default()
            }],
            next_page_token: String::new(),
            remarks: vec![],
        };
        let shown = json_of(&exporters);
        assert_eq!(shown["exporters"][0]["address"], "192.0.2.1");
        assert_eq!(shown["exporters"][0]["last_seen_ns"], json!(u64::MAX));
        assert_eq!(shown["exporters"][0]["scopes"][0]["conflicts"], json!([256]));
        assert_eq!(shown["exporters"][0]["pending_bytes"], 0, "what is 0 is there too");
        assert_eq!(shown["exporters"][0]["sequences"], json!([]));
        assert_eq!(shown["exporters"][0]["load"], json!(null));
        assert_eq!(shown["next_page_token"], "");
    }

    #[test]
    fn json_comes_back_as_it_was() {
        let text = "{\"b\":[1,-2,1.5,true,null],\"a\":{\"x\":\"y\"}}\n";
        assert_eq!(Document::of_json(text).to_json_line(), text);
    }

    #[test]
    fn enumerators_are_words() {
        let health = |status| {
            json_of(&cluster_v1::GetHealthResponse { status, ..Default::default() })["status"].clone()
        };
        assert_eq!(health(node_v1::HealthStatus::NotReady.into()), "not_ready");
        assert_eq!(health(0), "unspecified");
        assert_eq!(health(99), 99);
    }

    #[test]
    fn fields_stand_in_the_order_of_their_numbers() {
        let text = Document::of(&cluster_v1::GetClusterResponse::default()).to_json_line();
        let at = |name: &str| text.find(&format!("\"{name}\":")).expect(name);
        assert!(at("cluster") < at("coordinator_id") && at("coordinator_id") < at("store"));
        assert!(at("coordinators") < at("store_reachable"));
    }

    #[test]
    fn every_name_is_a_message_of_the_contracts() {
        fn known<M: Described + Default>() {
            assert!(POOL.get_message_by_name(M::NAME).is_some(), "{}", M::NAME);
            Document::of(&M::default());
        }
        known::<cluster_v1::Node>();
        known::<cluster_v1::GetClusterResponse>();
        known::<cluster_v1::ListNodesResponse>();
        known::<cluster_v1::GetHealthResponse>();
        known::<cluster_v1::GetStatisticsResponse>();
        known::<cluster_v1::ListExportersResponse>();
        known::<cluster_v1::ListTemplatesResponse>();
        known::<cluster_v1::PauseResponse>();
        known::<cluster_v1::ResumeResponse>();
        known::<cluster_v1::DrainResponse>();
        known::<cluster_v1::SetLogLevelResponse>();
        known::<cluster_v1::ConfigRevision>();
        known::<cluster_v1::SetConfigResponse>();
        known::<cluster_v1::ListConfigRevisionsResponse>();
        known::<node_v1::GetHealthResponse>();
        known::<node_v1::GetStatisticsResponse>();
        known::<node_v1::ListListenersResponse>();
        known::<node_v1::ListExportersResponse>();
        known::<node_v1::ListTemplatesResponse>();
        known::<node_v1::PauseResponse>();
        known::<node_v1::ResumeResponse>();
        known::<node_v1::DrainResponse>();
        known::<node_v1::GetConfigResponse>();
        known::<node_v1::SetConfigResponse>();
    }
}
