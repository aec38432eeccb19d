//! Output of flow records into files with rotation, as JSON lines or length-delimited protobuf.
//!
//! All workers write one file. A batch is rendered by its worker and written in one piece under a lock that is taken once
//! per batch, so that records of several workers never mix; a file per worker would spare the lock but leave the reader
//! with as many files as workers. What cannot be written is dropped and counted, and the next batch tries again.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use flow_decoder::Stream;

use super::batch::Batch;
use super::counters::OutputCounters;
use super::health::HealthCell;
use super::json_lines;
use super::rotation::{RotatingFile, Rotation};
use crate::config::FileFormat;
use crate::ledger::DropReason;

/// The output `file`. It carries flow records only.
#[derive(Debug)]
pub(super) struct FileOutput {
    pub(super) counters: OutputCounters,
    pub(super) health: HealthCell,
    format: FileFormat,
    file: Mutex<RotatingFile>,
}

impl FileOutput {
    /// Opens the file, so that a path that cannot be written is found at start.
    pub(super) fn open(rotation: Rotation, format: FileFormat) -> io::Result<Self> {
        let file = Mutex::new(RotatingFile::open(rotation, Instant::now())?);
        Ok(Self { counters: OutputCounters::default(), health: HealthCell::up(), format, file })
    }

    pub(super) fn carries(stream: Stream) -> bool {
        stream == Stream::Flow
    }

    /// Writes a batch; `lines` is the worker's own memory for rendering it.
    pub(super) fn publish(&self, batch: &Batch<'_>, lines: &mut Vec<u8>) {
        let counters = self.counters.stream(batch.stream);
        let mut records = batch.records.records();
        counters.taken(records);
        let bytes = match self.format {
            FileFormat::Protobuf => batch.records.as_bytes(),
            FileFormat::Json => {
                lines.clear();
                let unreadable = json_lines::render(batch.records, lines);
                counters.dropped(DropReason::WriteError, unreadable);
                records -= unreadable;
                lines
            }
        };
        let written = self.file.lock().unwrap_or_else(PoisonError::into_inner).write(bytes, Instant::now());
        match written {
            Ok(()) => {
                counters.delivered(records);
                self.health.set_up();
            }
            Err(error) => {
                counters.dropped(DropReason::WriteError, records);
                self.health.set_failing(format!("output file: {error}"));
            }
        }
    }

    /// Rotates a file that has become too old while no records came.
    pub(super) fn poll(&self) {
        let Ok(mut file) = self.file.try_lock() else { return };
        if let Err(error) = file.rotate_by_age(Instant::now()) {
            self.health.set_failing(format!("output file: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::output::testing::{batch_of, flow_records, origin};

    fn rotation(path: &Path) -> Rotation {
        Rotation { path: path.to_owned(), bytes: None, age: None, keep: 3 }
    }

    #[test]
    fn lines_of_several_workers_do_not_mix() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("flows.json");
        let output = FileOutput::open(rotation(&path), FileFormat::Json).expect("opens");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let (origin, records, mut lines) = (origin(), flow_records(50), Vec::new());
                    for _ in 0..20 {
                        output.publish(&batch_of(&origin, &records), &mut lines);
                    }
                });
            }
        });
        let text = fs::read_to_string(&path).expect("readable");
        assert_eq!(text.lines().count(), 4 * 20 * 50);
        for line in text.lines() {
            serde_json::from_str::<serde_json::Value>(line).expect("a whole object");
        }
        assert_eq!(output.counters.stream(Stream::Flow).snapshot().delivered, 4 * 20 * 50);
    }

    #[test]
    fn protobuf_is_written_as_it_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("flows.pb");
        let output = FileOutput::open(rotation(&path), FileFormat::Protobuf).expect("opens");
        let (origin, records) = (origin(), flow_records(5));
        output.publish(&batch_of(&origin, &records), &mut Vec::new());
        assert_eq!(fs::read(&path).expect("readable"), records.as_bytes());
    }

    /// The kernel's device that is always full.
    #[test]
    #[cfg(target_os = "linux")]
    fn what_cannot_be_written_is_counted() {
        let full = Path::new("/dev/full");
        let output = FileOutput::open(rotation(full), FileFormat::Protobuf).expect("opens");
        let (origin, records) = (origin(), flow_records(5));
        output.publish(&batch_of(&origin, &records), &mut Vec::new());
        let account = output.counters.stream(Stream::Flow).snapshot();
        assert_eq!(account.dropped[DropReason::WriteError], 5);
        assert!(account.is_balanced() && !output.health.is_up());
    }
}
