//! Collects a worker's records in open batches and hands them to the output when they are full or old enough.
//!
//! ```text
//! decoder --record--> lane of its stream --> bucket 0 | bucket 1 | ... --full or old--> Publisher
//! ```
//!
//! - `partition_by: none`: one bucket per stream, the output chooses the partition.
//! - `exporter`: the exporter's bucket is chosen once per datagram.
//! - `flow`: each flow record is written to the lane's staging batch, and moved to the bucket of its addresses, ports and
//!   protocol. Other streams have no such key and go by exporter.
//!
//! There are as many buckets as the topic has partitions, and bucket `n` is partition `n`. Until the output knows that
//! number (the broker is absent at start) there is one bucket and no partition is chosen.
//!
//! Memory: a worker's share of `batch.memory` is divided among its streams and their buckets, so that with very many partitions batches are
//! handed over before they reach `batch.bytes`. Buckets get memory when they are first used and keep it: in steady state
//! nothing is allocated.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use flow_decoder::{Delimiting, HeldOrigin, RecordBuffer, Sink, Stream};

use super::Publisher;
use super::partition::{bucket, exporter_key, flow_key};
use crate::config::PartitionBy;

/// Room beyond a full batch for the record that filled it.
const HEADROOM: usize = 4096;
/// No bucket is handed over smaller than this for want of memory.
const SMALLEST_BATCH: usize = 1024;

/// What finished batches are handed to.
pub trait Publish {
    /// Whether records of the stream go anywhere.
    fn carries(&self, stream: Stream) -> bool;

    /// How many partitions the stream can be spread over; `None` where there are none or where it is not known yet.
    fn partitions(&self, stream: Stream) -> Option<NonZeroUsize>;

    /// Takes a batch that is not empty. What is kept is copied, so that the buffer can be cleared at once.
    fn publish(&mut self, stream: Stream, partition: Option<i32>, records: &RecordBuffer);

    /// Settles earlier batches.
    fn poll(&mut self);
}

/// How a worker collects records.
#[derive(Clone, Copy, Debug)]
pub struct BatchSettings {
    /// The size of a full batch, `batch.bytes`.
    pub bytes: usize,
    /// The age at which a batch that is not full is handed over, `batch.age`.
    pub age: Duration,
    /// This worker's share of `batch.memory`, for all streams.
    pub memory: usize,
    /// What stands before each record; the framing decides.
    pub delimiting: Delimiting,
    /// What chooses a record's partition.
    pub partition_by: PartitionBy,
}

/// The sink of one worker. Dropping it hands over what is open.
#[derive(Debug)]
pub struct BatchSink<P: Publish = Publisher> {
    publisher: P,
    settings: BatchSettings,
    lanes: [Option<Lane>; Stream::COUNT],
    /// The key of the exporter whose datagram is being decoded.
    exporter_key: u64,
    now: Instant,
    /// When the oldest open batch is to be handed over, or earlier.
    due: Option<Instant>,
}

/// The open batches of one stream.
#[derive(Debug)]
struct Lane {
    buckets: Vec<Bucket>,
    /// The bucket that the next record goes to, or the last one went to.
    current: usize,
    /// Where a record is written before its bucket is known.
    staging: Option<RecordBuffer>,
    /// Whether buckets are partitions.
    partitioned: bool,
    /// The size at which a bucket is handed over.
    limit: usize,
}

#[derive(Debug)]
struct Bucket {
    records: RecordBuffer,
    /// When the first record came.
    opened: Instant,
}

impl<P: Publish> BatchSink<P> {
    /// A sink whose batches go to `publisher`.
    pub fn new(publisher: P, settings: BatchSettings, now: Instant) -> Self {
        let carried = Stream::ALL.iter().filter(|&&stream| publisher.carries(stream)).count();
        let settings = BatchSettings { memory: settings.memory / carried.max(1), ..settings };
        let lane = |stream| publisher.carries(stream).then(|| Lane::unpartitioned(&settings, now));
        let lanes = Stream::ALL.map(lane);
        Self { publisher, settings, lanes, exporter_key: 0, now, due: None }
    }

    /// Says whose datagram is decoded next.
    #[inline]
    pub fn begin_datagram(&mut self, exporter: IpAddr) {
        if self.settings.partition_by == PartitionBy::None {
            return;
        }
        self.exporter_key = exporter_key(exporter);
        // Here and not on the tick: what a read returns first comes after the node said that it is ready.
        self.partition();
        for lane in self.lanes.iter_mut().flatten().filter(|lane| lane.staging.is_none()) {
            lane.current = bucket(self.exporter_key, lane.buckets.len());
        }
    }

    /// Hands over batches that are old enough, and lets the output settle earlier ones. To be called between reads
    /// from the socket, and when a read has waited until [`BatchSink::due`].
    pub fn tick(&mut self, now: Instant) {
        self.now = now;
        self.publisher.poll();
        if self.due.is_some_and(|due| due <= now) {
            self.hand_over(|opened, settings| opened + settings.age <= now);
        }
    }

    /// When `tick` must be called at the latest; `None` where nothing is open.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Hands over everything that is open.
    pub fn flush(&mut self) {
        self.hand_over(|_, _| true);
    }

    /// Where batches go.
    pub fn publisher(&self) -> &P {
        &self.publisher
    }

    fn hand_over(&mut self, is_ready: impl Fn(Instant, &BatchSettings) -> bool) {
        self.due = None;
        for stream in Stream::ALL {
            let Some(lane) = &mut self.lanes[stream as usize] else { continue };
            for index in 0..lane.buckets.len() {
                let open = &lane.buckets[index];
                if open.records.is_empty() {
                    continue;
                }
                if is_ready(open.opened, &self.settings) {
                    lane.publish(index, stream, &mut self.publisher);
                } else {
                    let due = open.opened + self.settings.age;
                    self.due = Some(self.due.map_or(due, |earliest| earliest.min(due)));
                }
            }
        }
    }

    /// Makes buckets of partitions once the output knows how many there are.
    fn partition(&mut self) {
        for stream in Stream::ALL {
            let Some(lane) = self.lanes[stream as usize].as_mut().filter(|lane| !lane.partitioned) else {
                continue;
            };
            let Some(partitions) = self.publisher.partitions(stream) else { continue };
            lane.publish(0, stream, &mut self.publisher);
            *lane = Lane::partitioned(stream, partitions.get(), &self.settings, self.now);
            lane.current = bucket(self.exporter_key, lane.buckets.len());
        }
    }
}

impl<P: Publish> Sink for BatchSink<P> {
    fn begin_held(&mut self, origin: &HeldOrigin) {
        self.begin_datagram(origin.source.ip());
    }

    #[inline]
    fn batch(&mut self, stream: Stream) -> Option<&mut RecordBuffer> {
        let lane = self.lanes[stream as usize].as_mut()?;
        Some(match &mut lane.staging {
            Some(staging) => staging,
            None => &mut lane.buckets[lane.current].records,
        })
    }

    #[inline]
    fn written(&mut self, stream: Stream, _len: usize) {
        let Some(lane) = &mut self.lanes[stream as usize] else { return };
        lane.route_staged();
        let open = &mut lane.buckets[lane.current];
        if open.records.records() == 1 {
            open.opened = self.now;
            let due = self.now + self.settings.age;
            self.due = Some(self.due.map_or(due, |earliest| earliest.min(due)));
        }
        if open.records.len() >= lane.limit {
            lane.publish(lane.current, stream, &mut self.publisher);
        }
    }
}

impl<P: Publish> Drop for BatchSink<P> {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Lane {
    fn unpartitioned(settings: &BatchSettings, now: Instant) -> Self {
        let limit = settings.bytes.min(settings.memory / 2).max(SMALLEST_BATCH);
        let records = RecordBuffer::new(limit + HEADROOM, settings.delimiting);
        let buckets = vec![Bucket { records, opened: now }];
        Self { buckets, current: 0, staging: None, partitioned: false, limit }
    }

    fn partitioned(stream: Stream, partitions: usize, settings: &BatchSettings, now: Instant) -> Self {
        // A buffer that has grown to a full batch may hold twice its bytes.
        let limit = settings.bytes.min(settings.memory / partitions / 2).max(SMALLEST_BATCH);
        let bucket = || Bucket { records: RecordBuffer::new(0, settings.delimiting), opened: now };
        let staged = settings.partition_by == PartitionBy::Flow && stream == Stream::Flow;
        Self {
            buckets: std::iter::repeat_with(bucket).take(partitions).collect(),
            current: 0,
            staging: staged.then(|| RecordBuffer::new(HEADROOM, settings.delimiting)),
            partitioned: true,
            limit,
        }
    }

    /// Moves a staged record to the bucket of its key.
    fn route_staged(&mut self) {
        let Some(staging) = &mut self.staging else { return };
        let key = staging.iter().next().map_or(0, flow_key);
        self.current = bucket(key, self.buckets.len());
        self.buckets[self.current].records.append(staging.as_bytes(), staging.records());
        staging.clear();
    }

    fn publish(&mut self, index: usize, stream: Stream, publisher: &mut impl Publish) {
        let records = &mut self.buckets[index].records;
        if records.is_empty() {
            return;
        }
        // A topic has at most some hundred thousand partitions.
        let partition = self.partitioned.then_some(index as i32);
        publisher.publish(stream, partition, records);
        records.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing::write_flow;

    /// Keeps what it gets: partition, records, bytes.
    #[derive(Debug, Default)]
    struct Memory {
        partitions: Option<NonZeroUsize>,
        batches: Vec<(Stream, Option<i32>, u64, Vec<u8>)>,
    }

    impl Publish for Memory {
        fn carries(&self, stream: Stream) -> bool {
            matches!(stream, Stream::Flow | Stream::Counters)
        }

        fn partitions(&self, _stream: Stream) -> Option<NonZeroUsize> {
            self.partitions
        }

        fn publish(&mut self, stream: Stream, partition: Option<i32>, records: &RecordBuffer) {
            self.batches.push((stream, partition, records.records(), records.as_bytes().to_vec()));
        }

        fn poll(&mut self) {}
    }

    fn settings(partition_by: PartitionBy) -> BatchSettings {
        let age = Duration::from_millis(20);
        BatchSettings { bytes: 2000, age, memory: 1 << 20, delimiting: Delimiting::Length, partition_by }
    }

    fn sink(partition_by: PartitionBy, partitions: usize, now: Instant) -> BatchSink<Memory> {
        let memory = Memory { partitions: NonZeroUsize::new(partitions), ..Memory::default() };
        BatchSink::new(memory, settings(partition_by), now)
    }

    fn add_flow(sink: &mut BatchSink<Memory>, port: u32) {
        let len = write_flow(sink.batch(Stream::Flow).expect("flow is on"), port);
        sink.written(Stream::Flow, len);
    }

    fn records(sink: &BatchSink<Memory>) -> u64 {
        sink.publisher().batches.iter().map(|(_, _, records, _)| records).sum()
    }

    #[test]
    fn a_stream_that_is_off_has_no_batch() {
        let mut sink = sink(PartitionBy::None, 0, Instant::now());
        assert!(sink.batch(Stream::Options).is_none());
    }

    #[test]
    fn a_full_batch_is_handed_over_at_once() {
        let mut sink = sink(PartitionBy::None, 0, Instant::now());
        for port in 0..1000 {
            add_flow(&mut sink, port);
        }
        let batches = &sink.publisher().batches;
        assert_eq!(batches.len(), 5);
        assert!(batches.iter().all(|(_, partition, _, bytes)| partition.is_none() && bytes.len() >= 2000));
        sink.flush();
        assert_eq!(records(&sink), 1000);
        sink.flush();
        assert_eq!(records(&sink), 1000, "nothing is handed over twice");
    }

    #[test]
    fn a_batch_that_is_old_is_handed_over_on_the_tick() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut sink = sink(PartitionBy::None, 0, start);
        assert_eq!(sink.due(), None);
        sink.tick(at(100));
        add_flow(&mut sink, 1);
        assert_eq!(sink.due(), Some(at(120)), "the age counts from the first record");
        sink.tick(at(110));
        add_flow(&mut sink, 2);
        sink.tick(at(119));
        assert_eq!(records(&sink), 0);
        sink.tick(at(120));
        assert_eq!((records(&sink), sink.due()), (2, None));
    }

    #[test]
    fn an_exporter_has_one_partition() {
        let mut sink = sink(PartitionBy::Exporter, 12, Instant::now());
        let mut found = Vec::new();
        for host in [1, 2, 3, 1, 2, 3] {
            sink.begin_datagram(IpAddr::from([192, 0, 2, host]));
            add_flow(&mut sink, 1);
            sink.flush();
            found.push(sink.publisher().batches.last().expect("flushed").1);
        }
        assert_eq!(found[..3], found[3..]);
        assert!(found.iter().all(|partition| partition.is_some_and(|n| (0..12).contains(&n))), "{found:?}");
    }

    #[test]
    fn a_flow_has_one_partition_and_flows_are_spread() {
        let mut sink = sink(PartitionBy::Flow, 4, Instant::now());
        sink.begin_datagram(IpAddr::from([192, 0, 2, 1]));
        for _ in 0..3 {
            for port in 0..100 {
                add_flow(&mut sink, port);
            }
        }
        sink.flush();
        let mut homes = std::collections::HashMap::new();
        let mut used = std::collections::HashSet::new();
        for (_, partition, count, bytes) in &sink.publisher().batches {
            let mut batch = RecordBuffer::new(0, Delimiting::Length);
            batch.append(bytes, *count);
            for record in batch.iter() {
                let home = homes.entry(record.to_vec()).or_insert(*partition);
                assert_eq!(home, partition, "a flow is in two partitions");
            }
            used.insert(*partition);
        }
        assert_eq!((records(&sink), homes.len(), used.len()), (300, 100, 4));
    }

    #[test]
    fn partitions_are_used_from_the_first_datagram_after_they_are_known() {
        let mut sink = sink(PartitionBy::Exporter, 0, Instant::now());
        sink.begin_datagram(IpAddr::from([192, 0, 2, 1]));
        add_flow(&mut sink, 1);
        sink.publisher.partitions = NonZeroUsize::new(3);
        sink.begin_datagram(IpAddr::from([192, 0, 2, 1]));
        add_flow(&mut sink, 2);
        sink.flush();
        let batches = &sink.publisher().batches;
        assert_eq!(batches.len(), 2);
        assert_eq!(batches[0].1, None);
        assert!(batches[1].1.is_some());
    }

    #[test]
    fn open_batches_stay_within_their_memory() {
        let partitions = 64;
        let memory = Memory { partitions: NonZeroUsize::new(partitions), ..Memory::default() };
        let share = 400 << 10;
        let settings = BatchSettings { bytes: 64 << 10, memory: share, ..settings(PartitionBy::Flow) };
        let mut sink = BatchSink::new(memory, settings, Instant::now());
        sink.begin_datagram(IpAddr::from([192, 0, 2, 1]));
        for port in 0..20_000 {
            add_flow(&mut sink, port);
            if port % 500 == 0 {
                let open: usize = sink
                    .lanes
                    .iter()
                    .flatten()
                    .flat_map(|lane| &lane.buckets)
                    .map(|open| open.records.len())
                    .sum();
                assert!(open <= share, "{open}");
            }
        }
        let largest = sink.publisher().batches.iter().map(|(_, _, _, bytes)| bytes.len()).max();
        assert!(largest.is_some_and(|bytes| bytes <= share / partitions), "{largest:?}");
    }

    #[test]
    fn a_sink_that_is_dropped_hands_over_what_is_open() {
        use crate::ledger::StreamLedger;
        use crate::output::{Output, testing};
        let config = testing::config(["output=discard".to_owned()]);
        let output = Output::open(&config, testing::origin()).expect("opens");
        let mut sink = output.sink(0);
        let len = write_flow(sink.batch(Stream::Flow).expect("flow is on"), 1);
        sink.written(Stream::Flow, len);
        drop(sink);
        let expected = StreamLedger { produced: 1, delivered: 1, ..StreamLedger::default() };
        assert_eq!(output.streams()[Stream::Flow as usize], expected);
    }
}
