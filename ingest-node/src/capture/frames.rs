//! Frames of a capture file: classic pcap of either byte order and resolution, and pcapng.
//!
//! Parsing is the `pcap-file` crate's. The buffer is ours, because an error has to say at which byte of the file the bad
//! record begins, and because a record's length is bounded before it is read.

use std::io::{self, Read};

use pcap_file::pcap::PcapParser;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::{Block, PcapNgParser};
use pcap_file::{PcapError, TsResolution};

use super::link::LinkType;

/// Longest record that is read; capture programs write at most 256 KiB a packet.
const MAX_RECORD: usize = 16 << 20;
/// How much is read at once.
const CHUNK: usize = 256 << 10;
/// First four bytes of a pcapng file: the type of a section header block, the same in both byte orders.
const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// What is wrong with a capture file.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The operating system could not read it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It has the magic number of no capture format.
    #[error("neither a pcap nor a pcapng file")]
    UnknownFormat,
    /// It ends in the middle of a record.
    #[error("the file ends inside of a record")]
    Cut,
    /// A record claims an impossible length.
    #[error("a record is longer than {MAX_RECORD} bytes")]
    TooLong,
    /// A record breaks the format's rules.
    #[error("damaged record: {0}")]
    Damaged(PcapError),
    /// A packet names an interface that the file does not describe.
    #[error("packet of interface {0}, which the file does not describe")]
    NoInterface(u32),
    /// Frames of this kind are not read here.
    #[error("link type {0} is not supported")]
    LinkType(u32),
}

/// One captured frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) link: LinkType,
    /// ns since 1970 UTC; 0 where the file does not say.
    pub(super) timestamp_ns: u64,
    /// As much as was captured.
    pub(super) bytes: Vec<u8>,
}

/// Reads the frames of a file in order.
#[derive(Debug)]
pub(super) struct Frames<R> {
    input: Input<R>,
    format: Option<Format>,
}

enum Format {
    Pcap { parser: PcapParser, link: LinkType },
    PcapNg(Box<PcapNgParser>),
}

impl std::fmt::Debug for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pcap { .. } => "Pcap",
            Self::PcapNg(_) => "PcapNg",
        })
    }
}

impl<R: Read> Frames<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { input: Input { reader, bytes: Vec::new(), at: 0, offset: 0 }, format: None }
    }

    /// Byte of the file at which the next record begins; after an error, at which the bad one does.
    pub(super) fn offset(&self) -> u64 {
        self.input.offset
    }

    /// The next frame, or none at the end of the file.
    pub(super) fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let format = match &mut self.format {
            Some(format) => format,
            none => none.insert(self.input.format()?),
        };
        match format {
            Format::Pcap { parser, link } => next_pcap(&mut self.input, parser, *link),
            Format::PcapNg(parser) => next_pcapng(&mut self.input, parser),
        }
    }
}

fn next_pcap<R: Read>(
    input: &mut Input<R>,
    parser: &PcapParser,
    link: LinkType,
) -> Result<Option<Frame>, FrameError> {
    let resolution = match parser.header().ts_resolution {
        TsResolution::MicroSecond => Resolution::Decimal(6),
        TsResolution::NanoSecond => Resolution::Decimal(9),
    };
    // The raw packet: the crate refuses packets that the snap length has cut.
    input.record(|bytes| {
        let (rest, packet) = parser.next_raw_packet(bytes)?;
        let seconds = u64::from(packet.ts_sec) * 1_000_000_000;
        let timestamp_ns = seconds + resolution.to_ns(u64::from(packet.ts_frac));
        Ok((rest.len(), Frame { link, timestamp_ns, bytes: packet.data.into_owned() }))
    })
}

/// A packet block of any kind, before its interface is looked up.
struct Packet {
    interface: u32,
    ticks: Option<u64>,
    bytes: Vec<u8>,
}

fn next_pcapng<R: Read>(
    input: &mut Input<R>,
    parser: &mut PcapNgParser,
) -> Result<Option<Frame>, FrameError> {
    loop {
        let block = input.record(|bytes| {
            let (rest, block) = parser.next_block(bytes)?;
            let packet = match block {
                Block::EnhancedPacket(block) => Some(Packet {
                    interface: block.interface_id,
                    // The crate knows no resolution: what it calls nanoseconds are the interface's ticks.
                    ticks: Some(block.timestamp.as_nanos() as u64),
                    bytes: block.data.into_owned(),
                }),
                Block::Packet(block) => Some(Packet {
                    interface: u32::from(block.interface_id),
                    ticks: Some(block.timestamp),
                    bytes: block.data.into_owned(),
                }),
                Block::SimplePacket(block) => {
                    let mut bytes = block.data.into_owned();
                    bytes.truncate(block.original_len as usize);
                    Some(Packet { interface: 0, ticks: None, bytes })
                }
                _ => None,
            };
            Ok((rest.len(), packet))
        })?;
        match block {
            None => return Ok(None),
            Some(None) => {}
            Some(Some(packet)) => return frame(packet, parser.interfaces()).map(Some),
        }
    }
}

fn frame(packet: Packet, interfaces: &[InterfaceDescriptionBlock<'_>]) -> Result<Frame, FrameError> {
    let interface =
        interfaces.get(packet.interface as usize).ok_or(FrameError::NoInterface(packet.interface))?;
    let mut bytes = packet.bytes;
    if interface.snaplen > 0 {
        bytes.truncate(interface.snaplen as usize);
    }
    let mut resolution = Resolution::Decimal(6);
    let mut offset_s = 0;
    for option in &interface.options {
        match *option {
            InterfaceDescriptionOption::IfTsResol(value) => resolution = Resolution::from_option(value),
            InterfaceDescriptionOption::IfTsOffset(seconds) => offset_s = seconds,
            _ => {}
        }
    }
    let timestamp_ns = packet
        .ticks
        .map_or(0, |ticks| resolution.to_ns(ticks).wrapping_add(offset_s.wrapping_mul(1_000_000_000)));
    Ok(Frame { link: LinkType::from_number(interface.linktype.into()), timestamp_ns, bytes })
}

/// Unit of time stamps.
#[derive(Clone, Copy)]
enum Resolution {
    /// 10^-n seconds.
    Decimal(u32),
    /// 2^-n seconds.
    Binary(u32),
}

impl Resolution {
    /// pcapng's if_tsresol: the high bit chooses the base, the rest is the exponent.
    fn from_option(value: u8) -> Self {
        let exponent = u32::from(value & 0x7f);
        if value & 0x80 == 0 { Self::Decimal(exponent) } else { Self::Binary(exponent) }
    }

    fn to_ns(self, ticks: u64) -> u64 {
        match self {
            Self::Decimal(n @ 0..=9) => ticks.wrapping_mul(10u64.pow(9 - n)),
            Self::Decimal(n) => 10u64.checked_pow(n - 9).map_or(0, |unit| ticks / unit),
            Self::Binary(n) => ((u128::from(ticks) * 1_000_000_000) >> n) as u64,
        }
    }
}

/// The file's bytes from the next record on, as far as they are read.
#[derive(Debug)]
struct Input<R> {
    reader: R,
    bytes: Vec<u8>,
    at: usize,
    offset: u64,
}

impl<R: Read> Input<R> {
    /// Reads the head of the file.
    fn format(&mut self) -> Result<Format, FrameError> {
        while self.bytes.len() < PCAPNG_MAGIC.len() && self.fill()? {}
        if self.bytes.starts_with(&PCAPNG_MAGIC) {
            let parser = self.record(|bytes| {
                let (rest, parser) = PcapNgParser::new(bytes)?;
                Ok((rest.len(), parser))
            })?;
            return parser.map(|parser| Format::PcapNg(Box::new(parser))).ok_or(FrameError::UnknownFormat);
        }
        let parser = self.record(|bytes| {
            let (rest, parser) = PcapParser::new(bytes)?;
            Ok((rest.len(), parser))
        });
        let parser = match parser {
            Ok(Some(parser)) => parser,
            Ok(None) | Err(FrameError::Damaged(_)) => return Err(FrameError::UnknownFormat),
            Err(error) => return Err(error),
        };
        match LinkType::from_number(parser.header().datalink.into()) {
            LinkType::Other(number) => Err(FrameError::LinkType(number)),
            link => Ok(Format::Pcap { parser, link }),
        }
    }

    /// Parses one record with `parse`, which says how many bytes it leaves; none at the end of the file.
    fn record<T>(
        &mut self,
        mut parse: impl FnMut(&[u8]) -> Result<(usize, T), PcapError>,
    ) -> Result<Option<T>, FrameError> {
        loop {
            let ahead = &self.bytes[self.at..];
            if !ahead.is_empty() {
                match parse(ahead) {
                    Ok((left, value)) => {
                        let used = ahead.len() - left;
                        self.at += used;
                        self.offset += used as u64;
                        return Ok(Some(value));
                    }
                    Err(PcapError::IncompleteBuffer) if ahead.len() > MAX_RECORD => {
                        return Err(FrameError::TooLong);
                    }
                    Err(PcapError::IncompleteBuffer) => {}
                    Err(error) => return Err(FrameError::Damaged(error)),
                }
            }
            let nothing_ahead = ahead.is_empty();
            if !self.fill()? {
                return if nothing_ahead { Ok(None) } else { Err(FrameError::Cut) };
            }
        }
    }

    /// Reads on; whether there was anything.
    fn fill(&mut self) -> io::Result<bool> {
        self.bytes.drain(..self.at);
        self.at = 0;
        let read = self.reader.by_ref().take(CHUNK as u64).read_to_end(&mut self.bytes)?;
        Ok(read > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stamps_of_any_resolution() {
        assert_eq!(Resolution::from_option(6).to_ns(1_500_000), 1_500_000_000);
        assert_eq!(Resolution::from_option(9).to_ns(7), 7);
        assert_eq!(Resolution::from_option(0).to_ns(2), 2_000_000_000);
        assert_eq!(Resolution::from_option(12).to_ns(5_000), 5);
        assert_eq!(Resolution::from_option(0x8a).to_ns(1536), 1_500_000_000);
        assert_eq!(Resolution::from_option(0x7f).to_ns(u64::MAX), 0);
        assert_eq!(Resolution::from_option(0xff).to_ns(u64::MAX), 0);
    }

    #[test]
    fn a_record_that_claims_gigabytes_is_refused_without_reading_them() {
        let mut file = pcap_head();
        file.extend([0; 8]);
        file.extend(0x7fff_ffffu32.to_le_bytes().repeat(2));
        let endless = file.as_slice().chain(io::repeat(0));
        let mut frames = Frames::new(endless);
        assert!(matches!(frames.next_frame(), Err(FrameError::TooLong)));
        assert_eq!(frames.offset(), 24);
    }

    #[test]
    fn other_files_are_named_as_such() {
        for file in [&b""[..], b"abc", b"#!/bin/sh\nexit 1, and so on and so forth"] {
            let error = Frames::new(file).next_frame().unwrap_err();
            assert!(matches!(error, FrameError::UnknownFormat | FrameError::Cut), "{error}");
        }
        let mut usb = pcap_head();
        usb[20] = 220;
        assert!(matches!(Frames::new(usb.as_slice()).next_frame(), Err(FrameError::LinkType(220))));
    }

    fn pcap_head() -> Vec<u8> {
        let mut head = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        head.extend([0xff, 0xff, 0, 0, 1, 0, 0, 0]);
        head
    }
}
