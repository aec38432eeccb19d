use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flow_decoder::template::{FieldSpecifier, Template, TemplateKind};
use flow_decoder::{
    Learnt, NameKind, Order, ScopeKey, SharedDefinition, SharedName, SharedOptions, SharedScope, ZoneId,
};

use super::*;
use crate::config::{Config, Label, Listener};

const LONG: Duration = Duration::from_secs(3600);

fn known() -> Known {
    let mut config = Config::default();
    let zone = Label::from_any("lab");
    config.sources.flow.listeners.push(Listener { zone, ..Listener::default() });
    Known::nothing(&config)
}

fn key(zone: u16, domain: u32) -> ScopeKey {
    ScopeKey { zone: ZoneId(zone), exporter: Ipv4Addr::new(192, 0, 2, 1).into(), version: 9, domain }
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

fn content(length: u16) -> SharedScope {
    let time = now_ns() / 1_000_000;
    let fields = [FieldSpecifier::iana(1, length)];
    let template = Arc::new(Template::new(TemplateKind::Data, fields).unwrap());
    let definition =
        SharedDefinition { id: 256, port: 7, order: Order { epoch: 0, time }, proven: true, template };
    let rate = Learnt { time, value: 100 };
    let name = |kind| SharedName { kind, id: 7, time, text: format!("{kind:?} of {length}").into() };
    let options = SharedOptions {
        domain_rate: rate,
        selector_rates: vec![(1, rate)],
        interface_rates: vec![(2, rate)],
        boot_ms: rate,
        names: NameKind::ALL.map(name).into(),
    };
    SharedScope { definitions: vec![definition], options }
}

fn learn(known: &Known, key: ScopeKey, length: u16) {
    let imported = known.store.import(&key, content(length), now_ns());
    assert_eq!(imported.refused, []);
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A folder with the state of one scope.
fn saved() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path()).unwrap();
    let known = known();
    learn(&known, key(0, 1), 4);
    assert_eq!(dir.save(&known).unwrap(), 1);
    folder
}

fn loaded(folder: &Path) -> (Loaded, Known) {
    let known = known();
    let loaded = StateDir::open(folder).unwrap().load(&known);
    (loaded, known)
}

#[test]
fn what_is_saved_is_known_again() {
    let folder = tempfile::tempdir().unwrap();
    let before = known();
    for domain in 0..100 {
        learn(&before, key(domain as u16 % 2, domain), 4);
    }
    let dir = StateDir::open(folder.path()).unwrap();
    assert_eq!(dir.save(&before).unwrap(), 100);
    drop(dir);
    let (loaded, after) = loaded(folder.path());
    assert_eq!((loaded.scopes, loaded.definitions, loaded.refused), (100, 100, 0));
    for domain in 0..100 {
        let key = key(domain as u16 % 2, domain);
        let mut expected = before.store.export(&key, Share::Everything).unwrap();
        expected.definitions[0].proven = false;
        assert_eq!(after.store.export(&key, Share::Everything), Some(expected), "{domain}");
    }
    assert!(after.store.take_changes(1).is_empty(), "an old file tells the cluster nothing");
}

#[test]
fn an_empty_folder_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let (loaded, known) = loaded(&folder.path().join("made/when/needed"));
    assert!(loaded.damage.is_none() && known.store.scopes() == 0);
}

#[test]
fn scopes_of_zones_that_are_gone_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let before = known();
    learn(&before, key(0, 1), 4);
    learn(&before, key(1, 2), 4);
    StateDir::open(folder.path()).unwrap().save(&before).unwrap();
    let after = Known::nothing(&Config::default());
    let loaded = StateDir::open(folder.path()).unwrap().load(&after);
    assert_eq!((loaded.scopes, loaded.other_zones, loaded.refused, after.store.scopes()), (1, 1, 0, 1));
}

#[test]
fn what_the_store_does_not_take_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let before = known();
    let later = now_ns() + 3600 * 1_000_000_000;
    let mut content = content(4);
    content.definitions[0].order.time = later / 1_000_000;
    before.store.import(&key(0, 1), content, later);
    StateDir::open(folder.path()).unwrap().save(&before).unwrap();
    let (loaded, after) = loaded(folder.path());
    assert_eq!((loaded.refused, loaded.why.as_deref()), (1, Some("order_in_the_future")));
    assert_eq!(after.store.templates(), 0);
}

#[test]
fn a_damaged_file_is_set_aside_whole() {
    type Change = fn(&mut Vec<u8>);
    let damages: [(&str, Change); 4] = [
        ("torn", |octets| octets.truncate(octets.len() - 20)),
        ("foreign", |octets| *octets = b"#!/bin/sh\necho hello\n".to_vec()),
        ("flipped", |octets| octets[40] ^= 4),
        ("empty", Vec::clear),
    ];
    for (name, damage) in damages {
        let folder = saved();
        let path = folder.path().join(FILE);
        let mut octets = fs::read(&path).unwrap();
        damage(&mut octets);
        fs::write(&path, &octets).unwrap();
        let (first, known) = loaded(folder.path());
        assert!(first.damage.is_some() && first.scopes == 0 && known.store.scopes() == 0, "{name}");
        assert_eq!(fs::read(folder.path().join(DAMAGED)).unwrap(), octets, "{name}: kept for a person");
        let (second, _) = loaded(folder.path());
        assert!(second.damage.is_none() && !path.exists(), "{name}: the next start finds none");
    }
}

/// Killed while the next file was written, and after it was whole but not yet in its place.
#[test]
fn a_file_that_never_got_its_name_changes_nothing() {
    let folder = saved();
    let whole = fs::read(folder.path().join(FILE)).unwrap();
    for left in [&whole[..whole.len() / 2], &whole[..]] {
        fs::write(folder.path().join(NEW), left).unwrap();
        let (loaded, known) = loaded(folder.path());
        assert!(loaded.damage.is_none());
        assert_eq!((loaded.scopes, known.store.templates()), (1, 1));
        assert_eq!(fs::read(folder.path().join(FILE)).unwrap(), whole);
    }
}

#[test]
fn a_folder_is_one_process_s() {
    let folder = tempfile::tempdir().unwrap();
    let first = StateDir::open(folder.path()).unwrap();
    assert!(matches!(StateDir::open(folder.path()), Err(Unusable::InUse { .. })));
    drop(first);
    assert!(StateDir::open(folder.path()).is_ok());
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_by_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = StateDir::open(&file.path().join("state")).unwrap_err();
    assert!(error.to_string().contains("state: Not a directory"), "{error}");
}

#[test]
fn changes_are_saved_soon_but_seldom_and_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let known = known();
    let saver = Saver::with_rest(StateDir::open(folder.path()).unwrap(), known.clone(), Arc::default(), LONG)
        .unwrap();
    learn(&known, key(0, 1), 4);
    wait_for("the first change is saved", || saver.saves().counts().done == 1);
    assert!(saver.saves().counts().last_seconds > 0.0);
    learn(&known, key(0, 2), 4);
    saver.close();
    assert_eq!(saver.saves().counts().done, 2, "the second one had to wait for the end");
    drop(saver);
    assert_eq!(loaded(folder.path()).0.scopes, 2);
}

#[test]
fn a_node_that_learns_nothing_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let saver = Saver::start(StateDir::open(folder.path()).unwrap(), known(), Arc::default()).unwrap();
    saver.close();
    assert_eq!(saver.saves().counts().done, 0);
    assert!(!folder.path().join(FILE).exists());
}

#[test]
fn a_save_that_fails_is_said_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let known = known();
    let saver = Saver::with_rest(
        StateDir::open(folder.path()).unwrap(),
        known.clone(),
        Arc::default(),
        Duration::ZERO,
    )
    .unwrap();
    // No file can take the place of a folder.
    fs::create_dir(folder.path().join(NEW)).unwrap();
    learn(&known, key(0, 1), 4);
    wait_for("it fails", || saver.saves().counts().failed > 0);
    assert!(saver.saves().problem().unwrap().contains("Is a directory"));
    fs::remove_dir(folder.path().join(NEW)).unwrap();
    wait_for("it works again", || saver.saves().counts().done == 1);
    assert_eq!(saver.saves().problem(), None);
    saver.close();
}
