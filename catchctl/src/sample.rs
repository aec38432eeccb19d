//! A cluster as its contracts show it, for tests: three nodes (one well, one paused and degraded, one away), two exporters,
//! two templates. Everything happens at [`NOW`].

use catchment_proto::cluster::v1 as cluster;
use catchment_proto::node::v1 as node;

/// Seconds since 1970.
pub const NOW: f64 = 1_795_269_152.0;

fn source(state: node::SourceState) -> node::SourceHealth {
    node::SourceHealth { name: "flow".to_owned(), state: state.into(), stuck_threads: 0 }
}

fn count(reason: &str, count: u64) -> node::ReasonCount {
    node::ReasonCount { reason: reason.to_owned(), count }
}

/// Accounts of a node that received so many datagrams.
pub fn statistics(received: u64, kernel_dropped: u64) -> node::Statistics {
    let produced = received * 24;
    let stream = |stream: &str, produced: u64| node::StreamLedger {
        stream: stream.to_owned(),
        produced,
        recovered: 0,
        delivered: produced - produced / 1000,
        in_flight: produced / 1000,
        on_disk: 0,
        dropped: vec![count("too_old", 0)],
    };
    node::Statistics {
        time_ns: (NOW * 1e9) as u64,
        started_seconds: NOW - 3_723.0,
        ledger: Some(node::Ledger {
            datagrams: Some(node::DatagramLedger {
                arrived: received + kernel_dropped,
                kernel_dropped,
                received,
                decoded: received - 5,
                partly_decoded: 2,
                rejected: vec![count("truncated", 3)],
            }),
            sets: Some(node::SetLedger {
                seen: received,
                decoded: received - 1,
                pending: 1,
                expired: 0,
                evicted: 0,
                rejected: vec![],
            }),
            streams: vec![stream("flow", produced), stream("options", 40)],
            balanced: true,
        }),
        templates: 37,
        scopes: 12,
        exporters: 9,
        pending_bytes: 1_400,
        cpu_seconds: 812.5,
        resident_bytes: 48 << 20,
        buffer_usage_ratio: 0.03,
    }
}

/// The nodes.
pub fn nodes() -> Vec<cluster::Node> {
    let listener = |address: &str, zone: &str| node::Listener {
        address: address.to_owned(),
        zone: zone.to_owned(),
        source: "flow".to_owned(),
        receive_buffer_bytes: 8 << 20,
        sockets: 2,
        datagrams: 1_234_567,
        bytes: 1_700_000_000,
        kernel_dropped: 12,
        buffer_usage_ratio: 0.03,
        allow: vec![],
    };
    let well = cluster::Node {
        id: "node-1".to_owned(),
        incarnation: ((NOW - 3_723.0) * 1000.0) as u64,
        version: "0.1.0".to_owned(),
        grpc_address: "10.0.0.1:7401".to_owned(),
        http_address: "10.0.0.1:8081".to_owned(),
        listeners: vec![listener("[::]:2055", ""), listener("192.0.2.10:2055", "customer-a")],
        sources: vec!["flow".to_owned()],
        coordinator: "coordinator-1".to_owned(),
        connected_seconds: NOW - 3_700.0,
        health: Some(node::Health {
            status: node::HealthStatus::Ok.into(),
            sources: vec![source(node::SourceState::Running)],
            coordinator: "coordinator-1".to_owned(),
            coordinator_since_seconds: NOW - 3_700.0,
            ..Default::default()
        }),
        statistics: Some(statistics(1_234_567, 12)),
        records_per_second: 12_345.6,
        datagrams_per_second: 514.4,
        desired: Some(cluster::DesiredState::default()),
        desired_revision: 0,
        config_revision: 7,
        top_exporters: loads(),
        config_error: String::new(),
        config_error_revision: 0,
        heard_seconds: NOW - 1.0,
    };
    let paused = cluster::Node {
        id: "node-2".to_owned(),
        grpc_address: "10.0.0.2:7401".to_owned(),
        http_address: "10.0.0.2:8081".to_owned(),
        coordinator: "coordinator-2".to_owned(),
        connected_seconds: NOW - 60.0,
        health: Some(node::Health {
            status: node::HealthStatus::Degraded.into(),
            degraded: vec!["kafka: no broker has answered for 12 s".to_owned()],
            sources: vec![source(node::SourceState::Paused)],
            coordinator: "coordinator-2".to_owned(),
            ..Default::default()
        }),
        statistics: Some(statistics(1_000, 0)),
        records_per_second: 0.0,
        datagrams_per_second: 0.4,
        desired: Some(cluster::DesiredState {
            revision: 4,
            paused_sources: vec!["flow".to_owned()],
            log_level: "debug".to_owned(),
            ..Default::default()
        }),
        desired_revision: 3,
        top_exporters: vec![],
        ..well.clone()
    };
    let away = cluster::Node {
        id: "node-3".to_owned(),
        desired: Some(cluster::DesiredState { revision: 2, drain: true, ..Default::default() }),
        ..Default::default()
    };
    vec![well, paused, away]
}

fn loads() -> Vec<node::ExporterLoad> {
    let load = |last: u8, zone: &str, datagrams: u64| node::ExporterLoad {
        zone: zone.to_owned(),
        exporter: vec![192, 0, 2, last],
        datagrams,
        bytes: datagrams * 1_400,
        records: datagrams * 24,
    };
    vec![load(1, "", 900), load(2, "customer-a", 120)]
}

/// The cluster as a coordinator sees it.
pub fn cluster() -> cluster::GetClusterResponse {
    cluster::GetClusterResponse {
        cluster: "lab".to_owned(),
        coordinator_id: "coordinator-1".to_owned(),
        version: "0.1.0".to_owned(),
        store: "etcd".to_owned(),
        store_id: "a1b2".to_owned(),
        store_revision: 1_234,
        leader: "coordinator-2".to_owned(),
        scopes: 12,
        templates: 37,
        invalid_values: 0,
        coordinators: vec!["coordinator-1".to_owned(), "coordinator-2".to_owned()],
        store_reachable: true,
        sessions: 1,
    }
}

/// The sequence accounts of all exporters.
pub fn sequences() -> cluster::SequenceTotals {
    cluster::SequenceTotals {
        received: 1_239_567,
        lost_upstream: 100,
        lost_here: 12,
        lost_unknown: 3,
        spaces: 2,
        ..Default::default()
    }
}

/// Exporters: one that speaks two protocols and loses, one in a zone that has not been heard of.
pub fn exporters() -> Vec<node::Exporter> {
    let account = |version, unit: &str, received, upstream, here, unknown| node::SequenceAccount {
        port: 50_000,
        version,
        domain: 1,
        unit: unit.to_owned(),
        received,
        lost_upstream: upstream,
        lost_here: here,
        lost_unknown: unknown,
        notes: vec!["node-3 incarnation 1795260000000 crashed".to_owned()],
        ..Default::default()
    };
    let scope =
        |version, templates| node::ExporterScope { version, domain: 1, templates, ..Default::default() };
    vec![
        node::Exporter {
            zone: String::new(),
            address: vec![192, 0, 2, 1],
            last_seen_ns: ((NOW - 2.0) * 1e9) as u64,
            templates: 37,
            scopes: vec![scope(9, 30), node::ExporterScope { conflicts: vec![256], ..scope(10, 7) }],
            pending_bytes: 1_400,
            sequences: vec![
                account(9, "datagrams", 1_234_567, 100, 12, 3),
                account(10, "data_records", 5_000, 0, 0, 0),
            ],
            load: loads().into_iter().next(),
        },
        node::Exporter {
            zone: "customer-a".to_owned(),
            address: vec![0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            ..Default::default()
        },
    ]
}

/// A data template with named fields, and an options template that waits.
pub fn templates() -> Vec<node::Template> {
    let field = |id, length, name: &str| node::TemplateField {
        specifier: Some(cluster::FieldSpecifier { id, length, ..Default::default() }),
        name: name.to_owned(),
    };
    let template = node::Template {
        key: Some(cluster::ScopeKey {
            zone: String::new(),
            exporter: vec![192, 0, 2, 1],
            version: 9,
            domain: 1,
        }),
        id: 256,
        port: 50_000,
        order: Some(cluster::Order {
            epoch: (NOW - 86_400.0) as u32,
            time_ms: ((NOW - 7_200.0) * 1000.0) as u64,
        }),
        kind: cluster::TemplateKind::Data.into(),
        field_count: 2,
        min_record_bytes: 8,
        fields: vec![field(8, 4, "sourceIPv4Address"), field(12, 4, "destinationIPv4Address")],
        origin: node::TemplateOrigin::Wire.into(),
        last_seen_ns: ((NOW - 30.0) * 1e9) as u64,
        suspect: false,
        proven: true,
        conflict: false,
    };
    let options = node::Template {
        id: 512,
        kind: cluster::TemplateKind::Options.into(),
        fields: vec![],
        origin: node::TemplateOrigin::Cluster.into(),
        last_seen_ns: 0,
        suspect: true,
        proven: false,
        conflict: true,
        ..template.clone()
    };
    vec![template, options]
}

/// A document of the configuration.
pub const DOCUMENT: &str = "# what the cluster steers\nlog:\n  level: info # as at the start\n";

/// Two revisions, the latest first.
pub fn revisions() -> Vec<cluster::ConfigRevision> {
    let revision = |revision, age, comment: &str, rollback_of| cluster::ConfigRevision {
        config: Some(cluster::ClusterConfig { revision, yaml: DOCUMENT.to_owned() }),
        time_seconds: NOW - age,
        author: "ann@desk".to_owned(),
        comment: comment.to_owned(),
        rollback_of,
    };
    vec![revision(7, 60.0, "", 6), revision(6, 3_600.0, "look into node-2", 0)]
}
