//! The store of what waits, by itself.

use std::net::Ipv4Addr;

use super::*;

const LIMITS: PendingLimits = PendingLimits { bytes: 10_000, per_exporter_bytes: 4_000, age_ns: Some(100) };

fn set(exporter: u32, template: u16, received_ns: u64, octets: usize) -> HeldSet {
    let address: IpAddr = Ipv4Addr::from(exporter).into();
    let scope = ScopeKey { zone: ZoneId(0), exporter: address, version: 9, domain: 0 };
    let payload = vec![0; octets - OVERHEAD].into();
    HeldSet { received_ns, ..HeldSet::new(scope, template, (address, 1).into(), payload) }
}

/// Receive times of what can be taken.
fn take_all(pending: &Pending) -> Vec<u64> {
    std::iter::from_fn(|| pending.next(|_| |_: &HeldSet| true)).map(|set| set.received_ns).collect()
}

fn wake(pending: &Pending, exporter: u32, template: u16) {
    pending.wake(&set(exporter, template, 0, 800).scope, template);
}

#[test]
fn what_waits_comes_back_oldest_first_and_only_once() {
    let pending = Pending::new(LIMITS);
    for (template, received) in [(256, 1), (257, 2), (256, 3), (300, 4)] {
        pending.hold(set(1, template, received, 800));
    }
    assert!(!pending.has_ready());
    wake(&pending, 1, 257);
    wake(&pending, 1, 256);
    wake(&pending, 1, 999);
    assert!(pending.has_ready());
    assert_eq!(take_all(&pending), [1, 2, 3]);
    assert!(!pending.has_ready() && !pending.is_empty());
    assert_eq!(pending.of_exporter(ZoneId(0), Ipv4Addr::from(1).into()), (1, 800));
    wake(&pending, 1, 300);
    assert_eq!(take_all(&pending), [4]);
    assert!(pending.is_empty());
    assert_eq!(pending.counts(), PendingCounts { held: 4, ..PendingCounts::default() });
}

#[test]
fn what_cannot_be_used_waits_on() {
    let pending = Pending::new(LIMITS);
    for received in 1..5 {
        pending.hold(set(1, 256, received, 800));
    }
    wake(&pending, 1, 256);
    let even = |_: &ScopeKey| |set: &HeldSet| set.received_ns.is_multiple_of(2);
    let first = pending.next(even).expect("two are ready");
    assert_eq!(first.received_ns, 2);
    pending.hold(first);
    assert_eq!(pending.next(even).map(|set| set.received_ns), Some(4));
    assert!(pending.next(even).is_none() && !pending.has_ready());
    wake(&pending, 1, 256);
    assert_eq!(take_all(&pending), [1, 2, 3], "one that came back is in its old place");
    assert_eq!(pending.counts().held, 4);
}

#[test]
fn an_exporter_s_oldest_makes_room_for_its_newest() {
    let pending = Pending::new(LIMITS);
    pending.hold(set(2, 256, 1, 1000));
    for received in 2..8 {
        pending.hold(set(1, 256, received, 1000));
    }
    assert_eq!(pending.counts(), PendingCounts { held: 7, evicted: 2, bytes: 5000, expired: 0 });
    wake(&pending, 1, 256);
    assert_eq!(take_all(&pending), [4, 5, 6, 7]);
}

#[test]
fn the_largest_exporter_makes_room_for_others() {
    let pending = Pending::new(LIMITS);
    for received in 0..4 {
        pending.hold(set(1, 256, received, 1000));
    }
    for exporter in 2..9 {
        pending.hold(set(exporter, 256, 10, 1000));
    }
    assert_eq!(pending.counts(), PendingCounts { held: 11, evicted: 1, bytes: 10_000, expired: 0 });
    wake(&pending, 1, 256);
    assert_eq!(take_all(&pending), [1, 2, 3]);
    assert!(!pending.takes(4_000 - OVERHEAD + 1) && pending.takes(4_000 - OVERHEAD));
}

#[test]
fn what_is_too_old_expires_with_the_clock_or_with_what_comes() {
    let pending = Pending::new(LIMITS);
    for received in [100, 150, 250] {
        pending.hold(set(1, 256, received, 800));
    }
    assert_eq!(pending.counts().expired, 2);
    pending.expire(349);
    assert_eq!(pending.counts().expired, 2);
    pending.expire(350);
    assert_eq!((pending.counts().expired, pending.is_empty()), (3, true));
    let for_ever = Pending::new(PendingLimits { age_ns: None, ..LIMITS });
    for_ever.hold(set(1, 256, 0, 800));
    for_ever.expire(u64::MAX);
    assert_eq!(for_ever.counts().expired, 0);
}

#[test]
fn bounds_that_shrink_cost_the_oldest_of_the_largest_and_bounds_that_grow_nothing() {
    let pending = Pending::new(LIMITS);
    for received in 0..4 {
        pending.hold(set(1, 256, received, 1000));
    }
    pending.hold(set(2, 256, 4, 1000));
    pending.set_limits(PendingLimits { per_exporter_bytes: 2_500, ..LIMITS });
    assert_eq!(pending.counts(), PendingCounts { held: 5, evicted: 2, bytes: 3000, expired: 0 });
    pending.set_limits(PendingLimits { bytes: 2_000, ..LIMITS });
    assert_eq!(pending.counts(), PendingCounts { held: 5, evicted: 3, bytes: 2000, expired: 0 });
    pending.set_limits(PendingLimits { age_ns: Some(1_000), ..LIMITS });
    pending.expire(500);
    wake(&pending, 1, 256);
    wake(&pending, 2, 256);
    assert_eq!(take_all(&pending), [3, 4]);
    pending.set_limits(PendingLimits { bytes: 0, ..LIMITS });
    assert!(!pending.takes(1));
}

#[test]
fn what_is_ready_may_still_have_to_make_room() {
    let pending = Pending::new(LIMITS);
    pending.hold(set(1, 256, 1, 2000));
    pending.hold(set(1, 256, 2, 2000));
    wake(&pending, 1, 256);
    assert!(pending.next(|_| |set: &HeldSet| set.received_ns > 9).is_none());
    wake(&pending, 1, 256);
    pending.hold(set(1, 257, 3, 2000));
    assert_eq!(take_all(&pending), [2]);
}
