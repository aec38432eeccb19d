//! Where telemetry comes from: listeners and their sockets.

use std::net::SocketAddr;

use catchment_settings::{
    ByteSize, Content, Element, Entry, Key, Label, Limits, Node, Prefix, Reading, Shown, Status, Value,
    section,
};

use crate::config::choice::Steering;

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

impl Listener {
    /// A listener with only an address.
    pub fn at(address: SocketAddr) -> Listener {
        Listener { address, ..Listener::default() }
    }
}

impl Element for Listener {
    fn from_default(text: &str) -> Self {
        Listener::at(SocketAddr::initial(text))
    }

    fn read_element(node: &Node, path: &str, _limits: Option<Limits>, reading: &mut Reading) -> Option<Self> {
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
