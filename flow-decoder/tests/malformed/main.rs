//! Malformed input, class by class: what is kept and which counter moves. sFlow has tests of its own.
//!
//! After each datagram the rig checks the sums of the statistics.

#[path = "../capture/mod.rs"]
mod capture;
mod datagrams;
mod floods;
mod lists;
mod mutations;
#[path = "../rig/mod.rs"]
mod rig;
mod state;
mod templates;
mod values;
#[path = "../wire/mod.rs"]
mod wire;

use flow_decoder::Reason;
use rig::Rig;
use wire::{Field, Message, field};

/// A good template and its record: 10 octets of bytes and packets.
const GOOD: &[Field] = &[field(1, 4), field(2, 4), field(4, 2)];
const GOOD_RECORD: [u8; 10] = [0, 0, 3, 0xe8, 0, 0, 0, 10, 0, 6];

/// Every kind of damage counted so far.
fn damage(rig: &Rig) -> Vec<(Reason, u64)> {
    rig.statistics().malformed.iter().filter(|(_, count)| *count > 0).collect()
}

/// A rig that knows [`GOOD`] as template 256, from v9 and from IPFIX.
fn prepared() -> Rig {
    let mut rig = Rig::new();
    rig.take(Message::v9().templates(&[(256, GOOD)]).build());
    rig.take(Message::ipfix().templates(&[(256, GOOD)]).build());
    rig
}
