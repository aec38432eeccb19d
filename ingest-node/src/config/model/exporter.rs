//! Exporters: which may send, and what a person knows of them better than they say it.

use std::num::NonZeroU32;

use catchment_settings::{
    Content, Element, Entry, Key, Label, Limits, Node, Prefix, Reading, Refusal, Shown, Status, Value,
    section,
};
use flow_decoder::{Destination, RecordField};

use crate::config::choice::ExporterName;

section! {
    /// All exporters.
    Exporter {
        /// What `sampler_address` shows.
        name: ExporterName = "address",
        /// Exporters that may send, to whichever listener; empty: all. A listener's own `allow` lets in fewer.
        allow: Vec<Prefix> = "",
        /// Whether NetFlow v9 and IPFIX elements, and records of sFlow's flow samples, that no field of a record holds are kept
        /// in its list of extra elements. It costs their octets and names in every record.
        keep_unknown: bool = "off",
        /// Whether records that count both directions of a flow (RFC 5103, or initiator and responder) become two, one for each
        /// direction that had packets, with source and destination exchanged in the reverse one. Otherwise they have the reverse
        /// direction's counters in fields of their own.
        split_biflows: bool = "off",
        /// Whether records show the names that exporters' options data gives to interfaces, VRFs and applications. They cost
        /// octets in every record. Nodes of a cluster know each other's.
        names: bool = "on",
        /// What is known of exporters better than they say it, by network. Of several that an exporter is in, the one with
        /// the longest prefix counts, with all it says. An element is a section, or short
        /// `PREFIX KEY=VALUE... [PEN/]ELEMENT=FIELD...`, such as `192.0.2.0/24 sampling_rate=1000 411=src_sgt`.
        overrides: Vec<Override> = "",
    }
}

section! {
    /// What is known of the exporters of one network, element of `exporter.overrides`.
    Override {
        /// The network that their datagrams come from.
        prefix: Prefix = "0.0.0.0/0" (as "must be set"),
        /// The zone of the listener that they come by; empty: any zone. Of two for one prefix the one with the zone counts.
        zone: Option<Label> = "",
        /// Packets on the wire per packet observed, whatever the exporter says. NetFlow, IPFIX and sFlow; records carry it,
        /// and counters are never multiplied by it.
        sampling_rate: Option<NonZeroU32> = "",
        /// The same, for records of which the exporter does not say it.
        sampling_default: Option<NonZeroU32> = "",
        /// Whether elements that no field holds are kept.
        keep_unknown: Option<bool> = "" (as "`exporter.keep_unknown`"),
        /// Whether records of two directions become two.
        split_biflows: Option<bool> = "" (as "`exporter.split_biflows`"),
        /// Elements of NetFlow v9 and IPFIX that go to another field of the record than they would. An element is a section,
        /// or short `[PEN/]ELEMENT=FIELD`.
        fields: Vec<FieldMapping> = "",
    }
}

section! {
    /// Where one element goes, element of `exporter.overrides[].fields`. Nothing else is made of it then. Of several elements
    /// for one field the first whose value is not 0 counts, and all of them come before those that fill it unasked.
    FieldMapping {
        /// The element's enterprise number; 0 for IANA's elements and NetFlow v9's types.
        pen: u32 = "0",
        /// The element's number, without the enterprise bit; in NetFlow v9 the field type.
        element: u16 = "0" in "1" to "65535" (as "must be set"),
        /// A field of `FlowRecord` by its name in docs/wire-formats.md, or `extra`: the record's list of extra elements.
        field: FieldName = "extra" (as "must be set"),
    }
}

/// Where a field map sends an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub struct FieldName(Destination);

impl FieldName {
    /// The destination.
    pub fn destination(self) -> Destination {
        self.0
    }
}

impl Value for FieldName {
    const KIND: &'static str = "field";
    const EXPECTED: &'static str = "a field of a record such as src_sgt, or extra";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if let Some(destination) = Destination::named(text) {
            return Ok(Self(destination));
        }
        let wrong = text.to_ascii_lowercase().replace('-', "_");
        let names = RecordField::all().map(RecordField::name).chain([Destination::EXTRA]);
        let scored = names.map(|name| (strsim::damerau_levenshtein(&wrong, name), name));
        let near =
            scored.filter(|(edits, name)| *edits <= (name.len() / 3).max(2)).min_by_key(|(edits, _)| *edits);
        // Who writes `sgt` means one of several.
        let part = || RecordField::all().map(RecordField::name).find(|name| name.contains(&*wrong));
        match near.map(|(_, name)| name).or_else(part) {
            Some(right) => {
                Err(Refusal::Because(format!("no field that an element can fill; did you mean `{right}`?")))
            }
            None => Err(Refusal::Because(
                "no field that an element can fill (docs/wire-formats.md has them)".into(),
            )),
        }
    }

    fn render(&self) -> String {
        self.0.name().to_owned()
    }
}

impl FieldMapping {
    /// Reports what cannot be at `at`, which is the place of the whole.
    fn check(&self, at: &Node, path: &str, reading: &mut Reading) {
        if self.element == 0 {
            reading.problem(&at.origin, &format!("{path}.element"), "a field map needs the element's number");
        } else if self.pen != 0 && self.element > 0x7fff {
            let what = format!(
                "{}: elements of an enterprise have numbers up to 32767 (without the bit that says so)",
                self.element
            );
            reading.problem(&at.origin, &format!("{path}.element"), what);
        } else if let Destination::Field(field) = self.field.destination()
            && let Err(mismatch) = field.accepts(self.pen, self.element)
        {
            reading.problem(&at.origin, &format!("{path}.field"), mismatch.to_string());
        }
    }

    /// `[PEN/]ELEMENT` and the field's name.
    fn short(element: &str, field: &str, node: &Node, path: &str, reading: &mut Reading) -> Option<Self> {
        let (pen, element) = element.split_once('/').unwrap_or(("0", element));
        let mut part = |key: &str, text: &str| scalar(node, &format!("{path}.{key}"), text, reading);
        let [pen, element, field] =
            [("pen", pen), ("element", element), ("field", field)].map(|(key, text)| part(key, text));
        Some(Self {
            pen: value(&pen, &format!("{path}.pen"), reading)?,
            element: value(&element, &format!("{path}.element"), reading)?,
            field: value(&field, &format!("{path}.field"), reading)?,
        })
    }
}

/// A node that was written as a part of another one.
fn scalar(of: &Node, path: &str, text: &str, reading: &mut Reading) -> Node {
    reading.origins.insert(path.to_owned(), of.origin.clone());
    Node { origin: of.origin.clone(), content: Content::Scalar(text.to_owned()) }
}

fn value<T: Value>(node: &Node, path: &str, reading: &mut Reading) -> Option<T> {
    reading.value(node, path, None)
}

impl Element for FieldMapping {
    fn from_default(_text: &str) -> Self {
        Self::default()
    }

    fn read_element(node: &Node, path: &str, _limits: Option<Limits>, reading: &mut Reading) -> Option<Self> {
        let problems = reading.problems.len();
        let read = match &node.content {
            Content::Map(entries) => {
                let mut mapping = Self::default();
                mapping.read(node, path, None, reading);
                if !entries.iter().any(|entry| entry.key == "field") {
                    reading.problem(&node.origin, &format!("{path}.field"), "a field map needs a field");
                }
                mapping
            }
            _ => {
                let text: String = reading.value(node, path, None)?;
                let Some((element, field)) = text.split_once('=') else {
                    reading.problem(&node.origin, path, "expected [PEN/]ELEMENT=FIELD such as 411=src_sgt");
                    return None;
                };
                Self::short(element.trim(), field.trim(), node, path, reading)?
            }
        };
        if reading.problems.len() == problems {
            read.check(node, path, reading);
        }
        Some(read)
    }

    fn list_elements(key: Key, keys: &mut Vec<Key>) {
        let path = format!("{}[]", key.path);
        keys.push(Key { kind: "field map", status: Status::List, ..key });
        Self::list(Key { path, ..Key::default() }, keys);
    }

    fn show_elements(elements: &[Self]) -> Shown {
        shown(elements)
    }
}

impl Override {
    /// Reads `PREFIX KEY=VALUE... [PEN/]ELEMENT=FIELD...`.
    fn short(text: &str, node: &Node, path: &str, reading: &mut Reading) -> Option<Self> {
        let mut words = text.split_whitespace();
        let of = |key: &str| format!("{path}.{key}");
        let prefix = scalar(node, &of("prefix"), words.next().unwrap_or_default(), reading);
        let mut read = Self { prefix: value(&prefix, &of("prefix"), reading)?, ..Self::default() };
        let mut mapped = 0;
        for word in words {
            let Some((key, text)) = word.split_once('=') else {
                let what = format!("`{word}`: expected KEY=VALUE or [PEN/]ELEMENT=FIELD");
                reading.problem(&node.origin, path, what);
                continue;
            };
            if key.starts_with(|c: char| c.is_ascii_digit()) {
                let path = of(&format!("fields[{mapped}]"));
                mapped += 1;
                if let Some(mapping) = FieldMapping::short(key, text, node, &path, reading) {
                    mapping.check(node, &path, reading);
                    read.fields.push(mapping);
                }
                continue;
            }
            // As if it were a section with this key: unknown ones are reported with the nearest.
            let entry = catchment_settings::Pair {
                key: key.to_owned(),
                origin: node.origin.clone(),
                value: scalar(node, &of(key), text, reading),
            };
            let section = Node { origin: node.origin.clone(), content: Content::Map(vec![entry]) };
            read.read(&section, path, None, reading);
        }
        Some(read)
    }

    fn check(&self, at: &Node, path: &str, reading: &mut Reading) {
        if self.sampling_rate.is_some() && self.sampling_default.is_some() {
            let what = "has no effect beside sampling_rate, which counts whatever the exporter says";
            reading.problem(&at.origin, &format!("{path}.sampling_default"), what);
        }
        for (index, mapping) in self.fields.iter().enumerate() {
            let same = |other: &&FieldMapping| (other.pen, other.element) == (mapping.pen, mapping.element);
            if mapping.element != 0 && self.fields[..index].iter().any(|other| same(&other)) {
                let element = match mapping.pen {
                    0 => mapping.element.to_string(),
                    pen => format!("{pen}/{}", mapping.element),
                };
                let what = format!("{element} is mapped twice; an element goes to one field");
                reading.problem(&at.origin, &format!("{path}.fields[{index}]"), what);
            }
        }
    }
}

impl Element for Override {
    fn from_default(_text: &str) -> Self {
        Self::default()
    }

    fn read_element(node: &Node, path: &str, _limits: Option<Limits>, reading: &mut Reading) -> Option<Self> {
        let read = match &node.content {
            Content::Map(entries) => {
                let mut read = Self::default();
                read.read(node, path, None, reading);
                if !entries.iter().any(|entry| entry.key == "prefix") {
                    reading.problem(&node.origin, &format!("{path}.prefix"), "an override needs a prefix");
                }
                read
            }
            _ => {
                let text: String = reading.value(node, path, None)?;
                Self::short(&text, node, path, reading)?
            }
        };
        read.check(node, path, reading);
        Some(read)
    }

    fn list_elements(key: Key, keys: &mut Vec<Key>) {
        let path = format!("{}[]", key.path);
        keys.push(Key { kind: "override", status: Status::List, ..key });
        Self::list(Key { path, ..Key::default() }, keys);
    }

    fn show_elements(elements: &[Self]) -> Shown {
        shown(elements)
    }
}

fn shown<T: Entry>(elements: &[T]) -> Shown {
    let section = |element: &T| {
        let mut inner = Vec::new();
        element.show(String::new(), &mut inner);
        inner
    };
    Shown::Sections(elements.iter().map(section).collect())
}
