//! Data sets: records by a known template, into flow and options records.

use crate::cursor::Cursor;
use crate::datagram::Context;
use crate::elements;
use crate::error::{Malformed, Path, Reason};
use crate::options_record::Meaning;
use crate::plan::{Located, Plan, Reverse, Scene};
use crate::protobuf::{RecordWriter, Tag};
use crate::sink::{Sink, Stream, WireRecord};
use crate::structured;
use crate::template::TemplateKind;

/// Tags of `catchment.flow.v1.OptionsRecord`.
mod tag {
    use super::Tag;

    pub(super) const TIME_RECEIVED_NS: Tag = Tag::varint(1);
    pub(super) const EXPORTER: Tag = Tag::delimited(2);
    pub(super) const PORT: Tag = Tag::varint(3);
    pub(super) const VERSION: Tag = Tag::varint(4);
    pub(super) const OBSERVATION_DOMAIN_ID: Tag = Tag::varint(5);
    pub(super) const SEQUENCE_NUM: Tag = Tag::varint(6);
    pub(super) const TEMPLATE_ID: Tag = Tag::varint(7);
    pub(super) const ELEMENTS: Tag = Tag::delimited(8);
    pub(super) const EXPORT_TIME: Tag = Tag::varint(9);
    pub(super) const ZONE: Tag = Tag::delimited(10);
    pub(super) const COLLECTOR_NODE: Tag = Tag::delimited(11);
}

/// Tags of `catchment.flow.v1.Element`.
pub(crate) mod element_tag {
    use super::Tag;

    pub(crate) const PEN: Tag = Tag::varint(1);
    pub(crate) const ID: Tag = Tag::varint(2);
    pub(crate) const NAME: Tag = Tag::delimited(3);
    pub(crate) const VALUE: Tag = Tag::delimited(4);
    pub(crate) const TEXT: Tag = Tag::delimited(5);
    pub(crate) const SCOPE: Tag = Tag::varint(6);
}

/// What the message header says, as far as records carry it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageHeader {
    pub(crate) version: u16,
    pub(crate) domain: u32,
    pub(crate) sequence: u32,
    /// Seconds since 1970.
    pub(crate) export_time: u32,
}

/// Records of one set, by one plan.
pub(crate) struct Records<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) scene: Scene<'a>,
    /// Set id; `None` for the fixed layouts.
    pub(crate) set: Option<u16>,
    pub(crate) header: MessageHeader,
    /// Where the set is, for errors.
    pub(crate) path: Path,
    /// Where both directions of a record become records: the one that is decoded.
    pub(crate) pass: Option<Pass<'a>>,
    /// Whether something is wrong with lists in them.
    pub(crate) check_lists: bool,
}

/// A set of biflows is decoded twice, each time by the plan of one direction.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    reverse: &'a Reverse,
    is_second: bool,
}

impl<'a> Pass<'a> {
    /// The first pass, where there are to be two.
    pub(crate) fn first(plan: &'a Plan) -> Option<Self> {
        plan.reverse().map(|reverse| Self { reverse, is_second: false })
    }
}

impl<'a> Records<'a> {
    /// The reverse direction of the same records.
    pub(crate) fn second(&self, first: Pass<'a>) -> Self {
        let Self { scene, set, header, path, .. } = *self;
        let pass = Some(Pass { is_second: true, ..first });
        Self { plan: first.reverse.plan(), scene, set, header, path, pass, check_lists: false }
    }

    /// Decodes all records of `body`; what is left and too short for a record is padding. Where no record fits, or one goes
    /// beyond the set, the error says so; the records before it are decoded.
    pub(crate) fn decode<S: Sink>(
        &self,
        context: &mut Context<'_, S>,
        located: &mut Located,
        body: Cursor<'_>,
        mut learn: impl FnMut(&Meaning<'_>),
    ) -> Result<(), (Malformed, Path)> {
        let template = self.plan.template();
        let end = body.offset() + body.remaining();
        let mut at = body.offset();
        let mut count = 0;
        let (pass, is_second) = (self.pass, self.pass.is_some_and(|pass| pass.is_second));
        while end - at >= template.min_record_len() {
            let Some(next) = located.end_of(template, self.scene.payload, at, end) else {
                if count > 0 && is_padding(&self.scene.payload[at..end]) {
                    break;
                }
                let path = Path { record: Some(count + 1), ..Path::default() };
                return Err((Malformed::at(Reason::RecordTruncated, at), path));
            };
            count += 1;
            if self.check_lists {
                self.check_lists(context, &self.wire_record(at, next), at, count);
            }
            match template.kind() {
                TemplateKind::Data if pass.is_some_and(|pass| !self.had_packets(pass, located, at)) => {}
                TemplateKind::Data => self.flow_record(context, located, at),
                TemplateKind::Options => {
                    let record = self.wire_record(at, next);
                    learn(&Meaning::of(&record));
                    self.options_record(context, &record);
                }
            }
            if S::OBSERVES && !is_second {
                context.sink.observe_record(&self.wire_record(at, next));
            }
            at = next;
        }
        if count == 0 && !body.is_empty() {
            return Err((Malformed::at(Reason::RecordTruncated, at), Path::default()));
        }
        Ok(())
    }

    #[inline]
    fn flow_record<S: Sink>(&self, context: &mut Context<'_, S>, located: &Located, at: usize) {
        context.statistics.records[Stream::Flow as usize] += 1;
        let Some(batch) = context.sink.batch(Stream::Flow) else { return };
        let mut writer = batch.begin();
        if self.plan.template().is_variable() {
            self.plan.encode_located(&self.scene, located, &mut writer);
        } else {
            self.plan.encode_fixed(&self.scene, at, &mut writer);
        }
        let len = writer.finish();
        context.sink.written(Stream::Flow, len);
    }

    /// Whether the direction that this pass is for had packets.
    #[cold]
    fn had_packets(&self, pass: Pass<'_>, located: &Located, at: usize) -> bool {
        self.plan.had_packets(pass.reverse, pass.is_second, &self.scene, located, at)
    }

    /// Counts what is wrong with structured data; the record is decoded without it.
    #[cold]
    fn check_lists<S: Sink>(
        &self,
        context: &mut Context<'_, S>,
        record: &WireRecord<'_>,
        at: usize,
        number: u32,
    ) {
        for (field, value) in record.elements().filter(|(field, _)| structured::holds_list(field)) {
            if let Err(reason) = structured::check(record.templates, field, value) {
                let path = Path { record: Some(number), ..self.path };
                context.damaged(Malformed::at(reason, at), path);
            }
        }
    }

    fn wire_record(&self, start: usize, end: usize) -> WireRecord<'_> {
        WireRecord {
            version: self.header.version,
            domain: self.header.domain,
            set: self.set,
            kind: self.plan.template().kind(),
            fields: self.plan.template().fields(),
            bytes: &self.scene.payload[start..end],
            templates: self.scene.templates,
        }
    }

    fn options_record<S: Sink>(&self, context: &mut Context<'_, S>, record: &WireRecord<'_>) {
        context.statistics.records[Stream::Options as usize] += 1;
        let (datagram, options) = (context.datagram, context.options);
        let Some(batch) = context.sink.batch(Stream::Options) else { return };
        let mut writer = batch.begin();
        writer.uint(tag::TIME_RECEIVED_NS, datagram.received_ns);
        writer.bytes(tag::EXPORTER, crate::datagram::octets(&datagram.source.ip()).as_ref());
        writer.uint(tag::PORT, u64::from(datagram.source.port()));
        writer.uint(tag::VERSION, u64::from(self.header.version));
        writer.uint(tag::OBSERVATION_DOMAIN_ID, u64::from(self.header.domain));
        writer.uint(tag::SEQUENCE_NUM, u64::from(self.header.sequence));
        writer.uint(tag::TEMPLATE_ID, u64::from(self.set.unwrap_or_default()));
        for (field, value) in record.elements() {
            write_element(&mut writer, record.version, field, value);
        }
        writer.uint(tag::EXPORT_TIME, u64::from(self.header.export_time));
        writer.bytes(tag::ZONE, options.zone(datagram.zone).as_bytes());
        writer.bytes(tag::COLLECTOR_NODE, options.collector_node.as_bytes());
        let len = writer.finish();
        context.sink.written(Stream::Options, len);
    }
}

fn write_element(
    writer: &mut RecordWriter<'_>,
    version: u16,
    field: &crate::template::FieldSpecifier,
    value: &[u8],
) {
    let element = elements::of_field(version, field);
    let nested = writer.begin_nested(tag::ELEMENTS);
    writer.uint(element_tag::PEN, u64::from(field.pen));
    writer.uint(element_tag::ID, u64::from(field.id));
    writer.bytes(element_tag::VALUE, value);
    if let Some(element) = element {
        writer.bytes(element_tag::NAME, element.name.as_bytes());
        let text = elements::Rendered { data_type: element.data_type, value };
        writer.display(element_tag::TEXT, &text);
    }
    writer.uint(element_tag::SCOPE, u64::from(field.scope));
    writer.end_nested(nested);
}

/// Octets behind the last record that mean nothing (RFC 7011 3.3.1).
fn is_padding(rest: &[u8]) -> bool {
    rest.iter().all(|&byte| byte == 0)
}
