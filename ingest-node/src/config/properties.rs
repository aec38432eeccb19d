//! `kafka.properties`: librdkafka's own settings, passed through.
//!
//! Names and values are checked by librdkafka itself when the configuration is loaded. Those that the node sets from keys of
//! its own are refused with the name of that key, because one of the two would silently lose.

use std::collections::BTreeMap;

use catchment_settings::{Content, Entry, Key, Limits, Node, Reading, Secret, Setting, Shown, Status};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

/// librdkafka properties by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Names and values in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of one property.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// Properties (with their aliases) that the node sets, and the key it sets them from.
const OWNED: [(&str, &str); 26] = [
    ("bootstrap.servers", "kafka.brokers"),
    ("metadata.broker.list", "kafka.brokers"),
    ("acks", "kafka.acks"),
    ("request.required.acks", "kafka.acks"),
    ("enable.idempotence", "kafka.idempotence"),
    ("compression.codec", "kafka.compression"),
    ("compression.type", "kafka.compression"),
    ("compression.level", "kafka.compression_level"),
    ("partitioner", "kafka.partition_by"),
    ("queue.buffering.max.kbytes", "kafka.queue_bytes"),
    ("security.protocol", "kafka.tls.enabled and kafka.sasl.mechanism"),
    ("ssl.ca.location", "kafka.tls.ca_file"),
    ("ssl.ca.pem", "kafka.tls.ca_file"),
    ("ssl.certificate.location", "kafka.tls.cert_file"),
    ("ssl.certificate.pem", "kafka.tls.cert_file"),
    ("ssl.key.location", "kafka.tls.key_file"),
    ("ssl.key.pem", "kafka.tls.key_file"),
    ("ssl.key.password", "kafka.tls.key_password"),
    ("ssl.keystore.location", "kafka.tls.cert_file and kafka.tls.key_file"),
    ("ssl.keystore.password", "kafka.tls.key_password"),
    ("enable.ssl.certificate.verification", "kafka.tls.insecure_skip_verify"),
    ("sasl.mechanism", "kafka.sasl.mechanism"),
    ("sasl.mechanisms", "kafka.sasl.mechanism"),
    ("sasl.username", "kafka.sasl.username"),
    ("sasl.password", "kafka.sasl.password"),
    ("delivery.report.only.error", "kafka.acks (every batch is settled by its report)"),
];

/// The key that a property must be set by instead, if there is one.
fn owner(property: &str) -> Option<&'static str> {
    OWNED.iter().find(|(name, _)| *name == property).map(|(_, key)| *key)
}

fn is_secret(property: &str) -> bool {
    property.contains("password") || property.contains("secret")
}

/// librdkafka's opinion of one property by itself.
fn check(name: &str, value: &str) -> Result<(), String> {
    match ClientConfig::new().set(name, value).create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(_, reason, ..)) => Err(format!("librdkafka: {reason}")),
        Err(error) => Err(format!("librdkafka: {error}")),
    }
}

impl Entry for Properties {
    fn initial(_default: &str) -> Self {
        Properties::default()
    }

    fn read(&mut self, node: &Node, path: &str, _limits: Option<Limits>, reading: &mut Reading) {
        for entry in reading.section(node, path) {
            let (name, path) = (&entry.key, format!("{path}.{}", entry.key));
            let Content::Scalar(value) = &entry.value.content else {
                reading.problem(
                    &entry.origin,
                    &path,
                    format!("expected text, found {}", entry.value.describe()),
                );
                continue;
            };
            if let Some(key) = owner(name) {
                reading.problem(&entry.origin, &path, format!("is set by {key}; use that instead"));
            } else if is_secret(name) && value == Secret::REDACTED {
                reading.problem(
                    &entry.value.origin,
                    &path,
                    "this is what print-config shows in place of the secret",
                );
            } else if let Err(reason) = check(name, value) {
                reading.problem(&entry.value.origin, &path, reason);
            } else {
                reading.origins.insert(path, entry.value.origin.clone());
                self.0.insert(name.clone(), value.clone());
            }
        }
    }

    fn list(key: Key, keys: &mut Vec<Key>) {
        keys.push(Key { kind: "map of text", status: Status::Map, ..key });
    }

    fn show(&self, path: String, settings: &mut Vec<Setting>) {
        let shown = |(name, value): (&String, &String)| {
            let value = if is_secret(name) { Shown::Redacted } else { Shown::Text(value.clone()) };
            (name.clone(), value)
        };
        settings.push(Setting { path, shown: Shown::Map(self.0.iter().map(shown).collect()) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn librdkafka_knows_its_properties() {
        assert_eq!(check("linger.ms", "5"), Ok(()));
        assert!(check("linger.ms", "soon").is_err());
        assert!(check("lingre.ms", "5").is_err());
    }

    #[test]
    fn owned_properties_exist() {
        for (name, _) in OWNED {
            let unknown = check(name, "x").is_err_and(|reason| reason.contains("No such"));
            assert!(!unknown, "{name} is no property of librdkafka");
        }
    }
}
