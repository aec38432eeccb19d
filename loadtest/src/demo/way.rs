//! How exporters reach the nodes: through a virtual address, as in production, or, where the process may not open raw sockets,
//! by choosing a node for each datagram themselves. Either way any node gets any datagram, under its exporter's address.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use crate::raw::RawError;
use crate::spread::{SpreadArgs, SpreadLedger, SpreadMode, Spreader, Spreading};

/// The usual port of NetFlow.
const PORT: u16 = 2055;

/// The way to the nodes.
#[derive(Debug)]
pub(super) enum Way {
    /// A load balancer in this process.
    Virtual(Spreading),
    /// Straight to these nodes.
    Direct(Vec<SocketAddr>),
}

/// What was lost between exporters and nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct OnTheWay {
    /// Datagrams that the kernel dropped, or refused to send on.
    pub(super) dropped: u64,
}

impl Way {
    /// Opens the best way that there is.
    pub(super) fn open(nodes: Vec<SocketAddr>) -> anyhow::Result<Self> {
        let open = |port| {
            Spreader::open(&SpreadArgs {
                listen: vec![(Ipv4Addr::LOCALHOST, port).into()],
                to: nodes.clone(),
                mode: SpreadMode::Random,
                seed: 1,
            })
        };
        let is_taken = |error: &anyhow::Error| {
            error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::AddrInUse)
        };
        let opened = match open(PORT) {
            Err(error) if is_taken(&error) => open(0),
            opened => opened,
        };
        match opened {
            Ok(spreader) => Ok(Self::Virtual(spreader.start())),
            Err(error) if matches!(error.downcast_ref(), Some(RawError::NotAllowed(_))) => {
                Ok(Self::Direct(nodes))
            }
            Err(error) => Err(error),
        }
    }

    /// Where exporters send to; where there are several, each datagram to any of them.
    pub(super) fn targets(&self) -> Vec<SocketAddr> {
        match self {
            Self::Virtual(spreading) => spreading.addresses().to_vec(),
            Self::Direct(nodes) => nodes.clone(),
        }
    }

    /// True where it has broken, which [`Way::close`] explains.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self, Self::Virtual(spreading) if spreading.has_ended())
    }

    /// Forwards what is on the way, and ends.
    pub(super) fn close(self) -> anyhow::Result<OnTheWay> {
        match self {
            Self::Direct(_) => Ok(OnTheWay::default()),
            Self::Virtual(spreading) => {
                let SpreadLedger { kernel_dropped, errors, .. } = spreading.stop()?;
                Ok(OnTheWay { dropped: kernel_dropped + errors })
            }
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Virtual(spreading) => {
                let address = spreading.addresses().first().copied();
                let address = address.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, PORT).into());
                write!(f, "udp {address} gives each datagram to any node")
            }
            Self::Direct(_) => {
                write!(f, "no CAP_NET_RAW, no virtual address: exporters pick a node themselves")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn whichever_way_there_is_leads_to_the_nodes() {
        let nodes = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let addresses = nodes.each_ref().map(|node| node.local_addr().unwrap()).to_vec();
        // With the usual port taken, if it was not already.
        let _holder = UdpSocket::bind((Ipv4Addr::LOCALHOST, PORT));
        let way = Way::open(addresses.clone()).unwrap();
        let exporter = UdpSocket::bind("127.2.3.4:0").unwrap();
        for number in 0..40 {
            let targets = way.targets();
            exporter.send_to(&[number], targets[usize::from(number) % targets.len()]).unwrap();
        }
        let is_virtual = matches!(way, Way::Virtual(_));
        assert_eq!(is_virtual, way.to_string().starts_with("udp 127.0.0.1:"), "{way}");
        assert!(is_virtual || way.targets() == addresses);
        assert_eq!(way.close().unwrap(), OnTheWay { dropped: 0 });
        let mut got = Vec::new();
        for node in &nodes {
            node.set_nonblocking(true).unwrap();
            let mut buffer = [0; 8];
            while let Ok((_, from)) = node.recv_from(&mut buffer) {
                assert_eq!(from, exporter.local_addr().unwrap());
                got.push(buffer[0]);
            }
        }
        got.sort_unstable();
        assert_eq!(got, (0..40).collect::<Vec<_>>());
    }
}
