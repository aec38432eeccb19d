//! What a person knows better than an exporter says: its sampling rate, and which field an element fills.
//!
//! ```text
//! Overrides: (zone or any, prefix) -> Treatment    the longest prefix counts, with all it says
//! Treatment: Sampling, and Rules where its records are made otherwise than by the built-in tables
//! Rules:     field map, keep_unknown; and the plans that were compiled by them
//! ```
//!
//! A decoder looks a treatment up once for a session, and once a datagram where there is no session; records cost nothing
//! more. Plans by other rules than the built-in ones live with their rules and go with them, so that a changed field map is
//! compiled anew, and nothing else is.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use crate::datagram::ZoneId;
use crate::exporter_store::lock;
use crate::plan::Plan;
use crate::record_field::RecordField;
use crate::template::Template;

/// What is said of one network of exporters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The zone of its listeners; `None`: every zone.
    pub zone: Option<ZoneId>,
    /// The network's first address.
    pub address: IpAddr,
    /// How many leading bits of it count.
    pub length: u8,
    /// The sampling rate.
    pub sampling: Sampling,
    /// Which fields elements fill.
    pub fields: Vec<FieldRule>,
    /// Whether elements without a field are kept among the extra elements.
    pub keep_unknown: bool,
    /// Whether records of two directions become two.
    pub split_biflows: bool,
}

/// What is said of exporters that no override is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Otherwise {
    /// Whether elements without a field are kept among the extra elements.
    pub keep_unknown: bool,
    /// Whether records of two directions become two.
    pub split_biflows: bool,
}

/// The sampling rate that records show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sampling {
    /// What the exporter says.
    #[default]
    AsSaid,
    /// This, where the exporter says nothing.
    Default(NonZeroU32),
    /// This, whatever the exporter says.
    Fixed(NonZeroU32),
}

impl Sampling {
    /// The rate of a record, where the exporter said `said`; 0 is unknown.
    pub(crate) fn of(self, said: u64) -> u64 {
        match self {
            Self::Fixed(rate) => rate.get().into(),
            Self::Default(rate) if said == 0 => rate.get().into(),
            Self::AsSaid | Self::Default(_) => said,
        }
    }
}

/// Where the values of one element go, in place of where the built-in tables send them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FieldRule {
    /// Enterprise number; 0 for IANA's elements and for NetFlow v9 types.
    pub pen: u32,
    /// Element id or NetFlow v9 type.
    pub id: u16,
    /// Where to.
    pub to: Destination,
}

/// Where an element's values go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// Into a field of the record.
    Field(RecordField),
    /// Among the record's extra elements.
    Extra,
}

impl Destination {
    /// What [`Destination::Extra`] is called.
    pub const EXTRA: &'static str = "extra";

    /// The destination of this name.
    pub fn named(name: &str) -> Option<Self> {
        let field = || RecordField::named(name).map(Self::Field);
        if name == Self::EXTRA { Some(Self::Extra) } else { field() }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Field(field) => field.name(),
            Self::Extra => Self::EXTRA,
        }
    }
}

/// How records are made where the built-in tables are not followed throughout.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    made: How,
    plans: Mutex<Plans>,
}

/// What makes two plans of one template different.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct How {
    pub(crate) fields: Vec<FieldRule>,
    pub(crate) keep_unknown: bool,
    /// Whether records of two directions become two.
    pub(crate) split_biflows: bool,
    /// Whether records say nothing of their sampling rate, whatever elements they have.
    pub(crate) sampling_is_fixed: bool,
}

/// Plans by template. Those that nobody uses any more go when the number has grown by a quarter.
#[derive(Debug, Default)]
struct Plans {
    by_template: HashMap<Arc<Template>, Arc<Plan>>,
    sweep_at: usize,
}

impl Rules {
    fn new(made: How) -> Self {
        Self { made, plans: Mutex::default() }
    }

    /// The plan of a template by these rules, compiled where there is none yet.
    pub(crate) fn plan(&self, template: &Arc<Template>) -> Arc<Plan> {
        let mut plans = lock(&self.plans);
        if let Some(plan) = plans.by_template.get(template) {
            return plan.clone();
        }
        if plans.by_template.len() >= plans.sweep_at {
            plans.by_template.retain(|_, plan| Arc::strong_count(plan) > 1);
            plans.sweep_at = plans.by_template.len() + plans.by_template.len() / 4 + 64;
        }
        let plan = Arc::new(Plan::compile_by(template.clone(), &self.made));
        plans.by_template.insert(template.clone(), plan.clone());
        plan
    }
}

/// How the records of an exporter are made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Treatment {
    pub(crate) sampling: Sampling,
    /// `None`: by the built-in tables.
    pub(crate) rules: Option<Arc<Rules>>,
}

impl Treatment {
    /// Whether what fills no field is kept.
    pub(crate) fn keeps_unknown(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.made.keep_unknown)
    }
}

/// What is said of all exporters.
#[derive(Debug, Default)]
pub struct Overrides {
    by_network: HashMap<Network, Treatment>,
    /// Prefix lengths there are, the longest first, of IPv4 and of IPv6.
    lengths: [Vec<u8>; 2],
    otherwise: Treatment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Network {
    zone: Option<ZoneId>,
    address: IpAddr,
    length: u8,
}

impl Overrides {
    /// What `overrides` say, and `otherwise` of those whom none is about. Of two about one network the later counts.
    pub fn new(overrides: impl IntoIterator<Item = Override>, otherwise: Otherwise) -> Self {
        let mut known: Vec<Arc<Rules>> = Vec::new();
        let mut treatment = |sampling: Sampling, fields: Vec<FieldRule>, of_all: Otherwise| {
            let Otherwise { keep_unknown, split_biflows } = of_all;
            let sampling_is_fixed = matches!(sampling, Sampling::Fixed(_));
            let made = How { fields, keep_unknown, split_biflows, sampling_is_fixed };
            if made == How::default() {
                return Treatment { sampling, rules: None };
            }
            let same = known.iter().find(|rules| rules.made == made).cloned();
            let rules = same.unwrap_or_else(|| {
                known.push(Arc::new(Rules::new(made)));
                known[known.len() - 1].clone()
            });
            Treatment { sampling, rules: Some(rules) }
        };
        let mut all =
            Self { otherwise: treatment(Sampling::AsSaid, Vec::new(), otherwise), ..Self::default() };
        for Override { zone, address, length, sampling, fields, keep_unknown, split_biflows } in overrides {
            let said = Otherwise { keep_unknown, split_biflows };
            let network = Network { zone, address: masked(address, length), length };
            let lengths = &mut all.lengths[usize::from(address.is_ipv6())];
            if let Err(at) = lengths.binary_search_by(|other| length.cmp(other)) {
                lengths.insert(at, length);
            }
            all.by_network.insert(network, treatment(sampling, fields, said));
        }
        all
    }

    /// How the records of an exporter are made: as the longest prefix says, of two that are equally long the one for the zone.
    pub(crate) fn of(&self, zone: ZoneId, exporter: IpAddr) -> &Treatment {
        for &length in &self.lengths[usize::from(exporter.is_ipv6())] {
            let address = masked(exporter, length);
            for zone in [Some(zone), None] {
                if let Some(treatment) = self.by_network.get(&Network { zone, address, length }) {
                    return treatment;
                }
            }
        }
        &self.otherwise
    }
}

/// The first address of the network with this many leading bits.
fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::template::{FieldSpecifier, TemplateKind};

    fn network(zone: Option<u16>, address: &str, length: u8, rate: u32) -> Override {
        Override {
            zone: zone.map(ZoneId),
            address: address.parse().unwrap(),
            length,
            sampling: NonZeroU32::new(rate).map_or(Sampling::AsSaid, Sampling::Fixed),
            fields: Vec::new(),
            keep_unknown: false,
            split_biflows: false,
        }
    }

    fn rate(overrides: &Overrides, zone: u16, exporter: &str) -> u64 {
        overrides.of(ZoneId(zone), exporter.parse().unwrap()).sampling.of(0)
    }

    #[test]
    fn the_longest_prefix_counts_and_at_the_same_length_the_zone() {
        let overrides = Overrides::new(
            [
                network(None, "0.0.0.0", 0, 1),
                network(None, "10.0.0.0", 8, 2),
                network(Some(1), "10.0.0.0", 8, 3),
                network(None, "10.1.0.0", 16, 4),
                network(None, "10.1.2.3", 32, 5),
                network(None, "2001:db8::", 32, 6),
            ],
            Otherwise::default(),
        );
        let rates = |zone| {
            ["192.0.2.1", "10.9.9.9", "10.1.9.9", "10.1.2.3", "2001:db8::1", "2001:db9::1"]
                .map(|exporter| rate(&overrides, zone, exporter))
        };
        assert_eq!(rates(0), [1, 2, 4, 5, 6, 0]);
        assert_eq!(rates(1), [1, 3, 4, 5, 6, 0]);
    }

    #[test]
    fn rates_are_replaced_or_filled_in() {
        let rate = NonZeroU32::new(100).unwrap();
        let of = |sampling: Sampling| [sampling.of(0), sampling.of(7)];
        assert_eq!(of(Sampling::AsSaid), [0, 7]);
        assert_eq!(of(Sampling::Default(rate)), [100, 7]);
        assert_eq!(of(Sampling::Fixed(rate)), [100, 100]);
    }

    #[test]
    fn equal_rules_are_one_and_the_plans_of_templates_that_are_gone_go() {
        let keep = |address| Override { keep_unknown: true, ..network(None, address, 32, 0) };
        let overrides = Overrides::new([keep("192.0.2.1"), keep("192.0.2.2")], Otherwise::default());
        let of = |exporter: &str| overrides.of(ZoneId(0), exporter.parse().unwrap()).rules.clone();
        let (a, b) = (of("192.0.2.1").unwrap(), of("192.0.2.2").unwrap());
        assert!(Arc::ptr_eq(&a, &b) && of("192.0.2.3").is_none());
        let template =
            |length| Arc::new(Template::new(TemplateKind::Data, [FieldSpecifier::iana(1, length)]).unwrap());
        let used = a.plan(&template(8));
        assert!(Arc::ptr_eq(&used, &b.plan(&template(8))));
        for length in 1..1000 {
            a.plan(&template(length));
        }
        assert!(lock(&a.plans).by_template.len() < 200);
        assert!(Arc::ptr_eq(&used, &a.plan(&template(8))));
    }

    proptest! {
        #[test]
        fn whoever_is_found_is_the_longest_that_contains(
            networks in prop::collection::vec((prop::option::of(0u16..2), any::<u8>(), 0u8..=32), 0..12),
            (zone, exporter) in (0u16..2, any::<u8>()),
        ) {
            let address = |octet: u8| IpAddr::from([octet, 0, 0, octet]);
            let all = networks.iter().zip(1u32..).map(|((zone, octet, length), rate)| Override {
                address: address(*octet),
                ..network(*zone, "0.0.0.0", *length, rate)
            });
            let all: Vec<_> = all.collect();
            let overrides = Overrides::new(all.clone(), Otherwise::default());
            let contains = |each: &&Override| {
                masked(each.address, each.length) == masked(address(exporter), each.length)
                    && each.zone.is_none_or(|of| of == ZoneId(zone))
            };
            let best = all.iter().filter(contains).max_by_key(|each| (each.length, each.zone.is_some()));
            let found = overrides.of(ZoneId(zone), address(exporter)).sampling;
            prop_assert_eq!(found, best.map_or(Sampling::AsSaid, |best| best.sampling));
        }
    }
}
