//! Settings that are right by themselves and wrong together.

use std::net::SocketAddr;

use catchment_settings::{ByteSize, Endpoint, Problem, Reading, check_readable};

use super::choice::{Acks, Compression, Output, SaslMechanism};
use super::model::Config;

/// What a Kafka broker takes by default (`message.max.bytes`), without the overhead.
const USUAL_MESSAGE: ByteSize = ByteSize::new(1 << 20);

/// Reports contradictions to `reading` and returns what is only doubtful.
pub(super) fn check(config: &Config, reading: &mut Reading) -> Vec<Problem> {
    addresses(config, reading);
    overrides(config, reading);
    output(config, reading);
    topics(config, reading);
    delivery(config, reading);
    let mut warnings = Vec::new();
    batches(config, reading, &mut warnings);
    config.tls.check("tls", reading);
    tls(config, reading, &mut warnings);
    sasl(config, reading, &mut warnings);
    if config.coordinator.endpoints.iter().any(Endpoint::is_tls) {
        config.coordinator.tls.check("coordinator.tls", reading);
    }
    if !matches!(config.spool.compression, Compression::None | Compression::Lz4 | Compression::Zstd) {
        reading.conflict(["spool.compression", "spool.dir"], "the spool compresses with none, lz4 or zstd");
    }
    let (flush, shutdown) = (config.kafka.flush_timeout, config.node.shutdown_timeout);
    if flush > shutdown && reading.origins.contains_key("kafka.flush_timeout") {
        warnings
            .push(reading.doubt("kafka.flush_timeout", "longer than node.shutdown_timeout, which ends it"));
    }
    warnings
}

fn addresses(config: &Config, reading: &mut Reading) {
    let listeners = &config.sources.flow.listeners;
    if listeners.is_empty() {
        reading.conflict(["sources.flow.listeners", "listeners"], "no listener: nothing would be received");
    }
    let mut taken: Vec<SocketAddr> = Vec::new();
    for (index, listener) in listeners.iter().enumerate() {
        if listener.address.port() != 0 && taken.contains(&listener.address) {
            let key = format!("sources.flow.listeners[{index}].address");
            reading.conflict(
                [&key, "sources.flow.listeners"],
                format!("{} is listened on twice", listener.address),
            );
        }
        taken.push(listener.address);
    }
    let tcp = [
        ("node.http", Some(config.node.http)),
        ("node.grpc", Some(config.node.grpc)),
        ("health.listen", config.health.listen),
    ];
    for (index, (key, address)) in tcp.iter().enumerate() {
        let same = |(_, other): &&(&str, Option<SocketAddr>)| {
            address.is_some_and(|at| at.port() != 0) && other == address
        };
        if let Some((other, _)) = tcp[..index].iter().find(same) {
            reading.conflict([key, other], format!("the same address as {other}"));
        }
    }
}

/// Two overrides for one network in one zone: one of the two would silently lose.
fn overrides(config: &Config, reading: &mut Reading) {
    let overrides = &config.exporter.overrides;
    for (index, this) in overrides.iter().enumerate() {
        let same = |other: &super::Override| (other.prefix, &other.zone) == (this.prefix, &this.zone);
        if overrides[..index].iter().any(same) {
            let key = format!("exporter.overrides[{index}].prefix");
            let what = format!("{} has an override already", this.prefix);
            reading.conflict([&key, "exporter.overrides"], what);
        }
    }
}

fn output(config: &Config, reading: &mut Reading) {
    match config.output {
        Output::Kafka if config.kafka.brokers.is_empty() => {
            reading.conflict(["kafka.brokers", "output"], "output is kafka, but no broker is named");
        }
        Output::File if config.file.path.is_none() => {
            reading.conflict(["file.path", "output"], "output is file, but no path is given");
        }
        Output::Kafka | Output::File | Output::Stdout | Output::Discard => {}
    }
}

fn batches(config: &Config, reading: &mut Reading, warnings: &mut Vec<Problem>) {
    let (bytes, memory) = (config.batch.bytes, config.batch.memory);
    if bytes > memory {
        let what = format!("a batch of {bytes} does not fit into batch.memory ({memory})");
        reading.conflict(["batch.bytes", "batch.memory"], what);
    }
    if config.output != Output::Kafka {
        return;
    }
    let (queue, producers) = (config.kafka.queue_bytes, config.kafka.producers);
    if bytes.bytes().saturating_mul(producers.get() as u64) > queue.bytes() {
        let what = format!("{queue} for {producers} producers is less than a batch ({bytes}) for each");
        reading.conflict(["kafka.queue_bytes", "batch.bytes"], what);
    }
    let largest = config.kafka.properties.get("message.max.bytes").and_then(|text| text.parse().ok());
    match largest.map(ByteSize::new) {
        Some(largest) if bytes > largest => {
            let what =
                format!("a batch of {bytes} is more than kafka.properties.message.max.bytes ({largest})");
            reading.conflict(["batch.bytes", "kafka.properties.message.max.bytes"], what);
        }
        None if bytes > USUAL_MESSAGE => {
            let what = format!(
                "brokers take messages of up to {USUAL_MESSAGE} unless told otherwise (message.max.bytes there)"
            );
            warnings.push(reading.doubt("batch.bytes", what));
        }
        Some(_) | None => {}
    }
}

fn topics(config: &Config, reading: &mut Reading) {
    let kafka = &config.kafka;
    let topics = [
        ("kafka.topic", Some(&kafka.topic)),
        ("kafka.counters_topic", kafka.counters_topic.as_ref()),
        ("kafka.drops_topic", kafka.drops_topic.as_ref()),
        ("kafka.options_topic", kafka.options_topic.as_ref()),
    ];
    for (index, (key, topic)) in topics.iter().enumerate() {
        let Some(name) = topic else { continue };
        if let Some((other, _)) = topics[..index].iter().find(|(_, other)| other == topic) {
            reading.conflict(
                [key, other],
                format!("{name} is the topic of {other} too; a consumer could not tell the messages apart"),
            );
        }
    }
}

fn delivery(config: &Config, reading: &mut Reading) {
    let kafka = &config.kafka;
    if kafka.idempotence && kafka.acks != Acks::All {
        reading.conflict(
            ["kafka.idempotence", "kafka.acks"],
            format!("needs kafka.acks: all, which is {}", kafka.acks),
        );
    }
    let Some(level) = kafka.compression_level else { return };
    let levels = match kafka.compression {
        Compression::Gzip => 0..=9,
        Compression::Lz4 => 0..=12,
        Compression::Zstd => 1..=12,
        Compression::None | Compression::Snappy => {
            reading.conflict(
                ["kafka.compression_level", "kafka.compression"],
                format!("kafka.compression {} has no levels", kafka.compression),
            );
            return;
        }
    };
    if !levels.contains(&level) {
        let (codec, lowest, highest) = (kafka.compression, levels.start(), levels.end());
        reading.conflict(
            ["kafka.compression_level", "kafka.compression"],
            format!("{codec} has levels from {lowest} to {highest}, found {level}"),
        );
    }
}

fn tls(config: &Config, reading: &mut Reading, warnings: &mut Vec<Problem>) {
    let tls = &config.kafka.tls;
    let files = [
        ("kafka.tls.ca_file", &tls.ca_file),
        ("kafka.tls.cert_file", &tls.cert_file),
        ("kafka.tls.key_file", &tls.key_file),
    ];
    for (key, path) in files {
        let Some(path) = path else { continue };
        if !tls.enabled {
            reading.conflict([key, "kafka.tls.enabled"], "has no effect while kafka.tls.enabled is off");
        } else if let Err(error) = check_readable(path) {
            reading.conflict([key, "kafka.tls.enabled"], format!("cannot read {}: {error}", path.display()));
        }
    }
    if tls.cert_file.is_some() != tls.key_file.is_some() {
        let mut keys = ["kafka.tls.key_file", "kafka.tls.cert_file"];
        if tls.key_file.is_some() {
            keys.reverse();
        }
        reading.conflict(keys, "kafka.tls.cert_file and kafka.tls.key_file go together");
    }
    if tls.key_password.is_some() && tls.key_file.is_none() {
        reading.conflict(["kafka.tls.key_file", "kafka.tls.key_password"], "a passphrase is set, but no key");
    }
    if tls.insecure_skip_verify {
        let what = "anybody between this node and the brokers can read and change the records";
        warnings.push(reading.doubt("kafka.tls.insecure_skip_verify", what));
    }
}

fn sasl(config: &Config, reading: &mut Reading, warnings: &mut Vec<Problem>) {
    let sasl = &config.kafka.sasl;
    let Some(mechanism) = sasl.mechanism else {
        if sasl.username.is_some() || sasl.password.is_some() {
            let other = if sasl.username.is_some() { "kafka.sasl.username" } else { "kafka.sasl.password" };
            reading.conflict(["kafka.sasl.mechanism", other], "a user or password is set, but no mechanism");
        }
        return;
    };
    if sasl.username.is_none() {
        reading.conflict(
            ["kafka.sasl.username", "kafka.sasl.mechanism"],
            format!("{mechanism} needs a user name"),
        );
    }
    if sasl.password.is_none() {
        reading.conflict(
            ["kafka.sasl.password", "kafka.sasl.mechanism"],
            format!("{mechanism} needs a password (or kafka.sasl.password_file)"),
        );
    }
    if mechanism == SaslMechanism::Plain && !config.kafka.tls.enabled {
        let what = "PLAIN without kafka.tls.enabled sends the password in clear";
        warnings.push(reading.doubt("kafka.sasl.mechanism", what));
    }
}
