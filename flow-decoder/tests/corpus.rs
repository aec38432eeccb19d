//! Replays what fuzzing has found worth keeping (`fuzz/corpus`), and makes its seeds of the own captures.

mod capture;
#[path = "rig/seeds.rs"]
mod seeds;

use std::fs;
use std::path::{Path, PathBuf};

use flow_decoder::fuzzing;

fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, bytes)
    };
    paths.map(read).collect()
}

/// The name of the input that panics is the last one printed.
fn replay(target: &str, run: fn(&[u8])) {
    let inputs = inputs(target);
    assert!(!inputs.is_empty(), "no corpus of {target}");
    for (path, bytes) in &inputs {
        println!("{}", path.display());
        run(bytes);
    }
}

#[test]
fn datagrams() {
    replay("datagram", fuzzing::datagram);
}

#[test]
fn sequences_of_datagrams() {
    replay("sequence", fuzzing::sequence);
}

#[test]
fn sflow_datagrams() {
    replay("sflow", fuzzing::sflow);
}

/// Every datagram of the own captures, alone and in the order they came, is survived; with `CATCHMENT_FUZZ_SEEDS` they become
/// seeds.
#[test]
fn captures_are_seeds() {
    for path in capture::own() {
        let mut sequence = Vec::new();
        for datagram in capture::read(&path).into_iter().take(40) {
            fuzzing::datagram(&datagram.payload);
            sequence.extend(fuzzing::sequence_part(&datagram.payload, datagram.source.port(), 1));
            seeds::keep("datagram", &datagram.payload);
            // The target writes version and agent itself.
            if let Some(rest) = datagram.payload.strip_prefix(&[0, 0, 0, 5, 0, 0, 0, 1]) {
                seeds::keep("sflow", &rest[4..]);
            }
        }
        fuzzing::sequence(&sequence);
        seeds::keep("sequence", &sequence);
    }
}
