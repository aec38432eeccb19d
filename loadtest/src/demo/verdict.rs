//! Whether everything is accounted for at the end, over the whole cluster: from the datagram that was sent to the record that
//! was consumed, and in the sequence numbers that exporters gave.

use super::accounts::{NodeAccount, SequenceAccount};
use super::columns::grouped;
use super::parts::EndedNodes;
use super::way::OnTheWay;
use crate::daemon::Ended;

/// What is held against the nodes' ledgers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Outside {
    /// Datagrams that exporters sent.
    pub(super) sent: u64,
    /// What became of them before the nodes.
    pub(super) on_the_way: OnTheWay,
    /// Flow records that came out of Kafka.
    pub(super) consumed: u64,
    /// The coordinator's account, when all nodes had said goodbye.
    pub(super) sequences: SequenceAccount,
}

/// The last line of the demo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// `ledger balanced: ...`
    Balanced(String),
    /// `ledger DIFFERS: ...`
    Differs(String),
}

impl Verdict {
    /// Compares what went in and came out with what the nodes say of themselves.
    pub(super) fn of(nodes: &EndedNodes, coordinator: &Ended, outside: &Outside) -> Self {
        let mut faults = Vec::new();
        let mut total = NodeAccount::default();
        let mut shares = Vec::new();
        for (name, ended) in nodes {
            faults.extend(end_of(name, ended));
            let Some(ledger) = &ended.ledger else {
                faults.push(format!("{name} printed no ledger"));
                continue;
            };
            let account = NodeAccount::of_ledger(ledger);
            faults.extend(account.imbalances.iter().map(|fault| format!("{name}: {fault}")));
            shares.push(format!("{} at {name}", grouped(account.datagrams)));
            total = total.plus(&account);
        }
        faults.extend(end_of("the coordinator", coordinator));
        let dropped = outside.on_the_way.dropped + total.kernel_dropped;
        let sequences = outside.sequences;
        let mut check = |left_name: &str, left: u64, right_name: &str, right: u64| {
            if left != right {
                faults.push(format!("{left_name} {}, {right_name} {}", grouped(left), grouped(right)));
            }
        };
        check("datagrams sent", outside.sent, "read or dropped", total.datagrams + dropped);
        check("records delivered", total.delivered, "consumed from Kafka", outside.consumed);
        check("records in flight at the end", total.in_flight, "should be", 0);
        if dropped == 0 {
            check("data sets", total.sets.seen, "decoded", total.sets.decoded);
            check("sequence numbers lost", sequences.lost, "should be", 0);
        }
        if !faults.is_empty() {
            return Self::Differs(faults.join("; "));
        }
        Self::Balanced(format!(
            "{} datagrams sent = {} + {} dropped; {} records produced = {} consumed from Kafka + {} dropped; \
             {} of {} data sets decoded; {} of {} sequence numbers lost",
            grouped(outside.sent),
            shares.join(" + "),
            grouped(dropped),
            grouped(total.produced),
            grouped(outside.consumed),
            grouped(total.dropped),
            grouped(total.sets.decoded),
            grouped(total.sets.seen),
            grouped(sequences.lost),
            grouped(sequences.received + sequences.lost),
        ))
    }

    /// The line itself.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Balanced(text) => format!("ledger balanced: {text}"),
            Self::Differs(text) => format!("ledger DIFFERS: {text}"),
        }
    }
}

/// What is wrong with the way a process ended.
fn end_of(name: &str, ended: &Ended) -> Option<String> {
    match ended.status {
        None => Some(format!("{name} had to be killed")),
        Some(status) if !status.success() => Some(format!("{name} ended with {status}")),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node_ledger::Ledger;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn ended(datagrams: u64, records: u64, status: i32) -> Ended {
        let text = format!(
            r#"{{"ledger":{{"datagrams":{{"arrived":{datagrams},"received":{datagrams},"decoded":{datagrams}}},
                "sets":{{"seen":7,"decoded":7}},
                "streams":{{"flow":{{"produced":{records},"delivered":{records}}}}}}}}}"#
        );
        let status = Some(ExitStatus::from_raw(status << 8));
        Ended { status, ledger: Ledger::of_json(&text), cpu: None, log: String::new() }
    }

    fn nodes() -> EndedNodes {
        vec![("node-1".into(), ended(4, 500, 0)), ("node-2".into(), ended(6, 700, 0))]
    }

    fn outside() -> Outside {
        let sequences = SequenceAccount { received: 1_000, lost: 0 };
        Outside { sent: 10, on_the_way: OnTheWay::default(), consumed: 1_200, sequences }
    }

    fn line(nodes: &EndedNodes, outside: Outside) -> String {
        Verdict::of(nodes, &ended(0, 0, 0), &outside).line()
    }

    #[test]
    fn all_accounted_for_is_balanced() {
        let want = "ledger balanced: 10 datagrams sent = 4 at node-1 + 6 at node-2 + 0 dropped; \
                    1,200 records produced = 1,200 consumed from Kafka + 0 dropped; \
                    14 of 14 data sets decoded; 0 of 1,000 sequence numbers lost";
        assert_eq!(line(&nodes(), outside()), want);
    }

    #[test]
    fn what_was_dropped_on_the_way_is_accounted_for_with_all_that_follows_from_it() {
        let mut nodes = nodes();
        nodes[0].1.ledger.as_mut().unwrap().sets.decoded = 6;
        nodes[0].1.ledger.as_mut().unwrap().sets.expired = 1;
        let sequences = SequenceAccount { received: 900, lost: 50 };
        let dropped = Outside { sent: 12, on_the_way: OnTheWay { dropped: 2 }, sequences, ..outside() };
        let line = line(&nodes, dropped);
        assert!(line.starts_with("ledger balanced: 12 datagrams sent"), "{line}");
        for part in ["+ 2 dropped", "13 of 14 data sets", "50 of 950 sequence numbers lost"] {
            assert!(line.contains(part), "{part:?} is not in {line}");
        }
    }

    #[test]
    fn each_difference_is_named() {
        let mut nodes = nodes();
        nodes[1].1 = ended(5, 699, 1);
        nodes[1].1.ledger.as_mut().unwrap().sets.pending = 2;
        nodes[1].1.ledger.as_mut().unwrap().sets.seen = 9;
        let sequences = SequenceAccount { received: 900, lost: 4 };
        let line = line(&nodes, Outside { sequences, ..outside() });
        assert!(line.starts_with("ledger DIFFERS: "), "{line}");
        for fault in [
            "node-2 ended with exit status: 1",
            "datagrams sent 10, read or dropped 9",
            "data sets 16, decoded 14",
            "records delivered 1,199, consumed from Kafka 1,200",
            "sequence numbers lost 4, should be 0",
        ] {
            assert!(line.contains(fault), "{fault:?} is not in {line}");
        }
    }

    #[test]
    fn a_node_without_a_ledger_differs() {
        let mut nodes = nodes();
        nodes[0].1.ledger = None;
        let line = line(&nodes, outside());
        assert!(line.starts_with("ledger DIFFERS: node-1 printed no ledger"), "{line}");
    }

    #[test]
    fn a_coordinator_that_had_to_be_killed_differs() {
        let killed = Ended { status: None, ..ended(0, 0, 0) };
        let line = Verdict::of(&nodes(), &killed, &outside()).line();
        assert_eq!(line, "ledger DIFFERS: the coordinator had to be killed");
    }
}
