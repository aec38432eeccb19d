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

use flow_decoder::{Reason, Statistics, Verdict};
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

/// A counter that moves when something is wrong, or held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    /// `catchment_malformed_total`.
    Damage(Reason, u64),
    /// Data sets given up.
    Set(Reason, u64),
    /// The datagram was rejected.
    Datagram(Reason),
    /// Data sets that wait.
    Held(u64),
    /// Template withdrawals that were ignored.
    Withdrawn(u64),
    /// Data sets on whose template source ports disagree.
    Conflicts(u64),
}

/// Every such counter that is higher than before.
fn moved(before: &Statistics, now: &Statistics) -> Vec<Moved> {
    let mut moved = Vec::new();
    let mut add = |before: u64, now: u64, counter: &dyn Fn(u64) -> Moved| {
        if now > before {
            moved.push(counter(now - before));
        }
    };
    for &reason in Reason::ALL {
        add(before.malformed[reason], now.malformed[reason], &|count| Moved::Damage(reason, count));
        add(before.sets.rejected[reason], now.sets.rejected[reason], &|count| Moved::Set(reason, count));
        let rejected = [before, now].map(|statistics| statistics.datagrams.rejected[reason]);
        add(rejected[0], rejected[1], &|_| Moved::Datagram(reason));
    }
    add(before.sets.held, now.sets.held, &Moved::Held);
    add(before.templates.withdrawn, now.templates.withdrawn, &Moved::Withdrawn);
    add(before.templates.conflicts, now.templates.conflicts, &Moved::Conflicts);
    moved
}

/// Decodes a message with a good data set before and behind what `between` adds: both are decoded, and these counters move,
/// and no others.
#[track_caller]
fn assert_beside_good_sets(
    rig: &mut Rig,
    message: Message,
    between: impl FnOnce(Message) -> Message,
    counters: &[Moved],
) {
    let before = *rig.statistics();
    rig.kept.clear();
    let verdict = rig.take(between(message.set(256, GOOD_RECORD)).set(256, GOOD_RECORD).build());
    let whole = !counters.iter().any(|counter| matches!(counter, Moved::Damage(..)));
    let expected = if whole { Verdict::Decoded } else { Verdict::PartlyDecoded };
    assert_eq!((verdict, &moved(&before, rig.statistics())[..]), (expected, counters));
    let good = rig.kept.flows().iter().filter(|flow| (flow.bytes, flow.packets) == (1000, 10)).count();
    assert!(good >= 2, "the sets before and behind it");
}
