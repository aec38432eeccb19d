//! What options data says about an exporter: sampling rates, the time it started, and names (see `names`).
//!
//! One options record is read into a [`Meaning`]; an observation domain's [`OptionsState`] keeps the latest of each kind, with the
//! time at which it was first said. What is said again changes nothing: no copy is made and nobody is told.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::names::{Kept, Names, SharedName, Thing};
use crate::options_record::{Meaning, Sampled};

/// Selectors, and interfaces with a rate of their own, that are kept for one domain.
const MAX_SELECTORS: usize = 1024;
const MAX_INTERFACES: usize = 2048;

/// What options state takes in memory where there is any, with tables of few, and a rate of it, in a table that may be half empty.
const OCTETS: usize = 600;
const RATE_OCTETS: usize = 60;

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
    /// Takes over what the news of a set say; says whether that is another value.
    fn take(&mut self, news: Self, said: Said) -> bool {
        let holds = match said {
            Said::Now => true,
            Said::Earlier(time) => self.value == 0 || time > self.time,
        };
        holds && self.say(news.value, news.time)
    }

    /// Takes over a value that was said here, now. Its time is after that of the value it replaces, so that it wins elsewhere.
    fn say(&mut self, value: u64, time: u64) -> bool {
        let is_news = value != 0 && value != self.value;
        if is_news {
            *self = Self { time: time.max(self.time + 1), value };
        }
        is_news
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

/// Sampling rates by a number, so many at most. Who came first stays.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RateTable {
    by_id: Arc<HashMap<u64, Learnt>>,
    most: usize,
}

impl RateTable {
    fn new(most: usize) -> Self {
        Self { by_id: Arc::default(), most }
    }

    fn get(&self, id: u64) -> Option<u64> {
        self.by_id.get(&id).map(|rate| rate.value)
    }

    fn has_room(&self, id: u64) -> bool {
        self.by_id.len() < self.most || self.by_id.contains_key(&id)
    }

    /// Puts rates in their place as `change` says of each: what becomes of the one that is known. What stays as it is takes no
    /// copy.
    fn each_news(
        &mut self,
        news: impl IntoIterator<Item = (u64, Learnt)>,
        change: impl Fn(&mut Learnt, Learnt) -> bool,
    ) -> Kept {
        let mut kept = Kept::default();
        for (id, rate) in news.into_iter().filter(|(_, rate)| rate.value != 0) {
            let mut known = self.by_id.get(&id).copied().unwrap_or_default();
            if !change(&mut known, rate) {
                continue;
            }
            if self.has_room(id) {
                Arc::make_mut(&mut self.by_id).insert(id, known);
                kept.changed = true;
            } else {
                kept.left_out += 1;
            }
        }
        kept
    }

    fn all(&self) -> impl Iterator<Item = (u64, Learnt)> {
        self.by_id.iter().map(|(id, rate)| (*id, *rate))
    }

    fn shared(&self) -> Vec<(u64, Learnt)> {
        let mut rates: Vec<_> = self.all().collect();
        rates.sort_unstable();
        rates
    }
}

/// Exporter state of one observation domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OptionsState {
    /// Sampling rate that holds where neither a selector nor an interface says otherwise.
    domain_rate: Learnt,
    /// Sampling rates by sampler or selector id.
    selector_rates: RateTable,
    /// Sampling rates by SNMP index.
    interface_rates: RateTable,
    /// systemInitTimeMilliseconds (160), ms since 1970.
    boot_ms: Learnt,
    names: Arc<Names>,
    /// Whether there are names that records show: asked for each set.
    has_names: bool,
}

/// Most scopes have none, and share this.
static NOTHING: LazyLock<Arc<OptionsState>> = LazyLock::new(|| {
    Arc::new(OptionsState {
        domain_rate: Learnt::default(),
        selector_rates: RateTable::new(MAX_SELECTORS),
        interface_rates: RateTable::new(MAX_INTERFACES),
        boot_ms: Learnt::default(),
        names: Arc::default(),
        has_names: false,
    })
});

impl Default for OptionsState {
    fn default() -> Self {
        Self::clone(&NOTHING)
    }
}

/// How something that was said stands to what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Known,
    News,
    /// So much of it is not known, and there is no room for it.
    WithoutRoom(usize),
}

/// What became of news.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Whether rates or the start time are others than before: records are decoded otherwise.
    pub(crate) values: bool,
    /// Whether names are.
    pub(crate) names: bool,
    /// How much of it found no room.
    pub(crate) left_out: usize,
    /// How many names made room for others.
    pub(crate) evicted: usize,
}

impl Change {
    pub(crate) fn any(self) -> bool {
        self.values || self.names
    }

    fn add_rates(&mut self, kept: Kept) {
        self.values |= kept.changed;
        self.left_out += kept.left_out;
    }

    fn add_names(&mut self, kept: Kept) {
        self.names |= kept.changed;
        self.left_out += kept.left_out;
        self.evicted += kept.evicted;
    }
}

impl OptionsState {
    /// What is known before anything was said.
    pub(crate) fn nothing() -> Arc<Self> {
        NOTHING.clone()
    }

    /// Octets of memory that it takes.
    pub(crate) fn octets(&self) -> usize {
        match self.selector_rates.by_id.len() + self.interface_rates.by_id.len() {
            0 if self.domain_rate.value == 0 && self.boot_ms.value == 0 && self.names.is_empty() => 0,
            rates => OCTETS + rates * RATE_OCTETS + self.names.octets(),
        }
    }

    /// How many rates, names and other values it has.
    pub(crate) fn len(&self) -> usize {
        let values = [self.domain_rate, self.boot_ms].into_iter().filter(|value| value.value != 0).count();
        values + self.selector_rates.by_id.len() + self.interface_rates.by_id.len() + self.names.len()
    }

    /// Rate that holds for the whole domain; 0 where none was announced.
    pub(crate) fn domain_rate(&self) -> u64 {
        self.domain_rate.value
    }

    /// Rate of a selector, where one was announced for it.
    pub(crate) fn selector_rate(&self, selector: u64) -> Option<u64> {
        self.selector_rates.get(selector)
    }

    /// Rate of an interface, where one was announced for it.
    pub(crate) fn interface_rate(&self, index: u64) -> Option<u64> {
        self.interface_rates.get(index)
    }

    /// Whether any interface has a rate of its own.
    pub(crate) fn has_interface_rates(&self) -> bool {
        !self.interface_rates.by_id.is_empty()
    }

    /// Whether there are names that records show.
    #[inline]
    pub(crate) fn has_names(&self) -> bool {
        self.has_names
    }

    /// The name of a thing.
    pub(crate) fn name_of(&self, thing: Thing) -> Option<&str> {
        self.names.get(thing)
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

    /// Notes that an options record was heard at `time` (ms since 1970), and gives how what it says stands to the state.
    pub(crate) fn hear(&self, meaning: &Meaning<'_>, time: u64) -> Standing {
        let by_id = |rates: &RateTable, id| match rates.get(id) {
            Some(known) if known == meaning.rate => Standing::Known,
            _ if rates.has_room(id) => Standing::News,
            _ => Standing::WithoutRoom(1),
        };
        let rate = match meaning.of {
            _ if meaning.rate == 0 => Standing::Known,
            Sampled::Selector(id) => by_id(&self.selector_rates, id),
            Sampled::Interface(index) => by_id(&self.interface_rates, index),
            Sampled::Domain if meaning.rate == self.domain_rate.value => Standing::Known,
            Sampled::Domain => Standing::News,
        };
        let boot_is_known = meaning.boot_ms == 0 || meaning.boot_ms == self.boot_ms.value;
        match (rate, self.names.hear(&meaning.named, time)) {
            (Standing::News, _) | (_, None) => Standing::News,
            _ if !boot_is_known => Standing::News,
            (Standing::Known, Some(0)) => Standing::Known,
            (Standing::Known, Some(names)) => Standing::WithoutRoom(names),
            (Standing::WithoutRoom(rates), Some(names)) => Standing::WithoutRoom(rates + names),
        }
    }

    /// Takes over what `meaning` says, at `time` (ms since 1970).
    pub(crate) fn apply(&mut self, meaning: &Meaning<'_>, time: u64) {
        let rate = Learnt { value: meaning.rate, time };
        let say = |known: &mut Learnt, news: Learnt| known.say(news.value, news.time);
        match meaning.of {
            Sampled::Domain => drop(self.domain_rate.say(rate.value, rate.time)),
            Sampled::Selector(id) => drop(self.selector_rates.each_news([(id, rate)], say)),
            Sampled::Interface(index) => drop(self.interface_rates.each_news([(index, rate)], say)),
        }
        self.boot_ms.say(meaning.boot_ms, time);
        if !self.names.knows(&meaning.named) {
            Arc::make_mut(&mut self.names).say(&meaning.named, time);
            self.has_names = self.names.in_records();
        }
    }

    /// Takes over all that the news of a set say.
    pub(crate) fn apply_all(&mut self, news: &Self, said: Said) -> Change {
        let mut change = Change::default();
        let take = |known: &mut Learnt, news: Learnt| known.take(news, said);
        change.add_rates(self.selector_rates.each_news(news.selector_rates.all(), take));
        change.add_rates(self.interface_rates.each_news(news.interface_rates.all(), take));
        change.values |= self.domain_rate.take(news.domain_rate, said);
        change.values |= self.boot_ms.take(news.boot_ms, said);
        self.change_names(&mut change, |names| names.take(&news.names, said));
        change
    }

    /// Takes over what other nodes have learnt, each value where it is later than the own.
    pub(crate) fn merge(&mut self, shared: &SharedOptions) -> Change {
        let mut change = Change::default();
        let (selectors, interfaces) = (&shared.selector_rates, &shared.interface_rates);
        change.add_rates(self.selector_rates.each_news(selectors.iter().copied(), Learnt::merge));
        change.add_rates(self.interface_rates.each_news(interfaces.iter().copied(), Learnt::merge));
        change.values |= self.domain_rate.merge(shared.domain_rate);
        change.values |= self.boot_ms.merge(shared.boot_ms);
        self.change_names(&mut change, |names| names.merge(&shared.names));
        change
    }

    fn change_names(&mut self, change: &mut Change, by: impl FnOnce(&mut Names) -> Kept) {
        // Cheap: the tables are shared with the state before until one of them changes.
        let mut names = Names::clone(&self.names);
        let kept = by(&mut names);
        if kept.changed {
            self.names = Arc::new(names);
            self.has_names = self.names.in_records();
        }
        change.add_names(kept);
    }

    /// The state as others are told of it.
    pub(crate) fn shared(&self) -> SharedOptions {
        SharedOptions {
            domain_rate: self.domain_rate,
            selector_rates: self.selector_rates.shared(),
            interface_rates: self.interface_rates.shared(),
            boot_ms: self.boot_ms,
            names: self.names.shared(),
        }
    }
}

/// Options state of a domain as nodes tell each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedOptions {
    /// Sampling rate that holds where neither a selector nor an interface says otherwise.
    pub domain_rate: Learnt,
    /// Sampling rates by NetFlow v9's sampler id or PSAMP's selector id, sorted by it.
    pub selector_rates: Vec<(u64, Learnt)>,
    /// Sampling rates by the SNMP index of an interface, sorted by it.
    pub interface_rates: Vec<(u64, Learnt)>,
    /// When the exporter started (systemInitTimeMilliseconds), milliseconds since 1970.
    pub boot_ms: Learnt,
    /// Names, sorted by kind, then id.
    pub names: Vec<SharedName>,
}

impl SharedOptions {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.domain_rate.value == 0
            && self.boot_ms.value == 0
            && self.selector_rates.is_empty()
            && self.interface_rates.is_empty()
            && self.names.is_empty()
    }

    /// How many values there are by number or name.
    pub(crate) fn len(&self) -> usize {
        self.selector_rates.len() + self.interface_rates.len() + self.names.len()
    }

    /// Leaves out what was learnt later than `limit` (ms since 1970): it would hold until then, whatever is said. Says how much.
    pub(crate) fn without_later(&mut self, limit: u64) -> usize {
        let before = self.len();
        let mut single = 0;
        for value in [&mut self.domain_rate, &mut self.boot_ms] {
            if value.time > limit {
                *value = Learnt::default();
                single += 1;
            }
        }
        self.selector_rates.retain(|(_, rate)| rate.time <= limit);
        self.interface_rates.retain(|(_, rate)| rate.time <= limit);
        self.names.retain(|name| name.time <= limit);
        single + before - self.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rate: u64, of: Sampled) -> Meaning<'static> {
        Meaning { rate, of, ..Meaning::default() }
    }

    #[test]
    fn rates_are_kept_by_what_they_are_of_and_bounded() {
        let mut state = OptionsState::default();
        state.apply(&of(10, Sampled::Domain), 1);
        for id in 0..5000 {
            for (sampled, most) in
                [(Sampled::Selector(id), MAX_SELECTORS), (Sampled::Interface(id), MAX_INTERFACES)]
            {
                let meaning = of(id + 1, sampled);
                let has_room = id < most as u64;
                let standing = if has_room { Standing::News } else { Standing::WithoutRoom(1) };
                assert_eq!(state.hear(&meaning, 1), standing);
                state.apply(&meaning, 1);
                assert_eq!(state.hear(&meaning, 1) == Standing::Known, has_room);
            }
        }
        assert_eq!(
            (state.selector_rate(5), state.selector_rate(4999), state.domain_rate()),
            (Some(6), None, 10)
        );
        assert_eq!((state.interface_rate(7), state.interface_rate(4999)), (Some(8), None));
        assert_eq!(state.octets(), OCTETS + (MAX_SELECTORS + MAX_INTERFACES) * RATE_OCTETS);
    }

    #[test]
    fn the_later_value_wins_in_whichever_order_nodes_hear_of_it() {
        let mut early = OptionsState::default();
        let boot = Meaning { boot_ms: 5, ..of(10, Sampled::Selector(1)) };
        early.apply(&boot, 100);
        early.apply(&of(70, Sampled::Interface(1)), 100);
        let mut late = OptionsState::default();
        late.apply(&of(20, Sampled::Selector(1)), 200);
        let (first, second) = (early.shared(), late.shared());
        assert!(early.merge(&second).values && !early.merge(&first).any());
        assert!(late.merge(&first).values, "the boot time is news");
        assert_eq!(early, late);
        assert_eq!((late.selector_rate(1), late.interface_rate(1), late.boot_ms()), (Some(20), Some(70), 5));
        late.apply(&of(30, Sampled::Selector(1)), 150);
        assert!(early.merge(&late.shared()).values, "what is said here is later than what it replaces");
    }

    #[test]
    fn what_is_said_again_is_no_change() {
        let mut state = OptionsState::default();
        let mut news = OptionsState::default();
        news.apply(&of(10, Sampled::Interface(3)), 100);
        assert_eq!(state.apply_all(&news, Said::Now), Change { values: true, ..Change::default() });
        let before = state.clone();
        assert_eq!(state.apply_all(&news, Said::Now), Change::default());
        assert_eq!(state.merge(&before.shared()), Change::default());
        assert!(Arc::ptr_eq(&state.interface_rates.by_id, &before.interface_rates.by_id));
        assert!(Arc::ptr_eq(&state.names, &before.names));
    }

    #[test]
    fn what_was_learnt_in_the_future_is_left_out() {
        let mut state = OptionsState::default();
        state.apply(&of(10, Sampled::Domain), 100);
        state.apply(&of(10, Sampled::Interface(1)), 300);
        let mut shared = state.shared();
        assert_eq!(shared.without_later(200), 1);
        assert_eq!((shared.domain_rate.value, shared.interface_rates), (10, vec![]));
    }
}
