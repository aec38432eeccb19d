//! Sampling rates that options data announces, by sampler, by interface and for the whole domain, in the records that come after.

mod rig;
mod wire;

use flow_decoder::{ScopeKey, Share, ZoneId};
use rig::{RECEIVED_NS, Rig, exporter};
use wire::{DOMAIN, Field, Message, field};

const IN_OUT: &[Field] = &[field(10, 4), field(14, 4), field(1, 4)];
const WITH_DIRECTION: &[Field] = &[field(10, 4), field(14, 4), field(61, 1)];
const WITH_SAMPLER: &[Field] = &[field(10, 4), field(14, 4), field(48, 1)];

fn key() -> ScopeKey {
    ScopeKey { zone: ZoneId(0), exporter: exporter(0).ip(), version: 9, domain: DOMAIN }
}

fn octets(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// v9: system 1:1000, interface 7 1:10, interface 8 1:20, sampler 5 1:5.
fn announced(message: Message) -> Message {
    message
        .options_template(300, &[field(1, 4)], &[field(34, 4)])
        .set(300, octets(&[0, 1000]))
        .options_template(301, &[field(2, 4)], &[field(34, 4), field(35, 1)])
        .set(301, [octets(&[7, 10]), vec![1], octets(&[8, 20]), vec![1]].concat())
        .options_template(302, &[field(1, 4)], &[field(48, 1), field(50, 4)])
        .set(302, [octets(&[0]), vec![5], octets(&[5])].concat())
}

fn rates(rig: &mut Rig, message: Message) -> Vec<u64> {
    rig.kept.clear();
    rig.take(message.build());
    rig.kept.flows().iter().map(|flow| flow.sampling_rate).collect()
}

#[test]
fn an_interface_s_rate_comes_before_the_domain_s() {
    let mut rig = Rig::new();
    let data = || Message::v9().templates(&[(256, IN_OUT)]).set(256, octets(&[7, 8, 1, 9, 7, 1, 8, 9, 1]));
    assert_eq!(rates(&mut rig, data()), [0, 0, 0]);
    rig.take(announced(Message::v9()).build());
    assert_eq!(rates(&mut rig, data()), [10, 1000, 20], "by the input interface");
    let directed = Message::v9().templates(&[(257, WITH_DIRECTION)]);
    let records = [octets(&[7, 8]), vec![0], octets(&[7, 8]), vec![1], octets(&[7, 9]), vec![1]];
    assert_eq!(rates(&mut rig, directed.set(257, records.concat())), [10, 20, 1000]);
    let sampled = Message::v9().templates(&[(258, WITH_SAMPLER)]);
    let records = [octets(&[7, 8]), vec![5], octets(&[7, 8]), vec![6], octets(&[9, 9]), vec![6]];
    assert_eq!(rates(&mut rig, sampled.set(258, records.concat())), [5, 10, 1000], "a sampler's comes first");
    let without = Message::v9().templates(&[(259, &[field(1, 4)])]).set(259, octets(&[1]));
    assert_eq!(rates(&mut rig, without), [1000], "records without interfaces");
}

/// Where a rate is known of the output interface only, and none of the domain, nothing else can be meant.
#[test]
fn sampling_where_packets_leave_needs_no_direction() {
    let mut rig = Rig::new();
    let message = Message::v9().options_template(301, &[field(2, 4)], &[field(34, 4)]);
    rig.take(message.set(301, octets(&[8, 20])).build());
    let data = Message::v9().templates(&[(256, IN_OUT)]).set(256, octets(&[7, 8, 1, 7, 9, 1]));
    assert_eq!(rates(&mut rig, data), [20, 0]);
}

#[test]
fn ipfix_scopes_by_element() {
    let mut rig = Rig::new();
    let by = |id, set, index| {
        let message =
            Message::ipfix().options_template(set, &[field(id, 4)], &[field(305, 4), field(306, 4)]);
        message.set(set, octets(&[index, 1, 99])).build()
    };
    rig.take(by(10, 300, 7));
    rig.take(by(14, 301, 8));
    let data = Message::ipfix().templates(&[(256, IN_OUT)]).set(256, octets(&[7, 1, 1, 8, 1, 1, 9, 1, 1]));
    assert_eq!(rates(&mut rig, data), [100, 100, 0]);
}

/// softflowd announces its rate with the scope INTERFACE 0, and means all.
#[test]
fn interface_0_is_the_whole_domain() {
    let mut rig = Rig::new();
    let message = Message::v9().options_template(301, &[field(2, 4)], &[field(34, 4)]);
    rig.take(message.set(301, octets(&[0, 100])).build());
    let data = Message::v9().templates(&[(256, IN_OUT)]).set(256, octets(&[7, 8, 1]));
    assert_eq!(rates(&mut rig, data), [100]);
}

#[test]
fn rates_by_interface_are_shared_and_the_latest_wins() {
    let mut rig = Rig::new();
    rig.take(announced(Message::v9()).build());
    let shared = rig.store.export(&key(), Share::Proven).expect("a scope");
    let rates_of: Vec<_> =
        shared.options.interface_rates.iter().map(|(index, rate)| (*index, rate.value)).collect();
    assert_eq!(rates_of, [(7, 10), (8, 20)]);
    let mut other = Rig::new();
    assert!(other.store.import(&key(), shared.clone(), RECEIVED_NS).options_changed);
    let data = || Message::v9().templates(&[(256, IN_OUT)]).set(256, octets(&[7, 8, 1]));
    assert_eq!(rates(&mut other, data()), [10]);
    other.take(Message::v9().set(301, [octets(&[7, 11]), vec![1]].concat()).build());
    assert_eq!(rates(&mut other, data()), [11]);
    assert!(!other.store.import(&key(), shared, RECEIVED_NS).options_changed, "older");
}
