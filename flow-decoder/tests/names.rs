//! Names that options data gives to interfaces, VRFs and applications, in the records that come after.

mod rig;
mod wire;

use std::sync::Arc;

use flow_decoder::{Decoder, DecoderOptions, NamesInRecords};
use rig::Rig;
use wire::{Field, Message, field};

const DATA: &[Field] = &[field(10, 4), field(14, 2), field(234, 4), field(235, 4), field(95, 4), field(1, 1)];
const RECORD: [u8; 19] = [0, 0, 0, 7, 0, 8, 0x60, 0, 0, 1, 0x60, 0, 0, 2, 3, 0, 0, 80, 9];

fn padded(name: &str, length: usize) -> Vec<u8> {
    let mut octets = name.as_bytes().to_vec();
    octets.resize(length, 0);
    octets
}

/// Cisco: interface, VRF and application tables as options data.
fn tables(message: Message, v9: bool) -> Message {
    let system = if v9 { field(1, 4) } else { field(144, 4) };
    let interfaces =
        [&[0; 4][..], &[0, 0, 0, 7], &padded("Gi0/7", 32), &[0; 4], &[0, 0, 0, 8], &padded("Te0/8", 32)];
    let vrfs =
        [&[0; 4][..], &[0x60, 0, 0, 1], &padded("red", 16), &[0; 4], &[0x60, 0, 0, 2], &padded("blue", 16)];
    let applications = [&[0; 4][..], &[3, 0, 0, 80], &padded("http", 24), &padded("HyperText", 16)];
    message
        .options_template(300, &[system], &[field(10, 4), field(82, 32)])
        .set(300, interfaces.concat())
        .options_template(301, &[system], &[field(234, 4), field(236, 16)])
        .set(301, vrfs.concat())
        .options_template(302, &[system], &[field(95, 4), field(96, 24), field(94, 16)])
        .set(302, applications.concat())
}

fn shown(rig: &Rig) -> [String; 5] {
    let flow = rig.kept.flows().pop().expect("a flow");
    [flow.in_if_name, flow.out_if_name, flow.ingress_vrf_name, flow.egress_vrf_name, flow.application_name]
}

#[test]
fn tables_name_what_records_number() {
    for v9 in [true, false] {
        let message = || if v9 { Message::v9() } else { Message::ipfix() };
        let mut rig = Rig::new();
        rig.take(message().templates(&[(256, DATA)]).set(256, RECORD).build());
        assert_eq!(shown(&rig), ["", "", "", "", ""], "nothing is named yet");
        rig.take(tables(message(), v9).build());
        rig.take(message().set(256, RECORD).build());
        assert_eq!(shown(&rig), ["Gi0/7", "Te0/8", "red", "blue", "http"]);
        rig.take(message().domain(99).templates(&[(256, DATA)]).set(256, RECORD).build());
        assert_eq!(shown(&rig), ["", "", "", "", ""], "another domain's names are not these");
    }
}

#[test]
fn an_interface_may_be_the_scope() {
    let mut rig = Rig::new();
    let v9 = Message::v9().options_template(300, &[field(2, 4)], &[field(82, 5)]);
    rig.take(v9.set(300, [&[0, 0, 0, 7][..], b"eth-7"].concat()).templates(&[(256, DATA)]).build());
    rig.take(Message::v9().set(256, RECORD).build());
    assert_eq!(shown(&rig)[0], "eth-7");
    let ipfix = Message::ipfix().options_template(300, &[field(10, 4)], &[field(82, 5)]);
    rig.take(ipfix.set(300, [&[0, 0, 0, 7][..], b"eth-8"].concat()).templates(&[(256, DATA)]).build());
    rig.take(Message::ipfix().set(256, RECORD).build());
    assert_eq!(shown(&rig)[0], "eth-8");
}

#[test]
fn the_latest_name_counts_and_a_record_knows_its_own_better() {
    let mut rig = Rig::new();
    rig.take(tables(Message::ipfix(), false).build());
    let renamed = Message::ipfix().set(301, [&[0; 4][..], &[0x60, 0, 0, 1], &padded("green", 16)].concat());
    rig.take(renamed.build());
    let own = [field(234, 4), field(236, 4)];
    let message = Message::ipfix().templates(&[(256, DATA), (257, &own)]).set(256, RECORD);
    rig.take(message.build());
    assert_eq!(shown(&rig)[2], "green");
    rig.take(Message::ipfix().set(257, [&[0x60, 0, 0, 1][..], b"mine"].concat()).build());
    assert_eq!(shown(&rig)[2], "mine");
}

#[test]
fn names_can_be_left_out() {
    let mut rig = Rig::new();
    let options = DecoderOptions { names: NamesInRecords::LeftOut, ..DecoderOptions::default() };
    rig.decoder = Decoder::new(Arc::clone(&rig.store), options);
    rig.take(tables(Message::v9(), true).build());
    rig.take(Message::v9().templates(&[(256, DATA)]).set(256, RECORD).build());
    assert_eq!(shown(&rig), ["", "", "", "", ""]);
}

/// A table that is sent again and again is learnt once.
#[test]
fn a_table_that_says_nothing_new_changes_nothing() {
    let mut rig = Rig::new();
    rig.take(tables(Message::v9(), true).build());
    let generation = rig.store.generation();
    rig.take(tables(Message::v9(), true).build());
    assert_eq!(rig.store.generation(), generation);
}

/// An exporter that names without end takes no more than its domain may.
#[test]
fn names_without_end_stay_in_their_bounds() {
    let mut rig = Rig::new();
    rig.take(Message::ipfix().options_template(300, &[field(10, 4)], &[field(82, 60)]).build());
    for part in 0..200u32 {
        let names = (0..50).flat_map(|at| [&(part * 50 + at).to_be_bytes()[..], &[b'x'; 60]].concat());
        rig.take(Message::ipfix().set(300, names.collect::<Vec<u8>>()).build());
        rig.kept.clear();
    }
    assert!(rig.store.bytes() < 1 << 20, "{} octets", rig.store.bytes());
}
