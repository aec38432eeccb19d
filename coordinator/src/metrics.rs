//! All metrics of the coordinator: their names, labels and meaning in one table, and how they are drawn from a [`Status`].

use catchment_serving::metrics::Registry;
use catchment_serving::metrics_table;

use crate::replica::Status;

metrics_table! {
    BUILD_INFO = Gauge "catchment_build_info" ["version"] "1; the label says which build runs.";
    START_TIME = Gauge "catchment_start_time_seconds" [] "When the process started, seconds since 1970.";
    READY = Gauge "catchment_ready" [] "1 while `/readyz` says ready, else 0.";
    DEGRADED = Gauge "catchment_degraded_parts" [] "Parts that the coordinator misses although it works; `/health` names them.";
    CONNECTIONS = Counter "catchment_grpc_connections_total" [] "Connections to the gRPC port that could speak.";
    CONNECTIONS_REFUSED = Counter "catchment_grpc_connections_refused_total" [] "Connections to the gRPC port whose TLS handshake failed or took too long.";
}

/// The coordinator's metrics.
#[derive(Debug)]
pub struct Metrics(Registry);

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics with nothing drawn.
    pub fn new() -> Self {
        Self(Registry::new(ALL))
    }

    /// Prometheus' text format.
    pub fn render(&self, status: &Status) -> String {
        let registry = &self.0;
        registry.gauge(BUILD_INFO, [status.version.into()], 1.0);
        registry.gauge(START_TIME, [], status.started_unix_seconds);
        registry.gauge(READY, [], f64::from(u8::from(status.health.is_ready())));
        registry.gauge(DEGRADED, [], status.health.degraded.len() as f64);
        registry.counter(CONNECTIONS, [], status.connections.accepted);
        registry.counter(CONNECTIONS_REFUSED, [], status.connections.refused);
        registry.render()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::Config;
    use crate::replica::Replica;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/coordinator-metrics.md");

    #[test]
    fn the_documentation_is_this_table() {
        let page = format!(
            "# Metrics of the coordinator\n\nServed at `/metrics` of `http`, in Prometheus' text format. This page is made \
             from `coordinator/src/metrics.rs`;\n`UPDATE_DOCS=1 cargo test -p coordinator metrics` writes it anew.\n\n{}",
            catchment_serving::metrics::page(ALL)
        );
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(PAGE, &page).expect("writable page");
        }
        let written = std::fs::read_to_string(PAGE).expect("docs/coordinator-metrics.md");
        assert!(
            written == page,
            "docs/coordinator-metrics.md is not what the code says: see its first lines"
        );
    }

    #[test]
    fn a_scrape_has_every_metric_and_no_other() {
        let replica = Replica::new(&Config::default(), std::sync::Arc::default());
        let text = replica.metrics().render(&replica.status());
        let served: BTreeSet<String> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(str::to_owned).collect();
        let defined = ALL.iter().map(|metric| format!("{} {}", metric.name, metric.kind.as_str())).collect();
        assert_eq!(served, defined);
        assert!(text.contains("catchment_ready 1\n"), "{text}");
        replica.stopping();
        assert!(replica.metrics().render(&replica.status()).contains("catchment_ready 0\n"));
    }
}
