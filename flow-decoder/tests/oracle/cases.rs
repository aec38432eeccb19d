//! Where the decoder once differed from the reference, or from sense: one named case each, with the value that is right.

use crate::Both;
use crate::rig::{RECEIVED_NS, exporter};
use crate::wire::{EXPORT_TIME, Message, field, varlen};
use catchment_proto::flow::v1::FlowRecord;

/// The flow records of one message, on which decoder and reference must agree.
fn flows(message: Message) -> Vec<FlowRecord> {
    let mut both = Both::new();
    both.compare(&message.build(), exporter(2055), RECEIVED_NS).expect("both agree");
    both.rig.kept.flows()
}

#[test]
fn of_an_element_that_gives_a_rate_twice_the_first_counts() {
    let template = [field(34, 2), field(34, 2)];
    let flows = flows(Message::v9().templates(&[(256, &template)]).set(256, [0, 10, 0, 20]));
    assert_eq!(flows[0].sampling_rate, 10);
}

#[test]
fn a_sampling_probability_in_a_data_record_gives_a_rate() {
    let message = Message::ipfix().templates(&[(256, &[field(311, 8)])]).set(256, 0.01f64.to_be_bytes());
    assert_eq!(flows(message)[0].sampling_rate, 100);
}

#[test]
fn the_ethernet_type_is_that_of_the_address_as_it_is_long() {
    let message = Message::ipfix().templates(&[(256, &[field(12, 16)])]).set(256, [1; 16]);
    let flows = flows(message);
    assert_eq!((flows[0].dst_addr.len(), flows[0].etype), (16, 0x86dd));
}

/// A neighbour solicitation for duplicate address detection comes from `::`.
#[test]
fn a_source_of_zeros_leaves_the_ethernet_type_to_the_destination() {
    let template = [field(8, 4), field(12, 4), field(27, 16), field(28, 16)];
    let record = [&[0; 24][..], &[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 1]].concat();
    let flows = flows(Message::v9().templates(&[(256, &template)]).set(256, record));
    assert_eq!((flows[0].dst_addr.len(), flows[0].etype), (16, 0x86dd));
}

#[test]
fn an_icmp_code_alone_keeps_the_destination_port_from_being_read_as_icmp() {
    let template = [field(4, 1), field(11, 2), field(177, 1)];
    let flows = flows(Message::ipfix().templates(&[(256, &template)]).set(256, [1, 8, 3, 5]));
    assert_eq!((flows[0].icmp_type, flows[0].icmp_code), (0, 5));
}

#[test]
fn a_label_ttl_that_does_not_fit_its_field_is_no_member() {
    let message = Message::ipfix().templates(&[(256, &[field(200, 8)])]).set(256, [0, 0, 0, 1, 0, 0, 0, 0]);
    assert!(flows(message)[0].mpls_ttl.is_empty());
}

#[test]
fn an_empty_delta_is_no_time() {
    let message = Message::ipfix().templates(&[(256, &[varlen(158), field(4, 1)])]);
    let flows = flows(message.set(256, [0, 6, 4, 0, 0, 0, 0, 6]));
    assert_eq!(flows[0].time_flow_start_ns, 0);
    assert_eq!(
        flows[1].time_flow_start_ns,
        u64::from(EXPORT_TIME) * 1_000_000_000,
        "no delta is the export time"
    );
}

#[test]
fn an_empty_sampling_space_says_nothing() {
    let message = Message::ipfix().templates(&[(256, &[field(305, 1), varlen(306)])]);
    assert_eq!(flows(message.set(256, [5, 0]))[0].sampling_rate, 0);
}

#[test]
fn an_empty_sampler_id_names_no_sampler() {
    let message = Message::ipfix().options_template(300, &[field(149, 4)], &[field(48, 1), field(34, 1)]);
    let message = message.set(300, [0, 0, 0, 0, 0, 100]).templates(&[(256, &[varlen(48), field(4, 1)])]);
    let flows = flows(message.set(256, [0, 6, 1, 0, 6]));
    assert_eq!((flows[0].sampling_rate, flows[1].sampling_rate), (0, 100));
}
