//! IPFIX (RFC 7011).
//!
//! ```text
//! header            0 version 10 | 2 length | 4 export time | 8 sequence | 12 observation domain    16 octets  (3.1)
//! field             0 E bit, element id | 2 length | 4 enterprise number where E is set                        (3.2)
//! template          0 id | 2 field count | fields                                                            (3.4.1)
//! options template  0 id | 2 field count | 4 scope field count | fields, scope fields first                (3.4.2.2)
//! withdrawal        0 id | 2 field count 0                                                                     (8.1)
//! ```

use crate::clock::{Clock, Origin};
use crate::cursor::{Cursor, EndOfInput};
use crate::data_set::MessageHeader;
use crate::error::{Malformed, Reason};
use crate::template::{FieldSpecifier, TemplateKind, VARIABLE};
use crate::template_record::{BadTemplate, TemplateRecord};

/// Octets of the message header.
pub(crate) const HEADER: usize = 16;
/// The bit that says an enterprise number follows.
const ENTERPRISE: u16 = 0x8000;

/// Reads the message header; the second value is the message's length.
pub(crate) fn header(cursor: &mut Cursor<'_>) -> Result<(MessageHeader, usize, Clock), EndOfInput> {
    let _version = cursor.u16()?;
    let length = cursor.u16()?;
    let export_time = cursor.u32()?;
    let sequence = cursor.u32()?;
    let domain = cursor.u32()?;
    let clock = Clock { export_ns: u64::from(export_time) * 1_000_000_000, origin: Origin::Unknown };
    Ok((MessageHeader { version: 10, domain, sequence, export_time }, usize::from(length), clock))
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
    if count == 0 {
        return Ok(TemplateRecord::Withdrawal);
    }
    let at = body.offset();
    let scope_count = match kind {
        TemplateKind::Data => 0,
        TemplateKind::Options => body.u16().map_err(&lost)?,
    };
    for index in 0..count {
        let element = body.u16().map_err(&lost)?;
        let length = body.u16().map_err(&lost)?;
        let pen = if element & ENTERPRISE != 0 { body.u32().map_err(&lost)? } else { 0 };
        let variable = length == VARIABLE;
        fields.push(FieldSpecifier {
            pen,
            id: element & !ENTERPRISE,
            length,
            variable,
            scope: index < scope_count,
        });
    }
    if scope_count > count {
        return Err(BadTemplate {
            error: Malformed::at(Reason::TemplateScope, at),
            id: Some(id),
            next_is_known: true,
        });
    }
    Ok(TemplateRecord::Template { id, kind })
}
