//! A node in its cluster: faults of a coordinator against one that is made to have them (`fake`).

#![allow(clippy::unwrap_used, reason = "helpers of tests, which clippy does not know as tests")]

mod fake;
mod faults;
mod rig;
