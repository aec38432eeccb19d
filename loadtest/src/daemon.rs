//! A node or a coordinator run as a process of its own, from ready to its last line.
//!
//! Invariant: the process does not outlive its [`Daemon`].

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
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

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    http: SocketAddr,
    log: Arc<Mutex<Log>>,
    reader: Option<JoinHandle<()>>,
}

/// How a daemon ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status; `None` where it had to be killed.
    pub status: Option<ExitStatus>,
    /// The ledger that it printed last, if it is a node.
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

/// The executable of that name: `given`, or the one beside this executable.
pub fn executable(name: &str, given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name(name),
    };
    anyhow::ensure!(path.is_file(), "{} is missing: build it, or say where it is", path.display());
    Ok(path)
}

impl Daemon {
    /// Starts `executable run` with these settings (`key=value`), in the background of no terminal and with no variable that
    /// would configure it. `name` is what a person calls it, `http` where it will serve HTTP.
    pub fn start(
        name: &str,
        executable: &Path,
        http: SocketAddr,
        settings: &[String],
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(executable);
        command.arg("run");
        for setting in settings {
            command.args(["--set", setting]);
        }
        for (variable, _) in std::env::vars_os() {
            let text = variable.to_string_lossy();
            // The exception is no setting: dev/services knows by it what to end.
            if text.starts_with("CATCHMENT_") && text != "CATCHMENT_SERVICES" {
                command.env_remove(variable);
            }
        }
        // A group of its own: Ctrl-C in the terminal is for us, who then tell it.
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
        Ok(Self { name: name.to_owned(), child, http, log, reader })
    }

    /// What a person calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it serves HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Waits until it says that it is ready.
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
                anyhow::bail!("{} ended ({status}) before it was ready:\n{}", self.name, self.log_text());
            }
            if Instant::now() > deadline {
                let why = answer.map_or_else(|error| error.to_string(), |answer| answer.body);
                anyhow::bail!("{} was not ready in {patience:?}: {why}\n{}", self.name, self.log_text());
            }
            pause(POLL);
        }
    }

    /// Its exit status if it has ended.
    pub fn exit_status(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// CPU time, user and system, that it has used so far.
    pub fn cpu(&self) -> Option<Duration> {
        process_time::of_process(self.child.id())
    }

    /// Tells it to stop (SIGTERM), if it runs.
    pub fn tell_to_stop(&mut self) -> anyhow::Result<()> {
        if self.exit_status()?.is_none() {
            kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM)
                .with_context(|| format!("telling {} to stop", self.name))?;
        }
        Ok(())
    }

    /// Tells it to stop and waits; kills it if it takes longer than `patience`.
    pub fn stop(mut self, patience: Duration) -> anyhow::Result<Ended> {
        let mut cpu = self.cpu();
        self.tell_to_stop()?;
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

impl Drop for Daemon {
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

/// Loopback TCP addresses that nobody uses now, each with the port that is preferred where that is free. Another process may
/// take one before the daemon does, which then says so.
pub fn free_tcp<const N: usize>(preferred: [u16; N]) -> anyhow::Result<[SocketAddr; N]> {
    let mut held = Vec::with_capacity(N);
    for port in preferred {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        held.push(listener);
    }
    let addresses = held.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    addresses.try_into().map_err(|_| anyhow::anyhow!("as many addresses as ports"))
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

    fn start(executable: &Path) -> Daemon {
        let [http] = free_tcp([0]).unwrap();
        Daemon::start("node-1", executable, http, &["node.id=1".to_owned()]).unwrap()
    }

    #[test]
    fn a_port_that_is_taken_is_replaced() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = holder.local_addr().unwrap();
        let [first, second] = free_tcp([taken.port(), 0]).unwrap();
        assert!(first != taken && second != taken && first != second);
    }

    #[test]
    fn the_last_ledger_is_read_when_the_node_is_told_to_stop() {
        let folder = tempfile::tempdir().unwrap();
        let script = r#"trap 'echo bye >&2; echo "{\"ledger\":{\"datagrams\":{\"arrived\":7}}}" >&2; exit 3' TERM
            echo up >&2; while :; do sleep 0.01; done"#;
        let node = start(&stand_in(folder.path(), script));
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
    fn a_daemon_that_ends_early_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = stand_in(folder.path(), "echo no such key >&2; exit 64");
        let error = start(&path).wait_ready(Duration::from_secs(10)).unwrap_err().to_string();
        for part in ["node-1", "64", "no such key"] {
            assert!(error.contains(part), "{part:?} is not in {error}");
        }
    }

    #[test]
    fn a_missing_executable_is_named() {
        let error = executable("ingest-node", Some(Path::new("/nowhere/ingest-node"))).unwrap_err();
        assert!(error.to_string().contains("/nowhere/ingest-node"));
    }
}
