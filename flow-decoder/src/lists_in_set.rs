//! What the lists in a data set need (RFC 6313): looked at before its records are decoded, so that a set can wait for the
//! templates of records in its lists as it does for its own.

use crate::cursor::Cursor;
use crate::definitions::{Definition, Mark};
use crate::plan::{Located, Plan};
use crate::structured::{self, InnerTemplates, Visitor};
use crate::template::{FIRST_TEMPLATE, FieldSpecifier};

/// The lists of a set.
#[derive(Debug, Default)]
pub(crate) struct ListsInSet {
    /// The templates of its domain.
    pub(crate) templates: InnerTemplates,
    /// The first template that is not known.
    pub(crate) missing: Option<u16>,
    /// One that no data has proven yet.
    pub(crate) unproven: Option<u16>,
    /// Whether anything is wrong with a list.
    pub(crate) damaged: bool,
}

impl Visitor for ListsInSet {
    fn element(&mut self, _: &FieldSpecifier, _: &[u8]) {}

    fn group(&mut self, template: u16, known: Option<&Definition>) {
        match known {
            // One that can come.
            None if template >= FIRST_TEMPLATE => self.missing = self.missing.or(Some(template)),
            Some(known) if !known.is(Mark::Proven) => self.unproven = Some(template),
            None | Some(_) => {}
        }
    }
}

impl ListsInSet {
    /// Looks through the lists of all whole records of `body`, which is part of `payload`.
    #[cold]
    pub(crate) fn of(
        plan: &Plan,
        templates: InnerTemplates,
        payload: &[u8],
        body: Cursor<'_>,
        located: &mut Located,
    ) -> Self {
        let mut lists = Self::default();
        let template = plan.template();
        let end = body.offset() + body.remaining();
        let mut at = body.offset();
        while end - at >= template.min_record_len() {
            let Some(next) = located.end_of(template, payload, at, end) else { break };
            let elements = structured::elements_of(template.fields(), &payload[at..next]);
            for (field, value) in elements.filter(|(field, _)| structured::holds_list(field)) {
                let visited = structured::visit_field(&templates, field, value, &mut lists);
                lists.damaged |= visited.is_err();
            }
            at = next;
        }
        Self { templates, ..lists }
    }
}
