//! What can be wrong with input, where it was, and in which set or sample.
//!
//! A [`Reason`] is a closed set: it labels counters, so that damage is countable without log lines. A [`Malformed`] adds
//! the byte offset and the path, for people (`decode` prints it) and for tests.

use std::fmt;

use crate::cursor::EndOfInput;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal, $text:literal;)*) => {
        /// Why a datagram, set, template, record or sample was not decoded.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// All reasons, in the order of their discriminants.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// The metric label.
            pub fn label(self) -> &'static str {
                match self { $(Reason::$name => $label,)* }
            }

            /// The sentence for people.
            pub fn text(self) -> &'static str {
                match self { $(Reason::$name => $text,)* }
            }
        }
    };
}

reasons! {
    /// Shorter than the header of its protocol, or empty.
    ShortHeader = "short_header", "datagram is shorter than its header";
    /// The version word names no protocol that is decoded here.
    UnknownVersion = "unknown_version", "version word names no known protocol";
    /// The receive buffer (MSG_TRUNC), or the snap length of a capture, cut the datagram.
    Truncated = "truncated", "datagram was cut by the receive buffer or a snap length";
    /// The exporter is not on the listener's allow list.
    NotAllowed = "not_allowed", "exporter is not on the allow list";
    /// A header's length or count does not fit the datagram.
    HeaderLength = "header_length", "header length or count does not fit the datagram";
    /// A set's length is below 4 or beyond the message.
    SetLength = "set_length", "set length does not fit the message";
    /// A set id that the protocol reserves.
    ReservedSet = "reserved_set", "set id is reserved";
    /// A template id below 256.
    TemplateId = "template_id", "template id is below 256";
    /// A template is cut by the end of its set.
    TemplateTruncated = "template_truncated", "template goes beyond its set";
    /// A template without fields, or with too many (or only) fields that have no length.
    TemplateEmpty = "template_empty", "template has no fields, or too many without bytes";
    /// A template with too many fields, or by which a record could not fit a message.
    TemplateTooLong = "template_too_long", "template has too many fields, or records longer than a message";
    /// An options template whose scope is 0 or above its field count, or no whole number of fields.
    TemplateScope = "template_scope", "options template has an impossible scope";
    /// The exporter or the node has as many templates as the configuration lets it have.
    TemplateLimit = "template_limit", "too many templates";
    /// A data set whose template is not known.
    NoTemplate = "no_template", "no template for this set";
    /// Source ports of one exporter disagree on the template, and this port has announced none.
    TemplateConflict = "template_conflict", "source ports disagree on this template";
    /// A data set too short for one record, or a record that goes beyond its set.
    RecordTruncated = "record_truncated", "record goes beyond its set";
    /// An sFlow sample that goes beyond the datagram.
    SampleLength = "sample_length", "sample goes beyond the datagram";
    /// An sFlow sample whose content is damaged.
    SampleMalformed = "sample_malformed", "sample is damaged";
    /// An sFlow record that goes beyond its sample, or is damaged inside.
    SampleRecord = "sample_record", "record of a sample is damaged";
    /// An sFlow sample in a format that is not known.
    UnknownSample = "unknown_sample", "sample format is not known";
    /// Decoding panicked: a defect of the decoder. Also what was read together with it.
    Panicked = "panicked", "decoding panicked";
    /// An sFlow agent address of an unknown type.
    AgentAddress = "agent_address", "agent address type is not known";
    /// A data set whose template was announced before its exporter restarted, and not since.
    TemplateSuspect = "template_suspect", "exporter has restarted since it announced this template";
    /// Structured data that is damaged, or nested too deep; the record around it is kept.
    ListDamaged = "list_damaged", "structured data is damaged or nested too deep";
    /// Records in structured data whose template is not known; the record around them is kept.
    ListTemplate = "list_template", "no template for records in structured data";
    /// Still in the receive buffer when the time for reading was over at shutdown.
    Shutdown = "shutdown", "node stopped before it could be decoded";
}

impl Reason {
    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();
}

/// Which part of a datagram an error is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path {
    /// Set of a v9 or IPFIX message, counted from 1.
    pub set: Option<u32>,
    /// Template or data set id.
    pub template: Option<u16>,
    /// sFlow sample, counted from 1.
    pub sample: Option<u32>,
    /// Record of the set or sample, counted from 1.
    pub record: Option<u32>,
}

/// One thing wrong with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What is wrong.
    pub reason: Reason,
    /// Offset in the datagram (UDP payload) at which it showed.
    pub offset: usize,
    /// Where in the message's structure.
    pub path: Path,
}

impl Malformed {
    /// An error outside of any set or sample.
    pub fn at(reason: Reason, offset: usize) -> Self {
        Self { reason, offset, path: Path::default() }
    }

    /// A read past the end, which means `reason` here.
    pub fn end(reason: Reason, end: EndOfInput) -> Self {
        Self::at(reason, end.offset)
    }

    /// The same error inside of `path`; what the error knows already is kept.
    #[must_use]
    pub fn within(mut self, path: Path) -> Self {
        self.path = Path {
            set: self.path.set.or(path.set),
            template: self.path.template.or(path.template),
            sample: self.path.sample.or(path.sample),
            record: self.path.record.or(path.record),
        };
        self
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: ", self.offset)?;
        if let Some(set) = self.path.set {
            write!(f, "in set {set}: ")?;
        }
        if let Some(template) = self.path.template {
            write!(f, "in template {template}: ")?;
        }
        if let Some(sample) = self.path.sample {
            write!(f, "in sample {sample}: ")?;
        }
        if let Some(record) = self.path.record {
            write!(f, "in record {record}: ")?;
        }
        f.write_str(self.reason.text())
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn labels_are_distinct_and_discriminants_index_all() {
        let labels: HashSet<_> = Reason::ALL.iter().map(|reason| reason.label()).collect();
        assert_eq!(labels.len(), Reason::COUNT);
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }

    #[test]
    fn an_error_reads_from_the_outside_in() {
        let path = Path { set: Some(2), template: Some(256), ..Path::default() };
        let error = Malformed::at(Reason::TemplateTruncated, 34).within(path);
        assert_eq!(error.to_string(), "at byte 34: in set 2: in template 256: template goes beyond its set");
    }
}
