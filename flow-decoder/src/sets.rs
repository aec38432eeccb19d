//! The sets of a NetFlow v9 or IPFIX message.
//!
//! ```text
//! set:  0 set id | 2 length, this header included | 4 records, padding        (RFC 3954 5.2, RFC 7011 3.3)
//! ```
//!
//! Template sets are learnt in wire order, so that data behind a template in the same message is decoded by it. A set that
//! is damaged costs itself; one whose length cannot be right costs what is behind it too, because nothing says where the
//! next one begins. Of a data set that is longer than what is left of the message the whole records are decoded (some
//! exporters count padding that they do not send), and the set counts as rejected. A data set whose template is not known waits
//! for it, and the rest of its message is decoded; so does one with a list of records whose template is not known.

use std::sync::Arc;

use crate::clock::Clock;
use crate::cursor::Cursor;
use crate::data_set::{MessageHeader, Pass, Records};
use crate::datagram::{Context, NamesInRecords};
use crate::error::{Malformed, Path, Reason};
use crate::exporter_store::{ExporterStore, Learned};
use crate::held_message::HeldMessage;
use crate::lists_in_set::ListsInSet;
use crate::options::{OptionsState, Said};
use crate::options_record::Meaning;
use crate::order::Stamp;
use crate::overrides::Sampling;
use crate::pending::{HeldSet, Lacks};
use crate::plan::{Located, Plan, Scene};
use crate::protocol::Protocol;
use crate::session::{News, Resolved, Session};
use crate::shared_fields::SharedFields;
use crate::sink::Sink;
use crate::structured::InnerTemplates;
use crate::template::{FIRST_TEMPLATE, FieldSpecifier, TemplateKind};
use crate::template_record::TemplateRecord;
use crate::{ipfix, netflow_v9};

/// Octets of a set's header.
const SET_HEADER: usize = 4;
/// Octets of the shortest record of a template set: a withdrawal.
const TEMPLATE_HEADER: usize = 4;

/// Memory that one decoder uses for message after message.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) shared: SharedFields,
    pub(crate) located: Located,
    pub(crate) fields: Vec<FieldSpecifier>,
    /// Octets of plans that sessions have looked up in the store, until the table of sessions is told.
    pub(crate) looked_up: usize,
}

/// A message's header, and who sent it.
pub(crate) struct Message<'a> {
    pub(crate) protocol: Protocol,
    pub(crate) header: MessageHeader,
    pub(crate) clock: Clock,
    pub(crate) stamp: Stamp,
    pub(crate) store: &'a ExporterStore,
}

/// What a set id means.
enum SetKind {
    Templates(TemplateKind),
    Data,
    Reserved,
}

/// A data set as far as the message holds it.
struct DataSet<'a> {
    id: u16,
    body: Cursor<'a>,
    /// What is wrong where the set is longer than what is left of the message.
    cut: Option<Malformed>,
}

/// By what the records of a set are decoded.
#[derive(Clone, Copy)]
struct By<'a> {
    plan: PlanOf<'a>,
    /// What its lists need, where its records have any.
    lists: Option<&'a ListsInSet>,
    /// Where it has waited, what options data had said then.
    then: Option<&'a OptionsState>,
}

/// The plan of a set.
#[derive(Clone, Copy)]
enum PlanOf<'a> {
    /// The session has it at this place.
    Session(usize),
    /// That of a template which the exporter has replaced since the set came.
    Replaced(&'a Plan),
}

impl<'a> PlanOf<'a> {
    #[inline]
    fn get<'s: 'a>(self, session: &'s Session) -> &'a Plan {
        match self {
            Self::Session(at) => session.plan(at),
            Self::Replaced(plan) => plan,
        }
    }
}

impl Message<'_> {
    fn set_kind(&self, id: u16) -> SetKind {
        match (self.protocol, id) {
            (Protocol::NetflowV9, 0) | (Protocol::Ipfix, 2) => SetKind::Templates(TemplateKind::Data),
            (Protocol::NetflowV9, 1) | (Protocol::Ipfix, 3) => SetKind::Templates(TemplateKind::Options),
            (_, FIRST_TEMPLATE..) => SetKind::Data,
            _ => SetKind::Reserved,
        }
    }

    /// Decodes all sets of the message.
    pub(crate) fn decode_sets<S: Sink>(
        &self,
        context: &mut Context<'_, S>,
        workspace: &mut Workspace,
        session: &mut Session,
        mut cursor: Cursor<'_>,
    ) {
        workspace.shared.begin(context.datagram, context.options, self.protocol, &self.header);
        let mut path = Path { set: Some(0), ..Path::default() };
        while !cursor.is_empty() {
            let (at, rest) = (cursor.offset(), cursor.rest());
            path.set = path.set.map(|set| set + 1);
            let (Ok(id), Ok(length)) = (cursor.u16(), cursor.u16()) else {
                return self.end_of_sets(context, rest, at, path);
            };
            let length = usize::from(length);
            if length < SET_HEADER {
                return self.end_of_sets(context, rest, at, path);
            }
            let kind = self.set_kind(id);
            if matches!(kind, SetKind::Data) {
                context.statistics.sets.seen += 1;
            }
            let present = cursor.remaining().min(length - SET_HEADER);
            let cut = (present < length - SET_HEADER).then_some(Malformed::at(Reason::SetLength, at + 2));
            let Ok(body) = cursor.sub(present) else { return };
            match (kind, cut) {
                (SetKind::Data, cut) => {
                    self.data_set(context, workspace, session, &DataSet { id, body, cut }, path);
                }
                (_, Some(error)) => context.damaged(error, Path { template: Some(id), ..path }),
                (SetKind::Templates(kind), None) => {
                    self.template_set(context, workspace, session, kind, body, path);
                }
                (SetKind::Reserved, None) => context.damaged(Malformed::at(Reason::ReservedSet, at), path),
            }
        }
    }

    /// What cannot be a set: zeros are padding, anything else is damage.
    fn end_of_sets<S: Sink>(&self, context: &mut Context<'_, S>, rest: &[u8], at: usize, path: Path) {
        if rest.iter().any(|&byte| byte != 0) {
            context.damaged(Malformed::at(Reason::SetLength, at), path);
        }
    }

    fn template_set<S: Sink>(
        &self,
        context: &mut Context<'_, S>,
        workspace: &mut Workspace,
        session: &mut Session,
        kind: TemplateKind,
        mut body: Cursor<'_>,
        path: Path,
    ) {
        let end = body.offset() + content_len(body.rest());
        while body.offset() < end && body.remaining() >= TEMPLATE_HEADER {
            let at = body.offset();
            let fields = &mut workspace.fields;
            fields.clear();
            let record = match self.protocol {
                Protocol::NetflowV9 => netflow_v9::template_record(&mut body, kind, fields),
                _ => ipfix::template_record(&mut body, kind, fields),
            };
            match record {
                Ok(TemplateRecord::Withdrawal) => context.statistics.templates.withdrawn += 1,
                Ok(TemplateRecord::Template { id, kind }) => {
                    context.statistics.templates.received += 1;
                    let path = Path { template: Some(id), ..path };
                    match self.announce(session, id, kind, fields) {
                        Ok(Learned::Changed) => context.statistics.templates.changed += 1,
                        Ok(Learned::Unchanged) => {}
                        Err(reason) => context.damaged(Malformed::at(reason, at), path),
                    }
                }
                Err(bad) => {
                    context.damaged(bad.error, Path { template: bad.id, ..path });
                    if !bad.next_is_known {
                        return;
                    }
                }
            }
        }
    }

    fn announce(
        &self,
        session: &mut Session,
        id: u16,
        kind: TemplateKind,
        fields: &[FieldSpecifier],
    ) -> Result<Learned, Reason> {
        if id < FIRST_TEMPLATE {
            return Err(Reason::TemplateId);
        }
        session.announce(self.store, &self.stamp, id, kind, fields)
    }

    fn data_set<S: Sink>(
        &self,
        context: &mut Context<'_, S>,
        workspace: &mut Workspace,
        session: &mut Session,
        set: &DataSet<'_>,
        path: Path,
    ) {
        match session.resolve(set.id, &mut workspace.looked_up) {
            Resolved::At(at) => {
                let plan = PlanOf::Session(at);
                let lists = self.lists(context, workspace, session, plan, set);
                if let Some(missing) = lists.as_ref().and_then(|lists| lists.missing)
                    && let Some(lacks) = self.may_wait_for_list(session, set, missing, at)
                {
                    return self.hold(context, session, set, lacks, path);
                }
                let by = By { plan, lists: lists.as_ref(), then: None };
                self.records(context, workspace, session, set, by, path);
            }
            Resolved::Waits(reason) => self.wait(context, session, set, reason, path),
        }
    }

    /// The lists of a set, where its records have any.
    #[inline]
    fn lists<S: Sink>(
        &self,
        context: &Context<'_, S>,
        workspace: &mut Workspace,
        session: &Session,
        plan: PlanOf<'_>,
        set: &DataSet<'_>,
    ) -> Option<ListsInSet> {
        let (plan, payload) = (plan.get(session), context.datagram.payload);
        let look =
            || ListsInSet::of(plan, session.inner_templates(), payload, set.body, &mut workspace.located);
        plan.has_lists().then(look)
    }

    /// What a set lacks, whose plan is at `at`, where it can wait for that.
    #[cold]
    fn may_wait_for_list(
        &self,
        session: &Session,
        set: &DataSet<'_>,
        missing: u16,
        at: usize,
    ) -> Option<Lacks> {
        let template = session.plan(at).shared_template();
        let octets = self.header_len() + SET_HEADER + set.body.remaining() + size_of_val(template.fields());
        let may = self.store.pending().may_wait_for_list(session.scope_key(), missing, octets);
        may.then(|| Lacks::TemplateOfList(missing, template.clone()))
    }

    /// Lets a set wait for its template. Nothing is wrong with its datagram; where sets cannot wait it is rejected.
    #[cold]
    fn wait<S: Sink>(
        &self,
        context: &mut Context<'_, S>,
        session: &Session,
        set: &DataSet<'_>,
        reason: Reason,
        path: Path,
    ) {
        if reason == Reason::TemplateConflict {
            context.statistics.templates.conflicts += 1;
        }
        if !self.store.pending().takes(self.header_len() + SET_HEADER + set.body.remaining()) {
            self.store.changes().want(session.scope_key(), set.id, context.datagram.received_ns);
            let path = Path { template: Some(set.id), ..path };
            return context.set_rejected(Malformed::at(reason, set.body.offset()), path);
        }
        self.hold(context, session, set, Lacks::Template, path);
    }

    /// Holds a set until what it lacks comes.
    #[cold]
    fn hold<S: Sink>(
        &self,
        context: &mut Context<'_, S>,
        session: &Session,
        set: &DataSet<'_>,
        lacks: Lacks,
        path: Path,
    ) {
        let datagram = context.datagram;
        let header_len = self.header_len();
        let start = set.body.offset() - SET_HEADER;
        let end = set.body.offset() + set.body.remaining();
        let payload = [&datagram.payload[..header_len], &datagram.payload[start..end]].concat();
        let options = session.options();
        let message = (self.protocol == Protocol::Ipfix).then(|| {
            let message = context.held.get_or_insert_with(|| Arc::new(HeldMessage::new()));
            message.waits();
            message.clone()
        });
        self.store.hold(HeldSet {
            lacks,
            received_ns: datagram.received_ns,
            epoch: self.stamp.epoch,
            number: context.sink.datagram_number(),
            set: path.set.unwrap_or_default(),
            skipped: start - header_len,
            rate: options.domain_rate(),
            boot_ms: options.boot_ms(),
            message,
            ..HeldSet::new(*session.scope_key(), set.id, datagram.source, payload.into())
        });
        context.statistics.sets.held += 1;
    }

    /// Octets of the message header.
    fn header_len(&self) -> usize {
        match self.protocol {
            Protocol::NetflowV9 => netflow_v9::HEADER,
            _ => ipfix::HEADER,
        }
    }

    /// Decodes a set that has waited; `cursor` is behind the header of the message that holds only it. Gives what it
    /// still lacks.
    pub(crate) fn decode_held<S: Sink>(
        &self,
        context: &mut Context<'_, S>,
        workspace: &mut Workspace,
        session: &mut Session,
        mut cursor: Cursor<'_>,
        held: &HeldSet,
    ) -> Option<Lacks> {
        // As its exporter was then: what has restarted since does not make it wait for longer.
        let epoch = session.enter_epoch(held.epoch);
        let lacks = self.decode_held_in_epoch(context, workspace, session, &mut cursor, held);
        session.enter_epoch(epoch);
        lacks
    }

    fn decode_held_in_epoch<S: Sink>(
        &self,
        context: &mut Context<'_, S>,
        workspace: &mut Workspace,
        session: &mut Session,
        cursor: &mut Cursor<'_>,
        held: &HeldSet,
    ) -> Option<Lacks> {
        let current = session.resolve(held.template, &mut workspace.looked_up);
        let replaced;
        let plan = match (&held.lacks, current) {
            (Lacks::Template, Resolved::Waits(_)) => return Some(Lacks::Template),
            (Lacks::Template, Resolved::At(at)) => PlanOf::Session(at),
            (Lacks::TemplateOfList(_, own) | Lacks::Nothing(own), Resolved::At(at))
                if session.plan(at).template() == &**own =>
            {
                PlanOf::Session(at)
            }
            (Lacks::TemplateOfList(_, own) | Lacks::Nothing(own), _) => {
                replaced = session.plan_of(own);
                PlanOf::Replaced(&replaced)
            }
        };
        workspace.shared.begin(context.datagram, context.options, self.protocol, &self.header);
        let (start, path) = (cursor.offset(), Path { set: Some(held.set), ..Path::default() });
        let length = cursor.u16().and_then(|_| cursor.u16());
        let present = cursor.remaining();
        let (Ok(length), Ok(body)) = (length, cursor.sub(present)) else {
            context.set_rejected(Malformed::at(Reason::SetLength, start), path);
            return None;
        };
        let cut = present + SET_HEADER < usize::from(length);
        let cut = cut.then_some(Malformed::at(Reason::SetLength, start + 2));
        let set = DataSet { id: held.template, body, cut };
        let lists = self.lists(context, workspace, session, plan, &set);
        if let Some(missing) = lists.as_ref().and_then(|lists| lists.missing)
            && !matches!(held.lacks, Lacks::Nothing(_))
        {
            return Some(Lacks::TemplateOfList(missing, plan.get(session).shared_template().clone()));
        }
        let then = session.options().as_it_was(held.rate, held.boot_ms);
        let by = By { plan, lists: lists.as_ref(), then: Some(&then) };
        self.records(context, workspace, session, &set, by, path);
        None
    }

    /// Decodes the records of a set.
    #[inline]
    fn records<S: Sink>(
        &self,
        context: &mut Context<'_, S>,
        workspace: &mut Workspace,
        session: &mut Session,
        set: &DataSet<'_>,
        By { plan: plan_of, lists, then }: By<'_>,
        mut path: Path,
    ) {
        path.template = Some(set.id);
        let (plan, sampling) = (plan_of.get(session), session.sampling());
        let mut options = then.unwrap_or(session.options());
        let filled_in;
        if let Sampling::Default(rate) = sampling
            && options.domain_rate() == 0
        {
            filled_in = options.as_it_was(rate.get().into(), 0);
            options = &filled_in;
        }
        let by_interface = options.has_interface_rates() && plan.is_sampled_by_interface();
        workspace.shared.for_set(plan, if by_interface { 0 } else { sampling.of(options.domain_rate()) });
        let clock = self.clock.with_boot(options.boot_ms());
        let shared = workspace.shared.as_bytes();
        let templates = lists.map_or(InnerTemplates::none(), |lists| &lists.templates);
        let check_lists = lists.is_some_and(|lists| lists.damaged);
        let has_names = options.has_names() && context.options.names == NamesInRecords::Shown;
        let payload = context.datagram.payload;
        let scene = Scene { payload, clock: &clock, options, shared, has_names, by_interface, templates };
        let pass = Pass::first(plan);
        let records =
            Records { plan, scene, set: Some(set.id), header: self.header, path, pass, check_lists };
        let mut news = News::default();
        let learn = |meaning: &Meaning<'_>| session.note(&mut news, meaning, &self.stamp);
        let decoded = records.decode(context, &mut workspace.located, set.body, learn);
        if let Some(pass) = pass {
            // What is wrong with the set has been said.
            let _ = records.second(pass).decode(context, &mut workspace.located, set.body, |_| {});
        }
        match (decoded, set.cut) {
            (_, Some(error)) => context.set_rejected(error, path),
            (Ok(()), None) => {
                context.statistics.sets.decoded += 1;
                if let PlanOf::Session(at) = plan_of {
                    session.prove(self.store, at);
                }
                if let Some(lists) = lists {
                    session.prove_in_list(self.store, lists);
                }
            }
            (Err((error, inner)), None) => context.set_rejected(error.within(inner), path),
        }
        if !news.is_empty() {
            let said = if then.is_none() { Said::Now } else { Said::Earlier(self.stamp.time) };
            context.statistics.options_left_out += session.learn(self.store, &news, said) as u64;
        }
        session.follow();
    }
}

/// Octets up to the last that is not zero; what is behind it is padding, unless a record that begins before needs it.
fn content_len(set: &[u8]) -> usize {
    set.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)
}
