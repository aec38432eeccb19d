//! Catchment's programs, and whose key an environment variable is.
//!
//! All programs read variables with one prefix, so that a cluster may have one environment (a ConfigMap for all pods, say):
//! `CATCHMENT_KAFKA__BROKERS` is the node's, `CATCHMENT_ETCD__ENDPOINTS` the coordinator's, `CATCHMENT_LOG__LEVEL` both's. A
//! program must not end because of another one's variable, and must still refuse a misspelt one. Therefore each knows what
//! the others have and it has not. The rules, in this order:
//!
//! 1. A variable that is a key here is taken, whoever else has that key.
//! 2. A variable that only another program has a key or section for is left to it, and named in one warning.
//! 3. Any other variable with the prefix is a mistake, and refused with the nearest key of this program.
//!
//! A test in each program holds its row to its model ([`Program::differences`]). The configuration file is never shared: each
//! program has a variable of its own for it.

use crate::catalogue::{Catalogue, Status};

/// A program that is configured through this crate.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    /// The name of the binary.
    pub name: &'static str,
    /// What it is called in texts: `the node`.
    pub called: &'static str,
    /// The environment variable that names its configuration file.
    pub file_variable: &'static str,
    /// Keys that no other program has, and sections (with a dot at the end) that none has.
    pub own: &'static [&'static str],
}

/// The ingest node.
pub const INGEST_NODE: Program = Program {
    name: "ingest-node",
    called: "the node",
    file_variable: "CATCHMENT_CONFIG",
    own: &[
        "node.",
        "listeners",
        "listeners_shared",
        "metrics.",
        "udp.",
        "sources.",
        "exporter.",
        "templates.max_per_exporter",
        "templates.max_total",
        "templates.bytes",
        "pending.",
        "output",
        "file.",
        "batch.",
        "kafka.",
        "spool.",
        "state.",
        "coordinator.",
    ],
};

/// The coordinator.
pub const COORDINATOR: Program = Program {
    name: "coordinator",
    called: "the coordinator",
    file_variable: "CATCHMENT_COORDINATOR_CONFIG",
    own: &[
        "id",
        "advertise",
        "grpc",
        "http",
        "cluster",
        "store",
        "etcd.",
        "templates.max_domains",
        "templates.max_bytes",
        "uplink.",
        "lease.",
        "peers.",
        "shutdown_timeout",
    ],
};

/// All programs.
pub const PROGRAMS: [&Program; 2] = [&INGEST_NODE, &COORDINATOR];

/// Keys that several programs have and that mean the same in each.
const SHARED: [&str; 4] = ["log.", "health.", "tls.", "templates.retention"];

impl Program {
    /// Whether `key` (or the section it would stand in) is this program's alone.
    pub fn owns(&self, key: &str) -> bool {
        self.own.iter().any(|own| covers(own, key))
    }

    /// What is wrong with the rows about this program: keys of its model that no row covers, and rows that cover none.
    pub fn differences(catalogue: &Catalogue) -> Vec<String> {
        let program = catalogue.program();
        let keys = || {
            let settable = |key: &&crate::Key| key.status != Status::Section && !key.path.contains("[]");
            catalogue.keys().iter().filter(settable).map(|key| key.path.as_str())
        };
        let uncovered = keys()
            .filter(|key| !program.owns(key) && !SHARED.iter().any(|row| covers(row, key)))
            .map(|key| format!("{key} is in no row"));
        let idle = program.own.iter().filter(|own| !keys().any(|key| covers(own, key)));
        uncovered.chain(idle.map(|own| format!("the row {own} is about no key"))).collect()
    }
}

fn covers(row: &str, key: &str) -> bool {
    key == row || (row.ends_with('.') && (key.starts_with(row) || key == row.trim_end_matches('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_has_two_owners() {
        for program in PROGRAMS {
            for own in program.own {
                let key = own.trim_end_matches('.');
                let owners = PROGRAMS.iter().filter(|program| program.owns(key)).count();
                assert_eq!(owners, 1, "{own}");
                assert!(!SHARED.contains(own), "{own}");
            }
        }
    }

    #[test]
    fn a_section_covers_itself_and_its_keys_only() {
        assert!(INGEST_NODE.owns("kafka.brokers") && INGEST_NODE.owns("kafka"));
        assert!(!INGEST_NODE.owns("kafkabrokers") && !INGEST_NODE.owns("listenersx"));
        assert!(!INGEST_NODE.owns("log.level") && !COORDINATOR.owns("log.level"));
    }
}
