//! The sequence numbers that a decoder has seen, put together by `catchment-sequence`: exporters that lose nothing have no gap.

mod capture;
mod rig;
mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use catchment_sequence::{Account, Book, Limits, NodeReport, Space, Time};
use flow_decoder::{Datagram, Decoder, DecoderOptions, SequenceKey, ZoneId};
use rig::{Rig, exporter};
use wire::{Message, field};

/// The accounts of all that came, after a settling time.
fn accounts(rig: &mut Rig) -> BTreeMap<Space, Account> {
    let mut reports = Vec::new();
    rig.decoder.finish_sequences();
    rig.decoder.take_sequences(|key, report| reports.push((space(key), 0, report)));
    let mut book = Book::new(Limits::default());
    let report =
        NodeReport { node: "a", incarnation: 1, number: 1, covers: Duration::from_secs(1), lost_here: 0 };
    let spaces = reports.iter().map(|(space, thread, report)| (space.clone(), *thread, report));
    book.report(report, spaces, Time::from_millis(1000));
    // A node that says something is waited for no longer.
    book.report(NodeReport { number: 2, ..report }, [], Time::from_millis(100_000));
    book.settle(Time::from_millis(100_000));
    book.accounts().map(|(space, account)| (space.clone(), account.clone())).collect()
}

fn space(key: &SequenceKey) -> Space {
    Space {
        zone: "".into(),
        exporter: key.exporter,
        port: key.port,
        version: key.version,
        domain: key.domain,
        data_source: key.data_source.unwrap_or(0),
        unit: key.unit(),
    }
}

/// Sequence number in the header: v9 at 12, IPFIX at 8.
fn numbered(mut message: Vec<u8>, at: usize, sequence: u32) -> Vec<u8> {
    message[at..at + 4].copy_from_slice(&sequence.to_be_bytes());
    message
}

/// softflowd's IPFIX leaves its options records out, though they are data records (RFC 7011 3.1): each comes as one repeated.
const OPTIONS_NOT_COUNTED: [(&str, u64); 2] =
    [("ipfix-softflowd-biflow.pcap", 2), ("ipfix-softflowd-over-ipv6.pcap", 1)];

#[test]
fn real_exporters_on_one_machine_have_no_gaps_however_they_number() {
    for path in capture::own() {
        let mut rig = Rig::new();
        let mut datagrams = 0;
        for captured in capture::read(&path) {
            let capture::Captured { source, received_ns, payload } = &captured;
            let datagram = Datagram {
                payload,
                source: *source,
                zone: ZoneId(0),
                received_ns: *received_ns,
                truncated: false,
            };
            rig.decoder.decode(&datagram, &mut rig.kept);
            datagrams += 1;
        }
        let accounts = accounts(&mut rig);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        assert_eq!(accounts.is_empty(), name.starts_with("v1-"), "{}: {datagrams} datagrams", path.display());
        for (space, account) in accounts {
            assert!(account.balanced(), "{}: {space:?}: {account:?}", path.display());
            let gaps = (account.lost(), account.waiting, account.resets, account.repeated, account.stray);
            let repeated =
                OPTIONS_NOT_COUNTED.iter().find(|(capture, _)| *capture == name).map_or(0, |(_, n)| *n);
            assert_eq!(gaps, (0, 0, 0, repeated, 0), "{name}: {space:?}: {account:?}");
        }
    }
}

#[test]
fn v9_counts_datagrams() {
    let mut rig = Rig::new();
    for sequence in [10, 11, 14] {
        let message = Message::v9().templates(&[(256, &[field(1, 4)])]).set(256, [0, 0, 0, 1]).build();
        rig.take(numbered(message, 12, sequence));
    }
    let accounts = accounts(&mut rig);
    let account = accounts.values().next().expect("a space");
    assert_eq!((account.received, account.lost_upstream), (3, 2));
}

#[test]
fn ipfix_counts_data_records_and_templates_take_no_number() {
    let mut rig = Rig::new();
    let template = Message::ipfix().templates(&[(256, &[field(1, 4)])]).build();
    let three = Message::ipfix().set(256, [0; 12]).build();
    for (message, sequence) in
        [(&template, 100), (&three, 100), (&template, 103), (&three, 103), (&three, 112)]
    {
        rig.take(numbered(message.clone(), 8, sequence));
    }
    let accounts = accounts(&mut rig);
    let account = accounts.values().next().expect("a space");
    assert_eq!((account.received, account.lost_upstream, account.repeated), (9, 6, 0));
}

#[test]
fn what_nobody_can_count_is_no_loss() {
    let mut rig = Rig::new();
    let three = Message::ipfix().set(256, [0; 12]).build();
    rig.take(numbered(Message::ipfix().templates(&[(256, &[field(1, 4)])]).build(), 8, 0));
    rig.take(numbered(three.clone(), 8, 0));
    // How many records this one has is known when its template comes, which is too late here.
    rig.take(numbered(Message::ipfix().set(257, [0; 8]).build(), 8, 3));
    rig.take(numbered(three, 8, 5));
    let accounts = accounts(&mut rig);
    let account = accounts.values().next().expect("a space");
    assert_eq!((account.received, account.lost_upstream, account.lost_unknown), (6, 0, 2));
}

/// Its decoder has decoded more sets than it has seen.
#[test]
fn a_worker_that_decodes_what_another_held_goes_on_counting() {
    let mut rig = Rig::new();
    let mut other = Decoder::new(rig.store.clone(), DecoderOptions::default());
    let three = numbered(Message::ipfix().set(256, [0; 12]).build(), 8, 0);
    other.decode(&rig::datagram(&three, exporter(7)), &mut rig.kept);
    let template = Message::ipfix().templates(&[(256, &[field(1, 4)])]).build();
    for message in [template, three] {
        rig.decoder.decode(&rig::datagram(&message, exporter(7)), &mut rig.kept);
        rig.decoder.decode_released(usize::MAX, &mut rig.kept);
    }
    assert_eq!((rig.statistics().sets.seen, rig.statistics().sets.decoded), (1, 2));
    let next = numbered(Message::ipfix().set(256, [0; 8]).build(), 8, 3);
    rig.decoder.decode(&rig::datagram(&next, exporter(7)), &mut rig.kept);
    let accounts = accounts(&mut rig);
    assert_eq!(accounts.values().next().expect("a space").received, 5);
}

#[test]
fn what_waited_is_counted_when_its_template_comes() {
    let mut rig = Rig::new();
    let template = |id| Message::ipfix().templates(&[(id, &[field(1, 4)])]).build();
    let three = Message::ipfix().set(256, [0; 12]).build();
    // Two of its three sets wait, each for another template.
    let mixed = Message::ipfix().set(257, [0; 8]).set(256, [0; 4]).set(258, [0; 8]).build();
    for (message, sequence) in [
        (template(256), 0),
        (three.clone(), 0),
        (mixed, 3),
        (three, 8),
        (template(257), 11),
        (template(258), 11),
    ] {
        rig.take(numbered(message, 8, sequence));
        while rig.decoder.decode_released(10, &mut rig.kept) > 0 {}
    }
    let accounts = accounts(&mut rig);
    let account = accounts.values().next().expect("a space");
    assert_eq!((account.received, account.lost(), account.reordered, account.repeated), (11, 0, 0, 0));
}

#[test]
fn v5_counts_flows() {
    let mut rig = Rig::new();
    for sequence in [0, 2, 6] {
        rig.take_from(exporter(9), numbered(wire::v5(2, &[0; 96]), 16, sequence));
    }
    let accounts = accounts(&mut rig);
    let (space, account) = accounts.first_key_value().expect("a space");
    assert_eq!((space.port, space.unit.as_str()), (9, "flows"));
    assert_eq!((account.received, account.lost_upstream), (6, 2));
}
