//! An sFlow datagram and its samples.
//!
//! ```text
//!  0 version 4 = 5
//!  4 agent address: type 4 (1 IPv4, 2 IPv6) | 4 or 16
//!    sub-agent id 4 | datagram sequence 4 | agent uptime in ms 4 | samples 4
//!    sample: enterprise 20 bits, format 12 bits | length 4 | body
//! ```
//!
//! A sample ends where its length says. Two kinds of exporters say it wrong and are still understood: where the length passes
//! the datagram, or is shorter than the records in it while what follows them is the next sample (or the end), the records
//! are believed. Both are counted as [`Reason::SampleLength`].

use std::net::IpAddr;

use super::records::{Walk, word};
use super::{counter_sample, drop_sample, flow_sample};
use crate::cursor::{Cursor, EndOfInput};
use crate::datagram::{AddressOctets, Context, Datagram, ExporterName, octets};
use crate::error::{Malformed, Path, Reason};
use crate::overrides::Sampling;
use crate::protobuf::RecordWriter;
use crate::protocol::Protocol;
use crate::record::flow;
use crate::sequences::{Covers, SFLOW_VERSION, SampleNumbers, SequenceKey};
use crate::shared_fields::SharedFields;
use crate::sink::{Sink, WireSample};

/// What all samples of a datagram share.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    /// Source address of the datagram.
    pub source: AddressOctets,
    /// Agent address, 4 or 16 bytes.
    pub agent: &'a [u8],
    pub sub_agent: u32,
    pub sequence: u32,
    pub uptime_ms: u32,
    pub received_ns: u64,
    pub zone: &'a str,
    pub collector_node: &'a str,
    pub exporter_name: ExporterName,
    pub sampling: Sampling,
    /// Whether records of flow samples that fill no field are kept.
    pub keep_unknown: bool,
    /// The fields that all flow records of the datagram share, encoded.
    pub shared: &'a [u8],
}

impl Origin<'_> {
    /// Writes the fields that all flow records of the datagram share.
    fn write(&self, writer: &mut RecordWriter<'_>) {
        writer.uint(flow::TYPE, Protocol::Sflow.flow_type());
        writer.uint(flow::SEQUENCE_NUM, u64::from(self.sequence));
        let source = self.source.as_ref();
        let sampler = match self.exporter_name {
            ExporterName::Address => source,
            ExporterName::Agent => self.agent,
        };
        writer.bytes(flow::SAMPLER_ADDRESS, sampler);
        if self.agent != sampler {
            writer.bytes(flow::AGENT_ADDRESS, self.agent);
        }
        writer.uint(flow::OBSERVATION_DOMAIN_ID, u64::from(self.sub_agent));
        for tag in [flow::TIME_RECEIVED_NS, flow::TIME_FLOW_START_NS, flow::TIME_FLOW_END_NS] {
            writer.uint(tag, self.received_ns);
        }
        writer.bytes(flow::ZONE, self.zone.as_bytes());
        writer.bytes(flow::COLLECTOR_NODE, self.collector_node.as_bytes());
    }
}

/// The sample formats of enterprise 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SampleKind {
    Flow,
    ExpandedFlow,
    Counters,
    ExpandedCounters,
    Drop,
}

impl SampleKind {
    fn of(data_format: u32) -> Option<Self> {
        match data_format {
            1 => Some(Self::Flow),
            2 => Some(Self::Counters),
            3 => Some(Self::ExpandedFlow),
            4 => Some(Self::ExpandedCounters),
            5 => Some(Self::Drop),
            _ => None,
        }
    }

    /// Bytes of a sample before its records; the last word of them is the number of records.
    fn head_len(self) -> usize {
        match self {
            Self::Counters => 12,
            Self::ExpandedCounters => 16,
            Self::Flow | Self::Drop => 32,
            Self::ExpandedFlow => 44,
        }
    }
}

/// A sample whose extent is known.
#[derive(Clone, Copy)]
pub(super) struct Sample<'a> {
    pub kind: SampleKind,
    /// The words before the record count.
    pub head: Cursor<'a>,
    pub record_count: u32,
    pub records: Cursor<'a>,
    /// Where it is, for errors.
    pub path: Path,
}

impl Sample<'_> {
    /// Its sequence number, and the data source that counts it: class in the upper 8 bits, as flow samples have it.
    fn number(&self) -> Option<(u32, u32)> {
        let word = |at| word(self.head.rest(), at);
        let source = match self.kind {
            SampleKind::Flow | SampleKind::Counters => word(4)?,
            _ => word(4)? << 24 | word(8)? & 0xff_ffff,
        };
        Some((word(0)?, source))
    }
}

struct Header<'a> {
    agent: &'a [u8],
    sub_agent: u32,
    sequence: u32,
    uptime_ms: u32,
    sample_count: u32,
}

fn header<'a>(cursor: &mut Cursor<'a>) -> Result<Header<'a>, Malformed> {
    let short = |end: EndOfInput| Malformed::end(Reason::ShortHeader, end);
    cursor.take(4).map_err(short)?; // the version, which chose this decoder
    let at = cursor.offset();
    let len = match cursor.u32().map_err(short)? {
        1 => 4,
        2 => 16,
        _ => return Err(Malformed::at(Reason::AgentAddress, at)),
    };
    Ok(Header {
        agent: cursor.take(len).map_err(short)?,
        sub_agent: cursor.u32().map_err(short)?,
        sequence: cursor.u32().map_err(short)?,
        uptime_ms: cursor.u32().map_err(short)?,
        sample_count: cursor.u32().map_err(short)?,
    })
}

/// Decodes one datagram. An error means that its header is of no use; damage further in is counted in the context.
pub(crate) fn decode<S: Sink>(
    context: &mut Context<'_, S>,
    shared: &mut SharedFields,
) -> Result<(), Malformed> {
    let datagram = context.datagram;
    let mut cursor = Cursor::new(datagram.payload, 0);
    let header = header(&mut cursor)?;
    let options = context.options;
    let origin = Origin {
        source: octets(&datagram.source.ip()),
        agent: header.agent,
        sub_agent: header.sub_agent,
        sequence: header.sequence,
        uptime_ms: header.uptime_ms,
        received_ns: datagram.received_ns,
        zone: options.zone(datagram.zone),
        collector_node: &options.collector_node,
        exporter_name: options.exporter_name,
        sampling: context.treatment().sampling,
        keep_unknown: context.treatment().keeps_unknown(),
        shared: &[],
    };
    shared.encode(|writer| origin.write(writer));
    let origin = Origin { shared: shared.as_bytes(), ..origin };
    let key = sequence_key(datagram, &header);
    context.sequences.note(key, header.sequence, Covers::Known(1));
    let mut numbers = SampleNumbers::of(key);
    let whole = samples(context, &origin, &mut numbers, &mut cursor, header.sample_count);
    numbers.finish(context.sequences);
    if whole && !cursor.is_empty() {
        let behind = Malformed::at(Reason::HeaderLength, cursor.offset());
        context.damaged(behind, Path::default());
    }
    Ok(())
}

/// Decodes so many samples; false where one is damaged so that nothing says where the next would begin.
fn samples<S: Sink>(
    context: &mut Context<'_, S>,
    origin: &Origin<'_>,
    numbers: &mut SampleNumbers,
    cursor: &mut Cursor<'_>,
    count: u32,
) -> bool {
    for number in 1..=count {
        let path = Path { sample: Some(number), ..Path::default() };
        if let Err(error) = sample(context, origin, numbers, cursor, path, count - number) {
            context.damaged(error, path);
            return false;
        }
    }
    true
}

/// The space of the datagram's number: the agent's, whatever address and port it comes from. Agents that do not know their
/// address say 0.0.0.0.
fn sequence_key(datagram: &Datagram<'_>, header: &Header<'_>) -> SequenceKey {
    let agent = match header.agent {
        &[a, b, c, d] => IpAddr::from([a, b, c, d]),
        agent => <[u8; 16]>::try_from(agent).map_or(datagram.source.ip(), IpAddr::from),
    };
    let exporter = if agent.is_unspecified() { datagram.source.ip() } else { agent };
    SequenceKey {
        zone: datagram.zone,
        exporter,
        port: 0,
        version: SFLOW_VERSION,
        domain: header.sub_agent,
        data_source: None,
    }
}

/// Decodes the sample that `cursor` stands at, when `left` more are to come.
fn sample<S: Sink>(
    context: &mut Context<'_, S>,
    origin: &Origin<'_>,
    numbers: &mut SampleNumbers,
    cursor: &mut Cursor<'_>,
    path: Path,
    left: u32,
) -> Result<(), Malformed> {
    let cut = |end: EndOfInput| Malformed::end(Reason::SampleLength, end);
    let start = cursor.offset();
    let data_format = cursor.u32().map_err(cut)?;
    let declared = cursor.u32().map_err(cut)? as usize;
    let kind = SampleKind::of(data_format);
    let len = extent(cursor.rest(), kind, declared, left);
    if len != declared {
        context.damaged(Malformed::at(Reason::SampleLength, start), path);
    }
    let mut body = cursor.sub(len).map_err(cut)?;
    let Some(kind) = kind else {
        observe(context, origin, data_format, None);
        context.damaged(Malformed::at(Reason::UnknownSample, start), path);
        return Ok(());
    };
    let head = body.sub(kind.head_len() - 4);
    let (Ok(head), Ok(record_count)) = (head, body.u32()) else {
        observe(context, origin, data_format, None);
        context.damaged(Malformed::at(Reason::SampleMalformed, start), path);
        return Ok(());
    };
    let sample = Sample { kind, head, record_count, records: body, path };
    observe(context, origin, data_format, Some(&sample));
    match kind {
        SampleKind::Flow | SampleKind::ExpandedFlow => {
            if let Some((sequence, data_source)) = sample.number() {
                numbers.note(context.sequences, data_source, sequence);
            }
            flow_sample::decode(context, origin, &sample);
        }
        SampleKind::Counters | SampleKind::ExpandedCounters => {
            counter_sample::decode(context, origin, &sample);
        }
        SampleKind::Drop => drop_sample::decode(context, origin, &sample),
    }
    Ok(())
}

/// How many bytes of `rest` the sample takes, which the agent says are `declared`.
fn extent(rest: &[u8], kind: Option<SampleKind>, declared: usize, left: u32) -> usize {
    let records_end = kind.and_then(|kind| {
        let count = word(rest, kind.head_len() - 4)?;
        Some(kind.head_len() + Walk::new(rest.get(kind.head_len()..)?, count).whole_len()?)
    });
    match records_end {
        _ if declared <= rest.len() && records_end.is_none_or(|end| end <= declared) => declared,
        Some(end) if begins_sample(rest, end, left) && !begins_sample(rest, declared, left) => end,
        _ => declared.min(rest.len()),
    }
}

/// Whether a known sample of a length that can be begins at `at`; or the end is there, where none is to come.
fn begins_sample(rest: &[u8], at: usize, left: u32) -> bool {
    if left == 0 {
        return at == rest.len();
    }
    let (Some(data_format), Some(len)) = (word(rest, at), word(rest, at + 4)) else { return false };
    let (len, fits) = (len as usize, rest.len() - at - 8);
    SampleKind::of(data_format).is_some_and(|kind| (kind.head_len()..=fits).contains(&len))
}

fn observe<S: Sink>(
    context: &mut Context<'_, S>,
    origin: &Origin<'_>,
    data_format: u32,
    sample: Option<&Sample<'_>>,
) {
    if !S::OBSERVES {
        return;
    }
    let head = |at| sample.and_then(|sample| word(sample.head.rest(), at));
    let sampling_rate = match sample.map(|sample| sample.kind) {
        Some(SampleKind::Flow) => head(8),
        Some(SampleKind::ExpandedFlow) => head(12),
        _ => None,
    };
    context.sink.observe_sample(&WireSample {
        agent: origin.agent,
        sub_agent: origin.sub_agent,
        enterprise: data_format >> 12,
        format: data_format & 0xfff,
        sequence: head(0),
        sampling_rate,
        records: sample.map_or(&[], |sample| sample.records.rest()),
        record_count: sample.map_or(0, |sample| sample.record_count),
    });
}
