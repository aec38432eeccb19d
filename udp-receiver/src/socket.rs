//! One bound socket, what it was asked for, and the handle through which others watch it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};

use socket2::{Domain, Protocol, Type};

use crate::sys;

/// What every socket of a group is opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketOptions {
    /// The receive buffer of each socket in bytes, as `setsockopt` counts them: the kernel charges its
    /// own bookkeeping of each datagram (1 to 4 KiB) against twice this number.
    pub receive_buffer: usize,
    /// Whether the kernel may hand over several datagrams of a flow at once.
    pub gro: Gro,
    /// Which socket of the group gets a datagram.
    pub steering: Steering,
    /// Whether other processes may have the port as well.
    pub sharing: Sharing,
}

impl Default for SocketOptions {
    /// 4 MiB, GRO on, no steering, exclusive.
    fn default() -> Self {
        Self { receive_buffer: 4 << 20, gro: Gro::On, steering: Steering::None, sharing: Sharing::Exclusive }
    }
}

/// Whether the kernel may coalesce datagrams (UDP_GRO).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gro {
    /// Cheaper for bursts of one sender; a dropped train counts as one drop.
    On,
    /// One message per datagram, and exact kernel drops.
    Off,
}

/// How datagrams are spread over the sockets of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steering {
    /// By the kernel's hash of both addresses and both ports.
    None,
    /// By a hash of the source address alone: all that one exporter sends meets one worker.
    SourceAddress,
}

/// Whether the port may be shared with other processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Binding fails while anybody else has the port.
    Exclusive,
    /// Any process of the same user with SO_REUSEPORT takes its part of the traffic.
    Shared,
}

/// What a socket's buffer holds at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferUsage {
    /// Bytes charged for waiting datagrams, the kernel's bookkeeping included.
    pub used: u32,
    /// Bytes at which the kernel starts to drop.
    pub limit: u32,
}

impl BufferUsage {
    /// From 0 (empty) to 1 (full); one datagram more than fits is let in, so slightly above 1 occurs.
    pub fn ratio(&self) -> f64 {
        if self.limit == 0 { 0.0 } else { f64::from(self.used) / f64::from(self.limit) }
    }
}

/// A bound socket of a [`SocketGroup`](crate::SocketGroup), to be read by a [`Receiver`](crate::Receiver).
#[derive(Debug)]
pub struct Socket {
    shared: Arc<Shared>,
}

/// Reads drops and buffer usage of a socket from any thread, without disturbing its reader.
///
/// It keeps the socket open: drop it to free the port, after the last reading.
#[derive(Debug, Clone)]
pub struct SocketProbe {
    shared: Arc<Shared>,
}

struct Shared {
    socket: socket2::Socket,
    /// Drops so far: the kernel's 32-bit count, continued past its wrap.
    drops: Mutex<u64>,
}

impl Socket {
    /// The address it is bound to.
    ///
    /// # Errors
    /// What `getsockname` says.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        let address = self.shared.socket.local_addr()?;
        address.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// A handle for another thread.
    pub fn probe(&self) -> SocketProbe {
        SocketProbe { shared: Arc::clone(&self.shared) }
    }

    pub(crate) fn buffer_usage(&self) -> io::Result<BufferUsage> {
        self.shared.buffer_usage()
    }

    /// An unbound socket for `address`, `[::]` being dual-stack.
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        Ok(Self { shared: Arc::new(Shared { socket, drops: Mutex::new(0) }) })
    }

    pub(crate) fn bind(&self, address: SocketAddr) -> io::Result<()> {
        self.shared.socket.bind(&address.into())
    }

    pub(crate) fn share_port(&self) -> io::Result<()> {
        self.shared.socket.set_reuse_port(true)
    }

    /// Asks for `wanted` bytes, past the system's limit where the process may; returns what was granted.
    pub(crate) fn set_receive_buffer(&self, wanted: usize) -> io::Result<usize> {
        let value = i32::try_from(wanted).unwrap_or(i32::MAX);
        let forced = sys::set_option(self.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, value);
        if forced.is_err() {
            // Without CAP_NET_ADMIN; this one is silently cut to net.core.rmem_max.
            sys::set_option(self.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, value)?;
        }
        // The kernel doubles what is set, and says so when asked.
        Ok(self.shared.socket.recv_buffer_size()? / 2)
    }

    pub(crate) fn enable_gro(&self) -> io::Result<()> {
        sys::set_option(self.as_fd(), libc::SOL_UDP, libc::UDP_GRO, 1)
    }

    pub(crate) fn enable_timestamps(&self) -> io::Result<()> {
        sys::set_option(self.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.socket.as_fd()
    }
}

impl SocketProbe {
    /// Datagrams that the kernel dropped at this socket since it was opened, nearly always because its
    /// buffer was full (a bad UDP checksum also counts). A train that UDP_GRO had put together counts
    /// once, so with [`Gro::On`] this is a lower bound; with [`Gro::Off`] it is exact.
    ///
    /// Read from SO_MEMINFO, because the SO_RXQ_OVFL message only comes with a later datagram, and was
    /// seen to stay 0. The kernel's count has 32 bits; read it more often than it wraps.
    ///
    /// # Errors
    /// On a kernel without SO_MEMINFO (before 4.12).
    pub fn kernel_drops(&self) -> io::Result<u64> {
        // Held across the system call, so that an older reading never follows a newer one.
        let mut drops = self.shared.drops.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.shared.memory(libc::SK_MEMINFO_DROPS)?;
        *drops += u64::from(now.wrapping_sub(*drops as u32));
        Ok(*drops)
    }

    /// How full the socket's buffer is. While its reader is at work the kernel may still charge up to a
    /// quarter of the buffer for datagrams already read.
    ///
    /// # Errors
    /// As [`kernel_drops`](Self::kernel_drops).
    pub fn buffer_usage(&self) -> io::Result<BufferUsage> {
        self.shared.buffer_usage()
    }
}

impl Shared {
    fn memory(&self, index: libc::c_int) -> io::Result<u32> {
        Ok(sys::memory_information(self.socket.as_fd())?[index as usize])
    }

    fn buffer_usage(&self) -> io::Result<BufferUsage> {
        let memory = sys::memory_information(self.socket.as_fd())?;
        Ok(BufferUsage {
            used: memory[libc::SK_MEMINFO_RMEM_ALLOC as usize],
            limit: memory[libc::SK_MEMINFO_RCVBUF as usize],
        })
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.socket.local_addr().ok().and_then(|address| address.as_socket());
        formatter.debug_struct("Socket").field("address", &address).finish_non_exhaustive()
    }
}
