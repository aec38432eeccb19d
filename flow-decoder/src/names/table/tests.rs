//! How the names of a domain are kept, and which make room.

use super::*;

fn named(kind: NameKind, id: u64, name: &[u8]) -> Named<'_> {
    let mut named = Named::default();
    named.0[kind as usize] = Some((id, name));
    named
}

fn say(names: &mut Names, kind: NameKind, id: u64, name: &str, time: u64) -> Kept {
    let mut news = Names::default();
    news.say(&named(kind, id, name.as_bytes()), time);
    names.take(&news, Said::Now)
}

fn shared(id: u64, time: u64, text: &str) -> SharedName {
    SharedName { kind: NameKind::Vrf, id, time, text: text.into() }
}

#[test]
fn names_are_bounded_and_what_they_take_is_counted() {
    let mut names = Names::default();
    for id in 0..2 * MOST as u64 {
        let kept = say(&mut names, NameKind::Vrf, id, "red", 1);
        assert_eq!(kept.changed, id < MOST as u64);
        assert_eq!(kept.left_out, usize::from(!kept.changed));
    }
    assert_eq!(names.octets(), MOST * (ENTRY_OCTETS + 3));
    say(&mut names, NameKind::Vrf, 1, "purple", 2);
    assert_eq!(names.octets(), MOST * (ENTRY_OCTETS + 3) + 3);
    assert_eq!(names.hear(&named(NameKind::Vrf, u64::MAX, b"x"), 1), Some(1));
    assert_eq!(names.hear(&named(NameKind::Vrf, 1, b"known ones may change"), 1), None);
    let long = "x".repeat(MAX_OCTETS);
    let kept: Vec<_> =
        (0..3000).map(|id| say(&mut names, NameKind::Interface, id, &long, 1).changed).collect();
    assert!(kept[0] && !kept[2999]);
    assert!(names.told <= MAX_TOLD && names.told > MAX_TOLD - 300, "{}", names.told);
    assert!(say(&mut names, NameKind::Vrf, 2, "r", 2).changed, "a shorter name needs no room");
}

#[test]
fn a_name_is_text_of_a_bounded_length() {
    let mut names = Names::default();
    names.say(&named(NameKind::Interface, 1, b"caf\xe9"), 1);
    assert_eq!(names.get(Thing::new(NameKind::Interface, 1)), Some("caf\u{fffd}"));
    assert!(names.knows(&named(NameKind::Interface, 1, b"caf\xe9")));
    let long = "\u{e9}".repeat(200);
    names.say(&named(NameKind::Interface, 2, long.as_bytes()), 1);
    assert_eq!(names.get(Thing::new(NameKind::Interface, 2)), Some(&long[..254]));
    assert!(names.knows(&named(NameKind::Interface, 2, long.as_bytes())));
}

#[test]
fn the_later_name_wins_in_whichever_order_nodes_hear_of_it() {
    let (mut one, mut other) = (Names::default(), Names::default());
    say(&mut one, NameKind::Vrf, 1, "green", 100);
    say(&mut other, NameKind::Vrf, 1, "blue", 200);
    let (first, second) = (one.shared(), other.shared());
    assert_eq!(first, [shared(1, 100, "green")]);
    assert!(one.merge(&second).changed && !one.merge(&first).changed && !other.merge(&first).changed);
    assert_eq!(one, other);
    say(&mut other, NameKind::Vrf, 1, "red", 150);
    assert_eq!(other.shared(), [shared(1, 201, "red")], "what is said here is later than what it replaces");
    assert!(one.merge(&other.shared()).changed);
    let same_time = [shared(1, 201, "blue"), shared(1, 201, "white")];
    assert!(one.merge(&same_time).changed && other.merge(&[same_time[1].clone()]).changed);
    assert_eq!(one, other, "of two at the same time the greater text");
}

#[test]
fn what_others_tell_is_bounded_and_checked() {
    let mut names = Names::default();
    let long = "x".repeat(MAX_OCTETS + 1);
    assert_eq!(names.merge(&[shared(1, 1, ""), shared(2, 1, &long)]), Kept::default());
    let many: Vec<_> = (0..5000).map(|id| shared(id, 1, "red")).collect();
    assert_eq!(names.merge(&many), Kept { changed: true, left_out: 5000 - MOST, evicted: 0 });
}

/// A table that is told again takes no copy.
#[test]
fn what_is_known_is_not_copied() {
    let mut names = Names::default();
    say(&mut names, NameKind::Application, 1, "http", 1);
    let before = names.clone();
    let mut news = Names::default();
    news.say(&named(NameKind::Application, 1, b"http"), 9);
    assert_eq!(names.take(&news, Said::Now), Kept::default());
    assert_eq!(names.merge(&before.shared()), Kept::default());
    for (table, same) in names.tables.iter().zip(&before.tables) {
        assert!(Arc::ptr_eq(table, same));
    }
}

#[test]
fn what_was_said_since_holds_against_what_comes_late() {
    let mut names = Names::default();
    say(&mut names, NameKind::Vrf, 1, "new", 100);
    let mut news = Names::default();
    news.say(&named(NameKind::Vrf, 1, b"old"), 50);
    news.say(&named(NameKind::Vrf, 2, b"other"), 50);
    assert!(names.take(&news, Said::Earlier(50)).changed);
    assert_eq!(names.get(Thing::new(NameKind::Vrf, 1)), Some("new"));
    assert_eq!(names.get(Thing::new(NameKind::Vrf, 2)), Some("other"));
}

/// A time so many seconds after an exporter's first table, as in datagrams.
fn after(seconds: u32) -> u64 {
    (1_700_000_000 + u64::from(seconds)) * 1000
}

/// A domain that has heard so many names, at once.
fn full(most: u64, seconds: u32) -> Names {
    let mut names = Names::default();
    for id in 0..most {
        say(&mut names, NameKind::Interface, id, "ge", after(seconds));
    }
    names
}

/// Hears the names of these interfaces again.
fn hear(names: &Names, ids: std::ops::Range<u64>, seconds: u32) {
    for id in ids {
        assert_eq!(names.hear(&named(NameKind::Interface, id, b"ge"), after(seconds)), Some(0));
    }
}

fn known(names: &Names, id: u64) -> bool {
    names.get(Thing::new(NameKind::Interface, id)).is_some()
}

#[test]
fn the_name_longest_not_heard_makes_room() {
    let mut names = full(MOST as u64, 0);
    hear(&names, 10..MOST as u64, 5000);
    hear(&names, 5..10, 3000);
    let octets = names.octets();
    for (id, made_room) in [(9001, 0), (9002, 1), (9003, 2), (9004, 3), (9005, 4)] {
        let news = named(NameKind::Interface, id, b"ge");
        assert_eq!(names.hear(&news, after(5000)), None, "there is room for news");
        let kept = say(&mut names, NameKind::Interface, id, "ge", after(5000));
        assert_eq!(kept, Kept { changed: true, left_out: 0, evicted: 1 });
        assert!(!known(&names, made_room) && known(&names, made_room + 1) && known(&names, id));
    }
    assert_eq!(names.octets(), octets);
    let news = named(NameKind::Interface, 9006, b"ge");
    assert_eq!(names.hear(&news, after(5000)), Some(1), "all others were heard within the hour");
    let kept = say(&mut names, NameKind::Interface, 9006, "ge", after(5000));
    assert_eq!(kept, Kept { changed: false, left_out: 1, evicted: 0 });
    assert_eq!(names.hear(&news, after(6601)), None);
    assert!(say(&mut names, NameKind::Interface, 9006, "ge", after(6601)).changed && !known(&names, 5));
}

/// What is heard again changes nothing, so that nobody is told and nothing is written.
#[test]
fn to_hear_a_name_again_takes_no_copy() {
    let mut names = full(MOST as u64, 0);
    let before = names.clone();
    hear(&names, 0..MOST as u64, 1000);
    let mut news = Names::default();
    news.say(&named(NameKind::Interface, 7, b"ge"), after(2000));
    assert_eq!(names.take(&news, Said::Now), Kept::default());
    assert_eq!(names.shared(), before.shared());
    assert!(names.tables.iter().zip(&before.tables).all(|(table, same)| Arc::ptr_eq(table, same)));
}

/// A table longer than there is room for would else be new each time that it comes.
#[test]
fn a_table_that_comes_again_within_the_hour_keeps_what_it_has() {
    let mut names = full(MOST as u64, 0);
    let before = names.clone();
    for seconds in (1800..20_000).step_by(1800) {
        for id in 0..6000 {
            let without = names.hear(&named(NameKind::Interface, id, b"ge"), after(seconds));
            assert_eq!(without, Some(usize::from(id >= MOST as u64)));
        }
    }
    assert_eq!(names, before);
    assert!(!say(&mut names, NameKind::Interface, 6000, "ge", after(20_000)).changed);
}

#[test]
fn where_octets_lack_a_name_of_any_kind_makes_room() {
    let mut names = Names::default();
    let long = "x".repeat(MAX_OCTETS);
    for id in 0..1000 {
        say(&mut names, NameKind::InterfaceDescription, id, &long, after(0));
    }
    let mut kept = (0..).map(|id| say(&mut names, NameKind::Vrf, id, &long, after(7000)));
    assert!(kept.any(|kept| kept.evicted == 1));
    drop(kept);
    assert!(names.told <= MAX_TOLD);
    assert_eq!(names.get(Thing::new(NameKind::InterfaceDescription, 0)), None);
    assert!(names.get(Thing::new(NameKind::InterfaceDescription, 1)).is_some());
}

/// One node hears an exporter whose interfaces come and go, another is told; a third holds all that was ever said.
#[test]
fn nodes_do_not_undo_each_others_choice() {
    let mut hearing = full(MOST as u64, 0);
    let mut told = Names::default();
    let mut all: HashMap<(NameKind, u64), SharedName> = HashMap::new();
    for hour in 1..=20 {
        let seconds = hour * 4000;
        // A hundred are there all the time, a thousand others every time.
        hear(&hearing, 0..100, seconds);
        let first = 10_000 * u64::from(hour);
        for id in first..first + 1000 {
            say(&mut hearing, NameKind::Interface, id, "ge", after(seconds));
        }
        for name in hearing.shared() {
            let known = all.entry((name.kind, name.id)).or_insert_with(|| name.clone());
            if known.time < name.time {
                *known = name;
            }
        }
        let union: Vec<_> = all.values().cloned().collect();
        told.merge(&union);
        assert!(!told.merge(&union).changed, "told twice");
        assert!(!hearing.merge(&union).changed, "what has made room does not come back");
        assert!(!hearing.merge(&told.shared()).changed);
        for names in [&hearing, &told] {
            assert!((0..100).all(|id| known(names, id)), "hour {hour}: those that are heard stay");
            assert!((first..first + 1000).all(|id| known(names, id)), "hour {hour}: and what is new");
        }
    }
    assert!(all.len() > 3 * MOST && told.len() == MOST);
    let mut later = Names::default();
    later.merge(&all.values().cloned().collect::<Vec<_>>());
    assert!((0..100).all(|id| known(&later, id)) && (200_000..201_000).all(|id| known(&later, id)));
}
