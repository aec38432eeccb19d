//! The decoder against a second reading of the same datagrams: the plans' bytes, decoded with prost, equal the structs
//! that a plain reference decoder fills from flow.proto's comments.

mod capture;
#[path = "oracle/parse.rs"]
mod parse;
#[path = "oracle/record.rs"]
mod record;
mod rig;

use std::net::SocketAddr;
use std::path::PathBuf;

use flow_decoder::{Datagram, ZoneId};
use parse::{Decoded, Reference};
use rig::Rig;

/// Decodes both ways, and says where the records differ.
struct Both {
    rig: Rig,
    reference: Reference,
}

impl Both {
    fn new() -> Self {
        Self { rig: Rig::new(), reference: Reference::default() }
    }

    /// How many records both agree on.
    fn compare(&mut self, payload: &[u8], source: SocketAddr, received_ns: u64) -> Result<usize, String> {
        self.rig.kept.clear();
        let datagram = Datagram { payload, source, zone: ZoneId(0), received_ns, truncated: false };
        self.rig.decoder.decode(&datagram, &mut self.rig.kept);
        let want: Decoded = self.reference.decode(payload, source, received_ns);
        let got = (self.rig.kept.flows(), self.rig.kept.options());
        if (got.0.len(), got.1.len()) != (want.flows.len(), want.options.len()) {
            return Err(format!(
                "{} flow and {} options records, the reference has {} and {}",
                got.0.len(),
                got.1.len(),
                want.flows.len(),
                want.options.len()
            ));
        }
        first_difference(&got.0, &want.flows)?;
        first_difference(&got.1, &want.options)?;
        Ok(got.0.len() + got.1.len())
    }
}

fn first_difference<T: PartialEq + std::fmt::Debug>(got: &[T], want: &[T]) -> Result<(), String> {
    let Some(at) = (0..got.len()).find(|&at| got[at] != want[at]) else { return Ok(()) };
    let (got, want) = (format!("{:#?}", got[at]), format!("{:#?}", want[at]));
    let lines = got.lines().zip(want.lines()).filter(|(got, want)| got != want);
    let lines: Vec<_> = lines.map(|(got, want)| format!("{} / {}", got.trim(), want.trim())).collect();
    Err(format!("record {}: decoder / reference: {}", at + 1, lines.join("; ")))
}

fn compare_captures(paths: &[PathBuf]) {
    let mut differ = Vec::new();
    let (mut datagrams, mut records) = (0, 0);
    for path in paths {
        let mut both = Both::new();
        for (index, captured) in capture::read(path).into_iter().enumerate() {
            // sFlow has no templates; its records are held to tshark's and sflowtool's reading.
            if captured.payload.starts_with(&[0, 0]) {
                continue;
            }
            datagrams += 1;
            match both.compare(&captured.payload, captured.source, captured.received_ns) {
                Ok(agreed) => records += agreed,
                Err(why) => {
                    differ.push(format!("{} datagram {}: {why}", path.display(), index + 1));
                    break;
                }
            }
        }
    }
    assert!(differ.is_empty(), "{} of {} captures differ\n{}", differ.len(), paths.len(), differ.join("\n"));
    println!("{} captures, {datagrams} datagrams, {records} records agree", paths.len());
}

#[test]
fn own_captures_decode_alike() {
    compare_captures(&capture::own());
}

#[test]
fn third_party_captures_decode_alike() {
    match capture::shared() {
        Some(paths) => compare_captures(&paths),
        None => println!("NOT RUN: no captures at CATCHMENT_SHARED"),
    }
}
