//! A running `ingest-node`: started on ports that the kernel chooses, asked over HTTP, stopped by SIGTERM.
//!
//! Invariants: a node does not outlive its [`Node`], and none is stopped without its [ledger](crate::ledger) being checked.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::binaries::binary;
use crate::http::{self, Answer};
use crate::kafka::Topic;
use crate::ledger::{self, Ledger};
use crate::metrics::Scrape;
use crate::wait::until;

/// A node to be started.
#[derive(Debug)]
pub struct Settings {
    command: Command,
    wants_listener: bool,
    /// Where it serves HTTP; `None` where its log says so.
    http: Option<SocketAddr>,
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    child: Child,
    udp: Vec<SocketAddr>,
    http: SocketAddr,
    log: Log,
    reader: Option<JoinHandle<()>>,
}

/// How a node ended, its ledger checked.
#[derive(Debug)]
pub struct Stopped {
    /// Its last account.
    pub ledger: Ledger,
    /// All it wrote on standard error.
    pub log: String,
}

/// Lines of standard error.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Settings {
    /// One worker on one loopback listener, JSON log lines, no output unless set; `settings` (`key=value`) win.
    ///
    /// # Errors
    /// Where the binary does not build.
    pub fn new(settings: &[&str]) -> Result<Self> {
        let defaults = ["node.workers=1", "output=discard"];
        let mut this = Self::bare(&[&defaults[..], settings].concat())?;
        this.wants_listener = true;
        Ok(this)
    }

    /// As [`Settings::new`], without any setting but the HTTP port and the form of the log.
    ///
    /// # Errors
    /// As [`Settings::new`].
    pub fn bare(settings: &[&str]) -> Result<Self> {
        let mut this = Self::nothing(([127, 0, 0, 1], 0).into())?;
        this.http = None;
        this.command.args(["run", "--set", "node.http=127.0.0.1:0", "--set", "log.format=json"]);
        for setting in settings {
            this.command.args(["--set", setting]);
        }
        Ok(this)
    }

    /// No argument at all. The node's defaults say where it serves HTTP, which the caller has to know.
    ///
    /// # Errors
    /// As [`Settings::new`].
    pub fn nothing(http: SocketAddr) -> Result<Self> {
        let mut command = Command::new(binary("ingest-node")?);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // Nothing of the surroundings may configure the node under test.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CATCHMENT_") && text != "CATCHMENT_SERVICES" {
                command.env_remove(name);
            }
        }
        Ok(Self { command, wants_listener: false, http: Some(http) })
    }

    /// Reads a configuration file, which names the listeners.
    pub fn config(mut self, path: &Path) -> Self {
        self.command.arg("--config").arg(path);
        self.wants_listener = false;
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sends standard output into a pipe, for [`Node::take_stdout`].
    pub fn pipe_stdout(mut self) -> Self {
        self.command.stdout(Stdio::piped());
        self
    }

    /// Sends standard output into a file.
    pub fn stdout_to(mut self, file: File) -> Self {
        self.command.stdout(file);
        self
    }

    /// Starts the node and waits until it serves HTTP; it need not be ready.
    ///
    /// # Errors
    /// Where it ends before, with what it said.
    pub fn launch(mut self) -> Result<Node> {
        if self.wants_listener {
            self.command.args(["--set", "listeners=127.0.0.1:0"]);
        }
        let mut child = self.command.spawn().context("ingest-node does not start")?;
        let log = Log::default();
        let stderr = child.stderr.take().context("standard error is a pipe")?;
        let lines = log.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().push(line);
            }
        });
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut node = Node { child, udp: Vec::new(), http: unknown, log, reader: Some(reader) };
        node.http = until("the node's HTTP port", || {
            if let Some(status) = node.child.try_wait()? {
                bail!("the node ended at once ({status}):\n{}", node.finished_log());
            }
            let http = self.http.or_else(|| node.log.addresses("serving http").pop());
            let answering = http.filter(|http| http::get(*http, "/livez").is_ok());
            Ok(answering.ok_or_else(|| node.log.text()))
        })?;
        node.udp = node.log.addresses("listening");
        Ok(node)
    }

    /// Starts the node and waits until it is ready.
    ///
    /// # Errors
    /// Where it is not in time.
    pub fn start(self) -> Result<Node> {
        let node = self.launch()?;
        node.wait_ready()?;
        Ok(node)
    }

    /// Runs a node that is expected to refuse to start; gives its exit status and standard error.
    ///
    /// # Errors
    /// Where it does not end.
    pub fn refuse(mut self) -> Result<(ExitStatus, String)> {
        if self.wants_listener {
            self.command.args(["--set", "listeners=127.0.0.1:0"]);
        }
        let mut child = self.command.spawn().context("ingest-node does not start")?;
        let ended = until("the node to refuse", || Ok(child.try_wait()?.ok_or_else(|| "it runs".to_owned())));
        if ended.is_err() {
            child.kill()?;
        }
        let output = child.wait_with_output()?;
        ended.map(|status| (status, String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

impl Node {
    /// Starts a node as [`Settings::new`] describes it and waits until it is ready.
    ///
    /// # Errors
    /// Where it is not in time.
    pub fn start(settings: &[&str]) -> Result<Self> {
        Settings::new(settings)?.start()
    }

    /// As [`Node::start`], with flow records sent to a topic.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub fn start_to(topic: &Topic, settings: &[&str]) -> Result<Self> {
        let output = topic.settings();
        Self::start(&[&output.each_ref().map(String::as_str)[..], settings].concat())
    }

    /// Where its first listener takes datagrams.
    ///
    /// # Errors
    /// Where it has none.
    pub fn udp(&self) -> Result<SocketAddr> {
        self.udp.first().copied().context("the node has no listener")
    }

    /// All listeners, in the order of the configuration.
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.udp
    }

    /// Where it serves HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where it serves probes, if it does.
    pub fn probes(&self) -> Option<SocketAddr> {
        self.log.addresses("serving probes").pop()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The reading end of its standard output.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// What it wrote on standard error so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Asks for a path over HTTP.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn get(&self, path: &str) -> Result<Answer> {
        http::get(self.http, path).with_context(|| format!("GET {path}: {}", self.log.text()))
    }

    /// `/metrics.json`.
    ///
    /// # Errors
    /// Where it does not answer in JSON.
    pub fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.get("/metrics.json")?.body)?)
    }

    /// The ledger now.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn ledger(&self) -> Result<Ledger> {
        Ledger::parse(&self.get("/metrics.json")?.body)
    }

    /// `/metrics`.
    ///
    /// # Errors
    /// Where it does not answer in Prometheus' format.
    pub fn metrics(&self) -> Result<Scrape> {
        Scrape::parse(&self.get("/metrics")?.body)
    }

    /// Waits until `/readyz` says so.
    ///
    /// # Errors
    /// Where it does not in time, with its reasons.
    pub fn wait_ready(&self) -> Result<()> {
        until("the node to be ready", || {
            let answer = self.get("/readyz")?;
            Ok(if answer.status == 200 { Ok(()) } else { Err(answer.body + &self.log.text()) })
        })
    }

    /// Waits for a ledger that satisfies `condition`.
    ///
    /// # Errors
    /// Where none does in time, with the last one.
    pub fn wait_ledger(&self, what: &str, condition: impl Fn(&Ledger) -> bool) -> Result<Ledger> {
        until(what, || {
            let ledger = self.ledger()?;
            Ok(if condition(&ledger) { Ok(ledger) } else { Err(format!("{ledger:?}")) })
        })
    }

    /// Waits until so many datagrams have been read.
    ///
    /// # Errors
    /// Where they are not in time.
    pub fn wait_received(&self, datagrams: u64) -> Result<Ledger> {
        self.wait_ledger("datagrams to be received", |ledger| ledger.datagrams.received >= datagrams)
    }

    /// Waits for a line on standard error that holds `text`.
    ///
    /// # Errors
    /// Where none comes in time.
    pub fn wait_log(&self, text: &str) -> Result<String> {
        until("a log line", || {
            let found = self.log.lock().iter().find(|line| line.contains(text)).cloned();
            Ok(found.ok_or_else(|| format!("{text:?} is not in\n{}", self.log.text())))
        })
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).context("signalling the node")
    }

    /// Holds the running node's ledger to its metrics.
    ///
    /// # Errors
    /// What does not agree.
    pub fn check_live(&self) -> Result<Ledger> {
        let before = self.ledger()?;
        let scrape = self.metrics()?;
        let after = self.ledger()?;
        ledger::check_live(&before, &scrape, &after)?;
        Ok(after)
    }

    /// Tells it to stop (SIGTERM), waits until it has, and checks its ledger: live, at exit, and against each other.
    ///
    /// # Errors
    /// An exit status other than 0, or what is wrong with the ledger.
    pub fn stop(self) -> Result<Stopped> {
        let live = self.check_live()?;
        self.signal(Signal::SIGTERM)?;
        self.ended(&live)
    }

    /// As [`Node::stop`], for a node that ends of itself.
    ///
    /// # Errors
    /// As [`Node::stop`].
    pub fn ended(mut self, live: &Ledger) -> Result<Stopped> {
        let status = until("the node to end", || Ok(self.child.try_wait()?.ok_or_else(|| self.log.text())))?;
        let log = self.finished_log();
        ensure!(status.success(), "the node ended with {status}:\n{log}");
        let line = log.lines().rev().find(|line| line.starts_with("{\"ledger\":"));
        let ledger = Ledger::parse(line.with_context(|| format!("no ledger in\n{log}"))?)?;
        ledger::check_final(live, &ledger).with_context(|| log.clone())?;
        let last = log.lines().last().unwrap_or_default();
        ensure!(last.starts_with("ledger balanced: "), "the last line is {last:?}");
        Ok(Stopped { ledger, log })
    }

    /// The whole log of a node that has ended.
    fn finished_log(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            // It ends with the pipe; a panic in it has lost lines only, which the caller misses then.
            let _ = reader.join();
        }
        self.log.text()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> String {
        self.lock().join("\n")
    }

    /// The addresses of all lines with this message.
    fn addresses(&self, message: &str) -> Vec<SocketAddr> {
        let address = |line: &String| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["message"] == message).then(|| line["address"].as_str()?.parse().ok()).flatten()
        };
        self.lock().iter().filter_map(address).collect()
    }
}
