//! Metrics as a table: names, labels and meaning in one place, from which `/metrics` and the page in `docs/` are made.
//!
//! Nothing is counted here. A scrape draws the table's metrics from a snapshot of the process, so that the sums fit.

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder as _, SharedString};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process runs.
    Counter,
    /// Goes up and down.
    Gauge,
}

impl Kind {
    /// The word for it in Prometheus' text format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
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
    /// Its labels; their values are closed sets.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// Declares metrics as constants, and all of them as `ALL`:
/// `NAME = Counter "catchment_name_total" ["label"] "What it says.";`
#[macro_export]
macro_rules! metrics_table {
    ($($name:ident = $kind:ident $text:literal [$($label:literal),*] $help:literal;)*) => {
        $(const $name: $crate::metrics::Metric = $crate::metrics::Metric {
            name: $text,
            kind: $crate::metrics::Kind::$kind,
            labels: &[$($label),*],
            help: $help,
        };)*
        /// All metrics, in the order of the documentation.
        pub const ALL: &[$crate::metrics::Metric] = &[$($name),*];
    };
}

/// The series of a process.
pub struct Registry {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Registry {
    /// Series of the metrics of `table`, none of them drawn yet.
    pub fn new(table: &[Metric]) -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        for metric in table {
            let (name, help) = (KeyName::from(metric.name), SharedString::const_str(metric.help));
            match metric.kind {
                Kind::Counter => recorder.describe_counter(name, None, help),
                Kind::Gauge => recorder.describe_gauge(name, None, help),
            }
        }
        Self { recorder, handle }
    }

    /// Draws a counter.
    pub fn counter<const N: usize>(&self, metric: Metric, labels: [SharedString; N], value: u64) {
        self.recorder.register_counter(&key(metric, labels), &METADATA).absolute(value);
    }

    /// Draws a gauge.
    pub fn gauge<const N: usize>(&self, metric: Metric, labels: [SharedString; N], value: f64) {
        self.recorder.register_gauge(&key(metric, labels), &METADATA).set(value);
    }

    /// What was drawn, in Prometheus' text format.
    pub fn render(&self) -> String {
        self.handle.render()
    }
}

static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// A series: the metric's label names with these values.
fn key<const N: usize>(metric: Metric, values: [SharedString; N]) -> Key {
    debug_assert_eq!(metric.labels.len(), N, "{} has {:?}", metric.name, metric.labels);
    let labels: Vec<_> =
        metric.labels.iter().zip(values).map(|(name, value)| Label::new(*name, value)).collect();
    Key::from_parts(metric.name, labels)
}

/// The table as a table of Markdown.
pub fn page(table: &[Metric]) -> String {
    let mut page = String::from("| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n");
    for metric in table {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let (kind, labels) = (metric.kind.as_str(), labels.join(", "));
        page.push_str(&format!("| `{}` | {kind} | {labels} | {} |\n", metric.name, metric.help));
    }
    page
}
