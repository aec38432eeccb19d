//! An `ingest-node` run as a process of its own, from ready to its last line.
//!
//! Invariant: the process does not outlive its [`NodeProcess`].

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::http;
use crate::node_ledger::Ledger;
use crate::pacer::pause;
use crate::process_time;

/// Lines of its log that are kept, for the message when it fails.
const KEPT_LINES: usize = 20;
const POLL: Duration = Duration::from_millis(20);

/// A running node.
#[derive(Debug)]
pub struct NodeProcess {
    child: Child,
    /// Where it listens for datagrams.
    pub listener: SocketAddr,
    /// Where it serves HTTP.
    pub http: SocketAddr,
    log: Arc<Mutex<Log>>,
    reader: Option<JoinHandle<()>>,
}

/// How a node ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status; `None` where it had to be killed.
    pub status: Option<ExitStatus>,
    /// The ledger that it printed last.
    pub ledger: Option<Ledger>,
    /// CPU time that it had used when it was told to stop.
    pub cpu: Option<Duration>,
    /// The end of its log.
    pub log: String,
}

#[derive(Debug, Default)]
struct Log {
    lines: VecDeque<String>,
    ledger: Option<Ledger>,
}

/// The node's executable: `given`, or the one beside this executable.
pub fn executable(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name("ingest-node"),
    };
    anyhow::ensure!(path.is_file(), "{} is missing: build it, or name it with --node", path.display());
    Ok(path)
}

impl NodeProcess {
    /// Starts a node on free loopback ports, in the background of no terminal, with further settings (`key=value`).
    pub fn start(executable: &Path, settings: &[String]) -> anyhow::Result<Self> {
        let [listener, http, grpc] = free_addresses()?;
        let own = [format!("listeners={listener}"), format!("node.http={http}"), format!("node.grpc={grpc}")];
        let mut command = Command::new(executable);
        command.arg("run");
        for setting in own.iter().chain(settings) {
            command.args(["--set", setting]);
        }
        // A group of its own: Ctrl-C in the terminal is for us, who then tell the node.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().with_context(|| format!("starting {}", executable.display()))?;
        let log = Arc::new(Mutex::new(Log::default()));
        let reader = child.stderr.take().map(|stderr| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    log.lock().unwrap_or_else(PoisonError::into_inner).take(line);
                }
            })
        });
        Ok(Self { child, listener, http, log, reader })
    }

    /// Waits until the node says that it is ready.
    pub fn wait_ready(&mut self, patience: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let answer = http::get(self.http, "/readyz");
            if answer.as_ref().is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            if let Some(status) = self.exit_status()? {
                // What it said last is why; the pipe ends with the process.
                self.finish_reading();
                anyhow::bail!("the node ended ({status}) before it was ready:\n{}", self.log_text());
            }
            if Instant::now() > deadline {
                let why = answer.map_or_else(|error| error.to_string(), |answer| answer.body);
                anyhow::bail!("the node was not ready in {patience:?}: {why}\n{}", self.log_text());
            }
            pause(POLL);
        }
    }

    /// The ledger as the node shows it now.
    pub fn ledger(&self) -> Option<Ledger> {
        ledger_at(self.http)
    }

    /// Its exit status if it has ended.
    pub fn exit_status(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// CPU time, user and system, that it has used so far.
    pub fn cpu(&self) -> Option<Duration> {
        process_time::of_process(self.child.id())
    }

    /// Tells it to stop (SIGTERM) and waits; kills it if it takes longer than `patience`.
    pub fn stop(mut self, patience: Duration) -> anyhow::Result<Ended> {
        let mut cpu = self.cpu();
        if self.exit_status()?.is_none() {
            kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM)
                .context("telling the node to stop")?;
        }
        let deadline = Instant::now() + patience;
        let status = loop {
            // A process that has ended still shows its times until it is waited for.
            cpu = self.cpu().or(cpu);
            match self.child.try_wait()? {
                Some(status) => break Some(status),
                None if Instant::now() > deadline => {
                    self.child.kill()?;
                    self.child.wait()?;
                    break None;
                }
                None => pause(POLL),
            }
        };
        self.finish_reading();
        let ledger = self.log.lock().unwrap_or_else(PoisonError::into_inner).ledger.take();
        Ok(Ended { status, ledger, cpu, log: self.log_text() })
    }

    fn finish_reading(&mut self) {
        if let Some(reader) = self.reader.take() {
            // It ends with the pipe; a panic in it has lost log lines only.
            let _ = reader.join();
        }
    }

    fn log_text(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Log {
    fn take(&mut self, line: String) {
        if let Some(ledger) = Ledger::of_json(&line) {
            self.ledger = Some(ledger);
            return;
        }
        if self.lines.len() == KEPT_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

/// The ledger that a node serves at this HTTP address.
pub fn ledger_at(http: SocketAddr) -> Option<Ledger> {
    http::get(http, "/metrics.json").ok().and_then(|answer| Ledger::of_json(&answer.body))
}

/// A UDP and two TCP addresses that nobody uses now. Another process may take one before the node does; it then says so.
fn free_addresses() -> anyhow::Result<[SocketAddr; 3]> {
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let tcp = [TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?];
    Ok([udp.local_addr()?, tcp[0].local_addr()?, tcp[1].local_addr()?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    /// A shell script in place of a node.
    fn stand_in(folder: &Path, script: &str) -> PathBuf {
        let path = folder.join("ingest-node");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn the_last_ledger_is_read_when_the_node_is_told_to_stop() {
        let folder = tempfile::tempdir().unwrap();
        let script = r#"trap 'echo bye >&2; echo "{\"ledger\":{\"datagrams\":{\"arrived\":7}}}" >&2; exit 3' TERM
            echo up >&2; while :; do sleep 0.01; done"#;
        let node = NodeProcess::start(&stand_in(folder.path(), script), &[]).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while node.log_text() != "up" {
            assert!(Instant::now() < deadline, "no line in time");
            std::thread::yield_now();
        }
        let ended = node.stop(Duration::from_secs(10)).unwrap();
        assert_eq!(ended.status.and_then(|status| status.code()), Some(3));
        assert_eq!(ended.ledger.unwrap().datagrams.arrived, 7);
        assert_eq!(ended.log, "up\nbye");
    }

    #[test]
    fn a_node_that_ends_early_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = stand_in(folder.path(), "echo no such key >&2; exit 64");
        let error = NodeProcess::start(&path, &[]).unwrap().wait_ready(Duration::from_secs(10)).unwrap_err();
        assert!(error.to_string().contains("64") && error.to_string().contains("no such key"), "{error}");
    }

    #[test]
    fn a_missing_executable_is_named() {
        let error = executable(Some(Path::new("/nowhere/ingest-node"))).unwrap_err();
        assert!(error.to_string().contains("/nowhere/ingest-node"));
    }
}
