//! What each exporter sends, counted by each worker for itself.
//!
//! ```text
//! (zone, address) --hash--> one of 1024 buckets of 8 places; a full bucket gives up its lightest
//! ```
//!
//! Bounded however many addresses send, and exact as long as a bucket is not full, which takes thousands of exporters. Who
//! comes into a full bucket takes the place of its lightest exporter and inherits its weight (not its counts), as in the
//! space-saving algorithm: so a heavy exporter that comes late stays, although a flood of spoofed addresses comes and goes.
//! A datagram costs one look-up, or one comparison where the exporter is that of the datagram before.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flow_decoder::ZoneId;

use crate::source::ExporterLoad;

const BUCKETS: usize = 1024;
const PLACES: usize = 8;

/// One worker's counts.
#[derive(Debug)]
pub(crate) struct Loads {
    /// [`BUCKETS`] times [`PLACES`].
    places: Vec<Load>,
    /// The place of the last datagram's exporter.
    last: usize,
}

/// What is counted of one datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    pub(crate) bytes: usize,
    pub(crate) records: u64,
    pub(crate) received_ns: u64,
}

/// What one exporter sent. A place that nobody has is all zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    zone: ZoneId,
    exporter: IpAddr,
    datagrams: u64,
    bytes: u64,
    records: u64,
    last_seen_ns: u64,
    /// Weight of those who had the place before.
    inherited: u64,
}

impl Load {
    const NOBODY: Self = Self {
        zone: ZoneId(0),
        exporter: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        datagrams: 0,
        bytes: 0,
        records: 0,
        last_seen_ns: 0,
        inherited: 0,
    };

    fn is(&self, zone: ZoneId, exporter: IpAddr) -> bool {
        self.exporter == exporter && self.zone == zone && self.datagrams > 0
    }

    /// Datagrams, so that one which cannot be decoded weighs as well.
    fn weight(&self) -> u64 {
        self.inherited + self.datagrams
    }
}

impl Loads {
    pub(crate) fn new() -> Self {
        Self { places: vec![Load::NOBODY; BUCKETS * PLACES], last: 0 }
    }

    /// Counts one datagram.
    #[inline]
    pub(crate) fn count(&mut self, zone: ZoneId, exporter: IpAddr, datagram: Counted) {
        if !self.places[self.last].is(zone, exporter) {
            self.last = self.place(zone, exporter);
        }
        let load = &mut self.places[self.last];
        load.datagrams += 1;
        load.bytes += datagram.bytes as u64;
        load.records += datagram.records;
        load.last_seen_ns = datagram.received_ns;
    }

    /// The exporter's place, made where it has none.
    fn place(&mut self, zone: ZoneId, exporter: IpAddr) -> usize {
        let start = bucket(zone, exporter) * PLACES;
        let places = &mut self.places[start..start + PLACES];
        if let Some(at) = places.iter().position(|load| load.is(zone, exporter)) {
            return start + at;
        }
        let lightest = (0..PLACES).min_by_key(|&at| places[at].weight()).unwrap_or_default();
        places[lightest] = Load { zone, exporter, inherited: places[lightest].weight(), ..Load::NOBODY };
        start + lightest
    }

    fn occupied(&self) -> impl Iterator<Item = &Load> {
        self.places.iter().filter(|load| load.datagrams > 0)
    }
}

fn bucket(zone: ZoneId, exporter: IpAddr) -> usize {
    const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
    let bits = match exporter {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            (bits >> 64) as u64 ^ (bits as u64).wrapping_mul(MULTIPLIER)
        }
    };
    let mixed = (bits ^ u64::from(zone.0) << 48).wrapping_mul(MULTIPLIER);
    (mixed >> 54) as usize % BUCKETS
}

/// A worker's counts as others see them: a copy, made about once a second.
#[derive(Debug, Default)]
pub(crate) struct LoadCell(Mutex<Vec<Load>>);

impl LoadCell {
    pub(crate) fn set(&self, loads: &Loads) {
        let mut copy = self.lock();
        copy.clear();
        copy.extend(loads.occupied());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Load>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all workers counted, each exporter once.
pub(crate) fn sum(cells: &[Arc<LoadCell>], labels: &[Arc<str>]) -> Vec<ExporterLoad> {
    let mut sums: HashMap<(ZoneId, IpAddr), ExporterLoad> = HashMap::new();
    for cell in cells {
        for load in cell.lock().iter() {
            let zone = labels.get(usize::from(load.zone.0)).cloned().unwrap_or_default();
            let sum = sums.entry((load.zone, load.exporter)).or_insert(ExporterLoad {
                zone,
                exporter: load.exporter,
                datagrams: 0,
                bytes: 0,
                records: 0,
                last_seen_ns: 0,
            });
            sum.datagrams += load.datagrams;
            sum.bytes += load.bytes;
            sum.records += load.records;
            sum.last_seen_ns = sum.last_seen_ns.max(load.last_seen_ns);
        }
    }
    sums.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: ZoneId = ZoneId(0);

    fn of(bytes: usize, records: u64) -> Counted {
        Counted { bytes, records, received_ns: 1000 + records }
    }

    fn address(bits: u32) -> IpAddr {
        IpAddr::V4(bits.into())
    }

    fn summed(loads: &Loads) -> HashMap<IpAddr, ExporterLoad> {
        let cell = Arc::new(LoadCell::default());
        cell.set(loads);
        sum(&[cell], &["".into()]).into_iter().map(|load| (load.exporter, load)).collect()
    }

    #[test]
    fn a_thousand_exporters_are_counted_exactly_and_zones_apart() {
        let mut loads = Loads::new();
        for round in 0..3 {
            for host in 0..1000 {
                loads.count(ZONE, address(0xc000_0200 + host), of(100, u64::from(host) + round));
            }
        }
        loads.count(ZoneId(1), address(0xc000_0200), of(7, 1));
        let cell = Arc::new(LoadCell::default());
        cell.set(&loads);
        let sums = sum(&[cell], &["".into(), "lab".into()]);
        assert_eq!(sums.len(), 1001);
        let found = |zone: &str, host| {
            let found =
                sums.iter().find(|load| &*load.zone == zone && load.exporter == address(host)).unwrap();
            (found.datagrams, found.bytes, found.records)
        };
        assert_eq!(found("", 0xc000_0200 + 500), (3, 300, 1503));
        assert_eq!((found("", 0xc000_0200), found("lab", 0xc000_0200)), ((3, 300, 3), (1, 7, 1)));
    }

    #[test]
    fn a_heavy_exporter_stays_in_a_flood_of_addresses() {
        let mut loads = Loads::new();
        let heavy = address(0x0a00_0001);
        let mut flood = 1_u32;
        for _ in 0..20_000 {
            for _ in 0..20 {
                flood = flood.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                loads.count(ZONE, address(flood), of(100, 1));
            }
            loads.count(ZONE, heavy, of(100, 1));
        }
        let sums = summed(&loads);
        assert!(sums.len() <= BUCKETS * PLACES);
        let counted = sums.get(&heavy).map_or(0, |load| load.datagrams);
        assert!((19_000..=20_000).contains(&counted), "{counted} of 20000");
    }

    #[test]
    fn what_two_workers_counted_is_added_up() {
        let cells: Vec<_> = (1..=2)
            .map(|records| {
                let mut loads = Loads::new();
                loads.count(ZONE, address(9), of(10, records));
                let cell = Arc::new(LoadCell::default());
                cell.set(&loads);
                cell
            })
            .collect();
        let sums = sum(&cells, &["".into()]);
        assert_eq!((sums.len(), sums[0].datagrams, sums[0].bytes, sums[0].records), (1, 2, 20, 3));
        assert_eq!(sums[0].last_seen_ns, 1002);
    }
}
