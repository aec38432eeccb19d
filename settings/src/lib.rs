//! Configuration: YAML file < cluster < environment < `--set`, into types that cannot be wrong.
//!
//! ```text
//!  file, layers --yaml--> tree --overlay (environment, --set)--> tree --section!--> model --resolve, check--> Loaded
//! ```
//!
//! - A program declares every key once, with [`section!`] and [`choice!`]; unknown keys and their suggestions,
//!   `print-config` and the page in `docs/` follow from the declarations.
//! - What is left to the program is [`Configuration`]: the defaults that depend on the host, and what must agree.
//! - A problem names its place, the full key and what was expected; all problems are reported, not the first.
//! - The programs of one cluster may be given one environment: [`program`] says which variables are whose.

#![forbid(unsafe_code)]

mod address;
pub mod catalogue;
mod choice;
mod host;
mod load;
mod names;
mod origin;
mod overlay;
mod print;
pub mod program;
pub mod reference;
#[cfg(test)]
#[allow(unreachable_pub, reason = "`section!` declares public types")]
mod sample;
pub mod section;
mod size;
mod suggest;
mod tree;
mod value;
mod yaml;

pub use address::{Endpoint, HostPort, Prefix};
pub use catalogue::{Catalogue, Key, Status};
pub use host::{check_readable, host_name, secret_from_file};
pub use load::{Configuration, Layer, Loaded, Place, Sources};
pub use names::{Label, Secret};
pub use origin::{ConfigErrors, Origin, Problem};
pub use program::Program;
pub use section::{Element, Entry, Reading, Setting, Shown};
pub use size::ByteSize;
pub use tree::{Content, Node, Pair};
pub use value::{Limits, Refusal, Value};
