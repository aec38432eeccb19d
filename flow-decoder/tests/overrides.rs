//! What people know of exporters better than they say it: sampling rates and field maps, also while data comes.

mod rig;
mod wire;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use catchment_proto::json::ToJson as _;
use flow_decoder::{
    DecoderOptions, Destination, FieldRule, Otherwise, Override, Overrides, RecordField, Sampling, Verdict,
};
use rig::{Rig, exporter};
use wire::{Field, Message, field, put16, put32, v5, v5_record, vendor};

fn rate(rate: u32) -> NonZeroU32 {
    NonZeroU32::new(rate).expect("above 0")
}

fn rule(pen: u32, id: u16, to: &str) -> FieldRule {
    FieldRule { pen, id, to: Destination::named(to).expect("a field") }
}

/// What is known of the rig's exporter, and of nobody else.
fn known(sampling: Sampling, fields: &[FieldRule]) -> DecoderOptions {
    let known = Override {
        zone: None,
        address: exporter(0).ip(),
        length: 32,
        sampling,
        fields: fields.to_vec(),
        keep_unknown: false,
        split_biflows: false,
    };
    DecoderOptions {
        overrides: Arc::new(Overrides::new([known], Otherwise::default())),
        ..DecoderOptions::default()
    }
}

/// Octets and one element of four octets.
fn one_element(element: Field) -> Vec<u8> {
    Message::ipfix().templates(&[(256, &[field(1, 4), element])]).build()
}

fn one_record(octets: u32, value: u32) -> Vec<u8> {
    let mut record = Vec::new();
    put32(&mut record, octets);
    put32(&mut record, value);
    Message::ipfix().set(256, record).build()
}

#[test]
fn dot1q_service_instances_are_sgts_only_where_a_map_says_so() {
    let mut rig = Rig::new();
    rig.take(one_element(field(411, 4)));
    rig.take(one_record(100, 2000));
    assert_eq!(rig.kept.flows()[0].src_sgt, 0);
    rig.kept.clear();
    rig.decoder.set_options(known(Sampling::AsSaid, &[rule(0, 411, "src_sgt"), rule(0, 412, "dst_sgt")]));
    rig.take(one_record(100, 2000));
    assert_eq!((rig.kept.flows()[0].src_sgt, rig.kept.flows()[0].dst_sgt), (2000, 0));
    rig.kept.clear();
    let stranger: SocketAddr = ([198, 51, 100, 1], 2055).into();
    rig.take_from(stranger, one_element(field(411, 4)));
    rig.take_from(stranger, one_record(100, 2000));
    assert_eq!(rig.kept.flows()[0].src_sgt, 0, "another exporter");
}

#[test]
fn a_map_that_changes_holds_for_the_next_datagram_and_for_what_waits() {
    let mut rig = Rig::new();
    let element = vendor(9, 12_232, 4);
    assert_eq!(rig.take(one_record(1, 7)), Verdict::Decoded, "it waits for its template");
    for (turn, to) in ["in_if", "dst_user", "extra", "src_sgt"].into_iter().enumerate() {
        rig.decoder.set_options(known(Sampling::AsSaid, &[rule(9, 12_232, to)]));
        if turn == 0 {
            rig.take(one_element(element));
        } else {
            rig.take(one_record(1, 0x6162_6300));
        }
    }
    let flows = rig.kept.flows();
    assert_eq!((flows.len(), flows[0].in_if, flows[0].bytes), (4, 7, 1));
    assert_eq!(flows[1].dst_user, "abc");
    assert_eq!(
        (flows[2].extra[0].pen, flows[2].extra[0].id, &flows[2].extra[0].value[..]),
        (9, 12_232, &b"abc\0"[..])
    );
    assert_eq!((flows[3].src_sgt, flows[3].extra.len()), (0x6162_6300, 0));
}

#[test]
fn every_field_of_the_table_is_filled_by_an_element_that_is_sent_there() {
    for target in RecordField::all() {
        // Seconds since 1970, for the fields that are times.
        let element = if target.accepts(35632, 1).is_ok() { vendor(35632, 1, 4) } else { field(150, 4) };
        let (pen, id) = (element.pen.unwrap_or(0), element.id);
        assert_eq!(target.accepts(pen, id), Ok(()));
        let mut rig = Rig::new();
        rig.decoder.set_options(known(Sampling::AsSaid, &[rule(pen, id, target.name())]));
        rig.take(Message::ipfix().templates(&[(256, &[element])]).build());
        rig.take(Message::ipfix().set(256, [0x41; 4]).build());
        let json = rig.kept.flows()[0].to_json();
        assert!(json.contains(&format!("\"{}\":", target.name())), "{target:?}: {json}");
    }
}

#[test]
fn rates_are_replaced_or_filled_in_for_every_protocol() {
    // Of these v5 says 1 of 10, IPFIX by an element 1 of 10, and sFlow 1 of 1024.
    let v5_says = |interval: u16| {
        let mut datagram = v5(1, &v5_record());
        datagram[22..24].copy_from_slice(&interval.to_be_bytes());
        datagram
    };
    let sflow = {
        let words = [5u32, 1, 0x0a00_0001, 0, 1, 1, 1, 1, 32, 1, 3, 1024, 0, 0, 1, 2, 0];
        words.into_iter().flat_map(u32::to_be_bytes).collect::<Vec<u8>>()
    };
    for (sampling, wanted) in [
        (Sampling::AsSaid, [10, 0, 10, 0, 1024]),
        (Sampling::Default(rate(50)), [10, 50, 10, 50, 1024]),
        (Sampling::Fixed(rate(50)), [50; 5]),
    ] {
        let mut rig = Rig::new();
        rig.decoder.set_options(known(sampling, &[]));
        rig.take(v5_says(10));
        rig.take(v5_says(0));
        rig.take(one_element(field(34, 4)));
        rig.take(one_record(100, 10));
        rig.take(one_record(100, 0));
        rig.take(&sflow);
        let flows = rig.kept.flows();
        let rates: Vec<u64> = flows.iter().map(|flow| flow.sampling_rate).collect();
        assert_eq!(rates, wanted, "{sampling:?}");
        assert_eq!(flows[2].bytes, 100, "counters are not multiplied");
    }
}

#[test]
fn a_default_gives_way_to_what_options_data_says() {
    let mut rig = Rig::new();
    rig.decoder.set_options(known(Sampling::Default(rate(50)), &[]));
    rig.take(one_element(field(2, 4)));
    rig.take(one_record(100, 1));
    let mut options = Vec::new();
    put32(&mut options, wire::DOMAIN);
    put32(&mut options, 400);
    let announced =
        Message::ipfix().options_template(257, &[field(149, 4)], &[field(34, 4)]).set(257, options).build();
    rig.take(announced);
    rig.take(one_record(100, 1));
    rig.decoder.set_options(known(Sampling::Fixed(rate(7)), &[]));
    rig.take(one_record(100, 1));
    let rates: Vec<u64> = rig.kept.flows().iter().map(|flow| flow.sampling_rate).collect();
    assert_eq!(rates, [50, 400, 7]);
}

#[test]
fn unknown_elements_are_kept_with_names_and_text_and_padding_is_not() {
    let mut rig = Rig::new();
    let overrides = Arc::new(Overrides::new([], Otherwise { keep_unknown: true, split_biflows: false }));
    rig.decoder.set_options(DecoderOptions { overrides, ..DecoderOptions::default() });
    let fields = [field(1, 4), field(210, 2), field(412, 4), vendor(35632, 9, 2), field(8, 4), field(8, 4)];
    rig.take(Message::ipfix().templates(&[(256, &fields)]).build());
    let mut record = Vec::new();
    put32(&mut record, 100);
    put16(&mut record, 0);
    put32(&mut record, 77);
    put16(&mut record, 5);
    record.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    rig.take(Message::ipfix().set(256, record).build());
    let flow = &rig.kept.flows()[0];
    let extra: Vec<_> = flow.extra.iter().map(|e| (e.pen, e.id, e.name.as_str(), e.text.as_str())).collect();
    assert_eq!(extra[0], (0, 412, "dot1qServiceInstanceId", "77"));
    assert_eq!((extra.len(), extra[1].0, extra[1].1), (2, 35632, 9));
    assert_eq!((flow.bytes, &flow.inner_src_addr[..]), (100, &[10, 0, 0, 2][..]));
}
