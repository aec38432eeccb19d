//! `catchctl` as a person types it: run to its end, its output read.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::binaries::binary;
use crate::wait::until;

/// Whom it asks.
#[derive(Clone, Debug)]
pub struct Catchctl {
    place: Vec<String>,
}

/// How it ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit status.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Catchctl {
    /// It asks these coordinators.
    pub fn of_coordinators(addresses: &[SocketAddr]) -> Self {
        let urls: Vec<String> = addresses.iter().map(|address| format!("http://{address}")).collect();
        Self { place: vec!["--endpoint".to_owned(), urls.join(",")] }
    }

    /// It asks whom this file of contexts says.
    pub fn of_context(file: &str) -> Self {
        Self { place: vec!["--context".to_owned(), file.to_owned()] }
    }

    /// It asks one node by itself.
    pub fn of_node(address: SocketAddr) -> Self {
        Self { place: vec!["--node-endpoint".to_owned(), format!("http://{address}")] }
    }

    /// The same, over TLS with these arguments.
    pub fn over_tls(self, arguments: &[String]) -> Self {
        let secure = self.place.iter().map(|part| part.replace("http://", "https://"));
        Self { place: secure.chain(arguments.iter().cloned()).collect() }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn run(&self, arguments: &[&str]) -> Result<Ended> {
        let output = self.command(arguments)?.output().context("catchctl does not start")?;
        Ok(Ended {
            code: output.status.code(),
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        })
    }

    /// Runs it to its end with status 0; what it printed as JSON.
    ///
    /// # Errors
    /// Any other status.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let ended = self.run(&[arguments, &["-o", "json"]].concat())?;
        ensure!(ended.code == Some(0), "catchctl {arguments:?}: {ended:?}");
        serde_json::from_str(&ended.out).with_context(|| ended.out.clone())
    }

    /// Asks until the answer satisfies `condition`.
    ///
    /// # Errors
    /// Where none does in time, with the last one.
    pub fn wait_json(
        &self,
        what: &str,
        arguments: &[&str],
        condition: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        until(what, || {
            let ended = self.run(&[arguments, &["-o", "json"]].concat())?;
            Ok(match serde_json::from_str(&ended.out) {
                Ok(answer) if condition(&answer) => Ok(answer),
                _ => Err(format!("{ended:?}")),
            })
        })
    }

    /// Starts it; its output is in pipes.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start(&self, arguments: &[&str]) -> Result<Child> {
        self.command(arguments)?.spawn().context("catchctl does not start")
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(binary("catchctl")?);
        command.args(arguments).args(&self.place);
        command.env_remove("CATCHCTL_ENDPOINT").env("CATCHCTL_CONTEXT", "/dev/null");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }
}

/// Asks coordinators (URLs, comma-separated) and gives the answer's object.
///
/// # Errors
/// A status other than 0, with what it said.
pub fn ask(endpoints: &str, arguments: &[&str]) -> Result<Value> {
    Catchctl { place: vec!["--endpoint".to_owned(), endpoints.to_owned()] }.json(arguments)
}

/// Asks one node, without a coordinator.
///
/// # Errors
/// As [`ask`].
pub fn ask_node(node: SocketAddr, arguments: &[&str]) -> Result<Value> {
    Catchctl::of_node(node).json(arguments)
}
