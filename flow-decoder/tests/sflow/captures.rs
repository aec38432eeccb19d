//! Captures of real agents: every sample is decoded, and no mutation of them is fatal.

use std::path::PathBuf;

use pcap_file::pcap::PcapReader;
use proptest::prelude::*;

use super::*;

/// The sFlow datagrams of the shared captures; none where those are not there.
fn payloads() -> Vec<Vec<u8>> {
    let shared =
        std::env::var_os("CATCHMENT_SHARED").map_or_else(|| PathBuf::from("../../shared"), PathBuf::from);
    let Ok(files) = std::fs::read_dir(shared.join("captures")) else {
        eprintln!("no captures in {}: NOT RUN", shared.display());
        return Vec::new();
    };
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("sflow-"));
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "pcap"));
    paths.sort();
    paths.iter().flat_map(|path| datagrams(&std::fs::read(path).unwrap())).collect()
}

/// UDP payloads of a capture of Ethernet frames.
fn datagrams(capture: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = PcapReader::new(capture).unwrap();
    let mut out = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.unwrap();
        let headers = etherparse::PacketHeaders::from_ethernet_slice(&packet.data).unwrap();
        out.push(headers.payload.slice().to_vec());
    }
    out
}

#[test]
fn every_sample_of_every_capture_gives_a_record() {
    let payloads = payloads();
    for payload in &payloads {
        let outcome = decode(payload);
        let records = outcome.flows.len() + outcome.counters.len() + outcome.drops.len();
        assert_eq!(records, outcome.samples.len(), "{:?}", outcome.errors);
        assert_eq!(outcome.statistics.malformed[Reason::SampleRecord], 0, "{:?}", outcome.errors);
    }
    eprintln!("{} datagrams of captures", payloads.len());
}

/// A change to a datagram.
#[derive(Clone, Debug)]
enum Mutation {
    Word(prop::sample::Index, u32),
    Byte(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Repeat(prop::sample::Index),
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let word = prop_oneof![any::<u32>(), 0u32..64, (u32::MAX - 64)..=u32::MAX];
    let at = any::<prop::sample::Index>;
    let one = prop_oneof![
        4 => (at(), word).prop_map(|(at, word)| Mutation::Word(at, word)),
        2 => (at(), any::<u8>()).prop_map(|(at, byte)| Mutation::Byte(at, byte)),
        1 => at().prop_map(Mutation::Cut),
        1 => at().prop_map(Mutation::Repeat),
    ];
    prop::collection::vec(one, 1..8)
}

fn mutate(payload: &mut Vec<u8>, mutation: &Mutation) {
    if payload.len() < 28 {
        return;
    }
    match mutation {
        Mutation::Word(at, word) => {
            let at = at.index(payload.len() / 4 - 1) * 4 + 4; // the version stays
            payload[at..at + 4].copy_from_slice(&word.to_be_bytes());
        }
        Mutation::Byte(at, byte) => {
            let at = at.index(payload.len() - 4) + 4;
            payload[at] = *byte;
        }
        Mutation::Cut(at) => payload.truncate(at.index(payload.len())),
        Mutation::Repeat(at) => {
            let tail = payload[at.index(payload.len())..].to_vec();
            payload.extend(tail.iter().take(2000));
        }
    }
}

fn seeds() -> &'static [Vec<u8>] {
    static SEEDS: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
    SEEDS.get_or_init(|| {
        let mut seeds = payloads();
        seeds.push(datagram_of(&[flow_sample(&[raw_header(), block(1001, &[0; 16])])]));
        seeds
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_datagrams_are_survived(seed in any::<prop::sample::Index>(), changes in mutations()) {
        let mut payload = seed.get(seeds()).clone();
        for change in &changes {
            mutate(&mut payload, change);
        }
        let outcome = decode_with(DecoderOptions::default(), &payload);
        prop_assert!(outcome.statistics.check());
        let records = outcome.flows.len() + outcome.counters.len() + outcome.drops.len();
        prop_assert!(records <= payload.len() / 20 + 1, "output is bounded by input");
        prop_assert!(outcome.statistics.malformed.total() <= 1 + payload.len() as u64);
    }
}
