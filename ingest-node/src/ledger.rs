//! The ledger: everything that came in, and what became of it.
//!
//! One typed structure from which metrics, health, the exit report and tests draw. Its invariants ([`Invariant`]):
//!
//! ```text
//! datagrams:  arrived  = received + kernel_dropped
//!             received = decoded + partly_decoded + rejected{reason}
//! sets:       seen     = decoded + pending + expired + evicted + rejected{reason}
//! stream:     produced + recovered = delivered + in_flight + on_disk + dropped{reason}
//! ```
//!
//! Both sides of each are counted where they happen and not derived from one another (but for `arrived`, which nobody
//! but the kernel sees), so that [`Ledger::check`] finds what was lost or counted twice.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{AddAssign, Index, IndexMut};

use flow_decoder::statistics::{ReasonCounts, SetCounts};
use flow_decoder::{Statistics, Stream};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

/// Why encoded records did not reach their destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DropReason {
    /// The producer's bounded queue had no room.
    QueueFull,
    /// A broker refused the message, or the topic or partition does not exist.
    DeliveryFailed,
    /// No broker took the message within librdkafka's `message.timeout.ms`.
    DeliveryTimeout,
    /// The message is larger than the client or the broker allows.
    MessageTooLarge,
    /// The producer failed for good and its queue was purged.
    ProducerFatal,
    /// A file or standard output could not be written.
    WriteError,
    /// The time for flushing at shutdown was over.
    Shutdown,
}

impl DropReason {
    /// How many reasons there are.
    pub const COUNT: usize = 7;

    /// All reasons, in the order of their discriminants.
    pub const ALL: [Self; Self::COUNT] = [
        Self::QueueFull,
        Self::DeliveryFailed,
        Self::DeliveryTimeout,
        Self::MessageTooLarge,
        Self::ProducerFatal,
        Self::WriteError,
        Self::Shutdown,
    ];

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::DeliveryFailed => "delivery_failed",
            Self::DeliveryTimeout => "delivery_timeout",
            Self::MessageTooLarge => "message_too_large",
            Self::ProducerFatal => "producer_fatal",
            Self::WriteError => "write_error",
            Self::Shutdown => "shutdown",
        }
    }
}

/// A count for each [`DropReason`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropCounts([u64; DropReason::COUNT]);

impl DropCounts {
    /// Sum over all reasons.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|&reason| (reason, self[reason]))
    }
}

impl Index<DropReason> for DropCounts {
    type Output = u64;

    fn index(&self, reason: DropReason) -> &u64 {
        &self.0[reason as usize]
    }
}

impl IndexMut<DropReason> for DropCounts {
    fn index_mut(&mut self, reason: DropReason) -> &mut u64 {
        &mut self.0[reason as usize]
    }
}

/// Datagrams by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatagramLedger {
    /// Reached the node's sockets.
    pub arrived: u64,
    /// Of these, dropped by the kernel for want of buffer; a lower bound while `udp.gro` is on.
    pub kernel_dropped: u64,
    /// Read from the sockets.
    pub received: u64,
    /// Decoded without loss.
    pub decoded: u64,
    /// Decoded but for at least one set, template or sample.
    pub partly_decoded: u64,
    /// Of which nothing could be used.
    pub rejected: ReasonCounts,
}

/// Encoded records of one stream by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamLedger {
    /// Handed to the output in finished batches.
    pub produced: u64,
    /// Found on disk at start.
    pub recovered: u64,
    /// Taken by the destination, for good.
    pub delivered: u64,
    /// With the output, not yet settled.
    pub in_flight: u64,
    /// In the spool.
    pub on_disk: u64,
    /// Given up.
    pub dropped: DropCounts,
}

impl StreamLedger {
    /// Whether the stream's invariant holds.
    pub fn is_balanced(&self) -> bool {
        let (left, right) = self.sides();
        left == right
    }

    fn sides(&self) -> (u64, u64) {
        let settled = self.delivered + self.on_disk + self.dropped.total();
        // An `in_flight` below 0 (a batch settled twice) is a huge number here and must not wrap into balance.
        (self.produced + self.recovered, settled.saturating_add(self.in_flight))
    }
}

impl AddAssign for StreamLedger {
    fn add_assign(&mut self, other: Self) {
        self.produced += other.produced;
        self.recovered += other.recovered;
        self.delivered += other.delivered;
        self.in_flight = self.in_flight.saturating_add(other.in_flight);
        self.on_disk += other.on_disk;
        for (mine, theirs) in self.dropped.0.iter_mut().zip(other.dropped.0) {
            *mine += theirs;
        }
    }
}

/// A snapshot of all accounts.
///
/// It serialises as the value of the `ledger` key: `rejected` and `dropped` are totals, and beside them stand
/// `rejected_reasons` and `dropped_reasons` with the reasons that are not 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Datagrams.
    pub datagrams: DatagramLedger,
    /// Data sets of NetFlow v9 and IPFIX.
    pub sets: SetCounts,
    /// Records, in the order of [`Stream::ALL`].
    pub streams: [StreamLedger; Stream::COUNT],
}

impl Ledger {
    /// Draws the ledger from its three books: the sockets' (`received`, `kernel_dropped`), the decoders', the output's.
    pub fn new(
        received: u64,
        kernel_dropped: u64,
        decoders: &Statistics,
        streams: [StreamLedger; Stream::COUNT],
    ) -> Self {
        let datagrams = DatagramLedger {
            arrived: received + kernel_dropped,
            kernel_dropped,
            received,
            decoded: decoders.datagrams.decoded,
            partly_decoded: decoders.datagrams.partly_decoded,
            rejected: decoders.datagrams.rejected,
        };
        Self { datagrams, sets: decoders.sets, streams }
    }

    /// The account of one stream.
    pub fn stream(&self, stream: Stream) -> &StreamLedger {
        &self.streams[stream as usize]
    }

    /// Whether all invariants hold; if not, which do not.
    pub fn check(&self) -> Result<(), Vec<Imbalance>> {
        let imbalances: Vec<_> = Invariant::all()
            .filter_map(|invariant| {
                let (left, right) = self.sides(invariant);
                (left != right).then_some(Imbalance { invariant, left, right })
            })
            .collect();
        if imbalances.is_empty() { Ok(()) } else { Err(imbalances) }
    }

    fn sides(&self, invariant: Invariant) -> (u64, u64) {
        let Self { datagrams, sets, streams } = self;
        match invariant {
            Invariant::Arrived => (datagrams.arrived, datagrams.received + datagrams.kernel_dropped),
            Invariant::Received => (
                datagrams.received,
                datagrams.decoded + datagrams.partly_decoded + datagrams.rejected.total(),
            ),
            Invariant::Sets => {
                (sets.seen, sets.decoded + sets.pending + sets.expired + sets.evicted + sets.rejected.total())
            }
            Invariant::Stream(stream) => streams[stream as usize].sides(),
        }
    }
}

/// An equation that the ledger must satisfy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    /// Datagrams that arrived were received or dropped by the kernel.
    Arrived,
    /// Datagrams that were received were decoded, in part, or rejected.
    Received,
    /// Data sets.
    Sets,
    /// Records of a stream.
    Stream(Stream),
}

impl Invariant {
    /// All there are.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Arrived, Self::Received, Self::Sets].into_iter().chain(Stream::ALL.map(Self::Stream))
    }
}

/// An invariant that does not hold, with the numbers of both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imbalance {
    /// Which one.
    pub invariant: Invariant,
    /// What came in.
    pub left: u64,
    /// What became of it, as far as it is known.
    pub right: u64,
}

impl fmt::Display for Imbalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (left, right) = (self.left, self.right);
        match self.invariant {
            Invariant::Arrived => write!(f, "datagrams: arrived {left}, received + kernel_dropped {right}"),
            Invariant::Received => {
                write!(f, "datagrams: received {left}, decoded + partly_decoded + rejected {right}")
            }
            Invariant::Sets => {
                write!(f, "sets: seen {left}, decoded + pending + expired + evicted + rejected {right}")
            }
            Invariant::Stream(stream) => write!(
                f,
                "{}: produced + recovered {left}, delivered + in_flight + on_disk + dropped {right}",
                stream.label()
            ),
        }
    }
}

/// One line for people: whether it balances, and the sums. Streams without records are left out, but for `flow`.
impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let imbalances = self.check().err().unwrap_or_default();
        f.write_str(if imbalances.is_empty() { "ledger balanced: " } else { "ledger DIFFERS: " })?;
        for imbalance in &imbalances {
            write!(f, "[{imbalance}] ")?;
        }
        let datagrams = &self.datagrams;
        write!(
            f,
            "{} datagrams arrived, {} dropped by the kernel, {} decoded, {} in part, {} rejected",
            datagrams.arrived,
            datagrams.kernel_dropped,
            datagrams.decoded,
            datagrams.partly_decoded,
            datagrams.rejected.total()
        )?;
        let used =
            |&stream: &Stream| stream == Stream::Flow || *self.stream(stream) != StreamLedger::default();
        for stream in Stream::ALL.into_iter().filter(used) {
            let StreamLedger { produced, recovered, delivered, in_flight, on_disk, dropped } =
                self.stream(stream);
            write!(
                f,
                "; {}: {produced} produced, {recovered} recovered, {delivered} delivered, {in_flight} in flight, \
                 {on_disk} on disk, {} dropped",
                stream.label(),
                dropped.total()
            )?;
            for (reason, count) in dropped.iter().filter(|(_, count)| *count > 0) {
                write!(f, " ({} {count})", reason.label())?;
            }
        }
        Ok(())
    }
}

impl Serialize for Ledger {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("datagrams", &self.datagrams)?;
        map.serialize_entry("sets", &SetsForm::from(&self.sets))?;
        let streams: BTreeMap<_, _> =
            Stream::ALL.into_iter().map(|stream| (stream.label(), self.stream(stream))).collect();
        map.serialize_entry("streams", &streams)?;
        map.end()
    }
}

impl Serialize for DatagramLedger {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Form {
            arrived: u64,
            kernel_dropped: u64,
            received: u64,
            decoded: u64,
            partly_decoded: u64,
            rejected: u64,
            rejected_reasons: Reasons,
        }
        let Self { arrived, kernel_dropped, received, decoded, partly_decoded, rejected } = *self;
        let rejected_reasons = reasons(rejected.iter().map(|(reason, count)| (reason.label(), count)));
        let rejected = rejected.total();
        Form { arrived, kernel_dropped, received, decoded, partly_decoded, rejected, rejected_reasons }
            .serialize(serializer)
    }
}

impl Serialize for StreamLedger {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Form {
            produced: u64,
            recovered: u64,
            delivered: u64,
            in_flight: u64,
            on_disk: u64,
            dropped: u64,
            dropped_reasons: Reasons,
        }
        let Self { produced, recovered, delivered, in_flight, on_disk, dropped } = *self;
        let dropped_reasons = reasons(dropped.iter().map(|(reason, count)| (reason.label(), count)));
        let dropped = dropped.total();
        Form { produced, recovered, delivered, in_flight, on_disk, dropped, dropped_reasons }
            .serialize(serializer)
    }
}

/// How the decoder's set counts are serialised.
#[derive(Serialize)]
struct SetsForm {
    seen: u64,
    decoded: u64,
    held: u64,
    released: u64,
    pending: u64,
    expired: u64,
    evicted: u64,
    rejected: u64,
    rejected_reasons: Reasons,
}

impl From<&SetCounts> for SetsForm {
    fn from(sets: &SetCounts) -> Self {
        let SetCounts { seen, decoded, held, released, pending, expired, evicted, rejected } = *sets;
        let rejected_reasons = reasons(rejected.iter().map(|(reason, count)| (reason.label(), count)));
        let rejected = rejected.total();
        Self { seen, decoded, held, released, pending, expired, evicted, rejected, rejected_reasons }
    }
}

/// Counts that are not 0, by the reason's label.
type Reasons = BTreeMap<&'static str, u64>;

fn reasons(counts: impl Iterator<Item = (&'static str, u64)>) -> Reasons {
    counts.filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use flow_decoder::Reason;

    use super::*;

    fn balanced() -> Ledger {
        let mut decoders = Statistics::default();
        decoders.datagrams.decoded = 7;
        decoders.datagrams.partly_decoded = 2;
        decoders.datagrams.rejected[Reason::UnknownVersion] = 1;
        decoders.sets.seen = 5;
        decoders.sets.decoded = 4;
        decoders.sets.rejected[Reason::NoTemplate] = 1;
        let mut flow = StreamLedger { produced: 10, recovered: 2, delivered: 6, ..StreamLedger::default() };
        flow.in_flight = 3;
        flow.on_disk = 1;
        flow.dropped[DropReason::QueueFull] = 2;
        let mut streams = [StreamLedger::default(); Stream::COUNT];
        streams[Stream::Flow as usize] = flow;
        Ledger::new(10, 3, &decoders, streams)
    }

    #[test]
    fn a_balanced_ledger_passes() {
        assert_eq!(balanced().check(), Ok(()));
    }

    #[test]
    fn each_invariant_is_found_broken_by_its_name_and_numbers() {
        type Damage = fn(&mut Ledger);
        let cases: [(Damage, Imbalance); 4] = [
            (
                |ledger| ledger.datagrams.arrived += 1,
                Imbalance { invariant: Invariant::Arrived, left: 14, right: 13 },
            ),
            (
                |ledger| ledger.datagrams.partly_decoded -= 1,
                Imbalance { invariant: Invariant::Received, left: 10, right: 9 },
            ),
            (|ledger| ledger.sets.evicted += 1, Imbalance { invariant: Invariant::Sets, left: 5, right: 6 }),
            (
                |ledger| ledger.streams[Stream::Drops as usize].delivered += 1,
                Imbalance { invariant: Invariant::Stream(Stream::Drops), left: 0, right: 1 },
            ),
        ];
        for (damage, imbalance) in cases {
            let mut ledger = balanced();
            damage(&mut ledger);
            assert_eq!(ledger.check(), Err(vec![imbalance]));
        }
    }

    #[test]
    fn json_has_totals_and_the_reasons_beside_them() {
        let ledger = serde_json::to_value(balanced()).expect("numbers and text");
        assert_eq!(ledger["datagrams"]["arrived"], 13);
        assert_eq!(ledger["datagrams"]["rejected"], 1);
        assert_eq!(ledger["datagrams"]["rejected_reasons"], serde_json::json!({"unknown_version": 1}));
        assert_eq!(ledger["sets"]["rejected_reasons"], serde_json::json!({"no_template": 1}));
        assert_eq!(ledger["streams"]["flow"]["dropped"], 2);
        assert_eq!(ledger["streams"]["flow"]["dropped_reasons"], serde_json::json!({"queue_full": 2}));
        assert_eq!(ledger["streams"]["options"]["produced"], 0);
    }

    #[test]
    fn the_line_for_people_says_whether_it_balances() {
        let mut ledger = balanced();
        assert_eq!(
            ledger.to_string(),
            "ledger balanced: 13 datagrams arrived, 3 dropped by the kernel, 7 decoded, 2 in part, 1 rejected; \
             flow: 10 produced, 2 recovered, 6 delivered, 3 in flight, 1 on disk, 2 dropped (queue_full 2)"
        );
        ledger.streams[0].in_flight = 4;
        let line = ledger.to_string();
        let found =
            "ledger DIFFERS: [flow: produced + recovered 12, delivered + in_flight + on_disk + dropped 13] ";
        assert!(line.starts_with(found), "{line}");
    }

    #[test]
    fn drop_reasons_index_all_and_have_distinct_labels() {
        let labels: std::collections::HashSet<_> =
            DropReason::ALL.iter().map(|reason| reason.label()).collect();
        assert_eq!(labels.len(), DropReason::COUNT);
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }
}
