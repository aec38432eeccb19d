//! Output of flow records as JSON lines on standard output.
//!
//! A batch is rendered by its worker and written in one piece under standard output's lock, so that lines of several
//! workers never mix. A slow reader slows the workers down; a reader that leaves closes the output, and the node stops.

use std::io::{self, Write};

use flow_decoder::Stream;
use tokio::sync::Notify;

use super::batch::Batch;
use super::counters::OutputCounters;
use super::health::HealthCell;
use super::json_lines;
use crate::ledger::DropReason;

/// The output `stdout`. It carries flow records only.
#[derive(Debug)]
pub(super) struct Stdout {
    pub(super) counters: OutputCounters,
    pub(super) health: HealthCell,
    /// Notified when the reader has left.
    pub(super) closed: Notify,
}

impl Stdout {
    pub(super) fn new() -> Self {
        Self { counters: OutputCounters::default(), health: HealthCell::up(), closed: Notify::new() }
    }

    pub(super) fn carries(stream: Stream) -> bool {
        stream == Stream::Flow
    }

    /// Writes a batch; `lines` is the worker's own memory for it.
    pub(super) fn publish(&self, batch: &Batch<'_>, lines: &mut Vec<u8>) {
        self.write(batch, lines, &mut io::stdout().lock());
    }

    fn write(&self, batch: &Batch<'_>, lines: &mut Vec<u8>, to: &mut impl Write) {
        let counters = self.counters.stream(batch.stream);
        let records = batch.records.records();
        counters.taken(records);
        lines.clear();
        let unreadable = json_lines::render(batch.records, lines);
        counters.dropped(DropReason::WriteError, unreadable);
        match to.write_all(lines).and_then(|()| to.flush()) {
            Ok(()) => {
                counters.delivered(records - unreadable);
                self.health.set_up();
            }
            Err(error) => {
                counters.dropped(DropReason::WriteError, records - unreadable);
                if error.kind() == io::ErrorKind::BrokenPipe {
                    self.health.set_closed("the reader of standard output has left");
                    self.closed.notify_one();
                } else {
                    self.health.set_failing(format!("standard output: {error}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::OutputState;
    use crate::output::testing::{batch_of, flow_records, origin};

    struct Pipe(Result<Vec<u8>, io::ErrorKind>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match &mut self.0 {
                Ok(taken) => taken.write(bytes),
                Err(kind) => Err((*kind).into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_record_is_a_line() {
        let (stdout, origin, records) = (Stdout::new(), origin(), flow_records(3));
        let mut pipe = Pipe(Ok(Vec::new()));
        stdout.write(&batch_of(&origin, &records), &mut Vec::new(), &mut pipe);
        let text = String::from_utf8(pipe.0.expect("written")).expect("JSON is UTF-8");
        assert_eq!(text.lines().count(), 3);
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("an object");
            assert_eq!(line["src_addr"], "10.0.0.1");
        }
        assert_eq!(stdout.counters.stream(Stream::Flow).snapshot().delivered, 3);
    }

    #[tokio::test]
    async fn a_reader_that_leaves_closes_the_output() {
        let (stdout, origin, records) = (Stdout::new(), origin(), flow_records(3));
        let mut pipe = Pipe(Err(io::ErrorKind::BrokenPipe));
        stdout.write(&batch_of(&origin, &records), &mut Vec::new(), &mut pipe);
        stdout.closed.notified().await;
        assert_eq!(stdout.health.get().state, OutputState::Closed);
        let account = stdout.counters.stream(Stream::Flow).snapshot();
        assert_eq!(account.dropped[DropReason::WriteError], 3);
        assert!(account.is_balanced());
    }

    #[test]
    fn other_errors_are_counted_and_may_pass() {
        let (stdout, origin, records) = (Stdout::new(), origin(), flow_records(3));
        stdout.write(
            &batch_of(&origin, &records),
            &mut Vec::new(),
            &mut Pipe(Err(io::ErrorKind::StorageFull)),
        );
        assert_eq!(stdout.health.get().state, OutputState::Failing);
        stdout.write(&batch_of(&origin, &records), &mut Vec::new(), &mut Pipe(Ok(Vec::new())));
        assert!(stdout.health.is_up());
        let account = stdout.counters.stream(Stream::Flow).snapshot();
        assert_eq!((account.produced, account.delivered, account.dropped.total()), (6, 3, 3));
    }
}
