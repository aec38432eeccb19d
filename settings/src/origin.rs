//! Where a setting came from, and what was found wrong with it.
//!
//! Every error and warning of the configuration names its place (`node.yaml:12:3`, an environment variable or a `--set`
//! argument) and the full key, so that nobody has to search for it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The place a setting was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A position in the configuration file; line and column count from 1, columns in characters.
    File {
        /// The file as it was named on the command line.
        path: Arc<Path>,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// A position in the cluster's configuration.
    Cluster {
        /// Revision of that configuration; 0 where it has none yet.
        revision: u64,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// A position in a document that was set over gRPC while the process ran.
    Control {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// An environment variable, by name.
    Environment(String),
    /// A `--set` argument, by its key.
    Set(String),
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Origin::Cluster { revision: 0, line, column } => {
                write!(f, "cluster configuration, line {line}:{column}")
            }
            Origin::Cluster { revision, line, column } => {
                write!(f, "cluster revision {revision}, line {line}:{column}")
            }
            Origin::Control { line, column } => write!(f, "set over grpc, line {line}:{column}"),
            Origin::Environment(name) => write!(f, "environment variable {name}"),
            Origin::Set(key) => write!(f, "--set {key}"),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// Something wrong (or doubtful) about one key, shown as `place: key: what`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it was set.
    pub origin: Origin,
    /// The full key, such as `kafka.queue_bytes`; empty where the text as a whole cannot be read.
    pub key: String,
    /// What is wrong and what was expected.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin != Origin::Default {
            write!(f, "{}: ", self.origin)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigErrors {
    /// The configuration file could not be read at all.
    #[error("{path}: cannot read the configuration file: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The configuration was read and is wrong: every problem that was found, in the order of the sources.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
}

impl ConfigErrors {
    /// The process's exit status by `sysexits.h`: 64 (`EX_USAGE`) for a wrong configuration, 66 (`EX_NOINPUT`) for an
    /// unreadable file.
    pub fn exit_code(&self) -> u8 {
        match self {
            ConfigErrors::Invalid(_) => 64,
            ConfigErrors::Unreadable { .. } => 66,
        }
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
