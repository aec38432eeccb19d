//! The captures of `testdata/`: files, and the datagrams in them.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use crate::binaries::workspace;

/// All captures, by name.
///
/// # Errors
/// Where the folder cannot be read or holds none.
pub fn captures() -> Result<Vec<PathBuf>> {
    let folder = workspace().join("testdata");
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut files: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "pcap"));
    files.sort();
    ensure!(!files.is_empty(), "no captures in {}", folder.display());
    Ok(files)
}

/// One capture.
pub fn capture(name: &str) -> PathBuf {
    workspace().join("testdata").join(name)
}

/// The UDP payloads of a capture of ours: classic pcap, little endian, Ethernet, one whole datagram a frame.
///
/// ```text
/// file:   24 octets, then for each frame 16 octets (octets 8-11: captured length) and the frame
/// frame:  Ethernet 14 | IPv4 4 x IHL or IPv6 40 | UDP 8 | payload
/// ```
///
/// # Errors
/// Where a frame is anything else.
pub fn datagrams(path: &std::path::Path) -> Result<Vec<Vec<u8>>> {
    let file = fs::read(path).with_context(|| path.display().to_string())?;
    let mut rest = file.get(24..).context("shorter than a file header")?;
    let mut datagrams = Vec::new();
    while !rest.is_empty() {
        let (header, frames) = rest.split_at_checked(16).context("a torn frame header")?;
        let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
        let (frame, next) = frames.split_at_checked(length).context("a torn frame")?;
        datagrams.push(payload(frame).context("a frame without UDP")?.to_vec());
        rest = next;
    }
    Ok(datagrams)
}

fn payload(frame: &[u8]) -> Option<&[u8]> {
    let ip = frame.get(14..)?;
    let header = match ip.first()? >> 4 {
        4 => usize::from(ip[0] & 0x0f) * 4,
        6 => 40,
        _ => return None,
    };
    let udp = ip.get(header..)?;
    let length = usize::from(u16::from_be_bytes([*udp.get(4)?, *udp.get(5)?]));
    udp.get(8..length)
}
