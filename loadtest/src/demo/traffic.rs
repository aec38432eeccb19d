//! The demo's traffic: site after site, each with an exporter for every capture, at an address that no node has heard of.
//!
//! So there are templates to be shared as long as the demo runs, and sequence numbers are those of exporters that send once, as
//! recorded. All exporters of a site begin and end together, however long their captures are.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::feed::{Feed, Source};
use crate::pacer::Pacer;
use crate::replay::{Capture, Replay};
use crate::targets::Spread;
use crate::workload::address_after;

/// The first exporter of the first site. Those of the next begin [`SITE`] addresses on.
const FIRST_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 2, 1, 1));
const SITE: usize = 256;
/// Datagrams that an exporter sends at once when it begins: data may be at one node before its template is at the other.
const BURST: u64 = 3;
/// Exporters that count a message's own records in its sequence number, in messages of much the same length. A node needs some
/// that follow each other to tell, and behind a load balancer the cluster may see gaps until then: this is to show that there are
/// none.
const HARD_TO_TELL: [&str; 2] = ["ipfix-softflowd-biflow", "ipfix-softflowd-over-ipv6"];

/// The captures (`*.pcap`, `*.pcapng`) in a folder, by name.
pub(super) fn captures_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| {
        format!("{} cannot be read: name the captures' folder with --testdata", folder.display())
    })?;
    let mut captures = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_capture =
            path.extension().is_some_and(|extension| extension == "pcap" || extension == "pcapng");
        let is_shown = path.file_stem().is_some_and(|stem| HARD_TO_TELL.iter().all(|name| stem != *name));
        if is_capture && is_shown {
            captures.push(path);
        }
    }
    anyhow::ensure!(!captures.is_empty(), "{} holds no captures", folder.display());
    captures.sort();
    Ok(captures)
}

/// One source for each capture.
pub(super) fn sources_of(captures: &[PathBuf]) -> Vec<Source> {
    let name = |capture: &PathBuf| Some(capture.file_stem()?.to_string_lossy().into_owned());
    captures.iter().filter_map(name).map(|name| Source { name, ..Source::default() }).collect()
}

/// Where traffic goes, and how much a second; 0: as fast as possible.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    pub(super) targets: Vec<SocketAddr>,
    pub(super) rate: u64,
}

/// An exporter of a site.
struct Lane {
    capture: Capture,
    replay: Replay,
    /// Frames of the capture, sent and in total.
    sent: u64,
    frames: u64,
}

/// Sends site after site until `stop`.
pub(super) fn replay(
    captures: &[PathBuf],
    pace: &Pace,
    feed: &Feed,
    stop: &dyn Fn() -> bool,
) -> anyhow::Result<()> {
    anyhow::ensure!(captures.len() < SITE, "{} captures are more than a site has", captures.len());
    let frames = captures.iter().map(|path| frames_of(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut pacer = Pacer::new(pace.rate);
    for site in 0.. {
        let mut lanes = Vec::with_capacity(captures.len());
        for ((path, frames), number) in captures.iter().zip(&frames).zip(0..) {
            let address =
                address_after(FIRST_ADDRESS, site * SITE as u32 + number).context("no addresses are left")?;
            let replay = Replay::new(pace.targets.clone(), address)
                .spread(Spread::Random, site.into())
                .rename_agents();
            lanes.push(Lane { capture: Capture::open(path)?, replay, sent: 0, frames: *frames });
            feed.seen().exporter(address, number as usize);
        }
        while let Some((at, lane)) = next(&mut lanes) {
            if stop() {
                return Ok(());
            }
            let sent = lane.send(if lane.sent == 0 { BURST } else { 1 })?;
            feed.seen().sources[at].datagrams += sent;
            pacer.sent(sent);
        }
    }
    Ok(())
}

impl Lane {
    /// Sends so many of the frames that are left; how many were datagrams.
    fn send(&mut self, frames: u64) -> anyhow::Result<u64> {
        let before = self.replay.report().datagrams;
        for _ in 0..frames.min(self.frames - self.sent) {
            let frame = self.capture.next().context("a capture became shorter")??;
            self.sent += 1;
            self.replay.send(&frame)?;
        }
        Ok(self.replay.report().datagrams - before)
    }
}

fn frames_of(path: &Path) -> anyhow::Result<u64> {
    let mut frames = 0;
    for frame in Capture::open(path)? {
        frame?;
        frames += 1;
    }
    anyhow::ensure!(frames > 0, "{} is empty", path.display());
    Ok(frames)
}

/// The exporter that is farthest behind, if any has something left.
fn next(lanes: &mut [Lane]) -> Option<(usize, &mut Lane)> {
    let behind = |lane: &Lane| (2 * lane.sent + 1) as f64 / lane.frames as f64;
    lanes
        .iter_mut()
        .enumerate()
        .filter(|(_, lane)| lane.sent < lane.frames)
        .min_by(|(_, a), (_, b)| behind(a).total_cmp(&behind(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::pcap::{PcapPacket, PcapWriter};
    use std::net::UdpSocket;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    /// A capture of Ethernet frames, each with one of these octets as UDP payload.
    fn write_capture(path: &Path, payloads: &[u8]) {
        let mut writer = PcapWriter::new(std::fs::File::create(path).unwrap()).unwrap();
        for payload in payloads {
            let mut frame = vec![0; 12];
            frame.extend([8, 0, 0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 9]);
            frame.extend([0, 5, 8, 7, 0, 9, 0, 0, *payload]);
            writer.write_packet(&PcapPacket::new(Duration::ZERO, frame.len() as u32, &frame)).unwrap();
        }
    }

    #[test]
    fn each_site_has_an_exporter_for_each_capture() {
        let folder = tempfile::tempdir().unwrap();
        write_capture(&folder.path().join("b.pcap"), &[2]);
        write_capture(&folder.path().join("a.pcap"), &[10, 11, 12, 13]);
        std::fs::write(folder.path().join("README.md"), "").unwrap();
        let captures = captures_in(folder.path()).unwrap();
        let feed = Feed::new(sources_of(&captures), &[]);
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let asked = AtomicU32::new(0);
        let stop = || asked.fetch_add(1, Ordering::Relaxed) >= 6;
        let pace = Pace { targets: vec![receiver.local_addr().unwrap()], rate: 0 };
        replay(&captures, &pace, &feed, &stop).unwrap();
        let mut buffer = [0; 16];
        for site in [1, 2] {
            for (want, exporter) in [(10, 1), (11, 1), (12, 1), (2, 2), (13, 1)] {
                let (_, from) = receiver.recv_from(&mut buffer).unwrap();
                assert_eq!((buffer[0], from.ip()), (want, IpAddr::from([127, 2, site, exporter])));
            }
        }
        let seen = feed.seen();
        let sources: Vec<_> = seen.sources.iter().map(|source| (&*source.name, source.datagrams)).collect();
        assert_eq!(sources, [("a", 8), ("b", 2)]);
        // The third had begun.
        assert_eq!(seen.exporters(), 6);
    }

    #[test]
    fn a_folder_without_captures_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = captures_in(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&folder.path().display().to_string()), "{error}");
    }
}
