//! Settings with a closed set of values.

use catchment_settings::choice;

choice! {
    /// Where records go.
    Output {
        /// JSON lines on standard output.
        Stdout = "stdout",
        /// Files with rotation.
        File = "file",
        /// Kafka.
        Kafka = "kafka",
        /// Nowhere: decoded, counted, thrown away.
        Discard = "discard",
    }
}

choice! {
    /// How records are written into a file.
    FileFormat {
        /// One JSON object per line.
        Json = "json",
        /// `FlowRecord` messages, each behind its length as a varint.
        Protobuf = "protobuf",
    }
}

choice! {
    /// How records are laid out in a Kafka message.
    Framing {
        /// Many records in one message, each behind its length as a varint.
        Packed = "packed",
        /// One `FlowBatch` message.
        List = "list",
        /// One record per message, without a length.
        Single = "single",
        /// One record per message behind its length, as goflow2 sends it.
        SingleDelimited = "single-delimited",
    }
}

choice! {
    /// Compression of Kafka messages, done by librdkafka.
    Compression {
        /// As they are.
        None = "none",
        /// LZ4.
        Lz4 = "lz4",
        /// Zstandard.
        Zstd = "zstd",
        /// gzip.
        Gzip = "gzip",
        /// Snappy.
        Snappy = "snappy",
    }
}

choice! {
    /// What chooses a record's partition.
    PartitionBy {
        /// Nothing: whole batches go to a partition at a time.
        None = "none",
        /// The exporter's address.
        Exporter = "exporter",
        /// The flow's addresses, ports and protocol.
        Flow = "flow",
    }
}

choice! {
    /// Which brokers must have a message before it counts as delivered.
    Acks {
        /// All in-sync replicas.
        All = "all",
        /// The partition's leader.
        Leader = "1",
        /// None: the message was sent.
        None = "0",
    }
}

choice! {
    /// SASL mechanism.
    SaslMechanism {
        /// PLAIN (RFC 4616).
        Plain = "PLAIN",
        /// SCRAM-SHA-256 (RFC 7677).
        ScramSha256 = "SCRAM-SHA-256",
        /// SCRAM-SHA-512.
        ScramSha512 = "SCRAM-SHA-512",
    }
}

choice! {
    /// Which worker socket the kernel gives a datagram to.
    Steering {
        /// The kernel's hash over addresses and ports.
        None = "none",
        /// A hash of the source address alone: one exporter, one worker.
        Address = "address",
    }
}

choice! {
    /// What `sampler_address` shows.
    ExporterName {
        /// The source address of the datagram.
        Address = "address",
        /// The agent address inside sFlow datagrams, the source address elsewhere.
        Agent = "agent",
    }
}

choice! {
    /// What the spool does when its quota is reached.
    SpoolPolicy {
        /// The oldest batches go.
        DropOldest = "drop_oldest",
        /// New batches are not taken.
        DropNewest = "drop_newest",
        /// Reading from the sockets stops until there is room.
        Block = "block",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use catchment_settings::{Refusal, Value};

    #[test]
    fn choices_read_what_they_write_in_any_case() {
        for framing in Framing::ALL {
            assert_eq!(Framing::parse(framing.as_str()), Ok(*framing));
        }
        assert_eq!(SaslMechanism::parse("scram-sha-256"), Ok(SaslMechanism::ScramSha256));
        assert_eq!(Framing::parse("boxed"), Err(Refusal::Unexpected));
        assert_eq!(Framing::EXPECTED, "one of packed list single single-delimited");
    }
}
