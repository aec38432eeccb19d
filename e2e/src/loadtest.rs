//! The `loadtest` binary: what it is told, and the JSON line that it answers with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::binaries::binary;

/// A run in the background.
#[derive(Debug)]
pub struct Running {
    child: Option<Child>,
    kind: String,
}

/// Runs a subcommand to its end; gives the object in its last line.
///
/// # Errors
/// A status other than 0, with all it said.
pub fn run(kind: &str, arguments: &[&str]) -> Result<Value> {
    report(kind, &command(kind, arguments)?.output()?)
}

/// As [`run`], also where it ends with status 1: something was lost or different, and the object says what.
///
/// # Errors
/// Where it says nothing.
pub fn account(kind: &str, arguments: &[&str]) -> Result<Value> {
    last_line(kind, &command(kind, arguments)?.output()?)
}

/// Replays captures at a pace that no kernel buffer minds; says how many datagrams were sent.
///
/// # Errors
/// As [`run`].
pub fn replay(target: SocketAddr, captures: &[PathBuf]) -> Result<u64> {
    let target = target.to_string();
    let paths = captures.iter().map(|path| path.to_str().context("a path that is not UTF-8"));
    let mut arguments = vec!["--rate", "1000", "--target", &target];
    arguments.extend(paths.collect::<Result<Vec<_>>>()?);
    run("replay", &arguments)?["datagrams"].as_u64().context("datagrams sent")
}

/// Starts a subcommand.
///
/// # Errors
/// Where it does not start.
pub fn start(kind: &str, arguments: &[&str]) -> Result<Running> {
    let child = command(kind, arguments)?.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    Ok(Running { child: Some(child), kind: kind.to_owned() })
}

impl Running {
    /// Asks it to end early (SIGTERM): what it has sent by then is all that it sends. Waits for that.
    ///
    /// # Errors
    /// As [`run`].
    pub fn stop(self) -> Result<Value> {
        let child = self.child.as_ref().context("it is finished once")?;
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM)?;
        self.finish()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// As [`run`].
    pub fn finish(mut self) -> Result<Value> {
        let child = self.child.take().context("it is finished once")?;
        report(&self.kind, &child.wait_with_output()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Both fail only where it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn command(kind: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(binary("loadtest")?);
    command.arg(kind).args(arguments).stdin(Stdio::null());
    Ok(command)
}

fn report(kind: &str, output: &Output) -> Result<Value> {
    ensure!(output.status.success(), "loadtest {kind}: {}\n{}", output.status, said(output));
    last_line(kind, output)
}

fn last_line(kind: &str, output: &Output) -> Result<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().with_context(|| format!("loadtest {kind}: {}", said(output)))?;
    let mut line: Value = serde_json::from_str(line).with_context(|| said(output))?;
    Ok(line[kind].take())
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
