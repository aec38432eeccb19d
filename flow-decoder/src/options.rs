//! What options data says about an exporter: sampling rates, the time it started, and names (see `names`).
//!
//! One options record is read into a [`Meaning`]; an observation domain's [`OptionsState`] keeps the latest of each kind.
//! Selectors are NetFlow v9's sampler ids (48) and PSAMP's selector ids (302); a rate announced without one holds for the
//! whole domain.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::elements::unsigned;
use crate::names::{Named, Names, Thing};
use crate::sink::WireRecord;

/// Selectors kept for one domain; beyond it new ones are ignored.
const MAX_SELECTORS: usize = 1024;

/// What options state takes in memory where there is any, with tables of few, and a selector of it, in a table that may be half empty.
const OCTETS: usize = 500;
const SELECTOR_OCTETS: usize = 60;

/// A value and when it was learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Learnt {
    /// When, milliseconds since 1970; see [`Order::time`](crate::Order::time).
    pub time: u64,
    /// What: a rate, or milliseconds since 1970. 0 is unknown.
    pub value: u64,
}

/// When options data was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// In the datagram that is decoded: it holds from now on.
    Now,
    /// In an earlier one of this time (ms since 1970), whose template came late: what has been said since holds.
    Earlier(u64),
}

impl Learnt {
    fn take(&mut self, news: &Self, said: Said) {
        let holds = match said {
            Said::Now => true,
            Said::Earlier(time) => self.value == 0 || time > self.time,
        };
        if holds {
            self.say(news.value, news.time);
        }
    }

    /// Takes over a value that was said here, now. Its time is after that of the value it replaces, so that it wins elsewhere.
    fn say(&mut self, value: u64, time: u64) {
        if value != 0 && value != self.value {
            *self = Self { time: time.max(self.time + 1), value };
        }
    }

    /// Takes over what was said elsewhere, where it is later; says whether the value differs from before.
    fn merge(&mut self, other: Self) -> bool {
        let before = self.value;
        if other.value != 0 {
            *self = (*self).max(other);
        }
        self.value != before
    }
}

/// Exporter state of one observation domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OptionsState {
    /// Sampling rate that holds where no selector says otherwise.
    domain_rate: Learnt,
    /// Sampling rates by sampler or selector id.
    selector_rates: Arc<HashMap<u64, Learnt>>,
    /// systemInitTimeMilliseconds (160), ms since 1970.
    boot_ms: Learnt,
    names: Arc<Names>,
    /// Whether there are names: asked for each record.
    has_names: bool,
}

/// Most scopes have none, and share this.
static NOTHING: LazyLock<Arc<OptionsState>> = LazyLock::new(|| {
    let (domain_rate, boot_ms) = (Learnt::default(), Learnt::default());
    let names = Arc::default();
    Arc::new(OptionsState { domain_rate, selector_rates: Arc::default(), boot_ms, names, has_names: false })
});

impl Default for OptionsState {
    fn default() -> Self {
        Self::clone(&NOTHING)
    }
}

impl OptionsState {
    /// What is known before anything was said.
    pub(crate) fn nothing() -> Arc<Self> {
        NOTHING.clone()
    }

    /// Octets of memory that it takes.
    pub(crate) fn octets(&self) -> usize {
        match self.selector_rates.len() {
            0 if self.domain_rate.value == 0 && self.boot_ms.value == 0 && !self.has_names => 0,
            rates => OCTETS + rates * SELECTOR_OCTETS + self.names.octets(),
        }
    }

    /// Rate that holds for the whole domain; 0 where none was announced.
    pub(crate) fn domain_rate(&self) -> u64 {
        self.domain_rate.value
    }

    /// Rate of a selector, else the domain's.
    pub(crate) fn rate_of(&self, selector: u64) -> u64 {
        self.selector_rates.get(&selector).map_or(self.domain_rate.value, |rate| rate.value)
    }

    /// Whether anything has a name.
    #[inline]
    pub(crate) fn has_names(&self) -> bool {
        self.has_names
    }

    /// The name of a thing.
    pub(crate) fn name_of(&self, thing: Thing<'_>) -> Option<&[u8]> {
        self.names.get(thing)
    }

    /// The same without names.
    pub(crate) fn nameless(&self) -> Self {
        Self { names: Arc::default(), has_names: false, ..self.clone() }
    }

    /// Start time of the exporter, ms since 1970; 0 where none was announced.
    pub(crate) fn boot_ms(&self) -> u64 {
        self.boot_ms.value
    }

    /// The state as it was for data that came when the domain's rate and the start time were these, as far as they were known.
    pub(crate) fn as_it_was(&self, rate: u64, boot_ms: u64) -> Self {
        let mut then = self.clone();
        if rate != 0 {
            then.domain_rate.value = rate;
        }
        if boot_ms != 0 {
            then.boot_ms.value = boot_ms;
        }
        then
    }

    /// Whether the state says already what `meaning` says.
    pub(crate) fn knows(&self, meaning: &Meaning<'_>) -> bool {
        let rate = match (meaning.rate, meaning.selector) {
            (0, _) => true,
            (rate, Some(selector)) => match self.selector_rates.get(&selector) {
                Some(known) => known.value == rate,
                None => self.selector_rates.len() >= MAX_SELECTORS,
            },
            (rate, None) => rate == self.domain_rate.value,
        };
        let named = meaning.named.as_ref().is_none_or(|named| self.names.knows(named));
        rate && named && (meaning.boot_ms == 0 || meaning.boot_ms == self.boot_ms.value)
    }

    /// Takes over what `meaning` says, at `time` (ms since 1970).
    pub(crate) fn apply(&mut self, meaning: &Meaning<'_>, time: u64) {
        match meaning.selector {
            _ if meaning.rate == 0 => {}
            Some(selector) => {
                if let Some(rate) = self.rate_entry(selector) {
                    rate.say(meaning.rate, time);
                }
            }
            None => self.domain_rate.say(meaning.rate, time),
        }
        self.boot_ms.say(meaning.boot_ms, time);
        if let Some(named) = &meaning.named {
            Arc::make_mut(&mut self.names).insert(named);
            self.has_names = !self.names.is_empty();
        }
    }

    /// Takes over all that the news of a set say.
    pub(crate) fn apply_all(&mut self, news: &Self, said: Said) {
        for (&selector, rate) in &*news.selector_rates {
            if let Some(known) = self.rate_entry(selector) {
                known.take(rate, said);
            }
        }
        self.domain_rate.take(&news.domain_rate, said);
        self.boot_ms.take(&news.boot_ms, said);
        if news.has_names {
            Arc::make_mut(&mut self.names).extend(&news.names, said == Said::Now);
            self.has_names = true;
        }
    }

    /// Takes over what other nodes have learnt, each value where it is later than the own; says whether any changed.
    pub(crate) fn merge(&mut self, shared: &SharedOptions) -> bool {
        let mut changed = self.domain_rate.merge(shared.domain_rate);
        changed |= self.boot_ms.merge(shared.boot_ms);
        for &(selector, rate) in shared.selector_rates.iter().filter(|(_, rate)| rate.value != 0) {
            changed |= self.rate_entry(selector).is_some_and(|known| known.merge(rate));
        }
        changed
    }

    /// The state as others are told of it.
    pub(crate) fn shared(&self) -> SharedOptions {
        let mut selector_rates: Vec<_> = self.selector_rates.iter().map(|(id, rate)| (*id, *rate)).collect();
        selector_rates.sort_unstable();
        SharedOptions { domain_rate: self.domain_rate, selector_rates, boot_ms: self.boot_ms }
    }

    fn rate_entry(&mut self, selector: u64) -> Option<&mut Learnt> {
        let rates = Arc::make_mut(&mut self.selector_rates);
        if rates.len() >= MAX_SELECTORS {
            return rates.get_mut(&selector);
        }
        Some(rates.entry(selector).or_default())
    }
}

/// Options state of a domain as nodes tell each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedOptions {
    /// Sampling rate that holds where no selector says otherwise.
    pub domain_rate: Learnt,
    /// Sampling rates by NetFlow v9's sampler id or PSAMP's selector id, sorted by it.
    pub selector_rates: Vec<(u64, Learnt)>,
    /// When the exporter started (systemInitTimeMilliseconds), milliseconds since 1970.
    pub boot_ms: Learnt,
}

impl SharedOptions {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.domain_rate.value == 0 && self.boot_ms.value == 0 && self.selector_rates.is_empty()
    }

    /// The time of the latest value, ms since 1970.
    pub(crate) fn latest(&self) -> u64 {
        let rates = self.selector_rates.iter().map(|(_, rate)| rate.time);
        rates.chain([self.domain_rate.time, self.boot_ms.time]).max().unwrap_or(0)
    }
}

/// What one options record says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meaning<'a> {
    pub(crate) rate: u64,
    pub(crate) selector: Option<u64>,
    pub(crate) boot_ms: u64,
    pub(crate) named: Option<Named<'a>>,
}

impl<'a> Meaning<'a> {
    /// Reads an options record.
    pub(crate) fn of(record: &WireRecord<'a>) -> Self {
        let mut rates = Rates::default();
        let mut meaning = Self { named: Named::of(record), ..Self::default() };
        let mut boot_ms = None;
        for (field, value) in record.elements() {
            let v9_scope = field.scope && record.version == 9;
            if field.pen != 0 || v9_scope || value.is_empty() {
                continue;
            }
            match field.id {
                48 | 302 => {
                    meaning.selector.get_or_insert(unsigned(value));
                }
                160 => {
                    boot_ms.get_or_insert(unsigned(value));
                }
                id => rates.note(id, value),
            }
        }
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

    #[test]
    fn selectors_come_before_the_domain_and_are_bounded() {
        let mut state = OptionsState::default();
        state.apply(&Meaning { rate: 10, ..Meaning::default() }, 1);
        for selector in 0..2 * MAX_SELECTORS as u64 {
            let meaning = Meaning { rate: selector + 1, selector: Some(selector), ..Meaning::default() };
            state.apply(&meaning, 1);
            assert!(state.knows(&meaning), "knowing what cannot be kept avoids asking again");
        }
        assert_eq!((state.rate_of(5), state.rate_of(5000), state.domain_rate()), (6, 10, 10));
        assert_eq!(state.selector_rates.len(), MAX_SELECTORS);
    }

    #[test]
    fn the_later_value_wins_in_whichever_order_nodes_hear_of_it() {
        let mut early = OptionsState::default();
        early.apply(&Meaning { rate: 10, selector: Some(1), boot_ms: 5, named: None }, 100);
        let mut late = OptionsState::default();
        late.apply(&Meaning { rate: 20, selector: Some(1), ..Meaning::default() }, 200);
        let (first, second) = (early.shared(), late.shared());
        assert!(early.merge(&second) && !early.merge(&first));
        assert!(late.merge(&first), "the boot time is news");
        assert_eq!(early, late);
        assert_eq!((late.rate_of(1), late.boot_ms()), (20, 5));
        late.apply(&Meaning { rate: 30, selector: Some(1), ..Meaning::default() }, 150);
        assert!(early.merge(&late.shared()), "what is said here is later than what it replaces");
    }
}
