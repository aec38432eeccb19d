//! Streams of numbered datagrams over several nodes, and what the book makes of them.

use std::collections::BTreeSet;
use std::time::Duration;

use catchment_sequence::{
    Account, Book, Departure, Limits, NodeReport, Space, SpaceReport, Taken, Time, Tracker, Unit,
};
use proptest::prelude::*;

const INTERVAL: u64 = 5_000;

fn space() -> Space {
    space_of(Unit::Datagrams)
}

fn space_of(unit: Unit) -> Space {
    Space {
        zone: "".into(),
        exporter: std::net::IpAddr::from([192, 0, 2, 1]),
        port: 50_000,
        version: 9,
        domain: 1,
        data_source: 0,
        unit,
    }
}

/// Nodes with a tracker each, and the leader's book.
struct Cluster {
    nodes: Vec<Node>,
    book: Book,
    now: u64,
    unit: Unit,
}

struct Node {
    name: String,
    tracker: Tracker,
    reports: u64,
    alive: bool,
}

impl Cluster {
    fn new(nodes: usize) -> Self {
        let mut book = Book::new(Limits::default());
        let name = |index| format!("node-{index}");
        for index in 0..nodes {
            book.expect(&name(index), 1, Time::from_millis(100_000));
        }
        let node = |index| Node { name: name(index), tracker: Tracker::new(4096), reports: 0, alive: true };
        Self { nodes: (0..nodes).map(node).collect(), book, now: 100_000, unit: Unit::Datagrams }
    }

    fn note(&mut self, node: usize, numbers: impl IntoIterator<Item = u32>) {
        for number in numbers {
            self.nodes[node].tracker.note(number, 1);
        }
    }

    fn report(&mut self, node: usize) -> Taken {
        self.report_with(node, 0)
    }

    fn report_with(&mut self, node: usize, lost_here: u64) -> Taken {
        let report = self.nodes[node].tracker.take_report();
        self.report_of(node, report.as_ref(), lost_here)
    }

    fn report_of(&mut self, node: usize, report: Option<&SpaceReport>, lost_here: u64) -> Taken {
        let at = &mut self.nodes[node];
        at.reports += 1;
        let head = NodeReport {
            node: &at.name,
            incarnation: 1,
            number: at.reports,
            covers: Duration::from_millis(INTERVAL),
            lost_here,
        };
        let space = space_of(self.unit);
        self.book.report(
            head,
            report.into_iter().map(|report| (space.clone(), 0, report)),
            Time::from_millis(self.now),
        )
    }

    /// One report interval: all nodes that live report, one after the other.
    fn interval(&mut self) {
        for node in 0..self.nodes.len() {
            self.now += INTERVAL / self.nodes.len() as u64;
            if self.nodes[node].alive {
                self.report(node);
            }
        }
        self.book.settle(Time::from_millis(self.now));
    }

    fn settle(&mut self) -> Account {
        for _ in 0..6 {
            self.interval();
        }
        self.account()
    }

    fn account(&self) -> Account {
        let account = self.book.account(&space_of(self.unit)).expect("an account").clone();
        assert!(account.balanced(), "{account:?}");
        account
    }
}

#[test]
fn a_new_leader_takes_nothing_for_lost_that_the_one_before_was_told() {
    let mut cluster = Cluster::new(3);
    // Each number goes to one node; they report one after the other.
    let send = |cluster: &mut Cluster, from: u32, to: u32| {
        for number in from..to {
            cluster.note((number % 3) as usize, [number]);
        }
    };
    send(&mut cluster, 0, 900);
    cluster.report(0);
    send(&mut cluster, 900, 1200);
    cluster.report(1);
    // The leader changes here: it knows of the nodes, and that is all.
    cluster.book = Book::new(Limits::default());
    for index in 0..3 {
        cluster.book.expect(&format!("node-{index}"), 1, Time::from_millis(cluster.now));
    }
    // The third has its first report still to make: it had nothing to say to the leader before.
    send(&mut cluster, 1200, 1500);
    cluster.nodes[2].reports = 7;
    cluster.interval();
    let account = cluster.settle();
    assert_eq!((account.lost(), account.repeated), (0, 0), "{account:?}");
    assert!(account.received >= 300, "{account:?}");
    // Of what it lacks after a long silence it cannot be told; from then on a gap is a loss again.
    send(&mut cluster, 1510, 1600);
    let account = cluster.settle();
    assert_eq!((account.lost_unknown, account.lost()), (10, 10), "{account:?}");
    send(&mut cluster, 1610, 1700);
    let account = cluster.settle();
    assert_eq!((account.lost_upstream, account.lost()), (10, 20), "{account:?}");
}

fn numbers(account: &Account) -> (u64, u64, u64, u64, u64, u64) {
    (
        account.received,
        account.lost_upstream,
        account.lost_here,
        account.lost_unknown,
        account.repeated,
        account.resets,
    )
}

#[test]
fn what_went_to_another_node_is_no_gap() {
    let mut cluster = Cluster::new(4);
    for number in 0..10_000 {
        cluster.note((number % 7 % 4) as usize, [number]);
    }
    cluster.report(0);
    assert!(cluster.account().waiting > 5_000);
    let account = cluster.settle();
    assert_eq!(numbers(&account), (10_000, 0, 0, 0, 0, 0));
    assert_eq!((account.waiting, account.reordered, account.span), (0, 0, 10_000));
}

#[test]
fn a_gap_is_lost_after_the_settling_time_and_taken_back_when_it_is_filled() {
    let mut cluster = Cluster::new(1);
    cluster.note(0, (0..100).chain(103..200));
    cluster.interval();
    assert_eq!((cluster.account().waiting, cluster.account().lost()), (3, 0));
    let account = cluster.settle();
    assert_eq!((account.waiting, account.lost_upstream), (0, 3));
    cluster.note(0, [101, 200]);
    let account = cluster.settle();
    assert_eq!(
        (account.lost_upstream, account.reordered, account.repeated, account.received),
        (2, 1, 0, 199)
    );
    let totals = cluster.book.totals();
    assert_eq!((totals.lost, totals.taken_back), ([3, 0, 0], [1, 0, 0]));
}

#[test]
fn drops_of_a_node_make_a_loss_here() {
    let mut cluster = Cluster::new(2);
    cluster.note(0, (0..100).step_by(2));
    cluster.note(1, (1..60).step_by(2).chain([71, 73]));
    cluster.report(0);
    cluster.report_with(1, 18);
    cluster.note(0, [100]);
    let account = cluster.settle();
    // 61 to 69 and 75 to 99, in odd numbers.
    assert_eq!(numbers(&account), (83, 0, 18, 0, 0, 0));
    assert!(account.notes[0].starts_with("node-1 incarnation 1 lost datagrams"), "{:?}", account.notes);
}

#[test]
fn a_crash_makes_a_loss_here_and_names_the_node() {
    let mut cluster = Cluster::new(2);
    cluster.note(0, (0..100).step_by(2));
    cluster.note(1, (1..100).step_by(2));
    cluster.interval();
    cluster.note(0, (100..200).step_by(2));
    cluster.nodes[1].alive = false;
    cluster.interval();
    cluster.interval();
    cluster.note(0, [200]);
    cluster.interval();
    assert_eq!(cluster.account().lost(), 0, "it waits for the node");
    cluster.book.departed("node-1", 1, Departure::Lost, Time::from_millis(cluster.now));
    let account = cluster.settle();
    assert_eq!(numbers(&account), (151, 0, 50, 0, 0, 0));
    assert_eq!(account.notes.last().map(|note| &**note), Some("node-1 incarnation 1 went without a goodbye"));
}

#[test]
fn a_node_that_was_only_cut_off_brings_its_numbers_later() {
    let mut cluster = Cluster::new(2);
    cluster.note(0, (0..100).step_by(2));
    cluster.note(1, (1..100).step_by(2));
    cluster.interval();
    cluster.note(0, (100..=200).step_by(2));
    cluster.note(1, (101..200).step_by(2));
    cluster.nodes[1].alive = false;
    cluster.interval();
    cluster.book.departed("node-1", 1, Departure::Lost, Time::from_millis(cluster.now));
    assert_eq!(cluster.settle().lost_here, 50);
    cluster.nodes[1].alive = true;
    assert_eq!(numbers(&cluster.settle()), (201, 0, 0, 0, 0, 0));
}

#[test]
fn a_missing_report_makes_unknown_until_it_comes() {
    let mut cluster = Cluster::new(1);
    cluster.note(0, 0..100);
    cluster.interval();
    cluster.note(0, 100..200);
    let missing = cluster.nodes[0].tracker.take_report().unwrap();
    cluster.nodes[0].reports += 1;
    cluster.note(0, 200..300);
    let account = cluster.settle();
    assert_eq!(numbers(&account), (200, 0, 0, 100, 0, 0));
    let head = NodeReport {
        node: "node-0",
        incarnation: 1,
        number: 2,
        covers: Duration::from_secs(5),
        lost_here: 0,
    };
    let now = Time::from_millis(cluster.now);
    assert_eq!(cluster.book.report(head, [(space(), 0, &missing)], now), Taken::New { invalid: 0 });
    assert_eq!(cluster.book.report(head, [(space(), 0, &missing)], now), Taken::Again);
    assert_eq!(numbers(&cluster.settle()), (300, 0, 0, 0, 0, 0));
}

#[test]
fn a_node_that_says_nothing_makes_unknown_after_a_while() {
    let mut cluster = Cluster::new(2);
    cluster.note(0, (0..100).step_by(2));
    cluster.nodes[1].alive = false;
    for _ in 0..4 {
        cluster.interval();
    }
    assert_eq!(cluster.account().waiting, 49);
    for _ in 0..8 {
        cluster.interval();
    }
    assert_eq!(numbers(&cluster.account()), (50, 0, 0, 49, 0, 0));
}

#[test]
fn ranges_left_out_make_unknown() {
    let mut cluster = Cluster::new(1);
    cluster.nodes[0].tracker = Tracker::new(10);
    cluster.note(0, (0..100).step_by(2));
    cluster.interval();
    cluster.note(0, 99..150);
    let account = cluster.settle();
    assert_eq!((account.lost_upstream, account.lost_here, account.lost_unknown), (0, 0, 99 - 10));
}

#[test]
fn a_place_of_unknown_length_is_unknown_and_only_it() {
    let mut cluster = Cluster::new(1);
    cluster.unit = Unit::DataRecords;
    let tracker = &mut cluster.nodes[0].tracker;
    tracker.note(100, 10);
    tracker.note_unknown(110);
    tracker.note(130, 10);
    // One was lost here, and the message behind it is of unknown length.
    tracker.note_unknown(150);
    tracker.note(160, 10);
    let account = cluster.settle();
    assert_eq!(numbers(&account), (30, 10, 0, 30, 0, 0));
}

#[test]
fn a_restart_is_one_restart_whichever_nodes_see_it_in_whichever_order() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut cluster = Cluster::new(3);
        // Node 2 hears of the exporter only after its restart, and so sees none.
        cluster.note(0, (0..1000).step_by(2));
        cluster.note(1, (1..1000).step_by(2));
        for node in 0..2 {
            cluster.nodes[node].tracker.restart();
        }
        cluster.note(0, (0..300).step_by(3));
        cluster.note(1, (1..300).step_by(3));
        cluster.note(2, (2..300).step_by(3));
        for node in order {
            cluster.now += 100;
            cluster.report(node);
        }
        let account = cluster.settle();
        assert_eq!(numbers(&account), (1300, 0, 0, 0, 0, 1), "{order:?}");
        assert_eq!(account.stray, 0);
    }
}

#[test]
fn two_restarts_in_one_report_are_two() {
    let mut cluster = Cluster::new(2);
    for _ in 0..3 {
        cluster.note(0, (0..100).step_by(2));
        cluster.note(1, (1..100).step_by(2));
        for node in &mut cluster.nodes {
            node.tracker.restart();
        }
    }
    let account = cluster.settle();
    assert_eq!(numbers(&account), (300, 0, 0, 0, 0, 2));
}

#[test]
fn a_restart_while_no_tracker_was_there_is_found() {
    for (first, second) in [(0, 10), (0, 70_000_000), (70_000_000, 3)] {
        let mut cluster = Cluster::new(1);
        cluster.note(0, first..first + 1000);
        cluster.settle();
        // The node's process was another one meanwhile.
        cluster.nodes[0].tracker = Tracker::new(4096);
        cluster.book.departed("node-0", 1, Departure::Goodbye, Time::from_millis(cluster.now));
        cluster.nodes[0].name = "node-9".to_owned();
        cluster.nodes[0].reports = 0;
        cluster.note(0, second..second + 500);
        cluster.interval();
        cluster.note(0, second + 500..second + 700);
        let account = cluster.settle();
        assert_eq!(numbers(&account), (1700, 0, 0, 0, 0, 1), "{first} {second}");
    }
}

#[test]
fn the_same_datagram_at_two_nodes_is_repeated() {
    let mut cluster = Cluster::new(2);
    cluster.note(0, 0..100);
    cluster.note(1, 50..60);
    assert_eq!(numbers(&cluster.settle()), (100, 0, 0, 0, 10, 0));
}

#[test]
fn spaces_are_bounded_and_what_was_open_in_a_forgotten_one_is_unknown() {
    let mut book = Book::new(Limits { spaces: 64, ..Limits::default() });
    let mut tracker = Tracker::new(100);
    tracker.note(1, 1);
    tracker.note(5, 1);
    let report = tracker.take_report().unwrap();
    for domain in 0..1000 {
        let head = NodeReport {
            node: "n",
            incarnation: 1,
            number: u64::from(domain) + 1,
            covers: Duration::ZERO,
            lost_here: 0,
        };
        book.report(head, [(Space { domain, ..space() }, 0, &report)], Time::from_millis(u64::from(domain)));
    }
    assert!(book.len() <= 64 && book.forgotten_spaces() >= 936, "{}", book.len());
    assert!(book.account(&Space { domain: 999, ..space() }).is_some());
    assert_eq!(book.totals().lost, [0, 0, 3 * book.forgotten_spaces()]);
}

#[test]
fn holes_are_bounded_and_what_has_no_room_is_unknown() {
    let mut cluster = Cluster::new(1);
    cluster.book = Book::new(Limits { holes_per_space: 100, ..Limits::default() });
    cluster.note(0, (0..2000).step_by(2));
    cluster.interval();
    let account = cluster.account();
    assert_eq!((account.waiting, account.lost_unknown), (100, 899));
    // Of what was forgotten nobody knows whether it came.
    cluster.note(0, [1999, 2000]);
    cluster.nodes[0].tracker.note(1, 1);
    cluster.note(0, [2001]);
    let account = cluster.settle();
    assert_eq!((account.lost_unknown, account.lost_upstream, account.repeated), (899, 100, 0));
}

/// Datagrams `(number, length)` in the order in which they arrive, each with the node it goes to and whether the node reports after it.
#[derive(Clone, Debug)]
struct Stream {
    arrivals: Vec<(u32, u32, usize, bool)>,
    nodes: usize,
    lost: u64,
    received: u64,
    repeated: u64,
}

fn stream(nodes: usize) -> impl Strategy<Value = Stream> {
    let datagram = (1_u32..40, 0_u8..100, 0..nodes, 0_usize..12, proptest::bool::weighted(0.02));
    (any::<u32>(), proptest::collection::vec(datagram, 2..600)).prop_map(move |(first, datagrams)| {
        let mut number = first;
        let mut arrivals = Vec::new();
        let last = datagrams.len() - 1;
        let (mut lost, mut received, mut repeated) = (0, 0, 0);
        for (at, &(length, fate, node, delay, report)) in datagrams.iter().enumerate() {
            let start = number;
            number = number.wrapping_add(length);
            // The first and the last arrive, so that what is between them can be missed.
            if fate < 10 && at != 0 && at != last {
                lost += u64::from(length);
                continue;
            }
            received += u64::from(length);
            let late = if fate > 60 { delay } else { 0 };
            arrivals.push((at + late, (start, length, node, report)));
            if fate % 10 == 7 {
                repeated += u64::from(length);
                arrivals.push((at + late + delay, (start, length, (node + delay) % nodes, false)));
            }
        }
        arrivals.sort_by_key(|(at, _)| *at);
        let arrivals = arrivals.into_iter().map(|(_, arrival)| arrival).collect();
        Stream { arrivals, nodes, lost, received, repeated }
    })
}

fn run(stream: &Stream, nodes: usize) -> Account {
    let mut cluster = Cluster::new(nodes);
    cluster.unit = Unit::Flows;
    for &(start, length, node, report) in &stream.arrivals {
        let node = node % nodes;
        cluster.nodes[node].tracker.note(start, length);
        if report {
            cluster.now += 300;
            cluster.report(node);
            cluster.book.settle(Time::from_millis(cluster.now));
        }
    }
    for node in 0..nodes {
        let tracker = std::mem::replace(&mut cluster.nodes[node].tracker, Tracker::new(1));
        cluster.report_of(node, tracker.finish().as_ref(), 0);
    }
    cluster.settle()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_over_nodes_gives_the_account_of_one(stream in (1_usize..6).prop_flat_map(stream)) {
        let one = run(&stream, 1);
        let many = run(&stream, stream.nodes);
        let truth = (stream.received, stream.lost, 0, 0, stream.repeated, 0);
        prop_assert_eq!(numbers(&one), truth);
        prop_assert_eq!(numbers(&many), truth);
        // A node sees less disorder than all of the stream has; only what came twice may be late at one and in time at another.
        prop_assert!(many.reordered <= one.reordered + one.repeated, "{} {}", many.reordered, one.reordered);
        prop_assert_eq!((one.stray, one.waiting, many.stray, many.waiting), (0, 0, 0, 0));
    }

    #[test]
    fn one_tracker_counts_as_a_set_does(
        first in any::<u32>(),
        numbers in proptest::collection::vec((0_u32..300, 1_u32..20), 1..200),
    ) {
        // Near by and not climbing sixteen times in a row: no restart, so each number is there or is not.
        let mut tracker = Tracker::new(4096);
        let (mut seen, mut repeated) = (BTreeSet::new(), 0);
        let mut top = 0;
        for &(offset, length) in &numbers {
            // Every other datagram goes on from the top, so that nothing looks like a restart.
            for (start, length) in [(offset, length), (top.max(offset + length), 1)] {
                tracker.note(first.wrapping_add(start), length);
                for number in start..start + length {
                    repeated += u64::from(!seen.insert(number));
                }
                top = top.max(start + length);
            }
        }
        let report = tracker.take_report().unwrap();
        let mut ranges = BTreeSet::new();
        for range in report.ranges(10_000).unwrap() {
            for number in 0..range.length {
                prop_assert!(ranges.insert(range.number.wrapping_add(number).wrapping_sub(first)));
            }
        }
        prop_assert_eq!(ranges, seen);
        prop_assert_eq!((report.repeated, report.restarts.len(), report.stray), (repeated, 0, 0));
    }

    #[test]
    fn whatever_a_node_reports_the_sums_hold(
        reports in proptest::collection::vec(
            (
                any::<u32>(),
                proptest::collection::vec((-200_i64..200, 0_i64..50, proptest::bool::weighted(0.05)), 0..40),
                0_u32..3,
                0_u64..8_000,
                any::<bool>(),
            ),
            1..30,
        ),
    ) {
        let mut book = Book::new(Limits { holes_per_space: 30, ..Limits::default() });
        let mut now = 1_000_000;
        for (number, (base, ranges, thread, pause, near)) in (1..).zip(&reports) {
            now += pause;
            let restarts = ranges.iter().enumerate().filter(|(_, range)| range.2).map(|(at, _)| at as u32).collect();
            let report = SpaceReport {
                base: if *near { base % 1000 } else { *base },
                pairs: ranges.iter().flat_map(|range| [range.0, range.1]).collect(),
                restarts,
                ..Default::default()
            };
            let head = NodeReport { node: "n", incarnation: 1, number, covers: Duration::from_secs(5), lost_here: *pause % 3 };
            book.report(head, [(space(), *thread, &report)], Time::from_millis(now));
            book.settle(Time::from_millis(now));
            let account = book.account(&space()).unwrap();
            prop_assert!(account.balanced(), "{:?}", account);
        }
        book.departed("n", 1, Departure::Goodbye, Time::from_millis(now));
        book.settle(Time::from_millis(now + 60_000));
        let account = book.account(&space()).unwrap();
        prop_assert!(account.balanced() && account.waiting == 0, "{:?}", account);
        let totals = book.totals();
        let sum: u64 = (0..3).map(|cause| totals.lost[cause] - totals.taken_back[cause]).sum();
        prop_assert_eq!((totals.received, sum), (account.received, account.lost()));
    }
}
