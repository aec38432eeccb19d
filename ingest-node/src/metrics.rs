//! All metrics of the node: their names, labels and meaning in one table, and how they are drawn from a [`Status`].
//!
//! Nothing on the data path touches a metric: a scrape draws the counters from the same snapshot as the ledger. Only the
//! processing time is recorded as it happens, once a read. docs/metrics.md is this table; a test holds it to that.

use std::fmt::Write as _;
use std::time::Duration;

use catchment_sequence::Cause;
use flow_decoder::{Protocol, Reason, Stream};
use metrics::{Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::cluster::Counts;
use crate::ledger::DropReason;
use crate::source::ExporterLoad;
use crate::status::Status;

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process runs.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets.
    Histogram,
}

impl Kind {
    /// The word for it in Prometheus' text format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Its labels; their values are closed sets, or the configured listeners, or bounded in number.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($name:ident = $kind:ident $text:literal [$($label:literal),*] $help:literal;)*) => {
        $(const $name: Metric = Metric { name: $text, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*
        /// All metrics, in the order of the documentation.
        pub const ALL: &[Metric] = &[$($name),*];
    };
}

metrics! {
    BUILD_INFO = Gauge "catchment_build_info" ["version"] "1; the label says which build runs.";
    START_TIME = Gauge "catchment_start_time_seconds" [] "When the process started, seconds since 1970.";
    READY = Gauge "catchment_ready" [] "1 while `/readyz` says ready, else 0.";
    DATAGRAMS_RECEIVED = Counter "catchment_datagrams_received_total" ["listener"] "Datagrams read from the sockets.";
    BYTES_RECEIVED = Counter "catchment_received_bytes_total" ["listener"] "UDP payload octets of these datagrams.";
    READS = Counter "catchment_socket_reads_total" ["listener"] "System calls that read datagrams; datagrams per read says how well reading in batches works.";
    TRAINS = Counter "catchment_socket_trains_total" ["listener"] "Messages that the kernel had put together from several datagrams (UDP_GRO).";
    KERNEL_DROPPED = Counter "catchment_kernel_dropped_total" ["listener"] "Datagrams that the kernel dropped for want of receive buffer. A lower bound while `udp.gro` is on: a train counts once.";
    BUFFER_USAGE = Gauge "catchment_source_buffer_usage_ratio" ["source", "listener"] "How full the fullest receive buffer is, 0 to 1.";
    RECEIVE_BUFFER = Gauge "catchment_receive_buffer_bytes" ["listener"] "Receive buffer that each socket was granted.";
    PROCESSING = Histogram "catchment_source_processing_seconds" ["source"] "Time from the first datagram of a read to the last record in its batch.";
    SOURCE_DROPPED = Counter "catchment_source_dropped_total" ["source", "reason"] "Datagrams of which nothing was decoded, by reason; `kernel` are those of `catchment_kernel_dropped_total`.";
    DATAGRAMS_DECODED = Counter "catchment_datagrams_decoded_total" ["extent"] "Datagrams decoded: `whole`, or `partly` where a set, template or sample was not.";
    DATAGRAMS_BY_PROTOCOL = Counter "catchment_datagrams_by_protocol_total" ["protocol"] "Datagrams by the protocol that their version word names.";
    MALFORMED = Counter "catchment_malformed_total" ["reason"] "Everything that was wrong with datagrams, each occurrence: datagrams, sets, templates, samples.";
    SETS_SEEN = Counter "catchment_sets_seen_total" [] "Data sets (NetFlow v9, IPFIX) found in datagrams.";
    SETS_DECODED = Counter "catchment_sets_decoded_total" [] "Data sets decoded.";
    SETS_REJECTED = Counter "catchment_sets_rejected_total" ["reason"] "Data sets given up, by reason.";
    SETS_PENDING = Gauge "catchment_sets_pending" [] "Data sets that wait for their template, or for that of a list in them.";
    PENDING_BYTES = Gauge "catchment_pending_bytes" [] "Memory that these take; bounded by `pending.bytes`.";
    SETS_HELD = Counter "catchment_sets_held_total" [] "Data sets that had to wait for their template, or for that of a list in them.";
    SETS_RELEASED = Counter "catchment_sets_released_total" [] "Of these, those taken up again because their template came.";
    SETS_EXPIRED = Counter "catchment_sets_expired_total" [] "Of these, those given up because they waited for longer than `pending.age`.";
    SETS_EVICTED = Counter "catchment_sets_evicted_total" [] "Of these, those given up for lack of room.";
    TEMPLATES = Gauge "catchment_templates" [] "Templates known.";
    TEMPLATE_SCOPES = Gauge "catchment_template_scopes" [] "Exporters and domains of which a template is known.";
    TEMPLATE_SCOPES_EVICTED = Counter "catchment_template_scopes_evicted_total" [] "Exporters and domains that were forgotten to make room for others.";
    TEMPLATES_RECEIVED = Counter "catchment_templates_received_total" [] "Template records read, refreshes included.";
    TEMPLATES_CHANGED = Counter "catchment_templates_changed_total" [] "Template records that were new or had another layout than before.";
    TEMPLATES_WITHDRAWN = Counter "catchment_templates_withdrawn_total" [] "Withdrawals over UDP, which are ignored (RFC 7011 8.4).";
    TEMPLATE_CONFLICTS = Counter "catchment_template_conflicts_total" [] "Data sets of a port that announced no template, where other ports disagree on it.";
    OPTIONS_LEFT_OUT = Counter "catchment_options_left_out_total" [] "Names and sampling rates of options data for which their domain had no room, each time that they came.";
    NAMES_EVICTED = Counter "catchment_names_evicted_total" [] "Names of options data that were not heard for an hour and made room for others of their domain.";
    SEQUENCE_RECEIVED = Counter "catchment_sequence_numbers_received_total" [] "Sequence numbers received, each once, over all exporters (datagrams, flows, data records or samples, as the protocol counts). Of a node that works alone, like all `catchment_sequence_...`: a cluster's accounts are the coordinator's.";
    SEQUENCE_LOST = Counter "catchment_sequence_numbers_lost_total" ["cause"] "Sequence numbers that never came: lost `upstream`, `here`, or `unknown`.";
    SEQUENCE_TAKEN_BACK = Counter "catchment_sequence_numbers_taken_back_total" ["cause"] "Of these, those that came after all.";
    SEQUENCE_UNTRACKED = Counter "catchment_sequence_untracked_total" [] "Datagrams and samples whose sequence number found no room among those that are remembered: what their exporters lost is not known.";
    SEQUENCE_REORDERED = Counter "catchment_sequence_numbers_reordered_total" [] "Sequence numbers that came after higher ones.";
    SEQUENCE_REPEATED = Counter "catchment_sequence_numbers_repeated_total" [] "Sequence numbers that came again.";
    SEQUENCE_RESETS = Counter "catchment_sequence_resets_total" [] "Restarts of exporters' counters.";
    RECORDS_DECODED = Counter "catchment_records_decoded_total" ["stream"] "Records decoded, also of streams whose output is off.";
    RECORDS_PRODUCED = Counter "catchment_records_produced_total" ["stream"] "Records handed to the output.";
    RECORDS_DELIVERED = Counter "catchment_records_delivered_total" ["stream"] "Records that the output's destination has taken.";
    RECORDS_DROPPED = Counter "catchment_records_dropped_total" ["stream", "reason"] "Records given up, by reason.";
    RECORDS_IN_FLIGHT = Gauge "catchment_records_in_flight" ["stream"] "Records handed to the output and not settled.";
    OUTPUT_UP = Gauge "catchment_output_up" [] "1 while the output delivers, else 0.";
    PRODUCERS_REPLACED = Counter "catchment_kafka_producers_replaced_total" [] "Kafka producers made anew after a fatal error.";
    PANICS = Counter "catchment_worker_panics_total" ["source"] "Panics of worker threads; each cost the datagrams of one read.";
    STATE_SAVES = Counter "catchment_state_saves_total" ["outcome"] "Files of what is known of exporters written to `state.dir` (`done`), or not (`failed`).";
    STATE_SAVED = Gauge "catchment_state_saved_time_seconds" [] "When the last one was written, seconds since 1970; 0: none yet.";
    GRPC_CALLS = Counter "catchment_grpc_calls_total" ["method", "outcome"] "Calls of `NodeControl`: `answered`, or `refused` for their arguments or because of what the node is doing.";
    TAIL_READERS = Gauge "catchment_tail_readers" [] "Who tails records now.";
    TAIL_RECORDS = Counter "catchment_tail_records_total" [] "Records sent to readers of `Tail`.";
    TAIL_LOST = Counter "catchment_tail_lost_total" ["reason"] "Records that readers of `Tail` lost, and nobody else: `slow` passed the filter and were not read in time, `unseen` came faster than the filter may look.";
    EXPORTER_DATAGRAMS = Counter "catchment_exporter_datagrams_total" ["zone", "exporter"] "Datagrams of the exporters with the most records; as many exporters as `metrics.top_exporters` says.";
    EXPORTER_BYTES = Counter "catchment_exporter_bytes_total" ["zone", "exporter"] "UDP payload octets of these exporters.";
    EXPORTER_RECORDS = Counter "catchment_exporter_records_total" ["zone", "exporter"] "Records of all streams decoded from these exporters.";
    COORDINATOR_CONNECTED = Gauge "catchment_coordinator_connected" [] "1 while there is a session with a coordinator, else 0; 0 as well where the node is to work alone.";
    COORDINATOR_SESSIONS = Counter "catchment_coordinator_sessions_total" ["event"] "Sessions with coordinators: `begun`, `lost`, `refused`; `unreachable` are tries in which no coordinator answered.";
    COORDINATOR_COMMANDS = Counter "catchment_coordinator_commands_total" ["outcome"] "Commands of the cluster: `done` or `refused`.";
    SYNC_SNAPSHOT = Gauge "catchment_sync_snapshot_time_seconds" [] "When the last snapshot of the cluster's state was complete, seconds since 1970; 0: none yet.";
    SYNC_SCOPES = Counter "catchment_sync_scopes_total" ["event"] "Exporters' domains told to the cluster (`sent`, of which `refused` came back), put off because their exporter or the node says too much (`limited`), told by the cluster (`received`), and of these left out because no listener is in their zone (`other_zone`).";
    SYNC_TEMPLATES = Counter "catchment_sync_templates_total" ["event"] "Templates told to the cluster (`sent`), and told by it: new here or with another layout (`learnt`), older than what is known (`older`), announced differently by several ports or twice at one moment (`conflict`).";
    SYNC_MESSAGES = Counter "catchment_sync_messages_total" [] "Messages with templates that went to the cluster.";
    SYNC_INVALID = Counter "catchment_sync_invalid_total" [] "What the cluster told and cannot be: domains, templates, options.";
    SYNC_WANTED = Counter "catchment_sync_wanted_total" ["event"] "Templates that data here waits for, each time they are looked for in the cluster (`asked`), and templates that others look for and this node knows (`known`).";
    SYNC_UPLINK = Histogram "catchment_sync_uplink_seconds" [] "Time from a change to the message that tells the cluster of it.";
    SEQUENCE_REPORTS_GIVEN_UP = Counter "catchment_sequence_reports_given_up_total" [] "Reports of exporters' sequences that no coordinator took in time.";
    SPOOL_BYTES = Gauge "catchment_spool_bytes" [] "Octets on disk. 0: this release has no spool.";
    SPOOL_RECORDS = Gauge "catchment_spool_records" ["stream"] "Records on disk. 0: this release has no spool.";
}

/// Upper bounds of the processing histogram, seconds.
const PROCESSING_BUCKETS: &[f64] =
    &[0.000_01, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 1.0];

/// Upper bounds of the uplink's histogram, seconds.
const UPLINK_BUCKETS: &[f64] = &[0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 1.0, 10.0];

/// The node's metrics.
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

/// Records times; cheap to clone.
#[derive(Clone, Debug)]
pub struct Times(Histogram);

impl Times {
    /// Notes a time.
    pub fn record(&self, time: Duration) {
        self.0.record(time.as_secs_f64());
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics with nothing counted.
    ///
    /// # Panics
    /// Never: the buckets are a constant that is not empty.
    pub fn new() -> Self {
        let full = |metric: Metric| Matcher::Full(metric.name.to_owned());
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(full(PROCESSING), PROCESSING_BUCKETS)
            .and_then(|builder| builder.set_buckets_for_metric(full(SYNC_UPLINK), UPLINK_BUCKETS));
        let recorder = builder.expect("the lists of buckets are not empty").build_recorder();
        let handle = recorder.handle();
        for metric in ALL.iter().filter(|metric| !metric.labels.contains(&"exporter")) {
            let (name, help) = (KeyName::from(metric.name), SharedString::const_str(metric.help));
            match metric.kind {
                Kind::Counter => recorder.describe_counter(name, None, help),
                Kind::Gauge => recorder.describe_gauge(name, None, help),
                Kind::Histogram => recorder.describe_histogram(name, Some(Unit::Seconds), help),
            }
        }
        Self { recorder, handle }
    }

    /// The processing-time histogram of a source.
    pub fn batch_times(&self, source: &'static str) -> Times {
        Times(self.recorder.register_histogram(&key(PROCESSING, [source.into()]), &METADATA))
    }

    /// The histogram of times that news for the cluster take.
    pub fn uplink_times(&self) -> Times {
        Times(self.recorder.register_histogram(&key(SYNC_UPLINK, []), &METADATA))
    }

    /// Moves recorded observations into their buckets. To be called every few seconds: without it they pile up.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// Prometheus' text format.
    pub fn render(&self, status: &Status) -> String {
        self.draw(status);
        let mut text = self.handle.render();
        exporters(&mut text, &status.exporters);
        text
    }

    fn draw(&self, status: &Status) {
        self.gauge(BUILD_INFO, [status.version.into()], 1.0);
        self.gauge(START_TIME, [], status.started_unix_seconds);
        self.gauge(READY, [], f64::from(u8::from(status.health.is_ready())));
        self.gauge(OUTPUT_UP, [], f64::from(u8::from(status.output.is_ready())));
        self.counter(PRODUCERS_REPLACED, [], status.replaced_producers);
        self.counter(STATE_SAVES, ["done".into()], status.saves.done);
        self.counter(STATE_SAVES, ["failed".into()], status.saves.failed);
        self.gauge(STATE_SAVED, [], status.saves.last_seconds);
        let sequences = &status.sequences;
        self.counter(SEQUENCE_RECEIVED, [], sequences.received);
        for (at, cause) in Cause::ALL.into_iter().enumerate() {
            self.counter(SEQUENCE_LOST, [cause.as_str().into()], sequences.lost[at]);
            self.counter(SEQUENCE_TAKEN_BACK, [cause.as_str().into()], sequences.taken_back[at]);
        }
        self.counter(SEQUENCE_REORDERED, [], sequences.reordered);
        self.counter(SEQUENCE_REPEATED, [], sequences.repeated);
        self.counter(SEQUENCE_RESETS, [], sequences.resets);
        self.draw_cluster(&status.cluster);
        self.gauge(SPOOL_BYTES, [], 0.0);
        for calls in &status.calls {
            self.counter(GRPC_CALLS, [calls.method.into(), "answered".into()], calls.answered);
            self.counter(GRPC_CALLS, [calls.method.into(), "refused".into()], calls.refused);
        }
        self.gauge(TAIL_READERS, [], status.tail.readers as f64);
        self.counter(TAIL_RECORDS, [], status.tail.records);
        self.counter(TAIL_LOST, ["slow".into()], status.tail.lost);
        self.counter(TAIL_LOST, ["unseen".into()], status.tail.unseen);
        self.draw_sources(status);
        self.draw_ledger(status);
    }

    fn draw_cluster(&self, counts: &Counts) {
        self.gauge(COORDINATOR_CONNECTED, [], f64::from(u8::from(counts.connected)));
        self.gauge(SYNC_SNAPSHOT, [], counts.snapshot_seconds);
        let by_label = [
            (COORDINATOR_SESSIONS, "begun", counts.sessions),
            (COORDINATOR_SESSIONS, "lost", counts.sessions_lost),
            (COORDINATOR_SESSIONS, "refused", counts.sessions_refused),
            (COORDINATOR_SESSIONS, "unreachable", counts.unreachable),
            (COORDINATOR_COMMANDS, "done", counts.commands - counts.commands_refused),
            (COORDINATOR_COMMANDS, "refused", counts.commands_refused),
            (SYNC_SCOPES, "sent", counts.scopes_sent),
            (SYNC_SCOPES, "refused", counts.scopes_refused),
            (SYNC_SCOPES, "limited", counts.scopes_limited),
            (SYNC_SCOPES, "received", counts.scopes_received),
            (SYNC_SCOPES, "other_zone", counts.other_zones),
            (SYNC_TEMPLATES, "sent", counts.templates_sent),
            (SYNC_TEMPLATES, "learnt", counts.templates_learnt),
            (SYNC_TEMPLATES, "older", counts.templates_older),
            (SYNC_TEMPLATES, "conflict", counts.templates_conflicting),
            (SYNC_WANTED, "asked", counts.wanted_sent),
            (SYNC_WANTED, "known", counts.wanted_known),
        ];
        for (metric, label, count) in by_label {
            self.counter(metric, [label.into()], count);
        }
        self.counter(SYNC_MESSAGES, [], counts.messages_sent);
        self.counter(SYNC_INVALID, [], counts.parts_refused);
        self.counter(SEQUENCE_REPORTS_GIVEN_UP, [], counts.reports_given_up);
    }

    fn draw_sources(&self, status: &Status) {
        for source in &status.sources {
            let name = SharedString::const_str(source.name);
            for input in &source.statistics.inputs {
                let listener = SharedString::from(input.address.clone());
                self.counter(DATAGRAMS_RECEIVED, [listener.clone()], input.datagrams);
                self.counter(BYTES_RECEIVED, [listener.clone()], input.bytes);
                self.counter(READS, [listener.clone()], input.reads);
                self.counter(TRAINS, [listener.clone()], input.trains);
                self.counter(KERNEL_DROPPED, [listener.clone()], input.kernel_dropped);
                self.gauge(RECEIVE_BUFFER, [listener.clone()], input.receive_buffer as f64);
                self.gauge(BUFFER_USAGE, [name.clone(), listener], input.buffer_usage);
            }
            let statistics = &source.statistics;
            let decoded = &statistics.decoded;
            self.counter(SOURCE_DROPPED, [name.clone(), "kernel".into()], statistics.kernel_dropped());
            for &reason in Reason::ALL {
                let label = SharedString::const_str(reason.label());
                self.counter(
                    SOURCE_DROPPED,
                    [name.clone(), label.clone()],
                    decoded.datagrams.rejected[reason],
                );
                self.counter(MALFORMED, [label.clone()], decoded.malformed[reason]);
                self.counter(SETS_REJECTED, [label], decoded.sets.rejected[reason]);
            }
            for protocol in Protocol::ALL {
                let count = decoded.protocols[protocol as usize];
                self.counter(DATAGRAMS_BY_PROTOCOL, [protocol.label().into()], count);
            }
            for stream in Stream::ALL {
                self.counter(RECORDS_DECODED, [stream.label().into()], decoded.records[stream as usize]);
            }
            self.gauge(PENDING_BYTES, [], statistics.pending_bytes as f64);
            self.gauge(TEMPLATES, [], statistics.templates as f64);
            self.gauge(TEMPLATE_SCOPES, [], statistics.template_scopes as f64);
            self.counter(TEMPLATE_SCOPES_EVICTED, [], statistics.template_scopes_evicted);
            self.counter(TEMPLATES_RECEIVED, [], decoded.templates.received);
            self.counter(TEMPLATES_CHANGED, [], decoded.templates.changed);
            self.counter(TEMPLATES_WITHDRAWN, [], decoded.templates.withdrawn);
            self.counter(TEMPLATE_CONFLICTS, [], decoded.templates.conflicts);
            self.counter(OPTIONS_LEFT_OUT, [], decoded.options_left_out);
            self.counter(NAMES_EVICTED, [], statistics.names_evicted);
            self.counter(SEQUENCE_UNTRACKED, [], decoded.sequences_untracked);
            self.counter(PANICS, [name], statistics.panics);
        }
    }

    fn draw_ledger(&self, status: &Status) {
        let (datagrams, sets) = (&status.ledger.datagrams, &status.ledger.sets);
        self.counter(DATAGRAMS_DECODED, ["whole".into()], datagrams.decoded);
        self.counter(DATAGRAMS_DECODED, ["partly".into()], datagrams.partly_decoded);
        self.counter(SETS_SEEN, [], sets.seen);
        self.counter(SETS_DECODED, [], sets.decoded);
        self.gauge(SETS_PENDING, [], sets.pending as f64);
        self.counter(SETS_HELD, [], sets.held);
        self.counter(SETS_RELEASED, [], sets.released);
        self.counter(SETS_EXPIRED, [], sets.expired);
        self.counter(SETS_EVICTED, [], sets.evicted);
        for stream in Stream::ALL {
            let account = status.ledger.stream(stream);
            let label = SharedString::const_str(stream.label());
            self.counter(RECORDS_PRODUCED, [label.clone()], account.produced);
            self.counter(RECORDS_DELIVERED, [label.clone()], account.delivered);
            self.gauge(RECORDS_IN_FLIGHT, [label.clone()], account.in_flight as f64);
            self.gauge(SPOOL_RECORDS, [label.clone()], account.on_disk as f64);
            for reason in DropReason::ALL {
                let labels = [label.clone(), reason.label().into()];
                self.counter(RECORDS_DROPPED, labels, account.dropped[reason]);
            }
        }
    }

    fn counter<const N: usize>(&self, metric: Metric, labels: [SharedString; N], value: u64) {
        self.recorder.register_counter(&key(metric, labels), &METADATA).absolute(value);
    }

    fn gauge<const N: usize>(&self, metric: Metric, labels: [SharedString; N], value: f64) {
        self.recorder.register_gauge(&key(metric, labels), &METADATA).set(value);
    }
}

/// Adds the series of exporters. The recorder would keep each for as long as the process runs; these come and go, so that
/// there are never more than asked for.
fn exporters(text: &mut String, exporters: &[ExporterLoad]) {
    let mut series = |metric: Metric, value: fn(&ExporterLoad) -> u64| {
        let (name, help) = (metric.name, metric.help);
        // Writing into a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", metric.kind.as_str());
        for load in exporters {
            // Neither a zone nor an address has a character that would have to be quoted.
            let ExporterLoad { zone, exporter, .. } = load;
            let _ = writeln!(text, "{name}{{zone=\"{zone}\",exporter=\"{exporter}\"}} {}", value(load));
        }
        text.push('\n');
    };
    series(EXPORTER_DATAGRAMS, |load| load.datagrams);
    series(EXPORTER_BYTES, |load| load.bytes);
    series(EXPORTER_RECORDS, |load| load.records);
}

static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// A series: the metric's label names with these values.
fn key<const N: usize>(metric: Metric, values: [SharedString; N]) -> Key {
    debug_assert_eq!(metric.labels.len(), N, "{} has {:?}", metric.name, metric.labels);
    let labels: Vec<_> =
        metric.labels.iter().zip(values).map(|(name, value)| Label::new(*name, value)).collect();
    Key::from_parts(metric.name, labels)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::control::Calls;

    /// docs/metrics.md, generated.
    fn page() -> String {
        let mut page = String::from(
            "# Metrics\n\nServed at `/metrics` of `node.http`, in Prometheus' text format. This page is made from \
             `ingest-node/src/metrics.rs`;\n`CATCHMENT_WRITE_DOCS=1 cargo test -p ingest-node metrics` writes it anew.\n\n\
             | metric | type | labels | meaning |\n| --- | --- | --- | --- |\n",
        );
        for metric in ALL {
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let (kind, labels) = (metric.kind.as_str(), labels.join(", "));
            page.push_str(&format!("| `{}` | {kind} | {labels} | {} |\n", metric.name, metric.help));
        }
        page.push_str("\nLabel values are closed sets, but for `listener` (the configured addresses), `zone` and `exporter`\n(bounded by `metrics.top_exporters`):\n\n");
        let reasons: Vec<_> = Reason::ALL.iter().map(|reason| format!("`{}`", reason.label())).collect();
        let drops: Vec<_> = DropReason::ALL.iter().map(|reason| format!("`{}`", reason.label())).collect();
        let streams: Vec<_> = Stream::ALL.iter().map(|stream| format!("`{}`", stream.label())).collect();
        let protocols: Vec<_> =
            Protocol::ALL.iter().map(|protocol| format!("`{}`", protocol.label())).collect();
        page.push_str(&format!("- `stream`: {}\n", streams.join(", ")));
        let methods: Vec<_> =
            Calls::default().counts().iter().map(|calls| format!("`{}`", calls.method)).collect();
        page.push_str(&format!("- `method`: {}\n", methods.join(", ")));
        page.push_str(&format!("- `protocol`: {}\n", protocols.join(", ")));
        page.push_str(&format!(
            "- `reason` of datagrams, sets and `catchment_malformed_total`: {}\n",
            reasons.join(", ")
        ));
        page.push_str(&format!("- `reason` of `catchment_records_dropped_total`: {}\n", drops.join(", ")));
        page
    }

    #[test]
    fn the_documentation_is_this_table() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
        if std::env::var_os("CATCHMENT_WRITE_DOCS").is_some() {
            std::fs::write(&path, page()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(written == page(), "docs/metrics.md is not what the code says: see its first lines");
    }

    #[test]
    fn a_scrape_has_every_metric_and_no_other() {
        let metrics = Metrics::new();
        metrics.batch_times("flow").record(Duration::from_micros(7));
        metrics.uplink_times().record(Duration::from_millis(2));
        let text = metrics.render(&Status::example());
        let served: HashSet<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let defined: Vec<_> =
            ALL.iter().map(|metric| format!("{} {}", metric.name, metric.kind.as_str())).collect();
        assert_eq!(served, defined.iter().map(String::as_str).collect());
        assert!(text.contains("catchment_datagrams_received_total{listener=\"[::]:2055\"} 7"), "{text}");
        assert!(
            text.contains("catchment_exporter_records_total{zone=\"\",exporter=\"192.0.2.1\"} 14\n"),
            "{text}"
        );
        assert!(
            text.contains("catchment_source_processing_seconds_bucket{source=\"flow\",le=\"0.00001\"} 1"),
            "{text}"
        );
    }
}
