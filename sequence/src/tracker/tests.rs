//! Numbers in and out of order, lost, repeated, restarted.

use super::*;

fn ranges(report: &SpaceReport) -> Vec<(u32, u32)> {
    report.ranges(1000).unwrap().map(|range| (range.number, range.length)).collect()
}

fn noted(numbers: impl IntoIterator<Item = u32>) -> Tracker {
    let mut tracker = Tracker::new(100);
    for number in numbers {
        tracker.note(number, 1);
    }
    tracker
}

#[test]
fn what_follows_is_one_range_and_a_gap_begins_another() {
    let mut tracker = noted([7, 8, 9, 12]);
    tracker.note(13, 30);
    let report = tracker.take_report().unwrap();
    assert_eq!(ranges(&report), [(7, 3), (12, 31)]);
    assert_eq!(tracker.take_report(), None);
    tracker.note(43, 1);
    assert_eq!(ranges(&tracker.take_report().unwrap()), [(43, 1)]);
}

#[test]
fn a_narrow_tracker_goes_on_and_says_that_ranges_are_left_out() {
    let mut tracker = noted([1, 3]);
    tracker.narrow();
    for number in [4, 9, 10] {
        tracker.note(number, 1);
    }
    let report = tracker.take_report().unwrap();
    assert_eq!((ranges(&report), report.truncated), (vec![(1, 1), (3, 2)], true));
    tracker.note(11, 1);
    tracker.note(20, 1);
    let report = tracker.take_report().unwrap();
    assert_eq!((ranges(&report), report.truncated), (vec![(11, 1), (20, 1)], false), "for one report");
}

#[test]
fn room_that_is_not_needed_any_more_is_given_back() {
    let mut tracker = Tracker::new(10_000);
    let gaps = |tracker: &mut Tracker, from: u32, count: u32| {
        (0..count).for_each(|at| tracker.note(from + 2 * at, 1));
        tracker.take_report();
        tracker.give_back();
    };
    gaps(&mut tracker, 0, 5000);
    let most = tracker.octets();
    gaps(&mut tracker, 10_000, 5000);
    let twice = tracker.octets();
    assert!(twice <= 2 * most && twice >= 2 * 5000 * size_of::<Piece>(), "kept while it is needed");
    gaps(&mut tracker, 20_000, 3);
    assert!(tracker.octets() <= 8 * KEPT * size_of::<Piece>(), "{}", tracker.octets());
}

#[test]
fn what_is_forgotten_is_not_known_to_be_late_or_repeated() {
    let mut tracker = noted([1, 2, 5]);
    tracker.take_report();
    tracker.forget();
    assert_eq!(tracker.octets(), 0);
    for number in [6, 3, 7] {
        tracker.note(number, 1);
    }
    let report = tracker.take_report().unwrap();
    assert_eq!((ranges(&report), report.reordered, report.repeated), (vec![(3, 1), (6, 2)], 0, 0));
}

#[test]
fn numbers_wrap() {
    let mut tracker = noted([u32::MAX - 1, u32::MAX, 0, 1, 3]);
    assert_eq!(ranges(&tracker.take_report().unwrap()), [(u32::MAX - 1, 4), (3, 1)]);
}

#[test]
fn late_and_repeated_numbers_are_told_apart_over_two_reports() {
    let mut tracker = noted([1, 2, 5, 6, 3, 5, 7]);
    let report = tracker.take_report().unwrap();
    assert_eq!((ranges(&report), report.reordered, report.repeated), (vec![(1, 3), (5, 3)], 1, 1));
    for number in [8, 4, 2, 9] {
        tracker.note(number, 1);
    }
    let report = tracker.take_report().unwrap();
    assert_eq!((ranges(&report), report.reordered, report.repeated), (vec![(4, 1), (8, 2)], 1, 1));
}

#[test]
fn numbers_older_than_two_reports_are_reported_without_a_verdict() {
    let mut tracker = noted([1, 2]);
    for number in [10, 20, 30] {
        tracker.take_report();
        tracker.note(number, 1);
    }
    tracker.note(2, 1);
    tracker.note(31, 1);
    let report = tracker.take_report().unwrap();
    assert_eq!((ranges(&report), report.reordered, report.repeated), (vec![(2, 1), (30, 2)], 0, 0));
}

#[test]
fn numbers_that_become_known_fill_their_place_and_are_not_late() {
    let mut tracker = noted([10]);
    tracker.note_unknown(11);
    tracker.note(14, 1);
    tracker.fill(11, 3);
    let report = tracker.take_report().unwrap();
    assert_eq!((ranges(&report), report.reordered, report.repeated), (vec![(10, 4), (11, 0), (14, 1)], 0, 0));
    tracker.note_unknown(15);
    tracker.take_report();
    tracker.fill(15, 2);
    tracker.note(17, 1);
    let report = tracker.take_report().unwrap();
    assert_eq!((ranges(&report), report.reordered, report.repeated), (vec![(15, 3)], 0, 0));
    let mut other = Tracker::new(100);
    other.fill(100, 2);
    other.fill(1 << 20, 2);
    assert_eq!(ranges(&other.take_report().unwrap()), [(100, 2)]);
}

#[test]
fn a_fall_far_down_is_a_restart_when_others_follow() {
    let mut tracker = noted([90_000_000, 90_000_001, 5, 6]);
    let report = tracker.take_report().unwrap();
    assert_eq!((ranges(&report), report.restarts.len()), (vec![(90_000_000, 2)], 0));
    tracker.note(7, 1);
    let report = tracker.take_report().unwrap();
    assert_eq!((ranges(&report), &report.restarts[..]), (vec![(5, 3)], &[0][..]));
}

#[test]
fn one_number_far_off_is_a_stray() {
    let mut tracker = noted([90_000_000, 90_000_001, 5, 90_000_002, 3_000_000_000, 90_000_003]);
    let report = tracker.take_report().unwrap();
    assert_eq!((ranges(&report), report.restarts.len(), report.stray), (vec![(90_000_000, 4)], 0, 2));
}

#[test]
fn a_small_counter_that_restarts_is_seen_after_a_few_datagrams() {
    let mut tracker = noted((1..=100).chain(1..=15));
    assert_eq!(tracker.take_report().unwrap().restarts.len(), 0);
    tracker.note(16, 1);
    let report = tracker.take_report().unwrap();
    assert_eq!((ranges(&report), &report.restarts[..]), (vec![(1, 16)], &[0][..]));
}

#[test]
fn every_datagram_twice_is_no_restart() {
    let mut tracker = noted((1..=1000).flat_map(|number| [number, number]));
    tracker.note(1001, 1);
    let report = tracker.take_report().unwrap();
    assert_eq!((ranges(&report), report.restarts.len(), report.repeated), (vec![(1, 1001)], 0, 1000));
}

#[test]
fn a_restart_that_the_caller_knows_of_is_one_at_once() {
    let mut tracker = noted([100, 101]);
    tracker.restart();
    tracker.restart();
    tracker.note(99, 1);
    let report = tracker.take_report().unwrap();
    assert_eq!((ranges(&report), &report.restarts[..]), (vec![(100, 2), (99, 1)], &[1][..]));
    // The first datagram of the new run was taken for a repeated one until the caller knew.
    tracker.note(100, 1);
    tracker.note(100, 1);
    tracker.restart();
    tracker.note(101, 1);
    let report = tracker.take_report().unwrap();
    assert_eq!((ranges(&report), &report.restarts[..]), (vec![(100, 1), (100, 2)], &[1][..]));
}

#[test]
fn a_place_of_unknown_length_is_reported() {
    let mut tracker = noted([10, 11]);
    tracker.note_unknown(12);
    tracker.note(20, 5);
    tracker.note_unknown(25);
    tracker.note(25, 1);
    assert_eq!(ranges(&tracker.take_report().unwrap()), [(10, 2), (12, 0), (20, 5), (25, 1)]);
}

#[test]
fn ranges_beyond_the_limit_are_left_out_and_said_to_be() {
    let mut tracker = noted((0..200).map(|number| number * 2));
    assert!(tracker.is_nearly_full());
    let report = tracker.take_report().unwrap();
    assert_eq!((report.pairs.len(), report.truncated), (200, true));
    tracker.note(400, 1);
    let report = tracker.take_report().unwrap();
    assert_eq!((ranges(&report), report.truncated), (vec![(400, 1)], false));
}

#[test]
fn noting_what_follows_allocates_nothing_after_the_first() {
    let mut tracker = noted([0]);
    let room = tracker.current.capacity();
    for number in 1..100_000 {
        tracker.note(number, 1);
    }
    assert_eq!((tracker.current.len(), tracker.current.capacity()), (1, room));
    assert!(tracker.candidate.is_none());
}
