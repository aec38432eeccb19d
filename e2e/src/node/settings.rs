//! How a node is started: its settings, its surroundings, and the wait until it serves HTTP.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail};

use super::Node;
use crate::http;
use crate::log::Log;
use crate::process;
use crate::wait::until;

/// A node to be started.
#[derive(Debug)]
pub struct Settings {
    command: Command,
    wants_listener: bool,
    /// Where it serves HTTP; `None` where its log says so.
    http: Option<SocketAddr>,
}

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

    /// As [`Settings::new`], without any setting but the HTTP and gRPC ports and the form of the log.
    ///
    /// # Errors
    /// As [`Settings::new`].
    pub fn bare(settings: &[&str]) -> Result<Self> {
        let mut this = Self::nothing(([127, 0, 0, 1], 0).into())?;
        this.http = None;
        this.command.args(["run", "--set", "log.format=json"]);
        this.command.args(["--set", "node.http=127.0.0.1:0", "--set", "node.grpc=127.0.0.1:0"]);
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
        let command = process::command("ingest-node")?;
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
        let reader = log.read(stderr);
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
