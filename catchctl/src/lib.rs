//! `catchctl`: what a person types to see and steer a Catchment cluster.
//!
//! ```text
//!  arguments --cli--> Cli --target--> Target --client--> ClusterAdmin of a coordinator | NodeControl of a node
//!                      |                                       |
//!                      +--command/: one file each  <-----------+-- answers, as the contracts have them
//!                              |
//!                              +--output--> table | JSON | YAML on standard output
//! ```
//!
//! - JSON and YAML are the answers themselves, rendered by their descriptors; only tables are made by hand.
//! - A command either writes its whole output and ends with 0, or one line on standard error that says what is wrong,
//!   where, and what to do ([`Fault`]), with an exit status that scripts can rely on. `health` does both.
//! - Text that comes from the network is never written to a terminal with its control characters.

#![forbid(unsafe_code)]

pub mod cli;
mod client;
mod command;
#[allow(unreachable_pub, reason = "`section!` declares public types")]
mod context;

mod describe;
mod document_edit;
mod fault;
mod nearest;
mod output;
#[cfg(test)]
mod reference;
#[cfg(test)]
#[allow(unreachable_pub, reason = "tests/ has it as well")]
mod sample;
mod tail;
mod target;
mod top;

pub use cli::Cli;
pub use command::run;
pub use fault::Fault;
