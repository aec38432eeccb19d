//! Structured data (RFC 6313): elements whose value is a list of elements or of records.
//!
//! ```text
//! basicList:            semantic 1 | field: E 1, id 15 | element length 2 | [enterprise 4] | elements
//! subTemplateList:      semantic 1 | template id 2 | records
//! subTemplateMultiList: semantic 1 | { template id 2 | length 2, this header included | records } ...
//! ```
//!
//! Lists nest; they are followed [`MAX_DEPTH`] deep. Every element and record takes at least one octet of its list, so work is
//! bounded by the octets that are there. Zeros behind the last whole element or record are padding. What is damaged ends its
//! list, and a group of records whose template is not known is passed over; the record around it is kept.

use std::sync::Arc;

use crate::definitions::{Definition, Lookup};
use crate::elements::{self, DataType};
use crate::error::Reason;
use crate::scope::ScopeState;
use crate::template::{FieldSpecifier, Template, VARIABLE};

/// Lists in lists that are followed.
pub const MAX_DEPTH: usize = 8;

/// The top bit of a field id: an enterprise number follows.
const ENTERPRISE: u16 = 0x8000;

/// Templates of the domain that a record came in, for the lists in it.
#[derive(Clone, Debug, Default)]
pub struct InnerTemplates {
    state: Option<Arc<ScopeState>>,
    port: u16,
    epoch: u32,
}

/// Nothing is known.
static NONE: InnerTemplates = InnerTemplates { state: None, port: 0, epoch: 0 };

impl InnerTemplates {
    pub(crate) fn new(state: Arc<ScopeState>, port: u16, epoch: u32) -> Self {
        Self { state: Some(state), port, epoch }
    }

    /// Of a domain without templates.
    pub(crate) fn none() -> &'static Self {
        &NONE
    }

    /// The template that records of this id have now.
    pub fn get(&self, id: u16) -> Option<&Template> {
        Some(self.definition(id)?.layout.template())
    }

    pub(crate) fn definition(&self, id: u16) -> Option<&Definition> {
        match self.state.as_ref()?.lookup(id, self.port, self.epoch) {
            Lookup::Found(definition) => Some(definition),
            Lookup::Conflict | Lookup::Suspect | Lookup::Unknown => None,
        }
    }
}

/// How the members of a list relate to the record around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Semantic(pub u8);

impl Semantic {
    /// Its name in IANA's registry.
    pub fn name(self) -> Option<&'static str> {
        match self.0 {
            0 => Some("noneOf"),
            1 => Some("exactlyOneOf"),
            2 => Some("oneOrMoreOf"),
            3 => Some("allOf"),
            4 => Some("ordered"),
            255 => Some("undefined"),
            _ => None,
        }
    }
}

/// A list by its header.
#[derive(Clone, Copy, Debug)]
pub enum List<'a> {
    /// Values of one element.
    Values {
        /// How they relate.
        semantic: Semantic,
        /// The element, with the length of each value.
        field: FieldSpecifier,
        /// The values.
        values: &'a [u8],
    },
    /// Records of one template.
    Records {
        /// How they relate.
        semantic: Semantic,
        /// The only group.
        group: Group<'a>,
    },
    /// Groups of records, each of a template of its own.
    Groups {
        /// How they relate.
        semantic: Semantic,
        /// The groups.
        groups: &'a [u8],
    },
}

/// Records of one template.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// Their template.
    pub template: u16,
    /// The records.
    pub records: &'a [u8],
}

/// Whether an element's value is a list.
pub fn is_list(data_type: DataType) -> bool {
    matches!(data_type, DataType::BasicList | DataType::SubTemplateList | DataType::SubTemplateMultiList)
}

/// Whether a field of an IPFIX or NetFlow v9 template holds lists.
pub(crate) fn holds_list(field: &FieldSpecifier) -> bool {
    !field.scope && elements::ipfix(field.pen, field.id).is_some_and(|element| is_list(element.data_type))
}

impl<'a> List<'a> {
    /// Reads the header of a list of this type; nothing where it is cut, or the type is of no list.
    pub fn open(data_type: DataType, value: &'a [u8]) -> Option<Self> {
        let (&[semantic], rest) = value.split_first_chunk()?;
        let semantic = Semantic(semantic);
        match data_type {
            DataType::BasicList => {
                let (&[a, b, c, d], mut values) = rest.split_first_chunk()?;
                let (id, length) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                let mut pen = 0;
                if id & ENTERPRISE != 0 {
                    let (number, rest) = values.split_first_chunk()?;
                    (pen, values) = (u32::from_be_bytes(*number), rest);
                }
                let id = id & !ENTERPRISE;
                let field = FieldSpecifier { pen, id, length, variable: length == VARIABLE, scope: false };
                Some(Self::Values { semantic, field, values })
            }
            DataType::SubTemplateList => {
                let (&template, records) = rest.split_first_chunk()?;
                let group = Group { template: u16::from_be_bytes(template), records };
                Some(Self::Records { semantic, group })
            }
            DataType::SubTemplateMultiList => Some(Self::Groups { semantic, groups: rest }),
            _ => None,
        }
    }

    /// How its members relate.
    pub fn semantic(&self) -> Semantic {
        match *self {
            Self::Values { semantic, .. }
            | Self::Records { semantic, .. }
            | Self::Groups { semantic, .. } => semantic,
        }
    }
}

/// The values of a list of one element; an error, which is the last, says that the rest is damaged.
pub fn values<'a>(
    field: &FieldSpecifier,
    mut rest: &'a [u8],
) -> impl Iterator<Item = Result<&'a [u8], Reason>> + use<'a> {
    let field = *field;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let all = std::mem::take(&mut rest);
        let value =
            field.length_in(all).filter(|(len, prefix)| len + prefix > 0).and_then(|(len, prefix)| {
                let (value, behind) = all.get(prefix..)?.split_at_checked(len)?;
                rest = behind;
                Some(value)
            });
        match value {
            None if is_padding(all) => None,
            value => Some(value.ok_or(Reason::ListDamaged)),
        }
    })
}

/// The groups of a list of groups; an error is the last.
pub fn groups(mut rest: &[u8]) -> impl Iterator<Item = Result<Group<'_>, Reason>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let all = std::mem::take(&mut rest);
        let group = all.split_first_chunk().and_then(|(&[a, b, c, d], _)| {
            let (group, behind) = all.split_at_checked(usize::from(u16::from_be_bytes([c, d])))?;
            let records = group.get(4..)?;
            rest = behind;
            Some(Group { template: u16::from_be_bytes([a, b]), records })
        });
        match group {
            None if is_padding(all) => None,
            group => Some(group.ok_or(Reason::ListDamaged)),
        }
    })
}

/// The fields of each record of a group, record by record; an error is the last.
pub fn records<'a>(
    template: &'a Template,
    mut rest: &'a [u8],
) -> impl Iterator<Item = Result<&'a [u8], Reason>> + use<'a> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let all = std::mem::take(&mut rest);
        let mut len = 0;
        for field in template.fields() {
            let Some((value, prefix)) = field.length_in(all.get(len..).unwrap_or_default()) else {
                len = usize::MAX;
                break;
            };
            len += value + prefix;
            if len > all.len() {
                break;
            }
        }
        match all.split_at_checked(len) {
            None if is_padding(all) => None,
            None => Some(Err(Reason::ListDamaged)),
            Some((record, behind)) => {
                rest = behind;
                Some(Ok(record))
            }
        }
    })
}

/// Each field of a record with its octets.
pub fn elements_of<'a>(
    fields: &'a [FieldSpecifier],
    mut rest: &'a [u8],
) -> impl Iterator<Item = (&'a FieldSpecifier, &'a [u8])> + use<'a> {
    fields.iter().map_while(move |field| {
        let (len, prefix) = field.length_in(rest)?;
        let (value, tail) = rest.get(prefix..)?.split_at_checked(len)?;
        rest = tail;
        Some((field, value))
    })
}

/// Who is shown what a list holds.
pub(crate) trait Visitor {
    fn element(&mut self, field: &FieldSpecifier, value: &[u8]);

    /// Records of this template come next; where it is not known they are passed over.
    fn group(&mut self, _template: u16, _known: Option<&Definition>) {}
}

/// Who wants to see elements only.
impl<F: FnMut(&FieldSpecifier, &[u8])> Visitor for F {
    fn element(&mut self, field: &FieldSpecifier, value: &[u8]) {
        self(field, value);
    }
}

/// Shows `visitor` a field, and where it holds a list all that is in it.
///
/// # Errors
/// The first thing that is wrong with the list.
pub(crate) fn visit_field(
    templates: &InnerTemplates,
    field: &FieldSpecifier,
    value: &[u8],
    visitor: &mut impl Visitor,
) -> Result<(), Reason> {
    visit_element(templates, field, value, 0, visitor)
}

/// What is wrong with the list in a field.
///
/// # Errors
/// The first thing that is wrong with it.
pub(crate) fn check(templates: &InnerTemplates, field: &FieldSpecifier, value: &[u8]) -> Result<(), Reason> {
    visit_field(templates, field, value, &mut |_: &FieldSpecifier, _: &[u8]| {})
}

/// Shows `visitor` all elements in a list, those of lists in it too, in the order of the wire.
///
/// # Errors
/// The first thing that is wrong with it.
pub(crate) fn visit(
    templates: &InnerTemplates,
    data_type: DataType,
    value: &[u8],
    depth: usize,
    visitor: &mut impl Visitor,
) -> Result<(), Reason> {
    if value.is_empty() {
        return Ok(());
    }
    let list = List::open(data_type, value).filter(|_| depth < MAX_DEPTH).ok_or(Reason::ListDamaged)?;
    let mut wrong = Ok(());
    match list {
        List::Values { field, values: all, .. } => {
            for value in values(&field, all) {
                let seen =
                    value.and_then(|value| visit_element(templates, &field, value, depth + 1, visitor));
                wrong = wrong.and(seen);
            }
        }
        List::Records { group, .. } => wrong = visit_group(templates, group, depth, visitor),
        List::Groups { groups: all, .. } => {
            for group in groups(all) {
                wrong = wrong.and(group.and_then(|group| visit_group(templates, group, depth, visitor)));
            }
        }
    }
    wrong
}

fn visit_group(
    templates: &InnerTemplates,
    group: Group<'_>,
    depth: usize,
    visitor: &mut impl Visitor,
) -> Result<(), Reason> {
    if group.records.is_empty() {
        // Exporters fill in any template where there is nothing.
        return Ok(());
    }
    let known = templates.definition(group.template);
    visitor.group(group.template, known);
    let template = known.ok_or(Reason::ListTemplate)?.layout.template();
    let mut wrong = Ok(());
    for record in records(template, group.records) {
        match record {
            Err(reason) => wrong = wrong.and(Err(reason)),
            Ok(record) => {
                for (field, value) in elements_of(template.fields(), record) {
                    wrong = wrong.and(visit_element(templates, field, value, depth + 1, visitor));
                }
            }
        }
    }
    wrong
}

fn visit_element(
    templates: &InnerTemplates,
    field: &FieldSpecifier,
    value: &[u8],
    depth: usize,
    visitor: &mut impl Visitor,
) -> Result<(), Reason> {
    visitor.element(field, value);
    match elements::ipfix(field.pen, field.id) {
        Some(element) if !field.scope && is_list(element.data_type) => {
            visit(templates, element.data_type, value, depth, visitor)
        }
        _ => Ok(()),
    }
}

fn is_padding(rest: &[u8]) -> bool {
    rest.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids and values.
    type Elements = Vec<(u16, Vec<u8>)>;

    fn seen(data_type: DataType, value: &[u8]) -> (Elements, Result<(), Reason>) {
        let mut all = Vec::new();
        let mut each = |field: &FieldSpecifier, value: &[u8]| all.push((field.id, value.to_vec()));
        let result = visit(InnerTemplates::none(), data_type, value, 0, &mut each);
        (all, result)
    }

    #[test]
    fn a_basic_list_of_fixed_and_of_variable_values() {
        let fixed = [3, 0, 10, 0, 2, 0, 1, 0, 2];
        assert_eq!(seen(DataType::BasicList, &fixed), (vec![(10, vec![0, 1]), (10, vec![0, 2])], Ok(())));
        let variable = [4, 0x80, 7, 255, 255, 0, 0, 0, 9, 1, b'a', 0, 255, 0, 1, b'b'];
        let want = vec![(7, b"a".to_vec()), (7, vec![]), (7, b"b".to_vec())];
        assert_eq!(seen(DataType::BasicList, &variable), (want, Ok(())));
    }

    #[test]
    fn a_list_in_a_list_is_followed_so_far() {
        let mut list = vec![3, 0, 10, 0, 1, 7];
        for depth in 1..=MAX_DEPTH {
            let (all, result) = seen(DataType::BasicList, &list);
            assert_eq!((all.len(), result), (depth, Ok(())), "{depth} lists");
            let len = list.len() as u8;
            list = [&[3, 1, 35, 255, 255, len][..], &list].concat();
        }
        let (all, result) = seen(DataType::BasicList, &list);
        assert_eq!((all.len(), result), (MAX_DEPTH, Err(Reason::ListDamaged)));
    }

    #[test]
    fn damage_ends_a_list_and_zeros_are_padding() {
        for (damaged, kept) in [
            (&[3, 0, 10, 0, 2, 0, 1, 9][..], 1),
            (&[3, 0, 10, 0, 0, 1], 0),
            (&[3, 0, 10, 0], 0),
            (&[3, 0x80, 10, 0, 1, 0, 0, 0], 0),
            (&[3, 0, 82, 255, 255, 1, b'a', 255, 9], 1),
        ] {
            let (all, result) = seen(DataType::BasicList, damaged);
            assert_eq!((all.len(), result), (kept, Err(Reason::ListDamaged)), "{damaged:?}");
        }
        let padded = [3, 0, 10, 0, 4, 0, 0, 0, 1, 0, 0];
        assert_eq!(seen(DataType::BasicList, &padded).1, Ok(()));
        assert_eq!(seen(DataType::BasicList, &[]), (vec![], Ok(())));
    }

    #[test]
    fn groups_end_where_they_say() {
        for (value, reason) in [
            (&[3, 1, 0, 0, 8, 1, 2, 3, 4][..], Reason::ListTemplate),
            (&[3, 1, 0, 0, 3, 1, 2, 3, 4], Reason::ListDamaged),
            (&[3, 1, 0, 0, 9, 1, 2, 3, 4], Reason::ListDamaged),
            (&[3, 1, 0, 0], Reason::ListDamaged),
        ] {
            assert_eq!(seen(DataType::SubTemplateMultiList, value).1, Err(reason), "{value:?}");
        }
        assert_eq!(seen(DataType::SubTemplateList, &[3, 1, 0, 9]).1, Err(Reason::ListTemplate));
        assert_eq!(seen(DataType::SubTemplateList, &[3, 1]).1, Err(Reason::ListDamaged));
    }
}
