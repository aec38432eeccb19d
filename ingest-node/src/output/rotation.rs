//! A file that begins anew when it is large or old, and keeps a number of its predecessors.
//!
//! ```text
//! flows.json                          being written
//! flows.json.20260131T235959Z-000     older: when it was closed, and a number where two were closed in one second
//! ```
//!
//! Every write is a whole number of records. Where one fails in the middle, what it left is cut off again, so that a file
//! holds whole records only. A file that an earlier run left is not continued but becomes a predecessor, because its end
//! may be torn.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// When a new file is begun, and what is kept.
#[derive(Clone, Debug)]
pub(super) struct Rotation {
    pub(super) path: PathBuf,
    /// No write makes a file larger than this, unless it is the first.
    pub(super) bytes: Option<u64>,
    pub(super) age: Option<Duration>,
    /// Predecessors that are kept.
    pub(super) keep: usize,
}

/// The file being written.
#[derive(Debug)]
pub(super) struct RotatingFile {
    rotation: Rotation,
    /// `None` after an error, until the next write opens it again.
    file: Option<File>,
    /// Bytes of whole writes.
    len: u64,
    /// When the first write came.
    begun: Instant,
}

impl RotatingFile {
    pub(super) fn open(rotation: Rotation, now: Instant) -> io::Result<Self> {
        let mut file = Self { rotation, file: None, len: 0, begun: now };
        file.begin(now)?;
        Ok(file)
    }

    /// Writes all of `records` or nothing.
    pub(super) fn write(&mut self, records: &[u8], now: Instant) -> io::Result<()> {
        let len = records.len() as u64;
        let is_full = self.rotation.bytes.is_some_and(|most| self.len > 0 && self.len + len > most);
        if self.file.is_none() || is_full {
            self.begin(now)?;
        }
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        if self.len == 0 {
            self.begun = now;
        }
        if let Err(error) = file.write_all(records) {
            if file.set_len(self.len).is_err() {
                self.file = None;
            }
            return Err(error);
        }
        self.len += len;
        Ok(())
    }

    /// Begins a new file where this one is old enough and not empty.
    pub(super) fn rotate_by_age(&mut self, now: Instant) -> io::Result<()> {
        let is_old = |age| now.saturating_duration_since(self.begun) >= age;
        if self.len > 0 && self.rotation.age.is_some_and(is_old) { self.begin(now) } else { Ok(()) }
    }

    fn begin(&mut self, now: Instant) -> io::Result<()> {
        self.file = None;
        let path = &self.rotation.path;
        if fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0) {
            fs::rename(path, successor_name(path, SystemTime::now()))?;
            self.prune();
        }
        let file = OpenOptions::new().append(true).create(true).open(&self.rotation.path)?;
        self.file = Some(file);
        self.len = 0;
        self.begun = now;
        Ok(())
    }

    /// Deletes the oldest predecessors beyond the number to keep. What cannot be deleted now is tried again next time.
    fn prune(&self) {
        let mut older = predecessors(&self.rotation.path);
        older.sort();
        let surplus = older.len().saturating_sub(self.rotation.keep);
        for path in &older[..surplus] {
            if let Err(error) = fs::remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "an old output file could not be deleted");
            }
        }
    }
}

/// A name for the file at `path` now that it is closed, that no other file has.
fn successor_name(path: &Path, closed: SystemTime) -> PathBuf {
    let stamp = timestamp(closed);
    let named = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{stamp}-{number:03}"));
        PathBuf::from(name)
    };
    let mut number = 0;
    while number < 999 && named(number).exists() {
        number += 1;
    }
    named(number)
}

/// The files beside `path` that are named as its predecessors. They sort by age.
fn predecessors(path: &Path) -> Vec<PathBuf> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let prefix = path.file_name().unwrap_or_default().to_string_lossy();
    let is_predecessor = |name: &str| {
        name.strip_prefix(prefix.as_ref()).and_then(|rest| rest.strip_prefix('.')).is_some_and(|suffix| {
            let shape: String = suffix.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            shape == "00000000T000000Z-000"
        })
    };
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_str().is_some_and(is_predecessor))
        .map(|entry| entry.path())
        .collect()
}

/// `20260131T235959Z`.
fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (year, month, day) = civil_date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Year, month and day of the Gregorian calendar, from days since 1970. Counts in eras of 400 years that begin on 1 March,
/// so that the leap day is the last of its year.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotation(directory: &Path) -> Rotation {
        Rotation { path: directory.join("flows.json"), bytes: Some(10), age: None, keep: 2 }
    }

    fn contents(path: &Path) -> Vec<String> {
        let mut older = predecessors(path);
        older.sort();
        older.push(path.to_owned());
        older.iter().map(|path| fs::read_to_string(path).expect("readable")).collect()
    }

    #[test]
    fn a_full_file_is_rotated_and_the_oldest_goes() {
        let directory = tempfile::tempdir().expect("a directory");
        let rotation = rotation(directory.path());
        let now = Instant::now();
        let mut file = RotatingFile::open(rotation.clone(), now).expect("opens");
        for line in ["one\n", "two\n", "three\n", "a line beyond the size\n", "four\n", "five\n"] {
            file.write(line.as_bytes(), now).expect("written");
        }
        assert_eq!(contents(&rotation.path), ["three\n", "a line beyond the size\n", "four\nfive\n"]);
    }

    #[test]
    fn an_old_file_is_rotated_unless_it_is_empty() {
        let directory = tempfile::tempdir().expect("a directory");
        let rotation = Rotation { age: Some(Duration::from_secs(60)), ..rotation(directory.path()) };
        let start = Instant::now();
        let minute = |n: u64| start + Duration::from_secs(60 * n);
        let mut file = RotatingFile::open(rotation.clone(), start).expect("opens");
        file.rotate_by_age(minute(1)).expect("nothing to do");
        file.write(b"one\n", minute(1)).expect("written");
        file.rotate_by_age(minute(1)).expect("nothing to do");
        file.write(b"two\n", minute(1)).expect("written");
        file.rotate_by_age(minute(2)).expect("rotated");
        file.write(b"3\n", minute(2)).expect("written");
        assert_eq!(contents(&rotation.path), ["one\ntwo\n", "3\n"], "the age counts from the first write");
    }

    #[test]
    fn what_an_earlier_run_left_becomes_a_predecessor() {
        let directory = tempfile::tempdir().expect("a directory");
        let rotation = rotation(directory.path());
        fs::write(&rotation.path, "torn").expect("written");
        fs::write(directory.path().join("flows.json.notes"), "not ours").expect("written");
        let mut file = RotatingFile::open(rotation.clone(), Instant::now()).expect("opens");
        file.write(b"one\n", Instant::now()).expect("written");
        assert_eq!(contents(&rotation.path), ["torn", "one\n"]);
    }

    #[test]
    fn timestamps() {
        let at = |seconds| timestamp(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "19700101T000000Z");
        assert_eq!(at(951_782_399), "20000228T235959Z");
        assert_eq!(at(951_782_400), "20000229T000000Z");
        assert_eq!(at(1_769_903_999), "20260131T235959Z");
    }
}
