//! Elements that a record keeps as they are, in `FlowRecord.extra`.

use super::step::Step;
use crate::data_set::element_tag as tag;
use crate::elements::{DataType, Rendered};
use crate::protobuf::{Delimiting, RecordBuffer, RecordWriter};
use crate::record::flow;
use crate::record_field::registered;
use crate::template::FieldSpecifier;

/// One element.
#[derive(Debug)]
pub(super) struct ExtraStep {
    pub(super) step: Step,
    /// Numbers and name, encoded.
    head: Box<[u8]>,
    data_type: Option<DataType>,
}

impl ExtraStep {
    pub(super) fn new(specifier: &FieldSpecifier, step: Step) -> Self {
        let element = registered(specifier.pen, specifier.id);
        let mut buffer = RecordBuffer::new(64, Delimiting::Length);
        let mut writer = buffer.begin();
        writer.uint(tag::PEN, u64::from(specifier.pen));
        writer.uint(tag::ID, u64::from(specifier.id));
        writer.bytes(tag::NAME, element.map_or("", |element| element.name).as_bytes());
        writer.finish();
        let head = buffer.iter().next().unwrap_or_default().into();
        Self { step, head, data_type: element.map(|element| element.data_type) }
    }

    /// Writes the element with these octets; one without any is left out.
    pub(super) fn write(&self, value: &[u8], out: &mut RecordWriter<'_>) {
        if value.is_empty() {
            return;
        }
        let nested = out.begin_nested(flow::EXTRA);
        out.raw(&self.head);
        out.bytes(tag::VALUE, value);
        if let Some(data_type) = self.data_type {
            out.display(tag::TEXT, &Rendered { data_type, value });
        }
        out.end_nested(nested);
    }
}
