//! Sequence accounting for a cluster behind one address.
//!
//! Exporters number what they send: datagrams (NetFlow v9, sFlow), flows (v5), data records (IPFIX), samples (sFlow). Behind a
//! load-balanced address each node sees some of the numbers, so a gap at one node says nothing. Nodes therefore note which
//! numbers came, and one coordinator puts the ranges of all nodes together:
//!
//! ```text
//! datagram -> Tracker::note --every few seconds--> SpaceReport --+
//! datagram -> Tracker::note -------------------> SpaceReport --+-> Book: runs, holes --settling time--> Account
//!                                     losses of nodes, crashes --+
//! ```
//!
//! What the accounts promise:
//! - A number is *received* once, whichever nodes it came to and however often; the further times it is *repeated*.
//! - A number inside a hole is *lost* only after the settling time, and only once; it is taken back when it comes after all.
//! - Over each run of a counter `head - floor = received + lost + waiting` ([`Account::span`] is the sum over all runs).
//! - What cannot be known (a report is missing, memory ran out) is *unknown* or *stray*, never put to somebody's account.
//!
//! Pure: no input or output, no clock (times are passed in), no threads, no dependencies.

#![forbid(unsafe_code)]

mod account;
mod book;
mod candidate;
mod evidence;
mod report;
mod run;
mod space;
mod time;
mod timeline;
mod tracker;

pub use account::{Account, Cause, Totals};
pub use book::{Book, Departure, Limits, NodeReport, Taken};
pub use report::{Range, Ranges, ReportError, SpaceReport};
pub use space::{Space, Unit};
pub use time::Time;
pub use tracker::Tracker;

/// How far ahead of the highest number a number may be and still be the same run of the counter. Farther is a restart: a loss
/// of so many numbers is rarer than a counter that starts again behind its wrap.
pub const FORWARD: u32 = 1 << 26;

/// How far behind the highest number a number may be and still be a late one of the same run.
pub const BACKWARD: u32 = 1 << 20;
