//! Names that an exporter's options data gives to numbers in its records: of interfaces, VRFs and applications.
//!
//! ```text
//! interface:    10, 14, 252, 253 or v9 scope 2 (INTERFACE) -> 82
//! VRF:          234, 235                                   -> 236
//! application:  95                                         -> 96
//! ```
//!
//! Bounded: of each kind so many, and no longer than a field of a record should be. What is beyond is not kept.

use std::collections::HashMap;

use crate::elements::unsigned;
use crate::sink::WireRecord;

/// Names of one kind that are kept for a domain.
const MAX_NAMES: usize = 4096;
/// Octets of a name that are kept.
const MAX_OCTETS: usize = 255;
/// What a name takes beside its octets, in a table that may be half empty.
const ENTRY_OCTETS: usize = 96;
/// v9's scope type of an interface.
const SCOPE_INTERFACE: u16 = 2;

/// What has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thing<'a> {
    Interface(u64),
    Vrf(u64),
    /// An application id as it is sent.
    Application(&'a [u8]),
}

/// A thing and its name, without the zeros behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named<'a> {
    thing: Thing<'a>,
    name: &'a [u8],
}

impl<'a> Named<'a> {
    /// What an options record names; of several things the first of the list above.
    pub(crate) fn of(record: &WireRecord<'a>) -> Option<Self> {
        let mut interface: Option<u64> = None;
        let (mut vrf, mut application) = (None, None);
        let mut names: [Option<&[u8]>; 3] = [None; 3];
        for (field, value) in record.elements().filter(|(_, value)| !value.is_empty()) {
            if field.scope && record.version == 9 {
                if field.id == SCOPE_INTERFACE {
                    interface.get_or_insert(unsigned(value));
                }
                continue;
            }
            match (field.pen, field.id) {
                (0, 10 | 14 | 252 | 253) => drop(interface.get_or_insert(unsigned(value))),
                (0, 234 | 235) => drop(vrf.get_or_insert(unsigned(value))),
                (0, 95) => drop(application.get_or_insert(value)),
                (0, 82) => drop(names[0].get_or_insert(value)),
                (0, 236) => drop(names[1].get_or_insert(value)),
                (0, 96) => drop(names[2].get_or_insert(value)),
                _ => {}
            }
        }
        let things =
            [interface.map(Thing::Interface), vrf.map(Thing::Vrf), application.map(Thing::Application)];
        let mut named = things.into_iter().zip(names).filter_map(|(thing, name)| {
            let name = trimmed(name?);
            (!name.is_empty()).then_some(Self { thing: thing?, name })
        });
        named.next()
    }
}

fn trimmed(name: &[u8]) -> &[u8] {
    let end = name.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &name[..end.min(MAX_OCTETS)]
}

/// All names of a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    interfaces: HashMap<u64, Box<[u8]>>,
    vrfs: HashMap<u64, Box<[u8]>>,
    applications: HashMap<Box<[u8]>, Box<[u8]>>,
    octets: usize,
}

impl Names {
    pub(crate) fn get(&self, thing: Thing<'_>) -> Option<&[u8]> {
        match thing {
            Thing::Interface(index) => self.interfaces.get(&index),
            Thing::Vrf(id) => self.vrfs.get(&id),
            Thing::Application(id) => self.applications.get(id),
        }
        .map(|name| &**name)
    }

    /// Whether the name is known already, or could not be kept.
    pub(crate) fn knows(&self, named: &Named<'_>) -> bool {
        match self.get(named.thing) {
            Some(name) => name == named.name,
            None => self.is_full(named.thing),
        }
    }

    fn is_full(&self, thing: Thing<'_>) -> bool {
        let count = match thing {
            Thing::Interface(_) => self.interfaces.len(),
            Thing::Vrf(_) => self.vrfs.len(),
            Thing::Application(id) if id.len() > MAX_OCTETS => MAX_NAMES,
            Thing::Application(_) => self.applications.len(),
        };
        count >= MAX_NAMES
    }

    pub(crate) fn insert(&mut self, Named { thing, name }: &Named<'_>) {
        if self.get(*thing).is_none() && self.is_full(*thing) {
            return;
        }
        let old = match *thing {
            Thing::Interface(index) => self.interfaces.insert(index, (*name).into()),
            Thing::Vrf(id) => self.vrfs.insert(id, (*name).into()),
            Thing::Application(id) => self.applications.insert(id.into(), (*name).into()),
        };
        self.octets += name.len();
        match old {
            Some(old) => self.octets -= old.len(),
            None => {
                self.octets += ENTRY_OCTETS + if let Thing::Application(id) = thing { id.len() } else { 0 }
            }
        }
    }

    /// Takes over what has no name here, or with `replace` all.
    pub(crate) fn extend(&mut self, other: &Self, replace: bool) {
        let interfaces = other.interfaces.iter().map(|(index, name)| (Thing::Interface(*index), name));
        let vrfs = other.vrfs.iter().map(|(id, name)| (Thing::Vrf(*id), name));
        let applications = other.applications.iter().map(|(id, name)| (Thing::Application(id), name));
        for (thing, name) in interfaces.chain(vrfs).chain(applications) {
            if replace || self.get(thing).is_none() {
                self.insert(&Named { thing, name });
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.octets == 0
    }

    /// Octets of memory.
    pub(crate) fn octets(&self) -> usize {
        self.octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_what_they_take_is_counted() {
        let mut names = Names::default();
        for id in 0..2 * MAX_NAMES as u64 {
            let named = Named { thing: Thing::Vrf(id), name: b"red" };
            names.insert(&named);
            assert!(names.knows(&named), "knowing what cannot be kept avoids asking again");
        }
        assert_eq!(names.octets(), MAX_NAMES * (ENTRY_OCTETS + 3));
        names.insert(&Named { thing: Thing::Vrf(1), name: b"purple" });
        assert_eq!(names.octets(), MAX_NAMES * (ENTRY_OCTETS + 3) + 3);
        let mut other = Names::default();
        other.insert(&Named { thing: Thing::Vrf(1), name: b"green" });
        names.extend(&other, false);
        assert_eq!(names.get(Thing::Vrf(1)), Some(&b"purple"[..]));
        names.extend(&other, true);
        assert_eq!(names.get(Thing::Vrf(1)), Some(&b"green"[..]));
    }
}
