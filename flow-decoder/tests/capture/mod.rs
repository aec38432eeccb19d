//! UDP datagrams of classic pcap files (Ethernet, no fragments), as the captures beside the repository and `testdata/` are.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use pcap_file::pcap::PcapReader;

/// One datagram of a capture.
#[derive(Clone, Debug)]
pub(crate) struct Captured {
    pub(crate) source: SocketAddr,
    pub(crate) received_ns: u64,
    pub(crate) payload: Vec<u8>,
}

/// The third-party captures, where they are present.
pub(crate) fn shared() -> Option<Vec<PathBuf>> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let shared = std::env::var_os("CATCHMENT_SHARED").map_or(workspace.join("../shared"), PathBuf::from);
    let found = pcaps(&shared.join("captures"));
    (!found.is_empty()).then_some(found)
}

/// The captures of this repository.
pub(crate) fn own() -> Vec<PathBuf> {
    pcaps(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata"))
}

fn pcaps(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "pcap"));
    paths.sort();
    paths
}

/// The UDP datagrams of a capture.
pub(crate) fn read(path: &Path) -> Vec<Captured> {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader = PcapReader::new(file).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut out = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        out.extend(udp(&packet.data, packet.timestamp.as_nanos() as u64));
    }
    out
}

fn udp(frame: &[u8], received_ns: u64) -> Option<Captured> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let address: IpAddr = match packet.net? {
        NetSlice::Ipv4(ip) => ip.header().source_addr().into(),
        NetSlice::Ipv6(ip) => ip.header().source_addr().into(),
        _ => return None,
    };
    let Some(TransportSlice::Udp(udp)) = packet.transport else { return None };
    let source = SocketAddr::new(address, udp.source_port());
    Some(Captured { source, received_ns, payload: udp.payload().to_vec() })
}
