//! What was wrong with datagrams, for people: the first few in full, the rest as a count.

use std::io::{self, Write};
use std::path::PathBuf;

use flow_decoder::Malformed;

/// Findings that are shown.
const SHOWN: usize = 20;

/// What was wrong with datagrams.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// The file that is being read, where there are several.
    pub(super) file: Option<PathBuf>,
    /// The packet that is being decoded.
    pub(super) packet: u64,
    first: Vec<String>,
    total: u64,
}

impl Findings {
    pub(super) fn add(&mut self, error: &Malformed) {
        self.total += 1;
        if self.first.len() < SHOWN {
            let file = self.file.as_ref().map(|file| format!("{}: ", file.display())).unwrap_or_default();
            self.first.push(format!("{file}packet {}: {error}", self.packet));
        }
    }

    pub(super) fn write(&self, errors: &mut impl Write) -> io::Result<()> {
        for finding in &self.first {
            writeln!(errors, "{finding}")?;
        }
        match self.total - self.first.len() as u64 {
            0 => Ok(()),
            more => writeln!(errors, "... and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use flow_decoder::Reason;

    use super::*;

    #[test]
    fn twenty_are_shown_and_the_rest_counted() {
        let mut findings = Findings { file: Some("a.pcap".into()), ..Findings::default() };
        for packet in 1..=25 {
            findings.packet = packet;
            findings.add(&Malformed::at(Reason::SetLength, 20));
        }
        let mut out = Vec::new();
        findings.write(&mut out).unwrap();
        let lines: Vec<_> = std::str::from_utf8(&out).unwrap().lines().collect();
        assert_eq!(lines.len(), 21);
        assert_eq!(lines[19], "a.pcap: packet 20: at byte 20: set length does not fit the message");
        assert_eq!(lines[20], "... and 5 more");
    }
}
