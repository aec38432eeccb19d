//! The one entry: a datagram in, records out.

use std::sync::Arc;

use catchment_sequence::SpaceReport;

use crate::cursor::Cursor;
use crate::datagram::{Context, Datagram, DecoderOptions, Extent};
use crate::error::{Malformed, Path, Reason};
use crate::exporter_store::ExporterStore;
use crate::netflow_v5::FixedLayouts;
use crate::order::Stamp;
use crate::pending::HeldSet;
use crate::plan::Located;
use crate::protocol::Protocol;
use crate::sequences::{Covers, SequenceKey, Sequences};
use crate::session::{Session, SessionKey};
use crate::session_table::SessionTable;
use crate::sets::{Message, Workspace};
use crate::shared_fields::SharedFields;
use crate::sink::{HeldOrigin, Sink, Stream};
use crate::statistics::Statistics;
use crate::{ipfix, netflow_v5, netflow_v9, sflow};

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of it was decoded.
    Decoded,
    /// Part of it was; the rest is counted.
    PartlyDecoded,
    /// None of it could be used.
    Rejected(Reason),
}

/// Decodes datagrams on one thread.
#[derive(Debug)]
pub struct Decoder {
    store: Arc<ExporterStore>,
    options: DecoderOptions,
    statistics: Statistics,
    layouts: FixedLayouts,
    sessions: SessionTable,
    workspace: Workspace,
    sequences: Sequences,
    /// Grows with every change of the options, so that sessions notice.
    turn: u64,
}

impl Decoder {
    /// A decoder that shares what it learns through `store`.
    pub fn new(store: Arc<ExporterStore>, options: DecoderOptions) -> Self {
        let workspace = Workspace {
            shared: SharedFields::new(),
            located: Located::default(),
            fields: Vec::new(),
            looked_up: 0,
        };
        Self {
            store,
            options,
            statistics: Statistics::default(),
            layouts: FixedLayouts::new(),
            sessions: SessionTable::default(),
            workspace,
            sequences: Sequences::default(),
            turn: 1,
        }
    }

    /// A decoder with the same settings and store that has counted nothing, for after a panic of this one.
    #[must_use]
    pub fn fresh(&self) -> Self {
        Self::new(self.store.clone(), self.options.clone())
    }

    /// The store that it shares with others.
    pub fn store(&self) -> &ExporterStore {
        &self.store
    }

    /// Changes the settings, for all datagrams from now on.
    pub fn set_options(&mut self, options: DecoderOptions) {
        self.options = options;
        self.turn += 1;
    }

    /// What has been counted since the decoder was made.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Lets the next [`Decoder::take_sequences`] hand out what would wait until it is known how an exporter numbers: for the
    /// last report.
    pub fn finish_sequences(&mut self) {
        self.sequences.finish();
    }

    /// Hands out which sequence numbers came since the last time, by sequence space.
    pub fn take_sequences(&mut self, each: impl FnMut(&SequenceKey, SpaceReport)) {
        self.sequences.take(each);
        self.statistics.sequences_untracked = self.sequences.untracked();
    }

    /// Decodes one datagram.
    pub fn decode<S: Sink>(&mut self, datagram: &Datagram<'_>, sink: &mut S) -> Verdict {
        self.statistics.datagrams.received += 1;
        let decoded = if datagram.truncated {
            self.decode_cut(datagram, sink)
        } else {
            self.decode_payload(datagram, sink)
        };
        match decoded {
            Ok(Extent::Whole) => {
                self.statistics.datagrams.decoded += 1;
                Verdict::Decoded
            }
            Ok(Extent::Partly) => {
                self.statistics.datagrams.partly_decoded += 1;
                Verdict::PartlyDecoded
            }
            Err(error) => self.rejected(&error, sink),
        }
    }

    /// Counts a datagram that is refused before it is looked at (an allow list, say).
    pub fn refuse<S: Sink>(&mut self, reason: Reason, sink: &mut S) -> Verdict {
        self.statistics.datagrams.received += 1;
        self.rejected(&Malformed::at(reason, 0), sink)
    }

    /// Whether sets that waited for their template can be decoded now. Cheap, to be asked often.
    #[inline]
    pub fn has_released(&self) -> bool {
        self.store.pending().has_ready()
    }

    /// Decodes sets whose template has come since, whichever decoder held them, oldest first and `max` at most; says how
    /// many. [`Sink::begin_held`] is called before each.
    pub fn decode_released<S: Sink>(&mut self, max: usize, sink: &mut S) -> usize {
        for count in 0..max {
            let Some(held) = self.store.next_ready() else { return count };
            self.statistics.sets.released += 1;
            if let Some(held) = self.decode_held(held, sink) {
                // It has been counted as held, and was not released after all.
                self.statistics.sets.released -= 1;
                self.store.hold(held);
            }
        }
        max
    }

    /// Decodes a set that has waited; gives it back where it has to wait on.
    fn decode_held<S: Sink>(&mut self, held: HeldSet, sink: &mut S) -> Option<HeldSet> {
        let HeldSet { ref payload, source, received_ns, number, .. } = held;
        let zone = held.scope.zone;
        sink.begin_held(&HeldOrigin { source, zone, received_ns, number });
        let datagram = Datagram { payload, source, zone, received_ns, truncated: false };
        let mut context = Context {
            datagram: &datagram,
            options: &self.options,
            statistics: &mut self.statistics,
            sink,
            extent: Extent::Whole,
            skipped: held.skipped,
            held: None,
            sequences: &mut self.sequences,
        };
        let mut cursor = Cursor::new(payload, 0);
        let (protocol, header) = match held.scope.version {
            9 => (Protocol::NetflowV9, netflow_v9::header(&mut cursor)),
            _ => (Protocol::Ipfix, ipfix::header(&mut cursor).map(|(header, _, clock)| (header, clock))),
        };
        let (header, clock) = match header {
            Ok(read) => read,
            Err(end) => {
                context.set_rejected(Malformed::end(Reason::ShortHeader, end), Path::default());
                return None;
            }
        };
        let stamp = Stamp::new(clock.export_ns, received_ns);
        let message = Message { protocol, header, clock, stamp, store: &self.store };
        let session = message.session(&mut self.sessions, &mut self.workspace, &datagram);
        session.treat_by(&self.options.overrides, self.turn);
        let before = Numbers::of(context.statistics);
        let lacks = message.decode_held(&mut context, &mut self.workspace, session, cursor, &held);
        if let (None, Some(whole)) = (&lacks, &held.message)
            && let Some(records) = before.of_held(context.statistics).and_then(|records| whole.add(records))
            && session.is_in_epoch(held.epoch)
        {
            let key = context.sequence_key(header.version, header.domain);
            context.sequences.complete(key, header.sequence, records);
        }
        session.rest();
        lacks.map(|lacks| HeldSet { lacks, ..held })
    }

    #[cold]
    fn rejected<S: Sink>(&mut self, error: &Malformed, sink: &mut S) -> Verdict {
        self.statistics.datagrams.rejected[error.reason] += 1;
        self.statistics.malformed[error.reason] += 1;
        if S::OBSERVES {
            sink.observe_malformed(error);
        }
        Verdict::Rejected(error.reason)
    }

    /// Decodes what is left of a datagram: what stands in front of the cut is right.
    #[cold]
    fn decode_cut<S: Sink>(&mut self, datagram: &Datagram<'_>, sink: &mut S) -> Result<Extent, Malformed> {
        let cut = Malformed::at(Reason::Truncated, datagram.payload.len());
        self.decode_payload(datagram, sink).map_err(|_| cut)?;
        self.statistics.malformed[cut.reason] += 1;
        if S::OBSERVES {
            sink.observe_malformed(&cut);
        }
        Ok(Extent::Partly)
    }

    fn decode_payload<S: Sink>(
        &mut self,
        datagram: &Datagram<'_>,
        sink: &mut S,
    ) -> Result<Extent, Malformed> {
        let Some(protocol) = Protocol::detect(datagram.payload) else {
            let short = datagram.payload.len() < 2;
            return Err(Malformed::at(if short { Reason::ShortHeader } else { Reason::UnknownVersion }, 0));
        };
        self.statistics.protocols[protocol as usize] += 1;
        let mut context = Context {
            datagram,
            options: &self.options,
            statistics: &mut self.statistics,
            sink,
            extent: Extent::Whole,
            skipped: 0,
            held: None,
            sequences: &mut self.sequences,
        };
        let short = |end| Malformed::end(Reason::ShortHeader, end);
        let mut cursor = Cursor::new(datagram.payload, 0);
        match protocol {
            Protocol::NetflowV1 | Protocol::NetflowV5 | Protocol::NetflowV7 => {
                let Workspace { shared, located, .. } = &mut self.workspace;
                netflow_v5::decode(&mut context, &self.layouts, protocol, shared, located)?;
            }
            Protocol::NetflowV9 => {
                let (header, clock) = netflow_v9::header(&mut cursor).map_err(short)?;
                let stamp = Stamp::new(clock.export_ns, datagram.received_ns);
                let mut message = Message { protocol, header, clock, stamp, store: &self.store };
                let session = message.session(&mut self.sessions, &mut self.workspace, datagram);
                session.treat_by(&self.options.overrides, self.turn);
                message.stamp = session.observe(&self.store, &header, &clock, stamp);
                let key = context.sequence_key(header.version, header.domain);
                context.sequences.note(key, header.sequence, Covers::Known(1));
                message.decode_sets(&mut context, &mut self.workspace, session, cursor);
                session.rest();
            }
            Protocol::Ipfix => {
                let (header, length, clock) = ipfix::header(&mut cursor).map_err(short)?;
                let sets = ipfix_sets(&mut context, cursor, length)?;
                let stamp = Stamp::new(clock.export_ns, datagram.received_ns);
                let mut message = Message { protocol, header, clock, stamp, store: &self.store };
                let session = message.session(&mut self.sessions, &mut self.workspace, datagram);
                session.treat_by(&self.options.overrides, self.turn);
                message.stamp = session.observe(&self.store, &header, &clock, stamp);
                let before = Numbers::of(context.statistics);
                message.decode_sets(&mut context, &mut self.workspace, session, sets);
                session.rest();
                let key = context.sequence_key(header.version, header.domain);
                let covers = before.covered(context.statistics);
                context.sequences.note(key, header.sequence, covers);
                if let Some(whole) = context.held.take()
                    && let Some(records) = before.beside_held(context.statistics)
                    && let Some(records) = whole.add(records)
                {
                    // Another decoder was faster than the end of the message.
                    context.sequences.complete(key, header.sequence, records);
                }
            }
            Protocol::Sflow => sflow::decode(&mut context, &mut self.workspace.shared)?,
        }
        Ok(context.extent)
    }
}

impl Message<'_> {
    /// The session of the datagram's exporter, following what the scope knows now.
    fn session<'s>(
        &self,
        sessions: &'s mut SessionTable,
        workspace: &mut Workspace,
        datagram: &Datagram<'_>,
    ) -> &'s mut Session {
        if workspace.looked_up > 0 {
            sessions.looked_up(std::mem::take(&mut workspace.looked_up));
        }
        let key = SessionKey::new(datagram, self.header.version, self.header.domain);
        sessions.get(key, || self.store.scope(&key.scope), datagram.received_ns)
    }
}

/// What tells how many numbers an IPFIX message covers: the counts before it.
///
/// A decoder decodes sets that another one held, so that it may have decoded more than it has seen.
struct Numbers {
    records: u64,
    sets_seen: u64,
    sets_decoded: u64,
    sets_held: u64,
}

impl Numbers {
    fn of(statistics: &Statistics) -> Self {
        let (records, sets) = (&statistics.records, &statistics.sets);
        Self {
            records: records[Stream::Flow as usize] + records[Stream::Options as usize],
            sets_seen: sets.seen,
            sets_decoded: sets.decoded,
            sets_held: sets.held,
        }
    }

    /// What came since.
    fn until(&self, now: &Statistics) -> Self {
        let now = Self::of(now);
        Self {
            records: now.records - self.records,
            sets_seen: now.sets_seen - self.sets_seen,
            sets_decoded: now.sets_decoded - self.sets_decoded,
            sets_held: now.sets_held - self.sets_held,
        }
    }

    /// What a message covers, options records included. Nobody knows how many there are in a set that was not decoded (yet).
    fn covered(&self, now: &Statistics) -> Covers {
        let message = self.until(now);
        match message.records.try_into() {
            Ok(records) if message.sets_seen == message.sets_decoded => Covers::Known(records),
            _ => Covers::Unknown,
        }
    }

    /// The records of a message beside those of sets that wait; `None` where other sets were not decoded either.
    fn beside_held(&self, now: &Statistics) -> Option<u32> {
        let message = self.until(now);
        let others_decoded = message.sets_seen == message.sets_decoded + message.sets_held;
        others_decoded.then(|| message.records.try_into().ok()).flatten()
    }

    /// The records of a set that has waited; `None` where it was rejected.
    fn of_held(&self, now: &Statistics) -> Option<u32> {
        let set = self.until(now);
        (set.sets_decoded > 0).then(|| set.records.try_into().ok()).flatten()
    }
}

/// The sets of an IPFIX message: what its length says and the datagram holds.
fn ipfix_sets<'a, S: Sink>(
    context: &mut Context<'_, S>,
    mut sets: Cursor<'a>,
    length: usize,
) -> Result<Cursor<'a>, Malformed> {
    let wrong = Malformed::at(Reason::HeaderLength, 2);
    let announced = length.checked_sub(ipfix::HEADER).ok_or(wrong)?;
    if announced != sets.remaining() {
        context.wrong_length(announced, sets.remaining());
    }
    sets.sub(announced.min(sets.remaining())).map_err(|end| Malformed::end(Reason::HeaderLength, end))
}
