//! `decode --elements`: each data and options record, and each sFlow sample, as it was on the wire.
//!
//! ```text
//! {"packet":1,"exporter":"192.0.2.10","port":50010,"version":9,"domain":0,"set":256,"kind":"data",
//!  "elements":[{"id":8,"pen":0,"name":"sourceIPv4Address","value":"10.0.0.1","hex":"0a000001"}]}
//! {"packet":1,"exporter":"192.0.2.100","agent":"172.16.0.3","version":"sflow5","domain":0,"kind":"sample","format":"0/1",
//!  "sequence":588827825,"sampling_rate":1024,"records":[{"format":"0/1","hex":"..."}]}
//! ```
//!
//! An element of structured data (RFC 6313) has its members as well: `"semantic":"allOf"` and in `list` the elements of a
//! basicList, or the records of the others: `{"template":257,"elements":[...]}`, `{"template":999,"hex":"..."}` where the
//! template is not known.
//!
//! `hex` is the element's bytes without a variable-length prefix. A NetFlow v9 scope field has `scope` in place of `id`.
//! Records that came before their template are printed when it has come, with the `packet` that they came in.
//! NetFlow v1, v5 and v7 have `"set":null`, IANA's ids of the same meaning, and no padding.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use catchment_proto::json::{Address, Hex, Object};
use flow_decoder::elements::{self, DataType, Rendered};
use flow_decoder::structured::{self, Group, InnerTemplates, List};
use flow_decoder::template::{FieldSpecifier, Template, TemplateKind};
use flow_decoder::{HeldOrigin, Malformed, RecordBuffer, Sink, Stream, WireRecord, WireSample};

use super::{CapturedDatagram, Findings, Printer};

/// paddingOctets, which the fixed layouts describe their unused bytes by.
const PADDING: u16 = 210;
const NETFLOW_V9: u16 = 9;

/// Prints wire content; records are decoded but not kept.
#[derive(Debug)]
pub(super) struct ElementPrinter {
    packet: u64,
    exporter: SocketAddr,
    printed: Vec<u8>,
    findings: Findings,
}

impl Default for ElementPrinter {
    fn default() -> Self {
        Self {
            packet: 0,
            exporter: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            printed: Vec::new(),
            findings: Findings::default(),
        }
    }
}

impl Sink for ElementPrinter {
    const OBSERVES: bool = true;

    fn batch(&mut self, _stream: Stream) -> Option<&mut RecordBuffer> {
        None
    }

    fn written(&mut self, _stream: Stream, _len: usize) {}

    fn datagram_number(&self) -> u64 {
        self.packet
    }

    fn begin_held(&mut self, origin: &HeldOrigin) {
        self.packet = origin.number;
        self.exporter = origin.source;
        self.findings.packet = origin.number;
    }

    fn observe_record(&mut self, record: &WireRecord<'_>) {
        let mut line = Object::begin(&mut self.printed);
        line.number("packet", self.packet);
        line.text("exporter", self.exporter.ip());
        line.number("port", self.exporter.port());
        line.number("version", record.version);
        line.number("domain", record.domain);
        match record.set {
            Some(set) => line.number("set", set),
            None => line.null("set"),
        }
        line.text("kind", if record.kind == TemplateKind::Data { "data" } else { "options" });
        let fixed_layout = record.set.is_none();
        let elements = record.elements().filter(|(field, _)| !(fixed_layout && field.id == PADDING));
        let shown = Shown { version: record.version, templates: record.templates };
        line.array_of("elements", elements, |out, (field, value)| {
            shown.element(Object::begin(out), 0, field, value);
        });
        line.end();
        self.printed.push(b'\n');
    }

    fn observe_sample(&mut self, sample: &WireSample<'_>) {
        let mut line = Object::begin(&mut self.printed);
        line.number("packet", self.packet);
        line.text("exporter", self.exporter.ip());
        line.text("agent", Address(sample.agent));
        line.text("version", "sflow5");
        line.number("domain", sample.sub_agent);
        line.text("kind", "sample");
        line.text("format", format_args!("{}/{}", sample.enterprise, sample.format));
        if let Some(sequence) = sample.sequence {
            line.number("sequence", sequence);
        }
        if let Some(rate) = sample.sampling_rate {
            line.number("sampling_rate", rate);
        }
        line.array_of("records", sample.iter(), |out, (enterprise, format, body)| {
            let mut record = Object::begin(out);
            record.text("format", format_args!("{enterprise}/{format}"));
            record.text("hex", Hex(body));
            record.end();
        });
        line.end();
        self.printed.push(b'\n');
    }

    fn observe_malformed(&mut self, error: &Malformed) {
        self.findings.add(error);
    }
}

impl Printer for ElementPrinter {
    fn begin(&mut self, datagram: &CapturedDatagram) {
        self.packet = datagram.number;
        self.exporter = datagram.source;
        self.findings.packet = datagram.number;
    }

    fn printed(&mut self) -> &mut Vec<u8> {
        &mut self.printed
    }

    fn findings(&mut self) -> &mut Findings {
        &mut self.findings
    }
}

/// How elements of a record are shown.
struct Shown<'a> {
    version: u16,
    templates: &'a InnerTemplates,
}

/// A member of a list of records.
enum Member<'a> {
    Record(u16, &'a Template, &'a [u8]),
    Unknown(Group<'a>),
}

impl Shown<'_> {
    fn element(&self, mut object: Object<'_>, depth: usize, field: &FieldSpecifier, value: &[u8]) {
        let v9_scope = self.version == NETFLOW_V9 && field.scope;
        let registered = elements::of_field(self.version, field);
        if v9_scope {
            object.number("scope", field.id);
        } else {
            object.number("id", field.id);
            object.number("pen", field.pen);
        }
        match registered {
            Some(registered) => object.text("name", registered.name),
            None => object.null("name"),
        }
        let data_type = registered.map_or(DataType::OctetArray, |registered| registered.data_type);
        object.text("value", Rendered { data_type, value });
        object.text("hex", Hex(value));
        if depth < structured::MAX_DEPTH
            && let Some(list) = List::open(data_type, value)
        {
            self.members(&mut object, depth + 1, &list);
        }
        object.end();
    }

    /// What is in a list, as far as it is not damaged.
    fn members(&self, object: &mut Object<'_>, depth: usize, list: &List<'_>) {
        match list.semantic().name() {
            Some(name) => object.text("semantic", name),
            None => object.number("semantic", list.semantic().0),
        }
        let write = |out: &mut Vec<u8>, member: Member<'_>| self.member(out, depth, &member);
        match *list {
            List::Values { field, values, .. } => {
                let values = structured::values(&field, values).flatten();
                object.array_of("list", values, |out, value| {
                    self.element(Object::begin(out), depth, &field, value);
                });
            }
            List::Records { group, .. } => object.array_of("list", self.records(group), write),
            List::Groups { groups, .. } => {
                let groups = structured::groups(groups).flatten();
                object.array_of("list", groups.flat_map(|group| self.records(group)), write);
            }
        }
    }

    /// The records of a group; the group as it is where its template is not known.
    fn records<'g>(&'g self, group: Group<'g>) -> Box<dyn Iterator<Item = Member<'g>> + 'g> {
        match self.templates.get(group.template) {
            Some(template) => {
                let records = structured::records(template, group.records).flatten();
                Box::new(records.map(move |record| Member::Record(group.template, template, record)))
            }
            None => Box::new(std::iter::once(Member::Unknown(group))),
        }
    }

    fn member(&self, out: &mut Vec<u8>, depth: usize, member: &Member<'_>) {
        let mut object = Object::begin(out);
        match *member {
            Member::Record(id, template, record) => {
                object.number("template", id);
                let elements = structured::elements_of(template.fields(), record);
                object.array_of("elements", elements, |out, (field, value)| {
                    self.element(Object::begin(out), depth, field, value);
                });
            }
            Member::Unknown(group) => {
                object.number("template", group.template);
                object.text("hex", Hex(group.records));
            }
        }
        object.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(version: u16, field: FieldSpecifier, value: &[u8]) -> String {
        let mut out = Vec::new();
        let shown = Shown { version, templates: &InnerTemplates::default() };
        shown.element(Object::begin(&mut out), 0, &field, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_list_shows_its_members() {
        let list = FieldSpecifier::iana(291, 10);
        let want = concat!(
            r#"{"id":291,"pen":0,"name":"basicList","value":"03000a000200010002","hex":"03000a000200010002","#,
            r#""semantic":"allOf","list":[{"id":10,"pen":0,"name":"ingressInterface","value":"1","hex":"0001"},"#,
            r#"{"id":10,"pen":0,"name":"ingressInterface","value":"2","hex":"0002"}]}"#,
        );
        assert_eq!(shown(10, list, &[3, 0, 10, 0, 2, 0, 1, 0, 2]), want);
        let unknown = shown(10, FieldSpecifier::iana(292, 4), &[255, 3, 231, 7]);
        assert!(
            unknown.ends_with(r#","semantic":"undefined","list":[{"template":999,"hex":"07"}]}"#),
            "{unknown}"
        );
        assert!(shown(10, list, &[]).ends_with(r#""hex":""}"#));
    }

    #[test]
    fn elements_by_protocol() {
        let address = FieldSpecifier::iana(8, 4);
        let want = r#"{"id":8,"pen":0,"name":"sourceIPv4Address","value":"10.0.0.1","hex":"0a000001"}"#;
        for version in [5, 9, 10] {
            assert_eq!(shown(version, address, &[10, 0, 0, 1]), want);
        }
        let scope = FieldSpecifier { scope: true, ..FieldSpecifier::iana(1, 4) };
        let v9 = shown(9, scope, &[10, 0, 0, 1]);
        assert!(v9.starts_with(r#"{"scope":1,"name":"SYSTEM","#), "{v9}");
        let ipfix = shown(10, FieldSpecifier { id: 149, ..scope }, &[0, 0, 0, 1]);
        assert!(
            ipfix.starts_with(r#"{"id":149,"pen":0,"name":"observationDomainId","value":"1","#),
            "{ipfix}"
        );
        let unknown = FieldSpecifier { pen: 4_000_000, ..FieldSpecifier::iana(1, 2) };
        let want = r#"{"id":1,"pen":4000000,"name":null,"value":"00ff","hex":"00ff"}"#;
        assert_eq!(shown(10, unknown, &[0, 255]), want);
    }
}
