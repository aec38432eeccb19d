//! A node in its cluster: with real coordinators (`sharing`), and against one that is made to have faults (`faults`).

#![allow(clippy::unwrap_used, reason = "helpers of tests, which clippy does not know as tests")]

mod fake;
mod faults;
mod replica;
mod rig;
mod sharing;
