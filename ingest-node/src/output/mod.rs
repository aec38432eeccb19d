//! Where records go.
//!
//! ```text
//! decoder -> BatchSink (one per worker, open batches) -> Publisher (one per worker) -> Output (one per node)
//! ```
//!
//! An [`Output`] is opened once and closed once; between the two it hands each worker a [`BatchSink`]. Its counters are the
//! stream accounts of the [ledger](crate::ledger): what a sink handed over is in flight until the output settles it as
//! delivered or dropped, and after [`Output::close`] nothing is in flight any more.

mod batch;
mod batch_sink;
mod counters;
mod discard;
mod file;
mod health;
mod json_lines;
mod kafka;
mod partition;
mod rotation;
mod stdout;
#[cfg(test)]
mod testing;

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use flow_decoder::{Delimiting, RecordBuffer, Stream};
use rdkafka::error::KafkaError;

pub use batch::{Batch, BatchId, Origin};
pub use batch_sink::{BatchSettings, BatchSink, Publish};
pub use counters::{OutputCounters, StreamCounters};
pub use health::{OutputHealth, OutputState};
pub use kafka::{HEADER_BATCH, HEADER_FRAMING, HEADER_RECORDS};

use crate::config::{self, Config, Framing, PartitionBy};
use crate::ledger::StreamLedger;
use batch::BatchNumbers;
use discard::Discard;
use file::FileOutput;
use kafka::{KafkaOutput, KafkaPublisher};
use rotation::Rotation;
use stdout::Stdout;

/// Why an output could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// `output: file` without a path.
    #[error("file.path is not set")]
    NoPath,
    /// The file cannot be written.
    #[error("{path}: {error}")]
    File {
        /// `file.path`.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// librdkafka refused its configuration.
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// No thread could be started.
    #[error("kafka: no thread could be started: {0}")]
    Thread(io::Error),
}

/// The node's output.
#[derive(Debug)]
pub struct Output {
    device: Device,
    origin: Origin,
    numbers: BatchNumbers,
    batches: BatchSettings,
}

#[derive(Clone, Debug)]
enum Device {
    Stdout(Arc<Stdout>),
    File(Arc<FileOutput>),
    Kafka(Arc<KafkaOutput>),
    Discard(Arc<Discard>),
}

impl Output {
    /// Opens the output that the configuration names. Kafka's brokers need not be there yet.
    pub fn open(config: &Config, origin: Origin) -> Result<Self, OpenError> {
        let bytes = config.batch.bytes.as_usize();
        let device = match config.output {
            config::Output::Stdout => Device::Stdout(Arc::new(Stdout::new())),
            config::Output::File => Device::File(Arc::new(open_file(&config.file)?)),
            config::Output::Kafka => Device::Kafka(Arc::new(KafkaOutput::start(&config.kafka, bytes)?)),
            config::Output::Discard => Device::Discard(Arc::default()),
        };
        let is_kafka = matches!(device, Device::Kafka(_));
        let framing = config.kafka.framing;
        let batches = BatchSettings {
            bytes,
            age: config.batch.age,
            memory: config.batch.memory.as_usize() / config.node.workers.get(),
            delimiting: if is_kafka { delimiting(framing) } else { Delimiting::Length },
            partition_by: if is_kafka { config.kafka.partition_by } else { PartitionBy::None },
        };
        Ok(Self { device, origin, numbers: BatchNumbers::default(), batches })
    }

    /// The sink of one worker.
    pub fn sink(&self, worker: u32) -> BatchSink {
        BatchSink::new(self.publisher(worker), self.batches, Instant::now())
    }

    /// What a worker hands finished batches to.
    pub fn publisher(&self, worker: u32) -> Publisher {
        let way = match &self.device {
            Device::Stdout(stdout) => Way::Stdout(Arc::clone(stdout), Vec::new()),
            Device::File(file) => Way::File(Arc::clone(file), Vec::new()),
            Device::Kafka(kafka) => Way::Kafka(kafka.publisher(worker)),
            Device::Discard(discard) => Way::Discard(Arc::clone(discard)),
        };
        Publisher { way, origin: self.origin.clone(), numbers: self.numbers.clone(), worker }
    }

    /// The accounts of all streams, in the order of [`Stream::ALL`].
    pub fn streams(&self) -> [StreamLedger; Stream::COUNT] {
        let mut accounts = [StreamLedger::default(); Stream::COUNT];
        match &self.device {
            Device::Stdout(stdout) => stdout.counters.add_to(&mut accounts),
            Device::File(file) => file.counters.add_to(&mut accounts),
            Device::Kafka(kafka) => kafka.add_to(&mut accounts),
            Device::Discard(discard) => discard.counters.add_to(&mut accounts),
        }
        accounts
    }

    /// Whether the output can deliver now.
    pub fn health(&self) -> OutputHealth {
        match &self.device {
            Device::Stdout(stdout) => stdout.health.get(),
            Device::File(file) => file.health.get(),
            Device::Kafka(kafka) => kafka.health(),
            Device::Discard(_) => health::HealthCell::up().get(),
        }
    }

    /// Producers that were made anew after a fatal error; 0 for other outputs.
    pub fn replaced_producers(&self) -> u64 {
        match &self.device {
            Device::Kafka(kafka) => kafka.replaced_producers(),
            Device::Stdout(_) | Device::File(_) | Device::Discard(_) => 0,
        }
    }

    /// Returns once the output's destination is gone for good, so that the node should stop: the reader of standard output
    /// has left. Other outputs never do.
    pub async fn closed(&self) {
        match &self.device {
            Device::Stdout(stdout) => stdout.closed.notified().await,
            Device::File(_) | Device::Kafka(_) | Device::Discard(_) => std::future::pending().await,
        }
    }

    /// Waits until `deadline` for everything that is in flight, and counts the rest as dropped. The workers' sinks must be
    /// gone or flushed. Blocks.
    pub fn close(&self, deadline: Instant) {
        match &self.device {
            Device::Kafka(kafka) => kafka.close(deadline),
            // These settle a batch before they return.
            Device::Stdout(_) | Device::File(_) | Device::Discard(_) => {}
        }
    }
}

fn open_file(file: &config::File) -> Result<FileOutput, OpenError> {
    let path = file.path.clone().ok_or(OpenError::NoPath)?;
    let name = path.display().to_string();
    let bytes = file.rotate_bytes.map(config::ByteSize::bytes);
    let rotation = Rotation { path, bytes, age: file.rotate_age, keep: file.keep.get() };
    FileOutput::open(rotation, file.format).map_err(|error| OpenError::File { path: name, error })
}

fn delimiting(framing: Framing) -> Delimiting {
    match framing {
        Framing::List => Delimiting::ListItem,
        Framing::Packed | Framing::Single | Framing::SingleDelimited => Delimiting::Length,
    }
}

/// One worker's way to the output.
#[derive(Debug)]
pub struct Publisher {
    way: Way,
    origin: Origin,
    numbers: BatchNumbers,
    worker: u32,
}

#[derive(Debug)]
enum Way {
    /// With memory for rendered lines.
    Stdout(Arc<Stdout>, Vec<u8>),
    File(Arc<FileOutput>, Vec<u8>),
    Kafka(KafkaPublisher),
    Discard(Arc<Discard>),
}

impl Publish for Publisher {
    fn carries(&self, stream: Stream) -> bool {
        match &self.way {
            Way::Stdout(..) => Stdout::carries(stream),
            Way::File(..) => FileOutput::carries(stream),
            Way::Kafka(kafka) => kafka.carries(stream),
            Way::Discard(_) => true,
        }
    }

    fn partitions(&self, stream: Stream) -> Option<NonZeroUsize> {
        match &self.way {
            Way::Kafka(kafka) => kafka.partitions(stream),
            Way::Stdout(..) | Way::File(..) | Way::Discard(_) => None,
        }
    }

    fn publish(&mut self, stream: Stream, partition: Option<i32>, records: &RecordBuffer) {
        let id = BatchId { origin: &self.origin, worker: self.worker, number: self.numbers.next() };
        let batch = Batch { id, stream, partition, records };
        match &mut self.way {
            Way::Stdout(stdout, lines) => stdout.publish(&batch, lines),
            Way::File(file, lines) => file.publish(&batch, lines),
            Way::Kafka(kafka) => kafka.publish(&batch),
            Way::Discard(discard) => discard.publish(&batch),
        }
    }

    fn poll(&mut self) {
        match &self.way {
            Way::File(file, _) => file.poll(),
            Way::Kafka(kafka) => kafka.poll(),
            Way::Stdout(..) | Way::Discard(_) => {}
        }
    }
}
