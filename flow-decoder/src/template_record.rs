//! What a template set holds record by record, in NetFlow v9 and IPFIX alike.

use crate::cursor::EndOfInput;
use crate::error::{Malformed, Reason};
use crate::template::TemplateKind;

/// What a template set holds next.
pub(crate) enum TemplateRecord {
    /// A template; its fields are in the workspace.
    Template { id: u16, kind: TemplateKind },
    /// A withdrawal (RFC 7011 8.1).
    Withdrawal,
}

/// A record of a template set that cannot be used.
pub(crate) struct BadTemplate {
    pub(crate) error: Malformed,
    pub(crate) id: Option<u16>,
    /// Whether the next record can be found nevertheless.
    pub(crate) next_is_known: bool,
}

impl BadTemplate {
    /// A record that its set cuts short, of the template with this id where that was read.
    pub(crate) fn truncated(id: Option<u16>) -> impl Fn(EndOfInput) -> Self {
        move |end| Self { error: Malformed::end(Reason::TemplateTruncated, end), id, next_is_known: false }
    }
}
