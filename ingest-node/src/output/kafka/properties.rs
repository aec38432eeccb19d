//! From the configuration's keys to librdkafka's properties.
//!
//! | ours | librdkafka | why |
//! |---|---|---|
//! | `queue_bytes` / `producers` | `queue.buffering.max.kbytes` | its default is 1 GiB for each producer |
//! | | `queue.buffering.max.messages` = 0 (no bound) | its default, 100,000, is 80 ms of single-record messages; bytes are the bound |
//! | | `linger.ms` 5 / 20 | packed messages are batches already; single-record ones are collected by librdkafka |
//! | | `message.timeout.ms` left at 300 s | with idempotence a short one has desynchronised sequence numbers |
//!
//! With one record per message librdkafka's own bookkeeping (about 200 bytes per message) comes on top of `queue_bytes`,
//! which counts payload only.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::config::{Acks, Compression, Framing, Kafka, Sasl, SaslMechanism, Tls};

/// How much larger than a full batch a message may be: the record that filled it, and the message's own header.
const MESSAGE_HEADROOM: usize = 256 << 10;
/// librdkafka's default, and the least that brokers take by default.
const USUAL_MESSAGE_BYTES: usize = 1_000_000;

/// The configuration of each producer. `batch_bytes` is the size of a full batch.
pub(super) fn client_config(kafka: &Kafka, batch_bytes: usize) -> ClientConfig {
    let mut config = ClientConfig::new();
    let brokers: Vec<_> = kafka.brokers.iter().map(ToString::to_string).collect();
    let queue_kbytes =
        (kafka.queue_bytes.bytes() / 1024 / kafka.producers.get() as u64).clamp(1, i32::MAX as u64);
    let most = (batch_bytes + MESSAGE_HEADROOM).max(USUAL_MESSAGE_BYTES);

    config
        .set_log_level(RDKafkaLogLevel::Info)
        .set("client.id", "catchment-ingest-node")
        .set("bootstrap.servers", brokers.join(","))
        .set("acks", acks(kafka.acks))
        .set("enable.idempotence", kafka.idempotence.to_string())
        .set("compression.type", compression(kafka.compression))
        .set("queue.buffering.max.kbytes", queue_kbytes.to_string())
        .set("queue.buffering.max.messages", "0")
        .set("message.max.bytes", most.to_string());
    if let Some(level) = kafka.compression_level {
        config.set("compression.level", level.to_string());
    }
    match kafka.framing {
        Framing::Packed | Framing::List => {
            config.set("linger.ms", "5");
        }
        Framing::Single | Framing::SingleDelimited => {
            config.set("linger.ms", "20").set("batch.num.messages", "100000").set("batch.size", "1000000");
        }
    }
    security(&mut config, &kafka.tls, &kafka.sasl);
    for (name, value) in kafka.properties.iter() {
        config.set(name, value);
    }
    config
}

fn security(config: &mut ClientConfig, tls: &Tls, sasl: &Sasl) {
    let protocol = match (tls.enabled, sasl.mechanism) {
        (false, None) => "plaintext",
        (true, None) => "ssl",
        (false, Some(_)) => "sasl_plaintext",
        (true, Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if tls.enabled {
        // OpenSSL is linked in and does not know where this system keeps its certificates: `probe` looks.
        let ca = tls.ca_file.as_ref().map_or("probe".into(), |path| path.to_string_lossy());
        config.set("ssl.ca.location", ca);
        if let Some(path) = &tls.cert_file {
            config.set("ssl.certificate.location", path.to_string_lossy());
        }
        if let Some(path) = &tls.key_file {
            config.set("ssl.key.location", path.to_string_lossy());
        }
        if let Some(password) = &tls.key_password {
            config.set("ssl.key.password", password.expose());
        }
        if tls.insecure_skip_verify {
            config.set("enable.ssl.certificate.verification", "false");
            config.set("ssl.endpoint.identification.algorithm", "none");
        }
    }
    if let Some(mechanism) = sasl.mechanism {
        config.set("sasl.mechanism", self::mechanism(mechanism));
        if let Some(username) = &sasl.username {
            config.set("sasl.username", username);
        }
        if let Some(password) = &sasl.password {
            config.set("sasl.password", password.expose());
        }
    }
}

fn acks(acks: Acks) -> &'static str {
    match acks {
        Acks::All => "all",
        Acks::Leader => "1",
        Acks::None => "0",
    }
}

fn compression(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
        Compression::Gzip => "gzip",
        Compression::Snappy => "snappy",
    }
}

fn mechanism(mechanism: SaslMechanism) -> &'static str {
    match mechanism {
        SaslMechanism::Plain => "PLAIN",
        SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
        SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing::config;

    #[test]
    fn librdkafka_takes_every_framing_compression_and_security() {
        let base = ["kafka.brokers=a:1,[::1]:2", "kafka.queue_bytes=64MiB", "kafka.producers=4"];
        for framing in Framing::ALL {
            for compression in Compression::ALL {
                let set = [format!("kafka.framing={framing}"), format!("kafka.compression={compression}")];
                let kafka = config(base.iter().map(ToString::to_string).chain(set)).kafka;
                let client = client_config(&kafka, 64 << 10);
                assert_eq!(client.get("queue.buffering.max.kbytes"), Some("16384"));
                assert_eq!(client.get("bootstrap.servers"), Some("a:1,[::1]:2"));
                client.create_native_config().expect("valid");
            }
        }
    }

    #[test]
    fn security_protocols() {
        let protocol = |set: &[&str]| {
            let kafka = config(set.iter().map(ToString::to_string)).kafka;
            let client = client_config(&kafka, 64 << 10);
            client.create_native_config().expect("valid");
            client.get("security.protocol").map(str::to_owned)
        };
        let sasl = ["kafka.sasl.mechanism=SCRAM-SHA-512", "kafka.sasl.username=u", "kafka.sasl.password=p"];
        let tls = "kafka.tls.enabled=true";
        assert_eq!(protocol(&[]).as_deref(), Some("plaintext"));
        assert_eq!(protocol(&[tls]).as_deref(), Some("ssl"));
        assert_eq!(protocol(&sasl).as_deref(), Some("sasl_plaintext"));
        assert_eq!(protocol(&[&sasl[..], &[tls]].concat()).as_deref(), Some("sasl_ssl"));
    }

    #[test]
    fn properties_go_through() {
        let kafka = config(["kafka.properties.linger.ms=77".to_owned()]).kafka;
        assert_eq!(client_config(&kafka, 64 << 10).get("linger.ms"), Some("77"));
    }

    #[test]
    fn a_batch_fits_a_message() {
        let kafka = config([]).kafka;
        assert_eq!(client_config(&kafka, 64 << 10).get("message.max.bytes"), Some("1000000"));
        assert_eq!(client_config(&kafka, 16 << 20).get("message.max.bytes"), Some("17039360"));
    }
}
