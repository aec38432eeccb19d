//! `decode` over the captures of `testdata/`, held against what tshark counts in them (`MANIFEST.tsv`).

mod pcap;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use catchment_proto::flow::v1::FlowRecord;
use catchment_proto::json::ToJson;
use clap::Parser;
use flow_decoder::DecoderOptions;
use ingest_node::cli::{Cli, Command};
use ingest_node::config::{Config, Sources};
use ingest_node::decode_command::{Outcome, decoder_options, run, store_limits};
use prost::Message;
use serde_json::Value;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata")
}

struct Ran {
    outcome: Outcome,
    output: Vec<u8>,
    errors: String,
}

impl Ran {
    fn lines(&self) -> Vec<Value> {
        let text = std::str::from_utf8(&self.output).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

fn decode(arguments: &[&str]) -> Ran {
    decode_by(DecoderOptions::default(), arguments)
}

fn decode_by(options: DecoderOptions, arguments: &[&str]) -> Ran {
    let cli = Cli::try_parse_from(["ingest-node", "decode"].iter().chain(arguments)).expect("arguments");
    let Some(Command::Decode(args)) = cli.command else { panic!("decode") };
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let limits = store_limits(&Config::default());
    let outcome = run(&args, options, limits, &mut output, &mut errors).expect("writes to memory");
    Ran { outcome, output, errors: String::from_utf8(errors).expect("UTF-8") }
}

/// The rows of MANIFEST.tsv: file name and its counts by column.
fn manifest() -> Vec<(String, HashMap<String, u64>)> {
    let text = fs::read_to_string(testdata().join("MANIFEST.tsv")).expect("MANIFEST.tsv");
    let mut lines = text.lines().map(|line| line.split('\t'));
    let head: Vec<_> = lines.next().expect("head").collect();
    let counts = |row: Vec<&str>| {
        let pairs =
            head.iter().zip(&row).filter_map(|(name, value)| Some(((*name).to_owned(), value.parse().ok()?)));
        (row[0].to_owned(), pairs.collect())
    };
    lines.map(|row| counts(row.collect())).collect()
}

fn sum(records: &[Value], field: &str) -> u64 {
    records.iter().filter_map(|record| record[field].as_u64()).sum()
}

#[test]
fn every_capture_gives_what_the_manifest_counts() {
    for (file, counts) in manifest() {
        let path = testdata().join(&file);
        let path = path.to_str().expect("UTF-8");
        let flows = decode(&[path]);
        assert_eq!(flows.outcome, Outcome::Complete, "{file}: {}", flows.errors);
        assert!(flows.errors.contains("\nledger balanced: "), "{file}: {}", flows.errors);
        let records = flows.lines();
        let want = counts["records"] + counts["flow_samples"];
        assert_eq!(records.len() as u64, want, "{file}: flow records");
        // tshark adds the reverse direction of a biflow (RFC 5103) to its sum.
        for (column, forward, reverse) in
            [("octets", "bytes", "reverse_bytes"), ("packets", "packets", "reverse_packets")]
        {
            let total = sum(&records, forward) + sum(&records, reverse);
            assert_eq!(total, counts[column], "{file}: {column}");
        }
        let count = |kind: &str| decode(&["--kinds", kind, path]).lines().len() as u64;
        assert_eq!(count("options"), counts["options"], "{file}: options");
        assert_eq!(count("counters"), counts["counter_samples"], "{file}: counter samples");
        assert_eq!(count("drops"), 0, "{file}: drops");
    }
}

#[test]
fn elements_show_the_wire() {
    let path = testdata().join("v9-softflowd-sampled.pcap");
    let lines = decode(&["--elements", path.to_str().expect("UTF-8")]).lines();
    let of_kind = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    let (data, options) = (of_kind("data"), of_kind("options"));
    assert!(!data.is_empty() && !options.is_empty());
    assert_eq!(options[0]["version"], 9);
    assert!(options[0]["elements"][0]["scope"].is_u64() && options[0]["elements"][0]["id"].is_null());
    let address = data[0]["elements"].as_array().expect("elements").iter().find(|e| e["id"] == 8);
    let address = address.expect("sourceIPv4Address");
    assert_eq!(address["name"], "sourceIPv4Address");
    assert_eq!(address["hex"].as_str().map(str::len), Some(8));
}

#[test]
fn protobuf_holds_the_same_records() {
    let path = testdata().join("ipfix-softflowd-biflow.pcap");
    let path = path.to_str().expect("UTF-8");
    let want = decode(&[path]).output;
    let wire = decode(&["--format", "protobuf", path]).output;
    let mut rest = wire.as_slice();
    let mut got = Vec::new();
    while !rest.is_empty() {
        let record = FlowRecord::decode_length_delimited(&mut rest).expect("record");
        record.write_json(&mut got);
        got.push(b'\n');
    }
    assert_eq!(got, want);
}

#[test]
fn protobuf_of_several_kinds_is_refused() {
    let ran = decode(&["--format", "protobuf", "--kinds", "flow,options", "a.pcap"]);
    assert_eq!(ran.outcome, Outcome::Refused);
}

#[test]
fn other_ports_are_passed_over_and_counted() {
    let path = testdata().join("v5-softflowd.pcap");
    let ran = decode(&["--port", "9", path.to_str().expect("UTF-8")]);
    assert!(ran.output.is_empty());
    assert!(ran.errors.contains("datagrams: received 0 "), "{}", ran.errors);
    assert!(
        ran.errors.ends_with("ledger balanced: 0 datagrams, 0 data sets, 0 flow records\n"),
        "{}",
        ran.errors
    );
}

#[test]
fn exporters_are_treated_as_the_configuration_says() {
    let path = testdata().join("v9-softflowd-sampled.pcap");
    let path = path.to_str().expect("UTF-8");
    let plain = decode(&[path]).lines();
    let known = |overrides: &str| {
        let set = vec![format!("exporter.overrides={overrides}")];
        let config = Config::load(&Sources { set, ..Sources::default() }).expect("right").config;
        decode_by(decoder_options(&config), &[path]).lines()
    };
    let everybody = known("0.0.0.0/0 sampling_rate=4242 2=extra,::/0 sampling_rate=4242 2=extra");
    assert_eq!(everybody.len(), plain.len());
    for (with, without) in everybody.iter().zip(&plain) {
        assert_eq!(with["sampling_rate"], 4242);
        assert_ne!(without["sampling_rate"], 4242);
        assert_eq!((&with["bytes"], &with["src_addr"]), (&without["bytes"], &without["src_addr"]));
        assert!(with["packets"].is_null() && with["extra"][0]["name"] == "packetDeltaCount", "{with}");
        assert_eq!(with["extra"][0]["text"], without["packets"].to_string());
    }
    assert_eq!(known("198.51.100.0/24 sampling_rate=4242"), plain, "somebody else");
}

#[test]
fn a_cut_file_gives_what_came_before_and_the_next_file_too() {
    let whole = testdata().join("v5-softflowd.pcap");
    let bytes = fs::read(&whole).expect("testdata");
    let folder = tempfile::tempdir().expect("folder");
    let cut = folder.path().join("cut.pcap");
    fs::write(&cut, &bytes[..bytes.len() - 1]).expect("write");
    let (whole, cut) = (whole.to_str().expect("UTF-8"), cut.to_str().expect("UTF-8"));
    let all = decode(&[whole]).lines().len();
    let ran = decode(&[cut, whole]);
    assert_eq!(ran.outcome, Outcome::Unreadable);
    assert!(ran.errors.contains("cut.pcap: at byte "), "{}", ran.errors);
    assert!(ran.lines().len() > all, "{} of twice {all}", ran.lines().len());
}

/// A template of a list of records, and a record whose list has one by a template that never comes.
const ONE_LIST: [u8; 25] = [
    0, 2, 0, 12, 1, 0, 0, 1, 1, 36, 255, 255, // template 256: subTemplateList
    1, 0, 0, 13, 8, 3, 1, 44, 0, 0, 0, 0, 9, // a list of records by template 300
];

/// A capture of IPFIX messages of these sets, each in a raw IPv4 packet.
fn ipfix<'a>(sets: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let packet = |sets: &[u8]| {
        let length = ((16 + sets.len()) as u16).to_be_bytes();
        let message = [&[0, 10][..], &length, &[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7], sets].concat();
        pcap::ipv4(1, 0, false, &pcap::udp(&message))
    };
    let packets: Vec<_> = sets.into_iter().map(packet).collect();
    pcap::micros(pcap::RAW, &packets)
}

fn decode_file(bytes: &[u8]) -> Ran {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("made.pcap");
    fs::write(&path, bytes).expect("write");
    decode(&[path.to_str().expect("UTF-8")])
}

#[test]
fn what_lacks_only_a_list_is_printed_at_the_end() {
    let ran = decode_file(&ipfix([&ONE_LIST[..]]));
    assert_eq!((ran.outcome, ran.lines().len()), (Outcome::Complete, 1), "{}", ran.errors);
    assert!(ran.errors.contains("data sets: seen 1 = decoded 1 + pending 0"), "{}", ran.errors);
}

/// More than a node lets one exporter have.
#[test]
fn all_of_a_file_waits_for_its_template() {
    const COUNT: usize = 3000;
    let data = [1, 0, 0, 8, 0, 0, 0, 9];
    let template = [0, 2, 0, 12, 1, 0, 0, 1, 0, 1, 0, 4];
    let sets = std::iter::repeat_n(&data[..], COUNT).chain([&template[..]]);
    let ran = decode_file(&ipfix(sets));
    assert_eq!((ran.outcome, ran.lines().len()), (Outcome::Complete, COUNT), "{}", ran.errors);
}
