//! A device of the tests that announces its template where and when it is told to, and sends data to any node.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::{Context as _, Result, ensure};

use crate::datagrams::{Layout, Protocol};
use crate::load::Tally;

/// The clock of a device that was never set, seconds since 1970.
const CLOCK: u32 = 1_767_225_600;

/// One source port of a device. Its records carry their numbers.
#[derive(Debug)]
pub struct Device {
    protocol: Protocol,
    socket: UdpSocket,
    /// How it lays out what it announces and sends from now on.
    pub layout: Layout,
    /// What its headers say of the time, seconds since 1970.
    pub clock: u32,
    /// The sequence number of its next record.
    pub sequence: u32,
    /// The number of its next record.
    pub next: u32,
    /// What it has sent.
    pub tally: Tally,
}

impl Device {
    /// The device of a number, which has a loopback address of its own and speaks v9 where the number is even, else IPFIX.
    ///
    /// # Errors
    /// Where the machine does not have the address.
    pub fn new(number: u16) -> Result<Self> {
        let [high, low] = number.to_be_bytes();
        let protocol = if number.is_multiple_of(2) { Protocol::V9 } else { Protocol::Ipfix };
        Self::at(Ipv4Addr::new(127, 9, high, low), protocol)
    }

    /// A port at that address.
    ///
    /// # Errors
    /// Where the machine does not have the address.
    pub fn at(address: Ipv4Addr, protocol: Protocol) -> Result<Self> {
        let socket = UdpSocket::bind((address, 0)).with_context(|| format!("a device at {address}"))?;
        let layout = Layout::Usual;
        Ok(Self { protocol, socket, layout, clock: CLOCK, sequence: 0, next: 1, tally: Tally::default() })
    }

    /// Announces its template.
    ///
    /// # Errors
    /// Where the kernel refuses the datagram.
    pub fn announce(&mut self, to: SocketAddr) -> Result<()> {
        self.send(&self.protocol.template_in(self.layout, self.sequence, self.clock), 0, to)
    }

    /// Sends one record.
    ///
    /// # Errors
    /// As [`Device::announce`].
    pub fn data(&mut self, to: SocketAddr) -> Result<()> {
        let (number, sequence) = (self.next, self.sequence);
        self.next += 1;
        self.sequence += 1;
        let datagram = self.protocol.data_in(self.layout, number..number + 1, sequence, self.clock);
        self.send(&datagram, 1, to)
    }

    /// Announces its template and sends a record, so that it is known to decode.
    ///
    /// # Errors
    /// As [`Device::announce`].
    pub fn teach(&mut self, to: SocketAddr) -> Result<()> {
        self.announce(to)?;
        self.data(to)
    }

    fn send(&mut self, datagram: &[u8], records: u64, to: SocketAddr) -> Result<()> {
        let sent = self.socket.send_to(datagram, to)?;
        ensure!(sent == datagram.len(), "sent {sent} of {} octets", datagram.len());
        self.tally += Tally { datagrams: 1, records };
        Ok(())
    }
}
