//! Real exporters (`dev/exporters`) that are shown invented traffic, and independent readers of what they send.
//!
//! ```text
//! softflowd, pmacctd, nfreplay, Open vSwitch --UDP--> Relay --+--> node --> Kafka --> FlowRecord --+
//!                                                             +--> nfcapd --------> nfdump --------+--> Flow: equal?
//!                                                             +--> a capture -----> tshark --------+
//! ```
//!
//! A relay stands before each exporter, so that all read the same octets, and each exporter has an address of its own.

mod capture;
mod flow;
mod nfdump;
mod relay;
mod tshark;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

pub use self::flow::{Flow, differences};
pub use self::nfdump::Nfcapd;
pub use self::relay::Relay;
pub use self::tshark::flows as flows_by_tshark;
use crate::binaries::workspace;

/// An exporter of `dev/exporters`.
#[derive(Clone, Debug)]
pub struct Exporter {
    /// Its name there: `PROTOCOL-PROGRAM`.
    pub name: String,
    /// The port of its protocol.
    pub port: u16,
}

/// All exporters.
///
/// # Errors
/// Where they cannot be listed.
pub fn exporters() -> Result<Vec<Exporter>> {
    let output = Command::new(script("exporters")).arg("list").output()?;
    let lines = String::from_utf8(output.stdout)?;
    let parse = |line: &str| {
        let (name, port) = line.split_once(' ')?;
        Some(Exporter { name: name.to_owned(), port: port.parse().ok()? })
    };
    lines.lines().map(|line| parse(line).with_context(|| format!("a line of the list: {line:?}"))).collect()
}

/// Writes the traffic that exporters are shown.
///
/// # Errors
/// Where it cannot be made.
pub fn make_traffic(path: &Path) -> Result<()> {
    let output = Command::new(script("make-traffic")).arg(path).output()?;
    ensure!(output.status.success(), "make-traffic: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

impl Exporter {
    /// Whether its programs are on this machine.
    ///
    /// # Errors
    /// Where that cannot be asked.
    pub fn is_here(&self) -> Result<bool> {
        Ok(Command::new(script("exporters")).args(["can", &self.name]).status()?.success())
    }

    /// Whether it sends over IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.name.ends_with("-over-ipv6")
    }

    /// Whether it samples packets instead of exporting flows.
    pub fn is_sflow(&self) -> bool {
        self.name.starts_with("sflow-")
    }

    /// Runs it in a folder of its own until it has sent everything.
    ///
    /// # Errors
    /// Where it fails, with what it said.
    pub fn run(&self, folder: &Path, traffic: &Path, relay: &Relay) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        std::fs::hard_link(traffic, folder.join("site.pcap"))?;
        let target = relay.address();
        let host = if target.is_ipv6() { format!("[{}]", target.ip()) } else { target.ip().to_string() };
        let output = Command::new(script("exporters"))
            .args(["run", &self.name])
            .arg(folder)
            .args([&host, &target.port().to_string(), "192.0.2.1"])
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} {}: {said}", self.name, output.status);
        Ok(())
    }
}

fn script(name: &str) -> PathBuf {
    workspace().join("dev").join(name)
}
