//! What the fuzz targets run, and the test that replays their corpus: arbitrary bytes in place of a capture, a configuration,
//! what a coordinator says. A broken promise is a panic.

use std::path::Path;

use catchment_proto::cluster::v1::ScopeState;
use catchment_settings::{Layer, Place, Sources};
use flow_decoder::{ExporterStore, Share, StoreLimits};
use prost::Message as _;

use crate::capture::Capture;
use crate::config::{Config, ConfigErrors};
use crate::flow::Zones;
use crate::shared_scope::{self, Trust};

/// When the node hears of it, ns since 1970.
const NOW_NS: u64 = 1_700_000_000_000_000_000;
/// Templates that a scope may have here.
const TEMPLATES: usize = 64;

/// A capture file. What is in it ends, and is no more than the file.
pub fn capture(bytes: &[u8]) {
    let mut capture = Capture::new(Path::new("fuzz.pcap"), bytes);
    let mut payload = 0;
    let error = loop {
        match capture.next_datagram() {
            Ok(Some(datagram)) => payload += datagram.payload.len(),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    let counts = capture.counts();
    assert!(counts.datagrams + counts.other_frames <= counts.frames);
    assert!(payload <= bytes.len(), "{payload} octets from a file of {}", bytes.len());
    assert!(error.is_none_or(|error| !error.to_string().is_empty()));
}

/// A configuration document. It is taken, or each thing that is wrong with it has its place.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let layer = Layer { place: Place::Control, text: text.to_owned() };
    let sources = Sources { layers: vec![layer], ..Sources::default() };
    if let Err(ConfigErrors::Invalid(problems)) = Config::load(&sources) {
        assert!(!problems.is_empty());
        assert!(problems.iter().all(|problem| !problem.what.is_empty()));
    }
}

/// What a coordinator, or the state file, says of a scope. What is taken over can be told on, and says the same then.
pub fn shared_scope(bytes: &[u8]) {
    let Ok(message) = ScopeState::decode(bytes) else { return };
    let zones = Zones::named([]);
    let Ok(read) = shared_scope::read(&message, &zones, Trust::Proven) else { return };
    let limits =
        StoreLimits { templates_per_scope: TEMPLATES, templates: TEMPLATES, ..StoreLimits::default() };
    let (store, other) = (ExporterStore::new(limits), ExporterStore::new(limits));
    store.import(&read.key, read.scope, NOW_NS);
    assert!(store.templates() <= TEMPLATES);
    let Some(kept) = store.export(&read.key, Share::Everything) else { return };
    for message in shared_scope::messages(&read.key, &kept, &zones, shared_scope::LARGEST) {
        let again = shared_scope::read(&message, &zones, Trust::Proven).expect("what is told can be read");
        assert_eq!((again.skipped, again.key), (0, read.key));
        other.import(&again.key, again.scope, NOW_NS);
    }
    let told = other.export(&read.key, Share::Everything).unwrap_or_default();
    assert_eq!(told.options, kept.options);
}
