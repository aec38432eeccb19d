//! Reads pcap and pcapng files, one captured frame at a time.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, PcapError};
use thiserror::Error;

/// First four bytes of a pcapng file (a section header block's type).
const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Why a file cannot be read (further).
#[derive(Debug, Error)]
pub enum CaptureError {
    /// The file cannot be opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no capture, or damaged behind some frame.
    #[error("{}: after frame {frames}: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Frames read before.
        frames: u64,
        /// What the parser said.
        source: PcapError,
    },
}

/// One captured frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Link layer.
    pub link: DataLink,
    /// When it was captured, since 1970 UTC.
    pub time: Duration,
    /// What was captured of it.
    pub data: Vec<u8>,
}

/// The frames of one file.
pub struct Capture {
    path: PathBuf,
    frames: u64,
    format: Format,
}

enum Format {
    Pcap(PcapReader<BufReader<File>>),
    // Boxed: it is several times as large as the other.
    PcapNg(Box<PcapNgReader<BufReader<File>>>),
}

impl Capture {
    /// Opens a file; its first bytes tell the format.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        let open = || -> io::Result<(File, [u8; 4])> {
            let mut file = File::open(path)?;
            let mut magic = [0; 4];
            file.read_exact(&mut magic)?;
            file.rewind()?;
            Ok((file, magic))
        };
        let (file, magic) = open().map_err(|source| CaptureError::Open { path: path.to_owned(), source })?;
        let reader = BufReader::new(file);
        let format = if magic == PCAPNG_MAGIC {
            PcapNgReader::new(reader).map(|reader| Format::PcapNg(Box::new(reader)))
        } else {
            PcapReader::new(reader).map(Format::Pcap)
        };
        let damaged = |source| CaptureError::Damaged { path: path.to_owned(), frames: 0, source };
        Ok(Self { path: path.to_owned(), frames: 0, format: format.map_err(damaged)? })
    }
}

impl Iterator for Capture {
    type Item = Result<Frame, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = match &mut self.format {
            Format::Pcap(reader) => {
                let link = reader.header().datalink;
                reader.next_packet()?.map(|packet| Frame {
                    link,
                    time: packet.timestamp,
                    data: packet.data.into_owned(),
                })
            }
            Format::PcapNg(reader) => next_of_pcapng(reader)?,
        };
        match frame {
            Ok(frame) => {
                self.frames += 1;
                Some(Ok(frame))
            }
            Err(source) => {
                Some(Err(CaptureError::Damaged { path: self.path.clone(), frames: self.frames, source }))
            }
        }
    }
}

/// The next packet block; blocks of other kinds are passed over.
fn next_of_pcapng(reader: &mut PcapNgReader<BufReader<File>>) -> Option<Result<Frame, PcapError>> {
    loop {
        let (interface, time, data) = match reader.next_block()? {
            Ok(Block::EnhancedPacket(packet)) => {
                (packet.interface_id as usize, packet.timestamp, packet.data.into_owned())
            }
            Ok(Block::SimplePacket(packet)) => (0, Duration::ZERO, packet.data.into_owned()),
            Ok(_) => continue,
            Err(error) => return Some(Err(error)),
        };
        let Some(interface) = reader.interfaces().get(interface) else {
            return Some(Err(PcapError::InvalidField("a packet of an interface that no block describes")));
        };
        return Some(Ok(Frame { link: interface.linktype, time, data }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::pcap::{PcapPacket, PcapWriter};
    use pcap_file::pcapng::PcapNgWriter;
    use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
    use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionBlock;

    fn frames(path: &Path) -> Vec<(DataLink, Duration, Vec<u8>)> {
        Capture::open(path).unwrap().map(|frame| frame.map(|f| (f.link, f.time, f.data)).unwrap()).collect()
    }

    #[test]
    fn pcap_and_pcapng_give_the_same_frames() {
        let folder = tempfile::tempdir().unwrap();
        let times = [Duration::from_secs(1), Duration::from_millis(1_500)];
        let want: Vec<_> = times.iter().map(|time| (DataLink::ETHERNET, *time, vec![1, 2, 3])).collect();

        let pcap = folder.path().join("a.pcap");
        let mut writer = PcapWriter::new(File::create(&pcap).unwrap()).unwrap();
        for time in times {
            writer.write_packet(&PcapPacket::new(time, 3, &[1, 2, 3])).unwrap();
        }
        drop(writer);
        assert_eq!(frames(&pcap), want);

        let pcapng = folder.path().join("a.pcapng");
        let mut writer = PcapNgWriter::new(File::create(&pcapng).unwrap()).unwrap();
        let interface =
            InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: 0, options: vec![] };
        writer.write_pcapng_block(interface).unwrap();
        for timestamp in times {
            let packet = EnhancedPacketBlock {
                interface_id: 0,
                // The writer counts in the unit of the interface, microseconds, and takes this as it is.
                timestamp,
                original_len: 3,
                data: vec![1, 2, 3].into(),
                options: vec![],
            };
            writer.write_pcapng_block(packet).unwrap();
        }
        drop(writer);
        let found: Vec<_> = frames(&pcapng).into_iter().map(|(link, _, data)| (link, data)).collect();
        assert_eq!(found, want.into_iter().map(|(link, _, data)| (link, data)).collect::<Vec<_>>());
    }

    #[test]
    fn a_damaged_file_is_named_with_the_last_good_frame() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.pcap");
        let mut writer = PcapWriter::new(Vec::new()).unwrap();
        writer.write_packet(&PcapPacket::new(Duration::ZERO, 3, &[1, 2, 3])).unwrap();
        writer.write_packet(&PcapPacket::new(Duration::ZERO, 3, &[1, 2, 3])).unwrap();
        let bytes = writer.into_writer();
        std::fs::write(&path, &bytes[..bytes.len() - 2]).unwrap();
        let mut capture = Capture::open(&path).unwrap();
        assert!(capture.next().unwrap().is_ok());
        let error = capture.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("cut.pcap") && error.contains("after frame 1"), "{error}");
        assert!(matches!(Capture::open(&folder.path().join("none")), Err(CaptureError::Open { .. })));
    }
}
