//! Defaults that depend on the host or on other keys, the short form of the listeners, and secrets in files.

use std::num::NonZeroUsize;

use catchment_settings::{Reading, host_name, secret_from_file};

use super::choice::{Acks, Output};
use super::model::{Config, Listener};

/// The most producers a node has unless told: more bring no speed, but connections.
const MOST_PRODUCERS: usize = 4;

/// Fills in what the declarations leave open.
pub(super) fn resolve(config: &mut Config, reading: &mut Reading) {
    let set = |key: &str| reading.origins.contains_key(key);
    if !set("node.id")
        && let Some(name) = host_name()
    {
        config.node.id = name;
    }
    if !set("node.workers") {
        config.node.workers = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    }
    if !set("kafka.producers") {
        let most = NonZeroUsize::new(MOST_PRODUCERS).expect("not 0");
        config.kafka.producers = config.node.workers.min(most);
    }
    if !set("kafka.idempotence") {
        config.kafka.idempotence = config.kafka.acks == Acks::All;
    }
    if !set("output") && !config.kafka.brokers.is_empty() {
        config.output = Output::Kafka;
    }
    listeners(config, reading);
    let tls = &mut config.kafka.tls;
    secret_from_file(
        &mut tls.key_password,
        tls.key_password_file.as_ref(),
        "kafka.tls.key_password",
        reading,
    );
    let sasl = &mut config.kafka.sasl;
    secret_from_file(&mut sasl.password, sasl.password_file.as_ref(), "kafka.sasl.password", reading);
}

/// Moves the short form to where everybody looks.
fn listeners(config: &mut Config, reading: &mut Reading) {
    const SHORT: &str = "listeners";
    const LONG: &str = "sources.flow.listeners";
    if config.listeners.is_empty() {
        return;
    }
    if let Some(long) = reading.origins.get(LONG) {
        let what = format!("set together with {LONG} ({long}), of which it is the short form; keep one");
        reading.conflict([SHORT, LONG], what);
        return;
    }
    config.sources.flow.listeners = config.listeners.drain(..).map(Listener::at).collect();
    if let Some(origin) = reading.origins.remove(SHORT) {
        reading.origins.insert(LONG.to_owned(), origin);
    }
}
