//! Structured data (RFC 6313), read a second time: all elements in a list, in the order of the wire.

use flow_decoder::elements::{self, DataType};

use super::parse::{Element, Layout, be16, be32, record_of};

/// The templates of the domain.
pub(crate) type Layouts<'l> = &'l dyn Fn(u16) -> Option<Layout>;

/// What an element holds: one kind of list.
pub(crate) fn kind(e: &Element<'_>) -> Option<DataType> {
    use DataType::{BasicList, SubTemplateList, SubTemplateMultiList};
    let data_type = elements::ipfix(e.pen, e.id)?.data_type;
    (!e.scope && matches!(data_type, BasicList | SubTemplateList | SubTemplateMultiList)).then_some(data_type)
}

/// The elements in a list, and in the lists in it.
pub(crate) fn members<'a>(layouts: Layouts<'_>, e: &Element<'a>, depth: usize) -> Vec<Element<'a>> {
    let mut out = Vec::new();
    if let Some(kind) = kind(e).filter(|_| depth <= 8 && !e.value.is_empty()) {
        // A header that is cut holds nothing.
        let _ = read(layouts, kind, &e.value[1..], depth, &mut out);
    }
    out
}

fn read<'a>(
    layouts: Layouts<'_>,
    kind: DataType,
    mut rest: &'a [u8],
    depth: usize,
    out: &mut Vec<Element<'a>>,
) -> Option<()> {
    match kind {
        DataType::BasicList => {
            let (id, length) = (be16(rest, 0)?, be16(rest, 2)?);
            let pen = if id >= 0x8000 { be32(rest, 4)? } else { 0 };
            rest = &rest[if id >= 0x8000 { 8 } else { 4 }..];
            let length = (length != 0xffff).then_some(usize::from(length));
            group(layouts, &Layout::of_one(pen, id & 0x7fff, length), rest, depth, out);
        }
        DataType::SubTemplateList => {
            let id = be16(rest, 0)?;
            if rest.len() > 2 {
                group(layouts, &layouts(id)?, &rest[2..], depth, out);
            }
        }
        _ => {
            while let (Some(id), Some(length)) = (be16(rest, 0), be16(rest, 2)) {
                let length = usize::from(length);
                if length < 4 || length > rest.len() {
                    break;
                }
                if let Some(layout) = (length > 4).then(|| layouts(id)).flatten() {
                    group(layouts, &layout, &rest[4..length], depth, out);
                }
                rest = &rest[length..];
            }
        }
    }
    Some(())
}

fn group<'a>(
    layouts: Layouts<'_>,
    layout: &Layout,
    mut rest: &'a [u8],
    depth: usize,
    out: &mut Vec<Element<'a>>,
) {
    if layout.is_empty() {
        return;
    }
    while let Some((elements, behind)) =
        Some(rest).filter(|rest| !rest.is_empty()).and_then(|rest| record_of(layout, rest))
    {
        rest = behind;
        for element in elements {
            out.push(element);
            out.extend(members(layouts, &element, depth + 1));
        }
    }
}
