//! Records as they are decoded, for people who look on.
//!
//! ```text
//! worker: decoder -> TailSink -> batch sink               who tails gets copies of records in chunks
//!                        \--> Chunk --try_send--> queue of each reader --> control thread: filter, decode, gRPC
//! ```
//!
//! Tailing never slows the data path down:
//! - while nobody tails a worker pays one relaxed load a datagram;
//! - a worker copies only datagrams that somebody wants and has room for; it never waits, and what does not fit is counted
//!   as unseen by that reader;
//! - filtering and decoding are done by control threads, which take a bounded part of a CPU for it (`control::tail`).
//!
//! All is bounded: readers, chunks in a queue, octets in a chunk.

mod chunk;
mod filter;
mod sink;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use flow_decoder::{Datagram, Decoder, Sink, Stream, ZoneId};
use serde::Serialize;
use tokio::sync::mpsc;

pub use chunk::Chunk;
pub use filter::Filter;
use sink::TailSink;

/// Readers at a time.
pub const MOST_READERS: usize = 8;
/// Chunks that wait for one reader.
const QUEUE: usize = 16;
/// A chunk of this size is handed over.
const FULL: usize = 32 << 10;
/// A chunk of this age is handed over.
const OLD: Duration = Duration::from_millis(20);

/// Everybody who tails.
#[derive(Debug, Default)]
pub struct Tails {
    /// How many; read by workers without a lock.
    active: AtomicUsize,
    readers: ArcSwap<Vec<Arc<Reader>>>,
    changing: Mutex<()>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    records: AtomicU64,
    lost: AtomicU64,
    unseen: AtomicU64,
}

/// What tailing has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TailCounts {
    /// Who tails now.
    pub readers: usize,
    /// Records sent to readers.
    pub records: u64,
    /// Records that passed a filter and were lost, because the reader was slow.
    pub lost: u64,
    /// Records that were lost before a filter had looked at them.
    pub unseen: u64,
}

/// Whose records somebody wants; what a worker can tell before it decodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only this exporter.
    pub exporter: Option<IpAddr>,
    /// Only this zone.
    pub zone: Option<ZoneId>,
}

impl Wanted {
    fn takes(&self, zone: ZoneId, exporter: IpAddr) -> bool {
        self.zone.is_none_or(|wanted| wanted == zone) && self.exporter.is_none_or(|wanted| wanted == exporter)
    }
}

#[derive(Debug)]
struct Reader {
    wanted: Wanted,
    queue: mpsc::Sender<Arc<Chunk>>,
    unseen: AtomicU64,
}

/// One reader's end. Dropped, the reader is gone.
#[derive(Debug)]
pub struct Subscription {
    tails: Arc<Tails>,
    reader: Arc<Reader>,
    queue: mpsc::Receiver<Arc<Chunk>>,
}

/// As many tail as can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MOST_READERS} readers tail this node already: wait until one has ended")]
pub struct TooMany;

impl Tails {
    /// Begins to collect records for a reader.
    ///
    /// # Errors
    /// Where there are too many readers.
    pub fn subscribe(self: &Arc<Self>, wanted: Wanted) -> Result<Subscription, TooMany> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut readers = Vec::clone(&self.readers.load());
        if readers.len() >= MOST_READERS {
            return Err(TooMany);
        }
        let (sender, queue) = mpsc::channel(QUEUE);
        let reader = Arc::new(Reader { wanted, queue: sender, unseen: AtomicU64::new(0) });
        readers.push(reader.clone());
        self.put(readers);
        Ok(Subscription { tails: self.clone(), reader, queue })
    }

    /// What it has come to.
    pub fn counts(&self) -> TailCounts {
        let Counts { records, lost, unseen } = &self.counts;
        TailCounts {
            readers: self.readers(),
            records: records.load(Ordering::Relaxed),
            lost: lost.load(Ordering::Relaxed),
            unseen: unseen.load(Ordering::Relaxed),
        }
    }

    /// Who tails now.
    pub fn readers(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    fn put(&self, readers: Vec<Arc<Reader>>) {
        let count = readers.len();
        self.readers.store(Arc::new(readers));
        self.active.store(count, Ordering::Relaxed);
    }
}

impl Subscription {
    /// The next records, unfiltered; `None` never, while the reader lives.
    pub async fn next(&mut self) -> Option<Arc<Chunk>> {
        self.queue.recv().await
    }

    /// Records that this reader has not seen since it was last asked: its queue was full.
    pub fn take_unseen(&self) -> u64 {
        self.reader.unseen.swap(0, Ordering::Relaxed)
    }

    /// Counts what became of records that passed the filter.
    pub fn count(&self, sent: u64, lost: u64) {
        self.tails.counts.records.fetch_add(sent, Ordering::Relaxed);
        self.tails.counts.lost.fetch_add(lost, Ordering::Relaxed);
    }

    /// How many share the CPU time for tailing.
    pub fn readers(&self) -> usize {
        self.tails.readers().max(1)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let _changing = self.tails.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut readers = Vec::clone(&self.tails.readers.load());
        readers.retain(|reader| !Arc::ptr_eq(reader, &self.reader));
        self.tails.put(readers);
    }
}

/// One worker's side.
#[derive(Debug)]
pub(crate) struct Collector {
    tails: Arc<Tails>,
    chunk: Chunk,
    /// When the chunk's first record came.
    opened: Option<Instant>,
}

impl Collector {
    pub(crate) fn new(tails: Arc<Tails>) -> Self {
        Self { tails, chunk: Chunk::default(), opened: None }
    }

    /// Whether somebody tails.
    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        self.tails.active.load(Ordering::Relaxed) > 0
    }

    /// Decodes a datagram as `decoder` would by itself, and copies its records for those who want them.
    #[cold]
    pub(crate) fn decode(&mut self, decoder: &mut Decoder, datagram: &Datagram<'_>, sink: &mut impl Sink) {
        let exporter = datagram.source.ip();
        let readers = self.tails.readers.load();
        let wants = || readers.iter().filter(|reader| reader.wanted.takes(datagram.zone, exporter));
        if wants().any(|reader| reader.queue.capacity() > 0) {
            self.chunk.begin_datagram(datagram.zone, exporter);
            decoder.decode(datagram, &mut TailSink::new(sink, &mut self.chunk));
            drop(readers);
            if self.chunk.len() >= FULL {
                self.hand_over();
            }
            return;
        }
        let flows = |decoder: &Decoder| decoder.statistics().records[Stream::Flow as usize];
        let before = flows(decoder);
        decoder.decode(datagram, sink);
        let records = flows(decoder) - before;
        wants().for_each(|reader| self.tails.unseen(reader, records));
    }

    /// The same for data that has waited for its template.
    pub(crate) fn decode_released(&mut self, decoder: &mut Decoder, most: usize, sink: &mut impl Sink) {
        if self.is_watched() {
            decoder.decode_released(most, &mut TailSink::new(sink, &mut self.chunk));
        } else {
            decoder.decode_released(most, sink);
        }
    }

    /// Hands over a chunk that is old enough. To be called between reads.
    #[inline]
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.chunk.is_empty() {
            return;
        }
        let opened = *self.opened.get_or_insert(now);
        if now.duration_since(opened) >= OLD {
            self.hand_over();
        }
    }

    #[cold]
    pub(crate) fn hand_over(&mut self) {
        self.opened = None;
        if self.chunk.is_empty() {
            return;
        }
        let chunk = Arc::new(std::mem::take(&mut self.chunk));
        for reader in self.tails.readers.load().iter() {
            let wanted = chunk.wanted(&reader.wanted);
            if wanted > 0 && reader.queue.try_send(chunk.clone()).is_err() {
                self.tails.unseen(reader, wanted);
            }
        }
    }
}

impl Tails {
    fn unseen(&self, reader: &Reader, records: u64) {
        reader.unseen.fetch_add(records, Ordering::Relaxed);
        self.counts.unseen.fetch_add(records, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use flow_decoder::{DecoderOptions, Delimiting, ExporterStore, RecordBuffer, StoreLimits};
    use prost::Message as _;

    use super::*;

    /// Keeps flow records in one batch.
    struct Kept(RecordBuffer);

    impl Sink for Kept {
        fn batch(&mut self, stream: Stream) -> Option<&mut RecordBuffer> {
            (stream == Stream::Flow).then_some(&mut self.0)
        }

        fn written(&mut self, _stream: Stream, _len: usize) {}
    }

    /// A NetFlow v9 message: template 300 (source address, octets) with `announce`, and data of it.
    fn v9(announce: bool, source: [u8; 4]) -> Vec<u8> {
        let mut message = vec![0, 9, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0];
        if announce {
            message.extend([0, 0, 0, 16, 1, 44, 0, 2, 0, 8, 0, 4, 0, 1, 0, 4]);
        }
        message.extend([1, 44, 0, 12]);
        message.extend(source);
        message.extend([0, 0, 0, 9]);
        message
    }

    /// A NetFlow v5 message of two records.
    fn v5() -> Vec<u8> {
        let mut message = vec![0, 5, 0, 2];
        message.resize(24 + 2 * 48, 0);
        message
    }

    struct Bench {
        decoder: Decoder,
        collector: Collector,
        kept: Kept,
    }

    impl Bench {
        fn new(tails: &Arc<Tails>) -> Self {
            let store = Arc::new(ExporterStore::new(StoreLimits::default()));
            Self {
                decoder: Decoder::new(store, DecoderOptions::default()),
                collector: Collector::new(tails.clone()),
                kept: Kept(RecordBuffer::new(1 << 16, Delimiting::ListItem)),
            }
        }

        fn send(&mut self, host: u8, payload: &[u8]) {
            let source = SocketAddr::from(([192, 0, 2, host], 2055));
            let zone = ZoneId::default();
            let datagram = Datagram { payload, source, zone, received_ns: 1, truncated: false };
            self.collector.decode(&mut self.decoder, &datagram, &mut self.kept);
        }
    }

    #[test]
    fn a_reader_gets_what_it_wants_with_templates_and_the_output_loses_nothing() {
        let tails = Arc::new(Tails::default());
        let one = Wanted { exporter: Some([192, 0, 2, 1].into()), zone: None };
        let mut reader = tails.subscribe(one).unwrap();
        let mut bench = Bench::new(&tails);
        assert!(bench.collector.is_watched());
        bench.send(1, &v9(true, [10, 0, 0, 1]));
        bench.send(2, &v5());
        bench.send(1, &v5());
        assert!(reader.queue.try_recv().is_err(), "a chunk is collected first");
        bench.collector.hand_over();
        let chunk = reader.queue.try_recv().unwrap();
        let seen: Vec<_> =
            chunk.records().map(|(mark, record)| (mark.template, mark.exporter, record)).collect();
        let templates: Vec<_> = seen.iter().map(|(template, ..)| *template).collect();
        assert_eq!(templates, [300, 0, 0], "v5 has no templates, and 192.0.2.2 is not wanted");
        let record = catchment_proto::flow::v1::FlowRecord::decode(seen[0].2).unwrap();
        assert_eq!((record.src_addr, record.bytes), (vec![10, 0, 0, 1], 9));
        assert_eq!(bench.kept.0.records(), 5, "the output has all");
        let kept: Vec<_> = bench.kept.0.iter().collect();
        assert_eq!(seen[0].2, kept[0], "byte by byte what the output has");
    }

    #[test]
    fn what_does_not_fit_is_counted_and_nobody_waits() {
        let tails = Arc::new(Tails::default());
        let mut slow = tails.subscribe(Wanted::default()).unwrap();
        let mut bench = Bench::new(&tails);
        let chunks = QUEUE as u64 + 5;
        for _ in 0..chunks {
            bench.send(1, &v5());
            bench.collector.hand_over();
        }
        assert_eq!(slow.take_unseen(), 5 * 2);
        assert_eq!(slow.take_unseen(), 0);
        let mut seen = 0;
        while let Ok(chunk) = slow.queue.try_recv() {
            seen += chunk.records().count() as u64;
        }
        assert_eq!((seen + 10, bench.kept.0.records()), (chunks * 2, chunks * 2));
        assert_eq!(tails.counts().unseen, 10);
    }

    #[test]
    fn one_slow_reader_costs_another_nothing() {
        let tails = Arc::new(Tails::default());
        let slow = tails.subscribe(Wanted::default()).unwrap();
        let mut quick = tails.subscribe(Wanted::default()).unwrap();
        let mut bench = Bench::new(&tails);
        let mut seen = 0;
        for _ in 0..50 {
            bench.send(1, &v5());
            bench.collector.hand_over();
            seen += quick.queue.try_recv().map_or(0, |chunk| chunk.records().count());
        }
        assert_eq!((seen, quick.take_unseen()), (100, 0));
        assert_eq!(slow.take_unseen(), 100 - 2 * QUEUE as u64);
    }

    #[test]
    fn readers_are_bounded_and_leave() {
        let tails = Arc::new(Tails::default());
        let collector = Collector::new(tails.clone());
        assert!(!collector.is_watched());
        let mut readers: Vec<_> =
            (0..MOST_READERS).map(|_| tails.subscribe(Wanted::default()).unwrap()).collect();
        assert_eq!(tails.subscribe(Wanted::default()).map(drop), Err(TooMany));
        readers.pop();
        assert!(tails.subscribe(Wanted::default()).is_ok());
        readers.clear();
        assert!(!collector.is_watched());
    }

    #[test]
    fn a_chunk_that_is_old_is_handed_over_between_reads() {
        let tails = Arc::new(Tails::default());
        let mut reader = tails.subscribe(Wanted::default()).unwrap();
        let mut bench = Bench::new(&tails);
        bench.send(1, &v5());
        let now = Instant::now();
        bench.collector.tick(now);
        assert!(reader.queue.try_recv().is_err());
        bench.collector.tick(now + OLD);
        assert!(reader.queue.try_recv().is_ok());
    }
}
