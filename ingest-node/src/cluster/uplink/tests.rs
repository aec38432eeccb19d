//! What goes up and when, with the time given.

use std::net::Ipv4Addr;
use std::sync::Arc;

use flow_decoder::template::{FieldSpecifier, Template, TemplateKind};
use flow_decoder::{NameKind, Order, SharedDefinition, SharedName, SharedOptions, SharedScope};

use super::*;
use crate::config::{Config, Prefix};

const NOW_NS: u64 = 1_800_000_000_000_000_000;
const SECOND: Duration = Duration::from_secs(1);

fn key(exporter: u8, domain: u32) -> ScopeKey {
    let exporter = Ipv4Addr::new(192, 0, 2, exporter).into();
    ScopeKey { zone: ZoneId(0), exporter, version: 10, domain }
}

fn learn(known: &Known, key: ScopeKey, fields: usize, length: u16) {
    let fields = vec![FieldSpecifier::iana(1, length); fields];
    let template = Arc::new(Template::new(TemplateKind::Data, fields).unwrap());
    let order = Order { epoch: 0, time: NOW_NS / 1_000_000 + u64::from(length) };
    let definitions = vec![SharedDefinition { id: 256, port: 1, order, proven: true, template }];
    known.store.import(&key, SharedScope { definitions, ..SharedScope::default() }, NOW_NS);
}

fn limits(exporter: f64, scopes: f64) -> Limits {
    let rate = |burst| Rate { burst, second: 1.0 };
    Limits { exporter: rate(exporter), scopes: rate(scopes), octets: Rate { burst: 1e9, second: 1e9 } }
}

fn uplink(limits: Limits) -> (Uplink, Known, Instant) {
    let mut config = Config::default();
    let allow: Prefix = catchment_settings::Value::parse("192.0.2.9/32").unwrap();
    config.sources.flow.listeners[0].allow = vec![allow];
    let (known, now) = (Known::nothing(&config), Instant::now());
    (Uplink::new(known.clone(), limits, now), known, now)
}

fn batch(next: Next) -> Batch {
    match next {
        Next::Send(batch) => batch,
        other => panic!("{other:?}"),
    }
}

fn domains(batch: &Batch) -> Vec<u32> {
    batch.message.scopes.iter().map(|scope| scope.key.as_ref().unwrap().domain).collect()
}

#[test]
fn a_scope_goes_up_once_in_its_latest_form() {
    let (mut uplink, known, now) = uplink(Limits::default());
    learn(&known, key(1, 1), 1, 4);
    uplink.push(key(1, 1));
    learn(&known, key(1, 1), 1, 8);
    uplink.push(key(1, 1));
    let sent = batch(uplink.next(now));
    assert_eq!((sent.scopes, sent.templates, sent.message.scopes[0].layouts[0].fields[0].length), (1, 1, 8));
    assert_eq!(uplink.next(now), Next::Idle);
    uplink.push(key(1, 1));
    assert_eq!((uplink.next(now), uplink.waiting()), (Next::Idle, 0), "the coordinator has it");
    uplink.push(key(1, 7));
    assert_eq!((uplink.next(now), uplink.waiting()), (Next::Idle, 0), "there is nothing to tell");
}

#[test]
fn scopes_that_are_gone_do_not_wait() {
    let (mut uplink, known, now) = uplink(limits(1e9, 1e9));
    learn(&known, key(1, 1), 1, 4);
    uplink.push(key(1, 1));
    for domain in 0..10 * FEW as u32 {
        uplink.push(key(2, domain));
        assert!(uplink.waiting() <= FEW + 1, "{}", uplink.waiting());
    }
    assert_eq!(domains(&batch(uplink.next(now))), [1]);
    assert_eq!((uplink.next(now), uplink.waiting()), (Next::Idle, 0));
}

fn name(known: &Known, key: ScopeKey, names: u64, text: &str) {
    let time = NOW_NS / 1_000_000;
    let name = |id| SharedName { kind: NameKind::Application, id, time, text: text.into() };
    let options = SharedOptions { names: (0..names).map(name).collect(), ..SharedOptions::default() };
    known.store.import(&key, SharedScope { options, ..SharedScope::default() }, NOW_NS);
}

/// Each datagram of a table adds names: the scope is sent when it is their turn, not each time.
#[test]
fn names_wait_for_more_of_them_and_nothing_else_does() {
    let (mut uplink, known, now) = uplink(Limits::default());
    let names = |batch: &Batch| batch.message.scopes[0].options.len();
    name(&known, key(1, 1), 10, "http");
    uplink.push_names(key(1, 1), now);
    assert_eq!(names(&batch(uplink.next(now))), 10, "the first of them at once");
    for more in 1..100 {
        name(&known, key(1, 1), 10 + 20 * more, "http");
        uplink.push_names(key(1, 1), now);
        assert_eq!((uplink.next(now), uplink.waiting()), (Next::Wait(now + NAMES_REST), 1));
    }
    assert!(uplink.is_calm());
    learn(&known, key(1, 2), 1, 4);
    uplink.push(key(1, 2));
    assert_eq!(domains(&batch(uplink.next(now))), [2], "another scope");
    let sent = batch(uplink.next(now + NAMES_REST));
    assert_eq!((names(&sent), uplink.waiting()), (1990, 0));
    name(&known, key(1, 1), 2000, "http");
    uplink.push_names(key(1, 1), now + NAMES_REST);
    let Next::Wait(until) = uplink.next(now + NAMES_REST) else { panic!("a scope of that size waits") };
    let seconds = sent.message.encoded_len() as f64 / NAMES_SECOND;
    assert!(until.duration_since(now).as_secs_f64() > 0.9 * seconds && seconds > 0.3, "{seconds}");
    learn(&known, key(1, 1), 1, 4);
    uplink.push(key(1, 1));
    assert_eq!(names(&batch(uplink.next(now + NAMES_REST))), 2000, "a template takes them along");
    assert_eq!((uplink.next(until), uplink.waiting()), (Next::Idle, 0));
}

#[test]
fn messages_have_a_bound() {
    let (mut uplink, known, now) = uplink(Limits::default());
    for domain in 0..200 {
        learn(&known, key(1, domain), 1000, 4);
        uplink.push(key(1, domain));
    }
    let (mut seen, mut messages) = (0, 0);
    while let Next::Send(batch) = uplink.next(now) {
        assert!(batch.message.encoded_len() <= MESSAGE + 16, "{}", batch.message.encoded_len());
        (seen, messages) = (seen + batch.scopes, messages + 1);
    }
    assert!(seen == 200 && messages > 1, "{seen} scopes in {messages} messages");
}

#[test]
fn an_exporter_that_says_much_waits_and_others_do_not() {
    let (mut uplink, known, now) = uplink(limits(2.0, 1e9));
    for domain in 0..4 {
        learn(&known, key(1, domain), 1, 4);
        uplink.push(key(1, domain));
    }
    learn(&known, key(2, 9), 1, 4);
    uplink.push(key(2, 9));
    let sent = batch(uplink.next(now));
    assert_eq!((domains(&sent), sent.limited), (vec![0, 1, 9], 2));
    learn(&known, key(1, 2), 1, 40);
    uplink.push(key(1, 2));
    assert!(matches!(uplink.next(now), Next::Wait(_)));
    let later = batch(uplink.next(now + 3 * SECOND));
    assert_eq!(domains(&later), [2, 3]);
    assert_eq!(later.message.scopes[0].layouts[0].fields[0].length, 40, "the latest form");
}

#[test]
fn the_node_has_a_limit_too() {
    let (mut uplink, known, now) = uplink(limits(1e9, 3.0));
    for domain in 0..5 {
        learn(&known, key(1, domain), 1, 4);
        uplink.push(key(1, domain));
    }
    assert_eq!(domains(&batch(uplink.next(now))), [0, 1, 2]);
    assert!(matches!(uplink.next(now), Next::Wait(at) if at <= now + SECOND));
    assert_eq!(domains(&batch(uplink.next(now + SECOND))), [3]);
    assert_eq!(uplink.waiting(), 1);
}

#[test]
fn exporters_on_the_allow_list_go_first_and_apart() {
    let (mut uplink, known, now) = uplink(Limits::default());
    for exporter in [1, 9, 2] {
        learn(&known, key(exporter, u32::from(exporter)), 1, 4);
        uplink.push(key(exporter, u32::from(exporter)));
    }
    let (first, second) = (batch(uplink.next(now)), batch(uplink.next(now)));
    assert_eq!((domains(&first), first.message.allow_listed), (vec![9], true));
    assert_eq!((domains(&second), second.message.allow_listed), (vec![1, 2], false));
}

#[test]
fn what_was_refused_goes_again_when_it_is_told_or_when_it_changes() {
    let (mut uplink, known, now) = uplink(Limits::default());
    for domain in [1, 2] {
        learn(&known, key(1, domain), 1, 4);
        uplink.push(key(1, domain));
    }
    batch(uplink.next(now));
    uplink.refused(key(1, 1), Some(SECOND), now);
    uplink.refused(key(1, 2), None, now);
    assert_eq!(uplink.next(now), Next::Wait(now + SECOND));
    assert_eq!(domains(&batch(uplink.next(now + SECOND))), [1]);
    uplink.push(key(1, 2));
    assert_eq!(domains(&batch(uplink.next(now + SECOND))), [2]);
}

#[test]
fn another_session_is_told_what_the_last_one_may_not_have_kept() {
    let (mut uplink, known, now) = uplink(Limits::default());
    learn(&known, key(1, 1), 1, 4);
    uplink.push(key(1, 1));
    batch(uplink.next(now));
    uplink.begin(now + SECOND);
    assert_eq!(domains(&batch(uplink.next(now + SECOND))), [1]);
    uplink.begin(now + SECOND + REMEMBERED);
    assert_eq!(uplink.next(now + SECOND + REMEMBERED), Next::Idle);
}
