//! A template: which elements a record holds, in which order and length.
//!
//! A [`Template`] is valid by construction: it has at least one byte a record, no record by it is longer than a message,
//! and its scope fields come first. Its fields are bounded, so that neither its memory nor the work for a record can be
//! out of proportion to the octets that were sent.

use crate::error::Reason;

/// Length that stands for "variable" in a template (RFC 7011 7).
pub const VARIABLE: u16 = 0xffff;

/// Lowest id of a template, and of a data set.
pub(crate) const FIRST_TEMPLATE: u16 = 256;

/// Fields of a template, at most. Exporters announce some dozens.
pub const MAX_FIELDS: usize = 1024;

/// Fields without octets in a template, at most; also no more than a record has octets. Each costs work in each record, and
/// is written into each options record.
pub const MAX_EMPTY_FIELDS: usize = 16;

/// What records by a template are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TemplateKind {
    /// Flow records.
    Data,
    /// Options records.
    Options,
}

/// One field of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldSpecifier {
    /// Enterprise number; 0 for IANA's elements and for NetFlow v9 types.
    pub pen: u32,
    /// Element id, or v9 field type, or v9 scope type.
    pub id: u16,
    /// Length in octets; [`VARIABLE`] where `variable` is set.
    pub length: u16,
    /// Whether each record says the length itself.
    pub variable: bool,
    /// Whether it is a scope field of an options template.
    pub scope: bool,
}

impl FieldSpecifier {
    /// A field of IANA's registry with a fixed length.
    pub const fn iana(id: u16, length: u16) -> Self {
        Self { pen: 0, id, length, variable: false, scope: false }
    }

    /// Length of this field at the front of `record`, and of the prefix that says it (RFC 7011 7): 0, 1 or 3 octets.
    pub fn length_in(&self, record: &[u8]) -> Option<(usize, usize)> {
        if !self.variable {
            return Some((usize::from(self.length), 0));
        }
        match *record {
            [255, high, low, ..] => Some((usize::from(u16::from_be_bytes([high, low])), 3)),
            [255, ..] | [] => None,
            [length, ..] => Some((usize::from(length), 1)),
        }
    }
}

/// A validated template. Templates have a total order, so that of two nobody knows which is the later all nodes take the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Template {
    kind: TemplateKind,
    fields: Box<[FieldSpecifier]>,
    min_record_len: usize,
    variable: bool,
}

impl Template {
    /// Validates a template's fields.
    pub fn new(kind: TemplateKind, fields: impl Into<Box<[FieldSpecifier]>>) -> Result<Self, Reason> {
        let fields = fields.into();
        let min = |field: &FieldSpecifier| if field.variable { 1 } else { usize::from(field.length) };
        let min_record_len = fields.iter().map(min).sum();
        let variable = fields.iter().any(|field| field.variable);
        let empty = fields.iter().filter(|field| min(field) == 0).count();
        match min_record_len {
            _ if fields.len() > MAX_FIELDS => Err(Reason::TemplateTooLong),
            0 => Err(Reason::TemplateEmpty),
            octets if empty > MAX_EMPTY_FIELDS.min(octets) => Err(Reason::TemplateEmpty),
            1..=0xffff => Ok(Self { kind, fields, min_record_len, variable }),
            _ => Err(Reason::TemplateTooLong),
        }
    }

    /// What records by it are.
    pub fn kind(&self) -> TemplateKind {
        self.kind
    }

    /// Its fields in wire order.
    pub fn fields(&self) -> &[FieldSpecifier] {
        &self.fields
    }

    /// Octets of a record, at least; exactly where no field is variable.
    pub fn min_record_len(&self) -> usize {
        self.min_record_len
    }

    /// Whether records differ in length.
    pub fn is_variable(&self) -> bool {
        self.variable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_without_bytes_or_too_long_are_refused() {
        let zero = [FieldSpecifier::iana(1, 0), FieldSpecifier::iana(2, 0)];
        assert_eq!(Template::new(TemplateKind::Data, zero), Err(Reason::TemplateEmpty));
        assert_eq!(Template::new(TemplateKind::Data, []), Err(Reason::TemplateEmpty));
        let long = [FieldSpecifier::iana(1, 0xfff0), FieldSpecifier::iana(2, 0x10)];
        assert_eq!(Template::new(TemplateKind::Data, long), Err(Reason::TemplateTooLong));
        let one_zero = [FieldSpecifier::iana(1, 0), FieldSpecifier::iana(2, 4)];
        assert_eq!(Template::new(TemplateKind::Data, one_zero).unwrap().min_record_len(), 4);
    }

    #[test]
    fn variable_lengths_take_one_or_three_octets() {
        let field = FieldSpecifier { length: VARIABLE, variable: true, ..FieldSpecifier::iana(82, 0) };
        assert_eq!(field.length_in(&[5, 0]), Some((5, 1)));
        assert_eq!(field.length_in(&[0]), Some((0, 1)));
        assert_eq!(field.length_in(&[255, 1, 0]), Some((256, 3)));
        assert_eq!(field.length_in(&[255, 0, 3]), Some((3, 3)), "long form below 255 is legal");
        assert_eq!(field.length_in(&[255, 1]), None);
        assert_eq!(field.length_in(&[]), None);
    }
}
