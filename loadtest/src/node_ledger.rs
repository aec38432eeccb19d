//! The ledger as an `ingest-node` shows it: at `/metrics.json` while it runs, as a JSON line on standard error when it
//! ends. Both hold an object `ledger`; a count that the node splits by reason is added up here.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// Everything that came in and what became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// UDP datagrams.
    pub datagrams: Datagrams,
    /// Data sets of NetFlow v9 and IPFIX.
    pub sets: Sets,
    /// Records by stream: flow, counters, drops, options.
    pub streams: BTreeMap<String, Stream>,
}

/// `arrived = received + kernel_dropped`; `received = decoded + partly_decoded + rejected`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Datagrams {
    /// At the sockets.
    #[serde(deserialize_with = "total")]
    pub arrived: u64,
    /// Read from the sockets.
    #[serde(deserialize_with = "total")]
    pub received: u64,
    /// Lost in full socket buffers.
    #[serde(deserialize_with = "total")]
    pub kernel_dropped: u64,
    /// Decoded wholly.
    #[serde(deserialize_with = "total")]
    pub decoded: u64,
    /// Decoded but for some set or sample.
    #[serde(deserialize_with = "total")]
    pub partly_decoded: u64,
    /// Not decoded, all reasons.
    #[serde(deserialize_with = "total")]
    pub rejected: u64,
}

/// `seen = decoded + pending + expired + evicted + rejected`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Sets {
    /// All.
    #[serde(deserialize_with = "total")]
    pub seen: u64,
    /// Decoded.
    #[serde(deserialize_with = "total")]
    pub decoded: u64,
    /// Waiting for their template.
    #[serde(deserialize_with = "total")]
    pub pending: u64,
    /// Waited too long.
    #[serde(deserialize_with = "total")]
    pub expired: u64,
    /// Put out by newer ones.
    #[serde(deserialize_with = "total")]
    pub evicted: u64,
    /// Malformed or without a template, all reasons.
    #[serde(deserialize_with = "total")]
    pub rejected: u64,
}

/// `produced + recovered = delivered + in_flight + on_disk + dropped`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Stream {
    /// Records that decoding gave.
    #[serde(deserialize_with = "total")]
    pub produced: u64,
    /// Records found on disk at the start.
    #[serde(deserialize_with = "total")]
    pub recovered: u64,
    /// Records that the output acknowledged.
    #[serde(deserialize_with = "total")]
    pub delivered: u64,
    /// Records on their way.
    #[serde(deserialize_with = "total")]
    pub in_flight: u64,
    /// Records in the spool.
    #[serde(deserialize_with = "total")]
    pub on_disk: u64,
    /// Records given up, all reasons.
    #[serde(deserialize_with = "total")]
    pub dropped: u64,
}

/// The object that holds the ledger on both ways out of the node.
#[derive(Deserialize)]
struct Envelope {
    ledger: Ledger,
}

/// One count, or one for each reason.
#[derive(Deserialize)]
#[serde(untagged)]
enum Count {
    One(u64),
    Split(BTreeMap<String, Count>),
}

impl Ledger {
    /// The ledger in the text of `/metrics.json` or of the line that the node ends with.
    pub fn of_json(text: &str) -> Option<Self> {
        serde_json::from_str::<Envelope>(text).ok().map(|envelope| envelope.ledger)
    }

    /// The stream of flow records.
    pub fn flow(&self) -> Stream {
        self.streams.get("flow").cloned().unwrap_or_default()
    }

    /// Each of the ledger's equations that does not hold, in words.
    pub fn imbalances(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut check = |name: &str, left: u64, right: u64| {
            if left != right {
                found.push(format!("{name}: {left} in, {right} accounted for"));
            }
        };
        let Datagrams { arrived, received, kernel_dropped, decoded, partly_decoded, rejected } =
            self.datagrams;
        check("datagrams arrived", arrived, received + kernel_dropped);
        check("datagrams received", received, decoded + partly_decoded + rejected);
        let Sets { seen, decoded, pending, expired, evicted, rejected } = self.sets;
        check("sets seen", seen, decoded + pending + expired + evicted + rejected);
        for (name, stream) in &self.streams {
            let Stream { produced, recovered, delivered, in_flight, on_disk, dropped } = stream;
            check(
                &format!("{name} records"),
                produced + recovered,
                delivered + in_flight + on_disk + dropped,
            );
        }
        found
    }
}

fn total<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Count::deserialize(deserializer).map(|count| count.total())
}

impl Count {
    fn total(&self) -> u64 {
        match self {
            Self::One(count) => *count,
            Self::Split(reasons) => reasons.values().map(Self::total).sum(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const BALANCED: &str = r#"{"ledger":{
        "datagrams":{"arrived":10,"received":9,"kernel_dropped":1,"decoded":7,"partly_decoded":1,"rejected":{"truncated":1}},
        "sets":{"seen":8,"decoded":6,"pending":0,"expired":0,"evicted":0,"rejected":{"no_template":1,"malformed":1}},
        "streams":{"flow":{"produced":100,"recovered":0,"delivered":90,"in_flight":4,"on_disk":0,
                           "dropped":{"queue_full":6}}}}}"#;

    #[test]
    fn counts_split_by_reason_are_added_up() {
        let ledger = Ledger::of_json(BALANCED).unwrap();
        assert_eq!((ledger.datagrams.rejected, ledger.sets.rejected, ledger.flow().dropped), (1, 2, 6));
        assert_eq!(ledger.imbalances(), [""; 0]);
    }

    #[test]
    fn an_equation_that_does_not_hold_is_named() {
        let mut ledger = Ledger::of_json(BALANCED).unwrap();
        ledger.datagrams.kernel_dropped = 2;
        ledger.streams.get_mut("flow").unwrap().delivered = 89;
        let imbalances = ledger.imbalances();
        assert_eq!(
            imbalances,
            ["datagrams arrived: 10 in, 11 accounted for", "flow records: 100 in, 99 accounted for"]
        );
    }

    #[test]
    fn other_lines_are_no_ledger() {
        assert_eq!(Ledger::of_json("listening on 127.0.0.1:2055"), None);
        assert_eq!(Ledger::of_json(r#"{"level":"info"}"#), None);
    }
}
