//! Options state: each value as an entry, and back.

use std::collections::BTreeMap;

use catchment_proto::cluster::v1::{self, options_entry::Kind};
use flow_decoder::{Learnt, NameKind, SharedName, SharedOptions};

use super::{Invalid, order};

/// Octets of a name.
const MAX_NAME: usize = 255;

/// Adds what an entry says. What only a later version of the contract knows is left out.
pub(super) fn read_option(entry: &v1::OptionsEntry, options: &mut SharedOptions) -> Result<(), Invalid> {
    let learnt = Learnt { time: order(entry.order.as_ref())?.time, value: entry.number };
    let kind = match entry.kind() {
        Kind::SamplingDomain => {
            options.domain_rate = options.domain_rate.max(learnt);
            return Ok(());
        }
        Kind::SystemInitTime => {
            options.boot_ms = options.boot_ms.max(learnt);
            return Ok(());
        }
        Kind::SamplingSelector => {
            options.selector_rates.push((entry.id, learnt));
            return Ok(());
        }
        Kind::SamplingInterface => {
            options.interface_rates.push((entry.id, learnt));
            return Ok(());
        }
        // A later contract's.
        Kind::Unspecified => return Ok(()),
        Kind::InterfaceName => NameKind::Interface,
        Kind::InterfaceDescription => NameKind::InterfaceDescription,
        Kind::VrfName => NameKind::Vrf,
        Kind::ApplicationName => NameKind::Application,
        Kind::ExporterName => NameKind::Exporter,
    };
    match entry.text.len() {
        1..=MAX_NAME => {}
        other => return Err(Invalid::Name(other)),
    }
    options.names.push(SharedName {
        kind,
        id: entry.id,
        time: learnt.time,
        text: entry.text.as_str().into(),
    });
    Ok(())
}

/// The kind of an entry with a name.
fn kind_of(name: NameKind) -> Kind {
    match name {
        NameKind::Interface => Kind::InterfaceName,
        NameKind::InterfaceDescription => Kind::InterfaceDescription,
        NameKind::Vrf => Kind::VrfName,
        NameKind::Application => Kind::ApplicationName,
        NameKind::Exporter => Kind::ExporterName,
    }
}

/// What options data said, by kind, then id.
pub fn options_messages(options: &SharedOptions) -> Vec<v1::OptionsEntry> {
    let order = |time| Some(v1::Order { epoch: 0, time_ms: time });
    let entry = |kind: Kind, id, learnt: Learnt| v1::OptionsEntry {
        kind: kind.into(),
        id,
        number: learnt.value,
        text: String::new(),
        order: order(learnt.time),
    };
    let domain = [entry(Kind::SamplingDomain, 0, options.domain_rate)];
    let selectors = options.selector_rates.iter().map(|(id, rate)| entry(Kind::SamplingSelector, *id, *rate));
    let interfaces =
        options.interface_rates.iter().map(|(index, rate)| entry(Kind::SamplingInterface, *index, *rate));
    let boot = [entry(Kind::SystemInitTime, 0, options.boot_ms)];
    let numbers = domain.into_iter().chain(selectors).chain(interfaces).chain(boot);
    let names = options.names.iter().map(|name| v1::OptionsEntry {
        kind: kind_of(name.kind).into(),
        id: name.id,
        number: 0,
        text: name.text.to_string(),
        order: order(name.time),
    });
    numbers.filter(|entry| entry.number != 0).chain(names).collect()
}

/// Whether `own` says anything that somebody who knows `theirs` would take over.
pub(super) fn adds_options(own: &SharedOptions, theirs: &SharedOptions) -> bool {
    let later = |own: Learnt, theirs: Learnt| own.value != 0 && own > theirs;
    let rates = |own: &[(u64, Learnt)], theirs: &[(u64, Learnt)]| {
        let known: BTreeMap<u64, Learnt> = theirs.iter().copied().collect();
        own.iter().any(|(id, rate)| later(*rate, known.get(id).copied().unwrap_or_default()))
    };
    let known: BTreeMap<_, _> =
        theirs.names.iter().map(|name| ((name.kind, name.id), (name.time, &name.text))).collect();
    let names =
        || own.names.iter().any(|name| known.get(&(name.kind, name.id)) < Some(&(name.time, &name.text)));
    later(own.domain_rate, theirs.domain_rate)
        || later(own.boot_ms, theirs.boot_ms)
        || rates(&own.selector_rates, &theirs.selector_rates)
        || rates(&own.interface_rates, &theirs.interface_rates)
        || names()
}
