//! Many exporters with templates of their own, each at an address of its own of 127.0.0.0/8, whose datagrams go to any node.
//!
//! ```text
//! v9:       version | count | sysUpTime | seconds | sequence | source id        20 octets
//! template: 0 | length | (id | fields | (element | length) x fields) x templates
//! data:     id | length | one record
//! ```

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{SystemTime, UNIX_EPOCH};

/// Id of the first template.
const FIRST: u16 = 256;
/// sysUpTime at some time in the past, ms.
const UPTIME: u32 = 3_600_000;

/// What all exporters have in common.
#[derive(Clone, Debug)]
pub struct Exporters {
    /// Address of the first; the others follow it.
    pub base: Ipv4Addr,
    /// Templates of each.
    pub templates: u16,
    /// Fields of each template, of four octets.
    pub fields: u16,
    /// How many layouts there are; templates take them in turn.
    pub layouts: u32,
    /// Where datagrams go, each to any of them.
    pub targets: Vec<SocketAddr>,
    random: u64,
}

impl Exporters {
    /// Exporters from this address on, with one template of ten fields, all of one layout.
    pub fn new(base: Ipv4Addr, targets: Vec<SocketAddr>) -> Self {
        Self { base, templates: 1, fields: 10, layouts: 1, targets, random: 1 }
    }

    /// The address of an exporter.
    pub fn address(&self, exporter: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.base) + exporter)
    }

    /// Opens an exporter's socket.
    ///
    /// # Errors
    /// Where the system refuses it.
    pub fn socket(&self, exporter: u32) -> io::Result<UdpSocket> {
        UdpSocket::bind((self.address(exporter), 20_000))
    }

    /// Sends a datagram to any node.
    ///
    /// # Errors
    /// Where the system refuses it.
    pub fn send(&mut self, from: &UdpSocket, datagram: &[u8]) -> io::Result<()> {
        // xorshift: which node it is matters to nobody, as long as it is any.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let target = self.targets[(self.random % self.targets.len() as u64) as usize];
        from.send_to(datagram, target).map(drop)
    }

    /// A datagram with all templates of an exporter.
    pub fn announcement(&self, exporter: u32, sequence: u32) -> Vec<u8> {
        let mut datagram = header(self.templates, sequence);
        let fields = |number| {
            let layout = (exporter * u32::from(self.templates) + number) % self.layouts.max(1);
            (0..self.fields).flat_map(move |at| [element(layout, at), 4])
        };
        let templates = (0..u32::from(self.templates)).flat_map(|number| {
            [FIRST + number as u16, self.fields].into_iter().chain(fields(number)).collect::<Vec<_>>()
        });
        set(&mut datagram, 0, templates);
        datagram
    }

    /// A datagram with one record by each template.
    pub fn data(&self, sequence: u32) -> Vec<u8> {
        let mut datagram = header(self.templates, sequence);
        for number in 0..self.templates {
            set(&mut datagram, FIRST + number, (0..2 * self.fields).map(|word| word % 2));
        }
        datagram
    }
}

/// Elements that no layout has twice: each place has 16 of its own.
fn element(layout: u32, at: u16) -> u16 {
    400 + at * 16 + (layout >> (at % 5 * 4) & 15) as u16
}

fn header(records: u16, sequence: u32) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as u32;
    let mut datagram: Vec<u8> = [9, records].into_iter().flat_map(u16::to_be_bytes).collect();
    // Grows with the clock, so that the boot time stays the same.
    let uptime = UPTIME + now % 1_000_000 * 1000;
    datagram.extend([uptime, now, sequence, 0].into_iter().flat_map(u32::to_be_bytes));
    datagram
}

fn set(datagram: &mut Vec<u8>, id: u16, words: impl IntoIterator<Item = u16>) {
    let start = datagram.len();
    datagram.extend([id, 0].into_iter().flat_map(u16::to_be_bytes));
    datagram.extend(words.into_iter().flat_map(u16::to_be_bytes));
    let length = (datagram.len() - start) as u16;
    datagram[start + 2..start + 4].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn there_are_as_many_layouts_as_asked_for() {
        let mut exporters = Exporters::new(Ipv4Addr::new(127, 1, 0, 0), Vec::new());
        (exporters.templates, exporters.fields, exporters.layouts) = (20, 20, 200_000);
        let mut layouts = HashSet::new();
        for exporter in 0..10_000 {
            let datagram = exporters.announcement(exporter, 0);
            assert_eq!(datagram.len(), 20 + 4 + 20 * (4 + 20 * 4));
            layouts.extend(datagram[24..].chunks(84).map(|template| template[4..].to_vec()));
        }
        assert_eq!(layouts.len(), 200_000);
        assert_eq!(exporters.data(0).len(), 20 + 20 * (4 + 20 * 4));
        assert_eq!(exporters.address(300).to_string(), "127.1.1.44");
    }
}
