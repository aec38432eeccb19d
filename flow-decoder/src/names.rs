//! Names that an exporter's options data gives: to interfaces, VRFs and applications, and to itself. Those of a domain are in a
//! [`Names`] (see `table`).
//!
//! ```text
//! interface:    10, 14, 252, 253 or v9 scope 2 (INTERFACE) -> 82 (name), 83 (description)
//! VRF:          234, 235                                   -> 236
//! application:  95, as a big-endian number                 -> 96
//! exporter:     the domain that says it                    -> 300 (observationDomainName)
//! ```
//!
//! A name is text, as records and other nodes get it: no zeros behind it, U+FFFD for what is no UTF-8, 255 octets at most.

mod table;

pub(crate) use table::{Kept, Names};

use std::borrow::Cow;
use std::sync::Arc;

use crate::elements::unsigned;
use crate::sink::WireRecord;
use crate::template::FieldSpecifier;

/// Octets of a name.
const MAX_OCTETS: usize = 255;
/// v9's scope type of an interface.
const SCOPE_INTERFACE: u16 = 2;

/// Whether a field of an options record says of which interface the record is.
pub(crate) fn is_interface(version: u16, field: &FieldSpecifier) -> bool {
    if field.scope && version == 9 {
        return field.id == SCOPE_INTERFACE;
    }
    field.pen == 0 && matches!(field.id, 10 | 14 | 252 | 253)
}

/// Kinds of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NameKind {
    /// Of an interface, by its SNMP index: interfaceName (82).
    Interface,
    /// What a person has said of an interface, by its SNMP index: interfaceDescription (83).
    InterfaceDescription,
    /// Of a VRF, by its id: VRFname (236).
    Vrf,
    /// Of an application, by applicationId (95) as a big-endian number: applicationName (96).
    Application,
    /// Of the exporter itself, with the id 0: observationDomainName (300).
    Exporter,
}

impl NameKind {
    /// All kinds.
    pub const ALL: [Self; 5] =
        [Self::Interface, Self::InterfaceDescription, Self::Vrf, Self::Application, Self::Exporter];
}

/// A name as nodes tell each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SharedName {
    /// Of what.
    pub kind: NameKind,
    /// Which one.
    pub id: u64,
    /// When it was learnt, or long after that heard, milliseconds since 1970; see [`Order::time`](crate::Order::time).
    pub time: u64,
    /// The name, 1 to 255 octets.
    pub text: Arc<str>,
}

/// What has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thing {
    pub(crate) kind: NameKind,
    pub(crate) id: u64,
}

impl Thing {
    pub(crate) fn new(kind: NameKind, id: u64) -> Self {
        Self { kind, id }
    }

    /// An application by the octets of its id; nothing for an id that is no number of 64 bits.
    pub(crate) fn application(id: &[u8]) -> Option<Self> {
        let fits = id.len() <= 8 || id[..id.len() - 8].iter().all(|&octet| octet == 0);
        fits.then(|| Self::new(NameKind::Application, unsigned(id)))
    }
}

/// What an options record names: of each kind one thing at most. The names are as they are on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Named<'a>([Option<(u64, &'a [u8])>; NameKind::ALL.len()]);

impl<'a> Named<'a> {
    /// What an options record names; of an element that is there twice the first counts.
    pub(crate) fn of(record: &WireRecord<'a>) -> Self {
        let (mut interface, mut vrf, mut application) = (None, None, None);
        let mut names: [Option<&[u8]>; NameKind::ALL.len()] = Default::default();
        for (field, value) in record.elements().filter(|(_, value)| !value.is_empty()) {
            if is_interface(record.version, field) {
                interface.get_or_insert(unsigned(value));
                continue;
            }
            if field.scope && record.version == 9 {
                continue;
            }
            let kind = match (field.pen, field.id) {
                (0, 234 | 235) => {
                    vrf.get_or_insert(unsigned(value));
                    continue;
                }
                (0, 95) => {
                    application.get_or_insert(value);
                    continue;
                }
                (0, 82) => NameKind::Interface,
                (0, 83) => NameKind::InterfaceDescription,
                (0, 236) => NameKind::Vrf,
                (0, 96) => NameKind::Application,
                (0, 300) => NameKind::Exporter,
                _ => continue,
            };
            names[kind as usize].get_or_insert(value);
        }
        let application = application.and_then(Thing::application).map(|thing| thing.id);
        let ids = [interface, interface, vrf, application, Some(0)];
        let mut at = 0;
        Self(names.map(|name| {
            let id = ids[at];
            at += 1;
            id.zip(name.map(trimmed).filter(|name| !name.is_empty()))
        }))
    }

    fn all(&self) -> impl Iterator<Item = (Thing, &'a [u8])> {
        let all = NameKind::ALL.into_iter().zip(self.0);
        all.filter_map(|(kind, named)| named.map(|(id, name)| (Thing::new(kind, id), name)))
    }
}

fn trimmed(name: &[u8]) -> &[u8] {
    &name[..name.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)]
}

/// The text of a name that is not empty; without allocating where it is one already.
fn text_of(name: &[u8]) -> Cow<'_, str> {
    let shortest = |text: &str| text.floor_char_boundary(MAX_OCTETS);
    match String::from_utf8_lossy(name) {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..shortest(text)]),
        Cow::Owned(mut text) => {
            text.truncate(shortest(&text));
            Cow::Owned(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_is_a_number() {
        let id = |octets: &[u8]| Thing::application(octets).map(|thing| thing.id);
        assert_eq!(id(&[3, 0, 0, 80]), Some(0x0300_0050));
        assert_eq!(id(&[0, 0, 3, 0, 0, 0, 0, 0, 0, 80]), Some(0x0300_0000_0000_0050));
        assert_eq!(id(&[1; 9]), None);
    }
}
