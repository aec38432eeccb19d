//! The `catchctl` binary as people use it: asked for JSON.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::binaries::binary;

/// Asks coordinators (URLs, comma-separated) and gives the answer's object.
///
/// # Errors
/// A status other than 0, with what it said.
pub fn ask(endpoints: &str, arguments: &[&str]) -> Result<Value> {
    run(&[&["--endpoint", endpoints], arguments].concat())
}

/// Asks one node, without a coordinator.
///
/// # Errors
/// As [`ask`].
pub fn ask_node(node: SocketAddr, arguments: &[&str]) -> Result<Value> {
    run(&[&["--node-endpoint", &format!("http://{node}")], arguments].concat())
}

fn run(arguments: &[&str]) -> Result<Value> {
    let mut command = Command::new(binary("catchctl")?);
    command.args(["-o", "json"]).args(arguments).stdin(Stdio::null());
    let output = command.output()?;
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "catchctl {}: {}\n{text}{errors}", arguments.join(" "), output.status);
    serde_json::from_str(&text).with_context(|| text.into_owned())
}
