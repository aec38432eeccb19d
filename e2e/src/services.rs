//! What tests need that start a real service of their own: its programs, and ports that stay its own while it is down.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, bail, ensure};

use crate::binaries::workspace;

/// Where the programs of a service (`kafka`: its jars; `etcd`: its binary) are, fetched where they are not.
///
/// # Errors
/// Where they cannot be fetched.
pub(crate) fn fetch(service: &str) -> Result<PathBuf> {
    let output = Command::new(workspace().join("dev/services")).args(["fetch", service]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

/// A port, TCP and UDP, below those that the kernel gives to clients: while no service listens there, nobody else may come to have it.
///
/// # Errors
/// Where none is free.
pub(crate) fn unused_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    for _ in 0..1_000 {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        let is_unused = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if is_unused {
            return Ok(port);
        }
    }
    bail!("no port is free from {first} on")
}
