//! The flow source's listeners: ports, zones, receive buffers, and who may send.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use flow_decoder::ZoneId;
use udp_receiver::{BindError, Gro, Sharing, Socket, SocketOptions, Steering, bind_group};

use super::known::{self, Zones};
use crate::config::{self, Config, Prefix};
use crate::source::InputStatistics;

/// All listeners, in the order of the configuration.
#[derive(Debug)]
pub(crate) struct Listeners {
    list: Vec<Listener>,
}

/// One open listener.
#[derive(Debug)]
pub struct Listener {
    /// Where it listens, with the real port.
    pub address: SocketAddr,
    /// Octets that each of its sockets was granted.
    pub receive_buffer: usize,
    zone: ZoneId,
    label: Arc<str>,
}

impl Listener {
    /// Its statistics before anything is counted.
    pub(crate) fn statistics(&self) -> InputStatistics {
        InputStatistics {
            address: self.address.to_string(),
            zone: self.label.to_string(),
            receive_buffer: self.receive_buffer,
            ..InputStatistics::default()
        }
    }
}

impl Listeners {
    /// Opens all; the second value is each worker's sockets, one a listener.
    pub(crate) fn open(
        config: &Config,
        zones: &Zones,
        workers: usize,
    ) -> Result<(Self, Vec<Vec<Socket>>), BindError> {
        let mut listeners = Self { list: Vec::new() };
        let mut sockets: Vec<Vec<Socket>> = (0..workers).map(|_| Vec::new()).collect();
        for settings in &config.sources.flow.listeners {
            let group = bind_group(settings.address, workers, &socket_options(config, settings))?;
            for warning in group.warnings() {
                tracing::warn!(listener = %group.local_address(), "{warning}");
            }
            let label = known::label(settings.zone.as_ref());
            // The zones are those of this configuration.
            let zone = zones.id(label).unwrap_or_default();
            listeners.list.push(Listener {
                address: group.local_address(),
                receive_buffer: group.receive_buffer(),
                zone,
                label: label.into(),
            });
            for (of_worker, socket) in sockets.iter_mut().zip(group.into_sockets()) {
                of_worker.push(socket);
            }
        }
        Ok((listeners, sockets))
    }

    pub(crate) fn as_slice(&self) -> &[Listener] {
        &self.list
    }

    /// The zone of each listener.
    pub(crate) fn zones(&self) -> impl Iterator<Item = ZoneId> + '_ {
        self.list.iter().map(|listener| listener.zone)
    }
}

fn socket_options(config: &Config, listener: &config::Listener) -> SocketOptions {
    let receive_buffer = listener.receive_buffer.unwrap_or(config.udp.receive_buffer);
    SocketOptions {
        receive_buffer: usize::try_from(receive_buffer.bytes()).unwrap_or(usize::MAX),
        gro: if config.udp.gro { Gro::On } else { Gro::Off },
        steering: match config.udp.steering {
            config::Steering::None => Steering::None,
            config::Steering::Address => Steering::SourceAddress,
        },
        sharing: if config.listeners_shared { Sharing::Shared } else { Sharing::Exclusive },
    }
}

/// Who may send: to all listeners, and to each; an empty list lets everybody.
#[derive(Debug)]
pub(crate) struct AllowLists {
    all: Vec<Prefix>,
    each: Vec<Vec<Prefix>>,
}

impl AllowLists {
    pub(crate) fn of(config: &Config) -> Self {
        let each = config.sources.flow.listeners.iter().map(|listener| listener.allow.clone());
        Self { all: config.exporter.allow.clone(), each: each.collect() }
    }

    /// Who may send to a listener.
    pub(crate) fn list(&self, listener: usize) -> &[Prefix] {
        self.each.get(listener).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn allows(&self, listener: usize, exporter: IpAddr) -> bool {
        [&self.all[..], self.list(listener)]
            .iter()
            .all(|list| list.is_empty() || list.iter().any(|prefix| prefix.contains(exporter)))
    }
}
