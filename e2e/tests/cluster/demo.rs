//! `make run` as a stranger sees it: how it ends, and that it does not say all is well when it is not.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::binaries::binary;
use catchment_e2e::wait::until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A demo that runs, and what it says.
struct Demo {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Demo {
    fn start(seconds: &str) -> Result<Self> {
        // It starts them from its own folder.
        for part in ["ingest-node", "coordinator"] {
            binary(part)?;
        }
        let mut command = Command::new(binary("loadtest")?);
        command.args(["demo", "--lines", "--seconds", seconds]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let output = BufReader::new(child.stdout.take().context("standard output is a pipe")?);
        Ok(Self { child, output })
    }

    /// Reads on to a line that holds `text`.
    fn wait_line(&mut self, text: &str) -> Result<()> {
        let (mut line, mut all) = (String::new(), String::new());
        while !line.contains(text) {
            line.clear();
            ensure!(self.output.read_line(&mut line)? > 0, "{text:?} is not in\n{all}");
            all += &line;
        }
        Ok(())
    }

    /// Ends one of its processes without warning.
    fn kill(&self, name: &str) -> Result<()> {
        let process = until(&format!("a process {name}"), || {
            Ok(children(self.child.id())?.into_iter().find(|(_, it)| it == name).ok_or_else(String::new))
        })?;
        Ok(kill(Pid::from_raw(process.0), Signal::SIGKILL)?)
    }

    /// Its status, and the rest of what it says.
    fn finish(mut self) -> Result<(ExitStatus, String)> {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest)?;
        Ok((self.child.wait()?, rest))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ids and names of a process's children (proc_pid_stat: `pid (comm) state ppid ...`).
fn children(parent: u32) -> Result<Vec<(i32, String)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        // Others come and go meanwhile.
        let Ok(stat) = std::fs::read_to_string(entry?.path().join("stat")) else { continue };
        let Some((pid, rest)) = stat.split_once(" (") else { continue };
        let Some((name, rest)) = rest.rsplit_once(") ") else { continue };
        if rest.split(' ').nth(1) == Some(&parent.to_string()) {
            found.push((pid.parse()?, name.to_owned()));
        }
    }
    Ok(found)
}

/// The number before `what` in the ledger's line.
fn number(line: &str, what: &str) -> Result<u64> {
    let before = line.split_once(what).with_context(|| format!("{what:?} is not in {line}"))?.0;
    let digits = before.trim_end().rsplit(' ').next().unwrap_or_default().replace(',', "");
    digits.parse().with_context(|| format!("before {what:?} in {line}"))
}

#[test]
fn the_demo_ends_with_the_balanced_ledger_of_the_whole_cluster() -> Result<()> {
    let mut demo = Demo::start("6")?;
    demo.wait_line("records/s")?;
    let (status, rest) = demo.finish()?;
    let last = rest.lines().last().unwrap_or_default();
    ensure!(status.success() && last.starts_with("ledger balanced: "), "{status}\n{rest}");
    let (sent, produced) = (number(last, " datagrams sent")?, number(last, " records produced")?);
    let (one, two) = (number(last, " at node-1")?, number(last, " at node-2")?);
    ensure!(sent > 500 && one + two == sent && one.min(two) > sent / 3, "{last}");
    ensure!(produced > 2_000 && number(last, " consumed from Kafka")? == produced, "{last}");
    ensure!(last.contains("; 0 of ") && last.ends_with(" sequence numbers lost"), "{last}");
    // Neither node had all templates of the exporters themselves.
    let shared = |node: &str| -> Result<u64> {
        let row = rest.lines().find(|line| line.starts_with(node)).context("a row of each node")?;
        Ok(row.split_whitespace().nth(4).context("the column of shared templates")?.parse()?)
    };
    ensure!(shared("node-1")? > 0 && shared("node-2")? > 0, "{rest}");
    Ok(())
}

#[test]
fn a_demo_that_loses_a_node_or_the_coordinator_says_so_and_fails() -> Result<()> {
    for (process, names) in [("ingest-node", ["node-1", "node-2"]), ("coordinator", ["the coordinator"; 2])] {
        let mut demo = Demo::start("60")?;
        demo.wait_line(" 1 s ")?;
        demo.kill(process)?;
        let (status, rest) = demo.finish()?;
        let last = rest.lines().last().unwrap_or_default();
        ensure!(status.code() == Some(1), "{status}\n{rest}");
        let is_named = names.iter().any(|name| last.starts_with(&format!("ledger DIFFERS: {name} ended")));
        ensure!(is_named && last.contains("SIGKILL"), "{rest}");
    }
    Ok(())
}
