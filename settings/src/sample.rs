//! A configuration for this crate's own tests: each kind of key there is, under names of the ingest node.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::{
    ByteSize, Catalogue, Configuration, Content, Element, Entry, HostPort, Key, Label, Limits, Node, Problem,
    Program, Reading, Secret, Setting, Shown, Status, Value, program, secret_from_file, section,
};

/// The sample's keys.
pub(crate) fn catalogue() -> Catalogue {
    Catalogue::of::<Sample>()
}

section! {
    /// The whole sample.
    Sample {
        /// A section of plain values.
        node: Host,
        /// A list with a short form.
        listeners: Vec<Listener> = "[::]:1",
        /// A switch at the top.
        listeners_shared: bool = "off",
        /// A section that stands deeper.
        udp: Udp,
        /// A section with a map, a list and a secret.
        kafka: Kafka,
        /// A section with limits.
        batch: Batch,
    }
}

section! {
    /// Plain values.
    Host {
        /// A name that the program works out.
        id: Label = "localhost" (as "the host's name"),
        /// A count with limits.
        workers: NonZeroUsize = "1" in "1" to "1024",
    }
}

section! {
    /// A switch and a size.
    Udp {
        /// On unless told.
        gro: bool = "on",
        /// A size in bytes.
        receive_buffer: ByteSize = "8MiB" in "64KiB" to "2GiB",
    }
}

section! {
    /// A map, a list and a secret.
    Kafka {
        /// A list of values.
        brokers: Vec<HostPort> = "",
        /// Free text.
        topic: String = "flows",
        /// A size in bytes.
        queue_bytes: ByteSize = "64MiB" in "1MiB" to "64GiB",
        /// A length of time.
        queue_age: Duration = "2s" in "10ms" to "1h",
        /// A secret value.
        password: Option<Secret> = "",
        /// A file with the secret.
        password_file: Option<PathBuf> = "",
        /// A map of any names.
        properties: Names = "",
    }
}

section! {
    /// Values with limits.
    Batch {
        /// A length of time.
        age: Duration = "20ms" in "1ms" to "1m",
        /// A size in bytes.
        bytes: ByteSize = "64KiB" in "1KiB" to "16MiB",
    }
}

section! {
    /// An element with a short form.
    Listener {
        /// Where it listens.
        address: SocketAddr = "[::]:1" (as "must be set"),
        /// A label or none.
        zone: Option<Label> = "",
        /// A list in a list.
        allow: Vec<HostPort> = "",
    }
}

impl Element for Listener {
    fn from_default(text: &str) -> Self {
        Listener { address: SocketAddr::initial(text), ..Listener::default() }
    }

    fn read_element(node: &Node, path: &str, _limits: Option<Limits>, reading: &mut Reading) -> Option<Self> {
        let mut listener = Listener::default();
        if matches!(node.content, Content::Map(_)) {
            listener.read(node, path, None, reading);
        } else {
            listener.address = reading.value(node, path, None)?;
        }
        Some(listener)
    }

    fn list_elements(key: Key, keys: &mut Vec<Key>) {
        let path = format!("{}[]", key.path);
        keys.push(Key { kind: <SocketAddr as Value>::KIND, status: Status::List, ..key });
        Listener::list(Key { path, ..Key::default() }, keys);
    }

    fn show_elements(elements: &[Self]) -> Shown {
        let section = |listener: &Listener| {
            let mut inner = Vec::new();
            listener.show(String::new(), &mut inner);
            inner
        };
        Shown::Sections(elements.iter().map(section).collect())
    }
}

/// A map of any names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Names(BTreeMap<String, String>);

impl Entry for Names {
    fn initial(_default: &str) -> Self {
        Names::default()
    }

    fn read(&mut self, node: &Node, path: &str, _limits: Option<Limits>, reading: &mut Reading) {
        for pair in reading.section(node, path) {
            if let Some(value) = reading.value(&pair.value, &format!("{path}.{}", pair.key), None) {
                reading.origins.insert(format!("{path}.{}", pair.key), pair.value.origin.clone());
                self.0.insert(pair.key.clone(), value);
            }
        }
    }

    fn list(key: Key, keys: &mut Vec<Key>) {
        keys.push(Key { kind: "map of text", status: Status::Map, ..key });
    }

    fn show(&self, path: String, settings: &mut Vec<Setting>) {
        let entries = self.0.iter().map(|(name, value)| (name.clone(), Shown::Text(value.clone())));
        settings.push(Setting { path, shown: Shown::Map(entries.collect()) });
    }
}

impl Configuration for Sample {
    const PROGRAM: &'static Program = &program::INGEST_NODE;

    fn resolve(&mut self, reading: &mut Reading) {
        if !reading.is_set("node.workers") {
            self.node.workers = NonZeroUsize::new(2).expect("not 0");
        }
        let kafka = &mut self.kafka;
        secret_from_file(&mut kafka.password, kafka.password_file.as_ref(), "kafka.password", reading);
    }

    fn check(&self, reading: &mut Reading) -> Vec<Problem> {
        if self.batch.bytes > self.kafka.queue_bytes {
            reading.conflict(["batch.bytes", "kafka.queue_bytes"], "larger than the queue");
        }
        match self.listeners_shared {
            true => vec![reading.doubt("listeners_shared", "somebody else may listen")],
            false => Vec::new(),
        }
    }
}
