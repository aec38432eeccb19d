//! UDP datagrams out of capture files, for `decode`.
//!
//! ```text
//! file -> frames (pcap, pcapng) -> link (Ethernet, MPLS, PPPoE, cooked, raw, loopback) -> ip (v4, v6) -> fragments -> UDP
//! ```
//!
//! Reads from front to back in bounded memory. What is no UDP is passed over and counted; a file that cannot be read to
//! its end gives every datagram before the bad byte, then the error that names it.

mod fragments;
mod frames;
mod ip;
mod link;

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use self::frames::FrameError;

use self::fragments::Fragments;
use self::frames::{Frame, Frames};
use self::ip::{IpPacket, Payload, Udp};

/// One UDP datagram of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedDatagram {
    /// Its number among the UDP datagrams of the file, from 1; a fragmented one counts where its last fragment came.
    pub number: u64,
    /// Sender; an IPv4-mapped address is IPv4 here.
    pub source: SocketAddr,
    /// Receiver.
    pub destination: SocketAddr,
    /// UDP payload, as much as was captured.
    pub payload: Vec<u8>,
    /// Whether the snap length has cut the payload.
    pub truncated: bool,
    /// When it was captured, ns since 1970 UTC.
    pub timestamp_ns: u64,
}

/// What a capture held, as far as it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureCounts {
    /// Frames.
    pub frames: u64,
    /// UDP datagrams.
    pub datagrams: u64,
    /// Frames of something else, or too damaged to tell.
    pub other_frames: u64,
    /// Fragmented packets of which something is missing.
    pub incomplete_packets: u64,
}

/// A capture that cannot be read, or not to its end.
#[derive(Debug, thiserror::Error)]
#[error("{}: at byte {offset}: {error}", path.display())]
pub struct CaptureError {
    /// The file.
    pub path: PathBuf,
    /// Where the record that cannot be read begins.
    pub offset: u64,
    /// What is wrong.
    pub error: FrameError,
}

/// A capture that is being read.
#[derive(Debug)]
pub struct Capture<R = File> {
    path: PathBuf,
    frames: Frames<R>,
    fragments: Fragments,
    counts: CaptureCounts,
}

impl Capture {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        match File::open(path) {
            Ok(file) => Ok(Self::new(path, file)),
            Err(error) => Err(CaptureError { path: path.to_owned(), offset: 0, error: error.into() }),
        }
    }
}

impl<R: Read> Capture<R> {
    /// Reads a capture from anything; errors call it `path`.
    pub fn new(path: &Path, reader: R) -> Self {
        Self {
            path: path.to_owned(),
            frames: Frames::new(reader),
            fragments: Fragments::default(),
            counts: CaptureCounts::default(),
        }
    }

    /// What was read until now.
    pub fn counts(&self) -> CaptureCounts {
        CaptureCounts { incomplete_packets: self.fragments.incomplete(), ..self.counts }
    }

    /// The next datagram, or none at the end of the file.
    pub fn next_datagram(&mut self) -> Result<Option<CapturedDatagram>, CaptureError> {
        loop {
            match self.frames.next_frame() {
                Ok(Some(frame)) => {
                    self.counts.frames += 1;
                    if let Some(datagram) = self.datagram(&frame) {
                        return Ok(Some(datagram));
                    }
                }
                Ok(None) => return Ok(None),
                Err(error) => {
                    return Err(CaptureError {
                        path: self.path.clone(),
                        offset: self.frames.offset(),
                        error,
                    });
                }
            }
        }
    }

    /// The datagram that a frame completes.
    fn datagram(&mut self, frame: &Frame) -> Option<CapturedDatagram> {
        let Some(ip) = frame.link.ip_packet(&frame.bytes).and_then(IpPacket::parse) else {
            self.counts.other_frames += 1;
            return None;
        };
        let reassembled;
        let (protocol, payload) = match ip.fragment {
            None => (ip.protocol, ip.payload),
            Some(fragment) => {
                reassembled = self.fragments.add(&ip, fragment, frame.timestamp_ns)?;
                (reassembled.protocol, reassembled.payload())
            }
        };
        self.udp(&ip, protocol, payload, frame.timestamp_ns)
    }

    fn udp(
        &mut self,
        ip: &IpPacket<'_>,
        protocol: u8,
        payload: Payload<'_>,
        timestamp_ns: u64,
    ) -> Option<CapturedDatagram> {
        let Some(udp) = Udp::parse(protocol, payload) else {
            self.counts.other_frames += 1;
            return None;
        };
        self.counts.datagrams += 1;
        Some(CapturedDatagram {
            number: self.counts.datagrams,
            source: SocketAddr::new(ip.source, udp.source_port),
            destination: SocketAddr::new(ip.destination, udp.destination_port),
            payload: udp.payload.bytes.to_vec(),
            truncated: udp.payload.bytes.len() < udp.payload.declared,
            timestamp_ns,
        })
    }
}
