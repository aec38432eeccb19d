//! A process of ours: started with nothing of the test's surroundings, its standard error read line by line.
//!
//! Invariant: it does not outlive its [`Process`].

use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::binaries::binary;
use crate::log::Log;
use crate::wait::until;

/// A running process.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: Log,
    reader: Option<JoinHandle<()>>,
}

/// A command for a binary of the workspace: no standard input or output, and no variable that would configure it.
pub(crate) fn command(name: &str) -> Result<Command> {
    let mut command = Command::new(binary(name)?);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CATCHMENT_") && text != "CATCHMENT_SERVICES" {
            command.env_remove(name);
        }
    }
    Ok(command)
}

impl Process {
    /// Starts a command whose standard error is a pipe.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let mut child = command.spawn().with_context(|| format!("{command:?} does not start"))?;
        let log = Log::default();
        let stderr = child.stderr.take().context("standard error is a pipe")?;
        let reader = Some(log.read(stderr));
        Ok(Self { child, log, reader })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far.
    pub(crate) fn text(&self) -> String {
        self.log.text()
    }

    /// The first line that holds `text`, waited for.
    pub(crate) fn wait_line(&self, text: &str) -> Result<String> {
        until("a log line", || {
            Ok(self.log.find(text).ok_or_else(|| format!("{text:?} is not in\n{}", self.log.text())))
        })
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).context("signalling it")
    }

    /// Its status if it has ended.
    pub(crate) fn status(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end: its status, and all it wrote.
    pub(crate) fn ended(mut self) -> Result<(ExitStatus, String)> {
        let status =
            until("the process to end", || Ok(self.child.try_wait()?.ok_or_else(|| self.log.text())))?;
        Ok((status, self.finished()))
    }

    /// Ends it without warning (SIGKILL); all it wrote.
    pub(crate) fn kill(mut self) -> Result<String> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(self.finished())
    }

    /// The whole log of a process that has ended.
    pub(crate) fn finished(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            // It ends with the pipe; a panic in it has lost lines only, which the caller misses then.
            let _ = reader.join();
        }
        self.log.text()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
