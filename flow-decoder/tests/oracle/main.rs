//! The decoder against a second reading of the same datagrams: the plans' bytes, decoded with prost, equal the structs
//! that a plain reference decoder fills from flow.proto's comments.

mod beside;
#[path = "../capture/mod.rs"]
mod capture;
mod cases;
mod generate;
mod overrides;
mod parse;
mod record;
mod restart;
#[path = "../rig/mod.rs"]
mod rig;
mod structured;
#[path = "../wire/mod.rs"]
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use flow_decoder::{Datagram, DecoderOptions, PendingLimits, StoreLimits, ZoneId};
use generate::Hex;
use overrides::Known;
use parse::{Decoded, Reference};
use proptest::prelude::*;
use rig::Rig;

/// Decodes both ways, and says where the records differ.
struct Both {
    rig: Rig,
    reference: Reference,
}

impl Both {
    fn new() -> Self {
        Self::knowing(Known::default())
    }

    /// With what people know of exporters.
    fn knowing(known: Known) -> Self {
        // As over a file: what waits is not given up with time.
        let pending = PendingLimits { age_ns: None, ..PendingLimits::default() };
        let rig = Rig::with_limits(StoreLimits { pending, ..StoreLimits::default() });
        let mut both = Self { rig, reference: Reference::default() };
        both.know(known);
        both
    }

    /// Changes what is known, for all datagrams from now on.
    fn know(&mut self, known: Known) {
        let overrides = known.to_overrides();
        self.rig.decoder.set_options(DecoderOptions { overrides, ..DecoderOptions::default() });
        self.reference.known = Arc::new(known);
    }

    /// How many records both agree on.
    fn compare(&mut self, payload: &[u8], source: SocketAddr, received_ns: u64) -> Result<usize, String> {
        self.rig.kept.clear();
        let datagram = Datagram { payload, source, zone: ZoneId(0), received_ns, truncated: false };
        self.rig.decoder.decode(&datagram, &mut self.rig.kept);
        self.rig.decoder.decode_released(usize::MAX, &mut self.rig.kept);
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
    let (got, want) = (fields(&got[at]), fields(&want[at]));
    let differ: Vec<_> = got.iter().zip(&want).filter(|(got, want)| got != want).collect();
    Err(format!("record {}: decoder / reference: {differ:?}", at + 1))
}

/// The fields of a struct as its pretty debug output shows them.
fn fields(message: &impl std::fmt::Debug) -> Vec<String> {
    let mut fields = Vec::new();
    for line in format!("{message:#?}").lines() {
        match (line.strip_prefix("    "), fields.last_mut()) {
            (Some(field), _) if field.starts_with(char::is_alphabetic) => fields.push(field.to_owned()),
            (_, Some(field)) => *field += line.trim(),
            (_, None) => {}
        }
    }
    fields
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn made_up_templates_decode_alike(datagrams in generate::datagrams()) {
        let mut both = Both::new();
        for (port, received_ns, Hex(payload)) in &datagrams {
            let agreed = both.compare(payload, rig::exporter(*port), *received_ns);
            prop_assert!(agreed.is_ok(), "{}", agreed.unwrap_err());
            prop_assert!(both.rig.statistics().check());
        }
    }

    #[test]
    fn what_people_know_of_exporters_is_followed_alike(
        before in overrides::known(),
        after in overrides::known(),
        datagrams in generate::datagrams(),
        change_at in 0usize..8,
    ) {
        let mut both = Both::knowing(before);
        for (at, (port, received_ns, Hex(payload))) in datagrams.iter().enumerate() {
            if at == change_at {
                both.know(after.clone());
            }
            let agreed = both.compare(payload, rig::exporter(*port), *received_ns);
            prop_assert!(agreed.is_ok(), "{}", agreed.unwrap_err());
            prop_assert!(both.rig.statistics().check());
        }
    }
}
