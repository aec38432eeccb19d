//! nfcapd and nfdump (Debian's 1.7): an independent collector of NetFlow v1, v5, v9 and IPFIX.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::flow::Flow;
use super::tshark::milliseconds;
use crate::services::unused_port;
use crate::wait::until;

/// A running nfcapd.
#[derive(Debug)]
pub struct Nfcapd {
    child: Child,
    port: u16,
    folder: PathBuf,
}

impl Nfcapd {
    /// Starts one that stores in `folder`, and waits until it listens.
    ///
    /// # Errors
    /// Where it does not.
    pub fn start(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let port = unused_port()?;
        let child = Command::new("nfcapd")
            .args(["-b", "127.0.0.1", "-p", &port.to_string(), "-B", "4000000", "-t", "86400", "-w"])
            .arg(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("nfcapd")?;
        let this = Self { child, port, folder: folder.to_owned() };
        until("nfcapd to listen", || Ok(this.unread()?.map(|_| ()).ok_or_else(|| "no socket".to_owned())))?;
        Ok(this)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Waits until it has read all that came, ends it, and gives the flows by exporter.
    ///
    /// # Errors
    /// Where nfdump cannot read what it stored.
    pub fn finish(mut self) -> Result<BTreeMap<IpAddr, Vec<Flow>>> {
        until("nfcapd to read everything", || {
            Ok(if self.unread()? == Some(0) { Ok(()) } else { Err("it has not".to_owned()) })
        })?;
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM)?;
        until("nfcapd to end", || Ok(self.child.try_wait()?.ok_or_else(|| "it runs".to_owned())))?;
        let stored = std::fs::read_dir(&self.folder)?
            .filter_map(Result::ok)
            .find(|entry| entry.file_name().to_string_lossy().starts_with("nfcapd.2"))
            .context("nfcapd stored nothing")?;
        let output = Command::new("nfdump")
            .env("TZ", "UTC")
            .args(["-o", "json", "-r"])
            .arg(stored.path())
            .output()
            .context("nfdump")?;
        ensure!(output.status.success(), "nfdump: {}", String::from_utf8_lossy(&output.stderr));
        let records: Vec<Value> = serde_json::from_slice(&output.stdout).context("nfdump's JSON")?;
        let mut flows: BTreeMap<IpAddr, Vec<Flow>> = BTreeMap::new();
        for record in records {
            let exporter = text(&record, &["ip4_router", "ip6_router"]).context("a flow of nobody")?;
            flows.entry(exporter.parse()?).or_default().push(flow(&record)?);
        }
        Ok(flows)
    }

    /// Octets that its socket holds: the fifth column of the kernel's list, `tx:rx`, in the line of its port.
    fn unread(&self) -> Result<Option<u64>> {
        let list = std::fs::read_to_string("/proc/net/udp")?;
        let local = format!("0100007F:{:04X}", self.port);
        let line = list.lines().map(str::split_whitespace).map(Iterator::collect::<Vec<_>>);
        let mut queues = line
            .filter(|words| words.get(1) == Some(&local.as_str()))
            .filter_map(|words| words.get(4).copied());
        let Some((_, received)) = queues.next().and_then(|queues| queues.split_once(':')) else {
            return Ok(None);
        };
        Ok(Some(u64::from_str_radix(received, 16)?))
    }
}

impl Drop for Nfcapd {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text<'a>(record: &'a Value, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| record.get(name)?.as_str())
}

fn flow(record: &Value) -> Result<Flow> {
    let number = |name: &str| record.get(name).and_then(Value::as_u64).unwrap_or_default();
    let time = |name| -> Result<u64> { milliseconds(text(record, &[name]).context("a flow without times")?) };
    Ok(Flow {
        source: text(record, &["src4_addr", "src6_addr"]).map(str::parse).transpose()?,
        destination: text(record, &["dst4_addr", "dst6_addr"]).map(str::parse).transpose()?,
        protocol: number("proto"),
        source_port: number("src_port"),
        destination_port: number("dst_port"),
        octets: number("in_bytes"),
        packets: number("in_packets"),
        reverse_octets: number("out_bytes"),
        reverse_packets: number("out_packets"),
        tos: number("src_tos"),
        tcp_flags: flags(text(record, &["tcp_flags"]).unwrap_or_default()),
        input: number("input_snmp"),
        output: number("output_snmp"),
        start: time("first")?,
        end: time("last")?,
        sampling_rate: 0,
    })
}

/// `CEUAPRSF`, a dot for each that is not set.
fn flags(text: &str) -> u64 {
    text.bytes().fold(0, |flags, flag| flags << 1 | u64::from(flag != b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_flags_are_read() {
        assert_eq!(flags("........"), 0);
        assert_eq!(flags("...A.R.."), 0x14);
        assert_eq!(flags("C......F"), 0x81);
    }
}
