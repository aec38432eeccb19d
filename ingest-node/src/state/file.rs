//! The file of `state.dir`: all scopes, each as the message that the cluster shares, in frames with checksums.
//!
//! ```text
//! head    8 octets    "CMTSTATE"
//!         u32         version of this format: 1
//!         u32         CRC-32C of the 12 octets before
//! frame   u32         length of the message, 1 to 1 MiB
//!         u32         CRC-32C of length and message
//!         message     catchment.cluster.v1.ScopeState
//! ...
//! end     u32         0
//!         u32         CRC-32C of the zero before and the number behind
//!         u64         number of frames
//! ```
//!
//! Numbers are little-endian. The end tells a whole file from one that was cut short at a frame; nothing follows it. A file is
//! used whole or not at all, so whoever loads one reads it twice: what the first pass finds good cannot fail in the second.

use std::io::{self, Read, Write};

use catchment_proto::cluster::v1::ScopeState;
use prost::Message as _;

use super::crc32c::crc32c;

const MAGIC: &[u8; 8] = b"CMTSTATE";
const VERSION: u32 = 1;
/// Octets of one message, at most. Writers stay far below it.
const LARGEST: u32 = 1 << 20;

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
#[error("octet {offset}: {what}")]
pub struct Damage {
    /// Where in the file, from 0.
    pub offset: u64,
    /// What is wrong there.
    pub what: Wrong,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// It does not begin as such files do.
    #[error("not a state file of Catchment")]
    Foreign,
    /// A later release wrote it.
    #[error("format version {0}, and this release knows {VERSION}")]
    Version(u32),
    /// It ends too soon.
    #[error("the file ends inside of {0}")]
    Torn(&'static str),
    /// A length that no frame has.
    #[error("a frame of {0} octets, more than {LARGEST}")]
    Length(u32),
    /// A checksum that does not agree with what it is about.
    #[error("the checksum of {0} is wrong")]
    Checksum(&'static str),
    /// A frame that does not hold what it should.
    #[error("a frame that holds no scope: {0}")]
    Message(String),
    /// Frames are missing or too many.
    #[error("the end counts {counted} frames, and there are {found}")]
    Count {
        /// What the end says.
        counted: u64,
        /// What was read.
        found: u64,
    },
    /// There is more than a file.
    #[error("something follows the end")]
    Trailing,
    /// It cannot be read.
    #[error("cannot read: {0}")]
    Unreadable(io::Error),
}

/// Writes a file, frame by frame.
#[derive(Debug)]
pub struct FileWriter<W> {
    to: W,
    frames: u64,
    frame: Vec<u8>,
}

impl<W: Write> FileWriter<W> {
    /// Writes the head.
    ///
    /// # Errors
    /// Those of `to`, here as in the other methods.
    pub fn begin(mut to: W) -> io::Result<Self> {
        let version = VERSION.to_le_bytes();
        for part in [&MAGIC[..], &version, &crc32c(&[MAGIC, &version]).to_le_bytes()] {
            to.write_all(part)?;
        }
        Ok(Self { to, frames: 0, frame: Vec::new() })
    }

    /// Writes one message. What is too large for a frame (which the makers of messages rule out) is refused.
    pub fn write(&mut self, message: &ScopeState) -> io::Result<()> {
        self.frame.clear();
        message.encode(&mut self.frame).map_err(io::Error::other)?;
        let length = u32::try_from(self.frame.len()).ok().filter(|length| (1..=LARGEST).contains(length));
        let length = length.ok_or_else(|| io::Error::other("a scope does not fit a frame"))?.to_le_bytes();
        self.to.write_all(&length)?;
        self.to.write_all(&crc32c(&[&length, &self.frame]).to_le_bytes())?;
        self.to.write_all(&self.frame)?;
        self.frames += 1;
        Ok(())
    }

    /// Writes the end.
    pub fn finish(mut self) -> io::Result<W> {
        let (zero, frames) = ([0; 4], self.frames.to_le_bytes());
        for part in [&zero[..], &crc32c(&[&zero, &frames]).to_le_bytes(), &frames] {
            self.to.write_all(part)?;
        }
        Ok(self.to)
    }
}

/// Reads a file, frame by frame.
#[derive(Debug)]
pub struct FileReader<R> {
    from: R,
    offset: u64,
    frames: u64,
    frame: Vec<u8>,
}

impl<R: Read> FileReader<R> {
    /// Reads the head.
    ///
    /// # Errors
    /// What is wrong with the file, here as in [`FileReader::next_scope`].
    pub fn begin(from: R) -> Result<Self, Damage> {
        let mut reader = Self { from, offset: 0, frames: 0, frame: Vec::new() };
        let magic: [u8; 8] = reader.octets("the head").map_err(|damage| match damage.what {
            Wrong::Torn(_) => Damage { offset: 0, what: Wrong::Foreign },
            what => Damage { what, ..damage },
        })?;
        if magic != *MAGIC {
            return Err(Damage { offset: 0, what: Wrong::Foreign });
        }
        let version = reader.octets("the head")?;
        let crc = u32::from_le_bytes(reader.octets("the head")?);
        if crc != crc32c(&[&magic, &version]) {
            return Err(Damage { offset: 12, what: Wrong::Checksum("the head") });
        }
        match u32::from_le_bytes(version) {
            VERSION => Ok(reader),
            other => Err(Damage { offset: 8, what: Wrong::Version(other) }),
        }
    }

    /// The next message; `None` behind the last one of a whole file.
    pub fn next_scope(&mut self) -> Result<Option<ScopeState>, Damage> {
        let start = self.offset;
        let damage = |what| Damage { offset: start, what };
        let length_octets = self.octets("a frame")?;
        let length = u32::from_le_bytes(length_octets);
        let crc = u32::from_le_bytes(self.octets("a frame")?);
        if length == 0 {
            return self.end(start, length_octets, crc).map(|()| None);
        }
        if length > LARGEST {
            return Err(damage(Wrong::Length(length)));
        }
        let mut frame = std::mem::take(&mut self.frame);
        frame.resize(length as usize, 0);
        self.fill(&mut frame, "a frame")?;
        if crc != crc32c(&[&length_octets, &frame]) {
            return Err(damage(Wrong::Checksum("a frame")));
        }
        let message = ScopeState::decode(frame.as_slice());
        self.frame = frame;
        self.frames += 1;
        message.map(Some).map_err(|error| damage(Wrong::Message(error.to_string())))
    }

    fn end(&mut self, start: u64, zero: [u8; 4], crc: u32) -> Result<(), Damage> {
        let counted_octets: [u8; 8] = self.octets("the end")?;
        if crc != crc32c(&[&zero, &counted_octets]) {
            return Err(Damage { offset: start, what: Wrong::Checksum("the end") });
        }
        let counted = u64::from_le_bytes(counted_octets);
        if counted != self.frames {
            return Err(Damage { offset: start, what: Wrong::Count { counted, found: self.frames } });
        }
        let offset = self.offset;
        match self.octets::<1>("nothing") {
            Ok(_) => Err(Damage { offset, what: Wrong::Trailing }),
            Err(Damage { what: Wrong::Torn(_), .. }) => Ok(()),
            Err(damage) => Err(damage),
        }
    }

    fn octets<const N: usize>(&mut self, of: &'static str) -> Result<[u8; N], Damage> {
        let mut octets = [0; N];
        self.fill(&mut octets, of)?;
        Ok(octets)
    }

    /// Fills `octets`; where the file ends before, the error says at which octet.
    fn fill(&mut self, octets: &mut [u8], of: &'static str) -> Result<(), Damage> {
        let mut filled = 0;
        while filled < octets.len() {
            let what = match self.from.read(&mut octets[filled..]) {
                Ok(0) => Wrong::Torn(of),
                Ok(read) => {
                    filled += read;
                    self.offset += read as u64;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Wrong::Unreadable(error),
            };
            return Err(Damage { offset: self.offset, what });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use catchment_proto::cluster::v1::{OptionsEntry, ScopeKey};

    use super::*;

    fn scope(domain: u32) -> ScopeState {
        let key = ScopeKey { exporter: vec![192, 0, 2, 1], version: 9, domain, ..ScopeKey::default() };
        let options = vec![OptionsEntry { text: "x".repeat(domain as usize), ..OptionsEntry::default() }];
        ScopeState { key: Some(key), options, ..ScopeState::default() }
    }

    fn file(scopes: u32) -> Vec<u8> {
        let mut writer = FileWriter::begin(Vec::new()).unwrap();
        for domain in 1..=scopes {
            writer.write(&scope(domain)).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(octets: &[u8]) -> Result<Vec<ScopeState>, Damage> {
        let mut reader = FileReader::begin(octets)?;
        let mut scopes = Vec::new();
        while let Some(scope) = reader.next_scope()? {
            scopes.push(scope);
        }
        Ok(scopes)
    }

    fn said(octets: &[u8]) -> String {
        read(octets).unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read(&file(0)).unwrap(), []);
        assert_eq!(read(&file(3)).unwrap(), [scope(1), scope(2), scope(3)]);
    }

    /// A power cut, a full disk.
    #[test]
    fn a_file_that_ends_anywhere_before_its_end_is_torn_there() {
        let whole = file(3);
        for length in 8..whole.len() {
            let damage = read(&whole[..length]).unwrap_err();
            assert!(matches!(damage.what, Wrong::Torn(_)), "{length}: {damage}");
            assert_eq!(damage.offset, length as u64);
        }
    }

    #[test]
    fn every_octet_is_guarded() {
        let whole = file(2);
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut octets = whole.clone();
                octets[at] ^= 1 << bit;
                let damage = read(&octets).unwrap_err();
                assert!(damage.offset <= octets.len() as u64, "{at}: {damage}");
            }
        }
    }

    #[test]
    fn each_class_of_damage_is_named_with_its_place() {
        assert_eq!(said(b""), "octet 0: not a state file of Catchment");
        assert_eq!(said(b"PK\x03\x04 and so on, for a while"), "octet 0: not a state file of Catchment");
        let mut later = MAGIC.to_vec();
        later.extend(2_u32.to_le_bytes());
        later.extend(crc32c(&[&later]).to_le_bytes());
        assert_eq!(said(&later), "octet 8: format version 2, and this release knows 1");
        let whole = file(2);
        let mut octets = whole.clone();
        octets[9] ^= 1;
        assert_eq!(said(&octets), "octet 12: the checksum of the head is wrong");
        let mut octets = whole.clone();
        octets[30] ^= 1;
        assert_eq!(said(&octets), "octet 16: the checksum of a frame is wrong");
        let mut octets = whole.clone();
        octets[19] = 0xff;
        assert!(said(&octets).starts_with("octet 16: a frame of 42"), "{}", said(&octets));
        let mut octets = whole.clone();
        octets.push(0);
        assert_eq!(said(&octets), format!("octet {}: something follows the end", whole.len()));
        // A frame too few, cut out cleanly.
        let first = 16 + 8 + scope(1).encoded_len();
        let mut octets = whole[..16].to_vec();
        octets.extend(&whole[first..]);
        assert_eq!(
            said(&octets),
            format!("octet {}: the end counts 2 frames, and there are 1", octets.len() - 16)
        );
    }

    #[test]
    fn a_frame_of_something_else_is_no_scope() {
        let mut octets = file(0);
        octets.truncate(16);
        let (length, text) = (4_u32.to_le_bytes(), b"\x0a\xffab");
        octets.extend(length);
        octets.extend(crc32c(&[&length, text]).to_le_bytes());
        octets.extend(text);
        assert!(said(&octets).starts_with("octet 16: a frame that holds no scope: "), "{}", said(&octets));
    }
}
