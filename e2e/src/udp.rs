//! Exporters of the tests: loopback sockets that send datagrams.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::{Context as _, Result, ensure};

/// One source port of an exporter.
#[derive(Debug)]
pub struct Exporter {
    socket: UdpSocket,
    target: SocketAddr,
}

impl Exporter {
    /// An exporter at 127.0.0.1, on a port of its own.
    ///
    /// # Errors
    /// Where no port can be had.
    pub fn new(target: SocketAddr) -> Result<Self> {
        Self::at(Ipv4Addr::LOCALHOST.into(), target)
    }

    /// An exporter at another loopback address.
    ///
    /// # Errors
    /// Where the machine does not have the address.
    pub fn at(address: IpAddr, target: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind((address, 0)).with_context(|| format!("an exporter at {address}"))?;
        Ok(Self { socket, target })
    }

    /// Sends one datagram.
    ///
    /// # Errors
    /// Where the kernel refuses it.
    pub fn send(&self, datagram: &[u8]) -> Result<()> {
        let sent = self.socket.send_to(datagram, self.target)?;
        ensure!(sent == datagram.len(), "sent {sent} of {} octets", datagram.len());
        Ok(())
    }
}
