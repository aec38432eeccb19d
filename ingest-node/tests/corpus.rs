//! Replays the corpus of the fuzz targets that run the node's own readers (`fuzz/corpus`), and makes seeds of the own captures.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use flow_decoder::{
    Datagram, Decoder, DecoderOptions, ExporterStore, RecordBuffer, ScopeKey, Share, Sink, StoreLimits,
    Stream, ZoneId,
};
use ingest_node::capture::Capture;
use ingest_node::flow::Zones;
use ingest_node::{fuzzing, shared_scope};
use prost::Message as _;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The name of the input that panics is the last one printed.
fn replay(target: &str, run: fn(&[u8])) {
    let folder = workspace().join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut count = 0;
    for entry in entries {
        let path = entry.expect("an entry").path();
        println!("{}", path.display());
        run(&fs::read(&path).expect("an input"));
        count += 1;
    }
    assert!(count > 0, "no corpus of {target}");
}

#[test]
fn captures() {
    replay("capture", fuzzing::capture);
}

#[test]
fn configurations() {
    replay("configuration", fuzzing::configuration);
}

#[test]
fn what_coordinators_say() {
    replay("shared_scope", fuzzing::shared_scope);
}

struct Nothing;

impl Sink for Nothing {
    fn batch(&mut self, _: Stream) -> Option<&mut RecordBuffer> {
        None
    }

    fn written(&mut self, _: Stream, _: usize) {}
}

/// What the own captures' exporters announce is survived as a message too; with `CATCHMENT_FUZZ_SEEDS` it becomes seeds.
#[test]
fn what_captures_announce_are_seeds() {
    let mut scopes = 0;
    for entry in fs::read_dir(workspace().join("testdata")).expect("testdata") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "pcap") {
            continue;
        }
        let store = Arc::new(ExporterStore::new(StoreLimits::default()));
        let mut decoder = Decoder::new(store.clone(), DecoderOptions::default());
        let mut capture = Capture::open(&path).expect("a capture");
        while let Some(captured) = capture.next_datagram().expect("a whole capture") {
            let (payload, source, received_ns) = (&captured.payload, captured.source, captured.timestamp_ns);
            let datagram =
                Datagram { payload, source, received_ns, zone: ZoneId::default(), truncated: false };
            decoder.decode(&datagram, &mut Nothing);
            let version = u16::from_be_bytes([payload[0], payload[1]]);
            let at = if version == 9 { 16 } else { 12 };
            let Some(domain) = payload.get(at..).and_then(<[u8]>::first_chunk) else { continue };
            let domain = u32::from_be_bytes(*domain);
            let key = ScopeKey { zone: ZoneId::default(), exporter: source.ip(), version, domain };
            let Some(known) = store.export(&key, Share::Everything) else { continue };
            for message in shared_scope::messages(&key, &known, &Zones::named([]), shared_scope::LARGEST) {
                let bytes = message.encode_to_vec();
                fuzzing::shared_scope(&bytes);
                scopes += 1;
                for target in ["shared_scope", "stored_scope"] {
                    keep(target, &path, &bytes);
                }
            }
        }
    }
    assert!(scopes > 0, "no capture announces anything");
}

/// The last of each capture, which has all that came before.
fn keep(target: &str, capture: &Path, bytes: &[u8]) {
    if let Some(folder) = env::var_os("CATCHMENT_FUZZ_SEEDS") {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder).expect("a folder for seeds");
        fs::write(folder.join(capture.file_stem().expect("a name")), bytes).expect("a seed");
    }
}
