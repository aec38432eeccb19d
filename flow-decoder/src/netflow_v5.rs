//! NetFlow versions 1, 5 and 7: fixed layouts, decoded by the same plans as templates.
//!
//! ```text
//! header  0 version | 2 count | 4 sysUpTime ms | 8 unix seconds | 12 nanoseconds        16 octets: v1
//!         16 flow sequence | 20 engine type, engine id, sampling mode (2 bits) and interval (14)   24: v5
//!         16 flow sequence | 20 reserved                                                            24: v7
//! record  48 octets (v1, v5), 52 (v7): the element lists below
//! ```

use std::sync::Arc;

use crate::clock::{Clock, Origin};
use crate::cursor::{Cursor, EndOfInput};
use crate::data_set::{MessageHeader, Records};
use crate::datagram::Context;
use crate::error::{Malformed, Path, Reason};
use crate::options::OptionsState;
use crate::plan::{Located, Plan, Scene};
use crate::protocol::Protocol;
use crate::sequences::Covers;
use crate::shared_fields::SharedFields;
use crate::sink::Sink;
use crate::structured::InnerTemplates;
use crate::template::{FieldSpecifier, Template, TemplateKind};

/// paddingOctets (210).
const PADDING: u16 = 210;

/// (element, octets) of a v1 record.
const V1: &[(u16, u16)] = &[
    (8, 4),
    (12, 4),
    (15, 4),
    (10, 2),
    (14, 2),
    (2, 4),
    (1, 4),
    (22, 4),
    (21, 4),
    (7, 2),
    (11, 2),
    (PADDING, 2),
    (4, 1),
    (5, 1),
    (6, 1),
    (PADDING, 7),
];

/// (element, octets) of a v5 record.
const V5: &[(u16, u16)] = &[
    (8, 4),
    (12, 4),
    (15, 4),
    (10, 2),
    (14, 2),
    (2, 4),
    (1, 4),
    (22, 4),
    (21, 4),
    (7, 2),
    (11, 2),
    (PADDING, 1),
    (6, 1),
    (4, 1),
    (5, 1),
    (16, 2),
    (17, 2),
    (9, 1),
    (13, 1),
    (PADDING, 2),
];

/// (element, octets) that a v7 record has behind those of v5: the router that the switch bypassed.
const V7_TAIL: &[(u16, u16)] = &[(130, 4)];

/// The bits of v5's sampling word that are the interval; the two above are the mode.
const SAMPLING_INTERVAL: u16 = 0x3fff;

/// Plans of the three layouts.
#[derive(Debug)]
pub(crate) struct FixedLayouts {
    v1: Arc<Plan>,
    v5: Arc<Plan>,
    v7: Arc<Plan>,
    /// What options data says in these versions, which have none.
    nothing: OptionsState,
}

impl FixedLayouts {
    pub(crate) fn new() -> Self {
        Self {
            v1: compile(V1),
            v5: compile(V5),
            v7: compile(&[V5, V7_TAIL].concat()),
            nothing: OptionsState::default(),
        }
    }
}

fn compile(fields: &[(u16, u16)]) -> Arc<Plan> {
    let fields: Vec<_> = fields.iter().map(|&(id, length)| FieldSpecifier::iana(id, length)).collect();
    let template = Template::new(TemplateKind::Data, fields).expect("the layouts above have octets");
    Arc::new(Plan::compile(template))
}

struct Header {
    count: u16,
    clock: Clock,
    export_time: u32,
    sequence: u32,
    engine: u32,
    sampling_rate: u64,
}

fn header(protocol: Protocol, cursor: &mut Cursor<'_>) -> Result<Header, EndOfInput> {
    let _version = cursor.u16()?;
    let count = cursor.u16()?;
    let uptime = cursor.u32()?;
    let seconds = cursor.u32()?;
    let nanoseconds = cursor.u32()?;
    let export_ns = u64::from(seconds) * 1_000_000_000 + u64::from(nanoseconds);
    let clock = Clock { export_ns, origin: Origin::Uptime(uptime) };
    let mut header = Header { count, clock, export_time: seconds, sequence: 0, engine: 0, sampling_rate: 0 };
    if protocol != Protocol::NetflowV1 {
        header.sequence = cursor.u32()?;
        let (engine, sampling) = (cursor.u16()?, cursor.u16()?);
        if protocol == Protocol::NetflowV5 {
            header.engine = u32::from(engine);
            header.sampling_rate = u64::from(sampling & SAMPLING_INTERVAL);
        }
    }
    Ok(header)
}

/// Decodes a v1, v5 or v7 datagram.
pub(crate) fn decode<S: Sink>(
    context: &mut Context<'_, S>,
    layouts: &FixedLayouts,
    protocol: Protocol,
    shared: &mut SharedFields,
    located: &mut Located,
) -> Result<(), Malformed> {
    let payload = context.datagram.payload;
    let mut cursor = Cursor::new(payload, 0);
    let header = header(protocol, &mut cursor).map_err(|end| Malformed::end(Reason::ShortHeader, end))?;
    let plan = match protocol {
        Protocol::NetflowV1 => &layouts.v1,
        Protocol::NetflowV7 => &layouts.v7,
        _ => &layouts.v5,
    };
    let record_len = plan.template().min_record_len();
    let present = cursor.remaining() / record_len;
    let announced = usize::from(header.count);
    if present == 0 && announced > 0 {
        return Err(Malformed::at(Reason::HeaderLength, cursor.offset()));
    }
    if announced * record_len != cursor.remaining() {
        context.wrong_length(announced * record_len, cursor.remaining());
    }
    let body = cursor
        .sub(announced.min(present) * record_len)
        .map_err(|end| Malformed::end(Reason::HeaderLength, end))?;
    let message = MessageHeader {
        version: protocol.version(),
        domain: header.engine,
        sequence: header.sequence,
        export_time: header.export_time,
    };
    if protocol != Protocol::NetflowV1 {
        // Version 1 has no sequence number.
        let key = context.sequence_key(message.version, message.domain);
        context.sequences.note(key, header.sequence, Covers::Known(u32::from(header.count)));
    }
    shared.begin(context.datagram, context.options, protocol, &message);
    shared.for_set(plan, context.treatment().sampling.of(header.sampling_rate));
    let scene = Scene {
        payload,
        clock: &header.clock,
        options: &layouts.nothing,
        shared: shared.as_bytes(),
        has_names: false,
        by_interface: false,
        templates: InnerTemplates::none(),
    };
    let path = Path::default();
    let records = Records { plan, scene, set: None, header: message, path, pass: None, check_lists: false };
    records.decode(context, located, body, |_| {}).map_err(|(error, path)| error.within(path))
}
