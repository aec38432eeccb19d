//! All metrics of the coordinator: their names, labels and meaning in one table, and how they are drawn from a [`Status`].

use catchment_sequence::Cause;
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
    STORE_REACHABLE = Gauge "catchment_store_reachable" [] "1 while the store answers, else 0.";
    LEADER = Gauge "catchment_leader" [] "1 while this coordinator is the leader, else 0.";
    SCOPES = Gauge "catchment_template_scopes" [] "Exporters and domains that the cluster shares templates of.";
    TEMPLATES = Gauge "catchment_templates" [] "Templates that the cluster shares.";
    STORE_WRITES = Counter "catchment_store_writes_total" ["kind"] "Keys written to the store, by what they hold.";
    TEMPLATE_TRANSACTIONS = Counter "catchment_store_template_transactions_total" [] "Transactions that wrote templates or options state.";
    STORE_CONFLICTS = Counter "catchment_store_conflicts_total" [] "Writes that another coordinator was ahead of, merged and tried again.";
    STORE_FAILED = Counter "catchment_store_failed_calls_total" [] "Calls to the store that failed.";
    STORE_INVALID = Counter "catchment_store_invalid_values_total" [] "Values of the store that were skipped because they are not valid.";
    STORE_RELISTS = Counter "catchment_store_relists_total" [] "Lists of the whole store.";
    STORE_WATCHES = Counter "catchment_store_watch_restarts_total" [] "Watches of the store that were begun again.";
    STORE_COMPACTIONS = Counter "catchment_store_compactions_total" [] "Watches whose history was compacted away.";
    STORE_CHANGES = Counter "catchment_store_changes_total" [] "Stores that were found wiped, restored or exchanged.";
    LEASE_LOSSES = Counter "catchment_lease_losses_total" [] "Leases that ended and were replaced.";
    RETENTION_DELETES = Counter "catchment_retention_deletes_total" [] "Keys that were taken away because nobody had seen their exporter.";
    LEARNED = Counter "catchment_learned_scopes_total" ["outcome"] "Scopes that nodes sent up: `taken`, `known` before, or refused, and why.";
    PUSHED = Counter "catchment_pushed_scopes_total" ["outcome"] "Scopes that coordinators tell one another before the store has them: `told` to another one, `heard` from one, or `refused` as not valid or for want of room.";
    WANTED = Counter "catchment_wanted_templates_total" ["outcome"] "Templates that nodes looked for: `told` to the others, or `dropped` for want of room.";
    SNAPSHOTS = Counter "catchment_snapshots_total" [] "Snapshots of the shared state begun.";
    RESNAPSHOTS = Counter "catchment_resnapshots_total" [] "Those of sessions that had fallen too far behind.";
    RESUMES = Counter "catchment_sync_resumes_total" [] "Sessions that were given only what had changed.";
    SESSIONS = Gauge "catchment_sessions" [] "Sessions of nodes with this coordinator.";
    SESSIONS_BEGUN = Counter "catchment_sessions_begun_total" [] "Sessions begun.";
    SESSIONS_REFUSED = Counter "catchment_sessions_refused_total" ["reason"] "Sessions refused: the `node` is wrong here, or the coordinator is `unavailable`.";
    SESSIONS_ENDED = Counter "catchment_sessions_ended_total" ["reason"] "Sessions ended.";
    HEARTBEATS = Counter "catchment_heartbeats_total" [] "Heartbeats of nodes.";
    COMMANDS = Counter "catchment_commands_total" [] "Commands sent to nodes.";
    COMMANDS_FAILED = Counter "catchment_commands_failed_total" ["reason"] "Commands that a node `refused` or left `unanswered`.";
    SYNC_MESSAGES = Counter "catchment_sync_messages_total" [] "Messages of shared state sent to nodes.";
    SYNC_BYTES = Counter "catchment_sync_bytes_total" [] "Octets of these messages.";
    REPORTS = Counter "catchment_sequence_reports_total" ["outcome"] "Reports of sequences: `taken` here, come `again`, `forwarded` to the leader, or `dropped` because none took them.";
    REPORTS_INVALID = Counter "catchment_sequence_invalid_spaces_total" [] "Sequence spaces in reports that were not valid.";
    SEQUENCE_SPACES = Gauge "catchment_sequence_spaces" [] "Sequence spaces accounted for; 0 where this coordinator is not the leader.";
    SEQUENCE_HOLES = Gauge "catchment_sequence_holes" [] "Gaps in sequences that are remembered.";
    SEQUENCE_FORGOTTEN = Gauge "catchment_sequence_spaces_forgotten" [] "Sequence spaces that were forgotten to make room for others.";
    SEQUENCE_RECEIVED = Counter "catchment_sequence_received_total" [] "Numbers that nodes received, each once, while this coordinator was the leader.";
    SEQUENCE_LOST = Counter "catchment_sequence_lost_total" ["where"] "Numbers counted as lost: `upstream` of the nodes, `here` by a node, or `unknown`.";
    SEQUENCE_TAKEN_BACK = Counter "catchment_sequence_taken_back_total" ["where"] "Numbers of these that came after all.";
    SEQUENCE_REORDERED = Counter "catchment_sequence_reordered_total" [] "Numbers that came after higher ones.";
    SEQUENCE_REPEATED = Counter "catchment_sequence_repeated_total" [] "Numbers that came again.";
    SEQUENCE_RESETS = Counter "catchment_sequence_resets_total" [] "Restarts of exporters' counters.";
    SEQUENCE_STRAY = Counter "catchment_sequence_stray_total" [] "Numbers so late or so far off that nothing can be told of them.";
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
        self.store(status);
        self.sessions(status);
        self.sequences(status);
        registry.render()
    }

    fn store(&self, status: &Status) {
        let (registry, counted) = (&self.0, &status.counted);
        registry.gauge(STORE_REACHABLE, [], f64::from(u8::from(status.store_reachable)));
        registry.gauge(LEADER, [], f64::from(u8::from(status.leader)));
        registry.gauge(SCOPES, [], status.shared.scopes as f64);
        registry.gauge(TEMPLATES, [], status.shared.templates as f64);
        for (kind, count) in [
            ("templates", counted.template_puts),
            ("options", counted.options_puts),
            ("seen", counted.seen_puts),
            ("registry", counted.registry_writes),
            ("desired", counted.desired_writes),
            ("config", counted.config_writes),
            ("wanted", counted.wanted_writes),
        ] {
            registry.counter(STORE_WRITES, [kind.into()], count);
        }
        registry.counter(TEMPLATE_TRANSACTIONS, [], counted.template_transactions);
        registry.counter(STORE_CONFLICTS, [], counted.conflicts);
        registry.counter(STORE_FAILED, [], counted.failed_calls);
        registry.counter(STORE_INVALID, [], counted.invalid_values);
        registry.counter(STORE_RELISTS, [], counted.relists);
        registry.counter(STORE_WATCHES, [], counted.watch_restarts);
        registry.counter(STORE_COMPACTIONS, [], counted.compactions);
        registry.counter(STORE_CHANGES, [], counted.store_changes);
        registry.counter(LEASE_LOSSES, [], counted.lease_losses);
        registry.counter(RETENTION_DELETES, [], counted.retention_deletes);
        let refused = counted.refused_invalid + counted.refused_rate + counted.refused_full;
        let taken = counted.learned_scopes.saturating_sub(counted.learned_known + refused);
        for (outcome, count) in [
            ("taken", taken),
            ("known", counted.learned_known),
            ("refused_invalid", counted.refused_invalid),
            ("refused_rate", counted.refused_rate),
            ("refused_full", counted.refused_full),
        ] {
            registry.counter(LEARNED, [outcome.into()], count);
        }
        registry.counter(PUSHED, ["told".into()], counted.pushed_scopes);
        let heard = counted.heard_scopes.saturating_sub(counted.heard_refused);
        registry.counter(PUSHED, ["heard".into()], heard);
        registry.counter(PUSHED, ["refused".into()], counted.heard_refused);
        registry.counter(WANTED, ["told".into()], counted.wanted_told);
        registry.counter(WANTED, ["dropped".into()], counted.wanted_dropped);
        registry.counter(SNAPSHOTS, [], counted.snapshots);
        registry.counter(RESNAPSHOTS, [], counted.resnapshots);
        registry.counter(RESUMES, [], counted.resumes);
    }

    fn sessions(&self, status: &Status) {
        let (registry, counts) = (&self.0, &status.session_counts);
        registry.gauge(SESSIONS, [], status.sessions as f64);
        registry.counter(SESSIONS_BEGUN, [], counts.begun);
        registry.counter(SESSIONS_REFUSED, ["node".into()], counts.refused);
        registry.counter(SESSIONS_REFUSED, ["unavailable".into()], counts.unavailable);
        for (reason, count) in [
            ("goodbye", counts.ended_goodbye),
            ("broken", counts.ended_broken),
            ("silent", counts.ended_silent),
            ("superseded", counts.ended_superseded),
            ("stopping", counts.ended_stopping),
            ("fault", counts.ended_fault),
        ] {
            registry.counter(SESSIONS_ENDED, [reason.into()], count);
        }
        registry.counter(HEARTBEATS, [], counts.heartbeats);
        registry.counter(COMMANDS, [], counts.commands);
        registry.counter(COMMANDS_FAILED, ["refused".into()], counts.commands_refused);
        registry.counter(COMMANDS_FAILED, ["unanswered".into()], counts.commands_unanswered);
        registry.counter(SYNC_MESSAGES, [], counts.sync_messages);
        registry.counter(SYNC_BYTES, [], counts.sync_bytes);
    }

    fn sequences(&self, status: &Status) {
        let (registry, counts) = (&self.0, &status.sequences);
        for (outcome, count) in [
            ("taken", counts.taken),
            ("again", counts.again),
            ("forwarded", counts.forwarded),
            ("dropped", counts.dropped),
        ] {
            registry.counter(REPORTS, [outcome.into()], count);
        }
        registry.counter(REPORTS_INVALID, [], counts.invalid);
        registry.gauge(SEQUENCE_SPACES, [], counts.spaces as f64);
        registry.gauge(SEQUENCE_HOLES, [], counts.holes as f64);
        registry.gauge(SEQUENCE_FORGOTTEN, [], counts.forgotten_spaces as f64);
        let totals = &counts.totals;
        registry.counter(SEQUENCE_RECEIVED, [], totals.received);
        for cause in Cause::ALL {
            registry.counter(SEQUENCE_LOST, [cause.as_str().into()], totals.lost[cause as usize]);
            registry.counter(SEQUENCE_TAKEN_BACK, [cause.as_str().into()], totals.taken_back[cause as usize]);
        }
        registry.counter(SEQUENCE_REORDERED, [], totals.reordered);
        registry.counter(SEQUENCE_REPEATED, [], totals.repeated);
        registry.counter(SEQUENCE_RESETS, [], totals.resets);
        registry.counter(SEQUENCE_STRAY, [], totals.stray);
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

    #[tokio::test]
    async fn a_scrape_has_every_metric_and_no_other() {
        let config = Config::default();
        let store = crate::build::store(&config).expect("a store in memory");
        store.loaded().await;
        let services = crate::build::services(&config, store.clone());
        let replica = Replica::new(&config, store, services, std::sync::Arc::default());
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
