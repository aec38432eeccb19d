//! The sockets of one listener: one port, one socket per worker.
//!
//! A port held without SO_REUSEPORT cannot be taken by anybody, and one cannot join a group without
//! setting it. So the first socket is bound *without* it, which fails if anybody at all has the port,
//! and gets the option only then; the others join it. A second instance started by mistake is refused
//! instead of silently taking half the traffic, and at no moment is the port free in between.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;

use crate::holder::{Holder, Holders, Protocol, holders_of};
use crate::socket::{Gro, Sharing, Socket, SocketOptions, Steering};
use crate::steering;

/// Opens `workers` sockets on `address`; with port 0 all on one port of the kernel's choice.
///
/// `[::]` takes IPv4 as well, and becomes `0.0.0.0` on a machine without IPv6.
///
/// # Errors
/// See [`BindError`].
pub fn bind_group(
    address: SocketAddr,
    workers: usize,
    options: &SocketOptions,
) -> Result<SocketGroup, BindError> {
    if workers == 0 {
        return Err(BindError::NoWorkers { address });
    }
    let mut warnings = Warnings::default();
    let first = match bind_first(address, options, &mut warnings) {
        Err(Step { error, .. }) if let Some(v4) = ipv4_instead(address, &error) => {
            warnings.add(BindWarning::NoIpv6 { wanted: address, bound: v4 });
            bind_first(v4, options, &mut warnings)
        }
        result => result,
    }
    .map_err(|step| step.into_bind_error(address))?;
    complete(first, workers, options, warnings).map_err(|step| step.into_bind_error(address))
}

/// The sockets of one listener.
#[derive(Debug)]
pub struct SocketGroup {
    sockets: Vec<Socket>,
    local_address: SocketAddr,
    receive_buffer: usize,
    warnings: Vec<BindWarning>,
}

impl SocketGroup {
    /// Where it listens, with the real port.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// The receive buffer each socket was granted, in the bytes of [`SocketOptions::receive_buffer`].
    pub fn receive_buffer(&self) -> usize {
        self.receive_buffer
    }

    /// What is not as asked for but works.
    pub fn warnings(&self) -> &[BindWarning] {
        &self.warnings
    }

    /// The sockets, number `i` for worker `i`.
    pub fn sockets(&self) -> &[Socket] {
        &self.sockets
    }

    /// The sockets, number `i` for worker `i`. Closing one renumbers those after it in the kernel's
    /// group, which moves exporters between workers: keep each until the listener ends.
    pub fn into_sockets(self) -> Vec<Socket> {
        self.sockets
    }
}

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody else has the port.
    #[error("udp {address} is in use by {}", Holders(.holders))]
    InUse {
        /// The address that was asked for.
        address: SocketAddr,
        /// Who has it; empty when nobody had it any more at the second look.
        holders: Vec<Holder>,
    },
    /// A group without a worker would never be read.
    #[error("udp {address}: a listener needs at least one worker")]
    NoWorkers {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// The system refused.
    #[error("udp {address}: cannot {step}")]
    System {
        /// The address that was asked for.
        address: SocketAddr,
        /// What was tried.
        step: &'static str,
        /// What it answered.
        source: io::Error,
    },
}

/// What is not as asked for, though the listener works.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindWarning {
    /// The kernel granted a smaller receive buffer.
    #[error(
        "receive buffer of {wanted} bytes capped at {granted}: set the sysctl {sysctl}={wanted} \
         or give the process CAP_NET_ADMIN"
    )]
    BufferCapped {
        /// Bytes asked for, which is also the value to set.
        wanted: usize,
        /// Bytes granted.
        granted: usize,
        /// The system setting that caps it.
        sysctl: &'static str,
    },
    /// The machine has no IPv6.
    #[error("no IPv6 on this machine: listening on {bound} instead of {wanted}")]
    NoIpv6 {
        /// The address that was asked for.
        wanted: SocketAddr,
        /// The address used instead.
        bound: SocketAddr,
    },
    /// The kernel cannot coalesce datagrams.
    #[error("the kernel has no UDP_GRO: every datagram is read by itself")]
    NoGro,
    /// Steering counts the sockets of this process only, so it cannot be had on a shared port.
    #[error("the port is shared with other processes: datagrams are not steered by source address")]
    SteeringShared,
}

/// The sysctl that caps SO_RCVBUF.
const BUFFER_SYSCTL: &str = "net.core.rmem_max";

/// The warnings of a group, each once however many sockets it concerns.
#[derive(Default)]
struct Warnings(Vec<BindWarning>);

impl Warnings {
    fn add(&mut self, warning: BindWarning) {
        if !self.0.contains(&warning) {
            self.0.push(warning);
        }
    }
}

/// A step of opening a socket that the system refused.
struct Step {
    step: &'static str,
    error: io::Error,
}

impl Step {
    fn of(step: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self { step, error }
    }

    fn into_bind_error(self, address: SocketAddr) -> BindError {
        match self.error.kind() {
            io::ErrorKind::AddrInUse => {
                BindError::InUse { address, holders: holders_of(Protocol::Udp, address) }
            }
            _ => BindError::System { address, step: self.step, source: self.error },
        }
    }
}

/// A bound socket and the receive buffer it was granted.
struct First {
    socket: Socket,
    address: SocketAddr,
    receive_buffer: usize,
}

fn bind_first(address: SocketAddr, options: &SocketOptions, warnings: &mut Warnings) -> Result<First, Step> {
    let (socket, receive_buffer) = open(address, options, warnings)?;
    if options.sharing == Sharing::Shared {
        socket.share_port().map_err(Step::of("set SO_REUSEPORT"))?;
    }
    socket.bind(address).map_err(Step::of("bind"))?;
    let address = socket.local_address().map_err(Step::of("read the bound address"))?;
    Ok(First { socket, address, receive_buffer })
}

/// Adds the other sockets to the first one's port.
fn complete(
    first: First,
    workers: usize,
    options: &SocketOptions,
    mut warnings: Warnings,
) -> Result<SocketGroup, Step> {
    let First { socket, address, mut receive_buffer } = first;
    if workers > 1 {
        socket.share_port().map_err(Step::of("set SO_REUSEPORT"))?;
    }
    let mut sockets = vec![socket];
    for _ in 1..workers {
        let (socket, granted) = open(address, options, &mut warnings)?;
        socket.share_port().map_err(Step::of("set SO_REUSEPORT"))?;
        socket.bind(address).map_err(Step::of("bind"))?;
        receive_buffer = receive_buffer.min(granted);
        sockets.push(socket);
    }
    match (options.steering, options.sharing) {
        (Steering::SourceAddress, Sharing::Shared) => warnings.add(BindWarning::SteeringShared),
        (Steering::SourceAddress, Sharing::Exclusive) if workers > 1 => {
            steering::attach(sockets[0].as_fd(), workers).map_err(Step::of("attach the steering program"))?;
        }
        _ => {}
    }
    Ok(SocketGroup { sockets, local_address: address, receive_buffer, warnings: warnings.0 })
}

/// An unbound socket with everything set that does not concern the port.
fn open(
    address: SocketAddr,
    options: &SocketOptions,
    warnings: &mut Warnings,
) -> Result<(Socket, usize), Step> {
    let socket = Socket::open(address).map_err(Step::of("open a socket"))?;
    let wanted = options.receive_buffer;
    let granted = socket.set_receive_buffer(wanted).map_err(Step::of("set the receive buffer"))?;
    if granted < wanted {
        warnings.add(BindWarning::BufferCapped { wanted, granted, sysctl: BUFFER_SYSCTL });
    }
    if options.gro == Gro::On && socket.enable_gro().is_err() {
        warnings.add(BindWarning::NoGro);
    }
    // Where the kernel has no time stamps, the receiver takes the time of its read instead.
    let _ = socket.enable_timestamps();
    Ok((socket, granted))
}

/// Where to listen when `[::]` was refused with `error` because the machine has no IPv6.
fn ipv4_instead(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let no_ipv6 = matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL));
    let any = address.is_ipv6() && address.ip().is_unspecified();
    (no_ipv6 && any).then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_wildcard_falls_back_and_only_for_want_of_ipv6() {
        let instead = |address: &str, error| {
            ipv4_instead(address.parse().unwrap(), &io::Error::from_raw_os_error(error))
        };
        assert_eq!(instead("[::]:2055", libc::EAFNOSUPPORT), Some("0.0.0.0:2055".parse().unwrap()));
        assert_eq!(instead("[::]:2055", libc::EADDRNOTAVAIL), Some("0.0.0.0:2055".parse().unwrap()));
        assert_eq!(instead("[::]:2055", libc::EADDRINUSE), None);
        assert_eq!(instead("[::1]:2055", libc::EAFNOSUPPORT), None);
        assert_eq!(instead("0.0.0.0:2055", libc::EADDRNOTAVAIL), None);
    }

    #[test]
    fn a_taken_port_is_told_in_one_sentence() {
        let holders =
            vec![Holder::Process { pid: 17, command: "nfcapd".to_owned() }, Holder::Hidden { uid: 5 }];
        let address = SocketAddr::from(([0, 0, 0, 0], 2055));
        assert_eq!(
            BindError::InUse { address, holders }.to_string(),
            "udp 0.0.0.0:2055 is in use by pid 17 (nfcapd), a process of uid 5 that cannot be seen from here"
        );
    }
}
