//! Output into Kafka.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use catchment_settings::{ByteSize, HostPort, Secret, section};

use crate::config::choice::{Acks, Compression, Framing, PartitionBy, SaslMechanism};
use crate::config::properties::Properties;
use crate::config::topic::Topic;

section! {
    /// Output into Kafka (`output: kafka`).
    Kafka {
        /// Brokers to ask for the cluster first.
        brokers: Vec<HostPort> = "",
        /// Topic of flow records.
        topic: Topic = "catchment.flows",
        /// Topic of sFlow counter samples; empty: they are not sent.
        counters_topic: Option<Topic> = "",
        /// Topic of sFlow drop samples; empty: they are not sent.
        drops_topic: Option<Topic> = "",
        /// Topic of options records; empty: they are not sent.
        options_topic: Option<Topic> = "",
        /// How records are laid out in a message.
        framing: Framing = "packed",
        /// Compression of messages.
        compression: Compression = "lz4",
        /// Compression level: gzip 0 to 9, lz4 0 to 12, zstd 1 to 12; empty: the codec's own default.
        compression_level: Option<i32> = "",
        /// What chooses a record's partition.
        partition_by: PartitionBy = "none",
        /// Which brokers must have a message before it counts as delivered.
        acks: Acks = "all",
        /// Whether retries neither repeat nor reorder messages. Needs `acks: all`.
        idempotence: bool = "on" (as "`on` when `acks` is `all`"),
        /// Memory for messages that have no delivery report yet, all producers together.
        queue_bytes: ByteSize = "64MiB" in "1MiB" to "64GiB",
        /// How old the oldest message without a delivery report may be before new batches are spooled or dropped.
        queue_age: Duration = "2s" in "10ms" to "1h",
        /// Producers, each with its own connections and compression thread.
        producers: NonZeroUsize = "1" in "1" to "64" (as "one per worker, up to 4"),
        /// How long a shutdown waits for delivery reports.
        flush_timeout: Duration = "10s" in "0" to "1h",
        /// Encrypted connections.
        tls: Tls,
        /// Authentication.
        sasl: Sasl,
        /// Any librdkafka property, except those that have a key of their own here.
        properties: Properties = "",
    }
}

section! {
    /// Encrypted connections to brokers.
    Tls {
        /// Whether connections are encrypted.
        enabled: bool = "off",
        /// Certificates of the authorities that may sign a broker's, PEM; empty: the system's.
        ca_file: Option<PathBuf> = "",
        /// This client's certificate, PEM.
        cert_file: Option<PathBuf> = "",
        /// This client's private key, PEM.
        key_file: Option<PathBuf> = "",
        /// Passphrase of the private key.
        key_password: Option<Secret> = "",
        /// A file that holds the passphrase.
        key_password_file: Option<PathBuf> = "",
        /// Whether any certificate of a broker is accepted. Anybody in between can then read and change the records.
        insecure_skip_verify: bool = "off",
    }
}

section! {
    /// Authentication to brokers.
    Sasl {
        /// The mechanism; empty: no authentication.
        mechanism: Option<SaslMechanism> = "",
        /// User name.
        username: Option<String> = "",
        /// Password.
        password: Option<Secret> = "",
        /// A file that holds the password.
        password_file: Option<PathBuf> = "",
    }
}
