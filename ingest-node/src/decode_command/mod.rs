//! `ingest-node decode FILE...`: decodes captures as the node would and prints what came out.
//!
//! The files are one world, in the order given: what an exporter announces in one file (templates, options) holds for the
//! next, as it would for a node that received them one after the other. Packets are numbered in each file from 1, all UDP
//! datagrams counted, also those that `--port` passes over.
//!
//! Standard output is the records alone; what was wrong, and the ledger, go to standard error.

mod elements;
mod findings;
mod records;
mod summary;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use flow_decoder::{
    Datagram, Decoder, DecoderOptions, ExporterName, ExporterStore, PendingLimits, Sink, StoreLimits, Stream,
    ZoneId,
};

use self::elements::ElementPrinter;
use self::findings::Findings;
use self::records::RecordPrinter;
use self::summary::Summary;
use crate::capture::{Capture, CaptureError, CapturedDatagram};
use crate::cli::decode::{Args, Format, Kind};
use crate::cli::{EX_NOINPUT, EX_USAGE};
use crate::config::{self, Config};
use crate::flow::{Zones, names, overrides, pending_limits};

/// Status where the output could not be written (`EX_IOERR`).
const EX_IOERR: u8 = 74;

/// Printed bytes that are gathered before they are written.
const FLUSH_AT: usize = 64 << 10;

impl From<Kind> for Stream {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Flow => Self::Flow,
            Kind::Counters => Self::Counters,
            Kind::Drops => Self::Drops,
            Kind::Options => Self::Options,
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All files were read to their end.
    Complete,
    /// At least one was not; what came before is printed.
    Unreadable,
    /// The arguments do not go together.
    Refused,
}

/// Runs the command on the process's standard streams, naming exporters and treating them as the configuration says.
pub fn command(args: &Args, config: &Config) -> ExitCode {
    let (options, limits) = (decoder_options(config), store_limits(config));
    let mut errors = io::stderr().lock();
    match run(args, options, limits, &mut io::stdout().lock(), &mut errors) {
        Ok(Outcome::Complete) => ExitCode::SUCCESS,
        Ok(Outcome::Unreadable) => ExitCode::from(EX_NOINPUT),
        Ok(Outcome::Refused) => ExitCode::from(EX_USAGE),
        // `decode ... | head` is no mistake.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when standard error is closed as well.
            let _ = writeln!(errors, "decode: cannot write: {error}");
            ExitCode::from(EX_IOERR)
        }
    }
}

/// The bounds of what is remembered. Capture times are not the node's, and an exporter that fills a file harms nobody: what
/// waits is bounded by the size of all of it alone.
pub fn store_limits(config: &Config) -> StoreLimits {
    let pending = pending_limits(&config.pending);
    let pending = PendingLimits { age_ns: None, per_exporter_bytes: pending.bytes, ..pending };
    StoreLimits { pending, ..StoreLimits::default() }
}

/// What the configuration says of exporters. A file has no listeners: all exporters are of the default zone.
pub fn decoder_options(config: &Config) -> DecoderOptions {
    let exporter_name = match config.exporter.name {
        config::ExporterName::Address => ExporterName::Address,
        config::ExporterName::Agent => ExporterName::Agent,
    };
    let overrides = Arc::new(overrides(&config.exporter, &Zones::named([])));
    let names = names(&config.exporter);
    DecoderOptions { exporter_name, overrides, names, ..DecoderOptions::default() }
}

/// Decodes the files, prints records to `output`, and findings and the summary to `errors`.
///
/// # Errors
///
/// Where `output` or `errors` cannot be written.
pub fn run(
    args: &Args,
    options: DecoderOptions,
    limits: StoreLimits,
    output: &mut impl Write,
    errors: &mut impl Write,
) -> io::Result<Outcome> {
    let decoder = Decoder::new(Arc::new(ExporterStore::new(limits)), options);
    if args.elements {
        return Run::new(args, decoder, ElementPrinter::default(), output, errors).files();
    }
    if args.format == Format::Protobuf && args.kinds.iter().any(|kind| *kind != args.kinds[0]) {
        writeln!(
            errors,
            "decode: with --format protobuf choose one of --kinds: messages of several cannot be told apart"
        )?;
        return Ok(Outcome::Refused);
    }
    let printer = RecordPrinter::new(args.kinds.iter().copied().map(Stream::from), args.format);
    Run::new(args, decoder, printer, output, errors).files()
}

/// A sink that turns what it is given into bytes to print.
trait Printer: Sink {
    /// The next datagram is about to be decoded.
    fn begin(&mut self, datagram: &CapturedDatagram);

    /// What is printed and not yet written.
    fn printed(&mut self) -> &mut Vec<u8>;

    /// What was wrong with datagrams.
    fn findings(&mut self) -> &mut Findings;
}

struct Run<'a, P, O, E> {
    args: &'a Args,
    decoder: Decoder,
    printer: P,
    summary: Summary,
    output: &'a mut O,
    errors: &'a mut E,
}

impl<'a, P: Printer, O: Write, E: Write> Run<'a, P, O, E> {
    fn new(args: &'a Args, decoder: Decoder, printer: P, output: &'a mut O, errors: &'a mut E) -> Self {
        Self { args, decoder, printer, summary: Summary::default(), output, errors }
    }

    fn files(mut self) -> io::Result<Outcome> {
        let mut outcome = Outcome::Complete;
        for path in &self.args.files {
            let read = self.file(path)?;
            self.write_printed()?;
            if let Err(error) = read {
                writeln!(self.errors, "decode: {error}")?;
                outcome = Outcome::Unreadable;
            }
        }
        self.decoder.store().finish_pending();
        self.decoder.decode_released(usize::MAX, &mut self.printer);
        self.write_printed()?;
        self.output.flush()?;
        self.printer.findings().write(self.errors)?;
        let mut statistics = *self.decoder.statistics();
        statistics.settle_pending(&self.decoder.store().pending_counts());
        self.summary.write(&statistics, self.errors)?;
        Ok(outcome)
    }

    /// Decodes one file; the inner error is the file's, the outer one the output's.
    fn file(&mut self, path: &Path) -> io::Result<Result<(), CaptureError>> {
        self.summary.files += 1;
        if self.args.files.len() > 1 {
            self.printer.findings().file = Some(path.to_owned());
        }
        let mut capture = match Capture::open(path) {
            Ok(capture) => capture,
            Err(error) => return Ok(Err(error)),
        };
        let read = loop {
            match capture.next_datagram() {
                Ok(Some(datagram)) => self.datagram(&datagram)?,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.summary.add_capture(capture.counts());
        Ok(read)
    }

    fn datagram(&mut self, captured: &CapturedDatagram) -> io::Result<()> {
        if !self.args.ports.is_empty() && !self.args.ports.contains(&captured.destination.port()) {
            self.summary.other_ports += 1;
            return Ok(());
        }
        self.printer.begin(captured);
        let datagram = Datagram {
            payload: &captured.payload,
            source: captured.source,
            zone: ZoneId::default(),
            received_ns: captured.timestamp_ns,
            truncated: captured.truncated,
        };
        self.decoder.decode(&datagram, &mut self.printer);
        self.decoder.decode_released(usize::MAX, &mut self.printer);
        if self.printer.printed().len() >= FLUSH_AT {
            self.write_printed()?;
        }
        Ok(())
    }

    fn write_printed(&mut self) -> io::Result<()> {
        let printed = self.printer.printed();
        self.output.write_all(printed)?;
        printed.clear();
        Ok(())
    }
}
