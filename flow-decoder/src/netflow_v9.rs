//! NetFlow version 9 (RFC 3954).
//!
//! ```text
//! header            0 version 9 | 2 count | 4 sysUpTime ms | 8 unix seconds | 12 sequence | 16 source id       20 octets
//! template          0 id | 2 field count | fields: type, length                                              (5.2)
//! options template  0 id | 2 scope octets | 4 option octets | scope fields, option fields: type, length       (6.1)
//! ```
//!
//! The count is not used: exporters disagree on whether it counts records, flow records or sets. A length of 65535 fits no
//! datagram; H3C's NetStream means by it what IPFIX does, that each record says the length (RFC 7011 7).

use crate::clock::{Clock, Origin};
use crate::cursor::{Cursor, EndOfInput};
use crate::data_set::MessageHeader;
use crate::error::{Malformed, Reason};
use crate::template::{FieldSpecifier, TemplateKind, VARIABLE};
use crate::template_record::{BadTemplate, TemplateRecord};

/// Octets of the message header.
pub(crate) const HEADER: usize = 20;
/// Octets of a field specifier.
const FIELD: usize = 4;

/// Reads the message header.
pub(crate) fn header(cursor: &mut Cursor<'_>) -> Result<(MessageHeader, Clock), EndOfInput> {
    let _version = cursor.u16()?;
    let _count = cursor.u16()?;
    let uptime = cursor.u32()?;
    let export_time = cursor.u32()?;
    let sequence = cursor.u32()?;
    let domain = cursor.u32()?;
    let clock = Clock { export_ns: u64::from(export_time) * 1_000_000_000, origin: Origin::Uptime(uptime) };
    Ok((MessageHeader { version: 9, domain, sequence, export_time }, clock))
}

/// Reads one record of a template set or options template set.
pub(crate) fn template_record(
    body: &mut Cursor<'_>,
    kind: TemplateKind,
    fields: &mut Vec<FieldSpecifier>,
) -> Result<TemplateRecord, BadTemplate> {
    let id = body.u16().map_err(BadTemplate::truncated(None))?;
    let lost = BadTemplate::truncated(Some(id));
    let count = body.u16().map_err(&lost)?;
    let (scope_len, len) = match kind {
        TemplateKind::Data => (0, usize::from(count) * FIELD),
        TemplateKind::Options => {
            let option_len = body.u16().map_err(&lost)?;
            (usize::from(count), usize::from(count) + usize::from(option_len))
        }
    };
    let mut list = body.sub(len).map_err(&lost)?;
    if scope_len % FIELD != 0 || len % FIELD != 0 {
        let error = Malformed::at(Reason::TemplateScope, list.offset());
        return Err(BadTemplate { error, id: Some(id), next_is_known: true });
    }
    let scope_end = list.offset() + scope_len;
    while !list.is_empty() {
        let scope = list.offset() < scope_end;
        let field_type = list.u16().map_err(&lost)?;
        let length = list.u16().map_err(&lost)?;
        let variable = length == VARIABLE;
        fields.push(FieldSpecifier { pen: 0, id: field_type, length, variable, scope });
    }
    Ok(TemplateRecord::Template { id, kind })
}
