//! The demo's traffic: all captures replayed side by side, each from an exporter address of its own, again and again.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::feed::{Feed, Source};
use crate::pacer::Pacer;
use crate::replay::{Capture, Replay};
use crate::workload::address_after;

const FIRST_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 2, 0, 1));

/// The captures (`*.pcap`, `*.pcapng`) in a folder, by name.
pub(super) fn captures_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| {
        format!("{} cannot be read: name the captures' folder with --testdata", folder.display())
    })?;
    let mut captures = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "pcap" || extension == "pcapng") {
            captures.push(path);
        }
    }
    anyhow::ensure!(!captures.is_empty(), "{} holds no captures", folder.display());
    captures.sort();
    Ok(captures)
}

/// One source for each capture.
pub(super) fn sources_of(captures: &[PathBuf]) -> Vec<Source> {
    captures
        .iter()
        .zip(0..)
        .filter_map(|(capture, at)| {
            let name = capture.file_stem()?.to_string_lossy().into_owned();
            Some(Source { name, address: address_after(FIRST_ADDRESS, at)?, datagrams: 0, records: 0 })
        })
        .collect()
}

/// One capture on its way round and round.
struct Lane {
    path: PathBuf,
    capture: Capture,
    replay: Replay,
}

/// Sends one datagram of each capture in turn until `stop`.
pub(super) fn replay(
    captures: &[PathBuf],
    target: SocketAddr,
    rate: u64,
    feed: &Feed,
    stop: &dyn Fn() -> bool,
) -> anyhow::Result<()> {
    let addresses: Vec<IpAddr> = feed.seen().sources.iter().map(|source| source.address).collect();
    let mut lanes = captures
        .iter()
        .zip(addresses)
        .map(|(path, address)| {
            let capture = Capture::open(path)?;
            Ok(Lane { path: path.clone(), capture, replay: Replay::new(vec![target], address) })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut pacer = Pacer::new(rate);
    while !stop() {
        for (at, lane) in lanes.iter_mut().enumerate() {
            if stop() {
                break;
            }
            lane.send_next()?;
            feed.seen().sources[at].datagrams = lane.replay.report().datagrams;
            pacer.sent(1);
        }
    }
    Ok(())
}

impl Lane {
    /// Sends the next frame; after the last the first.
    fn send_next(&mut self) -> anyhow::Result<()> {
        let frame = match self.capture.next() {
            Some(frame) => frame?,
            None => {
                self.capture = Capture::open(&self.path)?;
                self.capture.next().with_context(|| format!("{} is empty", self.path.display()))??
            }
        };
        self.replay.send(&frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::pcap::{PcapPacket, PcapWriter};
    use std::net::UdpSocket;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    /// A capture of one Ethernet frame whose UDP payload is `payload`.
    fn write_capture(path: &Path, payload: u8) {
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 9]);
        frame.extend([0, 5, 8, 7, 0, 9, 0, 0, payload]);
        let mut writer = PcapWriter::new(std::fs::File::create(path).unwrap()).unwrap();
        writer.write_packet(&PcapPacket::new(Duration::ZERO, frame.len() as u32, &frame)).unwrap();
    }

    #[test]
    fn captures_take_turns_from_addresses_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        write_capture(&folder.path().join("b.pcap"), 2);
        write_capture(&folder.path().join("a.pcap"), 1);
        std::fs::write(folder.path().join("README.md"), "").unwrap();
        let captures = captures_in(folder.path()).unwrap();
        let feed = Feed::new(sources_of(&captures));
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let sent = AtomicU32::new(0);
        let stop = || sent.fetch_add(1, Ordering::Relaxed) > 5;
        replay(&captures, receiver.local_addr().unwrap(), 0, &feed, &stop).unwrap();
        let mut buffer = [0; 16];
        for want in [1, 2, 1, 2] {
            let (_, from) = receiver.recv_from(&mut buffer).unwrap();
            assert_eq!((buffer[0], from.ip()), (want, IpAddr::from([127, 2, 0, want])));
        }
        assert_eq!(feed.seen().sources[0].name, "a");
        assert!(feed.seen().datagrams() >= 4);
    }

    #[test]
    fn a_folder_without_captures_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = captures_in(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&folder.path().display().to_string()), "{error}");
    }
}
