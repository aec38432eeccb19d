//! A second reading of the rule for restarts, as the design says it: with no thought for speed, one datagram after another.

use std::collections::HashMap;

use super::record::Header;

/// Seconds by which a boot may seem to move and still be the same.
const SAME: i64 = 60;

/// Where an announcement has its place: boot epoch (seconds), time (ms).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) epoch: i64,
    pub(crate) time: i64,
}

/// The counters of each source port of a domain, as its last datagram had them.
#[derive(Default)]
pub(crate) struct Ports(HashMap<u16, Port>);

struct Port {
    epoch: i64,
    last: Header,
    /// The first of the datagrams with a low sequence, where the last had one.
    low: Option<Header>,
}

/// The time of a header that is right within five minutes, else of the receiver; ms.
pub(crate) fn believed(header: &Header) -> i64 {
    let (said, received) = (i64::from(header.seconds) * 1000, header.received_ns as i64 / 1_000_000);
    if (said - received).abs() <= 300_000 { said } else { received }
}

fn seconds(ms: i64) -> i64 {
    (ms / 1000).max(1)
}

/// The place of what is announced in `epoch` by this datagram.
pub(crate) fn place(header: &Header, epoch: i64) -> Place {
    Place { epoch, time: believed(header) }
}

/// The place of what replaces something: behind it.
pub(crate) fn behind(new: Place, old: Place) -> Place {
    if new.epoch - old.epoch > SAME {
        return new;
    }
    Place { epoch: new.epoch.max(old.epoch), time: new.time.max(old.time + 1) }
}

/// Whether what was announced in one epoch has to be announced again in another.
pub(crate) fn suspect(announced: i64, now: i64) -> bool {
    now - announced > SAME
}

/// Whether two epochs are one boot.
pub(crate) fn same_boot(a: i64, b: i64) -> bool {
    (a - b).abs() <= SAME
}

impl Ports {
    /// The epoch that a datagram is in. `own` and `all` are the latest places announced by its port and by any. The second
    /// value says whether it is left to the next datagram to tell whether this was the first of a new epoch.
    pub(crate) fn epoch(&mut self, header: &Header, own: Option<Place>, all: Option<Place>) -> (i64, bool) {
        let port = header.source.port();
        match (self.0.remove(&port), header.uptime_ms) {
            (None, uptime_ms) => {
                let epoch = match uptime_ms {
                    Some(uptime_ms) => first_v9(header, i64::from(uptime_ms), own, all),
                    None => own.or(all).map_or(0, |place| place.epoch),
                };
                self.0.insert(port, Port { epoch, last: *header, low: None });
                (epoch, false)
            }
            (Some(before), Some(_)) => {
                let boot = booted(&before.last, header).filter(|&boot| !same_boot(boot, before.epoch));
                let epoch = boot.unwrap_or(before.epoch);
                self.0.insert(port, Port { epoch, last: *header, low: None });
                (epoch, false)
            }
            (Some(before), None) => {
                let last = before.last;
                // It has wrapped where it is not far ahead, counted around.
                let wrapped = header.sequence.wrapping_sub(last.sequence) < 0x0400_0000;
                let is_low =
                    header.sequence < last.sequence / 16 && header.seconds >= last.seconds && !wrapped;
                let now = match before.low {
                    _ if !is_low => Port { last: *header, low: None, ..before },
                    None => Port { low: Some(*header), ..before },
                    Some(first) => {
                        let shared = own.or(all).map_or(0, |place| place.epoch);
                        let epoch =
                            if shared * 1000 > believed(&last) { shared } else { seconds(believed(&first)) };
                        let epoch = if same_boot(epoch, before.epoch) { before.epoch } else { epoch };
                        Port { epoch, last: *header, low: None }
                    }
                };
                let said = (now.epoch, now.low.is_some());
                self.0.insert(port, now);
                said
            }
        }
    }
}

/// The boot time, in seconds, of an exporter that has restarted between two datagrams.
fn booted(last: &Header, now: &Header) -> Option<i64> {
    let uptime = |header: &Header| header.uptime_ms.map_or(0, i64::from);
    let by_header = |header: &Header| i64::from(header.seconds) * 1000 - uptime(header);
    let by_belief = |header: &Header| believed(header) - uptime(header);
    let moved = by_header(now) - by_header(last);
    let up_for_longer = uptime(now) - (believed(now) - believed(last)) > SAME * 1000;
    let is_old = up_for_longer && moved >= -SAME * 1000;
    let clock_fell_back =
        now.seconds < last.seconds && !is_old && by_belief(now) - by_belief(last) > SAME * 1000;
    let (younger, back) = (uptime(now) < uptime(last), now.sequence < last.sequence);
    let wrapped = younger && !back && (moved - (1 << 32)).abs() <= SAME * 1000;
    let restarted = (moved > SAME * 1000 || clock_fell_back) && (younger || back) && !wrapped;
    restarted.then(|| seconds(by_belief(now)))
}

fn first_v9(header: &Header, uptime_ms: i64, own: Option<Place>, all: Option<Place>) -> i64 {
    let boot = seconds(believed(header) - uptime_ms);
    match (own, all) {
        (None, None) => boot,
        (Some(Place { epoch: 0, .. }), _) | (None, Some(Place { epoch: 0, .. })) => 0,
        (Some(known), _) | (None, Some(known)) => {
            let restarted = boot - known.epoch > SAME && uptime_ms < known.time - known.epoch * 1000;
            let other_device = own.is_none() && known.epoch - boot > SAME;
            if restarted || other_device { boot } else { known.epoch }
        }
    }
}
