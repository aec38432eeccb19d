//! One options record: what it says of sampling, of the exporter's start, and of names (see `names`).
//!
//! A rate is of a sampler or selector where the record says one (NetFlow v9's 48, PSAMP's 302), else of an interface where it says
//! one (v9 scope 2, or 10, 14, 252, 253), else of the whole domain: v9's scopes SYSTEM, LINE CARD, CACHE and TEMPLATE among them,
//! because a domain is what a node tells apart. Interface 0 is none (RFC 2863): softflowd means all by it.

use crate::elements::unsigned;
use crate::names::{Named, is_interface};
use crate::sink::WireRecord;

/// What is sampled at a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sampled {
    /// What the domain observes.
    #[default]
    Domain,
    /// What the sampler or selector of this id selects.
    Selector(u64),
    /// What passes the interface of this index.
    Interface(u64),
}

/// What one options record says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meaning<'a> {
    /// Packets on the wire per packet observed; 0: it says none.
    pub(crate) rate: u64,
    /// Of what the rate is.
    pub(crate) of: Sampled,
    /// systemInitTimeMilliseconds (160); 0: it says none.
    pub(crate) boot_ms: u64,
    pub(crate) named: Named<'a>,
}

impl<'a> Meaning<'a> {
    /// Reads an options record.
    pub(crate) fn of(record: &WireRecord<'a>) -> Self {
        let mut rates = Rates::default();
        let mut meaning = Self { named: Named::of(record), ..Self::default() };
        let (mut boot_ms, mut selector, mut interface) = (None, None, None);
        for (field, value) in record.elements().filter(|(_, value)| !value.is_empty()) {
            if is_interface(record.version, field) {
                interface.get_or_insert(unsigned(value));
                continue;
            }
            if field.pen != 0 || field.scope && record.version == 9 {
                continue;
            }
            match field.id {
                48 | 302 => drop(selector.get_or_insert(unsigned(value))),
                160 => drop(boot_ms.get_or_insert(unsigned(value))),
                id => rates.note(id, value),
            }
        }
        meaning.of = match (selector, interface) {
            (Some(selector), _) => Sampled::Selector(selector),
            (None, Some(interface @ 1..)) => Sampled::Interface(interface),
            _ => Sampled::Domain,
        };
        meaning.rate = rates.rate();
        meaning.boot_ms = boot_ms.unwrap_or(0);
        meaning
    }
}

/// The elements that announce a sampling rate, in one record; of one that is there twice the first counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rates {
    /// samplingInterval (34), samplerRandomInterval (50).
    interval: Option<u64>,
    random_interval: Option<u64>,
    /// samplingPacketInterval (305), samplingPacketSpace (306): count-based, `interval` of `interval + space` packets.
    packet_interval: Option<u64>,
    packet_space: Option<u64>,
    /// samplingSize (309), samplingPopulation (310): `size` of `population` packets.
    size: Option<u64>,
    population: Option<u64>,
    /// samplingProbability (311).
    probability: Option<f64>,
}

impl Rates {
    /// Takes an element; 307 and 308 are time-based and give no rate.
    pub(crate) fn note(&mut self, id: u16, value: &[u8]) {
        if value.is_empty() {
            return;
        }
        let number = match id {
            34 => &mut self.interval,
            50 => &mut self.random_interval,
            305 => &mut self.packet_interval,
            306 => &mut self.packet_space,
            309 => &mut self.size,
            310 => &mut self.population,
            311 => {
                self.probability.get_or_insert(float(value));
                return;
            }
            _ => return,
        };
        number.get_or_insert(unsigned(value));
    }

    /// Packets on the wire per packet observed, rounded; 0 where nothing was announced or it makes no sense.
    pub(crate) fn rate(&self) -> u64 {
        if let (Some(interval @ 1..), Some(space)) = (self.packet_interval, self.packet_space) {
            return divide(interval.saturating_add(space), interval);
        }
        if let (Some(size @ 1..), Some(population)) = (self.size, self.population)
            && population >= size
        {
            return divide(population, size);
        }
        if let Some(probability) = self.probability
            && probability > 0.0
            && probability <= 1.0
        {
            return (1.0 / probability).round() as u64;
        }
        let plain = [self.random_interval, self.interval].into_iter().flatten();
        plain.into_iter().find(|&rate| rate != 0).unwrap_or(0)
    }
}

fn divide(whole: u64, part: u64) -> u64 {
    whole / part + u64::from(whole % part >= part.div_ceil(2))
}

fn float(value: &[u8]) -> f64 {
    match (<[u8; 4]>::try_from(value), <[u8; 8]>::try_from(value)) {
        (Ok(bytes), _) => f64::from(f32::from_be_bytes(bytes)),
        (_, Ok(bytes)) => f64::from_be_bytes(bytes),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(elements: &[(u16, u64)]) -> u64 {
        let mut rates = Rates::default();
        for (id, value) in elements {
            rates.note(*id, &value.to_be_bytes());
        }
        rates.rate()
    }

    #[test]
    fn every_way_to_announce_a_rate() {
        assert_eq!(rate(&[(34, 1000)]), 1000);
        assert_eq!(rate(&[(50, 100), (34, 0)]), 100);
        assert_eq!(rate(&[(305, 1), (306, 999)]), 1000);
        assert_eq!(rate(&[(305, 10), (306, 90)]), 10);
        assert_eq!(rate(&[(309, 2), (310, 200)]), 100);
        assert_eq!(rate(&[(311, 0.01f64.to_bits())]), 100);
        assert_eq!(rate(&[(305, 7)]), 0, "an interval without a space says nothing");
        assert_eq!(rate(&[(307, 5), (308, 5)]), 0, "time-based sampling gives no rate");
    }

    #[test]
    fn nonsense_gives_no_rate() {
        assert_eq!(rate(&[(309, 200), (310, 2)]), 0, "a population below its sample");
        assert_eq!(rate(&[(311, 7.0f64.to_bits())]), 0);
        assert_eq!(rate(&[(34, 0)]), 0);
        assert_eq!(rate(&[(34, 0xffff_ffff)]), 0xffff_ffff);
        assert_eq!(rate(&[(305, u64::MAX), (306, u64::MAX)]), 1);
    }
}
