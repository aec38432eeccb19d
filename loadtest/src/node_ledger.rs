//! The ledger as an `ingest-node` shows it: at `/metrics.json` while it runs, as a JSON line on standard error when it
//! ends. Both hold an object `ledger`. Beside its totals stand their splits by reason, which are left aside here.

use std::collections::BTreeMap;

use serde::Deserialize;

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
    pub arrived: u64,
    /// Read from the sockets.
    pub received: u64,
    /// Lost in full socket buffers.
    pub kernel_dropped: u64,
    /// Decoded wholly.
    pub decoded: u64,
    /// Decoded but for some set or sample.
    pub partly_decoded: u64,
    /// Not decoded, all reasons.
    pub rejected: u64,
}

/// `seen = decoded + pending + expired + evicted + rejected`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Sets {
    /// All.
    pub seen: u64,
    /// Decoded, at once or after waiting.
    pub decoded: u64,
    /// Had to wait for their template, whatever became of them.
    pub held: u64,
    /// Of these, taken up again because it came.
    pub released: u64,
    /// Waiting for their template.
    pub pending: u64,
    /// Waited too long.
    pub expired: u64,
    /// Put out by newer ones.
    pub evicted: u64,
    /// Malformed or without a template, all reasons.
    pub rejected: u64,
}

/// `produced + recovered = delivered + in_flight + on_disk + dropped`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Stream {
    /// Records that decoding gave.
    pub produced: u64,
    /// Records found on disk at the start.
    pub recovered: u64,
    /// Records that the output acknowledged.
    pub delivered: u64,
    /// Records on their way.
    pub in_flight: u64,
    /// Records in the spool.
    pub on_disk: u64,
    /// Records given up, all reasons.
    pub dropped: u64,
}

/// The object that holds the ledger on both ways out of the node.
#[derive(Deserialize)]
struct Envelope {
    ledger: Ledger,
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
        let Sets { seen, decoded, pending, expired, evicted, rejected, .. } = self.sets;
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const BALANCED: &str = r#"{"ledger":{
        "datagrams":{"arrived":10,"received":9,"kernel_dropped":1,"decoded":7,"partly_decoded":1,"rejected":1,
                     "rejected_reasons":{"truncated":1}},
        "sets":{"seen":8,"decoded":6,"pending":0,"expired":0,"evicted":0,"rejected":2},
        "streams":{"flow":{"produced":100,"recovered":0,"delivered":90,"in_flight":4,"on_disk":0,
                           "dropped":6}}}}"#;

    #[test]
    fn totals_are_read_and_balance() {
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
