//! Where telemetry comes from: listeners and their sockets.

use std::net::SocketAddr;

use crate::config::address::Prefix;
use crate::config::catalogue::{Key, Status};
use crate::config::choice::{ExporterName, Steering};
use crate::config::names::Label;
use crate::config::section::{Entry, Reading, Setting, Shown, section};
use crate::config::size::ByteSize;
use crate::config::tree::{Content, Node};
use crate::config::value::{Limits, Value};

section! {
    /// Sources, by the name of their kind.
    SourceSettings {
        /// NetFlow, IPFIX and sFlow over UDP.
        flow: FlowSource,
    }
}

section! {
    /// NetFlow, IPFIX and sFlow over UDP.
    FlowSource {
        /// Listeners. Each takes every protocol. An element is a section, or just an address.
        listeners: Vec<Listener> = "[::]:2055,[::]:4739,[::]:6343",
    }
}

section! {
    /// One listener of `sources.flow.listeners`.
    Listener {
        /// Where it listens. `[::]` takes IPv4 as well.
        address: SocketAddr = "[::]:2055" (as "must be set"),
        /// A label that keeps apart exporters whose addresses overlap; part of every key and record.
        zone: Option<Label> = "",
        /// The receive buffer of each of its sockets.
        receive_buffer: Option<ByteSize> = "" in "64KiB" to "2GiB" (as "`udp.receive_buffer`"),
        /// Exporters that may send here; empty: all.
        allow: Vec<Prefix> = "",
    }
}

section! {
    /// Sockets of all UDP listeners.
    Udp {
        /// Whether the kernel may hand over several datagrams of one sender at once (`UDP_GRO`). Off makes the count of
        /// datagrams that the kernel dropped exact.
        gro: bool = "on",
        /// The receive buffer of each socket. The kernel grants no more than `net.core.rmem_max`.
        receive_buffer: ByteSize = "8MiB" in "64KiB" to "2GiB",
        /// What chooses the worker that gets a datagram.
        steering: Steering = "none",
    }
}

section! {
    /// How exporters are named in records.
    Exporter {
        /// What `sampler_address` shows.
        name: ExporterName = "address",
    }
}

impl Listener {
    /// A listener with only an address.
    pub fn at(address: SocketAddr) -> Listener {
        Listener { address, ..Listener::default() }
    }

    fn read_one(node: &Node, path: &str, reading: &mut Reading) -> Option<Listener> {
        if let Content::Map(entries) = &node.content {
            let mut listener = Listener::default();
            listener.read(node, path, None, reading);
            if !entries.iter().any(|entry| entry.key == "address") {
                reading.problem(&node.origin, &format!("{path}.address"), "a listener needs an address");
            }
            return Some(listener);
        }
        reading.value::<SocketAddr>(node, path, None).map(Listener::at)
    }
}

impl Entry for Vec<Listener> {
    fn initial(default: &str) -> Self {
        default.split(',').map(|text| Listener::at(SocketAddr::initial(text))).collect()
    }

    fn read(&mut self, node: &Node, path: &str, _limits: Option<Limits>, reading: &mut Reading) {
        if let Some(listeners) =
            reading.list(node, path, |reading, node, path| Listener::read_one(node, path, reading))
        {
            *self = listeners;
        }
    }

    fn list(key: Key, keys: &mut Vec<Key>) {
        let path = format!("{}[]", key.path);
        keys.push(Key { kind: <SocketAddr as Value>::KIND, status: Status::List, ..key });
        Listener::list(Key { path, ..Key::default() }, keys);
    }

    fn show(&self, path: String, settings: &mut Vec<Setting>) {
        let section = |listener: &Listener| {
            let mut inner = Vec::new();
            listener.show(String::new(), &mut inner);
            inner
        };
        settings.push(Setting { path, shown: Shown::Sections(self.iter().map(section).collect()) });
    }
}
