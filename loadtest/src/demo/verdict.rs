//! Whether everything is accounted for at the end: from the datagram that was sent to the record that was consumed.

use super::columns::grouped;
use crate::node_process::Ended;

/// What is held against the node's ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outside {
    /// Datagrams that were sent to it.
    pub(super) sent: u64,
    /// Flow records that came out of Kafka.
    pub(super) consumed: u64,
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
    /// Compares what went in and came out with what the node says of itself.
    pub(super) fn of(ended: &Ended, outside: Outside) -> Self {
        let Some(ledger) = &ended.ledger else {
            return Self::Differs("the node printed no ledger when it ended".to_owned());
        };
        let flow = ledger.flow();
        let mut faults = ledger.imbalances();
        let mut check = |left_name: &str, left: u64, right_name: &str, right: u64| {
            if left != right {
                faults.push(format!("{left_name} {}, {right_name} {}", grouped(left), grouped(right)));
            }
        };
        check("datagrams sent", outside.sent, "arrived at the node", ledger.datagrams.arrived);
        check("records delivered", flow.delivered, "consumed from Kafka", outside.consumed);
        check("records still in flight", flow.in_flight, "at the end should be", 0);
        match ended.status {
            None => faults.push("the node had to be killed".to_owned()),
            Some(status) if !status.success() => faults.push(format!("the node ended with {status}")),
            Some(_) => {}
        }
        if faults.is_empty() {
            Self::Balanced(format!(
                "{} datagrams sent = {} received + {} dropped by the kernel; \
                 {} records produced = {} consumed from Kafka + {} dropped",
                grouped(outside.sent),
                grouped(ledger.datagrams.received),
                grouped(ledger.datagrams.kernel_dropped),
                grouped(flow.produced),
                grouped(outside.consumed),
                grouped(flow.dropped + flow.on_disk),
            ))
        } else {
            Self::Differs(faults.join("; "))
        }
    }

    /// The line itself.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Balanced(text) => format!("ledger balanced: {text}"),
            Self::Differs(text) => format!("ledger DIFFERS: {text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node_ledger::Ledger;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn ended(in_flight: u64, status: i32) -> Ended {
        let text = format!(
            r#"{{"ledger":{{"datagrams":{{"arrived":10,"received":10,"decoded":10}},
                "streams":{{"flow":{{"produced":1200,"delivered":1200,"in_flight":{in_flight}}}}}}}}}"#
        );
        let status = Some(ExitStatus::from_raw(status << 8));
        Ended { status, ledger: Ledger::of_json(&text), cpu: None, log: String::new() }
    }

    #[test]
    fn all_accounted_for_is_balanced() {
        let verdict = Verdict::of(&ended(0, 0), Outside { sent: 10, consumed: 1_200 });
        let line = "ledger balanced: 10 datagrams sent = 10 received + 0 dropped by the kernel; \
                    1,200 records produced = 1,200 consumed from Kafka + 0 dropped";
        assert_eq!(verdict.line(), line);
    }

    #[test]
    fn each_difference_is_named() {
        let line = Verdict::of(&ended(3, 1), Outside { sent: 11, consumed: 1_199 }).line();
        assert!(line.starts_with("ledger DIFFERS: "), "{line}");
        for fault in
            ["1203 accounted for", "sent 11", "consumed from Kafka 1,199", "in flight 3", "exit status: 1"]
        {
            assert!(line.contains(fault), "{fault:?} is not in {line}");
        }
    }

    #[test]
    fn a_node_without_a_ledger_differs() {
        let ended = Ended { ledger: None, ..ended(0, 0) };
        assert!(matches!(Verdict::of(&ended, Outside { sent: 0, consumed: 0 }), Verdict::Differs(_)));
    }
}
