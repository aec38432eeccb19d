//! Passes an exporter's datagrams on, and keeps them.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBuf;

/// How often a silent relay looks whether it shall end.
const SILENCE: Duration = Duration::from_millis(50);
/// Octets that the kernel may hold for a relay while it is not running.
const BUFFER: usize = 4 << 20;

/// A port that an exporter sends to.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    datagrams: Arc<Mutex<Vec<Vec<u8>>>>,
    exporter_has_ended: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Relay {
    /// A relay to these targets, each of which gets all datagrams from the address `source`.
    ///
    /// # Errors
    /// Where no port can be had.
    pub fn start(source: IpAddr, targets: &[SocketAddr]) -> Result<Self> {
        let own: IpAddr =
            if source.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        let socket = UdpSocket::bind((own, 0)).context("a relay's port")?;
        socket.set_read_timeout(Some(SILENCE))?;
        setsockopt(&socket, RcvBuf, &BUFFER).context("a relay's buffer")?;
        let address = socket.local_addr()?;
        let mut senders = Vec::new();
        for target in targets {
            let from = if target.is_ipv4() == source.is_ipv4() { source } else { Ipv4Addr::LOCALHOST.into() };
            let sender = UdpSocket::bind((from, 0)).with_context(|| format!("an exporter at {from}"))?;
            sender.connect(target)?;
            senders.push(sender);
        }
        let datagrams = Arc::new(Mutex::new(Vec::new()));
        let exporter_has_ended = Arc::new(AtomicBool::new(false));
        let (kept, ended) = (Arc::clone(&datagrams), Arc::clone(&exporter_has_ended));
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            loop {
                // Asked before the look, so that what came before the end is seen by it.
                let is_last_look = ended.load(Ordering::Acquire);
                match socket.recv(&mut buffer) {
                    Ok(length) => {
                        for sender in &senders {
                            sender.send(&buffer[..length])?;
                        }
                        kept.lock().unwrap_or_else(PoisonError::into_inner).push(buffer[..length].to_vec());
                    }
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                        if is_last_look {
                            return Ok(());
                        }
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        });
        Ok(Self { address, datagrams, exporter_has_ended, thread })
    }

    /// Where the exporter sends to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// After the exporter has ended: passes on what is left, and gives all datagrams.
    ///
    /// # Errors
    /// Where one could not be passed on.
    pub fn finish(self) -> Result<Vec<Vec<u8>>> {
        self.exporter_has_ended.store(true, Ordering::Release);
        self.thread.join().map_err(|_| anyhow::anyhow!("the relay panicked"))??;
        Ok(std::mem::take(&mut *self.datagrams.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}
