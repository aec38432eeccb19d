//! One worker: reads its sockets, decodes, writes records into batches, counts.
//!
//! Top to bottom the life of a datagram. A panic costs the datagram it happened at and the rest of that read; it is
//! counted, and the worker goes on with the same sockets and batches and a fresh decoder.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use flow_decoder::{Datagram, Decoder, DecoderOptions, Reason, Statistics, ZoneId};
use udp_receiver::{Received, Receiver, ReceiverOptions, Socket, SocketProbe};

use super::listeners::AllowLists;
use super::loads::{Counted, LoadCell, Loads};
use super::numbers::Numbers;
use super::report::{Report, ReportCell, SocketReport};
use super::{Control, Order};
use crate::metrics::Times;
use crate::output::BatchSink;
use crate::tail::{Collector, Tails};

/// How often a worker reports.
const REPORT_EVERY: Duration = Duration::from_millis(200);
/// How often it reports what each exporter sent, and which sequence numbers came.
const REPORT_LOADS_EVERY: Duration = Duration::from_secs(1);
/// A drain ends when nothing has come for this long.
const IDLE: Duration = Duration::from_secs(2);
/// After an error of the sockets themselves, which a next read would meet again.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// How long a read may wait while data waits for its template, which another worker or node may learn.
const WHILE_PENDING: Duration = Duration::from_millis(10);
/// How long it may wait while such data can be decoded.
const WHILE_RELEASED: Duration = Duration::from_millis(1);
/// Sets that had to wait, decoded between two reads, and behind a datagram.
const RELEASED_PER_READ: usize = 256;
const RELEASED_PER_DATAGRAM: usize = 8;

/// What a worker is made of.
pub(super) struct Parts {
    pub(super) index: usize,
    pub(super) sockets: Vec<Socket>,
    /// Zone of each socket's listener.
    pub(super) zones: Vec<ZoneId>,
    pub(super) decoder: Decoder,
    /// What the decoder was made with.
    pub(super) options: Arc<DecoderOptions>,
    pub(super) sink: BatchSink,
    pub(super) tails: Arc<Tails>,
    pub(super) control: Arc<Control>,
    pub(super) report: Arc<ReportCell>,
    pub(super) load: Arc<LoadCell>,
    pub(super) numbers: Arc<Numbers>,
    pub(super) times: Times,
}

/// One worker.
pub(super) struct Worker {
    index: usize,
    receiver: Receiver,
    probes: Vec<SocketProbe>,
    zones: Vec<ZoneId>,
    decoder: Decoder,
    options: Arc<DecoderOptions>,
    sink: BatchSink,
    tail: Collector,
    control: Arc<Control>,
    report: Arc<ReportCell>,
    loads: Loads,
    load: Arc<LoadCell>,
    numbers: Arc<Numbers>,
    times: Times,
    /// Counted by decoders that a panic has ended.
    before: Statistics,
    panics: u64,
    reported: Instant,
    loads_reported: Instant,
    /// When the last datagram came.
    busy: Instant,
    /// Whether a read since the drain began has found nothing. Before that the buffers may still hold what came while
    /// nobody read.
    emptied: bool,
}

impl Worker {
    pub(super) fn new(parts: Parts) -> Self {
        let now = Instant::now();
        Self {
            index: parts.index,
            probes: parts.sockets.iter().map(Socket::probe).collect(),
            receiver: Receiver::new(parts.sockets, ReceiverOptions::default()),
            zones: parts.zones,
            decoder: parts.decoder,
            options: parts.options,
            sink: parts.sink,
            tail: Collector::new(parts.tails),
            control: parts.control,
            report: parts.report,
            loads: Loads::new(),
            load: parts.load,
            numbers: parts.numbers,
            times: parts.times,
            before: Statistics::default(),
            panics: 0,
            reported: now,
            loads_reported: now,
            busy: now,
            emptied: false,
        }
    }

    /// Runs the worker on a thread of its own.
    pub(super) fn spawn(mut self) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name(format!("flow-{}", self.index)).spawn(move || {
            while catch_unwind(AssertUnwindSafe(|| self.run())).is_err() {
                self.recover();
            }
            self.decoder.store().finish_pending();
            while catch_unwind(AssertUnwindSafe(|| self.decoder.decode_released(usize::MAX, &mut self.sink)))
                .is_err()
            {
                self.recover();
            }
            self.finish();
        })
    }

    fn run(&mut self) {
        loop {
            let now = Instant::now();
            if now.duration_since(self.reported) >= REPORT_EVERY {
                self.report(now);
            }
            if now.duration_since(self.loads_reported) >= REPORT_LOADS_EVERY {
                self.report_loads(now);
            }
            self.take_released();
            let order = self.control.order();
            match order {
                Order::Pause => {
                    self.sink.tick(now);
                    thread::park_timeout(REPORT_EVERY);
                    continue;
                }
                Order::Drain { until } if now >= until || self.is_idle(now) => return,
                Order::Read | Order::Drain { .. } => {}
            }
            match self.read(now) {
                Ok(datagrams) => self.emptied = datagrams == 0 && order != Order::Read,
                Err(error) => {
                    tracing::error!(worker = self.index, %error, "cannot read the sockets");
                    thread::park_timeout(AFTER_ERROR);
                }
            }
            let now = Instant::now();
            self.sink.tick(now);
            self.tail.tick(now);
        }
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.emptied && now.duration_since(self.busy) >= IDLE
    }

    /// Decodes a portion of the data whose template has come, and gives up what has waited too long. Also while the source is
    /// paused, and where nothing is read: whoever held a set, any worker takes it up.
    fn take_released(&mut self) {
        if self.decoder.store().has_pending() {
            self.decoder.store().expire_pending(unix_ns());
            self.tail.decode_released(&mut self.decoder, RELEASED_PER_READ, &mut self.sink);
        }
    }

    /// One read of all sockets, each datagram decoded into the open batches; says how many there were.
    fn read(&mut self, now: Instant) -> io::Result<u64> {
        let Self { receiver, decoder, options, sink, tail, zones, loads, control, times, .. } = self;
        let patience = match decoder.store() {
            _ if decoder.has_released() => WHILE_RELEASED,
            store if store.has_pending() => WHILE_PENDING,
            _ => REPORT_EVERY,
        };
        let timeout = sink.due().map_or(patience, |due| due.saturating_duration_since(now)).min(patience);
        let mut begun = None;
        let summary = receiver.receive(timeout, |received| {
            // Not before the wait: what comes after somebody has changed a setting is treated by it.
            let (_, settings) = begun.get_or_insert_with(|| {
                let settings = control.settings.load();
                if !Arc::ptr_eq(options, &settings.decoder) {
                    options.clone_from(&settings.decoder);
                    decoder.set_options((**options).clone());
                }
                (Instant::now(), settings)
            });
            decode(&received, decoder, sink, tail, zones, loads, &settings.allow);
        })?;
        if let Some((began, _)) = begun {
            let ended = Instant::now();
            times.record(ended - began);
            self.busy = ended;
        }
        Ok(summary.datagrams)
    }

    /// Goes on after a panic: what it cost is counted as rejected.
    fn recover(&mut self) {
        self.panics += 1;
        let fresh = self.decoder.fresh();
        self.decoder.finish_sequences();
        self.numbers.collect(self.index, &mut self.decoder);
        let ended = std::mem::replace(&mut self.decoder, fresh);
        self.before.add(ended.statistics());
        self.before.settle_panic(self.receiver.total().abandoned);
        tracing::error!(worker = self.index, panics = self.panics, "worker panicked, its sockets are kept");
    }

    /// Hands over what is open, counts what will not be read any more, and reports for the last time.
    fn finish(&mut self) {
        self.sink.flush();
        self.tail.hand_over();
        if let Err(error) = self.receiver.discard_pending() {
            tracing::error!(worker = self.index, %error, "cannot count what is left in the sockets");
        }
        self.before.reject_unseen(Reason::Shutdown, self.receiver.total().discarded);
        let now = Instant::now();
        self.report(now);
        self.decoder.finish_sequences();
        self.report_loads(now);
    }

    fn report_loads(&mut self, now: Instant) {
        self.load.set(&self.loads);
        self.numbers.collect(self.index, &mut self.decoder);
        self.loads_reported = now;
    }

    fn report(&mut self, now: Instant) {
        let before = self.report.get().sockets;
        let sockets = self.receiver.statistics().iter().zip(&self.probes).enumerate();
        let sockets = sockets.map(|(index, (read, probe))| SocketReport {
            read: *read,
            // A count that cannot be read now is what it was: a counter never goes back.
            kernel_dropped: probe
                .kernel_drops()
                .unwrap_or_else(|_| before.get(index).map_or(0, |socket| socket.kernel_dropped)),
            buffer_usage: probe.buffer_usage().map_or(0.0, |usage| usage.ratio()),
        });
        let mut decoded = self.before;
        decoded.add(self.decoder.statistics());
        self.report.set(Report { sockets: sockets.collect(), decoded, panics: self.panics }, now);
        self.reported = now;
    }
}

#[inline]
fn decode(
    received: &Received<'_>,
    decoder: &mut Decoder,
    sink: &mut BatchSink,
    tail: &mut Collector,
    zones: &[ZoneId],
    loads: &mut Loads,
    allow: &AllowLists,
) {
    #[cfg(test)]
    tests::panic_if_asked(received.payload);
    let exporter = received.source.ip();
    if !allow.allows(received.listener, exporter) {
        decoder.refuse(Reason::NotAllowed, sink);
        return;
    }
    sink.begin_datagram(exporter);
    let zone = zones.get(received.listener).copied().unwrap_or_default();
    let datagram = Datagram {
        payload: received.payload,
        source: received.source,
        zone,
        received_ns: received.received_ns,
        truncated: received.truncated,
    };
    let before = records(decoder);
    // For each datagram: a reader that comes while the worker waits for a read wants what that read brings.
    if tail.is_watched() {
        tail.decode(decoder, &datagram, sink);
    } else {
        decoder.decode(&datagram, sink);
    }
    let counted = Counted {
        bytes: received.payload.len(),
        records: records(decoder) - before,
        received_ns: received.received_ns,
    };
    loads.count(zone, exporter, counted);
    if decoder.has_released() {
        // Before the next datagram, which may change the template again.
        tail.decode_released(decoder, RELEASED_PER_DATAGRAM, sink);
    }
}

/// Records of all streams that a decoder has made.
fn records(decoder: &Decoder) -> u64 {
    decoder.statistics().records.iter().sum()
}

/// The time now, ns since 1970: what receive times are compared with.
fn unix_ns() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use flow_decoder::{Reason, Stream};

    use crate::config::{Config, Output as OutputKind, Sources};
    use crate::flow::{FlowSource, Known};
    use crate::ledger::Ledger;
    use crate::metrics::Metrics;
    use crate::output::{Origin, Output};
    use crate::source::{Source, SourceState};

    const POISON: &[u8] = b"a datagram that finds a defect of the decoder";
    const DEADLINE: Duration = Duration::from_secs(10);

    /// What a defect of the decoder looks like to the worker.
    pub(super) fn panic_if_asked(payload: &[u8]) {
        assert!(payload != POISON, "asked to panic");
    }

    fn config() -> Config {
        let set = ["listeners=127.0.0.1:0", "node.workers=1", "output=discard"].map(str::to_owned).to_vec();
        let loaded = Config::load(&Sources { set, ..Sources::default() }).unwrap();
        assert_eq!(loaded.config.output, OutputKind::Discard);
        loaded.config
    }

    /// A source that reads, its output, and who sends to it.
    fn started() -> (FlowSource, Output, UdpSocket) {
        let config = config();
        let output = Output::open(&config, Origin { node: "test".into(), incarnation: 1 }).unwrap();
        let times = Metrics::new().batch_times("flow");
        let known = Known::nothing(&config);
        let source = FlowSource::open(&config, &known, &output, &Arc::default(), &times).unwrap();
        source.start().unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(source.listeners()[0].address).unwrap();
        (source, output, sender)
    }

    fn wait_until(mut done: impl FnMut() -> bool) {
        let began = Instant::now();
        while !done() {
            assert!(began.elapsed() < DEADLINE, "it never came true");
            std::thread::yield_now();
        }
    }

    /// A NetFlow v5 datagram of one record.
    fn v5() -> Vec<u8> {
        let mut datagram = vec![0, 5, 0, 1];
        datagram.resize(24 + 48, 0);
        datagram
    }

    /// IPFIX: a template of a list of records, and a record whose list has one by a template that never comes.
    const LIST: &[u8] = &[
        0, 10, 0, 41, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, // header
        0, 2, 0, 12, 1, 0, 0, 1, 1, 36, 255, 255, // template 256: subTemplateList
        1, 0, 0, 13, 8, 3, 1, 44, 0, 0, 0, 0, 9, // a list of records by template 300
    ];

    #[test]
    fn what_lacks_only_a_list_is_decoded_before_the_end() {
        let (source, _output, sender) = started();
        sender.send(LIST).unwrap();
        wait_until(|| source.statistics().decoded.sets.pending == 1);
        source.drain(Instant::now() + DEADLINE);
        let decoded = source.statistics().decoded;
        assert_eq!(
            (decoded.sets.decoded, decoded.sets.pending, decoded.records[Stream::Flow as usize]),
            (1, 0, 1)
        );
        assert_eq!(decoded.malformed[Reason::ListTemplate], 1);
    }

    /// A source that is paused while datagrams wait in its buffer; the number is that of all that were sent.
    fn paused_with_datagrams() -> (FlowSource, u64) {
        let (source, _output, sender) = started();
        sender.send(&v5()).unwrap();
        wait_until(|| source.statistics().received() == 1);
        source.pause();
        // A read that had begun before the pause may still take some.
        let mut sent = 1;
        wait_until(|| {
            sender.send(&v5()).unwrap();
            sent += 1;
            // Few enough until the next report for the buffer to hold.
            std::thread::park_timeout(super::REPORT_EVERY / 20);
            source.statistics().inputs[0].buffer_usage > 0.0
        });
        (source, sent)
    }

    #[test]
    fn a_panic_is_counted_and_the_sockets_go_on() {
        let (source, output, sender) = started();

        sender.send(&v5()).unwrap();
        wait_until(|| source.statistics().decoded.datagrams.decoded == 1);
        sender.send(POISON).unwrap();
        wait_until(|| source.statistics().panics == 1);
        sender.send(&v5()).unwrap();
        wait_until(|| source.statistics().decoded.datagrams.decoded == 2);
        source.drain(Instant::now());
        output.close(Instant::now());

        let statistics = source.statistics();
        assert_eq!(statistics.decoded.datagrams.rejected[Reason::Panicked], 1);
        assert_eq!(statistics.decoded.records[Stream::Flow as usize], 2);
        let ledger = Ledger::new(statistics.received(), 0, &statistics.decoded, output.streams());
        assert_eq!(ledger.check(), Ok(()));
        assert_eq!(source.health().state, SourceState::Ended);
    }

    #[test]
    fn a_paused_source_reads_nothing_and_loses_nothing_that_fits() {
        let (source, sent) = paused_with_datagrams();
        assert_eq!(source.health().state, SourceState::Paused);
        source.resume();
        wait_until(|| source.statistics().received() == sent);
        assert_eq!(source.statistics().kernel_dropped(), 0);
        source.drain(Instant::now() + DEADLINE);
    }

    #[test]
    fn what_has_waited_for_longer_than_a_drain_idles_is_read() {
        let (source, sent) = paused_with_datagrams();
        let began = Instant::now();
        wait_until(|| {
            std::thread::park_timeout(super::REPORT_EVERY);
            began.elapsed() > super::IDLE
        });
        source.drain(Instant::now() + DEADLINE);
        assert_eq!(source.statistics().decoded.datagrams.decoded, sent);
    }

    #[test]
    fn what_is_not_read_by_the_deadline_is_counted() {
        let (source, sent) = paused_with_datagrams();
        source.drain(Instant::now());
        let statistics = source.statistics();
        assert_eq!(statistics.received(), sent);
        assert!(statistics.decoded.check());
        let datagrams = &statistics.decoded.datagrams;
        assert!(datagrams.rejected[Reason::Shutdown] > 0);
        assert_eq!(datagrams.decoded + datagrams.rejected[Reason::Shutdown], sent);
    }

    #[test]
    fn a_source_says_that_it_drains_until_it_has_ended() {
        let (source, _) = paused_with_datagrams();
        std::thread::scope(|scope| {
            scope.spawn(|| source.drain(Instant::now() + DEADLINE));
            wait_until(|| source.health().state == SourceState::Draining);
        });
        assert_eq!(source.health().state, SourceState::Ended);
    }
}
