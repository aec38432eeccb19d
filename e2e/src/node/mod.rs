//! A running `ingest-node`: started on ports that the kernel chooses, asked over HTTP, stopped by SIGTERM.
//!
//! Invariants: a node does not outlive its [`Node`], and none is stopped without its [ledger](crate::ledger) being checked.

mod settings;

use std::net::SocketAddr;
use std::process::{Child, ChildStdout};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

pub use settings::Settings;

use crate::http::{self, Answer};
use crate::kafka::Topic;
use crate::ledger::{self, Ledger};
use crate::log::Log;
use crate::metrics::Scrape;
use crate::wait::until;

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

    /// Where it serves gRPC.
    ///
    /// # Errors
    /// Where it does not say so.
    pub fn grpc(&self) -> Result<SocketAddr> {
        self.log.addresses("serving grpc").pop().context("no gRPC port in the log")
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
            let found = self.log.find(text);
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
